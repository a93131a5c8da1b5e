"""SQLite, by way of SQLAlchemy."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pyarrow as pa
import pytest

from syncer.model.protocols import NUMBER
from tests.contracts.warehouses.adapter import (
    TEXT,
    Adapter,
    TypeCase,
    entered,
    with_people,
)


def sqlite_file(request: pytest.FixtureRequest) -> Adapter:
    """An SQLite file, by way of SQLAlchemy: a driver that tells no types."""
    path = Path(entered(request, TemporaryDirectory()), "warehouse ü?.sqlite")

    def make_table(name: str, select: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"CREATE TABLE {name} AS {select}")

    series = "(WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s LIMIT {}) SELECT i FROM s) AS t"
    return with_people(
        Adapter(
            url=f"sqlite:///{quote(str(path))}",
            make_table=make_table,
            product="SQLite",
            silent=f"SELECT i FROM {series.format(10**15)} WHERE i < 0",
            flooding=f"SELECT i FROM {series.format(10**15)}",
            types=_SQLITE_TYPES,
            marks=f"SELECT char(65279) || '{'x' * 20}' AS a FROM {series.format(200_000)}",
            bad_values=("SELECT json_extract(name, '$') FROM people", "SELECT json('Ann')"),
            bad_late=f"SELECT CASE WHEN i = 900000 THEN json('x') ELSE '1' END FROM {series.format(1_000_000)}",
            many="SELECT i AS id, 'user' || i || '@example.com' AS email, 'Name ' || i AS name, "
            "CASE WHEN i % 7 <> 0 THEN 'city ' || i % 1000 END AS city, i / 100.0 AS ltv, "
            "datetime(1704067200 + i, 'unixepoch') AS seen_at, i % 2 = 0 AS active, 'free' AS plan, "
            f"'2024-01-01' AS born, i % 100 AS score FROM {series.format(1_000_000)}",
            tells_types=False,
            binary=("x'00ff'",),
            broken_text="CAST(x'61ff' AS TEXT)",
        )
    )


_SQLITE_TYPES: list[TypeCase] = [
    ("9223372036854775807", TEXT, NUMBER, "9223372036854775807"),
    ("0.1", TEXT, NUMBER, "0.1"),
    ("1e308", TEXT, NUMBER, "1e+308"),
    ("-9e999", TEXT, NUMBER, "-Infinity"),
    ("'1'", TEXT, None, "1"),
    ("''", TEXT, None, ""),
    ("x'00ff'", pa.binary(), None, b"\x00\xff"),
    ("x''", pa.binary(), None, b""),
    ("NULL", TEXT, None, None),
    ("':x %s %'", TEXT, None, ":x %s %"),
]
