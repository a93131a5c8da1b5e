"""What lists and charts show of many runs, and of the newest ones."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from syncer.model.runs import RunStatus


class RunOutcome(NamedTuple):
    """What charts show of a run. Times are aware UTC."""

    id: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    #: Delivered; of an earlier version's run, planned.
    added: int
    changed: int
    removed: int
    rejected: int

    def __hash__(self) -> int:
        # Charts are cached by their runs; to hash every count and time takes as long as to draw.
        return hash((self.id, self.status))


class RunMark(NamedTuple):
    """What lists of syncs show of a run. Times are aware UTC."""

    id: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None


class RunResult(NamedTuple):
    """What a run says of the health of its sync."""

    status: RunStatus
    fruitless: bool | None
    #: Rows of the query's result.
    queried: int


class Latest(NamedTuple):
    """What lists of syncs show of the runs of one sync; None where there is no such run."""

    #: The newest run that has begun, and that is not about single rows.
    last: RunMark | None
    #: The newest of these whose status is one of CONCLUSIVE.
    conclusive: RunResult | None
    #: When the newest run that ended well, and was not fruitless, began, aware UTC.
    ended_well: datetime | None
    #: How long the newest run took that has ended and was not skipped.
    seconds: float | None
    #: From when on its schedule counts, aware UTC.
    promised_since: datetime | None


class Promise(NamedTuple):
    """From when on the ticks of a sync's schedule count."""

    #: Which schedule; empty where none does now, None where no service has seen it yet.
    schedule: str | None
    #: Aware UTC.
    since: datetime
    #: Whether a schedule by interval is due at once.
    at_once: bool
