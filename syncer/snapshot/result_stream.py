"""A result on its way into DuckDB: its batches read ahead, checked and measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from syncer.model.kept_rows import PRINTS
from syncer.snapshot.clean_text import fault_of, is_clean, is_text
from syncer.snapshot.session import Session
from syncer.snapshot.values import as_scanned, scanned_type

#: How far reading may be before staging: so many batches, of less than so many bytes together.
_BATCHES_AHEAD = 4
_BYTES_AHEAD = 8_000_000

#: How much longer rows must be than all before them, or how many more there must be, to need more memory.
_LONGER = 1.25
_MANY = 1_000_000

#: The column of fingerprints that a warehouse has made; see `kept_rows.PRINTS`.
PRINTED = "printed"

#: Told how many rows were read so far.
Progress = Callable[[int], None]


class ResultStream:
    """One result, which is streamed once.

    Columns are called `r` and their position, since DuckDB takes names that differ only by case for the same;
    `broken` is what is wrong with a row's text, or NULL.
    """

    def __init__(
        self,
        reader: pa.RecordBatchReader,
        *,
        used: Sequence[int],
        remembered: Sequence[int] = (),
        progress: Progress = lambda rows: None,
    ) -> None:
        """Nothing is read yet.

        Shapes:
            used: the positions of the columns to pass on.
            remembered: the positions whose values `seen` gives afterwards.
        """
        self._reader = reader
        self._used = tuple(sorted(set(used)))
        self._remembered = tuple(f"r{i}" for i in sorted(set(remembered)))
        self._progress = progress
        self._make_room: Callable[[int, int], None] = lambda row_bytes, rows: None
        self._names = [reader.schema.names[i] for i in self._used]
        fields = [pa.field(f"r{i}", scanned_type(reader.schema.field(i).type)) for i in self._used]
        #: Whether the last column of the result is its fingerprints, in PRINTED.
        self.is_printed = len(reader.schema) > 0 and reader.schema.field(-1).metadata == PRINTS
        fields += [pa.field(PRINTED, pa.uint64())] * self.is_printed
        self.schema = pa.schema([*fields, pa.field("broken", pa.string())])
        self._seen: list[pa.RecordBatch] = []
        #: Rows read so far.
        self.rows = 0
        self._row_bytes = self._measured_rows = 0
        #: What ended the reading early; DuckDB would lose its type.
        self.failure: BaseException | None = None

    def stream(self) -> pa.RecordBatchReader:
        """The rows, as they are read."""
        return pa.RecordBatchReader.from_batches(self.schema, self._checked())

    def read(self, session: Session, statement: str, make_room: Callable[[int, int], None]) -> None:
        """Run a statement that reads the table `incoming` to its end; raises what the result's reader raised.

        *make_room* gets the bytes of a row and how many there are: before rows that are longer than those before are
        handed on, for each million rows, and at the end.
        """
        self._make_room = make_room
        # DuckDB takes a stream for tiny, and would hold all of it in memory in place of the snapshot.
        session.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        session.connection.register("incoming", self.stream())
        try:
            # Not by the session, which may run it again: what is left of a stream is no result.
            session.connection.execute(statement)
        except Exception:
            if self.failure:
                raise self.failure from None
            raise
        finally:
            session.connection.unregister("incoming")
            session.execute("RESET disabled_optimizers")

    def seen(self) -> pa.Table:
        """The remembered columns of every row so far."""
        return pa.Table.from_batches(self._seen, pa.schema([self.schema.field(name) for name in self._remembered]))

    def _checked(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in _read_ahead(self._reader):
                checked = self._looked_through(batch)
                if self._remembered:
                    self._seen.append(checked.select(list(self._remembered)))
                self._measure(checked)
                yield checked
                self.rows += batch.num_rows
                self._progress(self.rows)
        except BaseException as exc:
            self.failure = exc
            raise
        self._make_room(self._row_bytes, self.rows)

    def _measure(self, batch: pa.RecordBatch) -> None:
        row_bytes = batch.nbytes // max(1, batch.num_rows)
        is_longer, are_many = row_bytes > self._row_bytes * _LONGER, self.rows >= self._measured_rows + _MANY
        if is_longer or are_many:
            self._row_bytes, self._measured_rows = max(row_bytes, self._row_bytes), self.rows
            self._make_room(self._row_bytes, self.rows)

    def _looked_through(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [
            as_scanned(array, field.type)
            for array, field in zip((batch.column(i) for i in self._used), self.schema, strict=False)
        ]
        printed = [batch.column(batch.num_columns - 1).view(pa.uint64())] if self.is_printed else []
        broken = pa.nulls(batch.num_rows, pa.string())
        if not all(is_clean(array) for array in arrays):
            broken = self._without_broken_text(arrays, batch.num_rows)
        return pa.RecordBatch.from_arrays([*arrays, *printed, broken], schema=self.schema)

    def _without_broken_text(self, arrays: list[pa.Array], rows: int) -> pa.Array:
        """Put NULL where text cannot be sent; returns what is wrong with each row."""
        broken: list[str | None] = [None] * rows
        for i, array in enumerate(arrays):
            if not is_text(array.type) or is_clean(array):
                continue
            wide = pa.types.is_large_string(array.type)
            values = array.view(pa.large_binary() if wide else pa.binary()).to_pylist()
            for row, value in enumerate(values):
                if value is not None and (fault := fault_of(value)):
                    values[row] = None
                    broken[row] = f"column `{self._names[i]}` {fault}"
            arrays[i] = pa.array([None if value is None else value.decode() for value in values], array.type)
        return pa.array(broken, pa.string())


def _read_ahead(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Let the warehouse's batches be read while earlier ones are staged; who stops early waits for nothing."""
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")
    try:
        upcoming = deque([worker.submit(next, reader, None)])
        while (batch := upcoming.popleft().result()) is not None:
            most = min(_BATCHES_AHEAD, max(1, _BYTES_AHEAD // max(1, batch.nbytes)))
            upcoming.extend(worker.submit(next, reader, None) for _ in range(most - len(upcoming)))
            yield batch
    finally:
        worker.shutdown(wait=False, cancel_futures=True)
