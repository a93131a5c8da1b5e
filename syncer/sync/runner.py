"""One run of one sync, end to end: opens what it needs, keeps the run log, closes everything."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from syncer.model.errors import (
    RunInProgressError,
    StateDatabaseError,
    StoreError,
    StoreMadeMeanwhileError,
    SyncerError,
)
from syncer.model.memory import explained
from syncer.model.protocols import DatesAnswers, ForecastingQueries, ProfileStore
from syncer.model.runs import THE_CLOCK
from syncer.model.types import Finding, FindingKind, Hold, Order, Run, RunStatus, SyncDefinition
from syncer.settings.settings import Settings
from syncer.snapshot.file import is_in_use
from syncer.snapshot.snapshot import Snapshot
from syncer.state.coordination import SharedCoordination
from syncer.state.rates import sharing
from syncer.state.runs import RunLog
from syncer.state.schema import KEPT_REJECTIONS
from syncer.sync import events, limits
from syncer.sync.coordination import WriterStates, catch_up
from syncer.sync.flow import Leftovers, SyncRun, run_sync
from syncer.sync.plans import Plan, planned
from syncer.sync.progress import HeldError, Phase, Progress, RunOptions, StoppedError, waking
from syncer.sync.snapshots import SyncSnapshots
from syncer.sync.window import Window, now_at, prepared, query_hash, window

if TYPE_CHECKING:
    from syncer.sync.approved_plans import ApprovedPlan

log = logging.getLogger(__name__)

#: How long after a process died the store may still be at what it sent.
_LONGEST_REQUEST = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs and plans syncs with one set of settings."""

    settings: Settings
    run_log: RunLog
    #: Gives aware UTC.
    now: Callable[[], datetime]
    #: How long a run waits for a plan, or another run, of its sync.
    patience: timedelta = timedelta()

    def run(
        self,
        definition: SyncDefinition,
        *,
        order: Order,
        options: RunOptions | None = None,
        progress: Progress | None = None,
    ) -> Run:
        """Run one sync and record how it ended; what went wrong is in the run's `status`, `error`, `hint` and `cause`.

        Raises:
            TickAnsweredError: the order's tick has a run already; nothing is recorded.
            SyncerError: of the run log.
        """
        options, progress = options or RunOptions(), progress or Progress()
        try:
            return self._run(definition, order, options, progress)
        except StoreMadeMeanwhileError:
            progress.begin_anew()
            return self._run(definition, order, options, progress)

    def _run(self, definition: SyncDefinition, order: Order, options: RunOptions, progress: Progress) -> Run:
        order, started_at = replace(order, scope=options.scope, options=options.words), self.now()
        with ExitStack() as stack:
            try:
                with self.run_log.database.reading():
                    as_of = self.run_log.counts_from(definition.name, self.now())
                    is_shared = self.snapshots.is_shared(definition.name)
                store = stack.enter_context(closing(self._open_store(definition, as_of)))
                if order.term is None:
                    stack.enter_context(self.run_log.database.holding(definition.name))
                snapshot = stack.enter_context(
                    self.snapshots.for_run(definition, store, order, progress, is_shared=is_shared)
                )
            except StateDatabaseError:
                raise
            except Exception as exc:
                if progress.is_again:
                    return self._ended_early(definition, progress, exc)
                if isinstance(exc, RunInProgressError):
                    progress.run_id = self.run_log.record_skipped(
                        definition.name, order, definition.hash, started_at, note=exc.message
                    )
                    return self._run_of(progress.run_id, exc)
                progress.run_id = self.run_log.start(definition.name, order, definition.hash, started_at)
                return self._ended_early(definition, progress, exc)
            with self.run_log.database.writing():
                coordination = self._coordination(definition, store)
                coordination.close_removals()
                coordination.close_abandoned(self._has_died, before=started_at - _LONGEST_REQUEST)
                clock_faults = limits.went_back(self.now(), self.run_log.last_moment())
                if not progress.is_again:
                    self.run_log.interrupt_open(definition.name, started_at, promised=order.run_id, beside=order)
                    run_id = self.run_log.start(definition.name, order, definition.hash, started_at)
            if not progress.is_again:
                progress.run_id = run_id
                log.info("the run begins")
            return self._recorded(definition, store, snapshot, started_at, options, progress, clock_faults)

    def plan(
        self,
        definition: SyncDefinition,
        *,
        progress: Progress | None = None,
        sample_rows: int = 5,
        also: Callable[[SyncRun, Plan], Plan] = lambda run, plan: plan,
    ) -> Plan:
        """Query and compare; sends and records nothing. *also* is done to the plan while its rows are there.

        Raises:
            SyncerError: as `run` would record it, or raise it.
        """
        progress = progress or Progress()
        with (
            closing(self._open_store(definition, self.now())) as store,
            self.snapshots.for_plan(definition, store) as snapshot,
            snapshot.ledger.explaining(),
        ):
            state_of = WriterStates(self.settings.definitions_dir, definition)
            coordination = self._coordination(definition, store)
            self.snapshots.follow_beside(snapshot, definition, coordination)
            catch_up(snapshot, coordination, store, state_of, definition.rules)
            clock_faults = limits.went_back(self.now(), self.run_log.last_moment())
            with self._asked(definition, snapshot, store, RunOptions(), progress, clock_faults) as run:
                if isinstance(run.warehouse, ForecastingQueries):
                    progress.notes.append(run.warehouse.forecast(run.sql))
                return also(run, planned(run, sample_rows=sample_rows))

    @property
    def snapshots(self) -> SyncSnapshots:
        """What opens the snapshots."""
        return SyncSnapshots(settings=self.settings, run_log=self.run_log, now=self.now, patience=self.patience)

    def _recorded(
        self,
        definition: SyncDefinition,
        store: ProfileStore,
        snapshot: Snapshot,
        started_at: datetime,
        options: RunOptions,
        progress: Progress,
        clock_faults: list[str],
    ) -> Run:
        """Go through the flow and record its end."""
        coordination = self._coordination(definition, store, progress.run_id)
        state_of = WriterStates(self.settings.definitions_dir, definition)
        try:
            self.snapshots.follow_beside(snapshot, definition, coordination)
            with snapshot.ledger.explaining(), waking(store, progress):
                if not snapshot.has_sent:
                    from syncer.sync import leftovers

                    beside = (snapshot, coordination, state_of, self.snapshots.bring_home)
                    for renamed in leftovers.take_over_renamed(definition, *beside):
                        self.snapshots.shared.forget(renamed)
                catch_up(snapshot, coordination, store, state_of, definition.rules)
                with self._asked(definition, snapshot, store, options, progress, clock_faults) as run:
                    run_sync(run, coordination=coordination, started_at=started_at)
            with snapshot.ledger.explaining():
                refused, total = snapshot.rejections(KEPT_REJECTIONS)
        except HeldError as exc:
            if exc.by is Hold.CLOCK:
                progress.findings.append(Finding(kind=FindingKind.CLOCK, about=THE_CLOCK))
            progress.moved = exc.moved
            return self._finish(progress, RunStatus.HELD, SyncerError(str(exc), hint=exc.hint(definition.name)))
        except (Exception, KeyboardInterrupt) as exc:
            if isinstance(exc, StoreMadeMeanwhileError) and not progress.is_again:
                raise
            if isinstance(exc, (StoppedError, StoreError, KeyboardInterrupt)):
                try:
                    self._publish_rejections(definition, snapshot, progress.run_id)
                except SyncerError:
                    progress.notes.append("what was rejected could not be recorded; the next run records it")
            return self._ended_early(definition, progress, exc)
        try:
            with self.run_log.database.writing():
                run_id = progress.run_id
                known = self.run_log.replace_rejections(definition.name, refused, total, now=self.now(), run_id=run_id)
                progress.acknowledged = known
                return self._finish(progress, limits.status(definition, total, known, snapshot, progress.notes), None)
        except Exception as exc:
            return self._ended_early(definition, progress, exc)

    def _ended_early(self, definition: SyncDefinition, progress: Progress, exc: BaseException) -> Run:
        """Record that a run failed or was stopped; the only place that knows every exception."""
        exc = explained(exc)
        if isinstance(exc, (StoppedError, KeyboardInterrupt, RunInProgressError)):
            return self._finish(progress, RunStatus.INTERRUPTED, SyncerError(str(exc) or "stopped by a signal"))
        if isinstance(exc, SyncerError):
            cut_off = progress.phase in (None, Phase.QUERY) or isinstance(exc, StoreError)
            if cut_off and progress.token.is_cancelled:
                # Reading, or a wait of the store, was cut off on purpose.
                return self._finish(progress, RunStatus.INTERRUPTED, SyncerError(progress.token.reason))
            progress.findings += self._unreachable(definition, exc)
            return self._finish(progress, RunStatus.FAILED, exc)
        # Its text may hold values; the frames and the name are enough.
        frames = "".join(traceback.format_tb(exc.__traceback__))
        log.error("unexpected %s\n%s", type(exc).__name__, frames, extra={"run": progress.run_id})
        progress.findings += self._unreachable(definition, exc)
        error = SyncerError(
            f"unexpected {type(exc).__name__}; this is a defect of Syncer",
            hint=f"The log has the details, with the run {progress.run_id}.",
        )
        return self._finish(progress, RunStatus.FAILED, error)

    def _unreachable(self, definition: SyncDefinition, exc: BaseException) -> list[Finding]:
        from syncer.sync.connections import unreachable

        place = self.snapshots.shared.places_of([definition.name])[definition.name]
        return unreachable(self.settings, definition, exc, place=place)

    def _publish_rejections(self, definition: SyncDefinition, snapshot: Snapshot, run_id: str) -> None:
        """Put what is refused now where all can read it."""
        with snapshot.ledger.explaining():
            rejections, total = snapshot.rejections(KEPT_REJECTIONS)
        self.run_log.replace_rejections(definition.name, rejections, total, now=self.now(), run_id=run_id)

    def _finish(self, progress: Progress, status: RunStatus, error: SyncerError | None) -> Run:
        with self.run_log.database.writing():
            self.run_log.finish(
                progress.run_id,
                status,
                self.now(),
                counts=progress.counts,
                delivery=progress.delivery,
                fruitless=progress.is_fruitless(status),
                bytes_fetched=progress.bytes_fetched,
                phases=progress.phases,
                error=str(error) if error else None,
                hint=error.hint if error else "",
                notes=progress.notes,
                findings=progress.findings,
                ended_by=progress.token.ended_by if status is RunStatus.INTERRUPTED else None,
            )
            ended = self._run_of(progress.run_id, error)
        return replace(ended, moved=tuple(progress.moved))

    def _run_of(self, run_id: str, cause: SyncerError | None) -> Run:
        run = self.run_log.get(run_id)
        assert run is not None
        return replace(run, cause=cause)

    @contextmanager
    def _asked(
        self,
        definition: SyncDefinition,
        snapshot: Snapshot,
        store: ProfileStore,
        options: RunOptions,
        progress: Progress,
        clock_faults: list[str],
    ) -> Iterator[SyncRun]:
        """The warehouse opened, and the query for it, whose errors name the definition's file and line.

        Shapes:
            clock_faults: what is known to be wrong with this machine's clock, a sentence each.
        """
        opened = self.settings.warehouses[definition.warehouse].open(definition.warehouse, sync=definition.name)
        with closing(opened) as warehouse, progress.token.interruptible(warehouse.close):
            found: Window | None = None
            at = now_at(warehouse, self.now()) if definition.incremental or definition.event_rules else None
            clock_faults += limits.differs(self.now(), at, f"warehouse `{definition.warehouse}`")
            if isinstance(store, DatesAnswers):
                clock_faults += limits.differs(self.now(), store.clock(), f"store `{definition.store}`")
            if definition.incremental and at is not None:
                found = window(definition, snapshot.known, options, at=at, query=query_hash(self.settings, definition))
                progress.notes.extend(filter(None, [found.note]))
            query = prepared(self.settings, definition, snapshot.known, found)
            approved = self._approved(definition, options, progress.run_id)
            with query.errors_placed():
                yield SyncRun(
                    definition=definition,
                    sql=query.statement,
                    warehouse=warehouse,
                    snapshot=snapshot,
                    store=store,
                    options=approved.lifted(options) if approved else options,
                    progress=progress,
                    asked=found.asked if found else None,
                    clock_faults=clock_faults,
                    leftovers=_leftovers(snapshot),
                    approved=approved,
                    remembers=timedelta(days=self.settings.keep_runs),
                    now=at,
                    event_starts=events.kept_in(self.run_log, store) if definition.event_rules else None,
                )

    def _approved(self, definition: SyncDefinition, options: RunOptions, run_id: str) -> ApprovedPlan | None:
        if not options.plan:
            return None
        from syncer.sync.approved_plans import approved
        from syncer.sync.kept_plans import KeptPlans

        plans = KeptPlans.of(self.settings, self.now, lambda: self.run_log.database)
        return approved(plans, definition, options, run_id=run_id)

    def has_no_command(self, sync: str) -> bool:
        """Whether no command runs a sync: it would hold the snapshot, or a lock if the run log is shared."""
        if self.run_log.database.is_shared:
            return not self.run_log.database.is_held(sync)
        path = self.snapshots.path(sync)
        return not path.exists() or not is_in_use(path, sync)

    def _has_died(self, sync: str) -> bool:
        """Whether no process runs a sync, also where its file is gone; a service's run is ended by the next service."""
        if not self.has_no_command(sync):
            return False
        # A snapshot that nobody holds tells of a service too, but only on this machine.
        return not self.run_log.database.is_shared or not any(
            run.sync == sync and run.term is not None for run in self.run_log.open_runs()
        )

    def _coordination(self, definition: SyncDefinition, store: ProfileStore, run_id: str = "") -> SharedCoordination:
        return SharedCoordination(
            database=self.run_log.database, sync=definition.name, store_id=store.store_id, run_id=run_id
        )

    def _open_store(self, definition: SyncDefinition, started_at: datetime) -> ProfileStore:
        settings = self.settings.stores[definition.store]
        opened = settings.open(definition.store, started_at=started_at, fed_by=definition)
        return sharing(opened, self.run_log.database)


def _leftovers(snapshot: Snapshot) -> Leftovers | None:
    if not snapshot.former:
        return None
    from syncer.sync.leftovers import FormerRows

    return FormerRows()
