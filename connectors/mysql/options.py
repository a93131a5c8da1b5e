"""What MySQL declares: its URLs and the settings beside them."""

from __future__ import annotations

from syncer.model.connectors import WarehouseConnector

WAREHOUSE = WarehouseConnector(
    schemes=("mysql", "mariadb"),
    opened_by="connectors.mysql.warehouse:MySQLWarehouse",
    extra="mysql",
    dialects={"mariadb": "mysql"},
)
