"""The connectors of the installed packages, found by the scheme of a URL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, TypeVar, cast

from syncer.model.connectors import ANY_OTHER, Connector, Options, StoreConnector, WarehouseConnector, scheme_of
from syncer.model.errors import SettingsError
from syncer.model.types import Identity

if TYPE_CHECKING:
    from syncer.model.protocols import ProfileStore, Warehouse

_Kind = TypeVar("_Kind", bound=Connector)


@cache
def warehouses() -> Mapping[str, WarehouseConnector]:
    """Every kind of warehouse by URL scheme.

    Raises:
        SettingsError: what a package registers cannot be used.
    """
    return _registered("syncer.warehouses", WarehouseConnector)


@cache
def stores() -> Mapping[str, StoreConnector]:
    """Every kind of profile store by URL scheme.

    Raises:
        SettingsError: what a package registers cannot be used.
    """
    return _registered("syncer.stores", StoreConnector)


def connector_of(url: str, registered: Mapping[str, _Kind]) -> _Kind | None:
    """The one that opens *url*; None where there is none."""
    return registered.get(scheme_of(url)) or registered.get(ANY_OTHER)


def names_file(url: str) -> bool:
    """Whether *url* is the path of a file or folder."""
    scheme = scheme_of(url)
    return any(one.is_file for one in (warehouses().get(scheme), stores().get(scheme)) if one is not None)


def dialect(url: str) -> str:
    """sqlglot's name for the SQL of a warehouse's URL; sqlglot may know none of this name."""
    found, scheme = connector_of(url, warehouses()), scheme_of(url)
    return found.dialects.get(scheme, scheme) if found is not None else scheme


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
    name: str,
    url: str,
    *,
    identity: Identity,
    options: Options | None = None,
    started_at: datetime | None = None,
) -> ProfileStore:
    """The profile store at *url*, which messages call *name*; made on first use.

    Shapes:
        started_at: the start of the run, aware: what the store is told of is from then; None for now.
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


def _registered(group: str, kind: type[_Kind]) -> dict[str, _Kind]:
    found: dict[str, _Kind] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        connector = _loaded(entry, kind)
        for scheme in connector.schemes:
            if found.setdefault(scheme, connector) is not connector:
                raise _unusable(entry, f"opens `{scheme}:` URLs, which another connector does already")
    if not found:
        raise SettingsError(f"no package registers any of `{group}`", hint="Install Syncer again.")
    return found


def _loaded(entry: EntryPoint, kind: type[_Kind]) -> _Kind:
    try:
        connector = entry.load()
    except Exception as exc:
        # Anybody's code; what it says may be anything.
        raise _unusable(entry, f"cannot be loaded ({type(exc).__name__})") from exc
    if not isinstance(connector, kind):
        raise _unusable(entry, f"is no {kind.__name__}")
    return connector


def _unusable(entry: EntryPoint, said: str) -> SettingsError:
    package = entry.dist.name if entry.dist is not None else entry.module
    return SettingsError(
        f"the connector `{entry.name}` of the package `{package}` {said}",
        hint=f"Correct `{package}`, or uninstall it.",
    )
