"""The snapshot of one sync, open: the steps of a run begin here with `stage`.

Each step returns the value that the next one is called on: `Snapshot.stage`, `Staged.diff`, `Difference.open_outbox`,
then `Outbox.batches` and `Outbox.record` in turn, and `Outbox.settle`. A run that died after any of them is settled
when its ledger is opened again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from syncer.model.types import Rejection, SyncDefinition
from syncer.snapshot import file
from syncer.snapshot.columns import ResultSchema, layout_of
from syncer.snapshot.file_ledger import in_file, in_memory
from syncer.snapshot.ledger import Known, Ledger, Workspace
from syncer.snapshot.result_stream import Progress
from syncer.snapshot.stage import Staged, stage


class Snapshot:
    """What one sync's store acknowledged, over any ledger; made by `opened`."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    @cached_property
    def known(self) -> Known:
        """What the ledger says of itself, once it has taken in what other runs did."""
        return self.ledger.known()

    def stage(
        self,
        reader: pa.RecordBatchReader,
        schema: ResultSchema,
        progress: Progress = lambda rows: None,
        *,
        every_row: bool = False,
    ) -> Staged:
        """Read a result to its end; nothing durable changes.

        *every_row*: also those that did not change, for a `diff` with *full* or *only*.

        Raises:
            whatever *reader* raises; the rows read so far are no result.
        """
        session = self.ledger.session
        work = Workspace(ledger=self.ledger, session=session, layout=layout_of(session, schema), known=self.known)
        return stage(work, reader, progress, every_row=every_row)

    def rejections(self, limit: int) -> tuple[list[Rejection], int]:
        """Rows that are rejected now, at most *limit* of them, oldest first, and how many there are."""
        session = self.ledger.session
        total = session.count("SELECT count(*) FROM rejections")
        rows = session.rows(
            f"SELECT CASE WHEN {session.lacks_key('rejections')} THEN '' ELSE {session.key_text} END, "
            "CASE WHEN rows > 1 THEN reason || ' (' || rows || ' rows)' ELSE reason END, "
            f"attempts, first_seen, last_seen FROM rejections ORDER BY first_seen, {session.k}, reason LIMIT {limit}"
        )
        found = [
            Rejection(
                sync=session.sync,
                key=key,
                reason=reason,
                attempts=attempts,
                first_seen=first.replace(tzinfo=UTC),
                last_seen=last.replace(tzinfo=UTC),
            )
            for key, reason, attempts, first, last in rows
        ]
        return found, total


@contextmanager
def opened(path: Path, definition: SyncDefinition, store_id: str, *, record: bool = True) -> Iterator[Snapshot]:
    """Open and lock the snapshot of one sync; a run that died before is settled first.

    A snapshot of another target or store is moved aside, and a new one begins: every row is sent then, and nothing is
    removed. Without *record*, no file is made or moved aside.

    Raises:
        RunInProgressError: it is locked already.
        SnapshotError: it is damaged, or from a newer program, or the disk is full.
    """
    notes, sync, target = [], definition.name, definition.target
    if record or path.exists():
        with in_file(path, sync, target) as ledger:
            with ledger.explaining():
                is_ready = ledger.make_ready(store_id)
            if is_ready:
                yield Snapshot(ledger)
                return
        notes = [
            "the store, or what this sync feeds, is another than before: every row is sent, and nothing is removed"
        ]
        if record:
            file.move_aside(path, "previous")
    with in_file(path, sync, target) if record else in_memory(path, sync, target) as ledger:
        ledger.make_ready(store_id)
        ledger.notes += notes
        yield Snapshot(ledger)
