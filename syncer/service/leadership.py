"""Which of several services leads: only one keeps the schedule and runs syncs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from syncer.run_log import RunLog


class Leadership(Protocol):
    """One service's claim to lead over one run log; used by several threads."""

    #: The number of this service's term, greater than every earlier one's; None while it does not lead.
    term: int | None

    def acquire(self) -> bool:
        """Begin to lead if nobody does, with a new term; returns whether this service leads now."""

    def holds(self) -> bool:
        """Whether this service leads still; asked before each run and each batch, so it takes no longer than a call
        to the run log."""

    def leader(self) -> str:
        """Who leads, for people; empty where nobody ever did."""

    def release(self) -> None:
        """Lead no longer; calling it twice is fine."""


class Sole:
    """The leadership of the only service that there can be: it holds the state folder, in which the run log is."""

    def __init__(self, run_log: RunLog, *, holder: str, now: Callable[[], datetime]) -> None:
        """*holder*: this service, for people."""
        self._run_log = run_log
        self._holder = holder
        self._now = now
        self.term: int | None = None

    def acquire(self) -> bool:
        """See `Leadership.acquire`."""
        if self.term is None:
            self.term = self._run_log.begin_term(self._holder, self._now())
        return True

    def holds(self) -> bool:
        """See `Leadership.holds`."""
        return self.term is not None

    def leader(self) -> str:
        """See `Leadership.leader`."""
        return self._run_log.leader()

    def release(self) -> None:
        """See `Leadership.release`."""
        self.term = None
