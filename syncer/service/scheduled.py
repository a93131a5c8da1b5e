"""Which syncs the schedule has: those that are enabled and not paused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from syncer.model.types import SyncDefinition
from syncer.service.catalog import Catalog
from syncer.service.timetable import Timetable
from syncer.state.runs import RunLog


@dataclass(slots=True, kw_only=True)
class ScheduledSyncs:
    """Keeps the timetable in line with the definitions and the pauses; any thread may call it."""

    timetable: Timetable
    catalog: Catalog
    run_log: RunLog
    #: Gives aware UTC.
    now: Callable[[], datetime]
    #: When a sync that had been disabled was enabled.
    enabled_at: dict[str, datetime] = field(default_factory=dict)
    _paused: set[str] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def begin(self) -> None:
        """Schedule every sync, now that this service leads."""
        self._paused = self.run_log.paused()
        self.take_in(self.catalog.current.definitions)

    def take_in(self, names: Collection[str]) -> None:
        """Schedule these syncs anew, as their definitions are now."""
        with self._lock:
            answered = self.run_log.last_due(names)
            for name in names:
                definition = self.definition(name)
                if definition is None:
                    self.timetable.remove(name)
                else:
                    self.timetable.set(definition, answered=self._answered(name, answered.get(name)), now=self.now())

    def follow_pauses(self, *, leads: bool) -> None:
        """Take in what the command line, or another thread, paused and resumed."""
        with self._lock:
            paused = self.run_log.paused()
            resumed, self._paused = self._paused - paused, paused
            for name in paused:
                self.timetable.remove(name)
            for name in resumed:
                definition = self.definition(name)
                if definition is not None and leads:
                    # What passed while it was paused was not meant to run.
                    self.timetable.set(definition, answered=self.now(), now=self.now())

    def definition(self, name: str) -> SyncDefinition | None:
        """The definition of a sync that is enabled and not paused."""
        definition = self.catalog.get(name)
        return definition if definition is not None and definition.enabled and name not in self._paused else None

    def _answered(self, name: str, last: datetime | None) -> datetime | None:
        """The moment up to which no tick is made up for: none that passed while the sync was disabled."""
        enabled_at = self.enabled_at.get(name)
        return max(last, enabled_at) if last and enabled_at else last
