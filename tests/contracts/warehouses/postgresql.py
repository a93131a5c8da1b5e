"""PostgreSQL, and Redshift and SQLAlchemy over it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime

import psycopg
import pyarrow as pa
import pytest

from syncer.model.protocols import JSON, NUMBER
from tests.contracts.warehouses.adapter import (
    DAY,
    END,
    LAST_DAY,
    LONG,
    NAIVE,
    NOON,
    TEXT,
    UTC_TIME,
    UUID,
    Adapter,
    TypeCase,
    entered,
    with_people,
)
from tests.servers.postgresql import PostgresServer


def postgresql(request: pytest.FixtureRequest) -> Adapter:
    """PostgreSQL, as superuser."""
    server: PostgresServer = request.getfixturevalue("postgres")
    url = entered(request, server.new_database())

    def execute(sql: str) -> int:
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(sql).rowcount

    def make_table(name: str, select: str) -> None:
        execute(f"CREATE TABLE {name} AS {select}")

    execute("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (x int, y text)")
    execute("CREATE TYPE noted AS (id int, note json)")
    execute("CREATE DOMAIN positive AS int CHECK (value > 0)")
    return with_people(
        Adapter(
            url=url,
            make_table=make_table,
            product="PostgreSQL",
            silent="SELECT pg_sleep(100)",
            flooding="SELECT generate_series(1, 1000000000000) AS i",
            types=_POSTGRESQL_TYPES,
            json=("({})::jsonb", "({})::json"),
            running=lambda: execute(
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'syncer' AND state = 'active'"
            ),
        )
    )


def redshift(request: pytest.FixtureRequest) -> Adapter:
    """PostgreSQL in Redshift's place: the protocol, and our own statements, which keep to what both know."""
    base = postgresql(request)
    with psycopg.connect(base.url, autocommit=True) as connection:
        # In Redshift it has no zone, and is of the session's.
        connection.execute("CREATE FUNCTION getdate() RETURNS timestamp LANGUAGE sql AS 'SELECT now()::timestamp'")
        connection.execute("CREATE VIEW svv_columns AS SELECT * FROM information_schema.columns")
    return replace(
        base,
        url=base.url.replace("postgresql:", "redshift:", 1),
        types=_REDSHIFT_TYPES,
        # In place of SUPER.
        json=("({})::json",),
        # In a literal, Redshift takes a backslash for an escape and PostgreSQL does not.
        literal=lambda text: "'" + text.replace("'", "''").replace("\\", "' || chr(92) || '") + "'",
    )


def sqlalchemy_postgresql(request: pytest.FixtureRequest) -> Adapter:
    """PostgreSQL by way of SQLAlchemy, for what only a server far away can show."""
    base = postgresql(request)
    return replace(
        base,
        url=base.url.replace("postgresql:", "postgresql+psycopg:", 1) + "?application_name=syncer",
        opened_by="connectors.sqlalchemy.warehouse:SQLAlchemyWarehouse",
        types=_SQLALCHEMY_POSTGRESQL_TYPES,
        tells_types=False,
    )


_POSTGRESQL_TYPES: list[TypeCase] = [
    ("true", pa.bool_(), None, True),
    ("(-32768)::smallint", pa.int16(), None, -32768),
    ("2147483647", pa.int32(), None, 2147483647),
    ("(-9223372036854775808)::bigint", pa.int64(), None, -9223372036854775808),
    ("4294967295::oid", pa.int64(), None, 4294967295),
    ("0.1::float4", pa.float64(), None, 0.1),
    ("1.7976931348623157e308::float8", pa.float64(), None, 1.7976931348623157e308),
    ("'-Infinity'::float8", pa.float64(), None, float("-inf")),
    (f"{LONG}::numeric", TEXT, NUMBER, LONG),
    ("1.50::numeric(5,2)", TEXT, NUMBER, "1.50"),
    ("1e-20::numeric", TEXT, NUMBER, "0.00000000000000000001"),
    ("'NaN'::numeric", TEXT, NUMBER, "NaN"),
    ("'-Infinity'::numeric", TEXT, NUMBER, "-Infinity"),
    ("12.34::numeric::money", TEXT, NUMBER, "12.34"),
    ("'2024-02-29 14:00:00.123456+02'::timestamptz", UTC_TIME, None, NOON.replace(tzinfo=UTC)),
    ("'2024-02-29 12:00:00.123456'::timestamp", NAIVE, None, NOON),
    ("'0001-01-01'::timestamptz", UTC_TIME, None, datetime(1, 1, 1, tzinfo=UTC)),
    ("'infinity'::timestamptz", UTC_TIME, None, END),
    ("'-infinity'::timestamp", NAIVE, None, -END),
    ("'0044-03-15 BC'::timestamptz", UTC_TIME, None, -END),
    ("'10000-01-01'::timestamp", NAIVE, None, END),
    ("'2024-02-29'::date", DAY, None, date(2024, 2, 29)),
    ("'infinity'::date", DAY, None, LAST_DAY),
    ("'0044-03-15 BC'::date", DAY, None, -LAST_DAY),
    ("'12000-01-01'::date", DAY, None, LAST_DAY),
    ("'24:00'::time", TEXT, None, "24:00:00"),
    ("'12:34:56.789+05:30'::timetz", TEXT, None, "12:34:56.789+05:30"),
    ("'14 mons 3 days 04:05:06'::interval", TEXT, None, "1 year 2 mons 3 days 04:05:06"),
    ("""'{"b":1,  "a": [2.50, 12345678901234567890123]}'::json""", TEXT, JSON,
     '{"a": [2.50, 12345678901234567890123], "b": 1}'),
    (r"""'{"b":"\u0000",  "a":1}'::json""", TEXT, JSON, r'{"b":"\u0000",  "a":1}'),
    (r"""'{"b":"\ud800",  "a":1}'::json""", TEXT, JSON, r'{"b":"\ud800",  "a":1}'),
    (r"""'{"b":"\\u0041",  "a":1}'::json""", TEXT, JSON, r'{"a": 1, "b": "\\u0041"}'),
    ("""'{"a":null}'::jsonb""", TEXT, JSON, '{"a": null}'),
    ("'null'::jsonb", TEXT, JSON, "null"),
    ("'{1,NULL,3}'::int[]", TEXT, JSON, "[1, null, 3]"),
    ("'{{1,2},{3,4}}'::int[]", TEXT, JSON, "[[1, 2], [3, 4]]"),
    ("""'{a,NULL,"","NULL"}'::text[]""", TEXT, JSON, '["a", null, "", "NULL"]'),
    ("'{1.10,NaN}'::numeric[]", TEXT, JSON, '[1.10, "NaN"]'),
    ("""ARRAY['{"a": 1}'::jsonb]""", TEXT, JSON, '[{"a": 1}]'),
    (r"""ARRAY['{"b":"\u0000",  "a":1}'::json]""", TEXT, JSON, r'[{"b":"\u0000",  "a":1}]'),
    (r"""ARRAY['{"b":"\ud800"}'::json, '1']""", TEXT, JSON, r'[{"b":"\ud800"},1]'),
    ("""ARRAY['{"b": 1, "a": [2.50]}'::json, NULL]""", TEXT, JSON, '[{"a": [2.50], "b": 1}, null]'),
    ("""ARRAY[ARRAY['{"b": 1}'::json]]""", TEXT, JSON, '[[{"b": 1}]]'),
    ("NULL::json[]", TEXT, JSON, None),
    (r"""ROW(1, '{"b":"\u0000"}'::json)""", TEXT, JSON, r'{"f1":1,"f2":{"b":"\u0000"}}'),
    (r"""ARRAY[ROW(1, '{"b":"\u0000"}')::noted]""", TEXT, JSON, r'[{"id":1,"note":{"b":"\u0000"}}]'),
    (r"""ROW(ROW(1, ARRAY['"\u0000"'::json]))""", TEXT, JSON, r'{"f1":{"f1":1,"f2":["\u0000"]}}'),
    ("""'{"a":1e200000}'::json""", TEXT, JSON, '{"a":1e200000}'),
    ("""ARRAY['1e200000'::json]""", TEXT, JSON, "[1e200000]"),
    ("'{sad}'::mood[]", TEXT, JSON, '["sad"]'),
    ("ROW(1, NULL)::pair", TEXT, JSON, '{"x": 1, "y": null}'),
    ("ROW(1, 'a')", TEXT, JSON, '{"f1": 1, "f2": "a"}'),
    (f"'{UUID}'::uuid", TEXT, None, UUID),
    ("'sad'::mood", TEXT, None, "sad"),
    ("7::positive", pa.int32(), None, 7),
    ("'10.0.0.0/8'::inet", TEXT, None, "10.0.0.0/8"),
    ("'ab'::char(5)", TEXT, None, "ab"),
    ("B'0101'", TEXT, None, "0101"),
    ("'[1,5)'::int4range", TEXT, None, "[1,5)"),
    ("'{[1,5),[7,9)}'::int4multirange", TEXT, None, "{[1,5),[7,9)}"),
    (r"'\x00ff'::bytea", pa.binary(), None, b"\x00\xff"),
    ("''::bytea", pa.binary(), None, b""),
    ("NULL::bytea", pa.binary(), None, None),
    ("NULL", TEXT, None, None),
    ("''::text", TEXT, None, ""),
]  # fmt: skip


#: What Redshift knows of PostgreSQL's types, and JSON in place of SUPER.
_REDSHIFT_TYPES: list[TypeCase] = [
    case
    for case in _POSTGRESQL_TYPES
    if not re.search(r"oid|money|::timetz|\[\]|ROW|ARRAY|mood|positive|inet|B'|range|::json$", case[0])
] + [
    ("'12:34:56.789+05:30'::timetz", TEXT, None, "12:34:56.789+05:30"),
    ("""'{"b":1,  "a": [2.50, 12345678901234567890123]}'::json""", TEXT, JSON,
     '{"b":1,  "a": [2.50, 12345678901234567890123]}'),
]  # fmt: skip


_SQLALCHEMY_POSTGRESQL_TYPES: list[TypeCase] = [
    ("true", pa.bool_(), None, True),
    ("(-32768)::smallint", pa.int64(), None, -32768),
    ("(-9223372036854775808)::bigint", pa.int64(), None, -9223372036854775808),
    ("0.1::float4", pa.float64(), None, 0.1),
    ("1.7976931348623157e308::float8", pa.float64(), None, 1.7976931348623157e308),
    (f"{LONG}::numeric", TEXT, NUMBER, LONG),
    ("1.50::numeric(5,2)", TEXT, NUMBER, "1.50"),
    ("1e-20::numeric", TEXT, NUMBER, "0.00000000000000000001"),
    ("'NaN'::numeric", TEXT, NUMBER, "NaN"),
    ("'-Infinity'::numeric", TEXT, NUMBER, "-Infinity"),
    ("'2024-02-29 14:00:00.123456+02'::timestamptz", UTC_TIME, None, NOON.replace(tzinfo=UTC)),
    ("'2024-02-29 12:00:00.123456'::timestamp", NAIVE, None, NOON),
    ("'2024-02-29'::date", DAY, None, date(2024, 2, 29)),
    ("'12:34:56'::time", TEXT, None, "12:34:56"),
    ("""'{"b":1,  "a": [2.50, 12345678901234567890123]}'::json""", TEXT, JSON,
     '{"b":1,  "a": [2.50, 12345678901234567890123]}'),
    ("'{1,NULL,3}'::int[]", TEXT, JSON, "[1, null, 3]"),
    ("'{1.10,NaN}'::numeric[]", TEXT, JSON, '[1.10, "NaN"]'),
    (f"'{UUID}'::uuid", TEXT, None, UUID),
    ("'sad'::mood", TEXT, None, "sad"),
    ("'10.0.0.0/8'::inet", TEXT, None, "10.0.0.0/8"),
    (r"'\x00ff'::bytea", pa.binary(), None, b"\x00\xff"),
    ("''::bytea", pa.binary(), None, b""),
    ("NULL::bytea", pa.binary(), None, None),
    ("NULL", TEXT, None, None),
    ("':x %s %'::text", TEXT, None, ":x %s %"),
]  # fmt: skip
