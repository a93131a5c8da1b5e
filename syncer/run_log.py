"""The run log: what ran and how it ended, what is refused now, and what is paused."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime

import sqlalchemy as sa

from syncer.errors import StateDatabaseError
from syncer.state_database import StateDatabase
from syncer.state_schema import pauses, rejection_totals, rejections, runs
from syncer.types import Counts, Rejection, Run, RunStatus, Trigger

#: The most rejections of one sync that are kept; beyond them only the number is known.
KEPT_REJECTIONS = 10_000

_NO_ROWS = Counts()
_COUNTS = tuple(field.name for field in fields(Counts))


class RunLog:
    """The run log in a state database. Every change is durable when its method returns."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    @property
    def log_id(self) -> str:
        """The database's random name; another one means that it was made anew."""
        return self._database.log_id

    def start(self, sync: str, trigger: Trigger, definition_hash: str, at: datetime) -> str:
        """Record a run that begins, and give its id; ids sort by time."""
        return self._add(sync, trigger, definition_hash, at, status=RunStatus.RUNNING)

    def record_skipped(self, sync: str, trigger: Trigger, definition_hash: str, at: datetime, *, note: str) -> str:
        """Record a run that did not begin, with the reason in its notes, and give its id."""
        return self._add(sync, trigger, definition_hash, at, status=RunStatus.SKIPPED, finished_at=at, notes=[note])

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

    def recent(self, sync: str | None = None, limit: int = 20) -> list[Run]:
        """The newest runs of one sync, or of all, newest first."""
        query = sa.select(runs).order_by(runs.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            return [
                _run(row) for row in connection.execute(query if sync is None else query.where(runs.c.sync == sync))
            ]

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

    def rejections(self, sync: str) -> tuple[list[Rejection], int]:
        """What *sync* has refused now, in the order recorded, and how many rows that are, also those not kept."""
        kept = rejections.select().where(rejections.c.sync == sync).order_by(rejections.c.position)
        with self._database.reading() as connection:
            rows = [_rejection(row) for row in connection.execute(kept)]
            total = connection.execute(
                sa.select(rejection_totals.c.total).where(rejection_totals.c.sync == sync)
            ).scalar_one_or_none()
        return rows, total or 0

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
        trigger: Trigger,
        definition_hash: str,
        at: datetime,
        *,
        status: RunStatus,
        finished_at: datetime | None = None,
        notes: Sequence[str] = (),
    ) -> str:
        run_id = _run_id(at)
        values = {"sync": sync, "trigger": trigger, "definition_hash": definition_hash, "started_at": at}
        empty = {"phases": {}, "hint": "", "notes": list(notes)}
        with self._database.writing() as connection:
            connection.execute(
                runs.insert().values(id=run_id, status=status, finished_at=finished_at, **values, **empty)
            )
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
