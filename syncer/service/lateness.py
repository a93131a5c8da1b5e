"""Which syncs are late, also of those that never ended well; ticks that were not promised do not count."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from syncer.model.types import SyncDefinition
from syncer.service.health import is_overdue
from syncer.service.service import Service

#: How long due runs may take to begin after a service became the leader.
_SETTLING = timedelta(seconds=120)


class Lateness:
    """What one observer sees of a service's schedules; for one thread at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._grace = timedelta(seconds=service.settings.alerts.late)

    def late(self, syncs: Iterable[tuple[SyncDefinition, datetime | None, bool]], now: datetime) -> set[str]:
        """The names of those syncs for which a tick and the grace have passed without a run that ended well.

        Shapes:
            syncs: each with when its newest run that ended well began, and whether it is paused.
        """
        unclear = [sync for sync in syncs if self._may_be_late(*sync, now)]
        promised = self._service.run_log.promises([sync[0].name for sync in unclear]) if unclear else {}
        return {
            definition.name
            for definition, ended_well, _ in unclear
            for promise in [promised.get(definition.name)]
            if is_overdue(definition, ended_well, since=promise and promise.since, grace=self._grace, now=now)
        }

    def _may_be_late(self, sync: SyncDefinition, ended_well: datetime | None, paused: bool, now: datetime) -> bool:
        if paused or not sync.enabled or self._is_settling(sync.name, now):
            return False
        return ended_well is None or is_overdue(sync, ended_well, since=None, grace=self._grace, now=now)

    def _is_settling(self, name: str, now: datetime) -> bool:
        """Whether this service became the leader only now, and may still catch up with what is due."""
        is_running = self._service.pool.of(name) is not None
        return now - self._service.led_at < (self._grace if is_running else min(self._grace, _SETTLING))
