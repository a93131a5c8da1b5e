"""What MySQL declares: its URLs and the settings beside them."""

from __future__ import annotations

from syncer.model.connectors import WarehouseConnector, information_schema

_LISTING = information_schema("table_schema = database()", column_type="column_type")

WAREHOUSE = WarehouseConnector(
    schemes=("mysql", "mariadb"),
    opened_by="connectors.mysql.warehouse:MySQLWarehouse",
    extra="mysql",
    dialects={"mariadb": "mysql"},
    listings={"mysql": _LISTING, "mariadb": _LISTING},
)
