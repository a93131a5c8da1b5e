"""JSON in a result: what counts as the same, as NULL, and as broken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
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


def test_rows_whose_json_is_spelled_otherwise_count_once(bench: Workbench) -> None:
    cases: list[tuple[list[str | None], bool]] = [
        (['{"a": 1, "b": 2}', '{"b":2,"a":1}'], False),
        (['{"b":2,"a":1}', '{"a":1,"b":2}'], False),
        (['{"a":1,"b":2}', '{"a":1,"b":3}'], True),
        (['{"b":2,"a":1}', None], True),
        (['{"a":12345678901234567890.1}', '{"a":12345678901234567890.2}'], True),
        (["{", "{ "], True),
    ]
    twice = _repeated(*(texts for texts, _ in cases))
    rejected = {str(number) for number, (_, is_rejected) in enumerate(cases) if is_rejected}
    assert bench.run(twice).counts.rejected == 2 * len(rejected)
    assert bench.rejections().keys() == rejected

    bench.run(_repeated(*[['{"a":1,"b":2}']] * len(cases)))
    bench.run(_repeated(*[['{"b":2,"a":1}']] * len(cases)))

    assert bench.run(twice).counts.rejected == 2 * len(rejected)
    assert bench.rejections().keys() == rejected


def _repeated(*cases: Sequence[str | None]) -> pa.Table:
    """Each case has its own id, in a row for each of its texts."""
    rows = [(number, text) for number, texts in enumerate(cases) for text in texts]
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("data", pa.string(), metadata=JSON)])
    return pa.table([*zip(*rows, strict=True)], schema=schema)


@pytest.mark.timeout(60)
def test_many_json_columns_are_compared_by_what_they_say(bench: Workbench) -> None:
    spelled = [f'{{"a": {i}, "b": [1, 2]}}' for i in range(500)]
    bench.run(of_json(*spelled, columns=40))
    respelled = [f'{{"b":[1,2],"a":{i}}}' for i in range(499)] + ['{"a": 0, "b": [2, 1]}']

    assert bench.run(of_json(*respelled, columns=40)).counts == Counts(
        queried=500, changed=1, unchanged=499, accepted=1
    )


#: JSON, and what of it is sent.
_REPEATED_MEMBERS = [
    ('{"a":1,"a":2}', '{"a":2}'),
    ('{"a":{"x":1},"b":null,"a":{"y":2}}', '{"a":{"y":2},"b":null}'),
    ('[{"b":1,"b":[{"c":1,"c":2}]}]', '[{"b":[{"c":2}]}]'),
    (r'{"a":1,"\u0061":2}', '{"a":2}'),
    ('{"":1,"":2}', '{"":2}'),
    ('{"a":1,"A":2,"a":3}', '{"A":2,"a":3}'),
    (
        '{"a":0,"a":12345678901234567890123.4567890123456789,"b":1.10,"c":1E400}',
        '{"a":12345678901234567890123.4567890123456789,"b":1.10,"c":1E400}',
    ),
    (r'{"a":0,"a":"#1","b":"\"#1\"","c":"é\\#\n"}', r'{"a":"#1","b":"\"#1\"","c":"é\\#\n"}'),
    ('{"b":1,  "a":1.0}', '{"b":1,  "a":1.0}'),
]


def test_of_members_of_one_name_the_last_one_is_sent(bench: Workbench) -> None:
    texts, sent = ([case[side] for case in _REPEATED_MEMBERS] for side in (0, 1))
    bench.run(of_json(*texts))

    with bench.opened() as snapshot:
        assert snapshot.ledger.session.rows("SELECT c1 FROM snapshot ORDER BY k1") == [(text,) for text in sent]
    for again in (texts, sent):
        assert bench.run(of_json(*again)).counts == Counts(queried=len(again), unchanged=len(again))


@pytest.mark.parametrize("column", ["id", "data0"])
def test_json_that_is_nested_too_deeply_is_rejected(bench: Workbench, column: str) -> None:
    wide = '[{"a":"[{"}' + ',{"a":"]"}' * 1000 + "]"
    fields = [pa.field("id", pa.string()), pa.field("data0", pa.string())]
    fields = [field.with_metadata(JSON) if field.name == column else field for field in fields]
    texts = ["[" * levels + '{"a":1,"a":2}' + "]" * levels for levels in (400, 600, 100_000)]
    deep = {"id": texts, "data0": ["1", "2", "3"]} if column == "id" else {"id": ["1", "2", "3"], "data0": texts}

    bench.run(pa.table([[*deep["id"], '"w"'], [*deep["data0"], wide]], schema=pa.schema(fields)))

    reasons = list(bench.rejections().values())
    assert reasons.count(f"column `{column}` is JSON nested more than 500 levels deep") == 2
    assert len(bench.store.people) == (1 if column == "id" else 2)


def test_deep_json_under_a_repeated_key_is_rejected(bench: Workbench) -> None:
    bench.run(_repeated(["[" * 100_000 + f"{i}" + "]" * 100_000 for i in range(2)]))

    assert bench.rejections() == {"0": "column `data` is JSON nested more than 500 levels deep"}


def test_json_with_a_spare_comma_is_rejected(bench: Workbench) -> None:
    """DuckDB reads it, and no store does."""
    spare = ['{"a":1,}', "[1,]", "[1, \n]", '{"a":[1,2],"b":[{"c":"]" , }]}', '["a","b",]', "[[],]"]
    fit = ['{"a":",}"}', '["a", "b"]', r'["\",]", ",]"]']

    bench.run(of_json(*spare, *fit))

    assert bench.rejections() == {str(number): "column `data0` is not valid JSON" for number in range(len(spare))}
    assert len(bench.store.people) == len(fit)


def test_whatever_duckdb_takes_for_json_is_json_or_rejected(bench: Workbench) -> None:
    pieces = ['{"a":', "}", "[", "]", ",", "1", '"x"', "NaN"]
    texts = ["".join(chosen) for length in range(1, 5) for chosen in product(pieces, repeat=length)]

    bench.run(of_json(*texts))

    def strict(text: str) -> bool:
        try:
            json.loads(text, parse_constant=int)
        except ValueError:
            return False
        return True

    assert [text for i, text in enumerate(texts) if strict(text) != (str(i) in bench.store.people)] == []
