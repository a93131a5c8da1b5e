"""A run that a worker makes, which goes on while the worker has its lease."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from syncer.model.errors import StateDatabaseError
from syncer.model.types import EndedBy, Run
from syncer.state.leases import Leases
from syncer.sync.progress import CancelToken, Progress

#: What the run log says of a run whose worker has its lease no longer.
LOST = "stopped, as its worker gave no sign for too long, or another run of this sync began"

#: Seconds for which an answer counts: batches may come faster than a query is worth.
_FRESH_SECONDS = 0.2

#: Goes on while the machine sleeps, where there is such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def seconds_since_boot() -> float:
    """Also those in which the machine slept."""
    return time.clock_gettime(_CLOCK)


@dataclass(slots=True, kw_only=True)
class HeldRun:
    """One run, from the moment its worker has the lease."""

    leases: Leases
    run: Run
    worker: str
    progress: Progress = field(init=False)
    #: When the lease was asked for last, and it was there.
    _asked_at: float = float("-inf")

    def __post_init__(self) -> None:
        self.progress = Progress(token=CancelToken(self._watch), took=self._took, notes=[*self.run.notes])

    @property
    def name(self) -> str:
        """The sync's."""
        return self.run.sync

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.run.id

    def _watch(self) -> str:
        now = seconds_since_boot()
        if now - self._asked_at < _FRESH_SECONDS:
            return ""
        try:
            if not self.leases.holds(self.run.sync, self.run.id, self.worker):
                return LOST
        except StateDatabaseError:
            return "stopped, as the run log cannot say whether another run of this sync has begun"
        self._asked_at = now
        return ""

    def _took(self, fence: int) -> None:
        if not self.leases.put_fence(self.run.sync, self.run.id, self.worker, fence):
            self.progress.token.cancel(LOST, EndedBy.TAKEOVER)
