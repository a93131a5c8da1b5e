"""A connection to BigQuery: what its URL says, who logs in, and the clients that ask."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from connectors.bigquery.options import BigQueryOptions
from connectors.support.connection import driver
from syncer.model.errors import SettingsError, WarehouseError

_PARAMETERS = ("location", "endpoint", "storage_endpoint")
#: Tables may be sheets and files of Drive.
_SCOPES = ("https://www.googleapis.com/auth/bigquery", "https://www.googleapis.com/auth/drive.readonly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a URL says."""

    #: Pays for the queries.
    project: str
    #: Where tables are that a query names without their dataset.
    dataset: str
    #: Where queries run; BigQuery finds it by the tables if None.
    location: str | None = None
    #: In place of Google's.
    endpoint: str | None = None
    storage_endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The clients of one warehouse. Nothing was sent yet."""

    place: Place
    #: The module `google.cloud.bigquery`.
    bigquery: ModuleType
    client: Any
    #: Of the Storage Read API; None where its package is not installed.
    storage: Any
    #: The module of its messages; None where it is.
    storage_types: Any

    def close(self) -> None:
        """Close every connection; a thread that reads from the Storage Read API gets an error."""
        if self.storage is not None:
            self.storage.transport.close()
        self.client.close()


def setting(name: str, part: str) -> str:
    """The name of the setting that is *part* of the warehouse called *name*."""
    return f"SYNCER_WAREHOUSES__{name.upper()}__{part}"


def connect(name: str, url: str, options: BigQueryOptions) -> Connection:
    """The clients for the warehouse called *name*.

    Raises:
        SettingsError: the URL or the key cannot be used, or the driver is not installed.
        WarehouseError: nobody is logged in here.
    """
    label = f"warehouse `{name}`"
    place = read_url(name, url)
    bigquery = driver("google.cloud.bigquery", extra="bigquery", label=label)
    login = _login(name, place, options)
    client = bigquery.Client(
        project=place.project, credentials=login, location=place.location, client_options=_at(place.endpoint)
    )
    storage = _storage(place, login)
    types = storage and driver("google.cloud.bigquery_storage_v1.types", extra="bigquery", label=label)
    return Connection(place=place, bigquery=bigquery, client=client, storage=storage, storage_types=types)


def read_url(name: str, url: str) -> Place:
    """What *url* says, which is the one of the warehouse called *name*.

    Raises:
        SettingsError: it is not one of BigQuery, or has parameters that there are not.
    """
    parts = urlsplit(url)
    names = [unquote(part) for part in (parts.netloc, *parts.path.strip("/").split("/"))]
    if len(names) != 2 or not all(names) or "@" in url.partition("?")[0] or parts.fragment:
        raise SettingsError(
            f"warehouse `{name}`: its URL does not name a project and a dataset",
            hint=f"Write {setting(name, 'URL')} as bigquery://project/dataset, with ?location=EU where that is needed; "
            f"who logs in is said by {setting(name, 'KEY_FILE')}, or by `gcloud auth application-default login`.",
        )
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    for parameter in parameters:
        if parameter not in _PARAMETERS:
            meant = get_close_matches(parameter, _PARAMETERS, n=1)
            raise SettingsError(
                f"warehouse `{name}`: its URL has an unknown parameter `{parameter}`",
                hint=f"Did you mean `{meant[0]}`?" if meant else f"There are {', '.join(_PARAMETERS)}.",
            )
    place = Place(project=names[0], dataset=names[1], **parameters)
    if place.endpoint and not (place.endpoint.startswith("https://") or _is_loopback(place.endpoint)):
        raise SettingsError(f"warehouse `{name}`: its endpoint must be an https:// URL")
    return place


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or ""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _login(name: str, place: Place, options: BigQueryOptions) -> Any:
    if options.key is not None:
        return _service_account(name, options.key.get_secret_value())
    if place.endpoint and _is_loopback(place.endpoint):
        return driver("google.auth.credentials", extra="bigquery", label=name).AnonymousCredentials()
    auth = driver("google.auth", extra="bigquery", label=name)
    try:
        login, _ = auth.default(scopes=_SCOPES)
    except auth.exceptions.GoogleAuthError:
        raise WarehouseError(
            f"warehouse `{name}`: nobody is logged in to Google Cloud",
            hint=f"Set {setting(name, 'KEY_FILE')} to the JSON key of a service account, "
            "or run `gcloud auth application-default login`.",
        ) from None
    return login


def _service_account(name: str, key: str) -> Any:
    accounts = driver("google.oauth2.service_account", extra="bigquery", label=name)
    try:
        return accounts.Credentials.from_service_account_info(json.loads(key), scopes=_SCOPES)
    except (ValueError, KeyError, TypeError, AttributeError):
        # Their texts may quote the key.
        raise SettingsError(
            f"warehouse `{name}`: its key is not the JSON key of a service account",
            hint=f"Set {setting(name, 'KEY_FILE')} to the file that `gcloud iam service-accounts keys create` wrote.",
        ) from None


def _storage(place: Place, login: Any) -> Any:
    if place.endpoint and not place.storage_endpoint:
        return None
    try:
        storage = driver("google.cloud.bigquery_storage_v1.services.big_query_read", extra="bigquery", label="")
    except SettingsError:
        return None
    if place.storage_endpoint and _is_loopback(place.storage_endpoint):
        grpc = driver("grpc", extra="bigquery", label="")
        channel = grpc.insecure_channel(place.storage_endpoint, options=[("grpc.max_receive_message_length", -1)])
        transport = storage.BigQueryReadClient.get_transport_class("grpc")
        return storage.BigQueryReadClient(transport=transport(channel=channel))
    return storage.BigQueryReadClient(credentials=login, client_options=_at(place.storage_endpoint))


def _at(endpoint: str | None) -> dict[str, str] | None:
    return {"api_endpoint": re.sub(r"/+$", "", endpoint)} if endpoint else None
