"""How a sync stands: one word for its health, and whether the store has what its schedule promises."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from functools import lru_cache

from syncer.definitions import schedules
from syncer.model.types import ENDED_WELL, Latest, Manual, RunStatus, Schedule, SyncDefinition

NEVER_RUN = Latest(last=None, conclusive=None, ended_well=None, seconds=None, promised_since=None)


class Freshness(enum.StrEnum):
    """Whether the store has what the schedule promises."""

    FRESH = "fresh"
    #: A tick and the time of grace have passed, and no run since delivered its rows.
    LATE = "late"
    #: The last run did not deliver its rows, and the next one is not overdue yet.
    STALE = "stale"
    #: Never delivered.
    NEVER = "never"
    #: Without a schedule: manual, paused, or not enabled.
    UNSCHEDULED = "unscheduled"


class Health(enum.StrEnum):
    """One word for a sync: the first of these that fits."""

    #: Paused, or not enabled.
    PAUSED = "paused"
    #: The last run failed, or the store rejected every row that was new to it.
    FAILING = "failing"
    #: A limit, or a wrong clock, held the last run.
    HELD = "held"
    #: A run is overdue.
    LATE = "late"
    #: More rows are rejected than `tolerate` allows, and nobody has acknowledged them.
    DEGRADED = "degraded"
    #: No run has shown its state yet.
    NEW = "new"
    HEALTHY = "healthy"


def freshness(definition: SyncDefinition, known: Latest, *, paused: bool, grace: timedelta, now: datetime) -> Freshness:
    """Whether the newest run that delivered its rows is as new as the schedule promises.

    Units:
        grace: after a tick, in which a run should have ended well.
    """
    if paused or not definition.enabled or isinstance(definition.schedule, Manual):
        return Freshness.UNSCHEDULED
    if known.ended_well is None:
        return Freshness.NEVER
    if is_overdue(definition, known.ended_well, since=known.promised_since, grace=grace, now=now):
        return Freshness.LATE
    return Freshness.FRESH if _has_delivered(known) else Freshness.STALE


def health(
    definition: SyncDefinition, known: Latest, *, rejected: int, paused: bool, grace: timedelta, now: datetime
) -> Health:
    """How a sync stands, by its runs and its schedule; *grace* as for `freshness`.

    *rejected*: rows that nobody has acknowledged.
    """
    last, since = known.conclusive, known.promised_since
    if paused or not definition.enabled:
        return Health.PAUSED
    # What somebody has acknowledged need not be delivered.
    if last is not None and not _has_delivered(known) and (rejected or last.status not in ENDED_WELL):
        return Health.HELD if last.status is RunStatus.HELD else Health.FAILING
    if is_overdue(definition, known.ended_well, since=since, grace=grace, now=now):
        return Health.LATE
    if last is None:
        return Health.NEW
    return Health.DEGRADED if last.status is RunStatus.WARNING and rejected else Health.HEALTHY


def is_overdue(
    definition: SyncDefinition,
    ended_well: datetime | None,
    *,
    since: datetime | None,
    grace: timedelta,
    now: datetime,
) -> bool:
    """Whether a tick has passed, and *grace* after it, since a run ended well that began then.

    *since*: from when on the schedule counts. Of one that no service has seen, and that never ended well, none is
    missing.
    """
    anchor = max(filter(None, [since, ended_well]), default=None)
    due = anchor and _next_run_at(definition.schedule, anchor)
    return due is not None and due <= now - grace


def _has_delivered(known: Latest) -> bool:
    last = known.conclusive
    return last is None or (last.status in ENDED_WELL and not last.fruitless)


@lru_cache(maxsize=10_000)
def _next_run_at(schedule: Schedule, after: datetime) -> datetime | None:
    # To read a cron expression takes longer than all else of a status, and the answer changes with a run only.
    return schedules.next_run_at(schedule, after=after)
