"""The columns of a collection's query are part of each row's value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.protocols import ProfileStore, ReadsBack
from syncer.model.types import Counts
from tests.workbench import COUPON, Workbench, table

CODES = [f"c{i}" for i in range(9)]
FIRST: dict[str, Any] = {
    "code": CODES,
    "off": list(range(9)),
    "note": [None, *CODES[1:]],
    "empty": pa.nulls(9, "string"),
}
#: What an edit of the query makes of FIRST.
EDITS: dict[str, dict[str, Any]] = {
    "a column is dropped": {name: FIRST[name] for name in ("code", "off", "empty")},
    "a column without values is dropped": {name: FIRST[name] for name in ("code", "off", "note")},
    "a column is added": {**FIRST, "until": CODES},
    "a column without values is added": {**FIRST, "until": pa.nulls(9, "string")},
    "a column has another name": {"code": CODES, "off": FIRST["off"], "remark": FIRST["note"], "empty": FIRST["empty"]},
}


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path)
    bench.adjust(name="coupons", target=COUPON)
    return bench


def held(store: ProfileStore) -> list[dict[str, Any]]:
    assert isinstance(store, ReadsBack)
    texts = [text for page in store.contained(COUPON, None) for text in page["attributes"].to_pylist()]
    return sorted(map(json.loads, texts), key=lambda row: str(row["code"]))


@pytest.mark.parametrize("edit", list(EDITS))
def test_every_row_has_the_columns_that_the_query_has(edit: str, store: ProfileStore, bench: Workbench) -> None:
    bench.store = store  # type: ignore[assignment]
    for columns in (FIRST, EDITS[edit], FIRST):
        result = table(columns)
        bench.run(result)

        assert held(store) == result.to_pylist()
        assert bench.run(result).counts == Counts(queried=9, unchanged=9)


@pytest.mark.parametrize("edit", list(EDITS))
def test_a_row_that_the_store_does_not_take_then_is_sent_with_the_new_columns_later(
    edit: str, bench: Workbench
) -> None:
    """Refused, set aside, or without an answer; the result is the same at the end."""
    result = table(EDITS[edit])
    bench.run(table(FIRST))
    bench.store.refuses = lambda key: key == ("c1",)
    bench.run(pa.concat_tables([result, result.slice(2, 1).set_column(1, "off", pa.array([99]))]))
    bench.store.refuses = lambda key: False

    bench.run(result)

    assert list(bench.store.collections.values()) == result.to_pylist()
    assert bench.run(result).counts.unchanged == 9


def test_a_plan_names_the_columns_and_no_limit_takes_them_for_cleared(bench: Workbench) -> None:
    bench.run(table(FIRST))
    bare = table(EDITS["a column is dropped"] | {"until": pa.nulls(9, "string")})

    progress, attributes, samples = bench.plan(bare)

    assert progress.counts.changed == 9
    assert attributes == {"note": 9, "until": 9}
    assert samples[0][1:] == (
        "c0", '{"code":"c0","off":0,"note":null,"empty":null}', '{"code":"c0","off":0,"empty":null,"until":null}'
    )  # fmt: skip
    assert bench.run(bare).counts.accepted == 9
