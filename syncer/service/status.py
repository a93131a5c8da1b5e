"""The status of each sync, for the overview, the API, alerts and metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from syncer.model.errors import DefinitionError
from syncer.model.types import Latest, RunMark, RunStatus, SyncDefinition
from syncer.service.catalog import DefinitionSet
from syncer.service.health import NEVER_RUN, Freshness, Health, freshness, health
from syncer.service.pool import ActiveRun
from syncer.state.runs import RunLog


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
    #: When the newest run that delivered its rows began.
    last_ended_well: datetime | None
    #: How long the newest run took that has ended and was not skipped.
    last_seconds: float | None
    freshness: Freshness
    health: Health
    #: Rows that are refused now.
    rejected: int
    #: Rows of the newest result; None before the first.
    rows: int | None
    #: Those of them that somebody has acknowledged: they do not count for its health.
    acknowledged: int = 0

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
    paused, refused = run_log.paused(), run_log.rejection_totals(now)
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
            freshness=freshness(definition, latest, paused=name in paused, grace=grace, now=now),
            health=health(
                definition, latest, rejected=refused_now - known_of, paused=name in paused, grace=grace, now=now
            ),
            rejected=refused_now,
            acknowledged=known_of,
            rows=_rows(latest),
        )
        for name, definition in current.definitions.items()
        if name in names
        for latest, (refused_now, known_of) in [(known.get(name, NEVER_RUN), refused.get(name, (0, 0)))]
    ]


def _rows(known: Latest) -> int | None:
    last = known.conclusive
    # A run that failed may not have come as far as the result.
    return None if last is None or (last.status is RunStatus.FAILED and not last.queried) else last.queried
