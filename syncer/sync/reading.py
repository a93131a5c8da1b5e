"""The result of a run's query, as the warehouse returns it: all of it, or what differs from the rows that it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Protocol

import pyarrow as pa

from syncer.model.importing import importing
from syncer.model.protocols import ProfileStore, Warehouse
from syncer.model.types import SyncDefinition
from syncer.snapshot.snapshot import Snapshot
from syncer.sync.progress import Progress, RunOptions


class Asking(Protocol):
    """A run that asks; see `flow.SyncRun`."""

    @property
    def definition(self) -> SyncDefinition:
        """What to ask."""

    @property
    def sql(self) -> str:
        """As the warehouse gets it."""

    @property
    def warehouse(self) -> Warehouse:
        """Whom to ask."""

    @property
    def snapshot(self) -> Snapshot:
        """With what the result is to be compared."""

    @property
    def store(self) -> ProfileStore:
        """Which takes what differs."""

    @property
    def options(self) -> RunOptions:
        """Which rows are wanted."""

    @property
    def progress(self) -> Progress:
        """Counts what was fetched."""


def asked(run: Asking) -> pa.RecordBatchReader:
    """The answer; where the warehouse keeps the snapshot's rows, its last column is `kept_rows.PRINT`.

    Raises:
        WarehouseError: as `Warehouse.query`.
    """
    warehouse = _Counted(run.warehouse, run.progress)
    if (rows := run.snapshot.ledger.warehouse_rows) is not None:
        with importing:
            from syncer.snapshot import questions

        if run.options.full or run.options.only is not None or run.snapshot.former:
            # What another definition sent is removed where this result does not have it.
            rows.take_all()
        if (found := questions.answered(rows, warehouse, run.definition, run.sql, run.store)) is not None:
            return found
    return warehouse.query(run.sql, timeout=run.definition.timeout)


def without_prints(schema: pa.Schema) -> pa.Schema:
    """The columns of a result without the one of its fingerprints."""
    from syncer.model.kept_rows import PRINTS

    last = len(schema) - 1
    return schema.remove(last) if last >= 0 and schema.field(last).metadata == PRINTS else schema


class _Counted:
    """A warehouse whose bytes are counted as they arrive, as Arrow has them."""

    def __init__(self, warehouse: Warehouse, progress: Progress) -> None:
        self._warehouse, self._progress = warehouse, progress
        self.columns, self.close = warehouse.columns, warehouse.close

    def query(self, sql: str, *, timeout: timedelta) -> pa.RecordBatchReader:
        reader = self._warehouse.query(sql, timeout=timeout)

        def counted() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                self._progress.bytes_fetched += batch.nbytes
                yield batch

        return pa.RecordBatchReader.from_batches(reader.schema, counted())
