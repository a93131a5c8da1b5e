"""What DuckDB declares: its URLs and the settings beside them."""

from __future__ import annotations

from syncer.model.connectors import WarehouseConnector, information_schema

#: The type of a view's column is known once its file has been read.
_COLUMNS = """(
    SELECT c.*, CASE t.table_type WHEN 'VIEW' THEN NULL ELSE c.data_type END AS known_type
    FROM information_schema.columns AS c JOIN information_schema.tables AS t
    USING (table_catalog, table_schema, table_name)
    WHERE table_catalog NOT IN ('system', 'temp')
) AS c"""

WAREHOUSE = WarehouseConnector(
    schemes=("duckdb",),
    opened_by="connectors.duckdb.warehouse:DuckDBWarehouse",
    is_file=True,
    listings={"duckdb": information_schema("table_schema = 'main'", column_type="known_type", columns=_COLUMNS)},
)
