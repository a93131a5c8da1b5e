"""The service: its parts, and what pages, the API and the schedule do with it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from syncer.definitions import schedules
from syncer.definitions.order import Precedence
from syncer.model.types import CatchUp, Order, Run, RunStatus, SyncDefinition, Trigger
from syncer.queries import query
from syncer.service.catalog import Catalog
from syncer.service.leadership import Leadership
from syncer.service.left_open import LeftOpen
from syncer.service.pool import FENCED, ActiveRun, AlreadyActiveError, ClosedError, Pool
from syncer.service.scheduled import ScheduledSyncs
from syncer.service.status import SyncStatus, statuses
from syncer.service.timetable import Tick, Timetable
from syncer.settings.settings import Settings
from syncer.state.runs import OvertakenError, RunLog
from syncer.sync import retention
from syncer.sync.lookup import Lookup
from syncer.sync.plans import Plan
from syncer.sync.progress import CancelToken, Progress, RunOptions
from syncer.sync.runner import Runner

log = logging.getLogger(__name__)

#: A clock that goes back, or ahead, by less is only corrected.
_SET_BACK, _SET_AHEAD = timedelta(seconds=10), timedelta(minutes=10)


@dataclass(slots=True, kw_only=True)
class Service:
    """The parts of the service; pages and the API use it alone."""

    settings: Settings
    catalog: Catalog
    runner: Runner
    run_log: RunLog
    leadership: Leadership
    #: Gives aware UTC.
    now: Callable[[], datetime]
    #: Called with every run that has ended, also with ticks that were skipped.
    ended: list[Callable[[ActiveRun], None]] = field(default_factory=list)
    #: Called at every heartbeat.
    heartbeats: list[Callable[[], None]] = field(default_factory=list)
    pool: Pool = field(init=False)
    timetable: Timetable = field(init=False)
    #: Set when the process is about to end: answers that go on for long end then.
    closing: threading.Event = field(default_factory=threading.Event)
    #: The schedule's last heartbeat by the monotonic clock, which nobody can set.
    last_heartbeat: float = field(default_factory=time.monotonic)
    #: When it began to lead; without meaning while another service leads.
    led_at: datetime = field(init=False)
    _pruned_on: date | None = None
    #: The time by this machine's clock, and by the monotonic one, when they were compared last.
    _clocks: tuple[datetime, float] = field(init=False)
    _clock_lock: threading.Lock = field(default_factory=threading.Lock)
    #: Whether the clock was set back since the schedule was made.
    _was_set_back: bool = False
    _scheduled: ScheduledSyncs = field(init=False)

    def __post_init__(self) -> None:
        self.led_at = self.now()
        self._clocks = self.led_at, time.monotonic()
        self.timetable = Timetable(
            jitter=timedelta(seconds=self.settings.jitter), tick=self._tick, heartbeat=self._heartbeat
        )
        self._scheduled = ScheduledSyncs(
            timetable=self.timetable, catalog=self.catalog, run_log=self.run_log, now=self.now
        )
        self.pool = Pool(
            runner=self.runner,
            run_log=self.run_log,
            size=self.settings.pool_size,
            now=self.now,
            still_due=self.timetable.still_due,
            ended=self.ended,
        )

    @property
    def heartbeat_age(self) -> timedelta:
        """How long ago the schedule's last heartbeat was."""
        return timedelta(seconds=time.monotonic() - self.last_heartbeat)

    @property
    def leads(self) -> bool:
        """Whether this service runs the schedule and accepts orders; else it is on standby."""
        return self.leadership.term is not None

    def start(self) -> None:
        """Read the definitions, run the schedule unless another service leads, and accept orders.

        Raises:
            SyncerError: the run log or the folder of definitions cannot be used.
        """
        query.load_parser()
        self.catalog.open()
        self.pool.precedence = Precedence(self.catalog.current.definitions.values())
        self.pool.open()
        self._take_the_lead()
        self.timetable.start()

    def stop(self, by: str) -> bool:
        """Begin no more runs, let those that go on end after the batch in hand; returns whether all ended in time."""
        self.timetable.stop()
        all_ended = self.pool.close(by, self.settings.grace)
        if self.leads:
            log.info("this service leads no longer", extra={"term": self.leadership.term})
        self.leadership.release()
        return all_ended

    def follow_clock(self) -> None:
        """Go on after this machine's clock was set.

        After it was set back, the schedule would wait for the time it had; after it was set ahead, nothing is deleted
        for its age on that day: if the clock is wrong, runs are held until the next one.
        """
        with self._clock_lock:
            (before, since), self._clocks = self._clocks, (self.now(), time.monotonic())
            now, gone = self._clocks[0], timedelta(seconds=self._clocks[1] - since)
            if now > before + gone + _SET_AHEAD:
                self._pruned_on = now.date()
            if now < before + gone - _SET_BACK:
                log.warning("this machine's clock was set back; the schedule is made anew")
                self.led_at = min(self.led_at, now)
                self._was_set_back = True
                self.timetable.restart_heartbeat()

    def reload(self) -> frozenset[str]:
        """Take in what changed in the folder of definitions."""
        before = self.catalog.current.definitions
        names = self.catalog.reload()
        now = self.catalog.current.definitions
        for name in names & before.keys() & now.keys():
            if now[name].enabled and not before[name].enabled:
                self._scheduled.enabled_at[name] = self.now()
        if names:
            log.info("the definitions changed", extra={"syncs": sorted(names)})
            self.pool.precedence = Precedence(self.catalog.current.definitions.values())
            if self.leads:
                self._scheduled.take_in(names)
        return names

    def run_now(
        self, name: str, *, actor: str, trigger: Trigger = Trigger.API, options: RunOptions | None = None
    ) -> ActiveRun:
        """Order one run, which begins as soon as there is room; its id is known at once.

        Raises:
            SelectionError: there is no such sync.
            AlreadyActiveError: it has a run that waits or goes on.
            ClosedError: this service is stopping or on standby.
        """
        definition = self.definition(name)
        term = self.leadership.term
        if term is None:
            raise ClosedError(self._standing_by())
        other = self.pool.of(name)
        if other is not None:
            raise AlreadyActiveError(other)
        order = Order(trigger=trigger, actor=actor, term=term)
        at = self.now()
        try:
            order = replace(order, run_id=self.run_log.start(name, order, definition.hash, at))
        except OvertakenError:
            raise ClosedError(self._standing_by()) from None
        active = self._new_run(definition, order, options or RunOptions(), at)
        try:
            self.pool.submit(active)
        except (AlreadyActiveError, ClosedError):
            note = "another run of this sync was requested at the same moment, or the service was stopping"
            self.run_log.finish(order.run_id, RunStatus.SKIPPED, self.now(), notes=[note])
            raise
        return active

    def cancel(self, run_id: str, *, actor: str) -> ActiveRun | None:
        """Ask a run to end after the batch in hand; None where it has ended, or is not this service's."""
        active = self.active_run(run_id)
        by = f"stopped by {actor}"
        if active is not None and not self.pool.take_out(active, by):
            active.stop(by)
        return active

    def status(self, name: str) -> SyncStatus:
        """The status of one sync.

        Raises:
            SelectionError: there is none of that name.
        """
        found = self.statuses([self.definition(name).name])
        # The folder may have changed between the two looks.
        return found[0] if found else self.status(name)

    def statuses(self, names: Collection[str] | None = None) -> list[SyncStatus]:
        """The status of every sync, or of those of *names* that exist, by name."""
        current = self.catalog.current
        return statuses(
            current,
            current.definitions.keys() if names is None else names,
            run_log=self.run_log,
            next_due=self.timetable.next_due(),
            active_runs=self.pool.active_runs(),
            grace=timedelta(seconds=self.settings.alerts.late),
            now=self.now(),
        )

    def active_run(self, run_id: str) -> ActiveRun | None:
        """A run that waits or goes on."""
        return next((active for active in self.pool.active_runs() if active.run_id == run_id), None) if run_id else None

    def elsewhere(self, name: str) -> Run | None:
        """A run of a sync that another process makes, as far as the run log knows."""
        ours = {active.run_id for active in self.pool.active_runs()}
        return self._left_open.alive(name, except_for=ours)

    def plan(self, name: str, *, sample_rows: int) -> Plan:
        """Query and compare; sends and records nothing.

        Raises:
            SyncerError: as `Runner.plan`.
            StoppedError: the process is about to end.
        """
        progress = Progress(token=CancelToken(lambda: "the service is stopping" if self.closing.is_set() else ""))
        return self.runner.plan(self.definition(name), progress=progress, sample_rows=sample_rows)

    @property
    def lookup(self) -> Lookup:
        """What looks things up in the stores, with the definitions in force."""
        return Lookup(settings=self.settings, run_log=self.run_log, definitions=self.catalog.current.definitions)

    def pause(self, name: str) -> None:
        """Let no ticks of a sync come, over restarts too; a run that goes on is left alone."""
        self.run_log.pause(self.definition(name).name, self.now())
        log.info("paused", extra={"sync": name})
        self._scheduled.follow_pauses(leads=self.leads)

    def resume(self, name: str) -> None:
        """Let the ticks of a sync come again, from the next one on."""
        self.run_log.resume(self.definition(name).name)
        log.info("resumed", extra={"sync": name})
        self._scheduled.follow_pauses(leads=self.leads)

    def definition(self, name: str) -> SyncDefinition:
        """See `Catalog.find`."""
        return self.catalog.find(name)

    @property
    def _left_open(self) -> LeftOpen:
        return LeftOpen(settings=self.settings, runner=self.runner, run_log=self.run_log, now=self.now)

    def _new_run(self, definition: SyncDefinition, order: Order, options: RunOptions, at: datetime) -> ActiveRun:
        def watch() -> str:
            return "" if self.leadership.holds() and self.leadership.term == order.term else FENCED

        progress = Progress(token=CancelToken(watch))
        return ActiveRun(definition=definition, order=order, options=options, asked_at=at, progress=progress)

    def _standing_by(self) -> str:
        leader = self.leadership.leader()
        return f"this service stands by, as another one leads{f': {leader}' if leader else ''}"

    def _tick(self, tick: Tick) -> None:
        """Answer a tick: with a run, or with a record that it was skipped."""
        definition, term = self.catalog.get(tick.sync), self.leadership.term
        if definition is None or term is None or not self.leadership.holds():
            return
        order = Order(trigger=Trigger.SCHEDULE, due_at=tick.due_at, term=term)
        active = self._new_run(definition, order, RunOptions(), self.now())
        # What passed before this service led is one moment: people first, whatever their tick was.
        active.moment = max(tick.due_at, self.led_at)
        self._note_missed(active, tick)
        try:
            self.pool.submit(active)
        except AlreadyActiveError as exc:
            with suppress(OvertakenError):
                self._skip(active, exc.active_run)
        except ClosedError:
            return

    def _skip(self, active: ActiveRun, running: ActiveRun) -> None:
        since = f"since {running.began_at:%H:%M:%S} UTC" if running.began_at else "waiting to begin"
        note = f"not run, as the run before it is not over ({since})"
        self.pool.record_skipped(active, note)
        log.info("a tick is skipped: %s", note, extra={"sync": active.name, "run": active.run.id if active.run else ""})
        for listener in self.ended:
            listener(active)

    def _note_missed(self, active: ActiveRun, tick: Tick) -> None:
        answered = self.run_log.last_due([tick.sync]).get(tick.sync)
        if answered is not None:
            _, ticks = schedules.last_run_at(active.definition.schedule, after=answered, until=tick.due_at)
            if ticks > 1:
                missed = f"{ticks - 1} earlier ticks" if ticks > 2 else "an earlier tick"
                active.progress.notes.append(f"this run also stands for {missed} that passed while no service ran")

    def _heartbeat(self) -> None:
        self.last_heartbeat = time.monotonic()
        self.follow_clock()
        if not self.leadership.holds():
            self._take_the_lead()
        else:
            self._scheduled.follow_pauses(leads=self.leads)
            if self._was_set_back:
                self._scheduled.take_in(self.catalog.current.definitions)
                self._was_set_back = False
            if self.now().date() != self._pruned_on:
                self._pruned_on = self.now().date()
                retention.prune(self.settings, self.run_log, self.now())
        for listener in self.heartbeats:
            listener()

    def _take_the_lead(self) -> None:
        for name in self.timetable.names():
            self.timetable.remove(name)
        # What an older term of this service began ends first, or it would keep a sync from its tick.
        for active in self.pool.active_runs():
            if not self.pool.take_out(active, FENCED):
                active.stop(FENCED)
        if self.pool.active_runs() or not self.leadership.acquire():
            return
        term = self.leadership.term
        if term is None:
            return
        log.info("this service leads", extra={"term": term})
        self.led_at = self.now()
        self._left_open.interrupt(before=term)
        self._scheduled.begin()
        self._run_interrupted_again(term)

    def _run_interrupted_again(self, term: int) -> None:
        """Run once more what was interrupted in the middle, so that a daily sync need not wait for tomorrow."""
        for name in sorted(self.run_log.cut_off(self.catalog.current.definitions)):
            definition = self._scheduled.definition(name)
            if definition is not None and definition.catch_up is CatchUp.ONCE:
                order = Order(trigger=Trigger.SCHEDULE, term=term)
                active = self._new_run(definition, order, RunOptions(), self.now())
                active.progress.notes.append("this run makes up for the one before, which was interrupted")
                with suppress(AlreadyActiveError, ClosedError):
                    self.pool.submit(active)
