"""A stand-in for Snowflake."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from syncer.model.protocols import JSON
from tests.contracts.warehouses.adapter import (
    DAY,
    NAIVE,
    NOON,
    TEXT,
    UTC_TIME,
    Adapter,
    TypeCase,
    with_people,
)
from tests.servers.snowflake import SnowflakeServer


def snowflake_stand_in(request: pytest.FixtureRequest) -> Adapter:
    """A stand-in for Snowflake (see tests.servers.snowflake)."""
    server: SnowflakeServer = request.getfixturevalue("snowflake")
    database = server.new_database()

    def make_table(name: str, select: str) -> None:
        server.execute(database, f"CREATE TABLE {name} AS {select}")

    number = pa.table({"I": pa.array(range(1000), pa.int64())})
    column = {"name": "I", "type": "fixed", "precision": 18, "scale": 0, "nullable": True}
    wire = {"logicalType": "FIXED", "precision": "18", "scale": "0"}
    schema = pa.schema([pa.field("I", pa.int64(), metadata=wire)])
    server.add_result("endless", [column], [number.cast(schema)], further_parts=["never"])
    return with_people(
        Adapter(
            url=server.url(f"{database}/public"),
            make_table=make_table,
            product="Snowflake",
            silent="SELECT COUNT(*) AS n FROM TABLE(GENERATOR(ROWCOUNT => 100000000000000)) WHERE HASH(SEQ4()) % 7 = 0",
            # A result is whole before its first row is sent; this one's second part does not come.
            flooding="SELECT i FROM endless",
            types=SNOWFLAKE_TYPES,
            json=("PARSE_JSON({})",),
            binary=("TO_BINARY('00FF', 'HEX')",),
            literal=lambda text: "'" + text.replace("\\", "\\\\").replace("'", "''") + "'",
            odd_names=[
                ("id", "id"),
                ("id", "id"),
                ('"Weird ""name""; --"', 'Weird "name"; --'),
                # In quotes it has to be, so Snowflake did not fold it.
                ('"ORDER"', "ORDER"),
                ('"My Name"', "My Name"),
                ('"MY NAME"', "MY NAME"),
                ("ltv_2$", "ltv_2$"),
            ],
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


SNOWFLAKE_TYPES: list[TypeCase] = [
    ("true", pa.bool_(), None, True),
    ("2147483647", pa.decimal128(38, 0), None, Decimal(2147483647)),
    ("1.50::NUMBER(5, 2)", pa.decimal128(38, 2), None, Decimal("1.50")),
    ("-12345678901234567890.12::NUMBER(38, 2)", pa.decimal128(38, 2), None, Decimal("-12345678901234567890.12")),
    ("0.1::FLOAT", pa.float64(), None, 0.1),
    ("1e308::FLOAT", pa.float64(), None, 1e308),
    ("'-inf'::FLOAT", pa.float64(), None, float("-inf")),
    ("'2024-02-29 14:00:00.123456+02:00'::TIMESTAMP_TZ", UTC_TIME, None, NOON.replace(tzinfo=UTC)),
    ("'2024-02-29 12:00:00.123456'::TIMESTAMP_NTZ", NAIVE, None, NOON),
    ("'1900-02-28 12:00:00.5'::TIMESTAMP_NTZ", NAIVE, None, datetime.fromisoformat("1900-02-28 12:00:00.5")),
    ("'0001-01-01'::TIMESTAMP_NTZ", NAIVE, None, datetime.fromisoformat("0001-01-01")),
    ("'9999-12-31 23:59:59.999999'::TIMESTAMP_NTZ", NAIVE, None, 253402300799999999),
    ("NULL::TIMESTAMP_NTZ", NAIVE, None, None),
    ("'2024-02-29'::DATE", DAY, None, date(2024, 2, 29)),
    ("'12:34:56.789'::TIME", TEXT, None, "12:34:56.789"),
    ("'00:00:00'::TIME", TEXT, None, "00:00:00"),
    ("""PARSE_JSON('{"b":  1, "a": "x"}')""", TEXT, JSON, '{"b":1,"a":"x"}'),
    ("PARSE_JSON('null')", TEXT, JSON, "null"),
    ("NULL::VARIANT", TEXT, JSON, None),
    ("TO_BINARY('00FF', 'HEX')", pa.binary(), None, b"\x00\xff"),
    ("NULL", TEXT, None, None),
    ("''", TEXT, None, ""),
]
