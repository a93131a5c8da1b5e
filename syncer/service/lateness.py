"""Which syncs are late, also of those that never ended well; ticks of a schedule that was off do not count."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from syncer.model.types import SyncDefinition
from syncer.service.service import Service
from syncer.service.status import Freshness, freshness

#: How long due runs may take to begin after a service became the leader.
_SETTLING = timedelta(seconds=120)


class Lateness:
    """What one observer has seen of a service's schedules; for one thread at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._grace = timedelta(seconds=service.settings.alerts.late)
        #: When each schedule was first seen to be on.
        self._on_since: dict[str, datetime] = {}
        self._looked_at = service.now()
        #: The syncs whose schedules were seen to be off before, such as paused ones.
        self._were_off: set[str] = set()

    def late(self, syncs: Iterable[tuple[SyncDefinition, datetime | None, bool]], now: datetime) -> set[str]:
        """The names of those syncs for which a tick and the grace have passed without a run that ended well.

        Shapes:
            syncs: each with when its newest run that ended well began, and whether it is paused.
        """
        if now < self._looked_at:
            # The clock was set back.
            self._on_since = {name: min(at, now) for name, at in self._on_since.items()}
        self._looked_at = now
        unclear = [sync for sync in syncs if self._may_be_late(*sync, now)]
        never_well = [definition.name for definition, ended_well, _ in unclear if ended_well is None]
        first = self._service.run_log.first_started(never_well) if never_well else {}
        found = set()
        for definition, ended_well, paused in unclear:
            anchor = self._due_after(definition.name, ended_well, first.get(definition.name))
            if freshness(definition, anchor, paused=paused, grace=self._grace, now=now) is Freshness.LATE:
                found.add(definition.name)
        return found

    def _may_be_late(self, sync: SyncDefinition, ended_well: datetime | None, paused: bool, now: datetime) -> bool:
        name = sync.name
        found = freshness(sync, ended_well, paused=paused, grace=self._grace, now=now)
        if found is Freshness.UNSCHEDULED:
            self._on_since.pop(name, None)
            self._were_off.add(name)
            return False
        self._on_since.setdefault(name, now)
        return found is not Freshness.FRESH and not self._is_settling(name, now)

    def _due_after(self, name: str, ended_well: datetime | None, first_started: datetime | None) -> datetime:
        """The moment after which a tick should have led to a run that ended well."""
        seen = self._on_since[name]
        if name in self._were_off:
            return seen if ended_well is None else max(seen, ended_well)
        return ended_well or min(seen, first_started or seen)

    def _is_settling(self, name: str, now: datetime) -> bool:
        """Whether this service became the leader only now, and may still catch up with what is due."""
        is_running = self._service.pool.of(name) is not None
        return now - self._service.led_at < (self._grace if is_running else min(self._grace, _SETTLING))
