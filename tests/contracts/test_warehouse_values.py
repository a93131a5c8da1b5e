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


@pytest.mark.parametrize(
    ("number", "decimal"),
    [("1.2345678901234567e19", "DECIMAL(20, 0)"), ("0.1", "DECIMAL(9, 2)"), ("1e-7", "DECIMAL(9, 8)")],
)
def test_equal_numbers_of_two_types_are_no_change(
    adapter: Adapter, bench: Workbench, warehouse: Warehouse, number: str, decimal: str
) -> None:
    sql = f"SELECT 1 AS id, CAST({number} AS {{}}) AS x"
    bench.run(result(warehouse, sql.format(adapter.double)))

    assert bench.run(result(warehouse, sql.format(decimal))).counts == Counts(queried=1, unchanged=1)


@pytest.mark.parametrize("adapter", LETS_BROKEN_TEXT_THROUGH, indirect=True, ids=lambda make: make.__name__)
def test_text_that_is_no_utf_8_rejects_its_row_alone(adapter: Adapter, bench: Workbench, warehouse: Warehouse) -> None:
    assert adapter.broken_text
    sql = f"SELECT 1 AS id, 'Ann' AS name UNION ALL SELECT 2, {adapter.broken_text} UNION ALL SELECT 3, NULL"

    bench.run(result(warehouse, sql))

    assert set(bench.store.people) == {"1", "3"}
    assert bench.rejections() == {"2": "column `name` is not valid UTF-8 at byte 1"}
