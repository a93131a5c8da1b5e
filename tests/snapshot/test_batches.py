"""Batches are bounded by rows and by bytes, in the order of the outbox."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from syncer.model.memory import PROCESS
from syncer.model.protocols import VERDICTS
from syncer.model.types import Limit, Limits, Target, Verdict
from tests.servers.fake_store import FakeStore
from tests.workbench import Workbench

_ROWS, _LETTERS = 150_000, 300


class Weighing(FakeStore):
    """Accepts everything, and remembers the bytes and the places of every batch."""

    sizes: list[int]
    seqs: list[pa.Array]

    def apply(self, target: Target, batch: pa.RecordBatch, *, create: bool) -> pa.Table:
        self.sizes.append(batch["attributes"].nbytes)
        self.seqs.append(batch["seq"])
        accepted = pa.repeat(str(Verdict.ACCEPTED), batch.num_rows)
        return pa.table([batch["seq"], accepted, pa.nulls(batch.num_rows, pa.string())], schema=VERDICTS)


def _long(new_from: int, ids: range = range(_ROWS)) -> pa.Table:
    """Rows of long texts, which have another value from a place on."""
    texts = [f"{'new' if i >= new_from else 'old'} {i}".ljust(_LETTERS, "x") for i in ids]
    return pa.table({"id": pa.array(ids), "text": texts})


@pytest.fixture(scope="module")
def all_old() -> pa.Table:
    return _long(_ROWS)


@pytest.mark.parametrize(
    ("rows", "new_from", "ids"),
    [
        (_ROWS, 0, range(_ROWS)),
        (_ROWS // 2, _ROWS // 2, range(_ROWS)),
        (_ROWS, _ROWS // 2, range(_ROWS // 2, 3 * _ROWS // 2)),
    ],
    ids=["every row", "one half", "another half is gone"],
)
def test_a_batch_of_long_rows_is_small_and_in_order(
    tmp_path: Path, all_old: pa.Table, rows: int, new_from: int, ids: range
) -> None:
    store = Weighing(batch_rows=25_000)
    bench = Workbench(tmp_path, store=store)
    bench.adjust(limits=Limits(removed=Limit(share=1)))
    for one in (all_old, _long(new_from, ids)):
        store.sizes, store.seqs = [], []
        bench.run(one)

        # Each has a name, quotes and a brace beside its text.
        assert max(store.sizes) < 1.2 * PROCESS.batch
        sent = pa.concat_arrays(store.seqs)
        assert sent.equals(pa.array(range(1, len(sent) + 1), pa.int64()))
    assert len(sent) == rows
