"""What a service does while it leads: keep the schedule, answer its ticks, make up for what was interrupted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from syncer.definitions import schedules
from syncer.model.errors import StateDatabaseError
from syncer.model.types import CatchUp, EndedBy, Order, Run, RunScope, RunStatus, SyncDefinition, Trigger
from syncer.service.catalog import Catalog
from syncer.service.leadership import Leadership
from syncer.service.left_open import LeftOpen
from syncer.service.pool import FENCED, ActiveRun, AlreadyActiveError, ClosedError, Pool
from syncer.service.remote_runs import RemoteRuns
from syncer.service.scheduled import ScheduledSyncs
from syncer.service.timetable import Tick, Timetable
from syncer.state.cancellations import Cancellations
from syncer.state.runs import OvertakenError, RunLog, TickAnsweredError
from syncer.sync.progress import CancelToken, Progress, RunOptions

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Leader:
    """The leader that a service is, or would be."""

    leadership: Leadership
    catalog: Catalog
    run_log: RunLog
    pool: Pool
    timetable: Timetable
    scheduled: ScheduledSyncs
    left_open: LeftOpen
    #: Gives aware UTC.
    now: Callable[[], datetime]
    #: When it began to lead; without meaning while another service leads.
    led_at: datetime
    #: The last term whose schedule was complete.
    _complete: int | None = None
    #: Whether some run may be queued that the pool does not have, or be interrupted and not made up for.
    _is_short: bool = False
    #: Held while a run is in the run log, and not in the pool yet.
    _accepting: threading.Lock = field(default_factory=threading.Lock)

    @property
    def term(self) -> int | None:
        """The term in which this service leads; None until its schedule is complete, and while it does not lead."""
        term = self.leadership.term
        return term if term == self._complete else None

    def look(self) -> None:
        """Begin to lead if no other service does, or follow what has changed; called again and again.

        Raises:
            StateDatabaseError: the run log cannot be used; the next call goes on from there.
        """
        if not self.leadership.holds():
            self._let_go()
            if self.pool.active_runs() or not self.leadership.acquire():
                return
        if self.term is None:
            self._begin()
            return
        self.scheduled.follow_pauses()
        self._follow_cancellations()
        if isinstance(self.pool, RemoteRuns) and self.pool.end_dead():
            self._is_short = True
        if self.pool.record_ends() or self._is_short:
            self._is_short = True
            self._catch_up(self.term)

    def answer(self, tick: Tick) -> None:
        """Answer a tick: with a run that waits for room, or with a record that it was skipped.

        Raises:
            StateDatabaseError: the run log cannot be used; the tick has no answer yet.
        """
        definition, term = self.catalog.get(tick.sync), self.leadership.term
        if definition is None or term is None or not self.leadership.holds():
            return
        order = Order(trigger=Trigger.SCHEDULE, due_at=tick.due_at, term=term)
        active = self.new_run(definition, order, RunOptions(), self.now())
        self._note_missed(active, tick)
        running = self.pool.of(tick.sync)
        try:
            if running is None:
                self.accept(active)
            else:
                self._skip(active, running)
        except TickAnsweredError:
            # Perhaps by this service, whose record of it had no answer.
            self._is_short = True
        except (OvertakenError, AlreadyActiveError, ClosedError):
            return

    def accept(self, active: ActiveRun, *, request: str = "") -> None:
        """Record a run as queued, and let it begin as soon as there is room; *request* as for `RunLog.accept`.

        Raises:
            TickAnsweredError: its tick has a run already.
            OvertakenError: another service leads.
            AlreadyActiveError, ClosedError: as `Pool.submit`; the run is recorded as skipped.
        """
        with self._accepting:
            try:
                run_id = self.run_log.accept(
                    active.name,
                    active.order,
                    active.definition.hash,
                    active.asked_at,
                    request=request,
                    notes=active.progress.notes,
                )
            except StateDatabaseError:
                # It may be recorded all the same.
                self._is_short = True
                raise
            active.order = replace(active.order, run_id=run_id)
            self._submit(active)

    def new_run(
        self, definition: SyncDefinition, order: Order, options: RunOptions, at: datetime, notes: Sequence[str] = ()
    ) -> ActiveRun:
        """A run that this service is about to accept; it ends if the service leads no longer.

        Shapes:
            notes: that it has already.
        """

        def watch() -> str:
            return "" if self.leadership.holds() and self.leadership.term == order.term else FENCED

        # What passed before this service led is one moment: people first, whatever their tick was.
        moment = None if order.due_at is None else max(order.due_at, self.led_at)
        order = replace(order, scope=options.scope, options=options.words)
        progress = Progress(token=CancelToken(watch), notes=[*notes])
        return ActiveRun(
            definition=definition, order=order, options=options, asked_at=at, progress=progress, moment=moment
        )

    def _let_go(self) -> None:
        """Empty the schedule, and end what an older term of this service began: it would keep a sync from its tick."""
        for name in self.timetable.names():
            self.timetable.remove(name)
        for active in self.pool.active_runs():
            if not self.pool.take_out(active, FENCED, EndedBy.TAKEOVER):
                active.stop(FENCED, EndedBy.TAKEOVER)

    def cancel(self, active: ActiveRun, actor: str) -> None:
        """End a run that waits before it begins, or one that goes on after the batch in hand."""
        why = f"stopped by {actor}"
        if not self.pool.take_out(active, why, EndedBy.PERSON):
            active.stop(why, EndedBy.PERSON)

    def _follow_cancellations(self) -> None:
        """End the runs that another process asked to end."""
        active_runs = {active.run_id: active for active in self.pool.active_runs()}
        if active_runs:
            for run_id, actor in Cancellations(self.run_log.database).of(active_runs).items():
                self.cancel(active_runs[run_id], actor)

    def _begin(self) -> None:
        """Begin to lead; each step can be repeated."""
        term = self.leadership.term
        if term is None:
            return
        self.led_at = self.now()
        self.left_open.interrupt(before=term)
        # Before the schedule, whose newer ticks they would otherwise wait for.
        if not self._adopt(term):
            return
        self.scheduled.begin()
        self._complete, self._is_short = term, True
        log.info("this service leads", extra={"term": term})
        self._catch_up(term)

    def _catch_up(self, term: int) -> None:
        # What comes meanwhile is for the next time.
        self._is_short = False
        is_done = False
        try:
            # What another process ends by itself is made up for then.
            goes_on_elsewhere = self.left_open.interrupt(before=term)
            if self._adopt(term):
                self._make_up(term)
                is_done = not goes_on_elsewhere
        finally:
            self._is_short = self._is_short or not is_done

    def _adopt(self, term: int) -> bool:
        """Let the runs begin that are queued, and that no service has in its pool; returns whether it had its turn."""
        # Who accepts a run may be waiting for the run log, and the heartbeat must not wait for them.
        if not self._accepting.acquire(blocking=False):
            return False
        try:
            self._follow_on(term)
            ours = {active.run_id for active in self.pool.active_runs()}
            for run in self.run_log.queued_runs():
                if run.id not in ours:
                    with suppress(OvertakenError, AlreadyActiveError, ClosedError):
                        self._adopt_one(run, term)
        finally:
            self._accepting.release()
        return True

    def _follow_on(self, term: int) -> None:
        """Follow the runs that workers make by order of an earlier leader."""
        if not isinstance(self.pool, RemoteRuns):
            return
        for run in self.pool.elsewhere():
            if (definition := self.catalog.get(run.sync)) is not None:
                order = Order(trigger=run.trigger, actor=run.actor, due_at=run.due_at, term=term, run_id=run.id)
                order, options = replace(order, worker=run.worker or ""), RunOptions.of(run.options)
                active = self.new_run(definition, order, options, run.ordered_at or run.started_at, notes=run.notes)
                with suppress(AlreadyActiveError, ClosedError):
                    self.pool.follow(active, run.started_at)

    def _adopt_one(self, run: Run, term: int) -> None:
        definition = self.catalog.get(run.sync)
        if definition is None:
            self._record_skipped(run.id, "not run, as its definition was removed while it waited")
            return
        if run.trigger is Trigger.SCHEDULE and run.term != term and definition.catch_up is CatchUp.SKIP:
            self._record_skipped(run.id, "not run, as the service ended while it waited")
            return
        if run.scope is RunScope.ROWS:
            self._record_skipped(run.id, "not run, as the service ended while it waited, and no key is kept")
            return
        order = Order(trigger=run.trigger, actor=run.actor, due_at=run.due_at, term=term, run_id=run.id)
        if self.run_log.adopt(run.id, order):
            options = RunOptions.of(run.options)
            self._submit(self.new_run(definition, order, options, run.started_at, notes=run.notes))

    def _submit(self, active: ActiveRun) -> None:
        try:
            self.pool.submit(active)
        except (AlreadyActiveError, ClosedError) as exc:
            # A leader lets what is due begin later.
            if isinstance(exc, AlreadyActiveError) or active.order.trigger is not Trigger.SCHEDULE:
                reason = "another run of this sync was requested at the same moment, or the service was stopping"
                self._record_skipped(active.run_id, reason)
            raise

    def _record_skipped(self, run_id: str, reason: str) -> None:
        self.run_log.finish(run_id, RunStatus.SKIPPED, self.now(), notes=[reason])

    def _skip(self, active: ActiveRun, running: ActiveRun) -> None:
        since = f"since {running.began_at:%H:%M:%S} UTC" if running.began_at else "waiting to begin"
        note = f"not run, as the run before it is not over ({since})"
        self.pool.record_skipped(active, note)
        log.info("a tick is skipped: %s", note, extra={"sync": active.name, "run": active.run.id if active.run else ""})
        self.pool.announce(active)

    def _note_missed(self, active: ActiveRun, tick: Tick) -> None:
        last_due = self.run_log.last_due([tick.sync], until=tick.due_at).get(tick.sync)
        answered = max(filter(None, [last_due, self.scheduled.answered(tick.sync)]), default=None)
        if answered is not None:
            _, ticks = schedules.last_run_at(active.definition.schedule, after=answered, until=tick.due_at)
            if ticks > 1:
                missed = f"{ticks - 1} earlier ticks" if ticks > 2 else "an earlier tick"
                active.progress.notes.append(f"this run also stands for {missed} that passed unanswered")

    def _make_up(self, term: int) -> None:
        """Run once more what was interrupted in the middle, so that a daily sync need not wait for tomorrow."""
        for name in sorted(self.run_log.cut_off(self.catalog.current.definitions)):
            definition = self.scheduled.definition(name)
            if definition is None or definition.catch_up is not CatchUp.ONCE or self.pool.of(name) is not None:
                continue
            order = Order(trigger=Trigger.SCHEDULE, term=term)
            active = self.new_run(definition, order, RunOptions(), self.now())
            active.progress.notes.append("this run makes up for the one before, which was interrupted")
            with suppress(OvertakenError, AlreadyActiveError, ClosedError):
                self.accept(active)
