"""Batches on their way to the store and answers on their way back, beside the thread that talks to the store."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import pyarrow as pa

from syncer.model.protocols import VERDICTS

#: How far the making of batches may be before the store, and the recording of its answers behind it.
_BATCHES_AHEAD = 4
#: Answers are recorded together until they are so many, exactly a row group of DuckDB's, which it writes only once
#: where it comes whole; or until so many seconds after the last ones.
_RECORD_ROWS = 122_880
_RECORD_SECONDS = 1.0


class BatchPipeline:
    """Makes batches ahead and records answers behind, both in one thread of its own."""

    def __init__(self, name: str, *, make: Callable[[str], pa.RecordBatch], record: Callable[[pa.Table], None]) -> None:
        """Nothing runs yet.

        Shapes:
            make: a batch from its query.
            record: makes verdicts durable.
        """
        self._make = make
        self._record = record
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"snapshot-{name}")
        self._recordings: deque[Future[None]] = deque()
        self._unrecorded = VERDICTS.empty_table()
        self._recorded_at = time.monotonic()

    def batches(self, queries: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The batches in order; the next ones are made meanwhile."""
        waiting = iter(queries)
        upcoming = deque(self._worker.submit(self._make, query) for query in islice(waiting, _BATCHES_AHEAD))
        while upcoming:
            batch = upcoming.popleft().result()
            upcoming.extend(self._worker.submit(self._make, query) for query in islice(waiting, 1))
            yield batch

    def record(self, verdicts: pa.Table) -> None:
        """Record *verdicts* soon; those of batches in quick succession together.

        Raises:
            whatever an earlier recording raised.
        """
        self._unrecorded = pa.concat_tables([self._unrecorded, verdicts])
        if time.monotonic() - self._recorded_at > _RECORD_SECONDS:
            self._record_soon(len(self._unrecorded))
        elif len(self._unrecorded) >= _RECORD_ROWS:
            self._record_soon(_RECORD_ROWS)

    def finish(self) -> None:
        """Wait until everything is recorded, and nothing runs beside the caller's thread.

        Raises:
            whatever a recording raised.
        """
        if len(self._unrecorded):
            self._record_soon(len(self._unrecorded))
        self._worker.submit(lambda: None).result()
        while self._recordings:
            self._recordings.popleft().result()

    def close(self) -> None:
        """Let what runs come to its end; nothing can be dispatched any more."""
        self._worker.shutdown()

    def _record_soon(self, rows: int) -> None:
        verdicts, self._unrecorded = self._unrecorded[:rows], self._unrecorded[rows:]
        self._recorded_at = time.monotonic()
        self._recordings.append(self._worker.submit(self._record, verdicts))
        if len(self._recordings) > _BATCHES_AHEAD:
            self._recordings.popleft().result()
