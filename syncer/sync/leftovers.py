"""What a sync sent under a definition that has changed since: how it is counted, and removed from the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from syncer.model.protocols import ReplacesCollections
from syncer.model.types import Column, Removed, SyncDefinition, Target
from syncer.snapshot import former
from syncer.snapshot.ledger import WriterState
from syncer.snapshot.session import Session
from syncer.snapshot.snapshot import Snapshot
from syncer.state.coordination import SharedCoordination
from syncer.sync.coordination import Coordination
from syncer.sync.flow import SyncRun, run_sync
from syncer.sync.limits import over_removed
from syncer.sync.progress import Exceeded, Progress, RunOptions


@dataclass(frozen=True, slots=True)
class ClaimedCoordination:
    """The coordination of a run that has claimed its sync already."""

    outer: Coordination

    @property
    def run_id(self) -> str:
        return self.outer.run_id

    @property
    def sync(self) -> str:
        return self.outer.sync

    @property
    def log_id(self) -> str:
        return self.outer.log_id

    def at_one_moment(self) -> AbstractContextManager[object]:
        return self.outer.at_one_moment()

    def at_once(self) -> AbstractContextManager[object]:
        return self.outer.at_once()

    def newest_claim(self) -> str:
        return self.outer.newest_claim()

    def claim(self, *, after: str) -> bool:
        return True

    def confirm(self) -> bool:
        return True

    def removed_since(self, seq: int) -> AbstractContextManager[Removed]:
        return self.outer.removed_since(seq)

    def writers(self, things: str) -> Mapping[str, tuple[frozenset[str], str]]:
        return self.outer.writers(things)

    def attributes_of_others(self, things: str, attributes: Collection[str] | None) -> set[str]:
        return self.outer.attributes_of_others(things, None)

    def announce(self, write: Callable[[Path, str], int]) -> None:
        self.outer.announce(write)

    def close_removals(self) -> None:
        self.outer.close_removals()


@dataclass(frozen=True, slots=True)
class _EmptyWarehouse:
    """A warehouse whose result has the columns of a key, and no row."""

    target: Target

    def query(self, sql: str, *, timeout: timedelta) -> pa.RecordBatchReader:
        return pa.table({name: pa.array([], pa.string()) for name in self.target.key_columns}).to_reader()

    def columns(self, sql: str) -> tuple[Column, ...]:
        return ()

    def close(self) -> None: ...


class FormerRows:
    """See `flow.Leftovers`."""

    def counted(self, run: SyncRun) -> tuple[int, list[Exceeded]]:
        """See `flow.Leftovers.counted`."""
        definition, found, total = run.definition, list[Exceeded](), 0
        for path in run.snapshot.former:
            with former.opened(path, definition.name) as ledger:
                session = ledger.session
                rows, known = former.rows_besides(session, _kept(run, session, ("staged", "quarantined")))
            if not _is_replaced(run, session.target):
                total += rows
                what = f"of what was sent before, as {session.target.words},"
                found += over_removed(definition, rows, known, what)
        return total, found

    def remove(self, run: SyncRun, coordination: Coordination, *, started_at: datetime) -> None:
        """See `flow.Leftovers.remove`."""
        for path in run.snapshot.former:
            with former.opened(path, run.definition.name) as ledger:
                session = ledger.session
                former.forget(session, _kept(run, session, ("snapshot", "in_doubt", "rejections")))
                is_replaced = _is_replaced(run, session.target)
                if not is_replaced:
                    _remove(run, Snapshot(ledger), coordination, started_at)
                is_done = is_replaced or not former.of(session, "").has_rows
            if is_done:
                path.unlink(missing_ok=True)


def take_over_renamed(
    definition: SyncDefinition,
    snapshot: Snapshot,
    coordination: SharedCoordination,
    state_of: Callable[[str], WriterState],
    bring_home: Callable[[str], object] = lambda sync: None,
) -> list[str]:
    """Let a sync that has sent nothing yet take over from those whose file was renamed, and is its own now.

    Shapes:
        bring_home: takes the rows of one of those out of the warehouse that keeps them.
        returns: the names that it had.
    Raises:
        RunInProgressError, SnapshotError: the other snapshot is in use, or cannot be read.
    """
    renamed = []
    for sync in coordination.writers(definition.target.things):
        if state_of(sync) is not WriterState.GONE:
            continue
        bring_home(sync)
        if snapshot.take_over(sync, definition, coordination.store_id):
            if snapshot.sharing is not None:
                snapshot.sharing.put_files()
            coordination.take_over_attributes(sync)
            renamed.append(sync)
    return renamed


def _remove(run: SyncRun, snapshot: Snapshot, coordination: Coordination, started_at: datetime) -> None:
    """Let the ordinary flow find that nothing of a former snapshot is in the result any more."""
    target = snapshot.ledger.session.target
    definition = replace(
        run.definition,
        target=target,
        device=None,
        attributes=None,
        exclude=(),
        rules={},
        incremental=False,
        create=True,
    )
    progress = Progress(token=run.progress.token)
    options, claimed = RunOptions(allow_limits=True), ClaimedCoordination(coordination)
    inner = SyncRun(
        definition=definition,
        sql="",
        warehouse=_EmptyWarehouse(target),
        snapshot=snapshot,
        store=run.store,
        options=options,
        progress=progress,
    )
    try:
        run_sync(inner, coordination=claimed, started_at=started_at)
    finally:
        _add(run.progress, progress)


def _kept(run: SyncRun, session: Session, tables: tuple[str, ...]) -> pa.Table:
    """The keys, in *tables* of the sync's snapshot, of rows that it feeds now too."""
    own = run.snapshot.ledger.session
    if own.target.things != session.target.things:
        return pa.table({"key": pa.array([], pa.string())})
    return former.keys_of(own, tables)


def _is_replaced(run: SyncRun, target: Target) -> bool:
    """Whether the store has replaced a collection as a whole, so that nothing of it is left."""
    same = run.definition.target.things == target.things
    return same and target.collection is not None and isinstance(run.store, ReplacesCollections)


def _add(progress: Progress, inner: Progress) -> None:
    """Add what the store answered to the counts of the run."""
    counts, more = progress.counts, inner.counts
    progress.counts = replace(
        counts,
        removed=counts.removed + more.removed,
        accepted=counts.accepted + more.accepted,
        rejected=counts.rejected + more.rejected,
    )
    outer, found = progress.delivery, inner.delivery
    progress.delivery = replace(
        outer,
        planned=replace(outer.planned, removed=outer.planned.removed + found.planned.removed),
        delivered=replace(outer.delivered, removed=outer.delivered.removed + found.delivered.removed),
        in_doubt=outer.in_doubt + found.in_doubt,
    )
    progress.notes.append(f"rows that were sent under another definition, and are removed: {more.removed:,}")
