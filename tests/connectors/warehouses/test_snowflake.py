"""What only Snowflake can do to a reader.

The server is a stand-in (tests.servers.snowflake_stand_in) that the real driver talks to. It checks logins by password,
by a signed token of a key pair, by OAuth and by programmatic access token; it cancels; it sends results in parts,
in the forms that the service documents for the wire. What it cannot show: that the service takes a private key, an
access token or a session parameter of ours; how it words errors that are not laid down here; its own casts, grants
and time limits; TLS; and a session or the addresses of a result's parts running out while they are read.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from snowflake.connector.errors import OperationalError

from connectors.snowflake.errors import login_failure, query_failure
from connectors.snowflake.options import SnowflakeOptions
from connectors.support.connection import ConnectionName
from syncer.model.errors import SettingsError, SyncerError, WarehouseError
from syncer.model.protocols import JSON, Warehouse
from syncer.settings.registry import open_warehouse
from tests.contracts.probing import probed
from tests.servers.snowflake import TOKEN, USER, SnowflakeServer

TIMEOUT = timedelta(minutes=1)
SECRET = "s3cr3t-Pa55"
ROOT = Path(__file__).parents[3]

UTC_TYPE, NAIVE, TEXT = pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.string()
END = 2**63 - 1


@contextmanager
def opened(url: str, options: SnowflakeOptions | None = None, sync: str = "") -> Iterator[Warehouse]:
    warehouse = open_warehouse("crm", url, options=options, sync=sync)
    try:
        yield warehouse
    finally:
        warehouse.close()


@pytest.fixture
def url(snowflake: SnowflakeServer) -> str:
    return snowflake.url(f"{snowflake.new_database()}/public")


@pytest.fixture
def warehouse(url: str) -> Iterator[Warehouse]:
    with opened(url) as found:
        yield found


def login_by(**options: Any) -> SnowflakeOptions:
    return SnowflakeOptions(**options)


def refusal(url: str, options: SnowflakeOptions | None = None) -> SyncerError:
    with pytest.raises(SyncerError) as caught:
        open_warehouse("crm", url, options=options).close()
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + caught.value.hint
    return caught.value


def column(kind: str, **told: Any) -> dict[str, Any]:
    """What the service tells of a column."""
    empty = {"nullable": True, "precision": None, "scale": None, "length": None, "byteLength": None}
    return {"name": "A", "type": kind} | empty | told


def part(values: pa.Array, logical_type: str, **wire: int) -> pa.Table:
    """A part of a result of one column."""
    metadata = {"logicalType": logical_type} | {name: str(number) for name, number in wire.items()}
    return pa.table([values], schema=pa.schema([pa.field("A", values.type, metadata=metadata)]))


def moments(epochs: list[int], fractions: list[int], zones: list[int] | None = None) -> pa.Array:
    """Times as the wire has them: seconds, nanoseconds, and minutes of the zone from -24 hours on; NULL at the end."""
    fields = {"epoch": pa.array([*epochs, 0], pa.int64()), "fraction": pa.array([*fractions, 0], pa.int32())}
    if zones is not None:
        fields["timezone"] = pa.array([*zones, 0], pa.int32())
    mask = pa.array([False] * len(epochs) + [True])
    return pa.StructArray.from_arrays(list(fields.values()), names=list(fields), mask=mask)


def numbers(kind: pa.DataType, *values: int | None) -> pa.Array:
    return pa.array(values, kind)


NOON = datetime.fromisoformat("2024-02-29T12:00:00.123456+00:00")
NOON_SECONDS = 1_709_208_000

#: What the service tells of a column, the parts of it on the wire, the type, and the values: times as Arrow's bits.
WIRE: list[tuple[dict[str, Any], list[pa.Table], pa.DataType, list[Any]]] = [
    (
        column("fixed", precision=5, scale=2),
        [part(numbers(pa.int8(), 1, None), "FIXED", precision=5, scale=2),
         part(numbers(pa.int16(), -12345), "FIXED", precision=5, scale=2)],
        pa.decimal128(38, 2),
        [Decimal("0.01"), None, Decimal("-123.45")],
    ),
    (
        column("fixed", precision=38, scale=0),
        [part(numbers(pa.int64(), 2**60), "FIXED", precision=38, scale=0),
         part(pa.array([Decimal(10**37)], pa.decimal128(38, 0)), "FIXED", precision=38, scale=0)],
        pa.decimal128(38, 0),
        [Decimal(2**60), Decimal(10**37)],
    ),
    (
        column("fixed", precision=10, scale=0),
        [part(numbers(pa.int8(), 1), "FIXED", precision=10, scale=0),
         part(numbers(pa.int64(), 9_999_999_999), "FIXED", precision=10, scale=0)],
        pa.int64(),
        [1, 9_999_999_999],
    ),
    (
        column("timestamp_tz", scale=9),
        [part(moments([NOON_SECONDS, -62_135_596_801, 253_402_300_799], [123_456_789, 0, 999_999_999],
                      [1440 + 120, 1440, 1440 - 600]), "TIMESTAMP_TZ", scale=9, byteLength=16)],
        UTC_TYPE,
        [int(NOON.timestamp() * 10**6), -END, 253_402_300_799_999_999, None],
    ),
    (
        column("timestamp_tz", scale=3),
        [part(pa.StructArray.from_arrays([numbers(pa.int64(), NOON_SECONDS * 1000 + 123), numbers(pa.int32(), 1500)],
                                         names=["epoch", "timezone"]), "TIMESTAMP_TZ", scale=3, byteLength=8)],
        UTC_TYPE,
        [NOON_SECONDS * 10**6 + 123_000],
    ),
    (
        column("timestamp_ntz", scale=9),
        [part(moments([253_402_300_799, 253_402_300_800, -1], [999_999_999, 0, 500_000_000]), "TIMESTAMP_NTZ",
              scale=9)],
        NAIVE,
        [253_402_300_799_999_999, END, -500_000, None],
    ),
    (
        column("timestamp_ltz", scale=3),
        [part(numbers(pa.int64(), NOON_SECONDS * 1000 + 123, None), "TIMESTAMP_LTZ", scale=3)],
        UTC_TYPE,
        [NOON_SECONDS * 10**6 + 123_000, None],
    ),
    (
        column("timestamp_ntz", scale=0),
        [part(numbers(pa.int64(), NOON_SECONDS), "TIMESTAMP_NTZ", scale=0)],
        NAIVE,
        [NOON_SECONDS * 10**6],
    ),
    (
        column("date"),
        [part(numbers(pa.int32(), 19_782, 3_000_000, -800_000, None).cast(pa.date32()), "DATE")],
        pa.date32(),
        [19_782, 2**31 - 1, -(2**31) + 1, None],
    ),
    (
        column("time", scale=9),
        [part(numbers(pa.int64(), 45_296_789_000_000, 0, 10**9 * 600, None), "TIME", scale=9)],
        TEXT,
        ["12:34:56.789", "00:00:00", "00:10:00", None],
    ),
    (column("time", scale=0), [part(numbers(pa.int32(), 45_290), "TIME", scale=0)], TEXT, ["12:34:50"]),
    (
        column("real"),
        [part(pa.array([0.1, float("inf"), None]), "REAL")],
        pa.float64(),
        [0.1, float("inf"), None],
    ),
    (
        column("array"),
        [part(pa.array(['[1,undefined,"undefined \\" NaN",-Infinity]', "[\n  undefined\n]", "null", None]), "ARRAY")],
        TEXT,
        ['[1,null,"undefined \\" NaN","-Infinity"]', "[\n  null\n]", "null", None],
    ),
    (
        column("object", extTypeName="GEOGRAPHY"),
        [part(pa.array(['{"type":"Point","coordinates":[1,2]}']), "OBJECT")],
        TEXT,
        ['{"type":"Point","coordinates":[1,2]}'],
    ),
    (column("boolean"), [part(pa.array([True, None]), "BOOLEAN")], pa.bool_(), [True, None]),
    (
        column("binary", length=9, byteLength=9),
        [part(pa.array([b"\x00\xff", b""]), "BINARY")],
        pa.binary(),
        [b"\x00\xff", b""],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "parts", "kind", "values"), WIRE, ids=[f"{c['type']}-{n}" for n, (c, *_) in enumerate(WIRE)]
)
def test_what_the_wire_has_arrives_exactly(
    snowflake: SnowflakeServer,
    warehouse: Warehouse,
    told: dict[str, Any],
    parts: list[pa.Table],
    kind: pa.DataType,
    values: list[Any],
) -> None:
    snowflake.add_result("wire", [told], parts)

    found = warehouse.query("SELECT * FROM wire", timeout=TIMEOUT).read_all()

    got = found["a"]
    if pa.types.is_temporal(kind):
        got = got.cast(pa.int32() if pa.types.is_date(kind) else pa.int64())
    assert found.schema.field("a").type == kind
    assert got.to_pylist() == values
    is_json = told["type"] in ("array", "object")
    assert found.schema.field("a").metadata == (JSON if is_json else None)


def test_a_number_that_is_none_arrives(warehouse: Warehouse) -> None:
    found = warehouse.query("SELECT 'NaN'::FLOAT AS a", timeout=TIMEOUT).read_all()

    assert str(found["a"][0].as_py()) == "nan"


@pytest.mark.parametrize(
    ("told", "cast"),
    [
        (column("timestamp_ntz", scale=7), '"A"::TIMESTAMP_NTZ(6)'),
        (column("timestamp_tz", scale=8), '"A"::TIMESTAMP_TZ(6)'),
        (column("vector", vectorDimension=2, fields=[column("real")]), '"A"::ARRAY'),
        (column("interval_day_time", scale=9, precision=9), '"A"::VARCHAR'),
    ],
)
def test_the_service_casts_what_the_driver_misreads(
    snowflake: SnowflakeServer, warehouse: Warehouse, told: dict[str, Any], cast: str
) -> None:
    snowflake.add_result("misread", [told], [part(pa.array([], pa.string()), "TEXT")])
    warehouse.query("SELECT * FROM misread", timeout=TIMEOUT).read_all()

    assert snowflake.statements()[-1] == f'SELECT * REPLACE ({cast} AS "A") FROM (SELECT * FROM misread\n)'


def test_a_type_that_cannot_be_read_is_refused_by_its_column(snowflake: SnowflakeServer, warehouse: Warehouse) -> None:
    snowflake.add_result("exotic", [column("decfloat", precision=38)], [part(pa.array(["1.5"]), "TEXT")])

    with pytest.raises(WarehouseError, match="cannot read the type of the column `A`") as caught:
        warehouse.query("SELECT * FROM exotic", timeout=TIMEOUT)

    assert "Cast it" in caught.value.hint


def test_columns_have_the_names_and_types_of_the_service(warehouse: Warehouse) -> None:
    sql = """SELECT 1 AS a, 1.5::NUMBER(5, 2) AS "b", 'x' AS c, NOW()::TIMESTAMP_NTZ AS d, PARSE_JSON('1') AS e"""

    told = [(found.name, found.type) for found in warehouse.columns(sql)]

    assert told == [
        ("a", "NUMBER(38,0)"),
        ("b", "NUMBER(5,2)"),
        ("c", "TEXT"),
        ("d", "TIMESTAMP_NTZ(9)"),
        ("e", "VARIANT"),
    ]


def test_the_url_can_keep_names_in_upper_case(snowflake: SnowflakeServer) -> None:
    url = snowflake.url(f"{snowflake.new_database()}/public", column_case="as_is")

    with opened(url) as warehouse:
        assert [found.name for found in warehouse.columns('SELECT 1 AS a, 2 AS "b"')] == ["A", "b"]
        assert warehouse.query("SELECT 1 AS a", timeout=TIMEOUT).schema.names == ["A"]

    error = refusal(snowflake.url("x/public", column_case="upper"))
    assert isinstance(error, SettingsError)
    assert "`column_case` that is neither `lower` nor `as_is`" in error.message


@pytest.mark.parametrize(("further", "missing"), [("gone", 0), ("", 5)])
def test_a_result_that_does_not_come_whole_is_an_error(
    snowflake: SnowflakeServer, warehouse: Warehouse, further: str, missing: int
) -> None:
    told = column("fixed", precision=5, scale=0)
    rows = part(numbers(pa.int64(), 1, 2), "FIXED", precision=5, scale=0)
    snowflake.add_result("torn", [told], [rows], further_parts=[further] if further else [], missing_rows=missing)

    with pytest.raises(WarehouseError, match="crm"):
        warehouse.query("SELECT * FROM torn", timeout=TIMEOUT).read_all()


def test_a_part_that_the_driver_cannot_read_is_an_error_of_the_driver(
    snowflake: SnowflakeServer, warehouse: Warehouse
) -> None:
    told = column("fixed", precision=5, scale=0)
    rows = part(numbers(pa.int64(), 1, 2), "FIXED", precision=5, scale=0)
    snowflake.add_result("unreadable", [told], [rows], further_parts=["broken"])

    with pytest.raises(WarehouseError) as caught:
        warehouse.query("SELECT * FROM unreadable", timeout=TIMEOUT).read_all()

    said = caught.value.message
    assert said.startswith("warehouse `crm`: Snowflake's driver failed: Failed to fetch chunk data")
    assert said.endswith("(the driver's error 000006)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Failed to initialize the token cache", "Failed to initialize the token cache"),
        ("", "it does not say why"),
        (
            'invalid type: string "Ann", at https://x.com/part?sig=s3cret',
            "invalid type: string …, at …",
        ),
        ("bad token ab1c2d3e4f5g6h7i8 for 'Ann'", "bad token … for …"),
    ],
)
def test_the_drivers_own_text_is_repeated_without_what_it_quotes(text: str, said: str) -> None:
    named = ConnectionName("warehouse", "crm")
    error = OperationalError(text, errno=17)

    assert query_failure(error, named).message == (
        f"warehouse `crm`: Snowflake's driver failed: {said} (the driver's error 000017)"
    )
    assert login_failure(error, named, where="x.com").message == (
        f"warehouse `crm`: cannot connect to Snowflake at x.com: {said} (the driver's error 000017)"
    )


@pytest.mark.parametrize(
    ("code", "state", "message", "said", "next_step"),
    [
        ("100038", "22018", "Numeric value 'Ann' is not recognized", "a text is not a number", "TRY_"),
        ("100090", "42P18", "Duplicate row: ['Ann']", "a value does not fit (Snowflake's error 100090)", "TRY_"),
        ("002003", "42S02", "SQL compilation error:\nObject 'SHOP.PUBLIC.FAILING' does not exist or not authorized.",
         "Object 'SHOP.PUBLIC.FAILING' does not exist or not authorized", "SELECT on it"),
        ("003001", "42501", "SQL access control error:\nInsufficient privileges to operate on schema 'X'",
         "Insufficient privileges to operate on schema 'X'", "USAGE"),
        ("090105", "22000", "Cannot perform SELECT. This session does not have a current database.",
         "does not have a current database", "account/database"),
        ("090073", "22000", "Warehouse 'W' cannot be resumed because resource monitor 'M' has exceeded its quota.",
         "resource monitor", "resource monitor"),
        ("000630", "57014", "Statement reached its statement or warehouse timeout of 5 second(s) and was canceled.",
         "timeout of 5 second(s)", "`timeout`"),
        ("000604", "57014", "SQL execution canceled", "SQL execution canceled", "run the sync again"),
        ("390114", "08001", "Authentication token has expired.  The user must authenticate again.",
         "the connection was lost", "Nothing of the result was used"),
    ],
)  # fmt: skip
def test_an_error_says_what_happened_and_what_to_do(
    snowflake: SnowflakeServer, warehouse: Warehouse, code: str, state: str, message: str, said: str, next_step: str
) -> None:
    snowflake.add_refusal("failing", code, state, message)

    with pytest.raises(WarehouseError) as caught:
        warehouse.query("SELECT 1 AS a,\n2 AS b\nFROM failing", timeout=TIMEOUT).read_all()

    assert said in caught.value.message
    assert next_step in caught.value.hint
    assert "Ann" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.query_line == (3 if code == "002003" else None)


def test_a_line_is_counted_from_the_start_of_the_text(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="invalid identifier 'NMAE'") as caught:
        warehouse.columns("\n-- customers\nSELECT 1,\n  nmae FROM (SELECT 1 AS a)")

    assert caught.value.query_line == 4


def test_a_session_without_a_warehouse_is_told_how_to_get_one(snowflake: SnowflakeServer) -> None:
    database = snowflake.new_database()
    with opened(snowflake.url(f"{database}/public", warehouse="")) as warehouse:
        assert [found.name for found in warehouse.columns("SELECT 1 AS a")] == ["a"]
        with pytest.raises(WarehouseError, match="No active warehouse") as caught:
            warehouse.query("SELECT 1 AS a", timeout=TIMEOUT).read_all()

    assert "SYNCER_WAREHOUSES__CRM__URL" in caught.value.hint


@pytest.mark.early
@pytest.mark.parametrize(
    ("wrong", "said", "next_step"),
    [
        ({"login": f"SYNC:{SECRET}"}, "Incorrect username or password", "user and password"),
        ({"warehouse": "NOWHERE"}, "requested warehouse does not exist", "`warehouse`"),
        ({"role": "NOBODY"}, "Role 'NOBODY'", "`role`"),
        ({"port": "1"}, "cannot connect to Snowflake at 127.0.0.1", "`port`"),
    ],
)
def test_a_login_that_fails_says_what_to_check(
    snowflake: SnowflakeServer, wrong: dict[str, Any], said: str, next_step: str
) -> None:
    error = refusal(snowflake.url(snowflake.new_database(), **wrong))

    assert isinstance(error, WarehouseError)
    assert error.message.startswith("warehouse `crm`: ")
    assert said in error.message
    assert next_step in error.hint
    assert "SYNCER_WAREHOUSES__CRM__URL" in error.hint


def test_an_unknown_database_is_told_at_once(snowflake: SnowflakeServer) -> None:
    error = refusal(snowflake.url("nowhere/public"))

    assert "requested database does not exist" in error.message


def pem(key: Any, encryption: KeySerializationEncryption) -> str:
    written: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return written.decode()


@pytest.fixture(scope="session")
def key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def with_key(snowflake: SnowflakeServer, key: RSAPrivateKey) -> str:
    """Where one may log in with the key."""
    snowflake.add_public_key(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return snowflake.url(snowflake.new_database(), login=USER)


@pytest.mark.parametrize("passphrase", [None, SECRET])
def test_a_key_pair_logs_in(with_key: str, key: RSAPrivateKey, passphrase: str | None) -> None:
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()

    with opened(with_key, login_by(key=pem(key, encryption), key_passphrase=passphrase)) as warehouse:
        assert warehouse.query("SELECT 1 AS a", timeout=TIMEOUT).read_all().num_rows == 1


def test_another_key_is_refused_with_the_next_step(with_key: str) -> None:
    other = generate_private_key(public_exponent=65537, key_size=2048)

    error = refusal(with_key, login_by(key=pem(other, NoEncryption())))

    assert "JWT token is invalid" in error.message
    assert "SYNCER_WAREHOUSES__CRM__KEY" in error.hint


@pytest.mark.parametrize("fault", ["passphrase", "no passphrase", "not a key"])
def test_a_key_that_cannot_be_read_is_a_mistake_of_the_settings(with_key: str, key: RSAPrivateKey, fault: str) -> None:
    locked = pem(key, BestAvailableEncryption(b"right"))
    options = {
        "passphrase": login_by(key=locked, key_passphrase=SECRET),
        "no passphrase": login_by(key=locked),
        "not a key": login_by(key=SECRET),
    }[fault]

    error = refusal(with_key, options)

    assert isinstance(error, SettingsError)
    assert "private key cannot be read" in error.message
    assert "SYNCER_WAREHOUSES__CRM__KEY_PASSPHRASE" in error.hint


@pytest.mark.parametrize(("login", "authenticator"), [("", ""), (USER, "oauth"), (USER, "programmatic_access_token")])
def test_a_token_logs_in(snowflake: SnowflakeServer, login: str, authenticator: str) -> None:
    url = snowflake.url(snowflake.new_database(), login=login, authenticator=authenticator)

    with opened(url, login_by(token=TOKEN)) as warehouse:
        assert warehouse.columns("SELECT 1 AS a")
    error = refusal(url, login_by(token=SECRET))

    assert "SYNCER_WAREHOUSES__CRM__TOKEN" in error.hint


@pytest.mark.parametrize(
    ("url", "options", "said", "next_step"),
    [
        ("u:{}@a/d?rol=x", {}, "unknown parameter `rol`", "Did you mean `role`?"),
        ("u:{}@a/d?timeout=5", {}, "unknown parameter `timeout`", "`warehouse`"),
        ("u:{}@a/d?role=", {}, "`role` without a value", "Correct"),
        ("u:{}@a/d?role=a&role=b", {}, "`role` twice", "Correct"),
        ("u:{}@a/d/s/t", {}, "cannot be read", "snowflake://user:password@account/database/schema"),
        ("u:{}@/d", {}, "cannot be read", "snowflake://user"),
        ("u:{}@a:443/d", {}, "cannot be read", "snowflake://user"),
        ("u:{}/x@a/d", {}, "cannot be read", "`/` is `%2F`"),
        ("u:a?{}&x@a/d", {}, "cannot be read", "`/` is `%2F`"),
        ("u:a#{}@a/d", {}, "cannot be read", "`/` is `%2F`"),
        ("u:{}@a/d?port=x", {}, "port that is not a number", "Correct"),
        ("u:{}@a/d?protocol=http", {}, "protocol that is not safe", "127.0.0.1"),
        ("u:{}@a/d?protocol=http&host=example.com", {}, "protocol that is not safe", "127.0.0.1"),
        ("u:{}@a/d?protocol=ftp&host=127.0.0.1", {}, "protocol that is not safe", "127.0.0.1"),
        ("u:{}@a/d?authenticator=externalbrowser", {}, "needs a person", "programmatic_access_token"),
        ("u@a/d", {}, "lack a password in its URL", "__KEY"),
        ("u@a/d?authenticator=oauth", {}, "lack SYNCER_WAREHOUSES__CRM__TOKEN", "__TOKEN"),
        ("u@a/d?authenticator=snowflake_jwt", {"token": SECRET}, "lack SYNCER_WAREHOUSES__CRM__KEY", "__KEY"),
        ("u:{}@a/d", {"token": SECRET}, "more than one secret", "Keep one"),
        ("u@a/d", {"token": SECRET, "key": SECRET}, "more than one secret", "Keep one"),
        ("a/d", {"key": SECRET}, "names no user", "snowflake://user"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(url: str, options: dict[str, Any], said: str, next_step: str) -> None:
    error = refusal(f"snowflake://{url.format(SECRET)}", SnowflakeOptions(**options))

    assert isinstance(error, SettingsError)
    assert said in error.message
    assert next_step in error.hint


@pytest.mark.parametrize(
    ("named", "account"),
    [
        ("My_Org-account1", "my_org-account1"),
        ("xy12345.eu-central-1.aws", "xy12345.eu-central-1.aws"),
        ("my-org.snowflakecomputing.com", "my-org"),
    ],
)
def test_an_account_may_be_written_in_each_form(snowflake: SnowflakeServer, named: str, account: str) -> None:
    url = snowflake.url(snowflake.new_database()).replace("my_org-account1", named)

    with opened(url):
        assert snowflake.sessions()[-1]["login"]["ACCOUNT_NAME"].lower() == account


def test_a_session_is_ours_alone_and_says_whose_it_is(snowflake: SnowflakeServer, url: str) -> None:
    with opened(url, sync="big_spenders") as warehouse:
        warehouse.query("SELECT 1 AS a", timeout=timedelta(seconds=30)).read_all()
        session = snowflake.sessions()[-1]

    parameters = {name: str(value).lower() for name, value in session["parameters"].items()}
    assert parameters["QUERY_TAG"] == "syncer: big_spenders"
    assert parameters["TIMEZONE"] == "utc"
    assert parameters["CLIENT_TELEMETRY_ENABLED"] == "false"
    assert parameters["STATEMENT_TIMEOUT_IN_SECONDS"] == "31"
    assert session["login"]["SECONDARY_ROLES"] == "NONE"


def test_settings_of_the_account_neither_cut_a_result_nor_fold_its_names(snowflake: SnowflakeServer, url: str) -> None:
    with opened(url):
        parameters = snowflake.sessions()[-1]["parameters"]

    assert int(parameters["ROWS_PER_RESULTSET"]) == 0
    assert str(parameters["QUOTED_IDENTIFIERS_IGNORE_CASE"]).lower() == "false"


@pytest.mark.parametrize(
    ("grants", "said"),
    [
        ([("SELECT", "TABLE", "S.P.A"), ("USAGE", "SCHEMA", "S.P"), ("MONITOR", "WAREHOUSE", "W")], ""),
        ([("SELECT", "TABLE", "S.P.A"), ("INSERT", "TABLE", "S.P.A")], "has INSERT on the table S.P.A"),
        ([("OWNERSHIP", "VIEW", "S.P.V")], "owns the view S.P.V"),
        ([("CREATE TABLE", "SCHEMA", "S.P")], "has CREATE TABLE on the schema S.P"),
        ([("USAGE", "ROLE", "INNER_ROLE")], "has DELETE on the table S.P.B"),
    ],
)
def test_a_probe_tells_a_role_that_could_write(
    snowflake: SnowflakeServer, grants: list[tuple[str, str, str]], said: str
) -> None:
    snowflake.add_role("INNER_ROLE", [("DELETE", "TABLE", "S.P.B"), ("USAGE", "ROLE", "PROBED")])
    snowflake.add_role("PROBED", grants)

    with opened(snowflake.url(snowflake.new_database(), role="PROBED")) as warehouse:
        probe = probed(warehouse)

    assert probe.can_write is bool(said)
    assert probe.note == (f"Its role {said}; one that may only SELECT is safer." if said else "")


def test_a_query_that_hands_its_result_on_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="->>"):
        warehouse.query("SELECT 1 AS a ->> SELECT * FROM $1", timeout=TIMEOUT)


def test_the_driver_prints_nothing_and_does_not_ask_where_it_runs(url: str) -> None:
    program = """
import logging
import sys
from datetime import timedelta
from syncer.settings.registry import open_warehouse

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("snowflake.connector").addHandler(handler)
warehouse = open_warehouse("crm", sys.argv[1])
try:
    warehouse.query("SELECT CAST('Ann' AS INTEGER) AS a", timeout=timedelta(minutes=1)).read_all()
except Exception as exc:
    print(exc)
warehouse.close()
print([text for text in said if "IMDS" in text])
"""
    environment = {"PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", program, url]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)

    assert ran.stderr == ""
    assert ran.stdout == "warehouse `crm`: a text is not a number (Snowflake's error 100038)\n[]\n"


def test_a_missing_driver_is_told_with_the_extra(url: str) -> None:
    program = """
import sys

sys.modules["snowflake.connector"] = None
from syncer.settings.registry import open_warehouse
from syncer.model.errors import SettingsError

try:
    open_warehouse("crm", sys.argv[1])
except SettingsError as exc:
    print(exc.hint)
"""
    ran = subprocess.run([sys.executable, "-c", program, url], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ran.stdout == "Install it with `pip install 'syncer[snowflake]'`.\n"
