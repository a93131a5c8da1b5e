"""What PostgreSQL declares: its URLs and the settings beside them."""

from __future__ import annotations

from syncer.model.connectors import StoreConnector, WarehouseConnector

_SCHEMES = ("postgresql", "postgres")

WAREHOUSE = WarehouseConnector(
    schemes=_SCHEMES,
    opened_by="connectors.postgresql.warehouse:PostgreSQLWarehouse",
    dialects={"postgresql": "postgres"},
)
STORE = StoreConnector(schemes=_SCHEMES, opened_by="connectors.postgresql.store:PostgreSQLStore")
