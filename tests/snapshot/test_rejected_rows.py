"""A rejected row is shown with its values, and rows that share a key with the columns in which they differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.protocols import JSON
from syncer.model.types import Rejection
from syncer.snapshot.columns import result_schema
from tests.workbench import Workbench, table


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


def rejected(bench: Workbench, result: pa.Table) -> list[Rejection]:
    """What is rejected after a run of *result*, while its rows are staged."""
    bench.run(result)
    with bench.opened() as snapshot:
        schema = result_schema(bench.definition, result.schema, bench.store.identity, bench.store.value_form)
        snapshot.stage(result.to_reader(), schema)
        rows: list[Rejection] = snapshot.rejections(100)[0]
        return rows


def values(rows: list[Rejection]) -> list[Any]:
    return [row.row.values and json.loads(row.row.values) for row in rows]


def test_each_row_without_a_key_is_shown_with_its_values(bench: Workbench) -> None:
    rows = rejected(bench, table({"id": [None, None, "ok"], "plan": ["a", "b", "c"]}))

    assert values(rows) == [{"id": None, "plan": "a"}, {"id": None, "plan": "b"}]
    assert len({row.row.digest for row in rows}) == 2


def test_rows_that_share_a_key_tell_in_which_columns_they_differ(bench: Workbench) -> None:
    column = pa.field("data", pa.string()).with_metadata(JSON)
    result = pa.table(
        {"id": ["1", "1", "2", "2"], "plan": ["a", "b", "a", "a"], "city": ["x", "x", None, "y"]}
    ).append_column(column, pa.array(['{"a":1,"b":2}', '{"b": 2, "a": 1}', "1", "2"]))

    rows = rejected(bench, result)

    assert [(row.key, row.row.columns) for row in rows] == [
        *[("1", ("plan",))] * 2,
        *[("2", ("city", "data"))] * 2,
    ]
    assert [each["plan"] for each in values(rows)] == ["a", "b", "a", "a"]


def test_what_the_store_rejects_is_shown_as_it_was_sent(bench: Workbench) -> None:
    bench.store.refuses = lambda key: key == ("2",)

    (row,) = rejected(bench, table({"id": ["1", "2"], "plan": ["a", 'say "hi"']}))

    assert values([row]) == [{"id": "2", "plan": 'say "hi"'}]


def test_long_values_are_cut_and_invalid_json_is_text(bench: Workbench) -> None:
    column = pa.field("data", pa.string()).with_metadata(JSON)
    result = pa.table({"id": ["1", "2"], "plan": ["x" * 5_000, "a"]})

    rows = rejected(bench, result.append_column(column, pa.array(["{", "[" * 600 + "1" + "]" * 600])))

    first, second = values(rows)
    assert (first["plan"], first["data"]) == ("x" * 200 + "…", "{")
    assert second["data"].startswith("[[[")


def test_all_rows_count_and_the_first_are_shown(bench: Workbench) -> None:
    bench.run(table({"id": [None] * 500, "plan": ["a"] * 500}))

    with bench.opened() as snapshot:
        rows, total = snapshot.rejections(7)
    assert (len(rows), total, values(rows)) == (7, 500, [None] * 7)
