"""MariaDB, in the place of MySQL too."""

from __future__ import annotations

from datetime import UTC, date

import pyarrow as pa
import pytest

from syncer.model.protocols import NUMBER
from tests.contracts.warehouses.adapter import (
    DAY,
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
from tests.servers.mariadb import MariaDBServer


def mariadb(request: pytest.FixtureRequest) -> Adapter:
    """MariaDB, as root."""
    server: MariaDBServer = request.getfixturevalue("mariadb")
    database = entered(request, server.new_database())

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
    return with_people(
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
            double="DOUBLE",
            # MariaDB's JSON is text.
            binary=("X'00FF'", "(SELECT var_bytes FROM typed)", "(SELECT large FROM typed)"),
            tells_line_of_names=False,
            running=running,
        )
    )


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
    large BLOB, filled DECIMAL(10, 2) ZEROFILL, filled_whole INT(10) ZEROFILL, json JSON,
    place POINT, id UUID, host INET6
)
"""


_MARIADB_TYPED_ROW = r"""
INSERT IGNORE INTO typed VALUES (
    -128, 255, TRUE, -32768, 65535, -8388608, 16777215, -2147483648, 4294967295, -9223372036854775808,
    18446744073709551615, -1.50, 12345678901234567890123456789012345678901234567890.123456789, 0.1, 16777216, 1e308,
    '2024-02-29', '0000-00-00', '2024-02-00', '2024-02-29 12:00:00.123456', '0000-00-00 00:00:00',
    '2024-02-29 00:00:00', '2024-02-29 17:30:00.123456', '12:34:56', '-838:59:59.5', '00:00:00.000001', 2024,
    b'1000000001', b'1', b'1000000000000000000000000000000000000000000000000000000000000001', 'ok', 'sad,ok', 'ab',
    'Zürich 😀', 'prose', 'long', 'é', X'00FF', X'00FF', X'00FF', 5.50, 42, '{"b":  1, "a": 2}', POINT(1, 2),
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
    ("money", TEXT, NUMBER, "-1.50"),
    ("long_number", TEXT, NUMBER, _LONG_DECIMAL),
    ("thin", pa.float64(), None, 0.1),
    ("thin_large", pa.float64(), None, 16777216.0),
    ("wide", pa.float64(), None, 1e308),
    ("day", DAY, None, date(2024, 2, 29)),
    ("no_day", DAY, None, None),
    ("half_a_day", DAY, None, None),
    ("moment", NAIVE, None, NOON),
    ("no_moment", NAIVE, None, None),
    ("midnight", NAIVE, None, NOON.replace(hour=0, microsecond=0)),
    ("instant", UTC_TIME, None, NOON.replace(tzinfo=UTC)),
    ("clock", TEXT, None, "12:34:56"),
    ("clock_before", TEXT, None, "-838:59:59.500"),
    ("clock_after", TEXT, None, "00:00:00.000001"),
    ("annual", pa.int16(), None, 2024),
    ("flags", pa.uint64(), None, 513),
    ("yes", pa.bool_(), None, True),
    ("full_bits", pa.uint64(), None, 2**63 + 1),
    ("mood", TEXT, None, "ok"),
    ("moods", TEXT, None, "sad,ok"),
    ("letters", TEXT, None, "ab"),
    ("chars", TEXT, None, "Zürich 😀"),
    ("prose", TEXT, None, "prose"),
    ("long_prose", TEXT, None, "long"),
    ("latin", TEXT, None, "é"),
    ("bytes", pa.binary(), None, b"\x00\xff\x00\x00"),
    ("var_bytes", pa.binary(), None, b"\x00\xff"),
    ("large", pa.binary(), None, b"\x00\xff"),
    ("filled", TEXT, NUMBER, "5.50"),
    ("filled_whole", pa.uint32(), None, 42),
    ("json", TEXT, None, '{"b":  1, "a": 2}'),
    ("place", pa.binary(), None, _POINT),
    ("id", TEXT, None, UUID),
    ("host", TEXT, None, "::1"),
    ("repeat('x', 250)", TEXT, None, "x" * 250),
    ("repeat('x', 251)", TEXT, None, "x" * 251),
    ("repeat('x', 65536)", TEXT, None, "x" * 65536),
]
