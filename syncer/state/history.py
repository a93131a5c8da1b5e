"""The run log, to read without waiting for who writes: what ran, what is refused now, and what is paused."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, groupby
from operator import attrgetter, itemgetter
from typing import Any

import sqlalchemy as sa

from syncer.model.types import (
    EndedBy,
    Latest,
    Promise,
    Rejection,
    Run,
    RunMark,
    RunOutcome,
    RunResult,
    RunScope,
    RunStatus,
    Trigger,
)
from syncer.state.database import StateDatabase
from syncer.state.schema import latest, pauses, promises, rejection_totals, rejections, run_of, runs
from syncer.state.service_schema import terms

_NEWEST = runs.c.seq.desc()


@dataclass
class RunHistory:
    """The runs in a state database, to read. The newest is the one recorded last, whatever the clock said."""

    #: Where it is kept, beside what others remember.
    database: StateDatabase

    def recent(
        self, sync: str | None = None, limit: int = 50, *, statuses: Collection[RunStatus] = (), before: str = ""
    ) -> list[Run]:
        """The newest runs of one sync, or of all, newest first: with one of *statuses*, and older than run *before*."""
        query = sa.select(runs).order_by(_NEWEST).limit(limit)
        if sync is not None:
            query = query.where(runs.c.sync == sync)
        if statuses:
            query = query.where(runs.c.status.in_(statuses))
        if before:
            query = query.where(runs.c.seq < _place_of(before))
        with self.database.reading() as connection:
            return [run_of(row) for row in connection.execute(query)]

    def newest(self, syncs: Iterable[str], number: int, *, statuses: Collection[RunStatus]) -> dict[str, list[Run]]:
        """The newest *number* runs with one of *statuses* of each of *syncs* that has one, newest first.

        Those of single rows do not count.
        """
        with self.database.reading() as connection:
            found = self._newest(connection, list(runs.c), syncs, number, statuses, but=RunScope.ROWS)
            return {sync: [run_of(row) for row in rows] for sync, rows in groupby(found, key=attrgetter("sync"))}

    def with_findings(self, after: datetime) -> list[Run]:
        """The runs that began after a moment and have findings."""
        query = sa.select(runs).where(runs.c.started_at > after, sa.cast(runs.c.findings, sa.Text) != "[]")
        with self.database.reading() as connection:
            return [run_of(row) for row in connection.execute(query.order_by(_NEWEST))]

    def begun_at(self, starts: Collection[tuple[str, datetime]]) -> dict[tuple[str, datetime], str]:
        """The ids of the runs that began at some moments, each with its sync, as far as the run log has them."""
        query = sa.select(runs.c.sync, runs.c.started_at, runs.c.id)
        query = query.where(sa.tuple_(runs.c.sync, runs.c.started_at).in_(starts))
        with self.database.reading() as connection:
            return {(sync, at): run_id for sync, at, run_id in connection.execute(query)}

    def last_runs(self, syncs: Iterable[str]) -> dict[str, Run]:
        """The newest run of each of *syncs* that has begun, and that is not about single rows."""
        query = sa.select(runs).join_from(latest, runs, runs.c.seq == latest.c.last_seq)
        with self.database.reading() as connection:
            found = connection.execute(query.where(latest.c.sync.in_(sa.select(self._each(syncs).c.sync))))
            return {row.sync: run_of(row) for row in found}

    def outcomes(self, syncs: Iterable[str], number: int) -> dict[str, tuple[RunOutcome, ...]]:
        """How the newest *number* runs of each of *syncs* that ever had one came out, newest first."""
        columns = [runs.c.sync, *map(_shown, RunOutcome._fields)]
        with self.database.reading() as connection:
            by_sync = groupby(self._newest(connection, columns, syncs, number), key=itemgetter(0))
            return {sync: tuple(RunOutcome._make(row[1:]) for row in rows) for sync, rows in by_sync}

    def open_runs(self) -> list[Run]:
        """The runs that have begun and not ended, as far as the run log knows."""
        return self._with_status(RunStatus.RUNNING)

    def queued_runs(self) -> list[Run]:
        """The runs that a service has accepted and that have not begun, in this order."""
        return self._with_status(RunStatus.QUEUED)

    def cut_off(self, syncs: Iterable[str]) -> set[str]:
        """Those of *syncs* whose newest run of the schedule was interrupted, but not by a person."""
        later = runs.alias("later")
        answered = (later.c.trigger == Trigger.SCHEDULE) & (later.c.status != RunStatus.SKIPPED)
        query = sa.select(runs.c.sync).where(
            runs.c.status == RunStatus.INTERRUPTED,
            runs.c.trigger == Trigger.SCHEDULE,
            runs.c.ended_by.is_distinct_from(EndedBy.PERSON),
            ~sa.exists().where(later.c.sync == runs.c.sync, later.c.seq > runs.c.seq, answered),
        )
        with self.database.reading() as connection:
            return set(connection.execute(query).scalars()) & set(syncs)

    def last_ended_well(self, syncs: Collection[str]) -> dict[str, datetime]:
        """When the newest run of each of *syncs* that ended well, and was not fruitless, began."""
        return self._of_latest(latest.c.well_started_at, syncs)

    def last_status(self) -> dict[str, RunStatus]:
        """How the last run of each sync ended, leaving out what runs now, what was skipped, and runs of single rows."""
        return self._of_latest(latest.c.ended_status)

    def latest(self, syncs: Collection[str]) -> dict[str, Latest]:
        """What is known of the newest runs of each of *syncs* that ever had one."""
        row = latest.c
        columns = [row[f"last_{name}"] for name in RunMark._fields]
        result = [runs.c[name] for name in RunResult._fields]
        times = (row.well_started_at, row.ended_started_at, row.ended_finished_at, promises.c.since)
        query = (
            sa.select(row.sync, *times, *columns, *result)
            .outerjoin_from(latest, promises, promises.c.sync == row.sync)
            .outerjoin(runs, runs.c.seq == row.conclusive_seq)
        )
        with self.database.reading() as connection:
            found = connection.execute(query.where(row.sync.in_(sa.select(self._each(syncs).c.sync))))
            return {
                sync: Latest(
                    last=RunMark._make(rest[: len(columns)]) if rest[0] else None,
                    conclusive=RunResult._make(rest[len(columns) :]) if rest[len(columns)] is not None else None,
                    ended_well=ended_well,
                    seconds=(finished_at - started_at).total_seconds() if finished_at else None,
                    promised_since=since,
                )
                for sync, ended_well, started_at, finished_at, since, *rest in found
            }

    def first_started(self, syncs: Collection[str]) -> dict[str, datetime]:
        """When the first run of each of *syncs* started, or would have."""
        return self._of_latest(latest.c.first_started_at, syncs)

    def newest_conclusive(self, syncs: Collection[str]) -> dict[str, int]:
        """The place in the log of the newest run of each of *syncs* whose status is one of CONCLUSIVE."""
        return self._of_latest(latest.c.conclusive_seq, syncs)

    def last_due(self, syncs: Collection[str], *, until: datetime) -> dict[str, datetime]:
        """The newest tick, up to *until*, of each of *syncs* that a run has answered, also one that was skipped.

        A clock that was ahead may have left later ones.
        """
        found = self._of_latest(latest.c.last_due_at, syncs)
        if ahead := [sync for sync, at in found.items() if at > until]:
            query = sa.select(runs.c.sync, sa.func.max(runs.c.due_at)).where(runs.c.due_at <= until)
            query = query.where(runs.c.sync.in_(sa.select(self._each(ahead).c.sync))).group_by(runs.c.sync)
            with self.database.reading() as connection:
                earlier = {row[0]: row[1] for row in connection.execute(query)}
            found = {sync: at for sync, at in found.items() if sync not in ahead} | earlier
        return found

    def rejection_totals(self, now: datetime) -> dict[str, tuple[int, int]]:
        """How many rows each sync has refused now, and how many of them people have acknowledged.

        Syncs without any are left out.
        """
        row = rejections.c
        known = sa.select(sa.func.count()).where(row.sync == rejection_totals.c.sync, row.acknowledged_until > now)
        query = sa.select(rejection_totals.c.sync, rejection_totals.c.total, known.scalar_subquery().label("known"))
        with self.database.reading() as connection:
            return {row.sync: (row.total, row.known) for row in connection.execute(query)}

    def rejections_of(self, syncs: Collection[str]) -> list[Rejection]:
        """What is kept of what any of *syncs* has refused now, by sync."""
        query = rejections.select().order_by(rejections.c.sync, rejections.c.position)
        with self.database.reading() as connection:
            return _read(connection.execute(query.where(rejections.c.sync.in_(syncs))))

    def rejections_with(self, text: str, limit: int) -> list[Rejection]:
        """What any sync has refused now whose key contains *text*, as it is or as JSON spells it; by sync.

        Rows without a key are found by any of their values.
        """
        row, quoted = rejections.c, json.dumps(text, ensure_ascii=False)[1:-1]
        contains = sa.or_(
            *(row.key.contains(each, autoescape=True) for each in (text, quoted)),
            (row.key == "") & sa.or_(*(row.row_values.contains(each, autoescape=True) for each in (text, quoted))),
        )
        query = rejections.select().where(contains).order_by(row.sync, row.position).limit(limit)
        with self.database.reading() as connection:
            return _read(connection.execute(query))

    def leader(self) -> str:
        """The service whose term is the newest, for people; empty where there never was one."""
        with self.database.reading() as connection:
            return connection.execute(sa.select(terms.c.holder)).scalar_one_or_none() or ""

    def paused(self) -> set[str]:
        """The syncs that are paused."""
        with self.database.reading() as connection:
            return set(connection.execute(sa.select(pauses.c.sync)).scalars())

    def promises(self, syncs: Iterable[str]) -> dict[str, Promise]:
        """From when on the schedule of each of *syncs* counts, as a service recorded it last."""
        row = promises.c
        query = sa.select(row.sync, row.schedule, row.since, row.at_once)
        with self.database.reading() as connection:
            found = connection.execute(query.where(row.sync.in_(sa.select(self._each(syncs).c.sync))))
            return {sync: Promise(*promise) for sync, *promise in found}

    def _with_status(self, status: RunStatus) -> list[Run]:
        query = sa.select(runs).where(runs.c.status == status).order_by(runs.c.seq)
        with self.database.reading() as connection:
            return [run_of(row) for row in connection.execute(query)]

    def _of_latest(self, column: sa.Column[Any], syncs: Collection[str] | None = None) -> dict[str, Any]:
        """A column of `latest`, by sync, where it is not NULL."""
        query = sa.select(latest.c.sync, column).where(column.is_not(None))
        if syncs is not None:
            query = query.where(latest.c.sync.in_(sa.select(self._each(syncs).c.sync)))
        with self.database.reading() as connection:
            return {row.sync: row[1] for row in connection.execute(query)}

    def _newest(
        self,
        connection: sa.Connection,
        columns: Sequence[sa.ColumnElement[Any]],
        syncs: Iterable[str],
        number: int,
        statuses: Collection[RunStatus] = (),
        but: RunScope | None = None,
    ) -> Sequence[sa.Row[Any]]:
        """Columns of the newest *number* runs of each of *syncs*, with one of *statuses*: by sync, newest first.

        Their places first, each by a look at an index that no estimate can turn into a scan of all runs.
        """
        each = self._each(syncs)
        of_one = sa.select(runs.c.seq).where(runs.c.sync == each.c.sync).order_by(_NEWEST).limit(number).correlate(each)
        if but is not None:
            of_one = of_one.where(runs.c.scope != but)
        kinds = [of_one.where(runs.c.status == status) for status in statuses] or [of_one]
        gathered = sa.func.json_agg if self.database.is_shared else sa.func.json_group_array
        seqs = [sa.select(gathered(kind.subquery().c.seq, type_=sa.JSON)).scalar_subquery() for kind in kinds]
        found = connection.execute(sa.select(*seqs).select_from(each))
        places = (sorted(chain.from_iterable(filter(None, row)), reverse=True)[:number] for row in found)
        wanted = self._values(chain.from_iterable(places), sa.BigInteger)
        return connection.execute(
            sa.select(*columns).where(runs.c.seq.in_(wanted)).order_by(runs.c.sync, _NEWEST)
        ).all()

    def _each(self, syncs: Iterable[str]) -> sa.CTE:
        return self._values(syncs, sa.Text).cte("each")

    def _values(self, values: Iterable[str | int], kind: type[sa.Text | sa.BigInteger]) -> sa.Select[Any]:
        """A table of values from one parameter: one statement, whose text stays the same, serves every sync."""
        given = sa.literal(list(values), sa.JSON)
        rows = sa.func.json_array_elements_text(given) if self.database.is_shared else sa.func.json_each(given)
        return sa.select(sa.cast(rows.table_valued("value").c.value, kind).label("sync"))


def fruitless_before(run_id: str) -> sa.ScalarSelect[Any]:
    """Whether the run was that showed the state of the same sync last."""
    sync = sa.select(runs.c.sync).where(runs.c.id == run_id).scalar_subquery()
    before = runs.alias("before")
    newest = sa.select(latest.c.conclusive_seq).where(latest.c.sync == sync).scalar_subquery()
    return sa.select(before.c.fruitless).where(before.c.seq == newest).scalar_subquery()


def _shown(name: str) -> sa.ColumnElement[Any]:
    """A column of RunOutcome: rows as far as they were delivered, in runs of earlier versions as they were planned."""
    delivered = runs.c.get(f"delivered_{name}")
    return runs.c[name] if delivered is None else sa.func.coalesce(delivered, runs.c[name])


def _place_of(run_id: str) -> sa.ColumnElement[int]:
    """The place of a run in the log; of one that was forgotten, the place that its id would have."""
    known = sa.select(runs.c.seq).where(runs.c.id == run_id).scalar_subquery()
    by_id = sa.select(runs.c.seq + 1).where(runs.c.id < run_id).order_by(runs.c.id.desc()).limit(1).scalar_subquery()
    return sa.func.coalesce(known, by_id, 0)


def _read(rows: Iterable[sa.Row[Any]]) -> list[Rejection]:
    # A run needs none of it.
    from syncer.state.rejections import rejection_of

    return [rejection_of(row) for row in rows]
