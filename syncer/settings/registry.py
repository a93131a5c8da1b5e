"""How warehouses and stores are reached: a URL, the installed connector that opens it, and what that one takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, cast
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode

from syncer.model.connectors import ANY_OTHER, Connector, Options, StoreConnector, WarehouseConnector, scheme_of
from syncer.model.errors import SettingsError, StoreRefusesError
from syncer.model.types import Identity, SyncDefinition

if TYPE_CHECKING:
    from syncer.model.protocols import ProfileStore, Warehouse

#: The field that holds what the connector takes; settings are named without it.
OPTIONS = "options"

#: Groups of entry points.
_WAREHOUSES, _STORES = "syncer.warehouses", "syncer.stores"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=://)")
_SECRET_WORDS = re.compile(r"pass|pwd|secret|token|key|credential|auth|sas|sig", re.IGNORECASE)
_MASK = "***"

_Kind = TypeVar("_Kind", bound=Connector)
_Settings = TypeVar("_Settings", bound="ConnectionSettings")


def _listed(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


#: A list; in a variable, separated by commas or blanks.
Words = Annotated[list[str], NoDecode, BeforeValidator(_listed)]


@cache
def warehouses() -> Mapping[str, WarehouseConnector]:
    """Every kind of warehouse by URL scheme; SettingsError if what a package registers cannot be used."""
    return _registered(_WAREHOUSES, WarehouseConnector)


@cache
def stores() -> Mapping[str, StoreConnector]:
    """Every kind of profile store by URL scheme; SettingsError if what a package registers cannot be used."""
    return _registered(_STORES, StoreConnector)


def connector_of(url: str, registered: Mapping[str, _Kind]) -> _Kind | None:
    """The one that opens *url*; None if there is none."""
    return registered.get(scheme_of(url)) or registered.get(ANY_OTHER)


def names_file(url: str) -> bool:
    """Whether *url* is the path of a file or folder."""
    scheme = scheme_of(url)
    return any(one.is_file for one in (warehouses().get(scheme), stores().get(scheme)) if one is not None)


def dialect(url: str) -> str:
    """sqlglot's name for the SQL of a warehouse's URL; sqlglot may know no dialect of this name."""
    found = connector_of(url, warehouses())
    return found.dialect_of(url) if found is not None else scheme_of(url)


def open_warehouse(name: str, url: str, *, options: Options | None = None, sync: str = "") -> Warehouse:
    """The warehouse at *url*, which messages call *name*.

    Shapes:
        sync: whose query it will be, for the warehouse's own lists of queries.
    Raises:
        SettingsError: no warehouse reads URLs of this scheme, or its driver is not installed.
        WarehouseError: it cannot be reached.
    """
    found = connector_of(url, warehouses())
    if found is None:
        raise _unknown("warehouse", name, url, warehouses())
    return cast("Warehouse", found.load()(name, url, options=options or found.options(), sync=sync))


def open_store(
    name: str, url: str, *, identity: Identity, options: Options | None = None, started_at: datetime | None = None
) -> ProfileStore:
    """The profile store at *url*, which messages call *name*; one that does not exist is made when it is fed.

    Shapes:
        started_at: the start of the run, aware: changes count as of then. None means now.
    Raises:
        SettingsError: no store has URLs of this scheme, or its driver is not installed.
        StoreError: it cannot be reached, or was made with another identity.
    """
    found = connector_of(url, stores())
    if found is None:
        raise _unknown("store", name, url, stores())
    opened = found.load()(name, url, identity=identity, options=options or found.options(), started_at=started_at)
    return cast("ProfileStore", opened)


def _unknown(kind: str, name: str, url: str, registered: Mapping[str, Connector]) -> SettingsError:
    return SettingsError(
        f"{kind} `{name}`: no {kind} has URLs that start with `{scheme_of(url)}:`",
        hint=f"Use one of: {', '.join(sorted(registered))}.",
    )


@cache
def _entries() -> Mapping[str, tuple[EntryPoint, ...]]:
    """By group. To look for them takes as long for both as for one: it reads a file of each installed package."""
    found = entry_points()
    return {group: tuple(found.select(group=group)) for group in (_WAREHOUSES, _STORES)}


def _registered(group: str, kind: type[_Kind]) -> dict[str, _Kind]:
    found: dict[str, _Kind] = {}
    for entry in sorted(_entries()[group], key=lambda entry: entry.name):
        connector = _loaded(entry, kind)
        for scheme in connector.schemes:
            if found.setdefault(scheme, connector) is not connector:
                raise _unusable(entry, f"opens `{scheme}:` URLs, and so does another connector")
    if not found:
        raise SettingsError(f"no installed package registers any of `{group}`", hint="Install Syncer again.")
    return found


def _loaded(entry: EntryPoint, kind: type[_Kind]) -> _Kind:
    try:
        connector = entry.load()
    except Exception as exc:
        # The message comes from the package's own code and may contain anything.
        raise _unusable(entry, f"cannot be loaded ({type(exc).__name__})") from exc
    if not isinstance(connector, kind):
        raise _unusable(entry, f"is not a {kind.__name__}")
    return connector


def _unusable(entry: EntryPoint, said: str) -> SettingsError:
    package = entry.dist.name if entry.dist is not None else entry.module
    return SettingsError(
        f"the connector `{entry.name}` of the package `{package}` {said}", hint=f"Correct `{package}`, or uninstall it."
    )


def checked(url: str) -> str:
    """*url* with its scheme in lower case, without surrounding blanks.

    Raises:
        ValueError: it is no URL; the message says why, without any part of it.
    """
    url = url.strip()
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise ValueError("is not a URL such as `postgresql://USER:PASSWORD@HOST/DATABASE`")
    if not url.isprintable() or " " in url:
        raise ValueError("contains a blank or a control character; encode it, a blank as `%20`")
    if "%00" in url:
        raise ValueError("contains `%00`, a NUL, which no path, name or password can have")
    if not _has_ports(url):
        # What would be the port may be the start of the password.
        raise ValueError("cannot be read; encode `/`, `?`, `#`, `@` and `:` in a password, a `/` as `%2F`")
    return scheme[0].lower() + url[scheme.end() :]


def _has_ports(url: str) -> bool:
    """Whether what would be ports are numbers; of PostgreSQL, a URL may have several hosts."""
    try:
        hosts = urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return False
    ports = (re.fullmatch(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::(\d*))?", host) for host in hosts.split(","))
    return all(found and int(found[1] or 0) < 2**16 for found in ports)


def in_url(path: Path | str) -> str:
    """*path* as the path of a URL, which `file_of` decodes."""
    return re.sub(r"[%?#\x00-\x20\x7f]", lambda found: quote(found[0]), str(path))


def beside(url: str, folder: Path) -> str:
    """*url*; if it names a file by a relative path, with *folder* before that path."""
    scheme, _, rest = url.partition("://")
    path, mark, query = rest.partition("?")
    if not names_file(url) or not path.startswith("/") or path in {"/", "/:memory:"}:
        return url
    # The first slash ends the empty host: `///file` is relative, `////file` is not.
    return f"{scheme}:///{Path(in_url(folder)) / path[1:]}{mark}{query}"


def shown(url: str) -> str:
    """*url* for people: without password, and without values in its query that look secret."""
    parts = urlsplit(url)
    parameters = [parameter for parameter in parts.query.split("&") if parameter]
    if any("@" in part for part in (parts.path, parts.fragment, *(p for p in parameters if "=" not in p))):
        # A password that is not encoded was taken for something else.
        return f"{parts.scheme}://{_MASK}"
    login, at, host = parts.netloc.rpartition("@")
    query = "&".join(map(_shown_parameter, parameters))
    return f"{parts.scheme}://{login.partition(':')[0]}{at}{host}{parts.path}{'?' if query else ''}{query}"


def _shown_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if not equals:
        return _MASK
    return f"{name}={_MASK}" if _SECRET_WORDS.search(name) else parameter


Url = Annotated[SecretStr, AfterValidator(lambda url: SecretStr(checked(url.get_secret_value())))]


class ConnectionSettings(BaseModel):
    """How to reach a warehouse or store; its text holds no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    #: The kinds that there are, by URL scheme.
    registered: ClassVar[Callable[[], Mapping[str, Connector]]]

    url: Url

    @property
    def shown_url(self) -> str:
        """The URL for people, without its secrets."""
        return shown(self.url.get_secret_value())

    def in_folder(self: _Settings, folder: Path) -> _Settings:
        """The same, with a relative path in its URL starting at *folder*."""
        return self.model_copy(update={"url": SecretStr(beside(self.url.get_secret_value(), folder))})

    @classmethod
    def names(cls) -> set[str]:
        """The settings that a connection may have, whatever its URL."""
        of_connectors = (name for connector in cls.registered().values() for name in connector.options.model_fields)
        return {*of_connectors, *cls.model_fields} - {OPTIONS}

    @model_validator(mode="before")
    @classmethod
    def _with_options(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        own = {name: value for name, value in data.items() if name in cls.model_fields and name != OPTIONS}
        return {**own, OPTIONS: {name: value for name, value in data.items() if name not in own}}

    @field_validator(OPTIONS, mode="plain", check_fields=False)
    @classmethod
    def _as_its_connector_takes_them(cls, given: dict[str, Any], info: ValidationInfo) -> Options:
        url = info.data.get("url")
        connector = None if url is None else connector_of(url.get_secret_value(), cls.registered())
        takes = Options if connector is None else connector.options
        others = [name for name in given if name not in takes.model_fields and name in cls.names()]
        found = takes.model_validate({name: value for name, value in given.items() if name not in others})
        if others and url is not None:
            connectors = cls.registered().values()
            schemes = sorted({one.schemes[0] for one in connectors if others[0] in one.options.model_fields})
            raise ValueError(f"`{others[0]}` is only for {' and '.join(schemes)} URLs")
        return found


class WarehouseSettings(ConnectionSettings):
    registered = staticmethod(warehouses)
    options: SerializeAsAny[Options] = Options()

    def open(self, name: str, *, sync: str = "") -> Warehouse:
        """See `open_warehouse`; to be closed by the caller."""
        return open_warehouse(name, self.url.get_secret_value(), options=self.options, sync=sync)


class StoreSettings(ConnectionSettings):
    registered = staticmethod(stores)
    identity: Identity = Field(
        default=Identity.ID,
        description="what [identifies people](stores.md#identity): `id`, `email`, `id_or_email` or `id_email_or_phone`",
    )
    options: SerializeAsAny[Options] = Options()

    @property
    def replaces_collections(self) -> bool:
        """See `StoreConnector`."""
        connector = connector_of(self.url.get_secret_value(), stores())
        return connector is not None and connector.replaces_collections

    def check(self, name: str, definition: SyncDefinition) -> None:
        """Raise StoreRefusesError if the store can never take a sync, as far as the settings show."""
        if connector := connector_of(self.url.get_secret_value(), stores()):
            create, options = definition.create, self.options
            connector.check(name, definition.target, create=create, identity=self.identity, options=options)
            if definition.target.names_previous and not connector.moves_people:
                raise StoreRefusesError(
                    f"store `{name}` cannot change the email by which it knows a person",
                    hint="Remove `previous`, and let a sync of `entity: merge` join the two: keep the new email, merge "
                    "the old one.",
                    field="person.previous",
                )
            for part, limit in (("deleted", definition.limits.deleted), ("merged", definition.limits.merged)):
                if limit is not None and limit.share is not None and not connector.counts_people:
                    raise StoreRefusesError(
                        f"store `{name}` cannot count its people, so `{part}` cannot be a share of them",
                        hint=f"Write a number of rows, such as `limits: {{{part}: 100}}`.",
                        field=f"limits.{part}",
                    )

    def open(
        self, name: str, *, started_at: datetime | None = None, fed_by: SyncDefinition | None = None
    ) -> ProfileStore:
        """See `open_store`; to be closed by the caller. For a sync that feeds it, after `check`."""
        if fed_by is not None:
            self.check(name, fed_by)
        url = self.url.get_secret_value()
        return open_store(name, url, identity=self.identity, options=self.options, started_at=started_at)


#: The settings that are several connections, each by a name.
GROUPS: Mapping[str, type[ConnectionSettings]] = {"warehouses": WarehouseSettings, "stores": StoreSettings}
