"""The run log: what ran and how it ended, what is refused now, and what is paused."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import sqlalchemy as sa

from syncer.model.errors import StateDatabaseError
from syncer.model.types import Counts, Finding, Order, Rejection, Run, RunStatus
from syncer.state.history import RunHistory
from syncer.state.schema import audit, pauses, rejection_totals, rejections, requests, run_of, runs, sessions, terms

#: The most rejections of one sync that are kept; beyond them only the number is known.
KEPT_REJECTIONS = 10_000

_NO_ROWS = Counts()


class TickAnsweredError(Exception):
    """Another run has answered this tick of the schedule."""


class OvertakenError(Exception):
    """The order is of a service that leads no longer: another one's term has begun."""


class RunLog(RunHistory):
    """The run log in a state database. Every change is durable when its method returns."""

    @property
    def log_id(self) -> str:
        """The database's random name; another one means that it was created again."""
        return self.database.log_id

    def start(self, sync: str, order: Order, definition_hash: str, at: datetime) -> str:
        """Record a run that begins, at once or as soon as there is room, and give its id; ids sort by time.

        An order that has the id of a recorded run begins that one now.

        Raises:
            TickAnsweredError: the order's tick has a run already.
            OvertakenError: the order's term is not the newest.
        """
        return self._add(sync, order, definition_hash, at, status=RunStatus.RUNNING)

    def record_skipped(self, sync: str, order: Order, definition_hash: str, at: datetime, *, note: str) -> str:
        """Record a run that did not begin, with the reason in its notes, and give its id.

        Raises:
            TickAnsweredError: the order's tick has a run already.
            OvertakenError: the order's term is not the newest.
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
        findings: Sequence[Finding] = (),
    ) -> None:
        """Record how a run ended.

        Units:
            phases: seconds, in the order they ran.
        Raises:
            StateDatabaseError: the run log has no such run: it was replaced meanwhile.
        """
        values = {"phases": dict(phases or {}), "error": error, "hint": hint, "notes": list(notes), **asdict(counts)}
        values["findings"] = [asdict(finding) for finding in findings]
        ended = runs.update().where(runs.c.id == run_id).values(status=status, finished_at=at, **values)
        with self.database.writing() as connection:
            if connection.execute(ended).rowcount != 1:
                raise StateDatabaseError(
                    f"the run log has no run {run_id}", hint="Was the run log replaced during the run?"
                )

    def interrupt_open(self, sync: str, at: datetime, *, promised: str | None = None) -> int:
        """Mark the runs of *sync* that never ended as `interrupted`, but for the one *promised*; returns how many.

        Only for who holds the sync's lock, before its own run starts: no other run of it can be alive then.
        """
        left_open = (runs.c.sync == sync) & (runs.c.status == RunStatus.RUNNING) & (runs.c.id != (promised or ""))
        with self.database.writing() as connection:
            return connection.execute(
                runs.update().where(left_open).values(status=RunStatus.INTERRUPTED, finished_at=at)
            ).rowcount

    def interrupt(self, run_id: str, at: datetime) -> None:
        """Mark one run that never ended as `interrupted`; only for who knows that it is dead."""
        left_open = (runs.c.id == run_id) & (runs.c.status == RunStatus.RUNNING)
        with self.database.writing() as connection:
            connection.execute(runs.update().where(left_open).values(status=RunStatus.INTERRUPTED, finished_at=at))

    def rejection_totals(self) -> dict[str, int]:
        """How many rows each sync has refused now; syncs without any are left out."""
        with self.database.reading() as connection:
            return {row.sync: row.total for row in connection.execute(sa.select(rejection_totals))}

    def purge(self, before: datetime) -> int:
        """Forget the runs that began before *before*, but for the newest of each sync and status; returns how many.

        What is refused now stays as well; old requests, sessions and lines of the audit go.
        """
        kept = sa.select(sa.func.max(runs.c.id)).group_by(runs.c.sync, runs.c.status)
        old = (runs.c.started_at < before) & (runs.c.status != RunStatus.RUNNING)
        with self.database.writing() as connection:
            for table, at in (
                (requests, requests.c.requested_at),
                (audit, audit.c.at),
                (sessions, sessions.c.expires_at),
            ):
                connection.execute(table.delete().where(at < before))
            return connection.execute(runs.delete().where(old, runs.c.id.not_in(kept))).rowcount

    def replace_rejections(self, sync: str, refused: Sequence[Rejection], total: int) -> None:
        """Record what *sync* has refused now, in place of what it had before; the first KEPT_REJECTIONS are kept.

        Units:
            total: rows, also those that *refused* leaves out.
        """
        rows = [{**asdict(row), "sync": sync, "position": i} for i, row in enumerate(refused[:KEPT_REJECTIONS])]
        with self.database.writing() as connection:
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
        with self.database.reading() as connection:
            rows = [_rejection(row) for row in connection.execute(kept)]
            total = connection.execute(
                sa.select(rejection_totals.c.total).where(rejection_totals.c.sync == sync)
            ).scalar_one_or_none()
        return rows, total or 0

    def rejections_of(self, syncs: Collection[str]) -> list[Rejection]:
        """What is kept of what any of *syncs* has refused now, by sync."""
        query = rejections.select().order_by(rejections.c.sync, rejections.c.position)
        with self.database.reading() as connection:
            return [_rejection(row) for row in connection.execute(query.where(rejections.c.sync.in_(syncs)))]

    def rejections_with(self, text: str, limit: int) -> list[Rejection]:
        """What any sync has refused now whose key contains *text*, as it is or as JSON spells it; by sync."""
        keys = rejections.c.key
        contains = keys.contains(text, autoescape=True) | keys.contains(
            json.dumps(text, ensure_ascii=False)[1:-1], autoescape=True
        )
        query = rejections.select().where(contains).order_by(rejections.c.sync, rejections.c.position).limit(limit)
        with self.database.reading() as connection:
            return [_rejection(row) for row in connection.execute(query)]

    def begin_term(self, holder: str, at: datetime) -> int:
        """Record that a service leads from now on, and give the number of its term, greater than every earlier one's.

        Shapes:
            holder: the service, for people.
        """
        with self.database.writing() as connection:
            term = (connection.execute(sa.select(sa.func.max(terms.c.term))).scalar_one() or 0) + 1
            connection.execute(terms.delete())
            connection.execute(terms.insert().values(term=term, holder=holder, began_at=at))
        return term

    def leader(self) -> str:
        """The service whose term is the newest, for people; empty where there never was one."""
        with self.database.reading() as connection:
            return connection.execute(sa.select(terms.c.holder)).scalar_one_or_none() or ""

    def pause(self, sync: str, at: datetime) -> None:
        """Keep *sync* from being scheduled, until it is resumed."""
        with self.database.writing() as connection:
            connection.execute(self.database.insert(pauses).values(sync=sync, paused_at=at).on_conflict_do_nothing())

    def resume(self, sync: str) -> None:
        """Let *sync* be scheduled again."""
        with self.database.writing() as connection:
            connection.execute(pauses.delete().where(pauses.c.sync == sync))

    def paused(self) -> set[str]:
        """The syncs that are paused."""
        with self.database.reading() as connection:
            return set(connection.execute(sa.select(pauses.c.sync)).scalars())

    def get(self, run_id: str) -> Run | None:
        """One run; None where there is none."""
        with self.database.reading() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.id == run_id)).one_or_none()
        return None if row is None else run_of(row)

    def last_started(self, sync: str) -> datetime | None:
        """When the newest run of *sync* that was not skipped started."""
        wanted = (runs.c.sync == sync) & (runs.c.status != RunStatus.SKIPPED)
        query = sa.select(runs.c.started_at).where(wanted).order_by(runs.c.id.desc()).limit(1)
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

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
            with self.database.writing() as connection:
                _fence(connection, order)
                connection.execute(runs.update().where(runs.c.id == order.run_id).values(**values))
            return order.run_id
        run_id = _run_id(at)
        order_values = {"trigger": order.trigger, "actor": order.actor, "due_at": order.due_at, "term": order.term}
        row = {"id": run_id, "sync": sync, "definition_hash": definition_hash, "phases": {}, "hint": ""}
        insert = self.database.insert(runs).values(**row, **order_values, **values)
        with self.database.writing() as connection:
            _fence(connection, order)
            once = insert.on_conflict_do_nothing(index_elements=["sync", "due_at"]).returning(runs.c.id)
            added = connection.execute(once).one_or_none()
        if added is None:
            raise TickAnsweredError(sync)
        return run_id


def _fence(connection: sa.Connection, order: Order) -> None:
    """Let only the newest term's runs be recorded; none begins in the transaction's time."""
    if order.term is None:
        return
    newest = sa.select(terms.c.term).where(terms.c.term == order.term).with_for_update(read=True)
    if connection.execute(newest).one_or_none() is None:
        raise OvertakenError


def _rejection(row: sa.Row[tuple[object, ...]]) -> Rejection:
    values = dict(row._mapping)
    del values["position"]
    return Rejection(**values)


def _run_id(at: datetime) -> str:
    """Such as `20261123T155018042-9f3c1a`: sorts by the start, to the millisecond."""
    utc = at.astimezone(UTC)
    return f"{utc:%Y%m%dT%H%M%S}{utc.microsecond // 1000:03d}-{secrets.token_hex(3)}"
