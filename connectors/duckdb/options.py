"""What DuckDB declares: its URLs and the settings beside them."""

from __future__ import annotations

from syncer.model.connectors import WarehouseConnector

WAREHOUSE = WarehouseConnector(
    schemes=("duckdb",), opened_by="connectors.duckdb.warehouse:DuckDBWarehouse", is_file=True
)
