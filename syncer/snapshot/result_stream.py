"""A result on its way into DuckDB: read ahead, its text looked through, its columns named by position."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

#: How far reading may be before staging.
_BATCHES_AHEAD = 4

#: Told how many rows were read so far.
Progress = Callable[[int], None]


class ResultStream:
    """One result, which is streamed once.

    Columns are called `r` and their position, since DuckDB takes names that differ only by case for the same;
    `broken` says what is wrong with a row's text, and is NULL where nothing is.
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
        self._names = [reader.schema.names[i] for i in self._used]
        fields = [pa.field(f"r{i}", _scanned_type(reader.schema.field(i).type)) for i in self._used]
        self.schema = pa.schema([*fields, pa.field("broken", pa.string())])
        self._seen: list[pa.RecordBatch] = []
        #: Rows read so far.
        self.rows = 0
        #: What ended the reading early; DuckDB would lose its type.
        self.failure: BaseException | None = None

    def stream(self) -> pa.RecordBatchReader:
        """The rows, as they are read."""
        return pa.RecordBatchReader.from_batches(self.schema, self._checked())

    def seen(self) -> pa.Table:
        """The remembered columns of every row so far."""
        return pa.Table.from_batches(self._seen, pa.schema([self.schema.field(name) for name in self._remembered]))

    def _checked(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in _read_ahead(self._reader):
                checked = self._looked_through(batch)
                if self._remembered:
                    self._seen.append(checked.select(list(self._remembered)))
                yield checked
                self.rows += batch.num_rows
                self._progress(self.rows)
        except BaseException as exc:
            self.failure = exc
            raise

    def _looked_through(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [
            array.cast(field.type, safe=False) if array.type != field.type else array
            for array, field in zip((batch.column(i) for i in self._used), self.schema, strict=False)
        ]
        broken = pa.nulls(batch.num_rows, pa.string())
        if not all(_is_clean(array) for array in arrays):
            broken = self._without_broken_text(arrays, batch.num_rows)
        return pa.RecordBatch.from_arrays([*arrays, broken], schema=self.schema)

    def _without_broken_text(self, arrays: list[pa.Array], rows: int) -> pa.Array:
        """Put NULL where text cannot be sent; returns what is wrong with each row."""
        broken: list[str | None] = [None] * rows
        for i, array in enumerate(arrays):
            if not _is_text(array.type) or _is_clean(array):
                continue
            wide = pa.types.is_large_string(array.type)
            values = array.view(pa.large_binary() if wide else pa.binary()).to_pylist()
            for row, value in enumerate(values):
                if value is not None and (fault := _fault(value)):
                    values[row] = None
                    broken[row] = f"column `{self._names[i]}` {fault}"
            arrays[i] = pa.array([None if value is None else value.decode() for value in values], array.type)
        return pa.array(broken, pa.string())


def _scanned_type(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type_):
        return _scanned_type(type_.value_type)
    if pa.types.is_string_view(type_):
        return pa.string()
    # Arrow keeps times with a zone in UTC; without it DuckDB need not look the zone up for every value.
    return pa.timestamp("us") if pa.types.is_timestamp(type_) else type_


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _is_clean(array: pa.Array) -> bool:
    """Whether all text of *array* is UTF-8 without NUL."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    if not _is_text(array.type):
        return True
    _, offsets, text = array.buffers()
    if text is None or not len(array):
        return True
    places = memoryview(offsets).cast("q" if pa.types.is_large_string(array.type) else "i")
    return b"\0" not in memoryview(text)[places[array.offset] : places[array.offset + len(array)]].tobytes()


def _fault(text: bytes) -> str:
    try:
        text.decode()
    except UnicodeDecodeError as exc:
        return f"is not valid UTF-8 at byte {exc.start}"
    return "holds a NUL character" if b"\0" in text else ""


def _read_ahead(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Let the warehouse's batches be read while earlier ones are staged; who stops early waits for nothing."""
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")
    try:
        upcoming = deque(worker.submit(next, reader, None) for _ in range(_BATCHES_AHEAD))
        while (batch := upcoming.popleft().result()) is not None:
            upcoming.append(worker.submit(next, reader, None))
            yield batch
    finally:
        worker.shutdown(wait=False, cancel_futures=True)
