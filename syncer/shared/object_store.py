"""Objects in a bucket of S3, or of a service that speaks like it, of Google Cloud Storage or of Azure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any

from syncer.model.errors import ObjectGoneError, PlaceError, SettingsError
from syncer.model.importing import importing
from syncer.settings.settings import Settings
from syncer.settings.snapshots import PlaceUrl, is_endpoint
from syncer.shared import object_store_faults
from syncer.shared.place import SETTING, Placed, tried_out, writing

#: Bytes of a request, and how many requests of an upload are under way: what a transfer holds in memory.
_PART = 8 << 20
_REQUESTS = 2
#: Seconds until the service has accepted a connection.
_CONNECT_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Patience:
    #: In which the service takes or sends a part.
    seconds: float
    retries: int
    #: After which no request is tried again.
    retry_seconds: float


_PATIENCE = _Patience(seconds=60, retries=5, retry_seconds=120)
#: While somebody waits for the answer.
_LITTLE_PATIENCE = _Patience(seconds=5, retries=1, retry_seconds=10)

#: The variables in which the clouds' own tools look for a login, by the scheme of the URL; the library has each by its
#: name in lower case. It reads the process's itself, and not those of `.env`.
_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_SERVER_SIDE_ENCRYPTION",
        "AWS_SSE_KMS_KEY_ID",
    ),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    "az": (
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_ENDPOINT",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
        "AZURE_AUTHORITY_HOST",
        "AZURE_FEDERATED_TOKEN_FILE",
    ),
}
#: What the library calls the address of a service. For S3 there are two, of which the second counts.
_ENDPOINTS = {
    "s3": ("aws_endpoint_url", "aws_endpoint_url_s3"),
    "gs": ("base_url",),
    "az": ("azure_storage_endpoint",),
}


class ObjectStore:
    """A Place that is a bucket. It connects on use."""

    def __init__(self, url: PlaceUrl, settings: Settings, *, patience: _Patience | None = None) -> None:
        """Look the login up, without trying it.

        Raises:
            SettingsError: `obstore` is not installed, or what the settings and the cloud's variables say is no login.
        """
        self.name = url.text
        self._opened_with = (url, settings)
        self._store = _opened(url, settings, patience or _PATIENCE)

    def put(self, name: str, content: Path) -> None:
        """See Place."""
        content.stat()
        with self._explained("written"):
            _done(lambda: self._store.put_async(name, content, chunk_size=_PART, max_concurrency=_REQUESTS))

    def get(self, name: str, target: Path) -> None:
        """See Place."""
        with writing(target) as file:
            _done(lambda: self._copy(name, file))

    async def _copy(self, name: str, file: IO[bytes]) -> None:
        """A request for each part: a long transfer ends in no time-out, and repeats only a part."""
        with self._explained("read", name):
            try:
                first = await self._store.get_async(name, options={"range": (0, _PART)})
                size, part = first.meta["size"], await first.bytes_async()
            except Exception as exc:
                if "status code: 416" not in str(exc):
                    raise
                # It is empty, and has no first part.
                return
        file.write(part)
        for start in range(_PART, size, _PART):
            with self._explained("read", name):
                part = await self._store.get_range_async(name, start=start, length=_PART)
            if len(part) != min(_PART, size - start):
                raise PlaceError(f"{SETTING}: {self.name} cannot be read: an answer was cut off", hint="Run it again.")
            file.write(part)

    def delete(self, names: Iterable[str]) -> None:
        """See Place."""
        for name in names:
            with suppress(ObjectGoneError), self._explained("deleted from", name):
                _done(partial(self._store.delete_async, name))

    def objects(self, prefix: str = "") -> Iterator[Placed]:
        """See Place."""
        # The library takes whole words of names.
        words = prefix.rpartition("/")[0]
        with self._explained("listed"):
            found = _done(lambda: self._store.list(words or None).collect_async())
        for one in found:
            if one["path"].startswith(prefix):
                at = one["last_modified"].astimezone(UTC)
                yield Placed(name=one["path"], bytes=one["size"], at=at)

    def try_out(self) -> None:
        """See Place."""
        url, settings = self._opened_with
        tried_out(ObjectStore(url, settings, patience=_LITTLE_PATIENCE))

    @contextmanager
    def _explained(self, what: str, name: str = "") -> Iterator[None]:
        """Raise PlaceError, without the library's text, which may hold a part of a login.

        Shapes:
            what: cannot be done.
            name: of an object that may be gone.
        """
        try:
            yield
        except Exception as exc:
            raise object_store_faults.explained(exc, self._opened_with[0], what, name) from None


def _done(call: Callable[[], Awaitable[Any]]) -> Any:
    """What a call of the library returns. A signal is heard meanwhile, unlike in its calls that wait themselves."""

    async def awaited() -> Any:
        return await call()

    return asyncio.run(awaited())


def _opened(url: PlaceUrl, settings: Settings, patience: _Patience) -> Any:
    try:
        with importing:
            from obstore import store
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != "obstore":
            raise
        hint = "Install it with `pip install 'syncer[cluster]'`."
        raise SettingsError(f"{SETTING}: what reaches `{url.scheme}://` is not installed", hint=hint) from None
    kinds: dict[str, Any] = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}
    config = _config(url, settings)
    address = next((config[name] for name in reversed(_ENDPOINTS[url.scheme]) if name in config), "")
    options = {
        "allow_http": address.startswith("http://"),
        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
        "timeout": timedelta(seconds=patience.seconds),
    }
    retry = {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(seconds=patience.retry_seconds),
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
    }
    try:
        return kinds[url.scheme](
            url.bucket, prefix=url.path or None, config=config, client_options=options, retry_config=retry,
            **_login(url, settings),
        )  # fmt: skip
    except Exception:
        # Its text may hold a part of the login.
        raise SettingsError(
            f"{SETTING}: the login for {url.text} cannot be used",
            hint=object_store_faults.login_hint(url),
        ) from None


def _config(url: PlaceUrl, settings: Settings) -> dict[str, Any]:
    """What the library is told."""
    environment, own = settings.environment, settings.snapshots
    found = {name.lower(): environment[name] for name in _VARIABLES[url.scheme] if environment.get(name)}
    for name in _ENDPOINTS[url.scheme]:
        if url.endpoint:
            found[name] = url.endpoint
        elif name in found and not is_endpoint(found[name]):
            raise SettingsError(f"{name.upper()}: should be an address such as `https://minio.internal:9000`")
    if url.scheme == "s3":
        # Not every service that speaks like S3 deletes several objects at once.
        return found | {"disable_bulk_delete": True} | ({"aws_region": url.region} if url.region else {})
    if url.scheme == "gs":
        return found | ({"service_account_key": own.secret.get_secret_value()} if own.secret else {})
    if own.key_id:
        found["azure_storage_account_name"] = own.key_id
    if not found.get("azure_storage_account_name"):
        raise SettingsError(
            f"{SETTING}: {url.text} needs the name of its storage account", hint="Set SYNCER_SNAPSHOTS__KEY_ID to it."
        )
    return found


def _login(url: PlaceUrl, settings: Settings) -> dict[str, Any]:
    """The login of the settings, beside which no variable counts, such as the token of another login."""
    own = settings.snapshots
    if own.secret is None or url.scheme == "gs":
        return {}
    secret = own.secret.get_secret_value()
    given: dict[str, Any] = {"expires_at": None, "access_key": secret}
    if url.scheme == "s3":
        given = {"expires_at": None, "access_key_id": own.key_id, "secret_access_key": secret, "token": None}
    return {"credential_provider": lambda: given}
