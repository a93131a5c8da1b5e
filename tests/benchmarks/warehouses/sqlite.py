"""SQLite, by way of SQLAlchemy."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager

from sqlalchemy import create_engine, text

from tests.benchmarks.warehouses.candidate import CHUNK_ROWS, Candidate

_PEOPLE = """
CREATE TABLE people AS
WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s LIMIT {rows})
SELECT i AS user_id, 'user' || i || '@example.com' AS email, 'Name ' || i AS name,
    CASE WHEN i % 7 <> 0 THEN 'city ' || i % 1000 END AS city, i * 7 % 10000000 / 100.0 AS ltv,
    datetime(1704067200 + i, 'unixepoch') AS created_at, '2024-01-01' AS born,
    i % 100 AS score, CASE WHEN i % 3 = 0 THEN 'free' ELSE 'pro' END AS plan,
    CASE WHEN i % 5 <> 0 THEN i * 3 END AS visits
FROM s
"""


@contextmanager
def _file(rows: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="syncer-benchmark-") as folder:
        with closing(sqlite3.connect(f"{folder}/shop.sqlite")) as connection, connection:
            connection.execute(_PEOPLE.format(rows=rows))
        yield f"sqlite:///{folder}/shop.sqlite"


def read_by_sqlalchemy(url: str, query: str) -> None:
    """Read all that *query* returns in partitions of a streamed result.

    Source: https://docs.sqlalchemy.org/en/20/core/connections.html#streaming-with-a-fixed-buffer-via-yield-per.
    """
    engine = create_engine(url)
    with engine.connect() as connection:
        result = connection.execution_options(yield_per=CHUNK_ROWS).execute(text(query))
        for _ in result.partitions():
            pass
    engine.dispose()


SQLITE = Candidate(
    serve=_file, bare=read_by_sqlalchemy, against="SQLAlchemy, partitions of a streamed result, over sqlite3"
)
