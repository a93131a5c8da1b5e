"""When the syncs are due: APScheduler keeps the time, definitions have the schedules, the run log past ticks.

APScheduler 3.11 gets one time after the other from a trigger, and passes the last one that has come to an executor.
Its own cron and job stores are not used. See https://apscheduler.readthedocs.io/en/3.x/extending.html
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from syncer.definitions import schedules
from syncer.model.errors import SyncerError
from syncer.model.types import CatchUp, Every, Schedule, SyncDefinition

log = logging.getLogger(__name__)

#: Seconds between two looks at what comes without a tick: pauses, alerts. By the monotonic clock, which nobody can set.
HEARTBEAT_SECONDS = 2.0

#: Seconds that each thread is given to end.
_STOP_SECONDS = 2.0

#: Seconds after which a tick that could not be answered is tried again, at first and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0

#: The longest delay of an interval's ticks, as a part of the interval.
_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A moment at which a sync is due."""

    sync: str
    #: By the schedule, aware UTC.
    due_at: datetime


class Ticks(BaseTrigger):  # type: ignore[misc]
    """APScheduler's trigger for one sync: each tick of its schedule, later by the sync's delay."""

    def __init__(self, schedule: Schedule, delay: timedelta, first: datetime | None) -> None:
        """*first*: the moment of the first tick, without the delay; None where there is none."""
        self.schedule = schedule
        self.delay = delay
        self.first = first

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """See APScheduler: pure, aware."""
        if previous_fire_time is None:
            at = self.first
        else:
            at = schedules.next_run_at(self.schedule, after=previous_fire_time - self.delay)
        return None if at is None else at + self.delay


def delay_of(name: str, schedule: Schedule, jitter: timedelta) -> timedelta:
    """The delay of a sync's ticks: always the same, from none to *jitter*, spread over the names."""
    longest = min(jitter, schedule.interval * _SHARE) if isinstance(schedule, Every) else jitter
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
    return timedelta(seconds=round(longest.total_seconds() * share, 3))


def first_tick(definition: SyncDefinition, *, answered: datetime | None, now: datetime) -> datetime | None:
    """The first tick to wait for: one that passed unanswered, else the next.

    Shapes:
        answered: up to when every tick is answered, or was not promised; None where an interval is due at once.
    """
    schedule = definition.schedule
    if definition.catch_up is CatchUp.ONCE:
        if answered is None and isinstance(schedule, Every):
            answered = now - schedule.interval
        missed, _ = schedules.last_run_at(schedule, after=answered or now, until=now)
        if missed is not None:
            return missed
    return schedules.next_run_at(schedule, after=now)


class Timetable:
    """The ticks of all syncs that are scheduled; used by one thread beside the scheduler's own."""

    def __init__(self, *, jitter: timedelta, tick: Callable[[Tick], None], heartbeat: Callable[[], None]) -> None:
        """Nothing is due yet.

        Shapes:
            tick: called for each tick, the last one where several passed unseen; one call after the other, in a
                thread of the timetable's. If it raises an error, it is called again, until a newer tick comes.
            heartbeat: called every HEARTBEAT_SECONDS, in another thread.
        """
        self._jitter = jitter
        self._handing = _Handing(tick)
        self._heartbeat = heartbeat
        self._stopped = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            daemon=True,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            executors={"default": self._handing},
        )

    def start(self) -> None:
        """Begin to tick."""
        self._scheduler.start()
        self._beating.start()

    @property
    def is_alive(self) -> bool:
        """Whether every thread is alive that ticks need."""
        if self._stopped.is_set() or self._beating.ident is None:
            return True
        scheduling = self._scheduler._thread
        return all(thread.is_alive() for thread in (self._handing.thread, self._beating, scheduling))

    def stop(self) -> None:
        """Let no more ticks come."""
        self._stopped.set()
        self._handing.stop()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        # What they are about to write is written, if the run log takes it.
        for thread in (self._beating, self._handing.thread):
            if thread.is_alive():
                thread.join(_STOP_SECONDS)

    def set(self, definition: SyncDefinition, *, answered: datetime | None, now: datetime) -> None:
        """Schedule a sync, in place of how it was scheduled before; *answered* as for `first_tick`."""
        first = first_tick(definition, answered=answered, now=now)
        if first is None:
            self.remove(definition.name)
            return
        delay = delay_of(definition.name, definition.schedule, self._jitter)
        self._scheduler.add_job(
            _nothing, Ticks(definition.schedule, delay, first), id=definition.name, replace_existing=True
        )

    def remove(self, name: str) -> None:
        """Schedule a sync no longer."""
        try:
            self._scheduler.remove_job(name)
        except JobLookupError:
            return

    def names(self) -> frozenset[str]:
        """The syncs that are scheduled."""
        return frozenset(job.id for job in self._scheduler.get_jobs())

    def next_due(self) -> dict[str, datetime]:
        """The next tick of each sync that is scheduled, without its delay, aware UTC."""
        found = {}
        for job in self._scheduler.get_jobs():
            at = getattr(job, "next_run_time", None)
            if isinstance(job.trigger, Ticks) and at is not None:
                found[job.id] = (at - job.trigger.delay).astimezone(UTC)
        return found

    def still_due(self) -> dict[str, datetime]:
        """The first tick of each sync that `tick` was not called with, aware UTC; it may be yet to come."""
        found = self.next_due()
        for name, at in self._handing.under_way().items():
            found[name] = min(at, found.get(name, at))
        return found

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            try:
                # It waits for a time of the clock, which may have been set.
                self._scheduler.wakeup()
                self._heartbeat()
            except SyncerError as exc:
                log.warning("a heartbeat failed: %s", exc)
            except Exception:
                log.exception("a heartbeat failed")


class _Handing(BaseExecutor):  # type: ignore[misc]
    """Passes ticks on with their times, which APScheduler's own executors do not.

    It does so in a thread of its own: the scheduler holds its lock meanwhile.
    """

    def __init__(self, tick: Callable[[Tick], None]) -> None:
        super().__init__()
        self._tick = tick
        #: The newest tick of each sync that was not answered, in the order they came.
        self._waiting: dict[str, Tick] = {}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self.thread = threading.Thread(target=self._take, name="ticks", daemon=True)
        self.thread.start()

    def under_way(self) -> dict[str, datetime]:
        """The ticks that are on their way, by sync."""
        with self._changed:
            return {name: tick.due_at for name, tick in self._waiting.items()}

    def stop(self) -> None:
        """Pass on no more."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()

    def offer(self, tick: Tick) -> None:
        """Pass on a tick, until it is answered or a newer one of its sync comes."""
        with self._changed:
            self._waiting[tick.sync] = tick
            self._changed.notify_all()

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        self.offer(Tick(sync=job.id, due_at=(run_times[-1] - job.trigger.delay).astimezone(UTC)))
        self._instances[job.id] -= 1

    def _take(self) -> None:
        pause = FIRST_PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped.is_set())
                if self._stopped.is_set():
                    return
                tick = next(iter(self._waiting.values()))
            if self._is_answered(tick):
                pause = FIRST_PAUSE
            elif not self._stopped.wait(pause):
                pause = min(2 * pause, LONGEST_PAUSE)

    def _is_answered(self, tick: Tick) -> bool:
        """Try to answer a tick; one that was not is tried again, after the others."""
        try:
            self._tick(tick)
        except Exception as exc:
            # One sync's fault, or a run log that is away, must not end the ticks of the others.
            if isinstance(exc, SyncerError):
                log.warning("a tick is tried again: %s", exc, extra={"sync": tick.sync})
            else:
                log.exception("a tick failed, and is tried again", extra={"sync": tick.sync})
            with self._changed:
                if self._waiting.get(tick.sync) == tick:
                    self._waiting[tick.sync] = self._waiting.pop(tick.sync)
            return False
        with self._changed:
            if self._waiting.get(tick.sync) == tick:
                del self._waiting[tick.sync]
        return True


def _nothing() -> None:
    """What APScheduler would call."""
