"""When the syncs are due: APScheduler keeps the time, definitions have the schedules, the run log past ticks.

APScheduler 3.11 gets one time after the other from a trigger, and passes the last one that has come to an executor.
Its own cron and job stores are not used. See https://apscheduler.readthedocs.io/en/3.x/extending.html
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from syncer.definitions import schedules
from syncer.model.types import CatchUp, Every, Schedule, SyncDefinition

log = logging.getLogger(__name__)

#: Seconds between two looks at what comes without a tick: pauses, alerts.
HEARTBEAT_SECONDS = 2
_HEARTBEAT = " heartbeat"

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
        answered: the newest tick that has a run; None where there is none. Then an interval is due at once, and a cron
            expression at its next time.
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
                thread of the timetable's.
            heartbeat: called every HEARTBEAT_SECONDS, in the same thread.
        """
        self._jitter = jitter
        self._handing = _Handing(tick, heartbeat)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            daemon=True,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            executors={"default": self._handing},
        )
        self._scheduler.add_job(_nothing, IntervalTrigger(seconds=HEARTBEAT_SECONDS), id=_HEARTBEAT)

    def restart_heartbeat(self) -> None:
        """Let the next heartbeat come soon, whatever the clock said when the last one came."""
        self._scheduler.reschedule_job(_HEARTBEAT, trigger=IntervalTrigger(seconds=HEARTBEAT_SECONDS))

    def start(self) -> None:
        """Begin to tick."""
        self._scheduler.start()

    def stop(self) -> None:
        """Let no more ticks come."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

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
        return frozenset(job.id for job in self._scheduler.get_jobs()) - {_HEARTBEAT}

    def next_due(self) -> dict[str, datetime]:
        """The next tick of each sync that is scheduled, without its delay, aware UTC."""
        found = {}
        for job in self._scheduler.get_jobs():
            at = getattr(job, "next_run_time", None)
            if isinstance(job.trigger, Ticks) and at is not None:
                found[job.id] = (at - job.trigger.delay).astimezone(UTC)
        return found

    def still_due(self, due_at: datetime) -> frozenset[str]:
        """The syncs with a tick at or before *due_at* that `tick` was not called with yet."""
        due = [*self.next_due().items(), *self._handing.under_way.copy().items()]
        return frozenset(name for name, at in due if at <= due_at)


class _Handing(BaseExecutor):  # type: ignore[misc]
    """Passes ticks on with their times, which APScheduler's own executors do not.

    It does so in a thread of its own: the scheduler holds its lock meanwhile.
    """

    def __init__(self, tick: Callable[[Tick], None], heartbeat: Callable[[], None]) -> None:
        super().__init__()
        self._tick = tick
        self._heartbeat = heartbeat
        self._handed: queue.SimpleQueue[Tick | None] = queue.SimpleQueue()
        #: Ticks that are on their way, by sync.
        self.under_way: dict[str, datetime] = {}
        threading.Thread(target=self._take, name="ticks", daemon=True).start()

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        if job.id == _HEARTBEAT:
            self._handed.put(None)
        else:
            due_at = (run_times[-1] - job.trigger.delay).astimezone(UTC)
            self.under_way[job.id] = due_at
            self._handed.put(Tick(sync=job.id, due_at=due_at))
        self._instances[job.id] -= 1

    def _take(self) -> None:
        while True:
            tick = self._handed.get()
            try:
                if tick is None:
                    self._heartbeat()
                else:
                    self._tick(tick)
            except Exception:
                # One sync's fault, such as a run log that is away, must not end the ticks of the others.
                log.exception("a tick failed", extra={"sync": tick.sync if tick else ""})
            finally:
                if tick is not None and self.under_way.get(tick.sync) == tick.due_at:
                    del self.under_way[tick.sync]


def _nothing() -> None:
    """What APScheduler would call."""
