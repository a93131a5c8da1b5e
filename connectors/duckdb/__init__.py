"""DuckDB as a warehouse: a database file, or a folder of CSV, Parquet and JSON files."""
