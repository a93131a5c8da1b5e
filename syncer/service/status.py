"""The status of each sync, for the overview, the API, alerts and metrics."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from syncer.definitions import schedules
from syncer.model.errors import DefinitionError
from syncer.model.types import Manual, RunStatus, Schedule, SyncDefinition
from syncer.service.catalog import DefinitionSet
from syncer.service.pool import ActiveRun
from syncer.state.history import Latest, RunMark
from syncer.state.runs import RunLog

_NEVER_RUN = Latest(last=None, ended_well=None, seconds=None, promised_since=None)


class Freshness(enum.StrEnum):
    """Whether the store has what the schedule promises."""

    FRESH = "fresh"
    #: A tick and the time of grace have passed, and no run since ended well.
    LATE = "late"
    #: Never delivered.
    NEVER = "never"
    #: Without a schedule: manual, paused, or not enabled.
    UNSCHEDULED = "unscheduled"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStatus:
    """One sync now."""

    definition: SyncDefinition
    #: What is wrong with its file, where an older state of it is in force.
    outdated: DefinitionError | None
    paused: bool
    #: The next tick, aware UTC; None where none comes.
    next_due: datetime | None
    #: The run that waits or goes on; None where none does.
    active_run: ActiveRun | None
    #: The newest run that has begun, and that is not about single rows.
    last_run: RunMark | None
    #: When the newest run that ended well began.
    last_ended_well: datetime | None
    #: How long the newest run took that has ended and was not skipped.
    last_seconds: float | None
    freshness: Freshness
    #: Rows that are refused now.
    rejected: int

    @property
    def is_held(self) -> bool:
        """Whether a limit, or the clock, holds it now."""
        return self.last_run is not None and self.last_run.status is RunStatus.HELD


def statuses(
    current: DefinitionSet,
    names: Collection[str],
    *,
    run_log: RunLog,
    next_due: Mapping[str, datetime],
    active_runs: Sequence[ActiveRun],
    grace: timedelta,
    now: datetime,
) -> list[SyncStatus]:
    """The status of those of *names* that are in force, in the order of the definitions.

    Units:
        grace: after a tick, in which a run should have ended well.
    """
    known = run_log.latest(names)
    paused, refused = run_log.paused(), run_log.rejection_totals()
    by_name = {active.name: active for active in active_runs}
    return [
        SyncStatus(
            definition=definition,
            outdated=current.outdated.get(name),
            paused=name in paused,
            next_due=next_due.get(name),
            active_run=by_name.get(name),
            last_run=latest.last,
            last_ended_well=latest.ended_well,
            last_seconds=latest.seconds,
            freshness=freshness(
                definition,
                latest.ended_well,
                since=latest.promised_since,
                paused=name in paused,
                grace=grace,
                now=now,
            ),
            rejected=refused.get(name, 0),
        )
        for name, definition in current.definitions.items()
        if name in names
        for latest in [known.get(name, _NEVER_RUN)]
    ]


def freshness(
    definition: SyncDefinition,
    ended_well: datetime | None,
    *,
    since: datetime | None = None,
    paused: bool,
    grace: timedelta,
    now: datetime,
) -> Freshness:
    """Whether the newest run that ended well, which began then, is as new as the schedule promises *since* a moment."""
    if paused or not definition.enabled or isinstance(definition.schedule, Manual):
        return Freshness.UNSCHEDULED
    if ended_well is None:
        return Freshness.NEVER
    due = _next_run_at(definition.schedule, ended_well if since is None else max(since, ended_well))
    return Freshness.FRESH if due is None or due > now - grace else Freshness.LATE


@lru_cache(maxsize=10_000)
def _next_run_at(schedule: Schedule, after: datetime) -> datetime | None:
    # To read a cron expression takes longer than all else of a status, and the answer changes with a run only.
    return schedules.next_run_at(schedule, after=after)
