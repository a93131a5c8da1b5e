"""How far the reading of a result is before the staging of its rows."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pyarrow as pa
import pytest

from syncer.snapshot.result_stream import ResultStream


@pytest.mark.parametrize(("megabytes", "most"), [(0.1, 4), (3, 2), (9, 1)])
def test_fewer_large_batches_are_read_ahead(megabytes: float, most: int) -> None:
    batch = pa.record_batch({"id": ["x" * round(megabytes * 10**6)]})
    read, ahead = 0, []

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal read
        for _ in range(8):
            read += 1
            yield batch

    stream = ResultStream(pa.RecordBatchReader.from_batches(batch.schema, batches()), used=[0])
    for taken, _ in enumerate(stream.stream(), start=1):
        time.sleep(0.02)
        ahead.append(read - taken)

    assert stream.rows == 8
    assert max(ahead) <= most
