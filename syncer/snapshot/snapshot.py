"""The snapshot of one sync, open: the steps of a run begin here with `stage`.

Each step gives the value that the next one is called on: `Snapshot.stage`, `Staged.diff`, `Difference.open_outbox`,
then `Outbox.batches` and `Outbox.record` in turn, and `Outbox.settle`. A run that died after any of them is settled
when its file is opened again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from syncer.model.types import Rejection, SyncDefinition
from syncer.snapshot import file, removed, settle
from syncer.snapshot.columns import ResultSchema, layout_of
from syncer.snapshot.result_stream import Progress
from syncer.snapshot.session import Session, key_text
from syncer.snapshot.stage import Staged, stage

_SENT_ELSEWHERE = "rows were sent from another machine, or before this file was restored"


class Snapshot:
    """One sync's memory; made by `opened`."""

    def __init__(self, session: Session, path: Path) -> None:
        self._session = session
        self._meta = session.meta
        self._path = path
        #: Whether rows may have been sent from another snapshot than this since it was settled.
        self._is_outdated = False
        self._newest_claim = ""
        #: Sentences about what opening found, for the run's notes.
        self.notes: list[str] = []

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn DuckDB's errors into SnapshotError, without values; a damaged file is moved aside."""
        try:
            yield
        except duckdb.Error as exc:
            self._session.connection.close()
            raise file.failed(self._path, self._session.sync, exc) from None

    @property
    def last_sync_time(self) -> int:
        """Unix seconds of the start of the last run that ended well; 0 where rows in doubt need the whole result."""
        k = self._session.k
        unknown = f"SELECT 1 FROM in_doubt ANTI JOIN kept USING ({k}) ANTI JOIN snapshot USING ({k})"
        missing = self._is_outdated or self._session.any(unknown)
        return 0 if missing else int(self._meta.get("last_sync_time") or 0)

    @property
    def settled_definition(self) -> str:
        """The hash of the definition whose run ended well last; empty where none did."""
        return self._meta.get("settled_definition") or ""

    def compare_claims(self, newest: str, *, log_id: str) -> None:
        """Find out whether the *newest* claim of this sync is this snapshot's; else it is out of date.

        Then every row is in doubt and the whole result is asked for, and what is gone from it is left to the next run.
        """
        self._newest_claim = newest
        self._is_outdated = not self._meta.knows_claim(newest, log_id=log_id)
        if not self._is_outdated:
            return
        k = self._session.k
        with self._session.transaction():
            self._session.execute(f"INSERT INTO in_doubt SELECT {k} FROM snapshot ANTI JOIN in_doubt USING ({k})")
        if self._session.any("SELECT 1 FROM in_doubt"):
            self.notes.append(f"the snapshot is out of date: {_SENT_ELSEWHERE}; every row is sent again")
        elif not self.notes:
            self.notes.append("there is no snapshot here of what was sent before: every row is sent")

    def removals_seen(self, log_id: str) -> int:
        """The newest removal by other syncs that this snapshot has taken in; 0 where *log_id* is new to it."""
        return int(self._meta.get("removals_seen") or 0) if self._meta.get("log_id") == log_id else 0

    def doubt_removed(self, removals: pa.Table, *, log_id: str, seen: int) -> None:
        """Put every row in doubt that another sync's removal may have touched.

        Where the run log is a new one, removals may be missing from it, and every row is in doubt.

        Shapes:
            removals: `entity`, `kind`, `value`, as the removals of a store are recorded.
            seen: the newest of them.
        """
        session, k = self._session, self._session.k
        is_new_log = self._meta.get("log_id") not in (None, log_id)
        session.connection.register("removed", removals)
        try:
            with session.transaction():
                touched = "TRUE" if is_new_log else removed.touched(session.target, session.keys)
                session.execute(
                    f"INSERT INTO in_doubt SELECT {k} FROM snapshot s ANTI JOIN in_doubt USING ({k}) WHERE {touched}"
                )
                self._meta.set(log_id=log_id, removals_seen=str(seen))
                if is_new_log:
                    self._meta.set(claimed_by="", claimed_after="")
        finally:
            session.connection.unregister("removed")
        if is_new_log:
            self.notes.append("the run log is a new one: every row is sent again")

    def stage(
        self,
        reader: pa.RecordBatchReader,
        schema: ResultSchema,
        progress: Progress = lambda rows: None,
        *,
        every_row: bool = False,
    ) -> Staged:
        """Read a result to its end; nothing durable changes.

        *every_row*: those too that did not change, for a `diff` with *full* or *only*.

        Raises:
            whatever *reader* raises; the rows read so far are no result.
        """
        return stage(
            self._session,
            layout_of(self._session, schema),
            reader,
            progress,
            every_row=every_row,
            outdated=self._is_outdated,
            newest_claim=self._newest_claim,
        )

    def rejections(self, limit: int) -> tuple[list[Rejection], int]:
        """Rows that are rejected now, at most *limit* of them, oldest first, and how many there are."""
        return _rejections(self._session, limit), self._session.count("SELECT count(*) FROM rejections")

    def make_ready(self, store_id: str) -> bool:
        """Make a new file's tables, or settle what the last run left; False for another target's or store's file."""
        session, signature = self._session, file.signature(self._session.target)

        def create(session: Session) -> None:
            file.make_tables(session)
            session.meta.set(target=signature, store_id=store_id)

        file.bring_up_to_date(session, create=create)
        if self._meta.get("target") != signature or self._meta.get("store_id") != store_id:
            return False
        if session.has_table("outbox"):
            with session.transaction():
                settle.settle(session, complete=False, partial=False, quarantine=False, at=datetime.now(UTC))
            self.notes.append("the last run of this sync did not end; what it had no answer for is sent again")
        return True


@contextmanager
def opened(path: Path, definition: SyncDefinition, store_id: str, *, record: bool = True) -> Iterator[Snapshot]:
    """Open the snapshot of one sync and lock it; a run that died before is settled first.

    A snapshot that was taken for another target or store is moved aside, and a new one begins: every row is sent
    then, and nothing is removed. Without *record*, no file is made or moved aside.

    Raises:
        RunInProgressError: it is locked already.
        SnapshotError: it is damaged, or from a newer program, or the disk is full.
    """
    note = ""
    if record or path.exists():
        with file.locked(path, sync=definition.name) as connection:
            snapshot = Snapshot(Session(connection=connection, sync=definition.name, target=definition.target), path)
            with snapshot.explaining():
                usable = snapshot.make_ready(store_id)
            if usable:
                yield snapshot
                return
        note = "the store, or what this sync feeds, is another than before: every row is sent, and nothing is removed"
        if record:
            file.move_aside(path, "previous")
    with file.locked(path, sync=definition.name) if record else file.in_memory(path) as connection:
        snapshot = Snapshot(Session(connection=connection, sync=definition.name, target=definition.target), path)
        snapshot.make_ready(store_id)
        snapshot.notes.extend([note] if note else [])
        yield snapshot


def _rejections(session: Session, limit: int) -> list[Rejection]:
    """At most *limit* of them, oldest first."""
    keys = session.keys
    keyless = " OR ".join(f"{name} IS NULL" for name in keys)
    rows = session.rows(
        f"SELECT CASE WHEN {keyless} THEN '' ELSE {key_text(keys)} END, "
        "CASE WHEN rows > 1 THEN reason || ' (' || rows || ' rows)' ELSE reason END, "
        f"attempts, first_seen, last_seen FROM rejections ORDER BY first_seen, {', '.join(keys)}, reason LIMIT {limit}"
    )
    return [
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
