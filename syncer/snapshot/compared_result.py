"""What a warehouse returned of a comparison: rows of the result on their way to the stages, and rows that are kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc

from syncer.model.kept_rows import DATA, KEPT_PRINT, PRINT, PRINTS, TOTAL


class ComparedResult:
    """One answer; see `kept_rows.TOTAL`, or where it has only PRINT a whole result."""

    def __init__(self, reader: pa.RecordBatchReader, *, width: int, keys: Sequence[str]) -> None:
        """Nothing is read yet.

        Shapes:
            width: how many columns the result has.
            keys: k1, …, of the kept rows.
        """
        self._reader, self._width, self._keys = reader, width, [*keys]
        self._is_compared = TOTAL in reader.schema.names[width:]
        # Names of the result may be these too.
        self._places = {name: width + i for i, name in enumerate(reader.schema.names[width:])}
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - it goes with this object
        #: How many rows the result has, and how many of them were read; known at the end.
        self.total = self.read = 0

    def rows(self) -> pa.RecordBatchReader:
        """The rows of the result, with PRINT as their last column."""
        shown = [*range(self._width), self._places[PRINT]]
        *fields, last = [self._reader.schema.field(i) for i in shown]
        fields.append(last.with_metadata(PRINTS))
        schema = pa.schema(fields, self._reader.schema.metadata)
        return pa.RecordBatchReader.from_batches(schema, self._split(shown, schema))

    @contextmanager
    def kept(self) -> Iterator[pa.RecordBatchReader]:
        """The kept rows that were returned, once: k1, …, `fingerprint` and `data`; a key may come several times."""
        with self._spool as spool:
            spool.seek(0)
            yield pa.ipc.open_stream(spool)

    def close(self) -> None:
        """Let go of the kept rows; calling it twice is fine."""
        self._spool.close()

    def _split(self, shown: Sequence[int], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        if not self._is_compared:
            for batch in self._reader:
                self.total = self.read = self.read + batch.num_rows
                yield batch
            return
        key_fields = [pa.field(k, pa.string()) for k in self._keys]
        kept_schema = pa.schema([*key_fields, ("fingerprint", pa.int64()), ("data", pa.string())])
        kept_places = [self._places[name] for name in (*self._keys, KEPT_PRINT, DATA)]
        with pa.ipc.new_stream(self._spool, kept_schema) as spool:
            for batch in self._reader:
                self.total = max(self.total, pc.max(batch.column(self._places[TOTAL])).as_py() or 0)
                kept = batch.filter(pc.is_valid(batch.column(self._places[DATA])))
                if kept.num_rows:
                    arrays = [kept.column(i).cast(f.type) for i, f in zip(kept_places, kept_schema, strict=True)]
                    spool.write_batch(pa.RecordBatch.from_arrays(arrays, schema=kept_schema))
                found = batch.filter(pc.is_valid(batch.column(self._places[PRINT])))
                self.read += found.num_rows
                if found.num_rows:
                    yield pa.RecordBatch.from_arrays([found.column(i) for i in shown], schema=schema)
