"""The conditions for incremental queries that the manual shows, run on what this machine has."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import duckdb
import psycopg
import pytest

from syncer.docs.topics import topic
from syncer.settings.registry import open_warehouse

#: 2024-01-02, in seconds since 1970.
LAST_SYNC_TIME = "1704153600"
_ORDERS = (
    "CREATE TABLE orders AS SELECT 1 AS id, {0}('2024-01-01 23:59:59'{1}) AS updated_at "
    "UNION ALL SELECT 2, {0}('2024-01-02 00:00:00'{1})"
)


@pytest.fixture
def urls(tmp_path: Path, postgres_url: str) -> dict[str, str]:
    """Each warehouse with a table `orders`, of which one row has changed since."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(_ORDERS.format("CAST", " AS timestamp"))
    with duckdb.connect(str(tmp_path / "orders.duckdb")) as database:
        database.execute(_ORDERS.format("CAST", " AS timestamp"))
    with closing(sqlite3.connect(tmp_path / "orders.sqlite")) as file, file:
        file.execute(_ORDERS.format("", ""))
    return {
        "PostgreSQL": postgres_url,
        "Redshift": postgres_url.replace("postgresql:", "redshift:"),
        "DuckDB": f"duckdb:///{tmp_path}/orders.duckdb",
        "SQLite": f"sqlite:///{tmp_path}/orders.sqlite",
    }


@pytest.mark.parametrize("name", ["PostgreSQL", "Redshift", "DuckDB", "SQLite"])
def test_the_manuals_condition_takes_what_changed_since(urls: dict[str, str], name: str) -> None:
    found = re.search(rf"(?m)^\| {name} \| `(.*)` \|$", topic("warehouses").text)
    assert found is not None
    condition = found[1].replace("{{ last_sync_time }}", LAST_SYNC_TIME)
    warehouse = open_warehouse("crm", urls[name])

    result = warehouse.query(f"SELECT id FROM orders WHERE {condition}", timeout=timedelta(minutes=1)).read_all()
    warehouse.close()

    assert [int(value) for value in result["id"].to_pylist()] == [2]
