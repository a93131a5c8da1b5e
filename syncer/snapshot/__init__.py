"""What one sync's store has acknowledged, and what it may have: the memory between runs.

The steps of a run, in order: `stage`, `diff`, `open_outbox`, then `batches` and `record` in turn, and `settle`.
A run that died after any of them is settled when its file is opened again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from syncer.model.types import Rejection, SyncDefinition, Target, ValueForm, Verdict
from syncer.snapshot import diff, file, outbox, rejected, removed, stage
from syncer.snapshot.columns import StoredColumn, stored_columns, with_kinds_kept
from syncer.snapshot.diff import Difference
from syncer.snapshot.meta import Meta
from syncer.snapshot.pipeline import BatchPipeline
from syncer.snapshot.result_schema import ResultSchema
from syncer.snapshot.result_stream import Progress
from syncer.snapshot.settle import record, settle
from syncer.snapshot.stage import Staged

_SENT_ELSEWHERE = "rows were sent from another machine, or before this file was restored"


class Snapshot:
    """One sync's memory; made by `opened`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path, sync: str, target: Target) -> None:
        self._connection = connection
        self._meta = Meta(connection)
        self._path = path
        self._sync = sync
        self._target = target
        self._keys = [f"k{i + 1}" for i in range(len(target.key_columns))]
        self._shape: ResultSchema | None = None
        self._columns: tuple[StoredColumn, ...] = ()
        self._same = 0
        #: Whether the result need not have every row that it had before.
        self._is_partial = False
        #: Whether rows may have been sent from another snapshot than this since it was settled.
        self._is_outdated = False
        self._newest_claim = ""
        # While a run sends, only its thread uses the connection.
        self._dispatch = BatchPipeline(sync, make=self._batch, record=self._record)
        #: Sentences about what opening found, for the run's notes.
        self.notes: list[str] = []

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn DuckDB's errors into SnapshotError, without values; a damaged file is set aside."""
        try:
            yield
        except duckdb.Error as exc:
            self._dispatch.close()
            self._connection.close()
            raise file.failed(self._path, self._sync, exc) from None

    @property
    def last_sync_time(self) -> int:
        """Unix seconds of the start of the last run that ended well; 0 where rows in doubt need the whole result."""
        missing = self._is_outdated or self._scalar(
            f"SELECT count(*) FROM in_doubt ANTI JOIN kept USING ({self._k}) ANTI JOIN snapshot USING ({self._k})"
        )
        return 0 if missing else int(self._meta.get("last_sync_time") or 0)

    @property
    def settled_definition(self) -> str:
        """The hash of the definition whose run ended well last; empty where none did."""
        return self._meta.get("settled_definition") or ""

    def compare_claims(self, newest: str, *, log_id: str) -> None:
        """Find out whether the *newest* claim of this sync (see `Claims`) is this snapshot's; else it is out of date.

        Then every row is in doubt and the whole result is asked for, and what is gone from it is left to the next run.
        """
        self._newest_claim = newest
        self._is_outdated = not self._meta.knows_claim(newest, log_id=log_id)
        if not self._is_outdated:
            return
        con, k = self._connection, self._k
        with file.transaction(con):
            con.execute(f"INSERT INTO in_doubt SELECT {k} FROM snapshot ANTI JOIN in_doubt USING ({k})")
        if self._scalar("SELECT count(*) FROM in_doubt"):
            self.notes.append(f"the snapshot is out of date: {_SENT_ELSEWHERE}; every row is sent again")
        elif not self.notes:
            self.notes.append("there is no snapshot here of what was sent before: every row is sent")

    def removals_seen(self, log_id: str) -> int:
        """The newest removal by other syncs that this snapshot has taken in; 0 where *log_id* is new to it."""
        return int(self._meta.get("removals_seen") or 0) if self._meta.get("log_id") == log_id else 0

    def doubt_removed(self, removals: pa.Table, *, log_id: str, seen: int) -> None:
        """Put every row in doubt that another sync's removal may have touched.

        Where the run log was made anew, removals may be missing from it, and every row is in doubt.

        Shapes:
            removals: `entity`, `kind`, `value`, as the removals of a store are recorded.
            seen: the newest of them.
        """
        con, k = self._connection, self._k
        made_anew = self._meta.get("log_id") not in (None, log_id)
        con.register("removed", removals)
        try:
            with file.transaction(self._connection):
                touched = "TRUE" if made_anew else removed.touched(self._target, self._keys)
                con.execute(
                    f"INSERT INTO in_doubt SELECT {k} FROM snapshot s ANTI JOIN in_doubt USING ({k}) WHERE {touched}"
                )
                self._meta.set(log_id=log_id, removals_seen=str(seen))
                if made_anew:
                    self._meta.set(claimed_by="", claimed_after="")
        finally:
            con.unregister("removed")
        if made_anew:
            self.notes.append("the run log was made anew: every row is sent again")

    def stage(
        self,
        reader: pa.RecordBatchReader,
        shape: ResultSchema,
        progress: Progress = lambda rows: None,
        *,
        every_row: bool = False,
    ) -> Staged:
        """Read a result to its end; nothing durable changes.

        *every_row*: those too that did not change, for a `diff` with *full* or *only*.

        Raises:
            whatever *reader* raises; the rows read so far are no result.
        """
        self._shape = shape
        self._columns = stored_columns(self._connection, shape)
        staged = stage.stage(self._connection, shape, self._columns, reader, progress, every_row=every_row)
        self._same = staged.same
        # What reading took is of no more use, and would count until the end of the run.
        pa.default_memory_pool().release_unused()
        return staged

    def diff(self, *, full: bool = False, only: tuple[str, ...] | None = None) -> Difference:
        """Compare what was staged with what was acknowledged, is in doubt, or was refused.

        *full* sends every row again; *only* looks at the row of one key.
        """
        self._is_partial = self._staged_shape.definition.incremental and not full
        return diff.compare(
            self._connection,
            self._staged_shape,
            self._columns,
            same=self._same,
            outdated=self._is_outdated,
            full=full,
            only=only,
        )

    def has_staged(self, key: tuple[str, ...]) -> bool:
        """Whether the result has a row of this key that can be sent."""
        same = " AND ".join(f"{name} = ?" for name in self._keys)
        return bool(self._scalar(f"SELECT count(*) FROM stage WHERE {same}", list(key)))

    def changed_attributes(self) -> dict[str, int]:
        """In how many changed rows each attribute differs, most first."""
        return diff.changed_attributes(self._connection, self._staged_shape, self._columns)

    def sample(self, rows: int) -> list[tuple[str, str, str | None, str | None]]:
        """At most *rows* changes of each sort: change, key, JSON object before and after (None: no such row)."""
        return diff.sample(self._connection, self._staged_shape, self._columns, rows=rows)

    def staged_bytes(self, form: ValueForm = ValueForm.EXACT) -> int:
        """Bytes of JSON that all staged rows make together."""
        return outbox.staged_bytes(self._connection, self._columns, form)[0]

    def staged_row_bytes(self, form: ValueForm = ValueForm.EXACT) -> int:
        """Bytes of JSON of a staged row, on the average; 0 without rows."""
        size, rows = outbox.staged_bytes(self._connection, self._columns, form)
        return size // rows if rows else 0

    def open_outbox(self, *, only_one: bool = False, claimed_by: str = "") -> int:
        """Put durably in doubt everything about to be sent; returns the rows to send. Nothing was sent before.

        *claimed_by*: the run that is about to claim the sync for this snapshot.
        """
        shape = self._staged_shape
        with file.transaction(self._connection):
            if claimed_by:
                self._meta.set(claimed_by=claimed_by, claimed_after=self._newest_claim)
            if self._is_outdated and shape.definition.incremental:
                outbox.forget_unknown(self._connection, shape)
            if not only_one and not shape.sends_removals:
                outbox.forget_departed(self._connection, shape)
            outbox.reshape(self._connection, shape, self._columns)
            outbox.recognise_restated(self._connection, shape)
            rows = outbox.fill(self._connection, shape, self._columns, only_one=only_one)
        self._columns = with_kinds_kept(self._columns)
        return rows

    def removals(self) -> pa.Table:
        """The entities that the outbox deletes: `entity`, `kind`, `value`; and their keys as k…."""
        names = ", ".join(f"{sql} AS {name}" for name, sql in removed.names(self._target, self._keys).items())
        return self._connection.sql(f"SELECT {names}, {self._k} FROM outbox WHERE action = 'delete'").to_arrow_table()

    def batches(self, rows: int, *, form: ValueForm = ValueForm.EXACT, whole: bool = False) -> Iterator[pa.RecordBatch]:
        """What is in the outbox, as `ProfileStore.apply` takes it, removals first; the next is made meanwhile.

        *form*: how the store takes values. *whole*: all rows of a collection at once.
        """
        con, shape, columns = self._connection, self._staged_shape, self._columns
        if whole:
            return self._dispatch.batches(outbox.whole_collection_queries(con, shape, columns, form=form))
        return self._dispatch.batches(outbox.batch_queries(con, shape, columns, rows=rows, form=form))

    def record(self, verdicts: pa.Table) -> None:
        """Make a batch's verdicts durable, and what was accepted the snapshot, while the next batch is on its way.

        Batches that are answered in quick succession are recorded together; until then their rows are in doubt.

        Raises:
            duckdb.Error: a batch before could not be recorded; its rows are in doubt.
        """
        self._dispatch.record(verdicts)

    def verdicts(self) -> dict[Verdict, int]:
        """How many rows of the outbox have which verdict so far."""
        self._dispatch.finish()
        rows = self._connection.execute("SELECT verdict, count(DISTINCT seq) FROM verdicts GROUP BY verdict").fetchall()
        return {Verdict(verdict): count for verdict, count in rows}

    def settle(self, *, started_at: datetime, complete: bool, ended_well: bool) -> None:
        """Make the snapshot what the store has acknowledged, in one transaction.

        *complete*: the run looked at every row of the result, not at one. *ended_well*: every row had an answer.
        """
        self._dispatch.finish()
        with file.transaction(self._connection):
            self._settle(complete=complete, partial=self._is_partial, set_aside=complete, at=started_at)
            if complete and ended_well:
                settled = self._staged_shape.definition.hash
                self._meta.set(last_sync_time=str(int(started_at.timestamp())), settled_definition=settled)
        self._connection.execute("CHECKPOINT")

    def rejections(self, limit: int) -> tuple[list[Rejection], int]:
        """Rows that are refused now, at most *limit* of them, oldest first, and how many there are."""
        found = rejected.rejections(self._connection, self._keys, self._sync, limit)
        return found, int(self._scalar("SELECT count(*) FROM rejections"))

    def refusal(self, key: tuple[str, ...]) -> str | None:
        """Why the staged row of *key* was set aside; None where it was not."""
        same = " AND ".join(f"{name} = ?" for name in self._keys)
        rows = self._connection.execute(f"SELECT reason FROM set_aside WHERE {same}", list(key)).fetchall()
        return rows[0][0] if rows else None

    def _make_ready(self, store_id: str) -> bool:
        """Make a new file's tables, or settle what the last run left; False for another target's or store's file."""
        file.bring_up_to_date(self._connection, self._sync, create=lambda _: self._create(store_id))
        if self._meta.get("target") != file.signature(self._target) or self._meta.get("store_id") != store_id:
            return False
        self._recover()
        return True

    def _recover(self) -> None:
        """Settle what the last run left."""
        if self._has_table("outbox"):
            with file.transaction(self._connection):
                self._settle(complete=False, partial=False, set_aside=False, at=datetime.now(UTC))
            self.notes.append("the last run of this sync did not end; what it had no answer for is sent again")

    def _create(self, store_id: str) -> None:
        file.make_tables(self._connection, self._keys)
        self._meta.set(target=file.signature(self._target), store_id=store_id)

    def _has_table(self, name: str) -> bool:
        return bool(self._scalar("SELECT count(*) FROM duckdb_tables() WHERE table_name = ?", [name]))

    def _settle(self, *, complete: bool, partial: bool, set_aside: bool, at: datetime) -> None:
        settle(self._connection, self._keys, complete=complete, partial=partial, set_aside=set_aside, at=at)

    def _batch(self, query: str) -> pa.RecordBatch:
        return self._connection.sql(query).to_arrow_table().combine_chunks().to_batches()[0]

    def _record(self, verdicts: pa.Table) -> None:
        with file.transaction(self._connection):
            record(self._connection, self._keys, self._staged_shape, self._columns, verdicts)

    @property
    def _k(self) -> str:
        return ", ".join(self._keys)

    @property
    def _staged_shape(self) -> ResultSchema:
        assert self._shape is not None, "stage comes first"
        return self._shape

    def _scalar(self, query: str, parameters: list[str] | None = None) -> int:
        return int(self._connection.execute(query, parameters or []).fetchall()[0][0])


@contextmanager
def opened(path: Path, definition: SyncDefinition, store_id: str, *, record: bool = True) -> Iterator[Snapshot]:
    """Hold the snapshot of one sync; a run that died before is settled first.

    A snapshot that was taken for another target or store is set aside, and a new one begins: every row is sent
    then, and nothing is removed. Without *record*, no file is made or set aside.

    Raises:
        RunInProgressError: it is held already.
        SnapshotError: it is damaged, or from a newer program, or the disk is full.
    """
    note = ""
    if record or path.exists():
        with file.held(path, sync=definition.name) as connection:
            snapshot = Snapshot(connection, path, definition.name, definition.target)
            with snapshot.explaining():
                usable = snapshot._make_ready(store_id)
            if usable:
                with closing(snapshot._dispatch):
                    yield snapshot
                return
        note = "the store, or what this sync feeds, is another than before: every row is sent, and nothing is removed"
        if record:
            file.set_aside(path, "previous")
    with file.held(path, sync=definition.name) if record else file.in_memory(path) as connection:
        snapshot = Snapshot(connection, path, definition.name, definition.target)
        snapshot._make_ready(store_id)
        snapshot.notes.extend([note] if note else [])
        with closing(snapshot._dispatch):
            yield snapshot
