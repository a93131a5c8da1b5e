"""What the warehouse of every other database declares: the databases that it knows by name."""

from __future__ import annotations

from syncer.model.connectors import ANY_OTHER, WarehouseConnector

WAREHOUSE = WarehouseConnector(
    schemes=(ANY_OTHER,),
    opened_by="connectors.sqlalchemy.warehouse:SQLAlchemyWarehouse",
    dialects={
        "clickhousedb": "clickhouse",
        "cockroachdb": "postgres",
        "mariadb": "mysql",
        "mssql": "tsql",
        "postgresql": "postgres",
    },
)
