"""The run log: what ran and how it ended, what is refused now, and what is paused."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from syncer.errors import StateDatabaseError
from syncer.state_database import StateDatabase
from syncer.state_schema import audit, pauses, rejection_totals, rejections, requests, runs, sessions, terms
from syncer.types import Counts, Order, Rejection, Run, RunStatus, Trigger

#: The most rejections of one sync that are kept; beyond them only the number is known.
KEPT_REJECTIONS = 10_000

_NO_ROWS = Counts()
_COUNTS = tuple(field.name for field in fields(Counts))


class TickAnsweredError(Exception):
    """Another run has answered this tick of the schedule."""


class RunLog:
    """The run log in a state database. Every change is durable when its method returns."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    @property
    def database(self) -> StateDatabase:
        """Where it is kept, beside what others remember."""
        return self._database

    @property
    def log_id(self) -> str:
        """The database's random name; another one means that it was made anew."""
        return self._database.log_id

    def start(self, sync: str, order: Order, definition_hash: str, at: datetime) -> str:
        """Record a run that begins, and give its id; ids sort by time. One that was promised before begins now.

        Raises:
            TickAnsweredError: the order's tick has a run already.
        """
        return self._add(sync, order, definition_hash, at, status=RunStatus.RUNNING)

    def record_skipped(self, sync: str, order: Order, definition_hash: str, at: datetime, *, note: str) -> str:
        """Record a run that did not begin, with the reason in its notes, and give its id.

        Raises:
            TickAnsweredError: the order's tick has a run already.
        """
        return self._add(sync, order, definition_hash, at, status=RunStatus.SKIPPED, finished_at=at, notes=[note])

    def finish(
        self,
        run_id: str,
        status: RunStatus,
        at: datetime,
        *,
        counts: Counts = _NO_ROWS,
        phases: Mapping[str, float] | None = None,
        error: str | None = None,
        hint: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        """Record how a run ended.

        Units:
            phases: seconds, in the order they ran.
        Raises:
            StateDatabaseError: the run log has no such run, as when it was made anew meanwhile.
        """
        values = {"phases": dict(phases or {}), "error": error, "hint": hint, "notes": list(notes), **asdict(counts)}
        ended = runs.update().where(runs.c.id == run_id).values(status=status, finished_at=at, **values)
        with self._database.writing() as connection:
            if connection.execute(ended).rowcount != 1:
                raise StateDatabaseError(
                    f"the run log has no run {run_id}", hint="Was the run log made anew during the run?"
                )

    def interrupt_open(self, sync: str, at: datetime) -> int:
        """Mark the runs of *sync* that never ended as `interrupted`; returns how many.

        Only for who holds the sync's lock, before its own run starts: no other run of it can be alive then.
        """
        left_open = (runs.c.sync == sync) & (runs.c.status == RunStatus.RUNNING)
        with self._database.writing() as connection:
            return connection.execute(
                runs.update().where(left_open).values(status=RunStatus.INTERRUPTED, finished_at=at)
            ).rowcount

    def recent(
        self, sync: str | None = None, limit: int = 20, *, statuses: Collection[RunStatus] | None = None
    ) -> list[Run]:
        """The newest runs of one sync, or of all, newest first; only those with one of *statuses* where it is given."""
        query = sa.select(runs).order_by(runs.c.id.desc()).limit(limit)
        if sync is not None:
            query = query.where(runs.c.sync == sync)
        if statuses is not None:
            query = query.where(runs.c.status.in_(statuses))
        with self._database.reading() as connection:
            return [_run(row) for row in connection.execute(query)]

    def newest_of_each(self, syncs: Iterable[str], number: int) -> dict[str, list[Run]]:
        """The newest *number* runs of each of *syncs* that ever had one, newest first."""
        newest = sa.select(runs).where(runs.c.sync == sa.bindparam("of")).order_by(runs.c.id.desc()).limit(number)
        with self._database.reading() as connection:
            # One query for all would read every run there ever was.
            found = {sync: [_run(row) for row in connection.execute(newest, {"of": sync})] for sync in syncs}
        return {sync: newest_runs for sync, newest_runs in found.items() if newest_runs}

    def page(
        self, sync: str | None = None, *, status: RunStatus | None = None, before: str = "", limit: int = 50
    ) -> list[Run]:
        """The newest runs of one sync, or of all, newest first, of those older than the run *before*."""
        query = sa.select(runs).order_by(runs.c.id.desc()).limit(limit)
        if sync is not None:
            query = query.where(runs.c.sync == sync)
        if status is not None:
            query = query.where(runs.c.status == status)
        if before:
            query = query.where(runs.c.id < before)
        with self._database.reading() as connection:
            return [_run(row) for row in connection.execute(query)]

    def last_ended_well(self, syncs: Iterable[str]) -> dict[str, datetime]:
        """When the newest run of each of *syncs* that ended `success` or `warning` began."""
        well = runs.c.status.in_([RunStatus.SUCCESS, RunStatus.WARNING])
        return self._newest(syncs, runs.c.started_at, well)

    def open_runs(self) -> list[Run]:
        """The runs that have not ended, as far as the run log knows."""
        query = sa.select(runs).where(runs.c.status == RunStatus.RUNNING).order_by(runs.c.id)
        with self._database.reading() as connection:
            return [_run(row) for row in connection.execute(query)]

    def interrupt(self, run_id: str, at: datetime) -> None:
        """Mark one run that never ended as `interrupted`; only for who knows that it is dead."""
        left_open = (runs.c.id == run_id) & (runs.c.status == RunStatus.RUNNING)
        with self._database.writing() as connection:
            connection.execute(runs.update().where(left_open).values(status=RunStatus.INTERRUPTED, finished_at=at))

    def cut_off(self, syncs: Iterable[str]) -> set[str]:
        """Those of *syncs* whose newest answer to a tick was interrupted, and was not made up for."""
        answers = (runs.c.trigger == Trigger.SCHEDULE) & (runs.c.status != RunStatus.SKIPPED)
        ended_by = sa.case((runs.c.due_at.is_not(None), runs.c.status), else_=None)
        return {
            name for name, status in self._newest(syncs, ended_by, answers).items() if status == RunStatus.INTERRUPTED
        }

    def rejection_totals(self) -> dict[str, int]:
        """How many rows each sync has refused now; syncs without any are left out."""
        with self._database.reading() as connection:
            return {row.sync: row.total for row in connection.execute(sa.select(rejection_totals))}

    def get(self, run_id: str) -> Run | None:
        """One run; None where there is none."""
        with self._database.reading() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.id == run_id)).one_or_none()
        return None if row is None else _run(row)

    def last_status(self) -> dict[str, RunStatus]:
        """How the last run of each sync ended, leaving out what runs now and what was skipped."""
        ended = runs.c.status.not_in([RunStatus.RUNNING, RunStatus.SKIPPED])
        last = sa.select(sa.func.max(runs.c.id)).where(ended).group_by(runs.c.sync)
        with self._database.reading() as connection:
            found = connection.execute(sa.select(runs.c.sync, runs.c.status).where(runs.c.id.in_(last)))
            return {row.sync: row.status for row in found}

    def last_started(self, sync: str, statuses: Collection[RunStatus] | None = None) -> datetime | None:
        """When the newest run of *sync* started, of those with one of *statuses*, else of all but the skipped."""
        wanted = runs.c.status != RunStatus.SKIPPED if statuses is None else runs.c.status.in_(statuses)
        query = sa.select(runs.c.started_at).where(runs.c.sync == sync, wanted).order_by(runs.c.id.desc()).limit(1)
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def first_started(self, sync: str) -> datetime | None:
        """When the oldest run of *sync* started, or would have."""
        query = sa.select(runs.c.started_at).where(runs.c.sync == sync).order_by(runs.c.id).limit(1)
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def last_due(self, syncs: Iterable[str]) -> dict[str, datetime]:
        """The newest tick of the schedule of each of *syncs* that a run has answered, also one that was skipped."""
        newest = sa.select(sa.func.max(runs.c.due_at)).where(runs.c.sync == sa.bindparam("of"))
        with self._database.reading() as connection:
            found = {sync: connection.execute(newest, {"of": sync}).scalar_one() for sync in syncs}
        return {sync: due_at for sync, due_at in found.items() if due_at is not None}

    def _newest(
        self, syncs: Iterable[str], value: sa.ColumnElement[Any], which: sa.ColumnElement[bool]
    ) -> dict[str, Any]:
        """What the newest of some runs of each sync has; syncs without such a run are left out."""
        newest = sa.select(value).where(runs.c.sync == sa.bindparam("of"), which).order_by(runs.c.id.desc()).limit(1)
        with self._database.reading() as connection:
            found = {sync: connection.execute(newest, {"of": sync}).one_or_none() for sync in syncs}
        return {sync: row[0] for sync, row in found.items() if row is not None}

    def purge(self, before: datetime) -> int:
        """Forget the runs that began before *before*, but for the newest of each sync and status; returns how many.

        What is refused now stays as well; old requests, sessions and lines of the audit go.
        """
        kept = sa.select(sa.func.max(runs.c.id)).group_by(runs.c.sync, runs.c.status)
        old = (runs.c.started_at < before) & (runs.c.status != RunStatus.RUNNING)
        with self._database.writing() as connection:
            for table, at in (
                (requests, requests.c.requested_at),
                (audit, audit.c.at),
                (sessions, sessions.c.expires_at),
            ):
                connection.execute(table.delete().where(at < before))
            return connection.execute(runs.delete().where(old, runs.c.id.not_in(kept))).rowcount

    def promise(self, sync: str, order: Order, definition_hash: str, at: datetime) -> str:
        """Record a run that is going to begin as soon as there is room, and give its id."""
        return self._add(sync, order, definition_hash, at, status=RunStatus.RUNNING)

    def replace_rejections(self, sync: str, refused: Sequence[Rejection], total: int) -> None:
        """Record what *sync* has refused now, in place of what it had before; the first KEPT_REJECTIONS are kept.

        Units:
            total: rows, also those that *refused* leaves out.
        """
        rows = [{**asdict(row), "sync": sync, "position": i} for i, row in enumerate(refused[:KEPT_REJECTIONS])]
        with self._database.writing() as connection:
            connection.execute(rejections.delete().where(rejections.c.sync == sync))
            connection.execute(rejection_totals.delete().where(rejection_totals.c.sync == sync))
            if rows:
                connection.execute(rejections.insert(), rows)
            if total:
                connection.execute(rejection_totals.insert().values(sync=sync, total=total))

    def rejections(self, sync: str, *, first: int = 0, limit: int = KEPT_REJECTIONS) -> tuple[list[Rejection], int]:
        """What *sync* has refused now, in the order recorded, and how many rows that are, also those not kept.

        Shapes:
            first, limit: the part of them to give, counted from 0.
        """
        kept = (
            rejections.select()
            .where(rejections.c.sync == sync, rejections.c.position >= first)
            .order_by(rejections.c.position)
            .limit(limit)
        )
        with self._database.reading() as connection:
            rows = [_rejection(row) for row in connection.execute(kept)]
            total = connection.execute(
                sa.select(rejection_totals.c.total).where(rejection_totals.c.sync == sync)
            ).scalar_one_or_none()
        return rows, total or 0

    def rejections_with(self, text: str, limit: int) -> list[Rejection]:
        """What any sync has refused now whose key contains *text*, as it is or as JSON spells it; by sync."""
        keys = rejections.c.key
        contains = keys.contains(text, autoescape=True) | keys.contains(
            json.dumps(text, ensure_ascii=False)[1:-1], autoescape=True
        )
        query = rejections.select().where(contains).order_by(rejections.c.sync, rejections.c.position).limit(limit)
        with self._database.reading() as connection:
            return [_rejection(row) for row in connection.execute(query)]

    def begin_term(self, holder: str, at: datetime) -> int:
        """Record that a service leads from now on, and give the number of its term, greater than every earlier one's.

        Shapes:
            holder: the service, for people.
        """
        with self._database.writing() as connection:
            term = (connection.execute(sa.select(sa.func.max(terms.c.term))).scalar_one() or 0) + 1
            connection.execute(terms.delete())
            connection.execute(terms.insert().values(term=term, holder=holder, began_at=at))
        return term

    def leader(self) -> str:
        """The service whose term is the newest, for people; empty where there never was one."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(terms.c.holder)).scalar_one_or_none() or ""

    def pause(self, sync: str, at: datetime) -> None:
        """Keep *sync* from being scheduled, until it is resumed."""
        with self._database.writing() as connection:
            connection.execute(self._database.insert(pauses).values(sync=sync, paused_at=at).on_conflict_do_nothing())

    def resume(self, sync: str) -> None:
        """Let *sync* be scheduled again."""
        with self._database.writing() as connection:
            connection.execute(pauses.delete().where(pauses.c.sync == sync))

    def paused(self) -> set[str]:
        """The syncs that are paused."""
        with self._database.reading() as connection:
            return set(connection.execute(sa.select(pauses.c.sync)).scalars())

    def _add(
        self,
        sync: str,
        order: Order,
        definition_hash: str,
        at: datetime,
        *,
        status: RunStatus,
        finished_at: datetime | None = None,
        notes: Sequence[str] = (),
    ) -> str:
        values = {"status": status, "started_at": at, "finished_at": finished_at, "notes": list(notes)}
        if order.run_id:
            with self._database.writing() as connection:
                connection.execute(runs.update().where(runs.c.id == order.run_id).values(**values))
            return order.run_id
        run_id = _run_id(at)
        asked = {"trigger": order.trigger, "actor": order.actor, "due_at": order.due_at, "term": order.term}
        row = {"id": run_id, "sync": sync, "definition_hash": definition_hash, "phases": {}, "hint": ""}
        insert = self._database.insert(runs).values(**row, **asked, **values)
        with self._database.writing() as connection:
            once = insert.on_conflict_do_nothing(index_elements=["sync", "due_at"]).returning(runs.c.id)
            added = connection.execute(once).one_or_none()
        if added is None:
            raise TickAnsweredError(sync)
        return run_id


def _run(row: sa.Row[tuple[object, ...]]) -> Run:
    values = dict(row._mapping)
    counts = Counts(**{name: values.pop(name) for name in _COUNTS})
    return Run(**values | {"counts": counts, "notes": tuple(row.notes)})


def _rejection(row: sa.Row[tuple[object, ...]]) -> Rejection:
    values = dict(row._mapping)
    del values["position"]
    return Rejection(**values)


def _run_id(at: datetime) -> str:
    """Such as `20261123T155018042-9f3c1a`: sorts by the start, to the millisecond."""
    utc = at.astimezone(UTC)
    return f"{utc:%Y%m%dT%H%M%S}{utc.microsecond // 1000:03d}-{secrets.token_hex(3)}"
