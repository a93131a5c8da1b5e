"""Which syncs the schedule has: those that are enabled and not paused, each from when its schedule was promised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from syncer.definitions import schedules
from syncer.model.types import Cron, Every, Manual, SyncDefinition
from syncer.service.catalog import Catalog
from syncer.service.timetable import Timetable
from syncer.state import promises
from syncer.state.runs import RunLog


@dataclass(slots=True, kw_only=True)
class ScheduledSyncs:
    """Keeps the timetable in line with the definitions and the pauses; any thread may call it."""

    timetable: Timetable
    catalog: Catalog
    run_log: RunLog
    #: Gives aware UTC.
    now: Callable[[], datetime]
    _paused: set[str] = field(default_factory=set)
    #: Up to when every tick of a sync was answered, or was not promised; None where an interval is due at once.
    _answered: dict[str, datetime | None] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def begin(self) -> None:
        """Schedule every sync, now that this service leads."""
        with self._lock:
            self._paused = self.run_log.paused()
            self.take_in(self.catalog.current.definitions)

    def take_in(self, names: Collection[str]) -> None:
        """Schedule these syncs anew, as their definitions are now.

        Raises:
            StateDatabaseError: the run log cannot be used; nothing has changed.
        """
        with self._lock:
            now = self.now()
            last_due = self.run_log.last_due(names, until=now)
            schedules_now = {name: self._schedule(name) for name in names}
            promised = promises.keep(self.run_log, schedules_now, now, answered=last_due)
            for name in names:
                definition, promise = self.definition(name), promised.get(name)
                if definition is None or promise is None:
                    self.timetable.remove(name)
                    self._answered.pop(name, None)
                    continue
                answered = last_due.get(name)
                is_due_at_once = answered is None and promise.at_once and isinstance(definition.schedule, Every)
                self._answered[name] = None if is_due_at_once else max(promise.since, answered or promise.since)
                self.timetable.set(definition, answered=self._answered[name], now=now)

    def follow_pauses(self) -> None:
        """Take in what the command line, or another thread, paused and resumed."""
        with self._lock:
            before, self._paused = self._paused, self.run_log.paused()
            changed = before ^ self._paused
            if not changed:
                return
            try:
                self.take_in(changed)
            except BaseException:
                # The next look finds the change again.
                self._paused = before
                raise

    def definition(self, name: str) -> SyncDefinition | None:
        """The definition of a sync that is enabled and not paused."""
        definition = self.catalog.get(name)
        return definition if definition is not None and definition.enabled and name not in self._paused else None

    def answered(self, name: str) -> datetime | None:
        """Up to when every tick of a sync was answered, or was not promised, when it was scheduled."""
        return self._answered.get(name)

    def _schedule(self, name: str) -> str | None:
        """The schedule of a sync, as it is promised; empty where there is none now."""
        if self.catalog.get(name) is None:
            return None
        definition = self.definition(name)
        if definition is None or isinstance(definition.schedule, Manual):
            return ""
        schedule = definition.schedule
        zone = f" {schedule.timezone}" if isinstance(schedule, Cron) else ""
        return f"{schedules.text(schedule)}{zone}"
