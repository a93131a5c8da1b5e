"""When a sync runs."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta


class CatchUp(enum.StrEnum):
    """What to do about ticks of the schedule that passed while no service ran."""

    ONCE = "once"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """A schedule by interval, at least one minute; its ticks are the interval's multiples since 1970 in UTC."""

    interval: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A schedule by a five-field cron expression, where 0 and 7 are Sunday."""

    expression: str
    #: IANA name.
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manual:
    """Never started by the schedule."""


Schedule = Every | Cron | Manual

#: Unless the header says otherwise.
HOURLY = Every(interval=timedelta(hours=1))
