"""PostgreSQL, and Redshift and SQLAlchemy over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.benchmarks.warehouses.candidate import CHUNK_ROWS, Candidate
from tests.benchmarks.warehouses.sqlite import read_by_sqlalchemy
from tests.servers.postgresql import postgres_server

_PEOPLE = """
CREATE TABLE people AS
SELECT i AS user_id, 'user' || i || '@example.com' AS email, 'Name ' || i AS name,
    CASE WHEN i % 7 <> 0 THEN 'city ' || i % 1000 END AS city, (i * 7 % 10000000)::numeric(12, 2) / 100 AS ltv,
    timestamp '2024-01-01 00:00' + i * interval '1 second' AS created_at, date '2024-01-01' AS born,
    i % 100 AS score, CASE WHEN i % 3 = 0 THEN 'free' ELSE 'pro' END AS plan,
    CASE WHEN i % 5 <> 0 THEN i::bigint * 3 END AS visits
FROM generate_series(1, {rows}) AS i
"""


@contextmanager
def _postgresql(rows: int) -> Iterator[str]:
    with postgres_server() as server, server.new_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_PEOPLE.replace("{rows}", str(rows)))
            connection.execute("VACUUM (FREEZE, ANALYZE) people")
        yield url


@contextmanager
def _redshift(rows: int) -> Iterator[str]:
    with _postgresql(rows) as url:
        yield url.replace("postgresql:", "redshift:", 1)


@contextmanager
def _sqlalchemy(rows: int) -> Iterator[str]:
    with _postgresql(rows) as url:
        yield url.replace("postgresql:", "postgresql+psycopg:", 1)


def _copy(url: str, query: str) -> None:
    with psycopg.connect(url) as connection, connection.cursor().copy(f"COPY ({query}) TO STDOUT") as copy:
        for _ in copy:
            pass


def _stream(url: str, query: str) -> None:
    with psycopg.connect(url.replace("redshift:", "postgresql:", 1)) as connection, connection.cursor() as cursor:
        for _ in cursor.stream(query, size=CHUNK_ROWS):
            pass


POSTGRESQL = Candidate(serve=_postgresql, bare=_copy, against="psycopg, a bare COPY")
REDSHIFT = Candidate(serve=_redshift, bare=_stream, against="psycopg, its stream of rows")
SQLALCHEMY = Candidate(
    serve=_sqlalchemy,
    bare=read_by_sqlalchemy,
    against="SQLAlchemy, partitions of a streamed result, over psycopg",
    opened_by="connectors.sqlalchemy.warehouse:SQLAlchemyWarehouse",
)
