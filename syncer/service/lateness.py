"""Which syncs are late, also of those that never ended well; what passed while nothing was promised is forgiven."""

from __future__ import annotations

from datetime import datetime, timedelta

from syncer.model.types import SyncDefinition
from syncer.service.service import Service
from syncer.service.status import Freshness, freshness

#: A service that begins to lead gives what is due so long to begin.
_SETTLING = timedelta(seconds=120)


class Lateness:
    """What one observer of a service has seen of its schedules; used by one thread at a time."""

    def __init__(self, service: Service) -> None:
        """Nothing was seen yet."""
        self._service = service
        self._grace = timedelta(seconds=service.settings.alerts.late)
        #: Since when each schedule was seen to be kept.
        self._kept_since: dict[str, datetime] = {}
        #: The syncs whose schedules were seen not to be kept before, as those that were paused.
        self._begun_again: set[str] = set()

    def is_late(self, definition: SyncDefinition, ended_well: datetime | None, *, paused: bool, now: datetime) -> bool:
        """Whether a tick and the time of grace have passed without a run that ended well.

        Shapes:
            ended_well: when the newest run that ended well began.
        """
        name = definition.name
        found = freshness(definition, ended_well, paused=paused, grace=self._grace, now=now)
        if found is Freshness.UNSCHEDULED:
            self._kept_since.pop(name, None)
            self._begun_again.add(name)
            return False
        since = self._kept_since.setdefault(name, now)
        if found is Freshness.FRESH or self._is_settling(name, now):
            return False
        anchor = self._promised_since(name, ended_well, since)
        return freshness(definition, anchor, paused=paused, grace=self._grace, now=now) is Freshness.LATE

    def _promised_since(self, name: str, ended_well: datetime | None, seen: datetime) -> datetime:
        """The moment after which a tick should have led to a run that ended well."""
        if name in self._begun_again:
            return seen if ended_well is None else max(seen, ended_well)
        if ended_well is not None:
            return ended_well
        first = self._service.run_log.first_started(name)
        return seen if first is None else min(seen, first)

    def _is_settling(self, name: str, now: datetime) -> bool:
        """Whether this service has only begun to lead, and may still catch up with what is due."""
        going_on = self._service.pool.of(name) is not None
        return now - self._service.led_at < (self._grace if going_on else min(self._grace, _SETTLING))
