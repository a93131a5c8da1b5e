"""The service: its parts, and what pages, the API and the schedule do with it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncer.definitions.order import Precedence
from syncer.model.errors import StateDatabaseError
from syncer.model.types import Order, Run, SyncDefinition, Trigger
from syncer.service.catalog import Catalog
from syncer.service.leader import Leader
from syncer.service.leadership import Leadership
from syncer.service.left_open import LeftOpen
from syncer.service.pool import ActiveRun, AlreadyActiveError, ClosedError, Pool
from syncer.service.pruning import DailyPruning
from syncer.service.remote_runs import RemoteRuns, pool_for
from syncer.service.scheduled import ScheduledSyncs
from syncer.service.status import SyncStatus, statuses
from syncer.service.timetable import Timetable
from syncer.settings.settings import Settings
from syncer.state.runs import OvertakenError, RunLog
from syncer.sync.kept_plans import KeptPlans
from syncer.sync.lookup import Lookup
from syncer.sync.plans import Plan
from syncer.sync.progress import CancelToken, Progress, RunOptions
from syncer.sync.runner import Runner

log = logging.getLogger(__name__)

#: A clock that goes back, or ahead, by less is only corrected.
_SET_BACK, _SET_AHEAD = timedelta(seconds=10), timedelta(minutes=10)

#: Clocks are looked at every second; a process that did not look for longer was stopped, or its machine was.
_STOOD_STILL = timedelta(seconds=10)


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
    leader: Leader = field(init=False)
    _pruning: DailyPruning = field(init=False)
    #: The time by this machine's clock, and by the monotonic one, when they were compared last.
    _clocks: tuple[datetime, float] = field(init=False)
    _clock_lock: threading.Lock = field(default_factory=threading.Lock)
    #: Whether the schedule has to be made anew, as the clock was set back, or a change could not be taken in.
    _is_outdated: bool = False
    _scheduled: ScheduledSyncs = field(init=False)

    def __post_init__(self) -> None:
        self._clocks = self.now(), time.monotonic()
        self._pruning = DailyPruning(settings=self.settings, run_log=self.run_log)
        self.timetable = Timetable(
            jitter=timedelta(seconds=self.settings.jitter),
            tick=lambda tick: self.leader.answer(tick),
            heartbeat=self._heartbeat,
        )
        self._scheduled = ScheduledSyncs(
            timetable=self.timetable, catalog=self.catalog, run_log=self.run_log, now=self.now
        )
        self.pool = pool_for(self.settings, self.run_log.database)(
            runner=self.runner,
            run_log=self.run_log,
            size=self.settings.pool_size,
            now=self.now,
            still_due=self.timetable.still_due,
            newest=self._newest,
            ended=self.ended,
        )
        self.leader = Leader(
            leadership=self.leadership,
            catalog=self.catalog,
            run_log=self.run_log,
            pool=self.pool,
            timetable=self.timetable,
            scheduled=self._scheduled,
            left_open=self._left_open,
            now=self.now,
            led_at=self.now(),
        )

    @property
    def heartbeat_age(self) -> timedelta:
        """How long ago the schedule's last heartbeat was."""
        return timedelta(seconds=time.monotonic() - self.last_heartbeat)

    @property
    def leads(self) -> bool:
        """Whether this service runs the schedule and accepts orders; else it is on standby, or about to lead."""
        return self.leader.term is not None

    @property
    def remote_runs(self) -> RemoteRuns | None:
        """The runs that workers make; None where this service makes its own."""
        return self.pool if isinstance(self.pool, RemoteRuns) else None

    @property
    def led_at(self) -> datetime:
        """When it began to lead; without meaning while another service leads."""
        return self.leader.led_at

    @property
    def is_alive(self) -> bool:
        """Whether every thread is alive that ticks and runs need."""
        return self.pool.is_alive and self.timetable.is_alive

    @property
    def is_ready(self) -> bool:
        """Whether it leads with a complete schedule, or stands by for a service that leads."""
        return self.leads if self.leadership.term is not None else bool(self.leadership.leader())

    def start(self) -> None:
        """Read the definitions, run the schedule unless another service leads, and accept orders.

        Raises:
            SyncerError: the run log or the folder of definitions cannot be used.
        """
        self.catalog.open()
        self.pool.precedence = Precedence(self.catalog.current.definitions.values())
        self.pool.open()
        self.leader.look()
        self.timetable.start()

    def stop(self, by: str) -> bool:
        """Begin no more runs, let those that go on end after the batch in hand; returns whether all ended in time."""
        self.timetable.stop()
        all_ended = self.pool.close(by, self.settings.grace)
        if self.leadership.term is not None:
            log.info("this service leads no longer", extra={"term": self.leadership.term})
        self.leadership.release()
        self._pruning.end()
        return all_ended

    def follow_clock(self) -> None:
        """Go on after this machine's clock was set.

        After it was set back, the schedule would wait for the time it had; after it was set ahead, nothing is deleted
        for its age on that day: if the clock is wrong, runs are held until the next one.
        """
        with self._clock_lock:
            (before, since), self._clocks = self._clocks, (self.now(), time.monotonic())
            now, gone = self._clocks[0], timedelta(seconds=self._clocks[1] - since)
            if gone > _STOOD_STILL:
                # The whole process did, and not its schedule alone.
                self.last_heartbeat += gone.total_seconds()
            if now > before + gone + _SET_AHEAD:
                self._pruning.leave_out(now.date())
            if now < before + gone - _SET_BACK:
                log.warning("this machine's clock was set back; the schedule is made anew")
                self.leader.led_at = min(self.leader.led_at, now)
                self._is_outdated = True

    def reload(self) -> frozenset[str]:
        """Take in what changed in the folder of definitions."""
        names = self.catalog.reload()
        if names:
            log.info("the definitions changed", extra={"syncs": sorted(names)})
            self.pool.precedence = Precedence(self.catalog.current.definitions.values())
            try:
                if self.leads:
                    self._scheduled.take_in(names)
            except StateDatabaseError as exc:
                log.warning("the schedule follows the definitions later: %s", exc)
                self._is_outdated = True
        return names

    def run_now(
        self,
        name: str,
        *,
        actor: str,
        trigger: Trigger = Trigger.API,
        options: RunOptions | None = None,
        request: str = "",
    ) -> ActiveRun:
        """Order one run, which begins as soon as there is room; its id is known at once.

        Shapes:
            request: as for `RunLog.accept`.
        Raises:
            SelectionError: there is no such sync.
            AlreadyActiveError: it has a run that waits or goes on.
            ClosedError: this service is stopping or on standby.
        """
        definition, term = self.definition(name), self.leader.term
        if term is None:
            raise ClosedError(self._standing_by())
        other = self.pool.of(name)
        if other is not None:
            raise AlreadyActiveError(other)
        order = Order(trigger=trigger, actor=actor, term=term)
        active = self.leader.new_run(definition, order, options or RunOptions(), self.now())
        try:
            self.leader.accept(active, request=request)
        except OvertakenError:
            raise ClosedError(self._standing_by()) from None
        return active

    def cancel(self, run_id: str, *, actor: str) -> ActiveRun | None:
        """Ask a run to end after the batch in hand; None where it has ended, or is not this service's."""
        active = self.active_run(run_id)
        if active is not None:
            self.leader.cancel(active, actor)
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

    def plan(self, name: str, *, sample_rows: int, keep: bool = False) -> Plan:
        """Query and compare; sends and records nothing. *keep*: also keep the plan, for a run.

        Raises:
            SyncerError: as `Runner.plan`.
            StoppedError: the process is about to end.
        """
        progress = Progress(token=CancelToken(lambda: "the service is stopping" if self.closing.is_set() else ""))
        also = {"also": self.plans.keep} if keep else {}
        return self.runner.plan(self.definition(name), progress=progress, sample_rows=sample_rows, **also)

    @property
    def plans(self) -> KeptPlans:
        """The plans that are kept."""
        return KeptPlans.of(self.settings, self.now, lambda: self.run_log.database)

    @property
    def lookup(self) -> Lookup:
        """What looks things up in the stores, with the definitions in force."""
        return Lookup(settings=self.settings, run_log=self.run_log, definitions=self.catalog.current.definitions)

    def pause(self, name: str) -> None:
        """Let no ticks of a sync come, over restarts too; a run that goes on is left alone."""
        self.run_log.pause(self.definition(name).name, self.now())
        log.info("paused", extra={"sync": name})
        self._follow_pauses()

    def resume(self, name: str) -> None:
        """Let the ticks of a sync come again, from the next one on."""
        self.run_log.resume(self.definition(name).name, self.now())
        log.info("resumed", extra={"sync": name})
        self._follow_pauses()

    def definition(self, name: str) -> SyncDefinition:
        """See `Catalog.find`."""
        return self.catalog.find(name)

    @property
    def _left_open(self) -> LeftOpen:
        return LeftOpen(settings=self.settings, runner=self.runner, run_log=self.run_log, now=self.now)

    def _follow_pauses(self) -> None:
        if self.leads:
            self._scheduled.follow_pauses()

    @property
    def is_about_to_lead(self) -> bool:
        """Whether it does not lead yet, or not any more, and no other service does as far as the run log knows."""
        return self.leadership.term is not None or self.leadership.leader() == self.leadership.holder

    def _standing_by(self) -> str:
        if self.is_about_to_lead:
            return "this service is about to lead"
        leader = self.leadership.leader()
        return f"this service stands by, as another one leads{f': {leader}' if leader else ''}"

    def _newest(self, active: ActiveRun) -> SyncDefinition | str:
        """The definition with which a run begins that waited, or why it does not begin any more."""
        definition = self.catalog.get(active.name)
        if definition is None:
            return "not run, as its definition was removed while it waited"
        if active.order.trigger is Trigger.SCHEDULE:
            if not definition.enabled:
                return "not run, as the sync was disabled while it waited"
            if active.name in self.run_log.paused():
                return "not run, as the sync was paused while it waited"
        return definition

    def _heartbeat(self) -> None:
        self.last_heartbeat = time.monotonic()
        self.follow_clock()
        self.leader.look()
        self.last_heartbeat = time.monotonic()
        if self._is_outdated and self.leads:
            self._scheduled.take_in(self.catalog.current.definitions)
            self._is_outdated = False
        if self.leads:
            # By a time that was compared: the clock may have been set since.
            self._pruning.begin(self._clocks[0])
        for listener in self.heartbeats:
            listener()
