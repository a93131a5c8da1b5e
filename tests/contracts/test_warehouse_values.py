"""What values of every warehouse become in a store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.protocols import Warehouse
from syncer.model.types import Counts
from tests.contracts.warehouses import ADAPTERS
from tests.contracts.warehouses.adapter import Adapter
from tests.workbench import Workbench

#: The other servers and drivers give only text that is UTF-8.
LETS_BROKEN_TEXT_THROUGH = [make for make in ADAPTERS if make.__name__ == "sqlite_file"]

#: The others have no such type, or none that their server tells.
TELLS_JSON = [make for make in ADAPTERS if make.__name__ not in ("sqlite_file", "mariadb")]


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


def result(warehouse: Warehouse, sql: str) -> pa.Table:
    """The result, with names in lower case, since some warehouses fold what is not quoted."""
    found = warehouse.query(sql, timeout=timedelta(minutes=1)).read_all()
    return found.rename_columns([name.lower() for name in found.schema.names])


def people(bench: Workbench, warehouse: Warehouse, sql: str) -> dict[str, dict[str, Any]]:
    bench.run(result(warehouse, sql))
    assert bench.rejections() == {}
    return bench.store.people


def test_a_decimal_that_is_all_fraction_is_a_number_and_a_key(bench: Workbench, warehouse: Warehouse) -> None:
    sql = "SELECT CAST(0.50 AS DECIMAL(2, 2)) AS id, CAST(-0.05 AS DECIMAL(2, 2)) AS x"

    assert people(bench, warehouse, sql) == {"0.5": {"x": -0.05}}


def test_a_whole_number_is_its_digits(bench: Workbench, warehouse: Warehouse) -> None:
    sql = "SELECT 1.2345678901234567e19 AS id, 1e16 AS x"

    assert people(bench, warehouse, sql) == {"12345678901234567000": {"x": 10**16}}
    assert "10000000000000000" in people(bench, warehouse, "SELECT 1e16 AS id")


#: A number, and an exact type that holds it.
NUMBERS = [("1.2345678901234567e19", "DECIMAL(20, 0)"), ("0.1", "DECIMAL(9, 2)"), ("1e-7", "DECIMAL(9, 8)")]


def test_equal_numbers_of_two_types_are_no_change(adapter: Adapter, bench: Workbench, warehouse: Warehouse) -> None:
    def sql(types: list[str]) -> str:
        columns = [f"CAST({NUMBERS[n][0]} AS {type_}) AS x{n}" for n, type_ in enumerate(types)]
        return f"SELECT 1 AS id, {', '.join(columns)}"

    bench.run(result(warehouse, sql([adapter.double] * len(NUMBERS))))

    counts = bench.run(result(warehouse, sql([decimal for _, decimal in NUMBERS]))).counts
    assert counts == Counts(queried=1, unchanged=1)


def of_json(adapter: Adapter, type_: str, texts: list[str]) -> str:
    """A query with an `id` of each of these JSON texts."""
    return " UNION ALL ".join(
        f"SELECT {type_.replace('{}', adapter.literal(text))} AS id, {n} AS n" for n, text in enumerate(texts)
    )


@pytest.mark.parametrize("adapter", TELLS_JSON, indirect=True, ids=lambda make: make.__name__)
def test_a_json_value_as_a_key_is_what_it_says(adapter: Adapter, bench: Workbench, warehouse: Warehouse) -> None:
    texts = ['"u_1"', '"Zürich \\"1\\""', "7", "2.50", "true"]

    for type_ in adapter.json:
        assert set(people(bench, warehouse, of_json(adapter, type_, texts))) == {
            "u_1", 'Zürich "1"', "7", "2.5", "true",
        }  # fmt: skip


@pytest.mark.parametrize("adapter", TELLS_JSON, indirect=True, ids=lambda make: make.__name__)
def test_an_object_or_array_as_a_key_is_a_rejection(adapter: Adapter, bench: Workbench, warehouse: Warehouse) -> None:
    texts = ['{"a":"u_1"}', '["u_1"]', "{}", "[]"]

    for type_ in adapter.json:
        counts = bench.run(result(warehouse, of_json(adapter, type_, [*texts, '"u_2"']))).counts

        assert counts.rejected == len(texts)
        assert set(bench.rejections().values()) == {"`id` is a JSON object or array, which is no key"}
        assert set(bench.store.people) == {"u_2"}


@pytest.mark.parametrize("adapter", TELLS_JSON, indirect=True, ids=lambda make: make.__name__)
def test_of_members_of_one_name_the_last_one_is_kept_and_sent(
    adapter: Adapter, bench: Workbench, warehouse: Warehouse
) -> None:
    text = adapter.literal('{"a":1,"b":{"c":1,"c":2},"a":3}')

    for type_ in adapter.json:
        bench.run(result(warehouse, f"SELECT 1 AS id, {type_.replace('{}', text)} AS x"))

        with bench.opened() as snapshot:
            ((kept,),) = snapshot.ledger.session.rows("SELECT c1 FROM snapshot")
        assert (kept.count('"a"'), kept.count('"c"')) == (1, 1)
        assert bench.store.people == {"1": {"x": {"a": 3, "b": {"c": 2}}}}


def test_a_binary_key_is_base64_without_quotes(adapter: Adapter, bench: Workbench, warehouse: Warehouse) -> None:
    for expression in adapter.binary:
        assert people(bench, warehouse, f"SELECT {expression} AS id, {expression} AS x") == {"AP8=": {"x": "AP8="}}


@pytest.mark.parametrize("adapter", LETS_BROKEN_TEXT_THROUGH, indirect=True, ids=lambda make: make.__name__)
def test_text_that_is_no_utf_8_rejects_its_row_alone(adapter: Adapter, bench: Workbench, warehouse: Warehouse) -> None:
    assert adapter.broken_text
    sql = f"SELECT 1 AS id, 'Ann' AS name UNION ALL SELECT 2, {adapter.broken_text} UNION ALL SELECT 3, NULL"

    bench.run(result(warehouse, sql))

    assert set(bench.store.people) == {"1", "3"}
    assert bench.rejections() == {"2": "column `name` is not valid UTF-8 at byte 1"}
