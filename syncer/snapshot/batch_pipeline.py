"""The thread that makes batches ahead of a store, and records its answers behind it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import pyarrow as pa

from syncer.model.protocols import NUMBERED_VERDICTS

#: How far the recording of a store's answers may be behind it.
_RECORDINGS_BEHIND = 2
#: Answers are recorded together until they are so many, exactly a row group of DuckDB's, which it writes only once
#: where it comes whole; or until so many seconds after the last ones.
_RECORD_ROWS = 122_880
_RECORD_SECONDS = 5.0


class BatchPipeline:
    """Makes batches ahead and records answers behind, both in one thread of its own."""

    def __init__(self, name: str, *, make: Callable[[str], pa.RecordBatch], record: Callable[[pa.Table], None]) -> None:
        """Nothing runs yet.

        Shapes:
            make: some batches as one, from their query.
            record: makes verdicts durable.
        """
        self._make = make
        self._record = record
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"snapshot-{name}")
        self._recordings: deque[Future[None]] = deque()
        self._unrecorded = NUMBERED_VERDICTS.empty_table()
        self._recorded_at = time.monotonic()

    def batches(self, queries: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """What each query gives, by `seq`, in batches of at most so many *rows*; the next ones are made meanwhile."""
        for made in self.whole(queries):
            ordered = made.sort_by("seq")
            yield from (ordered.slice(first, rows) for first in range(0, made.num_rows, rows))

    def whole(self, queries: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """What each query gives, as one batch in the query's own order."""
        waiting = iter(queries)
        upcoming = [self._worker.submit(self._make, query) for query in islice(waiting, 1)]
        while upcoming:
            made = upcoming.pop().result()
            upcoming = [self._worker.submit(self._make, query) for query in islice(waiting, 1)]
            yield made

    def record(self, verdicts: pa.Table) -> None:
        """Record *verdicts* soon; those of batches in quick succession together.

        Raises:
            whatever an earlier recording raised.
        """
        # Only some stores number people.
        self._unrecorded = pa.concat_tables([self._unrecorded, verdicts], promote_options="default")
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
        if len(self._recordings) > _RECORDINGS_BEHIND:
            self._recordings.popleft().result()
