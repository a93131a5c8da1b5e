"""A connection to BigQuery: what its URL says, who logs in, and the clients that call Google."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

from connectors.bigquery.options import BigQueryOptions
from connectors.support.connection import ConnectionName, driver, is_loopback, url_parameters
from syncer.model.errors import SettingsError, WarehouseError

_PARAMETERS = ("location", "endpoint", "storage_endpoint")
#: Tables may be sheets and files of Drive.
_SCOPES = ("https://www.googleapis.com/auth/bigquery", "https://www.googleapis.com/auth/drive.readonly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a URL says."""

    #: The project that pays for the queries.
    project: str
    #: The dataset of tables that a query names without one.
    dataset: str
    #: Where queries run; BigQuery finds it by the tables if None.
    location: str | None = None
    #: In place of Google's.
    endpoint: str | None = None
    storage_endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """The clients of one warehouse, which have sent nothing yet."""

    place: Place
    #: The module `google.cloud.bigquery`.
    bigquery: ModuleType
    client: Any
    #: The client of the Storage Read API and the module of its messages; None if its package is not installed.
    storage: Any
    storage_types: Any

    def close(self) -> None:
        """Close every connection; a thread that reads from the Storage Read API gets an error."""
        if self.storage is not None:
            self.storage.transport.close()
        self.client.close()


def connect(named: ConnectionName, url: str, options: BigQueryOptions) -> Clients:
    """The clients for a warehouse.

    Raises:
        SettingsError: the URL or the key cannot be used, or the driver is not installed.
        WarehouseError: nobody is logged in here.
    """
    place = _place(named, url)
    bigquery = _driver(named, "google.cloud.bigquery")
    login = _login(named, place, options)
    client = bigquery.Client(
        project=place.project, credentials=login, location=place.location, client_options=_at(place.endpoint)
    )
    storage = _storage(named, place, login)
    types = storage and _driver(named, "google.cloud.bigquery_storage_v1.types")
    return Clients(place=place, bigquery=bigquery, client=client, storage=storage, storage_types=types)


def _driver(named: ConnectionName, module: str) -> Any:
    return driver(module, extra="bigquery", label=named.label)


def _place(named: ConnectionName, url: str) -> Place:
    parts = urlsplit(url)
    names = [unquote(part) for part in (parts.netloc, *parts.path.strip("/").split("/"))]
    if len(names) != 2 or not all(names) or "@" in url.partition("?")[0] or parts.fragment:
        raise named.unusable(
            "URL does not name a project and a dataset",
            "Write {setting}__URL as bigquery://project/dataset, with ?location=EU if necessary; log in by "
            "{setting}__KEY_FILE or `gcloud auth application-default login`.",
        )
    place = Place(project=names[0], dataset=names[1], **url_parameters(named, parts.query, _PARAMETERS))
    if place.endpoint and not (place.endpoint.startswith("https://") or is_loopback(place.endpoint)):
        raise named.unusable("endpoint must be an https:// URL", "")
    return place


def _login(named: ConnectionName, place: Place, options: BigQueryOptions) -> Any:
    if options.key is not None:
        return _service_account(named, options.key.get_secret_value())
    if place.endpoint and is_loopback(place.endpoint):
        return _driver(named, "google.auth.credentials").AnonymousCredentials()
    auth = _driver(named, "google.auth")
    try:
        login, _ = auth.default(scopes=_SCOPES)
    except auth.exceptions.GoogleAuthError:
        raise WarehouseError(
            f"{named.label}: nobody is logged in to Google Cloud",
            hint=f"Set {named.setting}__KEY_FILE to the JSON key of a service account, "
            "or run `gcloud auth application-default login`.",
        ) from None
    return login


def _service_account(named: ConnectionName, key: str) -> Any:
    accounts = _driver(named, "google.oauth2.service_account")
    try:
        return accounts.Credentials.from_service_account_info(json.loads(key), scopes=_SCOPES)
    except (ValueError, KeyError, TypeError, AttributeError):
        # Their texts may quote the key.
        raise named.unusable(
            "key is not the JSON key of a service account",
            "Set {setting}__KEY_FILE to the file that `gcloud iam service-accounts keys create` wrote.",
        ) from None


def _storage(named: ConnectionName, place: Place, login: Any) -> Any:
    if place.endpoint and not place.storage_endpoint:
        return None
    try:
        storage = _driver(named, "google.cloud.bigquery_storage_v1.services.big_query_read")
    except SettingsError:
        return None
    if place.storage_endpoint and is_loopback(place.storage_endpoint):
        grpc = _driver(named, "grpc")
        channel = grpc.insecure_channel(place.storage_endpoint, options=[("grpc.max_receive_message_length", -1)])
        transport = storage.BigQueryReadClient.get_transport_class("grpc")
        return storage.BigQueryReadClient(transport=transport(channel=channel))
    return storage.BigQueryReadClient(credentials=login, client_options=_at(place.storage_endpoint))


def _at(endpoint: str | None) -> dict[str, str] | None:
    return {"api_endpoint": re.sub(r"/+$", "", endpoint)} if endpoint else None
