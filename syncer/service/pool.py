"""The runs of the service: which wait, which go on side by side, and in which order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime

from syncer.definitions.order import Precedence, Turns
from syncer.model.errors import StateDatabaseError, SyncerError
from syncer.model.spelling import listed
from syncer.model.types import ENDED_WELL, EndedBy, Order, Run, RunStatus, SyncDefinition, Trigger
from syncer.observability import logs
from syncer.state.runs import OvertakenError, RunLog, TickAnsweredError
from syncer.sync.progress import Progress, RunOptions
from syncer.sync.runner import Runner

log = logging.getLogger(__name__)

#: The level of the log line about a run that ended so.
_LEVELS = {RunStatus.FAILED: logging.ERROR, RunStatus.HELD: logging.WARNING, RunStatus.WARNING: logging.WARNING}

#: Seconds after which a waiting run checks again whether it may begin, without a notification.
_LOOK_AGAIN = 1.0

#: Seconds after which a run is tried again that could not begin, as the run log could not be used.
_TRY_AGAIN = 1.0

#: What the run log says of a run whose service was overtaken.
FENCED = "stopped, as this service leads no longer"


@dataclass(slots=True, kw_only=True, eq=False)
class ActiveRun:
    """One run from its order to its end."""

    #: The newest when it began.
    definition: SyncDefinition
    order: Order
    options: RunOptions
    #: Aware UTC.
    asked_at: datetime
    progress: Progress = field(default_factory=Progress)
    #: The moment whose runs are ordered among each other, aware UTC; None for a run that is no tick's.
    moment: datetime | None = None
    #: None while it waits for room, or for another sync.
    began_at: datetime | None = None
    #: By the monotonic clock, before which it does not begin.
    not_before: float = 0.0
    #: How it ended; None also where it never began.
    run: Run | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        """The sync's."""
        return self.definition.name

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.order.run_id or self.progress.run_id

    @property
    def is_stopped(self) -> bool:
        """Whether it is to stop."""
        return self.progress.token.is_cancelled

    @property
    def ended_by(self) -> EndedBy:
        """Who or what ends it, if it is interrupted."""
        token = self.progress.token
        return token.ended_by if token.reason else EndedBy.CRASH

    def stop(self, why: str, by: EndedBy) -> None:
        """Make the run stop; *why* is for the run log, such as `stopped by ann`."""
        self.progress.token.cancel(why, by)


class AlreadyActiveError(Exception):
    """The sync has a run that waits or goes on."""

    def __init__(self, active: ActiveRun) -> None:
        super().__init__(active.name)
        self.active_run = active


class ClosedError(Exception):
    """The service is stopping, or does not lead: it takes no more runs. Its text is the reason."""


@dataclass(slots=True, kw_only=True)
class Pool:
    """Runs side by side, at most one of a sync; of those that wait for no other, the highest priority goes first.

    Of the same priority: first come, first served.
    """

    runner: Runner
    run_log: RunLog
    size: int
    now: Callable[[], datetime]
    #: The first tick of each sync whose run is not here yet.
    still_due: Callable[[], Mapping[str, datetime]] = dict
    #: The definition with which a run that waited begins, or why it does not begin any more.
    newest: Callable[[ActiveRun], SyncDefinition | str] = lambda active: active.definition
    #: Changes with the definitions.
    precedence: Precedence = field(default_factory=lambda: Precedence([]))
    #: Called with every run that has ended, in the order they end.
    ended: list[Callable[[ActiveRun], None]] = field(default_factory=list)
    #: By sync, in the order of their orders.
    _active: dict[str, ActiveRun] = field(default_factory=dict)
    #: The moment of each sync's last run here, and whether that ended well.
    _last: dict[str, tuple[datetime | None, bool]] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closed: bool = False
    #: The ids of runs that have ended here, and whose end the run log does not have, with who or what ended each.
    _unrecorded: dict[str, EndedBy] = field(default_factory=dict)

    @property
    def is_alive(self) -> bool:
        """Whether every thread is alive that runs need."""
        return self._closed or all(thread.is_alive() for thread in self._threads)

    def open(self) -> None:
        """Begin to take runs."""
        for number in range(self.size):
            thread = threading.Thread(target=self._work, name=f"run {number + 1}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def submit(self, active: ActiveRun) -> None:
        """Let a run begin as soon as it may.

        Raises:
            AlreadyActiveError: the sync has one that waits or goes on.
            ClosedError: no more runs are taken.
        """
        with self._changed:
            if self._closed:
                raise ClosedError("this service is stopping")
            other = self._active.get(active.name)
            if other is not None:
                raise AlreadyActiveError(other)
            self._active[active.name] = active
            self._changed.notify_all()

    def active_runs(self) -> list[ActiveRun]:
        """The runs that wait or go on, in the order of their orders."""
        with self._changed:
            return list(self._active.values())

    def of(self, name: str) -> ActiveRun | None:
        """The run of a sync that waits or goes on."""
        with self._changed:
            return self._active.get(name)

    def close(self, why: str, seconds: float) -> bool:
        """Begin no more runs, let those that go on end after the batch in hand, and wait so long for them.

        Shapes:
            why: for the run log, why they stop.
            returns: whether all have ended.
        """
        with self._changed:
            self._closed = True
            waiting = [active for active in self._active.values() if active.began_at is None]
            going_on = [active for active in self._active.values() if active.began_at is not None]
            self._active = {active.name: active for active in going_on}
            self._changed.notify_all()
        for active in going_on:
            active.stop(why, EndedBy.SHUTDOWN)
        for active in waiting:
            self._abandon(active, why, EndedBy.SHUTDOWN)
        with self._changed:
            return self._changed.wait_for(lambda: not self._active, timeout=seconds)

    def take_out(self, active: ActiveRun, why: str, by: EndedBy) -> bool:
        """End a run that waits before it begins; returns whether it did wait."""
        with self._changed:
            if self._active.get(active.name) is not active or active.began_at is not None:
                return False
            del self._active[active.name]
            self._changed.notify_all()
        self._abandon(active, why, by)
        return True

    def record_ends(self) -> bool:
        """Record the end of runs whose own record of it failed; returns whether there were any.

        Raises:
            StateDatabaseError: the run log still cannot be used.
        """
        with self._changed:
            unrecorded = self._unrecorded.copy()
        for run_id, by in unrecorded.items():
            self.run_log.interrupt(run_id, self.now(), by=by)
        with self._changed:
            for run_id in unrecorded:
                del self._unrecorded[run_id]
        return bool(unrecorded)

    def _work(self) -> None:
        while True:
            with self._changed:
                while (active := self._next()) is None:
                    if self._closed:
                        return
                    self._changed.wait(_LOOK_AGAIN)
                active.began_at = self.now()
            try:
                self._run(active)
            except Exception:
                # Without its threads the service would run nothing.
                log.exception("a run ended with an error")

    def _next(self) -> ActiveRun | None:
        return next(self._due(), None)

    def _due(self) -> Iterator[ActiveRun]:
        """Those that wait and need not wait any longer, the highest priority first."""
        waiting = [active for active in self._active.values() if self._waits(active)]
        if not waiting:
            return
        runs = [(active.name, active.moment) for active in self._active.values()]
        turns = Turns(self.precedence, runs, self.still_due())
        waiting.sort(key=lambda active: -self.precedence.priority(active.name))
        yield from (active for active in waiting if turns.has_come(active.name, active.moment))

    def _waits(self, active: ActiveRun) -> bool:
        return active.began_at is None and active.not_before <= time.monotonic()

    def _run(self, active: ActiveRun) -> None:
        with logs.about(active):
            try:
                self._begin(active)
            except TickAnsweredError:
                log.info("another service ran this tick")
            except OvertakenError:
                log.info("another service leads by now")
            except StateDatabaseError as exc:
                if not active.progress.run_id:
                    log.warning("the run begins later: %s", exc)
                    self._put_back(active)
                    return
                self._keep_in_mind(active, exc, active.ended_by)
            except SyncerError as exc:
                self._keep_in_mind(active, exc, active.ended_by)
            except Exception as exc:
                log.exception("the run could not be recorded")
                self._keep_in_mind(active, exc, active.ended_by)
            self._end(active)

    def _begin(self, active: ActiveRun) -> None:
        if self._may_begin(active):
            found, order = active.definition, active.order
            active.run = self.runner.run(found, order=order, options=active.options, progress=active.progress)

    def _may_begin(self, active: ActiveRun) -> bool:
        """Give a run the definition as it is now; or record why it does not begin."""
        found = self.newest(active)
        if isinstance(found, str):
            self.record_skipped(active, found)
            return False
        active.definition = found
        if failed := self._failed_before(active):
            reason = f"not run, as it depends on {listed(failed, last='and')}, which did not end well"
            self.record_skipped(active, reason)
        return not failed

    def _put_back(self, active: ActiveRun) -> None:
        """Let a run wait again that could not begin."""
        with self._changed:
            active.began_at, active.not_before = None, time.monotonic() + _TRY_AGAIN
            is_closed = self._closed
            if is_closed:
                del self._active[active.name]
            self._changed.notify_all()
        if is_closed:
            self._abandon(active, active.progress.token.reason, EndedBy.SHUTDOWN)

    def _keep_in_mind(self, active: ActiveRun, exc: Exception, by: EndedBy) -> None:
        if isinstance(exc, SyncerError):
            log.warning("the end of the run is recorded later: %s", exc)
        with self._changed:
            self._unrecorded[active.run_id] = by

    def _failed_before(self, active: ActiveRun) -> list[str]:
        """What this tick's run depends on and did not end well at the same tick."""
        if active.moment is None:
            return []
        return [name for name in active.definition.depends_on if self._last.get(name) == (active.moment, False)]

    def record_skipped(self, active: ActiveRun, reason: str) -> None:
        """Record that a run does not begin, and why.

        Raises:
            TickAnsweredError, OvertakenError: as `RunLog.record_skipped`.
        """
        about = active.name, active.order, active.definition.hash, active.began_at or self.now()
        run_id = self.run_log.record_skipped(*about, note=reason, noted=active.progress.notes)
        active.run = self.run_log.get(run_id)

    def _abandon(self, active: ActiveRun, why: str, by: EndedBy) -> None:
        """End a run that never began. One of the schedule stays queued, unless a person ended it: a leader runs it."""
        if active.run_id and (by is EndedBy.PERSON or active.order.trigger is not Trigger.SCHEDULE):
            try:
                self.run_log.finish(active.run_id, RunStatus.INTERRUPTED, self.now(), error=why, ended_by=by)
                active.run = self.run_log.get(active.run_id)
            except StateDatabaseError as exc:
                self._keep_in_mind(active, exc, by)
        active.ended.set()

    def _end(self, active: ActiveRun) -> None:
        """Make room, whatever the run log says, and then tell those who listen."""
        if active.run is None and active.run_id:
            try:
                run = self.run_log.get(active.run_id)
                active.run = run if run is not None and run.finished_at else None
            except StateDatabaseError as exc:
                log.warning("the end of the run cannot be read: %s", exc)
        with self._changed:
            self._active.pop(active.name, None)
            well = active.run is not None and active.run.status in ENDED_WELL
            self._last[active.name] = (active.moment, well)
            self._changed.notify_all()
        active.ended.set()
        if active.run is not None:
            _log_end(active.run)
        self.announce(active)

    def announce(self, active: ActiveRun) -> None:
        """Call those who listen for runs that have ended."""
        for listener in self.ended:
            try:
                listener(active)
            except Exception:
                log.exception("what follows a run failed")


def _log_end(run: Run) -> None:
    seconds = round((run.finished_at - run.started_at).total_seconds(), 3) if run.finished_at else None
    fields: dict[str, object] = {"status": run.status.value, "seconds": seconds, **asdict(run.counts)}
    if error := run.error or run.cause:
        fields["error"] = str(error)
    log.log(_LEVELS.get(run.status, logging.INFO), "the run ended", extra=fields)
