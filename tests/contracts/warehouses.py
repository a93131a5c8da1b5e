"""The warehouses that the contract suite runs over. A new one is one function here and its name in ADAPTERS."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import psycopg
import pyarrow as pa
import pytest

from syncer.interfaces import JSON, NUMBER
from syncer.types import WarehouseOptions
from tests.bigquery_server import BigQueryProject
from tests.contracts.bigquery_types import BIGQUERY_TYPES
from tests.mariadb_server import MariaDBServer
from tests.snowflake_server import SnowflakeServer

#: Makes a table or file of the name from a SELECT.
MakeTable = Callable[[str, str], None]
#: An expression; its Arrow type, metadata and value. A time beyond Python's is given as Arrow's bits.
TypeCase = tuple[str, pa.DataType, dict[bytes, bytes] | None, Any]

_TEXT, _UTC, _NAIVE, _DAY = pa.string(), pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.date32()
_END, _LAST_DAY = 2**63 - 1, 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """One warehouse with a table `people` of two rows: (1, 'Ann') and (2, NULL)."""

    url: str
    make_table: MakeTable
    product: str
    #: Queries that never end: without a row, and with ever more rows.
    silent: str
    flooding: str
    types: list[TypeCase]
    #: What the expressions of `types` are selected from.
    types_from: str = ""
    #: Names that columns of one result may have, in the warehouse's own quotes and bare.
    odd_names: list[tuple[str, str]] = field(
        default_factory=lambda: [("id", "id"), ("id", "id"), ('"Weird ""name""; --"', 'Weird "name"; --')]
    )
    #: A row whose text begins with U+FEFF, 200,000 times.
    marks: str = "SELECT chr(65279) || repeat('x', 20) AS a FROM generate_series(1, 200000) AS t (i)"
    #: Queries that fail because of the value 'Ann', and one that fails in the last tenth of a million rows.
    bad_values: tuple[str, ...] = ("SELECT CAST(name AS INTEGER) FROM people", "SELECT CAST('Ann' AS DATE)")
    bad_late: str = (
        "SELECT CAST(CASE WHEN i = 900000 THEN 'x' ELSE '1' END AS INTEGER) FROM generate_series(1, 1000000) AS t (i)"
    )
    #: A million rows of ten columns, for `make_table`.
    many: str = (
        "SELECT i AS id, 'user' || i || '@example.com' AS email, 'Name ' || i AS name, "
        "CASE WHEN i % 7 <> 0 THEN 'city ' || i % 1000 END AS city, CAST(i AS NUMERIC(12, 2)) / 100 AS ltv, "
        "TIMESTAMP '2024-01-01' + i * INTERVAL '1 second' AS seen_at, i % 2 = 0 AS active, 'free' AS plan, "
        "CAST('2024-01-01' AS DATE) AS born, i % 100 AS score FROM generate_series(1, 1000000) AS t (i)"
    )
    #: A text as a literal of the warehouse's SQL.
    literal: Callable[[str], str] = lambda text: "'" + text.replace("'", "''") + "'"
    #: Whether an unknown column or table is told with its line; a mistake of syntax always is.
    tells_line_of_names: bool = True
    #: The same for a table alone.
    tells_line_of_tables: bool = True
    options: WarehouseOptions = field(default_factory=WarehouseOptions)
    #: What opens it, as `module:name`.
    opened_by: str = "connectors:open_warehouse"
    #: Whether the schema is told before the first row.
    tells_types: bool = True
    #: How many queries of ours the server is busy with; None where it cannot be asked.
    running: Callable[[], int] | None = None

    def runs(self, queries: int) -> bool:
        """Whether the server is busy with so many queries of ours, as far as it can be asked."""
        return self.running is None or self.running() == queries


def bigquery_storage(request: pytest.FixtureRequest) -> Adapter:
    """BigQuery, read by the Storage Read API."""
    project: BigQueryProject = request.getfixturevalue("bigquery_project")
    return _bigquery(project, project.url())


def bigquery_rest(request: pytest.FixtureRequest) -> Adapter:
    """BigQuery, read by REST alone."""
    project: BigQueryProject = request.getfixturevalue("bigquery_project")
    return _bigquery(project, project.url(storage=False))


def _bigquery(project: BigQueryProject, url: str) -> Adapter:
    def rows(count: int) -> str:
        return f"FROM UNNEST(GENERATE_ARRAY(1, {count})) AS i"

    return _with_people(
        Adapter(
            url=url,
            make_table=lambda name, select: project.execute(f"CREATE TABLE {name} AS {select}"),
            product="BigQuery",
            silent=f"SELECT COUNTIF(MOD(i, 7) = 3) AS n {rows(10**14)}",
            # Its rows come when there are all.
            flooding=f"SELECT i {rows(30 * 10**6)}",
            types=list(BIGQUERY_TYPES),
            # BigQuery refuses a name twice.
            odd_names=[("id", "id"), ("`Größe in %`", "Größe in %"), ("`select`", "select")],
            marks=f"SELECT CONCAT('\ufeff', REPEAT('x', 20)) AS a {rows(200_000)}",
            bad_values=("SELECT CAST(name AS INT64) FROM people", "SELECT CAST('Ann' AS DATE)"),
            bad_late=f"SELECT CAST(IF(i = 900000, 'x', '1') AS INT64) AS n {rows(1_000_000)}",
            many=(
                "SELECT i AS id, CONCAT('user', i, '@example.com') AS email, CONCAT('Name ', i) AS name, "
                "IF(MOD(i, 7) <> 0, CONCAT('city ', MOD(i, 1000)), NULL) AS city, CAST(i / 100 AS NUMERIC) AS ltv, "
                "TIMESTAMP_SECONDS(1704067200 + i) AS seen_at, MOD(i, 2) = 0 AS active, 'free' AS plan, "
                f"DATE '2024-01-01' AS born, MOD(i, 100) AS score {rows(1_000_000)}"
            ),
            literal=_bigquery_literal,
            tells_line_of_tables=False,
            running=project.running,
        )
    )


def _bigquery_literal(text: str) -> str:
    escapes = {"\\": r"\\", "'": r"\'", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
    return "'" + "".join(escapes.get(character, character) for character in text) + "'"


def _with_people(adapter: Adapter) -> Adapter:
    adapter.make_table("people", "SELECT 1 AS id, 'Ann' AS name UNION ALL SELECT 2, NULL")
    return adapter


def postgresql(request: pytest.FixtureRequest) -> Adapter:
    """PostgreSQL, as superuser."""
    url: str = request.getfixturevalue("postgres_url")

    def execute(sql: str) -> int:
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(sql).rowcount

    def make_table(name: str, select: str) -> None:
        execute(f"CREATE TABLE {name} AS {select}")

    execute("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (x int, y text)")
    execute("CREATE DOMAIN positive AS int CHECK (value > 0)")
    return _with_people(
        Adapter(
            url=url,
            make_table=make_table,
            product="PostgreSQL",
            silent="SELECT pg_sleep(100)",
            flooding="SELECT generate_series(1, 1000000000000) AS i",
            types=_POSTGRESQL_TYPES,
            running=lambda: execute(
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'syncer' AND state = 'active'"
            ),
        )
    )


def mariadb(request: pytest.FixtureRequest) -> Adapter:
    """MariaDB, as root."""
    server: MariaDBServer = request.getfixturevalue("mariadb")
    database: str = request.getfixturevalue("mariadb_database")

    def make_table(name: str, select: str) -> None:
        server.execute(f"CREATE TABLE {name} AS {select}", database)

    def running() -> int:
        ((queries,),) = server.execute(
            "SELECT count(*) FROM information_schema.processlist "
            f"WHERE db = '{database}' AND command <> 'Sleep' AND id <> connection_id()"
        )
        return int(queries)

    server.execute(_MARIADB_TYPED_TABLE, database)
    server.execute(_MARIADB_TYPED_ROW, database)
    return _with_people(
        Adapter(
            url=server.url(database),
            make_table=make_table,
            product="MariaDB",
            silent="SELECT sleep(100)",
            flooding="SELECT a.seq FROM seq_1_to_1000000 AS a, seq_1_to_1000000 AS b",
            types=_MARIADB_TYPES,
            types_from=" FROM typed",
            odd_names=[("id", "id"), ("id", "id"), ('`Weird "name"; ``--`', 'Weird "name"; `--')],
            marks="SELECT concat(_utf8mb4 X'EFBBBF', repeat('x', 20)) AS a FROM seq_1_to_200000",
            bad_values=(
                "SELECT extractvalue(1, concat('~', name)) FROM people",
                "SELECT DATE 'Ann'",
            ),
            bad_late="SELECT IF(seq = 900000, extractvalue(1, '~x'), seq) FROM seq_1_to_1000000",
            many=_MARIADB_MANY,
            literal=lambda text: "'" + text.replace("\\", "\\\\").replace("'", "''") + "'",
            tells_line_of_names=False,
            running=running,
        )
    )


def redshift(request: pytest.FixtureRequest) -> Adapter:
    """PostgreSQL in Redshift's place: the protocol, and our own statements, which keep to what both know."""
    base = postgresql(request)
    return replace(
        base,
        url=base.url.replace("postgresql:", "redshift:", 1),
        types=_REDSHIFT_TYPES,
        # In a literal, Redshift takes a backslash for an escape and PostgreSQL does not.
        literal=lambda text: "'" + text.replace("'", "''").replace("\\", "' || chr(92) || '") + "'",
    )


def sqlalchemy_postgresql(request: pytest.FixtureRequest) -> Adapter:
    """PostgreSQL by way of SQLAlchemy, for what only a server far away can show."""
    base = postgresql(request)
    return replace(
        base,
        url=base.url.replace("postgresql:", "postgresql+psycopg:", 1) + "?application_name=syncer",
        opened_by="connectors.warehouses.sqlalchemy:SQLAlchemyWarehouse",
        types=_SQLALCHEMY_POSTGRESQL_TYPES,
        tells_types=False,
    )


def sqlite_file(request: pytest.FixtureRequest) -> Adapter:
    """An SQLite file, by way of SQLAlchemy: a driver that tells no types."""
    path: Path = request.getfixturevalue("tmp_path") / "warehouse ü?.sqlite"

    def make_table(name: str, select: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"CREATE TABLE {name} AS {select}")

    series = "(WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s LIMIT {}) SELECT i FROM s) AS t"
    return _with_people(
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
        )
    )


def duckdb_file(request: pytest.FixtureRequest) -> Adapter:
    """A DuckDB file."""
    path: Path = request.getfixturevalue("tmp_path") / "warehouse.duckdb"

    def make_table(name: str, select: str) -> None:
        with duckdb.connect(str(path)) as connection:
            connection.execute(f"CREATE TABLE {name} AS {select}")

    return _with_people(_duckdb(path, make_table))


def duckdb_folder(request: pytest.FixtureRequest) -> Adapter:
    """A folder of Parquet files."""
    folder: Path = request.getfixturevalue("tmp_path") / "files"
    folder.mkdir()

    def make_table(name: str, select: str) -> None:
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({select}) TO '{folder / name}.parquet'")

    return _with_people(_duckdb(folder, make_table))


def _duckdb(path: Path, make_table: MakeTable) -> Adapter:
    return Adapter(
        url=f"duckdb:///{path}",
        make_table=make_table,
        product="DuckDB",
        silent="SELECT count(*) FROM range(100000000000000) AS t (i) WHERE hash(i) % 7 = 0",
        flooding="SELECT i FROM range(100000000000000) AS t (i)",
        types=_DUCKDB_TYPES,
    )


def snowflake_stand_in(request: pytest.FixtureRequest) -> Adapter:
    """A stand-in for Snowflake (see tests.snowflake_server)."""
    server: SnowflakeServer = request.getfixturevalue("snowflake")
    database = server.new_database()

    def make_table(name: str, select: str) -> None:
        server.execute(database, f"CREATE TABLE {name} AS {select}")

    number = pa.table({"I": pa.array(range(1000), pa.int64())})
    column = {"name": "I", "type": "fixed", "precision": 18, "scale": 0, "nullable": True}
    wire = {"logicalType": "FIXED", "precision": "18", "scale": "0"}
    schema = pa.schema([pa.field("I", pa.int64(), metadata=wire)])
    server.add_result("endless", [column], [number.cast(schema)], further_parts=["never"])
    return _with_people(
        Adapter(
            url=server.url(f"{database}/public"),
            make_table=make_table,
            product="Snowflake",
            silent="SELECT COUNT(*) AS n FROM TABLE(GENERATOR(ROWCOUNT => 100000000000000)) WHERE HASH(SEQ4()) % 7 = 0",
            # A result is whole before its first row is sent; this one's second part does not come.
            flooding="SELECT i FROM endless",
            types=_SNOWFLAKE_TYPES,
            literal=lambda text: "'" + text.replace("\\", "\\\\").replace("'", "''") + "'",
            odd_names=[("id", "ID"), ("id", "ID"), ('"Weird ""name""; --"', 'Weird "name"; --')],
            marks="SELECT CHR(65279) || REPEAT('x', 20) AS a FROM TABLE(GENERATOR(ROWCOUNT => 200000))",
            bad_late="SELECT CAST(IFF(SEQ4() = 900000, 'x', '1') AS INTEGER) AS a "
            "FROM TABLE(GENERATOR(ROWCOUNT => 1000000))",
            many="SELECT i AS id, 'user' || i || '@example.com' AS email, 'Name ' || i AS name, "
            "IFF(i % 7 <> 0, 'city ' || (i % 1000), NULL) AS city, CAST(i / 100 AS NUMBER(12, 2)) AS ltv, "
            "DATEADD(second, i, '2024-01-01'::TIMESTAMP_NTZ) AS seen_at, i % 2 = 0 AS active, 'free' AS plan, "
            "CAST('2024-01-01' AS DATE) AS born, i % 100 AS score "
            "FROM (SELECT SEQ4() + 1 AS i FROM TABLE(GENERATOR(ROWCOUNT => 1000000)))",
            running=server.running,
        )
    )


ADAPTERS: list[Callable[[pytest.FixtureRequest], Adapter]] = [
    postgresql,
    mariadb,
    duckdb_file,
    duckdb_folder,
    bigquery_storage,
    bigquery_rest,
    snowflake_stand_in,
    redshift,
    sqlite_file,
    sqlalchemy_postgresql,
]

_NOON = datetime.fromisoformat("2024-02-29 12:00:00.123456")
_LONG = "1234567890" * 6 + ".123456789"
_UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"

_POSTGRESQL_TYPES: list[TypeCase] = [
    ("true", pa.bool_(), None, True),
    ("(-32768)::smallint", pa.int16(), None, -32768),
    ("2147483647", pa.int32(), None, 2147483647),
    ("(-9223372036854775808)::bigint", pa.int64(), None, -9223372036854775808),
    ("4294967295::oid", pa.int64(), None, 4294967295),
    ("0.1::float4", pa.float64(), None, 0.1),
    ("1.7976931348623157e308::float8", pa.float64(), None, 1.7976931348623157e308),
    ("'-Infinity'::float8", pa.float64(), None, float("-inf")),
    (f"{_LONG}::numeric", _TEXT, NUMBER, _LONG),
    ("1.50::numeric(5,2)", _TEXT, NUMBER, "1.50"),
    ("1e-20::numeric", _TEXT, NUMBER, "0.00000000000000000001"),
    ("'NaN'::numeric", _TEXT, NUMBER, "NaN"),
    ("'-Infinity'::numeric", _TEXT, NUMBER, "-Infinity"),
    ("12.34::numeric::money", _TEXT, NUMBER, "12.34"),
    ("'2024-02-29 14:00:00.123456+02'::timestamptz", _UTC, None, _NOON.replace(tzinfo=UTC)),
    ("'2024-02-29 12:00:00.123456'::timestamp", _NAIVE, None, _NOON),
    ("'0001-01-01'::timestamptz", _UTC, None, datetime(1, 1, 1, tzinfo=UTC)),
    ("'infinity'::timestamptz", _UTC, None, _END),
    ("'-infinity'::timestamp", _NAIVE, None, -_END),
    ("'0044-03-15 BC'::timestamptz", _UTC, None, -_END),
    ("'10000-01-01'::timestamp", _NAIVE, None, _END),
    ("'2024-02-29'::date", _DAY, None, date(2024, 2, 29)),
    ("'infinity'::date", _DAY, None, _LAST_DAY),
    ("'0044-03-15 BC'::date", _DAY, None, -_LAST_DAY),
    ("'12000-01-01'::date", _DAY, None, _LAST_DAY),
    ("'24:00'::time", _TEXT, None, "24:00:00"),
    ("'12:34:56.789+05:30'::timetz", _TEXT, None, "12:34:56.789+05:30"),
    ("'14 mons 3 days 04:05:06'::interval", _TEXT, None, "1 year 2 mons 3 days 04:05:06"),
    ("""'{"b":1,  "a": [2.50, 12345678901234567890123]}'::json""", _TEXT, JSON,
     '{"a": [2.50, 12345678901234567890123], "b": 1}'),
    (r"""'{"b":"\u0000",  "a":1}'::json""", _TEXT, JSON, r'{"b":"\u0000",  "a":1}'),
    (r"""'{"b":"\ud800",  "a":1}'::json""", _TEXT, JSON, r'{"b":"\ud800",  "a":1}'),
    (r"""'{"b":"\\u0041",  "a":1}'::json""", _TEXT, JSON, r'{"a": 1, "b": "\\u0041"}'),
    ("""'{"a":null}'::jsonb""", _TEXT, JSON, '{"a": null}'),
    ("'null'::jsonb", _TEXT, JSON, "null"),
    ("'{1,NULL,3}'::int[]", _TEXT, JSON, "[1, null, 3]"),
    ("'{{1,2},{3,4}}'::int[]", _TEXT, JSON, "[[1, 2], [3, 4]]"),
    ("""'{a,NULL,"","NULL"}'::text[]""", _TEXT, JSON, '["a", null, "", "NULL"]'),
    ("'{1.10,NaN}'::numeric[]", _TEXT, JSON, '[1.10, "NaN"]'),
    ("""ARRAY['{"a": 1}'::jsonb]""", _TEXT, JSON, '[{"a": 1}]'),
    ("'{sad}'::mood[]", _TEXT, JSON, '["sad"]'),
    ("ROW(1, NULL)::pair", _TEXT, JSON, '{"x": 1, "y": null}'),
    ("ROW(1, 'a')", _TEXT, JSON, '{"f1": 1, "f2": "a"}'),
    (f"'{_UUID}'::uuid", _TEXT, None, _UUID),
    ("'sad'::mood", _TEXT, None, "sad"),
    ("7::positive", pa.int32(), None, 7),
    ("'10.0.0.0/8'::inet", _TEXT, None, "10.0.0.0/8"),
    ("'ab'::char(5)", _TEXT, None, "ab"),
    ("B'0101'", _TEXT, None, "0101"),
    ("'[1,5)'::int4range", _TEXT, None, "[1,5)"),
    ("'{[1,5),[7,9)}'::int4multirange", _TEXT, None, "{[1,5),[7,9)}"),
    (r"'\x00ff'::bytea", pa.binary(), None, b"\x00\xff"),
    ("''::bytea", pa.binary(), None, b""),
    ("NULL::bytea", pa.binary(), None, None),
    ("NULL", _TEXT, None, None),
    ("''::text", _TEXT, None, ""),
]  # fmt: skip

#: What Redshift knows of PostgreSQL's types, and JSON in place of SUPER.
_REDSHIFT_TYPES: list[TypeCase] = [
    case
    for case in _POSTGRESQL_TYPES
    if not re.search(r"oid|money|::timetz|\[\]|ROW|ARRAY|mood|positive|inet|B'|range|::json$", case[0])
] + [
    ("'12:34:56.789+05:30'::timetz", _TEXT, None, "12:34:56.789+05:30"),
    ("""'{"b":1,  "a": [2.50, 12345678901234567890123]}'::json""", _TEXT, JSON,
     '{"b":1,  "a": [2.50, 12345678901234567890123]}'),
]  # fmt: skip

_SQLITE_TYPES: list[TypeCase] = [
    ("9223372036854775807", _TEXT, NUMBER, "9223372036854775807"),
    ("0.1", _TEXT, NUMBER, "0.1"),
    ("1e308", _TEXT, NUMBER, "1e+308"),
    ("-9e999", _TEXT, NUMBER, "-Infinity"),
    ("'1'", _TEXT, None, "1"),
    ("''", _TEXT, None, ""),
    ("x'00ff'", pa.binary(), None, b"\x00\xff"),
    ("x''", pa.binary(), None, b""),
    ("NULL", _TEXT, None, None),
    ("':x %s %'", _TEXT, None, ":x %s %"),
]

_SQLALCHEMY_POSTGRESQL_TYPES: list[TypeCase] = [
    ("true", pa.bool_(), None, True),
    ("(-32768)::smallint", pa.int64(), None, -32768),
    ("(-9223372036854775808)::bigint", pa.int64(), None, -9223372036854775808),
    ("0.1::float4", pa.float64(), None, 0.1),
    ("1.7976931348623157e308::float8", pa.float64(), None, 1.7976931348623157e308),
    (f"{_LONG}::numeric", _TEXT, NUMBER, _LONG),
    ("1.50::numeric(5,2)", _TEXT, NUMBER, "1.50"),
    ("1e-20::numeric", _TEXT, NUMBER, "0.00000000000000000001"),
    ("'NaN'::numeric", _TEXT, NUMBER, "NaN"),
    ("'-Infinity'::numeric", _TEXT, NUMBER, "-Infinity"),
    ("'2024-02-29 14:00:00.123456+02'::timestamptz", _UTC, None, _NOON.replace(tzinfo=UTC)),
    ("'2024-02-29 12:00:00.123456'::timestamp", _NAIVE, None, _NOON),
    ("'2024-02-29'::date", _DAY, None, date(2024, 2, 29)),
    ("'12:34:56'::time", _TEXT, None, "12:34:56"),
    ("""'{"b":1,  "a": [2.50, 12345678901234567890123]}'::json""", _TEXT, JSON,
     '{"b":1,  "a": [2.50, 12345678901234567890123]}'),
    ("'{1,NULL,3}'::int[]", _TEXT, JSON, "[1, null, 3]"),
    ("'{1.10,NaN}'::numeric[]", _TEXT, JSON, '[1.10, "NaN"]'),
    (f"'{_UUID}'::uuid", _TEXT, None, _UUID),
    ("'sad'::mood", _TEXT, None, "sad"),
    ("'10.0.0.0/8'::inet", _TEXT, None, "10.0.0.0/8"),
    (r"'\x00ff'::bytea", pa.binary(), None, b"\x00\xff"),
    ("''::bytea", pa.binary(), None, b""),
    ("NULL::bytea", pa.binary(), None, None),
    ("NULL", _TEXT, None, None),
    ("':x %s %'::text", _TEXT, None, ":x %s %"),
]  # fmt: skip

_DUCKDB_TYPES: list[TypeCase] = [
    ("true", pa.bool_(), None, True),
    ("255::UTINYINT", pa.uint8(), None, 255),
    ("2147483647", pa.int32(), None, 2147483647),
    ("18446744073709551615::UBIGINT", pa.uint64(), None, 18446744073709551615),
    ("170141183460469231731687303715884105727::HUGEINT", _TEXT, NUMBER, "170141183460469231731687303715884105727"),
    (f"{'1234567890' * 6}::BIGNUM", _TEXT, NUMBER, "1234567890" * 6),
    ("1.50::DECIMAL(5, 2)", pa.decimal128(5, 2), None, Decimal("1.50")),
    ("0.1::FLOAT", pa.float64(), None, 0.1),
    ("'-inf'::FLOAT", pa.float64(), None, float("-inf")),
    ("1e308::DOUBLE", pa.float64(), None, 1e308),
    ("TIMESTAMPTZ '2024-02-29 14:00:00.123456+02'", _UTC, None, _NOON.replace(tzinfo=UTC)),
    ("TIMESTAMP '2024-02-29 12:00:00.123456'", _NAIVE, None, _NOON),
    ("'2024-02-29 12:00:00.123456'::TIMESTAMP_NS", _NAIVE, None, _NOON),
    ("'2024-02-29 12:00:00'::TIMESTAMP_S", _NAIVE, None, _NOON.replace(microsecond=0)),
    ("'infinity'::TIMESTAMPTZ", _UTC, None, _END),
    ("'-infinity'::TIMESTAMP_MS", _NAIVE, None, -_END),
    ("DATE '2024-02-29'", _DAY, None, date(2024, 2, 29)),
    ("'infinity'::DATE", _DAY, None, _LAST_DAY),
    ("TIME '24:00'", _TEXT, None, "24:00:00"),
    ("INTERVAL 14 MONTH", _TEXT, None, "1 year 2 months"),
    ("""'{"b":  1, "a": 12345678901234567890123}'::JSON""", _TEXT, JSON, '{"b":  1, "a": 12345678901234567890123}'),
    ("[1, NULL]", _TEXT, JSON, "[1,null]"),
    ("[[1], []]", _TEXT, JSON, "[[1],[]]"),
    ("{'a': 1, 'b': 'x'}", _TEXT, JSON, '{"a":1,"b":"x"}'),
    ("MAP {1: 'a'}", _TEXT, JSON, '{"1":"a"}'),
    ("NULL::INTEGER[]", _TEXT, JSON, None),
    (f"'{_UUID}'::UUID", _TEXT, None, _UUID),
    ("'x'::ENUM('x', 'y')", _TEXT, None, "x"),
    ("'101'::BIT", _TEXT, None, "101"),
    (r"'\x00\xFF'::BLOB", pa.binary(), None, b"\x00\xff"),
    ("NULL", _TEXT, None, None),
    ("''", _TEXT, None, ""),
]

_MARIADB_MANY = (
    "SELECT seq AS id, concat('user', seq, '@example.com') AS email, concat('Name ', seq) AS name, "
    "IF(seq % 7 <> 0, concat('city ', seq % 1000), NULL) AS city, CAST(seq / 100 AS DECIMAL(12, 2)) AS ltv, "
    "TIMESTAMP '2024-01-01 00:00:00' + INTERVAL seq SECOND AS seen_at, seq % 2 = 0 AS active, 'free' AS plan, "
    "DATE '2024-01-01' AS born, seq % 100 AS score FROM seq_1_to_1000000"
)

#: Columns of types that no expression has.
_MARIADB_TYPED_TABLE = """
CREATE TABLE typed (
    tiny TINYINT, tiny_unsigned TINYINT UNSIGNED, flag BOOLEAN, small SMALLINT, small_unsigned SMALLINT UNSIGNED,
    medium MEDIUMINT, medium_unsigned MEDIUMINT UNSIGNED, whole INT, whole_unsigned INT UNSIGNED, big BIGINT,
    big_unsigned BIGINT UNSIGNED, money DECIMAL(5, 2), long_number DECIMAL(65, 9), thin FLOAT, thin_large FLOAT,
    wide DOUBLE, day DATE, no_day DATE, half_a_day DATE, moment DATETIME(6), no_moment DATETIME, midnight DATETIME,
    instant TIMESTAMP(6) NULL, clock TIME, clock_before TIME(3), clock_after TIME(6), annual YEAR, flags BIT(10),
    yes BIT(1), full_bits BIT(64), mood ENUM('sad', 'ok'), moods SET('sad', 'ok'), letters CHAR(5), chars VARCHAR(100),
    prose TEXT, long_prose LONGTEXT, latin VARCHAR(10) CHARACTER SET latin1, bytes BINARY(4), var_bytes VARBINARY(10),
    large BLOB, json JSON, place POINT, id UUID, host INET6
)
"""
_MARIADB_TYPED_ROW = r"""
INSERT IGNORE INTO typed VALUES (
    -128, 255, TRUE, -32768, 65535, -8388608, 16777215, -2147483648, 4294967295, -9223372036854775808,
    18446744073709551615, -1.50, 12345678901234567890123456789012345678901234567890.123456789, 0.1, 16777216, 1e308,
    '2024-02-29', '0000-00-00', '2024-02-00', '2024-02-29 12:00:00.123456', '0000-00-00 00:00:00',
    '2024-02-29 00:00:00', '2024-02-29 17:30:00.123456', '12:34:56', '-838:59:59.5', '00:00:00.000001', 2024,
    b'1000000001', b'1', b'1000000000000000000000000000000000000000000000000000000000000001', 'ok', 'sad,ok', 'ab',
    'Zürich 😀', 'prose', 'long', 'é', X'00FF', X'00FF', X'00FF', '{"b":  1, "a": 2}', POINT(1, 2),
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '::1'
)
"""
_POINT = bytes.fromhex("000000000101000000000000000000f03f0000000000000040")
_LONG_DECIMAL = "12345678901234567890123456789012345678901234567890.123456789"

_MARIADB_TYPES: list[TypeCase] = [
    ("tiny", pa.int8(), None, -128),
    ("tiny_unsigned", pa.uint8(), None, 255),
    ("flag", pa.bool_(), None, True),
    ("small", pa.int16(), None, -32768),
    ("small_unsigned", pa.uint16(), None, 65535),
    ("medium", pa.int32(), None, -8388608),
    ("medium_unsigned", pa.uint32(), None, 16777215),
    ("whole", pa.int32(), None, -2147483648),
    ("whole_unsigned", pa.uint32(), None, 4294967295),
    ("big", pa.int64(), None, -9223372036854775808),
    ("big_unsigned", pa.uint64(), None, 18446744073709551615),
    ("1 = 1", pa.int32(), None, 1),
    ("money", _TEXT, NUMBER, "-1.50"),
    ("long_number", _TEXT, NUMBER, _LONG_DECIMAL),
    ("thin", pa.float64(), None, 0.1),
    ("thin_large", pa.float64(), None, 16777216.0),
    ("wide", pa.float64(), None, 1e308),
    ("day", _DAY, None, date(2024, 2, 29)),
    ("no_day", _DAY, None, None),
    ("half_a_day", _DAY, None, None),
    ("moment", _NAIVE, None, _NOON),
    ("no_moment", _NAIVE, None, None),
    ("midnight", _NAIVE, None, _NOON.replace(hour=0, microsecond=0)),
    ("instant", _UTC, None, _NOON.replace(tzinfo=UTC)),
    ("clock", _TEXT, None, "12:34:56"),
    ("clock_before", _TEXT, None, "-838:59:59.500"),
    ("clock_after", _TEXT, None, "00:00:00.000001"),
    ("annual", pa.int16(), None, 2024),
    ("flags", pa.uint64(), None, 513),
    ("yes", pa.bool_(), None, True),
    ("full_bits", pa.uint64(), None, 2**63 + 1),
    ("mood", _TEXT, None, "ok"),
    ("moods", _TEXT, None, "sad,ok"),
    ("letters", _TEXT, None, "ab"),
    ("chars", _TEXT, None, "Zürich 😀"),
    ("prose", _TEXT, None, "prose"),
    ("long_prose", _TEXT, None, "long"),
    ("latin", _TEXT, None, "é"),
    ("bytes", pa.binary(), None, b"\x00\xff\x00\x00"),
    ("var_bytes", pa.binary(), None, b"\x00\xff"),
    ("large", pa.binary(), None, b"\x00\xff"),
    ("json", _TEXT, None, '{"b":  1, "a": 2}'),
    ("place", pa.binary(), None, _POINT),
    ("id", _TEXT, None, _UUID),
    ("host", _TEXT, None, "::1"),
    ("repeat('x', 250)", _TEXT, None, "x" * 250),
    ("repeat('x', 251)", _TEXT, None, "x" * 251),
    ("repeat('x', 65536)", _TEXT, None, "x" * 65536),
]

_SNOWFLAKE_TYPES: list[TypeCase] = [
    ("true", pa.bool_(), None, True),
    ("2147483647", pa.decimal128(38, 0), None, Decimal(2147483647)),
    ("1.50::NUMBER(5, 2)", pa.decimal128(38, 2), None, Decimal("1.50")),
    ("-12345678901234567890.12::NUMBER(38, 2)", pa.decimal128(38, 2), None, Decimal("-12345678901234567890.12")),
    ("0.1::FLOAT", pa.float64(), None, 0.1),
    ("1e308::FLOAT", pa.float64(), None, 1e308),
    ("'-inf'::FLOAT", pa.float64(), None, float("-inf")),
    ("'2024-02-29 14:00:00.123456+02:00'::TIMESTAMP_TZ", _UTC, None, _NOON.replace(tzinfo=UTC)),
    ("'2024-02-29 12:00:00.123456'::TIMESTAMP_NTZ", _NAIVE, None, _NOON),
    ("'1900-02-28 12:00:00.5'::TIMESTAMP_NTZ", _NAIVE, None, datetime.fromisoformat("1900-02-28 12:00:00.5")),
    ("'0001-01-01'::TIMESTAMP_NTZ", _NAIVE, None, datetime.fromisoformat("0001-01-01")),
    ("'9999-12-31 23:59:59.999999'::TIMESTAMP_NTZ", _NAIVE, None, 253402300799999999),
    ("NULL::TIMESTAMP_NTZ", _NAIVE, None, None),
    ("'2024-02-29'::DATE", _DAY, None, date(2024, 2, 29)),
    ("'12:34:56.789'::TIME", _TEXT, None, "12:34:56.789"),
    ("'00:00:00'::TIME", _TEXT, None, "00:00:00"),
    ("""PARSE_JSON('{"b":  1, "a": "x"}')""", _TEXT, JSON, '{"b":1,"a":"x"}'),
    ("PARSE_JSON('null')", _TEXT, JSON, "null"),
    ("NULL::VARIANT", _TEXT, JSON, None),
    ("TO_BINARY('00FF', 'HEX')", pa.binary(), None, b"\x00\xff"),
    ("NULL", _TEXT, None, None),
    ("''", _TEXT, None, ""),
]
