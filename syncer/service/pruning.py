"""What is deleted for its age: once on each day, aside of the heartbeat."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from datetime import date, datetime

from syncer.model.errors import SyncerError
from syncer.settings.settings import Settings
from syncer.state.runs import RunLog
from syncer.sync import retention

log = logging.getLogger(__name__)

#: Seconds that a service which ends waits for it.
_SECONDS = 2.0


@dataclass(slots=True, kw_only=True)
class DailyPruning:
    """Of one service."""

    settings: Settings
    run_log: RunLog
    #: On which nothing is begun any more.
    _days: set[date] = field(default_factory=set)
    _thread: threading.Thread | None = None

    def leave_out(self, day: date) -> None:
        """Begin nothing on a day."""
        self._days.add(day)

    def begin(self, now: datetime) -> None:
        """Begin to delete what is old, unless that was begun on this day, or the day is left out."""
        if now.date() not in self._days:
            self._days.add(now.date())
            self._thread = threading.Thread(target=self._prune, args=[now], name="prune", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Wait a few seconds for what was begun."""
        if self._thread is not None:
            self._thread.join(_SECONDS)

    def _prune(self, now: datetime) -> None:
        """Of a run log with many runs this takes a while."""
        try:
            retention.prune(self.settings, self.run_log, now)
        except SyncerError as exc:
            log.warning("what is old is not deleted today: %s", exc)
        except Exception:
            log.exception("what is old is not deleted today")
