"""The only package that talks to the outside: opens a warehouse or a profile store by its URL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from typing import cast

from connectors.support.drivers import importing
from syncer.model.errors import SettingsError
from syncer.model.protocols import ProfileStore, Warehouse
from syncer.model.types import Identity, StoreOptions, WarehouseOptions

#: URL scheme to the class that reads it, imported on use.
WAREHOUSES: Mapping[str, str] = {
    "duckdb": "connectors.duckdb.warehouse:DuckDBWarehouse",
    "bigquery": "connectors.bigquery.warehouse:BigQueryWarehouse",
    "postgresql": "connectors.postgresql.warehouse:PostgreSQLWarehouse",
    "postgres": "connectors.postgresql.warehouse:PostgreSQLWarehouse",
    "mysql": "connectors.mysql.warehouse:MySQLWarehouse",
    "mariadb": "connectors.mysql.warehouse:MySQLWarehouse",
    "snowflake": "connectors.snowflake.warehouse:SnowflakeWarehouse",
    "redshift": "connectors.redshift.warehouse:RedshiftWarehouse",
}

_ANY_OTHER_WAREHOUSE = "connectors.sqlalchemy.warehouse:SQLAlchemyWarehouse"

#: URL scheme to the class that writes it, imported on use.
STORES: Mapping[str, str] = {
    "sqlite": "connectors.sqlite.store:SQLiteStore",
    "postgresql": "connectors.postgresql.store:PostgreSQLStore",
    "postgres": "connectors.postgresql.store:PostgreSQLStore",
    "customerio": "connectors.customerio.store:CustomerIOStore",
}


def open_warehouse(name: str, url: str, *, options: WarehouseOptions | None = None, sync: str = "") -> Warehouse:
    """The warehouse at *url*, which messages call *name*.

    Shapes:
        sync: whose query it will be, for the warehouse's own lists of queries.
    Raises:
        SettingsError: no warehouse reads URLs of this scheme, or its driver is not installed.
        WarehouseError: it cannot be reached.
    """
    reader = WAREHOUSES.get(_scheme(url), _ANY_OTHER_WAREHOUSE)
    return cast(Warehouse, _imported(reader)(name, url, options=options or WarehouseOptions(), sync=sync))


def open_store(
    name: str,
    url: str,
    *,
    identity: Identity,
    options: StoreOptions | None = None,
    started_at: datetime | None = None,
) -> ProfileStore:
    """The profile store at *url*, which messages call *name*; made on first use.

    Shapes:
        started_at: the start of the run, aware: what the store is told of is from then; None for now.
    Raises:
        SettingsError: no store has URLs of this scheme, or its driver is not installed.
        StoreError: it cannot be reached, or was made with another identity.
    """
    scheme = _scheme(url)
    if scheme not in STORES:
        raise SettingsError(
            f"store `{name}`: no store has URLs that start with `{scheme}:`", hint=f"Use one of: {', '.join(STORES)}."
        )
    opened = _imported(STORES[scheme])(
        name, url, identity=identity, options=options or StoreOptions(), started_at=started_at
    )
    return cast(ProfileStore, opened)


def _scheme(url: str) -> str:
    return url.split(":", 1)[0].split("+", 1)[0]


def _imported(place: str) -> type:
    module, _, attribute = place.partition(":")
    with importing:
        return cast(type, getattr(import_module(module), attribute))
