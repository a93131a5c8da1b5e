"""The warehouses that the benchmark runs over. A further one is one module here and its names in CANDIDATES."""

from __future__ import annotations

from collections.abc import Mapping

#: Name to the module here and the `Candidate` in it, imported on use: another driver's libraries would be counted as
#: memory.
CANDIDATES: Mapping[str, str] = {
    "PostgreSQL": "postgresql:POSTGRESQL",
    "Redshift": "postgresql:REDSHIFT",
    "MariaDB": "mysql:MARIADB",
    "DuckDB": "duckdb:DUCKDB",
    "BigQuery": "bigquery:STORAGE",
    "BigQuery-REST": "bigquery:REST",
    "Snowflake": "snowflake:SNOWFLAKE",
    "SQLite": "sqlite:SQLITE",
    "SQLAlchemy": "postgresql:SQLALCHEMY",
}
