"""What the warehouse of every other database declares: the databases that it knows by name."""

from __future__ import annotations

from syncer.model.connectors import ANY_OTHER, WarehouseConnector, information_schema

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
    listings={
        "clickhousedb": information_schema("table_schema = currentDatabase()"),
        "mssql": information_schema("table_schema = schema_name()"),
        "oracle": "SELECT user, table_name, column_name, data_type, 1 FROM user_tab_columns "
        "ORDER BY table_name, column_id",
        "sqlite": "SELECT 'main', t.name, c.name, c.type, 1 "
        "FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c "
        "WHERE t.type IN ('table', 'view') ORDER BY t.name, c.cid",
        "trino": information_schema("table_schema = current_schema"),
    },
)
