"""A DuckDB file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from tests.benchmarks.warehouses.candidate import Candidate

_PEOPLE = """
CREATE TABLE people AS
SELECT i AS user_id, 'user' || i || '@example.com' AS email, 'Name ' || i AS name,
    CASE WHEN i % 7 <> 0 THEN 'city ' || i % 1000 END AS city,
    CAST(i * 7 % 10000000 / 100 AS DECIMAL(12, 2)) AS ltv,
    TIMESTAMP '2024-01-01' + to_seconds(i) AS created_at, DATE '2024-01-01' AS born,
    CAST(i % 100 AS INTEGER) AS score, CASE WHEN i % 3 = 0 THEN 'free' ELSE 'pro' END AS plan,
    CASE WHEN i % 5 <> 0 THEN i * 3 END AS visits
FROM range(1, {rows} + 1) AS t (i)
"""


@contextmanager
def _file(rows: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="syncer-benchmark-") as folder:
        with duckdb.connect(f"{folder}/shop.duckdb") as connection:
            connection.execute(_PEOPLE.format(rows=rows))
        yield f"duckdb:///{folder}/shop.duckdb"


def _drain(url: str, query: str) -> None:
    path = url.removeprefix("duckdb:///")
    with duckdb.connect(path, read_only=True) as connection, connection.sql(query).to_arrow_reader() as batches:
        for _ in batches:
            pass


DUCKDB = Candidate(serve=_file, bare=_drain, against="duckdb, its Arrow reader")
