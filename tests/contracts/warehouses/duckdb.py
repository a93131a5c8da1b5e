"""DuckDB: a file, and a folder of files."""

from __future__ import annotations

from datetime import UTC, date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pytest

from syncer.model.protocols import JSON, NUMBER
from tests.contracts.warehouses.adapter import (
    DAY,
    END,
    LAST_DAY,
    NAIVE,
    NOON,
    TEXT,
    UTC_TIME,
    UUID,
    Adapter,
    MakeTable,
    TypeCase,
    entered,
    with_people,
)


def duckdb_file(request: pytest.FixtureRequest) -> Adapter:
    """A DuckDB file."""
    path = Path(entered(request, TemporaryDirectory()), "warehouse.duckdb")

    def make_table(name: str, select: str) -> None:
        with duckdb.connect(str(path)) as connection:
            connection.execute(f"CREATE TABLE {name} AS {select}")

    return with_people(_duckdb(path, make_table))


def duckdb_folder(request: pytest.FixtureRequest) -> Adapter:
    """A folder of Parquet files."""
    folder = Path(entered(request, TemporaryDirectory()))

    def make_table(name: str, select: str) -> None:
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({select}) TO '{folder / name}.parquet'")

    return with_people(_duckdb(folder, make_table))


def _duckdb(path: Path, make_table: MakeTable) -> Adapter:
    return Adapter(
        url=f"duckdb:///{path}",
        make_table=make_table,
        product="DuckDB",
        silent="SELECT count(*) FROM range(100000000000000) AS t (i) WHERE hash(i) % 7 = 0",
        flooding="SELECT i FROM range(100000000000000) AS t (i)",
        types=_DUCKDB_TYPES,
        json=("{}::JSON", "{}::JSON::VARIANT"),
        binary=(r"'\x00\xFF'::BLOB",),
    )


_DUCKDB_TYPES: list[TypeCase] = [
    ("true", pa.bool_(), None, True),
    ("255::UTINYINT", pa.uint8(), None, 255),
    ("2147483647", pa.int32(), None, 2147483647),
    ("18446744073709551615::UBIGINT", pa.uint64(), None, 18446744073709551615),
    ("170141183460469231731687303715884105727::HUGEINT", TEXT, NUMBER, "170141183460469231731687303715884105727"),
    (f"{'1234567890' * 6}::BIGNUM", TEXT, NUMBER, "1234567890" * 6),
    ("1.50::DECIMAL(5, 2)", pa.decimal128(5, 2), None, Decimal("1.50")),
    ("0.1::FLOAT", pa.float64(), None, 0.1),
    ("'-inf'::FLOAT", pa.float64(), None, float("-inf")),
    ("1e308::DOUBLE", pa.float64(), None, 1e308),
    ("TIMESTAMPTZ '2024-02-29 14:00:00.123456+02'", UTC_TIME, None, NOON.replace(tzinfo=UTC)),
    ("TIMESTAMP '2024-02-29 12:00:00.123456'", NAIVE, None, NOON),
    ("'2024-02-29 12:00:00.123456'::TIMESTAMP_NS", NAIVE, None, NOON),
    ("'2024-02-29 12:00:00'::TIMESTAMP_S", NAIVE, None, NOON.replace(microsecond=0)),
    ("'2024-02-29 14:00:00.123456+02'::TIMESTAMPTZ_NS", UTC_TIME, None, NOON.replace(tzinfo=UTC)),
    ("'infinity'::TIMESTAMPTZ", UTC_TIME, None, END),
    ("'-infinity'::TIMESTAMP_MS", NAIVE, None, -END),
    ("DATE '2024-02-29'", DAY, None, date(2024, 2, 29)),
    ("'infinity'::DATE", DAY, None, LAST_DAY),
    ("TIME '24:00'", TEXT, None, "24:00:00"),
    ("INTERVAL 14 MONTH", TEXT, None, "1 year 2 months"),
    ("""'{"b":  1, "a": 12345678901234567890123}'::JSON""", TEXT, JSON, '{"b":  1, "a": 12345678901234567890123}'),
    ("[1, NULL]", TEXT, JSON, "[1,null]"),
    ("[[1], []]", TEXT, JSON, "[[1],[]]"),
    ("{'a': 1, 'b': 'x'}", TEXT, JSON, '{"a":1,"b":"x"}'),
    ("[0.1::FLOAT, NULL]", TEXT, JSON, "[0.1,null]"),
    ("{'FLOAT': 0.1::FLOAT, 'b': [0.2::FLOAT]}", TEXT, JSON, '{"FLOAT":0.1,"b":[0.2]}'),
    ("MAP {0.1::FLOAT: 0.2::FLOAT}", TEXT, JSON, '{"0.1":0.2}'),
    ("MAP {1: 'a'}", TEXT, JSON, '{"1":"a"}'),
    ("NULL::INTEGER[]", TEXT, JSON, None),
    (f"'{UUID}'::UUID", TEXT, None, UUID),
    ("'x'::ENUM('x', 'y')", TEXT, None, "x"),
    ("'101'::BIT", TEXT, None, "101"),
    (r"'\x00\xFF'::BLOB", pa.binary(), None, b"\x00\xff"),
    ("NULL", TEXT, None, None),
    ("''", TEXT, None, ""),
]
