"""What is particular to reading by way of SQLAlchemy: drivers that tell little, and many of them."""

from __future__ import annotations

import gc
import sqlite3
import threading
import time
import traceback
import warnings
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from connectors.sqlalchemy.errors import reason
from connectors.sqlalchemy.values import announced, array, first_zone, seen
from connectors.sqlalchemy.warehouse import SQLAlchemyWarehouse
from connectors.support.warehouse import DriverError, DriverThread, LeftError
from syncer.model.errors import SettingsError, WarehouseError
from syncer.model.protocols import JSON, NUMBER
from syncer.settings.registry import open_warehouse
from tests.connectors.warehouses.reading import opened
from tests.contracts.probing import probed

TIMEOUT = timedelta(minutes=1)
SECRET = "s3cr3t-Pa55"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name")
    return path


class FoldingDialect(SQLiteDialect_pysqlite):
    """A database that folds names to upper case, as Oracle Database and Db2 do."""

    name = "folding"
    requires_name_normalize = True
    supports_statement_cache = False


registry.register("folding", __name__, "FoldingDialect")


@pytest.mark.parametrize(
    ("parameter", "names"),
    [
        ("", ["email", "Plan", "city", "ORDER", "TWO WORDS"]),
        ("?column_case=lower", ["email", "Plan", "city", "ORDER", "TWO WORDS"]),
        ("?column_case=as_is", ["EMAIL", "Plan", "city", "ORDER", "TWO WORDS"]),
    ],
)
def test_names_that_the_database_folded_are_lower_case(file: Path, parameter: str, names: list[str]) -> None:
    sql = 'SELECT 1 AS EMAIL, 2 AS "Plan", 3 AS "city", 4 AS "ORDER", 5 AS "TWO WORDS"'

    with opened(f"folding:///{file}{parameter}") as warehouse:
        assert [column.name for column in warehouse.columns(sql)] == names
        assert warehouse.query(sql, timeout=TIMEOUT).read_all().schema.names == names


def test_names_of_other_databases_stay_as_they_are(file: Path) -> None:
    with opened(f"sqlite:///{file}") as warehouse:
        assert [column.name for column in warehouse.columns("SELECT 1 AS EMAIL")] == ["EMAIL"]


def series(first: str, then: str, *, change_at: int, rows: int) -> str:
    """A column that is *first* up to a row, and then another expression of the row's number `i`."""
    return (
        f"WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {rows}) "
        f"SELECT CASE WHEN i < {change_at} THEN {first} ELSE {then} END AS a FROM s"
    )


@pytest.mark.parametrize("then", ["0.5", "9223372036854775807"])
def test_numbers_of_another_width_follow_without_losing_a_digit(file: Path, then: str) -> None:
    with opened(f"sqlite:///{file}") as warehouse:
        result = warehouse.query(series("i", then, change_at=30_000, rows=30_000), timeout=TIMEOUT).read_all()

    assert result.schema.field("a").metadata == NUMBER
    assert result["a"][0].as_py() == "1"
    assert result["a"][-1].as_py() == then


def test_a_column_that_begins_with_null_is_known_by_what_follows(file: Path) -> None:
    with opened(f"sqlite:///{file}") as warehouse:
        result = warehouse.query(series("NULL", "i", change_at=70_000, rows=70_000), timeout=TIMEOUT).read_all()

    assert result.schema.field("a").metadata == NUMBER
    assert (result["a"].null_count, result["a"][-1].as_py()) == (69_999, "70000")


@pytest.mark.parametrize(
    ("first", "change_at"), [("i", 2), ("i", 30_000), ("NULL", 150_000)], ids=["at once", "later", "after NULL"]
)
def test_a_column_of_two_kinds_is_an_error_that_names_it(file: Path, first: str, change_at: int) -> None:
    then = "'Ann'" if first == "i" else "4711"
    with opened(f"sqlite:///{file}") as warehouse, pytest.raises(WarehouseError) as caught:
        warehouse.query(series(first, then, change_at=change_at, rows=change_at + 1), timeout=TIMEOUT).read_all()

    assert "`a`" in caught.value.message
    assert "numbers" in caught.value.message
    assert "texts" in caught.value.message
    assert "CAST" in caught.value.hint
    assert not {"Ann", "4711"} & {*"".join(traceback.format_exception(caught.value)).split("'")}


@pytest.mark.parametrize(
    ("name", "arrow", "metadata"),
    [
        ("Int64", pa.int64(), None),
        ("UInt64", pa.string(), NUMBER),
        ("Nullable(Decimal(18, 4))", pa.string(), NUMBER),
        ("LowCardinality(Nullable(String))", pa.string(), None),
        ("DateTime64(3, 'UTC')", pa.timestamp("us"), None),
        ("Array(Int8)", pa.string(), JSON),
        ("bigint", pa.int64(), None),
        ("decimal(38,0)", pa.string(), NUMBER),
        ("varchar(20)", pa.string(), None),
        ("timestamp(3) with time zone", pa.timestamp("us", "UTC"), None),
        ("row(x integer)", pa.string(), JSON),
        ("map<string,int>", pa.string(), JSON),
        ("DB_TYPE_NUMBER", pa.string(), NUMBER),
        ("DB_TYPE_DATE", pa.timestamp("us"), None),
        ("DB_TYPE_TIMESTAMP_TZ", pa.timestamp("us", "UTC"), None),
        ("date", pa.date32(), None),
        ("double", pa.float64(), None),
        ("varbinary", pa.binary(), None),
        ("boolean", pa.bool_(), None),
    ],
)
def test_the_names_that_drivers_have_for_types_are_understood(name: str, arrow: pa.DataType, metadata: Any) -> None:
    kind = announced(name)

    assert kind is not None
    assert (kind.type, kind.metadata) == (arrow, metadata)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, None], [True, None]),
        ([Decimal("1E-7"), 10**30, 1.5], ["0.0000001", str(10**30), "1.5"]),
        ([Decimal("NaN"), float("-inf")], ["NaN", "-Infinity"]),
        ([bytearray(b"\0"), memoryview(b"a")], [b"\0", b"a"]),
        ([{"a": [Decimal("2.50"), None, "ä"]}], ['{"a": [2.50, null, "ä"]}']),
        ([(1, b"\0", True)], ['[1, "AA==", true]']),
        ([timedelta(hours=1)], ["1:00:00"]),
        (
            [datetime(2024, 2, 29, 14, tzinfo=timezone(timedelta(hours=2)))],
            [datetime(2024, 2, 29, 12, tzinfo=UTC)],
        ),
    ],
)
def test_values_whose_type_is_not_told_arrive_exactly(values: list[Any], expected: list[Any]) -> None:
    kind = seen("a", {*map(type, values)})

    assert kind is not None
    assert array("a", values, first_zone(values, kind), is_announced=False).to_pylist() == expected


def test_a_file_is_opened_so_that_nothing_can_be_written(file: Path) -> None:
    with opened(f"sqlite:///{file}") as warehouse:
        probe = probed(warehouse)

    assert probe.can_write is False
    assert probe.version.startswith("SQLite 3.")


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="unable to open database file") as caught:
        open_warehouse("crm", f"sqlite:///{tmp_path}/nothing.sqlite")

    assert "SYNCER_WAREHOUSES__CRM__URL" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgre://u:{}@h/d", "Did you mean `postgres`?"),
        ("mssqll://u:{}@h/d", "Did you mean `mssql`?"),
        ("mssql+nothing://u:{}@h/d", "pip install 'syncer[mssql]'"),
        ("nowhere://u:{}@h/d", "duckdb"),
        ("postgresql+nothing://u:{}@h:x/d", "URL"),
    ],
)
def test_a_url_that_nothing_reads_says_what_to_do(url: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        SQLAlchemyWarehouse("crm", url.format(SECRET))

    assert said in caught.value.message + caught.value.hint
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + caught.value.hint


def test_a_connection_that_fails_tells_no_secret(postgres_url: str) -> None:
    url = postgres_url.replace("postgresql://postgres@", f"postgresql+psycopg://nobody:{SECRET}@")
    with pytest.raises(WarehouseError, match="cannot connect to PostgreSQL") as caught:
        SQLAlchemyWarehouse("crm", url)

    assert "password authentication failed" in caught.value.message
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + caught.value.hint


def test_a_connection_that_is_cut_half_way_is_an_error(postgres_url: str) -> None:
    warehouse, result = half_read(postgres_url)
    end_sessions(postgres_url)

    with pytest.raises(WarehouseError):
        result.read_all()
    warehouse.close()


def test_a_connection_that_is_cut_half_way_leaves_no_cursor_open(postgres_url: str) -> None:
    warehouse, result = half_read(postgres_url)
    end_sessions(postgres_url)

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        warehouse.close()
        for thread in threading.enumerate():
            if thread.name == "syncer-driver":
                thread.join()
        del warehouse, result
        gc.collect()

    assert not [str(each.message) for each in warned]


def half_read(postgres_url: str) -> tuple[SQLAlchemyWarehouse, pa.RecordBatchReader]:
    url = postgres_url.replace("postgresql:", "postgresql+psycopg:") + "?application_name=syncer"
    warehouse = SQLAlchemyWarehouse("crm", url)
    result = warehouse.query("SELECT generate_series(1, 100000000) AS i", timeout=TIMEOUT)
    result.read_next_batch()
    return warehouse, result


def end_sessions(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'syncer' AND datname = current_database()"
        )


def test_a_function_that_writes_is_refused(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (id int)")
        connection.execute(
            "CREATE FUNCTION sneak() RETURNS int LANGUAGE sql AS 'INSERT INTO people VALUES (1) RETURNING id'"
        )
    url = postgres_url.replace("postgresql:", "postgresql+psycopg:")
    warehouse = SQLAlchemyWarehouse("crm", url)
    with pytest.raises(WarehouseError, match="read-only"):
        warehouse.query("SELECT sneak()", timeout=TIMEOUT).read_all()
    warehouse.close()

    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM people").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(1146, \"Invalid object name 'dbo.poeple'.DB-Lib error message 20018\")", "Invalid object name 'dbo.poeple'"),
        ("line 1:15: Table 'hive.x.poeple' does not exist", "Table 'hive.x.poeple' does not exist"),
        ("ORA-00942: table or view does not exist", "ORA-00942"),
        ("Conversion failed when converting the varchar value 'Ann' to data type int.", ""),
        ("Cannot cast 'Ann' to INT", ""),
    ],
)
def test_of_a_drivers_error_names_are_told_and_values_not(text: str, said: str) -> None:
    told, _ = reason(ValueError(text))

    assert told == (f"value error: {said}" if said else "value error")


def test_a_driver_that_never_answers_keeps_nobody() -> None:
    thread, never = DriverThread(), threading.Event()
    with pytest.raises(TimeoutError):
        thread.call(never.wait, until=time.monotonic() + 0.05)

    threading.Timer(0.05, thread.leave).start()
    with pytest.raises(LeftError):
        thread.call(never.wait, until=time.monotonic() + 60)
    never.set()
    with pytest.raises(DriverError):
        thread.call(lambda: int("x"), until=time.monotonic() + 60)
    thread.end(lambda: int("x"))
