"""JSON in a result: what counts as the same, as NULL, and as broken."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from syncer.model.protocols import JSON
from syncer.model.types import Counts
from tests.workbench import Workbench, table


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


def of_json(*texts: str | None, columns: int = 1) -> pa.Table:
    fields = [pa.field(f"data{i}", pa.string(), metadata=JSON) for i in range(columns)]
    schema = pa.schema([pa.field("id", pa.int64()), *fields])
    return pa.table([list(range(len(texts))), *([list(texts)] * columns)], schema=schema)


def test_null_as_the_whole_json_is_no_value(bench: Workbench) -> None:
    bench.run(of_json("null", ' "x" ', '{"a": null}'))
    assert bench.store.people == {"0": {}, "1": {"data0": "x"}, "2": {"data0": {"a": None}}}

    assert bench.run(of_json(None, "null", '{"a": null}')).counts == Counts(
        queried=3, changed=1, unchanged=2, accepted=1
    )
    assert bench.store.people["1"] == {}


def test_only_a_real_nul_is_refused(bench: Workbench) -> None:
    bench.run(of_json(r'"C:\\u0000"', r'"C:\u0000"', r'{"a": "\\\u0000"}'))

    assert bench.rejections() == {
        "1": "column `data0` holds a NUL character",
        "2": "column `data0` holds a NUL character",
    }
    assert bench.store.people == {"0": {"data0": r"C:\u0000"}}


def test_infinity_inside_a_list_is_refused_by_column(bench: Workbench) -> None:
    bench.run(table({"id": [1, 2, 3], "scores": [[1.5, float("nan")], [float("-inf")], [2.5]]}))

    reason = "column `scores` holds NaN or infinity inside its JSON"
    assert bench.rejections() == {"1": reason, "2": reason}
    assert bench.store.people == {"3": {"scores": [2.5]}}


def test_words_that_look_like_infinity_are_text(bench: Workbench) -> None:
    bench.run(of_json('{"NaN": ",NaN,\\"inf"}', '["info", "nan"]'))

    assert bench.rejections() == {}


@pytest.mark.parametrize(
    ("texts", "rejected"),
    [
        (['{"a": 1, "b": 2}', '{"b":2,"a":1}'], 0),
        (['{"b":2,"a":1}', '{"a":1,"b":2}'], 0),
        (['{"a":1,"b":2}', '{"a":1,"b":3}'], 2),
        (['{"b":2,"a":1}', None], 2),
        (['{"a":12345678901234567890.1}', '{"a":12345678901234567890.2}'], 2),
        (["{", "{ "], 2),
    ],
)
def test_rows_whose_json_is_spelled_otherwise_count_once(
    bench: Workbench, texts: list[str | None], rejected: int
) -> None:
    assert bench.run(_repeated(texts)).counts.rejected == rejected

    bench.run(_repeated(['{"a":1,"b":2}']))
    bench.run(_repeated(['{"b":2,"a":1}']))

    assert bench.run(_repeated(texts)).counts.rejected == rejected


def _repeated(texts: list[str | None]) -> pa.Table:
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("data", pa.string(), metadata=JSON)])
    return pa.table([[1] * len(texts), texts], schema=schema)


@pytest.mark.timeout(60)
def test_many_json_columns_are_compared_by_what_they_say(bench: Workbench) -> None:
    spelled = [f'{{"a": {i}, "b": [1, 2]}}' for i in range(500)]
    bench.run(of_json(*spelled, columns=40))
    respelled = [f'{{"b":[1,2],"a":{i}}}' for i in range(499)] + ['{"a": 0, "b": [2, 1]}']

    assert bench.run(of_json(*respelled, columns=40)).counts == Counts(
        queried=500, changed=1, unchanged=499, accepted=1
    )
