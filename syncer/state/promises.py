"""From when on the schedule of each sync counts, so that no tick is due that nobody was promised."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from syncer.model.types import Promise
from syncer.state.runs import RunLog
from syncer.state.schema import promises


def keep(
    run_log: RunLog, schedules: Mapping[str, str | None], at: datetime, *, answered: Mapping[str, datetime]
) -> dict[str, Promise]:
    """Bring up to date from when on the schedules of some syncs count; gives those that count now.

    A schedule that is another than before counts from *at* on, and one of which nothing is known from the newest tick
    on that a run has *answered*.

    Shapes:
        schedules: by sync; an empty text for a sync without one now, None for one that is gone.
    """
    known = run_log.promises(schedules)
    kept = {sync: _kept(known.get(sync), schedule, answered.get(sync), at) for sync, schedule in schedules.items()}
    changed = {sync: promise for sync, promise in kept.items() if promise != known.get(sync)}
    if changed:
        rows = [{"sync": sync, **promise._asdict()} for sync, promise in changed.items() if promise is not None]
        with run_log.database.writing() as connection:
            gone = promises.delete().where(promises.c.sync == sa.bindparam("gone"))
            connection.execute(gone, [{"gone": sync} for sync in changed])
            if rows:
                connection.execute(promises.insert(), rows)
    return {sync: promise for sync, promise in kept.items() if promise is not None and promise.schedule}


def _kept(known: Promise | None, schedule: str | None, answered: datetime | None, at: datetime) -> Promise | None:
    """What is promised of a sync that has *schedule* at a moment."""
    if known is None:
        return None if schedule is None else Promise(schedule=schedule, since=answered or at, at_once=True)
    if known.schedule is None or known.schedule == schedule:
        # A clock that was ahead may have dated it.
        return known._replace(schedule=schedule or "", since=min(known.since, at))
    return Promise(schedule=schedule or "", since=at, at_once=known.at_once and not known.schedule)
