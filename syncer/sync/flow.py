"""The flow of one sync, from its query to its settled snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from syncer.model.errors import RunInProgressError, SelectionError, StoreError
from syncer.model.event_stores import KeepsEventStarts, KeepsUnclaimed
from syncer.model.protocols import (
    Interruptible,
    NumbersPeople,
    ProfileStore,
    ReplacesCollections,
    Warehouse,
)
from syncer.model.types import Changes, Counts, Delivery, Finding, Hold, SyncDefinition, Verdict
from syncer.snapshot.columns import ResultSchema, result_schema
from syncer.snapshot.diff import Difference
from syncer.snapshot.ledger import Asked
from syncer.snapshot.outbox import Outbox
from syncer.snapshot.snapshot import Snapshot, Staged
from syncer.sync import events, limits
from syncer.sync.coordination import Coordination, announce, announce_again
from syncer.sync.notes import notes_on_rows
from syncer.sync.progress import Exceeded, HeldError, Phase, Progress, RunOptions, StoppedError
from syncer.sync.reading import asked, without_prints

#: How long a store knows which identifiers people lost: a sync that did not run for longer sends every row again.
_MOVES_KEPT = timedelta(days=30)

_ONE_ROW = {
    Verdict.ACCEPTED: "the store accepted it",
    Verdict.REJECTED: "the store rejected it",
    Verdict.ABSENT: "the store has nobody to update",
}

_NAMES_KEPT = (
    "columns that the warehouse folded to upper case keep the names that were sent before: they become lower case once "
    "the file, or `column_case` in the warehouse's URL, changes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRun:
    """What one run works with."""

    definition: SyncDefinition
    #: As the warehouse gets it.
    sql: str
    warehouse: Warehouse
    snapshot: Snapshot
    store: ProfileStore
    options: RunOptions
    #: Shows how far the run came, also where it fails.
    progress: Progress
    #: What *sql* asks for; None if the start of the run tells enough.
    asked: Asked | None = None
    #: What is wrong with the clocks, a sentence each.
    clock_faults: Sequence[str] = ()
    #: What the sync sent under another definition, if that is to be removed.
    leftovers: Leftovers | None = None
    #: The plan of which it sends the rows, and no others.
    approved: Approval | None = None
    #: How long what left the result is remembered.
    remembers: timedelta = timedelta(days=90)
    #: The time by the warehouse's clock, aware, where it matters; None for this machine's.
    now: datetime | None = None
    #: Keeps from when on events count, where the store does not.
    event_starts: KeepsEventStarts | None = None


class Leftovers(Protocol):
    """Rows of former snapshots that are to be removed from the store: see `Snapshot.former`."""

    def counted(self, run: SyncRun) -> tuple[int, list[Exceeded]]:
        """How many rows, once the run has staged its result, and the limits that they exceed."""

    def remove(self, run: SyncRun, coordination: Coordination, *, started_at: datetime) -> None:
        """Remove them, and forget the former snapshots of which no row is left; *run* has settled.

        Raises:
            StoppedError, SyncerError: as `run_sync`; the next run removes the rest.
        """


class Approval(Protocol):
    """A plan that somebody approved; see `approved_plans.ApprovedPlan`."""

    def select(self, run: SyncRun, schema: ResultSchema, difference: Difference) -> tuple[Difference, HeldError | None]:
        """Leave only the rows of the plan to be sent; and why none may be, where they are not as they were."""

    def use(self) -> None:
        """Let the run send them, and no later one.

        Raises:
            SelectionError: another run has sent them.
            SyncerError: nobody can tell, as where they are kept cannot be used.
        """


def run_sync(run: SyncRun, *, coordination: Coordination, started_at: datetime) -> None:
    """Run one sync from its query to its settled snapshot.

    Raises:
        HeldError: over a limit, a clock is wrong, or a plan is out of date; nothing was sent.
        StoppedError: cancelled; answered batches are settled, the rest is in doubt.
        SyncerError: of the warehouse or the result: nothing was sent; of the store: as for StoppedError.
    """
    definition, store, progress, options = run.definition, run.store, run.progress, run.options
    if run.clock_faults and not options.allow_clock:
        raise HeldError(run.clock_faults, Hold.CLOCK)
    staged, difference = compare(run)
    _check_limits(run, staged, difference)
    if difference.intent.event_start is not None:
        events.decide_start(definition, store, run.event_starts, difference.intent.event_start)
    if run.approved is not None:
        run.approved.use()
    with progress.during(Phase.JOURNAL):
        run_id, forget_before = coordination.run_id, started_at - run.remembers
        outbox = difference.open_outbox(claimed_by=run_id, started_at=started_at, forget_before=forget_before)
    with closing(outbox):
        with progress.during(Phase.JOURNAL):
            shared = _claimed(coordination, staged, difference)
            is_announced = outbox.rows > 0 and announce(definition, outbox, store, coordination, shared)
        ended_well = False
        try:
            with progress.during(Phase.SEND, total=outbox.rows):
                _send(definition, outbox, store, progress)
            ended_well = True
        finally:
            with progress.during(Phase.SETTLE):
                _take_stock(run, outbox, coordination, shared)
                asked = run.asked or Asked(at=started_at)
                outbox.settle(started_at=started_at, asked=asked, ended_well=ended_well)
    if is_announced:
        coordination.close_removals()
    if run.leftovers and not options.is_selective:
        run.leftovers.remove(run, coordination, started_at=started_at)
        if run.snapshot.sharing is not None:
            run.snapshot.sharing.put_files()
    if isinstance(store, NumbersPeople):
        store.forget_moves(started_at - _MOVES_KEPT)
    if isinstance(store, KeepsUnclaimed) and (removed := store.remove_unclaimed()):
        progress.notes.append(f"events of visitors whom nobody claimed in time, and that were removed: {removed:,}")


def _claimed(coordination: Coordination, staged: Staged, difference: Difference) -> set[str]:
    """Claim the sync, and record what it writes; returns which attributes others write too, or wrote.

    Raises:
        StoppedError: another run has claimed it since; nothing is recorded.
    """
    definition = staged.schema.definition
    with coordination.at_once():
        if not coordination.claim(after=difference.newest_claim):
            raise StoppedError("another run of this sync, from another machine, began to send before this one did")
        # What happens takes no attribute from others.
        fed = [] if staged.schema.event else [one.name for one in staged.schema.attributes if not one.is_visitor]
        return coordination.attributes_of_others(definition.target.things, fed)


def compare(run: SyncRun) -> tuple[Staged, Difference]:
    """Query and compare; sends and records nothing."""
    definition, store, progress, options = run.definition, run.store, run.progress, run.options
    store.check(definition.target, create=definition.create)
    with progress.during(Phase.QUERY):
        every_row = options.full or options.only is not None
        staged = _staged(run, every_row=every_row)
        if (rows := run.snapshot.ledger.warehouse_rows) is not None and rows.asks_again():
            staged = _staged(run, every_row=every_row)
        schema = staged.schema
    with progress.during(Phase.COMPARE):
        whereabouts = partial(store.whereabouts, definition.target) if isinstance(store, NumbersPeople) else None
        is_whole = run.asked is None or run.asked.is_whole
        known, start = run.snapshot.known, None
        if schema.event is not None and known.event_start is None and options.only is None:
            start = events.start_of(definition, store, run.event_starts, schema.event, former=known.former_start)
        difference = staged.diff(
            is_whole=is_whole,
            full=options.full,
            only=options.only,
            whereabouts=whereabouts,
            event_start=start,
        )
        moved_on = None
        if run.approved is not None:
            difference, moved_on = run.approved.select(run, schema, difference)
    _count_changes(run, staged, difference)
    if moved_on is not None:
        raise moved_on
    if options.only is not None:
        _find_one_row(staged, options.only)
    return staged, difference


def _staged(run: SyncRun, *, every_row: bool) -> Staged:
    definition, store, progress = run.definition, run.store, run.progress
    reader = asked(run)
    shown = without_prints(reader.schema)
    named = run.snapshot.with_kept_names(definition, shown)
    if named.names != shown.names:
        progress.notes.append(_NAMES_KEPT)
    schema = result_schema(definition, named, store.identity, store.value_form, now=run.now, store_id=store.store_id)
    return run.snapshot.stage(reader, schema, progress.reached, every_row=every_row)


def _count_changes(run: SyncRun, staged: Staged, difference: Difference) -> None:
    """Let the progress have what the run is about to do."""
    progress, options = run.progress, run.options
    progress.counts = Counts(
        queried=staged.queried,
        added=difference.added,
        changed=difference.changed,
        removed=difference.removed,
        unchanged=difference.unchanged,
        altered=difference.intent.altered,
        rejected=staged.quarantined,
    )
    progress.delivery = Delivery(planned=difference.planned, quarantined=staged.quarantined)
    progress.notes.extend(
        [*run.snapshot.ledger.notes, *notes_on_rows(staged, difference, one_row=options.only is not None)]
    )
    about = f"store {run.definition.store}"
    found = run.snapshot.ledger.store_findings.items()
    progress.findings.extend(Finding(kind=kind, about=about, detail=detail) for kind, detail in found)


def _send(definition: SyncDefinition, outbox: Outbox, store: ProfileStore, progress: Progress) -> None:
    whole = definition.target.collection is not None and isinstance(store, ReplacesCollections)
    sent, stopping = 0, False
    answers: Outbox | None = outbox
    try:
        for part in outbox.parts(store.batch_rows, whole=whole):
            answers = None if part.is_preparation else outbox
            for batch in part.batches:
                sent += batch.num_rows - batch["seq"].null_count if answers else 0
                _take(store.apply(definition.target, batch, create=definition.create), answers, progress)
                if stopping := progress.token.is_cancelled:
                    break
            _take(store.flush(), answers, progress)
            if stopping:
                break
    except StoreError:
        _take(store.flush(), answers, progress)
        if progress.token.is_cancelled:
            raise StoppedError(progress.token.reason) from None
        raise
    except Exception:
        _take(_answered_so_far(store), answers, progress)
        raise
    if progress.rows < sent:
        raise StoreError(
            f"store `{definition.store}` did not answer for {sent - progress.rows:,} rows",
            hint="They are sent again at the next run.",
        )
    if stopping:
        raise StoppedError(progress.token.reason)


def _answered_so_far(store: ProfileStore) -> pa.Table:
    """What a store has answered by the time that something unexpected ends the run; sends nothing more if it can."""
    if isinstance(store, Interruptible):
        store.interrupt()
    try:
        return store.flush()
    except StoreError:
        # The next call has the earlier verdicts.
        return store.flush()


def _take(verdicts: pa.Table, outbox: Outbox | None, progress: Progress) -> None:
    if outbox is not None:
        outbox.record(verdicts)
        progress.reached(progress.rows + len(verdicts))
        accepted = pc.sum(pc.equal(verdicts["verdict"], Verdict.ACCEPTED)).as_py() or 0
        progress.counts = replace(progress.counts, accepted=progress.counts.accepted + accepted)


def _take_stock(run: SyncRun, outbox: Outbox, coordination: Coordination, shared: set[str]) -> None:
    """Count the store's answers, and tell others what they may have missed; see `announce_again`.

    Raises:
        RunInProgressError: another run has taken the sync; others have been told.
        SyncerError: the answers cannot be recorded.
    """
    progress = run.progress
    announced = partial(announce_again, run.definition, outbox, run.store, coordination, shared)
    try:
        _count_answers(run.definition, progress, outbox, one_row=run.options.only is not None)
    except RunInProgressError:
        # What this run sent may have come after what the newer one sent.
        progress.notes += announced()
        raise
    progress.notes += announced()


def _count_answers(definition: SyncDefinition, progress: Progress, outbox: Outbox, *, one_row: bool) -> None:
    """Count the store's answers, and the rows that have none."""
    verdicts, quarantined = outbox.verdicts(), progress.delivery.quarantined
    total = {verdict: sum(n for (_, found), n in verdicts.items() if found is verdict) for verdict in Verdict}
    progress.counts = replace(
        progress.counts,
        accepted=total[Verdict.ACCEPTED],
        rejected=quarantined + total[Verdict.REJECTED],
        absent=total[Verdict.ABSENT],
        merged=total[Verdict.ACCEPTED] if definition.target.entity.traits.names_pair else 0,
    )
    delivered = {change: n for (change, verdict), n in verdicts.items() if verdict is Verdict.ACCEPTED}
    in_doubt = outbox.rows - sum(total.values())
    progress.delivery = replace(progress.delivery, delivered=Changes(**delivered), in_doubt=in_doubt)
    progress.tried_before = outbox.tried_before
    if one_row:
        progress.notes += [f"one row was sent, and {_ONE_ROW[verdict]}" for verdict, rows in total.items() if rows]
    if in_doubt:
        progress.notes.append(f"rows in doubt, which the next run sends again: {in_doubt:,}")


def _check_limits(run: SyncRun, staged: Staged, difference: Difference) -> None:
    options = run.options
    if options.only is None and not options.allow_limits:
        found = limits.exceeded(run.definition, staged, difference, run.store)
        removed = difference.removed - difference.moved
        if run.leftovers and not options.is_selective:
            rows, exceeded = run.leftovers.counted(run)
            found, removed = [*found, *exceeded], removed + rows
        limits.check(options, found, removed=removed)
    limits.check_collection_size(run.definition, staged, run.store)


def _find_one_row(staged: Staged, key: tuple[str, ...]) -> None:
    if staged.has(key):
        return
    if (reason := staged.quarantine_reason(key)) is not None:
        raise SelectionError(f"the row of this key cannot be sent: {reason}")
    raise SelectionError(
        "the query's result has no row of this key", hint="Keys are text, spelled as `syncer plan` shows them."
    )
