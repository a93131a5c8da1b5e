"""What drivers do whose databases are not here: their own code, with answers as their servers are documented to give.

What this cannot show is what such a server itself does: whether it takes our statements and settings.
"""

from __future__ import annotations

import traceback
from array import array as array_of_numbers
from collections import namedtuple
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import clickhouse_connect.dbapi.connection as clickhouse
import databricks.sql as databricks
import oracledb
import pyarrow as pa
import pytest
from clickhouse_connect.driver.models import SettingDef
from clickhouse_connect.driver.query import QueryContext
from clickhouse_connect.driver.transform import NativeTransform
from clickhouse_connect.driverc.buffer import ResponseBuffer
from databricks.sql.result_set import ThriftResultSet
from databricks.sql.utils import ArrowQueue
from sqlalchemy.dialects.oracle.oracledb import OracleDialect_oracledb
from trino.mapper import RowMapperFactory

from connectors.sqlalchemy.values import announced, array, described_kind, narrowed, seen
from syncer.model.errors import WarehouseError
from syncer.model.protocols import JSON, NUMBER
from tests.connectors.warehouses.reading import opened, rows

TIMEOUT = timedelta(minutes=1)
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
NAIVE = NOON.replace(tzinfo=None)


class Connection:
    """The connection of a driver, whose cursors a test gives."""

    def __init__(self, cursor: Callable[[], Any], **attributes: Any) -> None:
        self.cursor = cursor
        self.__dict__ |= attributes

    def close(self) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...


class Cursor:
    """A cursor of a driver, which remembers what it was given."""

    rowcount = -1
    arraysize = 1

    def __init__(self, description: list[tuple[Any, ...]], found: Sequence[tuple[Any, ...]] = ()) -> None:
        self.description = description
        self.sent: list[str] = []
        self.parsed: list[str] = []
        self.found = iter(found)

    def execute(self, sql: str, *_: Any, **__: Any) -> None:
        self.sent.append(sql)

    def parse(self, sql: str) -> None:
        self.parsed.append(sql)

    def fetchone(self) -> tuple[str]:
        """What SQLAlchemy's dialect asks when it connects."""
        return ("u",)

    def fetchmany(self, size: int) -> list[tuple[Any, ...]]:
        return [row for row, _ in zip(self.found, range(size), strict=False)]

    def close(self) -> None: ...


NESTED = pa.struct([("n", pa.int32()), ("tags", pa.list_(pa.string())), ("rate", pa.float32())])
#: A column of Databricks: its type, what the driver calls that, its values in Arrow, and what they become.
DATABRICKS: list[tuple[str, pa.Array, pa.DataType, Any, list[Any]]] = [
    ("array", pa.array([[1, 2], [], None], pa.list_(pa.int32())), pa.string(), JSON, ["[1, 2]", "[]", None]),
    ("array", pa.array([[*range(2000)], None, None], pa.list_(pa.int64())), pa.string(), JSON,
     [f"[{', '.join(map(str, range(2000)))}]", None, None]),
    ("array", pa.array([[0.1, None]] * 3, pa.list_(pa.float32())), pa.string(), JSON, ["[0.1, null]"] * 3),
    ("array", pa.array([[[("k", [1])]]] * 3, pa.list_(pa.map_(pa.string(), pa.list_(pa.int8())))), pa.string(), JSON,
     ['[{"k": [1]}]'] * 3),
    ("map", pa.array([[("a", 1), ("ü", None)], [], None], pa.map_(pa.string(), pa.int32())), pa.string(), JSON,
     ['{"a": 1, "ü": null}', "{}", None]),
    ("map", pa.array([[(1, 0.5)]] * 3, pa.map_(pa.int32(), pa.float64())), pa.string(), JSON, ['{"1": 0.5}'] * 3),
    ("struct", pa.array([{"n": 1, "tags": ["x"], "rate": 0.1}, None, {"n": None, "tags": None, "rate": None}], NESTED),
     pa.string(), JSON, ['{"n": 1, "tags": ["x"], "rate": 0.1}', None, '{"n": null, "tags": null, "rate": null}']),
    ("struct", pa.array([{"d": Decimal("1E-9")}] * 3, pa.struct([("d", pa.decimal128(18, 9))])), pa.string(), JSON,
     ['{"d": 0.000000001}'] * 3),
    ("float", pa.array([0.1, 1 / 3, None], pa.float32()), pa.float64(), None, [0.1, 0.33333334, None]),
    ("double", pa.array([0.1, 1 / 3, None], pa.float64()), pa.float64(), None, [0.1, 1 / 3, None]),
    ("decimal", pa.array([Decimal("1E-9"), Decimal(0), None], pa.decimal128(18, 9)), pa.string(), NUMBER,
     ["0.000000001", "0.000000000", None]),
    ("int", pa.array([1, None, -1], pa.int32()), pa.int64(), None, [1, None, -1]),
    ("string", pa.array(["a", None, ""]), pa.string(), None, ["a", None, ""]),
    ("boolean", pa.array([True, None, False]), pa.bool_(), None, [True, None, False]),
    ("binary", pa.array([b"\0\xff", None, b""]), pa.binary(), None, [b"\0\xff", None, b""]),
    ("date", pa.array([19782, None, 0], pa.date32()), pa.date32(), None, [NOON.date(), None, date(1970, 1, 1)]),
    ("timestamp", pa.array([NOON] * 3, pa.timestamp("us", "Europe/Berlin")), pa.timestamp("us"), None,
     [NAIVE] * 3),
    ("timestamp_ntz", pa.array([NOON] * 3, pa.timestamp("us")), pa.timestamp("us"), None, [NAIVE] * 3),
    ("variant", pa.array(['{"a":1}', None, "1"]), pa.string(), JSON, ['{"a":1}', None, "1"]),
    ("void", pa.nulls(3), pa.string(), None, [None] * 3),
    ("interval_day_time", pa.array(["1 00:00:00.000000000", None, ""]), pa.string(), None,
     ["1 00:00:00.000000000", None, ""]),
]  # fmt: skip


def databricks_result(table: pa.Table) -> ThriftResultSet:
    """The driver's own result."""
    result = object.__new__(ThriftResultSet)
    result.results = ArrowQueue(table, table.num_rows)
    result.has_more_rows, result.has_been_closed_server_side, result._next_row_index = False, False, 0
    result.close = lambda: None  # type: ignore[method-assign]
    return result


@pytest.mark.parametrize("count", [3, 0])
def test_databricks_values_come_from_the_drivers_arrow(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    columns = [column.slice(0, count) for _, column, *_ in DATABRICKS]
    result = databricks_result(pa.table(columns, names=[f"c{i}" for i in range(len(columns))]))
    cursor = Cursor([(f"c{i}", name, *[None] * 5) for i, (name, *_) in enumerate(DATABRICKS)])
    cursor.fetchmany_arrow = result.fetchmany_arrow  # type: ignore[attr-defined]
    monkeypatch.setattr(databricks, "connect", lambda **_: Connection(lambda: cursor))

    with opened("databricks://token:x@host?http_path=/sql&catalog=c&schema=s") as warehouse:
        found = warehouse.query("SELECT * FROM t", timeout=TIMEOUT).read_all()

    wanted = [(name, type_, meta, values[:count]) for name, _, type_, meta, values in DATABRICKS]
    assert [
        (name, field.type, field.metadata, column.to_pylist())
        for (name, *_), field, column in zip(DATABRICKS, found.schema, found.columns, strict=True)
    ] == wanted


class ClickHouse:
    """The driver's client, with the blocks that a server sends in ClickHouse's own format."""

    server_tz = UTC

    def __init__(self, columns: list[tuple[str, bytes]], **settings: tuple[str, int]) -> None:
        self._columns = columns
        self.sent: list[str] = []
        self.server_settings = {name: SettingDef(name, *setting) for name, setting in settings.items()}
        self.settings: dict[str, Any] = {}

    def _add_integration_tag(self, _: str) -> None: ...

    def close(self) -> None: ...

    def set_client_setting(self, name: str, value: Any) -> None:
        self.settings[name] = value

    def create_query_context(self, **_: Any) -> Any:
        """Of what SQLAlchemy's dialect asks when it connects."""
        return SimpleNamespace()

    def query(self, sql: str, *_: Any, query_formats: Any = None, context: Any = None, **__: Any) -> Any:
        self.sent.append(sql)
        columns = self._columns if context is None else [("String", text(b"db"))]
        block = bytes([len(columns), 1])
        for number, (type_, content) in enumerate(columns):
            name = f"c{number}".encode()
            block += bytes([len(name)]) + name + bytes([len(type_)]) + type_.encode() + content
        context = QueryContext(sql, query_formats=query_formats)
        found = NativeTransform().parse_response(
            ResponseBuffer(SimpleNamespace(gen=iter([block]), close=lambda: None)), context
        )
        # As the client does with the headers of the answer.
        found.summary = {}
        return found


def text(*values: bytes) -> bytes:
    return b"".join(bytes([len(value)]) + value for value in values)


URL = "clickhousedb://u:p@host:8443/db"


def clickhouse_at(monkeypatch: pytest.MonkeyPatch, client: ClickHouse) -> None:
    monkeypatch.setattr(clickhouse, "create_client", lambda **_: client)


FLOAT32 = b"\xcd\xcc\xcc\x3d"


@pytest.mark.parametrize(
    ("type_", "content", "value"),
    [
        ("FixedString(4)", b"ab\0\0", "ab"),
        ("FixedString(4)", b"\0\0\0\0", ""),
        ("FixedString(4)", b"a\0b\0", "a\0b"),
        ("FixedString(4)", "ü".encode() + b"\0\0", "ü"),
        ("Nullable(FixedString(2))", b"\0ab", "ab"),
        ("Nullable(FixedString(2))", b"\1\0\0", None),
        ("String", text(b"ab"), "ab"),
        ("String", text("ü".encode()), "ü"),
        ("String", text(b""), ""),
        ("Nullable(String)", b"\1" + text(b""), None),
        ("LowCardinality(String)", b"\1" + bytes(7) + b"\0\6" + bytes(6) + b"\2" + bytes(7) + text(b"", b"ab")
         + b"\1" + bytes(7) + b"\1", "ab"),
        ("Float32", FLOAT32, 0.1),
        ("Float64", b"\x9a\x99\x99\x99\x99\x99\xb9\x3f", 0.1),
        ("Array(String)", b"\1" + bytes(7) + text(b"ab"), '["ab"]'),
        ("Array(FixedString(2))", b"\1" + bytes(7) + b"a\0", '["a\\u0000"]'),
        ("Array(Float32)", b"\1" + bytes(7) + FLOAT32, "[0.1]"),
        ("Map(String, String)", b"\1" + bytes(7) + text(b"k") + text(b"v"), '{"k": "v"}'),
        ("Tuple(String, Int8)", text(b"ab") + b"\7", '["ab", 7]'),
        ("Tuple(a String, b Int8)", text(b"ab") + b"\7", '{"a": "ab", "b": 7}'),
        ("IPv4", b"\1\0\0\x0a", "10.0.0.1"),
        ("Enum8('a' = 1)", b"\1", "a"),
    ],
)  # fmt: skip
def test_clickhouse_values_are_what_the_server_has(
    monkeypatch: pytest.MonkeyPatch, type_: str, content: bytes, value: Any
) -> None:
    clickhouse_at(monkeypatch, ClickHouse([(type_, content)]))

    with opened(URL) as warehouse:
        assert rows(warehouse, "SELECT c0 FROM t") == [{"c0": value}]


@pytest.mark.parametrize(
    ("type_", "content", "kept"),
    [
        ("FixedString(2)", b"\xff\0", b"\xff"),
        ("String", text(b"a\xff"), b"a\xff"),
        ("Array(String)", b"\1" + bytes(7) + text(b"\xff"), b'["\xff"]'),
    ],
)
def test_bytes_of_clickhouse_that_are_no_utf_8_stay_so_that_their_row_is_rejected(
    monkeypatch: pytest.MonkeyPatch, type_: str, content: bytes, kept: bytes
) -> None:
    clickhouse_at(monkeypatch, ClickHouse([(type_, content)]))

    with opened(URL) as warehouse:
        found = warehouse.query("SELECT c0 FROM t", timeout=TIMEOUT).read_all()

    assert found.column(0).combine_chunks().view(pa.binary())[0].as_py() == kept


def test_clickhouse_returns_the_whole_of_a_result_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    client = ClickHouse(
        [("Int8", b"\7")],
        result_overflow_mode=("break", 0),
        group_by_overflow_mode=("any", 0),
        timeout_overflow_mode_leaf=("break", 0),
        read_overflow_mode=("throw", 0),
        limit=("10", 0),
        offset=("0", 1),
        skip_unavailable_shards=("1", 0),
        max_threads=("4", 0),
    )
    clickhouse_at(monkeypatch, client)

    with opened(URL):
        assert client.settings == {
            "result_overflow_mode": "throw",
            "group_by_overflow_mode": "throw",
            "timeout_overflow_mode_leaf": "throw",
            "limit": "0",
            "skip_unavailable_shards": "0",
        }


def test_a_profile_of_clickhouse_that_cuts_results_and_cannot_be_changed_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clickhouse_at(monkeypatch, ClickHouse([], read_overflow_mode=("throw", 1), sort_overflow_mode=("break", 1)))

    with pytest.raises(WarehouseError, match=r"setting `sort_overflow_mode` is `break`") as caught, opened(URL):
        pass

    assert "`throw`" in caught.value.hint


def test_clickhouse_describes_a_query_with_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    client = ClickHouse([("String", text(b"id")), ("String", text(b"Int8")), ("String", text(b""))])
    clickhouse_at(monkeypatch, client)

    with opened(URL) as warehouse:
        found = warehouse.columns("SELECT 7 AS id SETTINGS max_threads = 1 -- end")

    assert [(column.name, column.type) for column in found] == [("id", "Int8")]
    assert client.sent[-1] == "DESCRIBE TABLE (SELECT 7 AS id SETTINGS max_threads = 1\n)"


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Cursor:
    """A cursor of Oracle's driver, which gives a time with a zone without it."""
    cursor = Cursor(
        [
            ("ID", oracledb.DB_TYPE_NUMBER, *[None] * 5),
            ("SEEN_AT", oracledb.DB_TYPE_TIMESTAMP_TZ, *[None] * 5),
            ("Local At", oracledb.DB_TYPE_TIMESTAMP_LTZ, *[None] * 5),
            ("MADE_AT", oracledb.DB_TYPE_TIMESTAMP, *[None] * 5),
        ],
        [(1, NAIVE, NAIVE, NAIVE)],
    )
    connection = Connection(lambda: cursor, version="23.4.0.24.05", max_identifier_length=128)
    monkeypatch.setattr(OracleDialect_oracledb, "_detect_decimal_char", lambda *_: None)
    monkeypatch.setattr(oracledb, "connect", lambda *_, **__: connection)
    return cursor


ORACLE = "oracle+oracledb://u:p@host?service_name=x"


def test_an_instant_of_oracle_comes_in_utc(oracle: Cursor) -> None:
    with opened(ORACLE) as warehouse:
        found = warehouse.query("WITH x AS (SELECT 1 FROM dual) SELECT * FROM x;", timeout=TIMEOUT).read_all()

    assert found.schema.names == ["id", "seen_at", "Local At", "made_at"]
    assert found.to_pylist() == [{"id": "1", "seen_at": NOON, "Local At": NOON, "made_at": NAIVE}]
    assert oracle.sent[-1] == (
        'SELECT "ID", SYS_EXTRACT_UTC("SEEN_AT"), SYS_EXTRACT_UTC("Local At"), "MADE_AT" '
        "FROM (\nWITH x AS (SELECT 1 FROM dual) SELECT * FROM x\n)"
    )


def test_an_instant_of_oracle_comes_in_utc_where_names_repeat(oracle: Cursor) -> None:
    oracle.description = [(name.replace("MADE_AT", "ID"), *rest) for name, *rest in oracle.description]

    with opened(ORACLE) as warehouse:
        found = warehouse.query("SELECT * FROM x", timeout=TIMEOUT).read_all()

    assert found.schema.names == ["id", "seen_at", "Local At", "id"]
    assert oracle.sent[-1] == (
        "WITH q (c0, c1, c2, c3) AS (\nSELECT * FROM x\n)\n"
        "SELECT c0, SYS_EXTRACT_UTC(c1), SYS_EXTRACT_UTC(c2), c3 FROM q"
    )


def test_a_query_of_oracle_without_instants_is_sent_as_it_is(oracle: Cursor) -> None:
    oracle.description, oracle.found = oracle.description[:1], iter([(1,)])

    with opened(ORACLE) as warehouse:
        rows(warehouse, "SELECT id FROM x")

    assert oracle.sent[-1] == "SELECT id FROM x"


def test_oracle_describes_a_query_without_running_it(oracle: Cursor) -> None:
    with opened(ORACLE) as warehouse:
        before = len(oracle.sent)
        found = warehouse.columns("SELECT id, seen_at FROM x FETCH FIRST 5 ROWS ONLY")

    assert oracle.parsed == ["SELECT id, seen_at FROM x FETCH FIRST 5 ROWS ONLY"]
    assert all(sql.startswith("SET TRANSACTION") for sql in oracle.sent[before:])
    assert [column.name for column in found] == ["id", "seen_at", "Local At", "made_at"]


def trino(type_: str, signature: dict[str, Any], value: Any) -> Any:
    """A value as Trino's driver gives it."""
    mapper = RowMapperFactory().create([{"name": "r", "type": type_, "typeSignature": signature}], False)
    return mapper.map([[value]])[0][0]


def signature(type_: str, *arguments: dict[str, Any]) -> dict[str, Any]:
    return {"rawType": type_, "arguments": list(arguments)}


def member(name: str | None, type_: dict[str, Any]) -> dict[str, Any]:
    named = {"fieldName": {"name": name}} if name else {}
    return {"kind": "NAMED_TYPE", "value": named | {"typeSignature": type_}}


def of(type_: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "TYPE", "value": type_}


INTEGER, VARCHAR = signature("integer"), signature("varchar")
PAIR = signature("row", member("x", INTEGER), member("y", VARCHAR))


@pytest.mark.parametrize(
    ("type_", "given", "value", "written"),
    [
        ("row(x integer, y varchar)", PAIR, [1, "a"], '{"x": 1, "y": "a"}'),
        ("row(x integer, y varchar)", PAIR, [None, None], '{"x": null, "y": null}'),
        ("array(row(x integer, y varchar))", signature("array", of(PAIR)), [[1, "a"]], '[{"x": 1, "y": "a"}]'),
        ("map(varchar, row(x integer, y varchar))", signature("map", of(VARCHAR), of(PAIR)), {"k": [1, "a"]},
         '{"k": {"x": 1, "y": "a"}}'),
        ("row(p row(x integer, y varchar))", signature("row", member("p", PAIR)), [[1, "a"]],
         '{"p": {"x": 1, "y": "a"}}'),
        ("row(integer, varchar)", signature("row", member(None, INTEGER), member(None, VARCHAR)), [1, "a"], '[1, "a"]'),
        ("map(integer, boolean)", signature("map", of(INTEGER), of(signature("boolean"))), {"1": True},
         '{"1": true}'),
    ],
)  # fmt: skip
def test_a_row_of_trino_is_an_object(type_: str, given: dict[str, Any], value: Any, written: str) -> None:
    kind = announced(type_)

    assert kind is not None
    assert array("r", [trino(type_, given, value)], kind, is_announced=True).to_pylist() == [written]


class Lob:
    """A class of a driver that Syncer does not know; its text tells nothing of its value."""

    def __str__(self) -> str:
        return "canary..."


Named = namedtuple("Named", ["years", "months"])


@pytest.mark.parametrize("type_", ["varchar", "row(x integer)", "array(integer)", ""])
@pytest.mark.parametrize("value", [Lob(), [Lob()], {"a": Lob()}, [{"a": (Lob(),)}], {Lob(): 1}])
def test_a_value_of_a_class_that_nobody_knows_is_an_error_that_names_its_column(type_: str, value: Any) -> None:
    kind = announced(type_) if type_ else seen("a", {type(value)})
    assert kind is not None

    with pytest.raises(Exception, match=r"column `a` holds a value of the class `(Lob|list|dict)`") as caught:
        array("a", [None, value], kind, is_announced=bool(type_))

    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("value", "written"),
    [(Named(1, 2), '{"years": 1, "months": 2}'), (array_of_numbers("f", [0.1]), "[0.1]"), ((1, 2), "[1, 2]")],
)
def test_a_value_with_names_or_of_numbers_is_json(value: Any, written: str) -> None:
    kind = seen("a", {type(value)})

    assert kind is not None
    assert array("a", [value], kind, is_announced=False).to_pylist() == [written]


def test_a_float_of_four_bytes_has_its_shortest_digits() -> None:
    wide = array_of_numbers("f", [0.1, 0.3, 1 / 3, 3.4028234663852886e38, 1e-45, -2.5]).tolist()
    short = [0.1, 0.3, 0.33333334, 3.4028235e38, 1e-45, -2.5]

    for name in ("Float32", "real", "DB_TYPE_BINARY_FLOAT"):
        kind = described_kind(("a", name))
        assert kind is not None
        assert array("a", [*wide, None], kind, is_announced=True).to_pylist() == [*short, None]
    assert [*map(narrowed, wide)] == short
    # No such float is it.
    assert [*map(narrowed, [0.1, 1 / 3, 1e300, float("inf")])] == [0.1, 1 / 3, 1e300, float("inf")]


@pytest.mark.parametrize("type_", ["Tuple(a Float32, b Float64)", "row(x real, y double)"])
def test_a_float_of_eight_bytes_beside_one_of_four_keeps_its_value(type_: str) -> None:
    """Both doubles are floats of four bytes too, which fewer digits would mean."""
    kind = announced(type_)

    assert kind is not None
    given = (0.10000000149011612, [100000008.0, 65536.03125])
    assert array("t", [given], kind, is_announced=True).to_pylist() == [
        "[0.10000000149011612, [100000008.0, 65536.03125]]"
    ]
