"""Rows that are known by their fingerprint make no difference to a run: only to how long it takes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.model.protocols import JSON
from syncer.model.types import Limit, Limits, OnNull, OnRemoved
from syncer.snapshot.columns import ResultSchema, result_schema
from syncer.snapshot.snapshot import Snapshot
from tests.properties.convergence import FOLDER, proven_in
from tests.workbench import Workbench, definition

pytestmark = [pytest.mark.timeout(3600), pytest.mark.early]

KEYS = ["1", "1", " 1", "2", None, " "]
JSON_TEXTS = ['{"a":1,"b":2}', '{"b": 2, "a": 1}', "1", "null", None, "{"]
COLUMNS: dict[str, tuple[pa.Field, list[Any]]] = {
    "text": (pa.field("x", pa.string()), ["1", "a", None, "\0"]),
    "json": (pa.field("x", pa.string(), metadata=JSON), JSON_TEXTS),
    "float": (pa.field("x", pa.float64()), [1.0, -0.0, float("nan"), None]),
    "integer": (pa.field("x", pa.int32()), [1, 0, None]),
}


@st.composite
def results(draw: st.DrawFn, kind: str) -> pa.Table:
    """Few keys and values, so that rows repeat, differ, and stay the same; seldom another type, or a column less."""
    field, values = COLUMNS[draw(st.sampled_from([kind] * 20 + sorted(COLUMNS)))]
    row = st.tuples(st.sampled_from(KEYS), st.sampled_from(values), st.sampled_from(["p", None]))
    rows = draw(st.lists(row, min_size=1, max_size=4))
    schema = pa.schema([pa.field("id", pa.string()), field, pa.field("y", pa.string())])
    result = pa.table([[r[i] for r in rows] for i in range(3)], schema=schema)
    return result.drop_columns("y") if draw(st.integers(0, 9)) == 9 else result


@proven_in(8)
@given(
    history=st.sampled_from(sorted(COLUMNS)).flatmap(lambda kind: st.lists(results(kind), min_size=2, max_size=4)),
    again=st.lists(st.sampled_from([True, True, True, False]), min_size=4, max_size=4),
    on_null=st.sampled_from(OnNull),
    on_removed=st.sampled_from(OnRemoved),
    incremental=st.booleans(),
    refused=st.sampled_from(["", "1"]),
)
def test_a_run_finds_the_same_with_fingerprints_and_without(
    history: list[pa.Table],
    again: list[bool],
    on_null: OnNull,
    on_removed: OnRemoved,
    incremental: bool,
    refused: str,
) -> None:
    with tempfile.TemporaryDirectory(prefix="unchanged-", dir=FOLDER) as folder:
        bench = Workbench(Path(folder))
        bench.definition = definition(
            on_null=on_null,
            on_removed=OnRemoved.KEEP if incremental else on_removed,
            incremental=incremental,
            limits=Limits(removed=Limit(count=9), allow_empty=True),
        )
        bench.store.refuses = lambda key: key == (refused,)
        before = history[0].slice(0, 0)
        for result, joined in zip(history, again, strict=False):
            if joined and before.schema.equals(result.schema, check_metadata=True):
                result = pa.concat_tables([before, result])
            with bench.opened() as snapshot:
                shape = result_schema(bench.definition, result.schema, bench.store.identity)
                assert found(snapshot, shape, result, every_row=False) == found(snapshot, shape, result, every_row=True)
            bench.run(result)
            before = result


def found(snapshot: Snapshot, shape: ResultSchema, result: pa.Table, *, every_row: bool) -> list[Any]:
    """What a run would send, refuse and count."""
    staged = snapshot.stage(result.to_reader(), shape, every_row=every_row)
    counted = staged.diff()
    tables = ("k1, change FROM changes", "k1 FROM resent", "* FROM quarantined")
    rows = [sorted(map(repr, snapshot.ledger.session.rows(f"SELECT {t}"))) for t in tables]
    return [*rows, counted, staged.queried, staged.quarantined, staged.repeated, staged.taken_for_null]
