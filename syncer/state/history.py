"""The runs that were: what ran, when it was due, and how it ended; read without waiting for who writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from syncer.model.types import ENDED_WELL, Run, RunStatus, Trigger
from syncer.state.database import StateDatabase
from syncer.state.schema import run_of, runs

_NEWEST = runs.c.id.desc()


class RunOutcome(NamedTuple):
    """What charts show of a run. Times are aware UTC."""

    id: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    added: int
    changed: int
    removed: int
    rejected: int

    def __hash__(self) -> int:
        # Charts are cached by their runs; to hash every count and time takes as long as to draw.
        return hash((self.id, self.status))


@dataclass
class RunHistory:
    """The runs in a state database, to read."""

    #: Where it is kept, beside what others remember.
    database: StateDatabase

    def recent(
        self, sync: str | None = None, limit: int = 50, *, statuses: Collection[RunStatus] = (), before: str = ""
    ) -> list[Run]:
        """The newest runs of one sync, or of all, newest first: with one of *statuses*, and older than run *before*."""
        query = sa.select(runs).order_by(runs.c.id.desc()).limit(limit)
        if sync is not None:
            query = query.where(runs.c.sync == sync)
        if statuses:
            query = query.where(runs.c.status.in_(statuses))
        if before:
            query = query.where(runs.c.id < before)
        with self.database.reading() as connection:
            return [run_of(row) for row in connection.execute(query)]

    def newest(self, syncs: Iterable[str], number: int, *, statuses: Collection[RunStatus]) -> dict[str, list[Run]]:
        """The newest *number* runs with one of *statuses* of each of *syncs* that has one, newest first."""
        each = self._each(syncs)
        nth = sa.select(runs.c.id).where(runs.c.sync == each.c.sync, runs.c.status.in_(statuses)).order_by(_NEWEST)
        oldest = sa.select(
            each.c.sync, sa.func.coalesce(nth.offset(number - 1).limit(1).scalar_subquery(), "").label("id")
        ).cte("oldest")
        query = (
            sa.select(runs)
            .join_from(oldest, runs, (runs.c.sync == oldest.c.sync) & (runs.c.id >= oldest.c.id))
            .where(runs.c.status.in_(statuses))
            .order_by(runs.c.sync, _NEWEST)
        )
        with self.database.reading() as connection:
            found = map(run_of, connection.execute(query).all())
            return {sync: list(of_sync) for sync, of_sync in groupby(found, key=attrgetter("sync"))}

    def with_findings(self, after: datetime) -> list[Run]:
        """The runs that began after a moment and have findings."""
        query = sa.select(runs).where(runs.c.started_at > after, sa.cast(runs.c.findings, sa.Text) != "[]")
        with self.database.reading() as connection:
            return [run_of(row) for row in connection.execute(query.order_by(_NEWEST))]

    def outcomes(self, syncs: Iterable[str], number: int) -> dict[str, tuple[RunOutcome, ...]]:
        """How the newest *number* runs of each of *syncs* that ever had one came out, newest first."""
        each = self._each(syncs)
        nth = sa.select(runs.c.id).where(runs.c.sync == each.c.sync).order_by(_NEWEST)
        bounds = sa.select(
            each.c.sync, sa.func.coalesce(nth.offset(number - 1).limit(1).scalar_subquery(), "").label("id")
        )
        oldest = bounds.cte("oldest")
        query = (
            sa.select(runs.c.sync, *(runs.c[name] for name in RunOutcome._fields))
            .join_from(oldest, runs, (runs.c.sync == oldest.c.sync) & (runs.c.id >= oldest.c.id))
            .order_by(runs.c.sync, runs.c.id.desc())
        )
        with self.database.reading() as connection:
            by_sync = groupby(connection.execute(query).all(), key=itemgetter(0))
            return {sync: tuple(RunOutcome._make(row[1:]) for row in rows) for sync, rows in by_sync}

    def last_runs(self, syncs: Iterable[str], *, ended: bool = False) -> dict[str, Run]:
        """The newest run of each of *syncs* that was not skipped; with *ended*, the newest that has ended."""
        each = self._each(syncs)
        others = [RunStatus.SKIPPED, RunStatus.RUNNING] if ended else [RunStatus.SKIPPED]
        last = _first(each, runs.c.id, runs.c.status.not_in(others))
        query = sa.select(runs).join_from(each, runs, runs.c.id == last)
        with self.database.reading() as connection:
            return {row.sync: run_of(row) for row in connection.execute(query)}

    def last_ended_well(self, syncs: Iterable[str]) -> dict[str, datetime]:
        """When the newest run of each of *syncs* that ended `success` or `warning` began."""
        return self._firsts(syncs, runs.c.started_at, runs.c.status.in_(ENDED_WELL))

    def open_runs(self) -> list[Run]:
        """The runs that have not ended, as far as the run log knows."""
        query = sa.select(runs).where(runs.c.status == RunStatus.RUNNING).order_by(runs.c.id)
        with self.database.reading() as connection:
            return [run_of(row) for row in connection.execute(query)]

    def cut_off(self, syncs: Iterable[str]) -> set[str]:
        """Those of *syncs* whose newest answer to a tick was interrupted, and was not made up for."""
        answers = (runs.c.trigger == Trigger.SCHEDULE) & (runs.c.status != RunStatus.SKIPPED)
        ended_by = sa.case((runs.c.due_at.is_not(None), runs.c.status), else_=None)
        found = self._firsts(syncs, ended_by, answers)
        return {name for name, status in found.items() if status == RunStatus.INTERRUPTED}

    def last_status(self) -> dict[str, RunStatus]:
        """How the last run of each sync ended, leaving out what runs now and what was skipped."""
        ended = runs.c.status.not_in([RunStatus.RUNNING, RunStatus.SKIPPED])
        last = sa.select(sa.func.max(runs.c.id)).where(ended).group_by(runs.c.sync)
        with self.database.reading() as connection:
            found = connection.execute(sa.select(runs.c.sync, runs.c.status).where(runs.c.id.in_(last)))
            return {row.sync: row.status for row in found}

    def first_started(self, syncs: Iterable[str]) -> dict[str, datetime]:
        """When the oldest run of each of *syncs* started, or would have."""
        return self._firsts(syncs, runs.c.started_at, sa.true(), runs.c.id)

    def last_due(self, syncs: Iterable[str]) -> dict[str, datetime]:
        """The newest tick of the schedule of each of *syncs* that a run has answered, also one that was skipped."""
        return self._firsts(syncs, runs.c.due_at, runs.c.due_at.is_not(None), runs.c.due_at.desc())

    def _firsts(
        self,
        syncs: Iterable[str],
        value: sa.ColumnElement[Any],
        which: sa.ColumnElement[bool],
        order: sa.ColumnElement[Any] = _NEWEST,
    ) -> dict[str, Any]:
        """What the first of some runs of each sync has; syncs without such a run, or with NULL, are left out."""
        each = self._each(syncs)
        query = sa.select(each.c.sync, _first(each, value, which, order).label("value"))
        with self.database.reading() as connection:
            return {sync: found for sync, found in connection.execute(query) if found is not None}

    def _each(self, syncs: Iterable[str]) -> sa.CTE:
        """A table of names from one parameter: one statement, whose text stays the same, serves every sync."""
        names = sa.literal(list(syncs), sa.JSON)
        rows = sa.func.json_array_elements_text(names) if self.database.is_shared else sa.func.json_each(names)
        return sa.select(rows.table_valued("value").c.value.label("sync")).cte("each")


def _first(
    each: sa.CTE, value: sa.ColumnElement[Any], which: sa.ColumnElement[bool], order: sa.ColumnElement[Any] = _NEWEST
) -> sa.ScalarSelect[Any]:
    query = sa.select(value).where(runs.c.sync == each.c.sync, which).order_by(order).limit(1)
    return query.correlate(each).scalar_subquery()
