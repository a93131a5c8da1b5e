"""What every warehouse keeps to."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from syncer.model.errors import WarehouseError
from syncer.model.protocols import NUMBER, TellsTime, Warehouse
from syncer.settings.registry import connector_of, warehouses
from tests.contracts.probing import probed
from tests.contracts.warehouses.adapter import Adapter

TIMEOUT = timedelta(minutes=1)
#: Characters that mean something to CSV, to COPY, or to a reader of either.
AWKWARD = [
    "",
    " ",
    ",",
    '"',
    '""',
    "a\nb",
    "\r\n",
    "\\",
    "\\N",
    "\\.",
    "NULL",
    "null",
    "#",
    "\t",
    "\ufeffx",
    "ÄŒ",
    "😀",
]


def rows(warehouse: Warehouse, sql: str) -> list[dict[str, Any]]:
    """The rows, with names in lower case, since some warehouses fold what is not quoted, and digits as numbers."""
    result = warehouse.query(sql, timeout=TIMEOUT).read_all()
    digits = [field.name.lower() for field in result.schema if field.metadata == NUMBER]
    found = result.rename_columns([name.lower() for name in result.schema.names]).to_pylist()
    return [row | {name: row[name] and Decimal(row[name]) for name in digits} for row in found]


def refusal(warehouse: Warehouse, sql: str, timeout: timedelta = TIMEOUT) -> WarehouseError:
    with pytest.raises(WarehouseError) as caught:
        for _ in warehouse.query(sql, timeout=timeout):
            pass
    return caught.value


def eventually(claim: Callable[[], bool]) -> bool:
    """Whether *claim* comes true, at once but on a busy machine."""
    deadline = time.monotonic() + 60
    while not (is_true := claim()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_true


def value(column: pa.ChunkedArray) -> Any:
    """The one value of *column*; of a time that Python cannot tell, Arrow's bits."""
    if pa.types.is_temporal(column.type):
        bits = column.cast(pa.int32() if pa.types.is_date(column.type) else pa.int64())[0].as_py()
        if bits is not None and abs(bits) > (10**7 if pa.types.is_date(column.type) else 10**17):
            return bits
    return column[0].as_py()


def test_the_columns_of_its_tables_are_listed(adapter: Adapter, warehouse: Warehouse) -> None:
    connector = connector_of(adapter.url, warehouses())
    assert connector is not None
    if not adapter.has_catalog:
        assert "`shop`.INFORMATION_SCHEMA.COLUMNS" in connector.listing_of(adapter.url)
        return

    listed = warehouse.query(connector.listing_of(adapter.url), timeout=TIMEOUT).read_all()

    found = [tuple(row.values()) for row in listed.rename_columns(list("stcyd")).to_pylist()]
    people = [
        (column.casefold(), is_default) for _, table, column, _, is_default in found if table.casefold() == "people"
    ]
    # A stand-in's catalog spans the databases of other tests.
    assert [*dict.fromkeys((column, int(is_default)) for column, is_default in people)] == [("id", 1), ("name", 1)]


def test_every_type_arrives_exactly(adapter: Adapter, warehouse: Warehouse) -> None:
    selected = ",\n".join(expression for expression, *_ in adapter.types)

    result = warehouse.query(f"SELECT {selected}{adapter.types_from}", timeout=TIMEOUT).read_all()

    got = [
        (expression, field.type, field.metadata, value(column))
        for (expression, *_), field, column in zip(adapter.types, result.schema, result.columns, strict=True)
    ]
    assert got == adapter.types


def test_types_arrive_the_same_from_a_table_and_beside_null(adapter: Adapter, warehouse: Warehouse) -> None:
    assert rows(warehouse, "SELECT id, name FROM people ORDER BY id") == [
        {"id": 1, "name": "Ann"},
        {"id": 2, "name": None},
    ]


@pytest.mark.parametrize("text", AWKWARD)
def test_text_arrives_unchanged(adapter: Adapter, warehouse: Warehouse, text: str) -> None:
    literal = adapter.literal(text)

    assert rows(warehouse, f"SELECT {literal} AS a, NULL AS b, {literal} AS c") == [{"a": text, "b": None, "c": text}]


def test_a_single_column_tells_null_from_empty(warehouse: Warehouse) -> None:
    sql = "SELECT a FROM (SELECT 1 AS n, NULL AS a UNION ALL SELECT 2, '' UNION ALL SELECT 3, NULL) AS t ORDER BY n"

    assert rows(warehouse, sql) == [{"a": None}, {"a": ""}, {"a": None}]


def test_a_byte_order_mark_in_a_value_is_kept_in_every_row(adapter: Adapter, warehouse: Warehouse) -> None:
    result = warehouse.query(adapter.marks, timeout=TIMEOUT).read_all()

    assert result.num_rows == 200_000
    assert pc.all(pc.equal(result.column(0), "\ufeff" + "x" * 20)).as_py()


def test_an_empty_result_has_its_schema(warehouse: Warehouse) -> None:
    result = warehouse.query("SELECT id, name FROM people WHERE id > 99", timeout=TIMEOUT).read_all()

    assert (result.num_rows, [name.lower() for name in result.schema.names]) == (0, ["id", "name"])


def test_odd_column_names_stay(adapter: Adapter, warehouse: Warehouse) -> None:
    sql = "SELECT " + ", ".join(f"{i} AS {quoted}" for i, (quoted, _) in enumerate(adapter.odd_names))

    names = [name for _, name in adapter.odd_names]
    assert [column.name for column in warehouse.columns(sql)] == names
    assert warehouse.query(sql, timeout=TIMEOUT).schema.names == names


def test_a_result_may_have_as_many_columns_as_a_table(warehouse: Warehouse) -> None:
    result = warehouse.query("SELECT " + ", ".join(f"{i} AS c{i}" for i in range(1600)), timeout=TIMEOUT).read_all()

    assert [name.lower() for name in result.schema.names] == [f"c{i}" for i in range(1600)]
    assert [int(column[0].as_py()) for column in result] == list(range(1600))


def test_columns_are_told_without_running_the_query(adapter: Adapter, warehouse: Warehouse) -> None:
    (column,) = warehouse.columns(adapter.silent)

    assert column.name
    assert column.type


def test_the_schema_is_told_before_the_first_row(adapter: Adapter, warehouse: Warehouse) -> None:
    sql = adapter.silent if adapter.tells_types else "SELECT 1 AS a"

    assert len(warehouse.query(sql, timeout=TIMEOUT).schema) == 1


@pytest.mark.parametrize("before", ["", "\ufeff", "-- a comment\n", "/* ; */ ", ";", "\n ; -- the ; begin\n;"])
@pytest.mark.parametrize("after", ["", ";", " ; -- the ; end", "\n;\n;\n/* ' */", " -- no newline after"])
def test_what_surrounds_a_statement_does_no_harm(warehouse: Warehouse, before: str, after: str) -> None:
    assert rows(warehouse, f"{before}SELECT ';' AS a{after}") == [{"a": ";"}]


def test_a_semicolon_before_with_does_no_harm(warehouse: Warehouse) -> None:
    sql = ";WITH x AS (SELECT ';' AS a)\nSELECT a FROM x;"

    assert len(warehouse.columns(sql)) == 1
    assert rows(warehouse, sql) == [{"a": ";"}]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM people",
        "DELETE FROM people RETURNING id",
        "WITH gone AS (DELETE FROM people RETURNING id) SELECT * FROM gone",
        "INSERT INTO people VALUES (3, 'Eve')",
        "UPDATE people SET name = 'Eve'",
        "DROP TABLE people",
        "CREATE TABLE other AS SELECT 1",
        "SELECT 1; DELETE FROM people",
        "SELECT 1) TO STDOUT; DELETE FROM people; COPY (SELECT 1",
        "SELECT 1) AS q; DELETE FROM people; SELECT * FROM (SELECT 1",
        "SELECT 1 AS a\n) AS q (c0)) TO STDOUT; DELETE FROM people; --",
        "COMMIT; DELETE FROM people",
        "EXPLAIN SELECT 1",
        "SELECT 1; SELECT 2",
        "-- nothing",
        "",
    ],
)
def test_anything_but_one_select_is_refused_and_changes_nothing(warehouse: Warehouse, sql: str) -> None:
    refusal(warehouse, sql)

    with pytest.raises(WarehouseError):
        warehouse.columns(sql)
    assert rows(warehouse, "SELECT id, name FROM people ORDER BY id") == [
        {"id": 1, "name": "Ann"},
        {"id": 2, "name": None},
    ]


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT id,\n  nmae\nFROM people", "nmae"),
        ("SELECT id\nFROM poeple", "poeple"),
        ("SELECT id\nFORM people", "people"),
    ],
)
def test_a_mistake_in_the_query_is_named_with_its_line(
    adapter: Adapter, warehouse: Warehouse, sql: str, named: str
) -> None:
    error = refusal(warehouse, sql)

    assert error.message.startswith("warehouse `crm`: ")
    assert named in error.message.lower()
    is_told = adapter.tells_line_of_names and (adapter.tells_line_of_tables or named != "poeple")
    assert error.query_line == (2 if is_told or "FORM" in sql else None)


def test_an_error_about_a_value_does_not_tell_it(adapter: Adapter, warehouse: Warehouse) -> None:
    for sql in adapter.bad_values:
        error = refusal(warehouse, sql)

        assert "Ann" not in "".join(traceback.format_exception(error)).replace(sql, "")


def test_an_error_far_into_the_result_is_an_error(adapter: Adapter, warehouse: Warehouse) -> None:
    refusal(warehouse, adapter.bad_late)


@pytest.mark.parametrize("kind", ["silent", "flooding"])
def test_a_query_over_its_timeout_is_cancelled(adapter: Adapter, warehouse: Warehouse, kind: str) -> None:
    error = refusal(warehouse, getattr(adapter, kind), timedelta(seconds=0.5))

    assert "over the timeout of 0.5 seconds" in error.message
    assert "timeout" in error.hint
    assert eventually(lambda: adapter.runs(0))


def test_the_warehouse_is_usable_after_an_error(adapter: Adapter, warehouse: Warehouse) -> None:
    refusal(warehouse, "SELECT nothing FROM nowhere")
    refusal(warehouse, adapter.bad_values[0])
    refusal(warehouse, adapter.silent, timedelta(seconds=0.1))

    assert rows(warehouse, "SELECT 1 AS a") == [{"a": 1}]


def test_a_result_that_is_closed_half_way_is_an_error(adapter: Adapter, warehouse: Warehouse) -> None:
    result = warehouse.query(adapter.flooding, timeout=TIMEOUT)
    result.read_next_batch()

    warehouse.close()
    warehouse.close()

    with pytest.raises(WarehouseError):
        result.read_all()
    assert eventually(lambda: adapter.runs(0))


def test_closing_wakes_the_thread_that_waits_for_a_batch(adapter: Adapter, warehouse: Warehouse) -> None:
    result = warehouse.query(adapter.silent, timeout=TIMEOUT) if adapter.tells_types else None
    errors = []

    def read() -> None:
        try:
            (result or warehouse.query(adapter.silent, timeout=TIMEOUT)).read_all()
        except WarehouseError as exc:
            errors.append(exc)

    reading = threading.Thread(target=read)
    reading.start()
    assert eventually(lambda: adapter.runs(1))
    started = time.monotonic()
    warehouse.close()
    reading.join()

    assert len(errors) == 1
    assert time.monotonic() - started < TIMEOUT.total_seconds() / 2


def test_a_million_rows_pass_through_in_small_batches_and_little_memory(adapter: Adapter) -> None:
    adapter.make_table("many", adapter.many)
    program = """
import sys
from datetime import timedelta
from importlib import import_module
from tests.benchmarks.peak_memory import peak_megabytes

module, _, name = sys.argv[2].partition(":")
opened = getattr(import_module(module), name)
warehouse = opened("crm", sys.argv[1])
sizes = [batch.num_rows for batch in warehouse.query("SELECT * FROM many", timeout=timedelta(minutes=10))]
warehouse.close()
print(sum(sizes), max(sizes), peak_megabytes())
"""
    command = [sys.executable, "-c", program, adapter.url, adapter.opened_by]
    run = subprocess.run(command, check=True, capture_output=True, text=True)

    total, largest, megabytes = map(int, run.stdout.split())
    assert total == 1_000_000
    assert largest <= 50_000
    assert megabytes < 400


def test_a_probe_tells_product_and_version(adapter: Adapter, warehouse: Warehouse) -> None:
    assert re.fullmatch(adapter.product + r" \d+(\.\d+)*", probed(warehouse).version)


def test_the_clock_is_read_in_utc_between_queries(adapter: Adapter, warehouse: Warehouse) -> None:
    assert isinstance(warehouse, TellsTime)
    before = datetime.now(UTC)

    found = warehouse.now()

    # All of them run on this machine; some clocks have whole seconds.
    assert before - timedelta(seconds=1) <= found <= datetime.now(UTC)
    assert found.utcoffset() == timedelta()
    assert rows(warehouse, "SELECT id FROM people WHERE id = 1") == [{"id": 1}]
