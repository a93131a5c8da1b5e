"""The run log: what each run records of itself, what is refused now, and what is paused."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from syncer.model.types import OPEN, Counts, Delivery, EndedBy, Order, Run, RunStatus
from syncer.state.run_ends import RunEnds, newest_kept
from syncer.state.schema import (
    latest,
    pauses,
    promises,
    run_of,
    runs,
)
from syncer.state.service_schema import audit, cancellations, leases, requests, sessions, terms

#: Rows that one transaction of `RunLog.purge` deletes, so that no other writer waits for long.
PURGED_AT_ONCE = 5_000

#: How long the name of a request counts.
REQUESTS_COUNT = timedelta(days=1)

_NO_ROWS, _NOTHING = Counts(), Delivery()


class TickAnsweredError(Exception):
    """Another run has answered this tick of the schedule."""


class OvertakenError(Exception):
    """The order is of a service that leads no longer, or of a worker that does not have the sync's lease any more."""


class RunLog(RunEnds):
    """The run log in a state database. Every change is durable when its method returns."""

    @property
    def log_id(self) -> str:
        """The database's random name; another one means that it was created again."""
        return self.database.log_id

    def start(self, sync: str, order: Order, definition_hash: str, at: datetime) -> str:
        """Record a run that begins now, and give its id; an order that has the id of a queued run begins that one.

        A queued run keeps its notes until its end, which replaces them.

        Raises:
            TickAnsweredError: the order's tick has a run already.
            OvertakenError: the order's term is not the newest.
        """
        return self._add(sync, order, definition_hash, at, status=RunStatus.RUNNING)

    def accept(
        self,
        sync: str,
        order: Order,
        definition_hash: str,
        at: datetime,
        *,
        request: str = "",
        notes: Sequence[str] = (),
    ) -> str:
        """Record a run that begins as soon as there is room, and give its id.

        Shapes:
            request: what the caller called the order, recorded in the same transaction; empty if it has no name.
            notes: for who makes the run, which adds them to its own.
        Raises:
            TickAnsweredError: the order's tick has a run already.
            OvertakenError: the order's term is not the newest.
        """
        return self._add(sync, order, definition_hash, at, status=RunStatus.QUEUED, request=request, notes=notes)

    def record_skipped(
        self, sync: str, order: Order, definition_hash: str, at: datetime, *, note: str, noted: Sequence[str] = ()
    ) -> str:
        """Record a run that did not begin, with the reason in its notes, and give its id.

        Shapes:
            noted: what its notes say besides.
        Raises:
            TickAnsweredError: the order's tick has a run already.
            OvertakenError: the order's term is not the newest.
        """
        notes = [*noted, note]
        return self._add(sync, order, definition_hash, at, status=RunStatus.SKIPPED, finished_at=at, notes=notes)

    def adopt(self, run_id: str, order: Order) -> bool:
        """Take over a queued run of an earlier term; returns whether it is queued still.

        Raises:
            OvertakenError: the order's term is not the newest.
        """
        queued = (runs.c.id == run_id) & (runs.c.status == RunStatus.QUEUED)
        with self.database.writing() as connection:
            _fence(connection, order)
            return connection.execute(runs.update().where(queued).values(term=order.term)).rowcount == 1

    def withdraw(self, run_id: str, at: datetime, *, why: str, by: EndedBy) -> bool:
        """Interrupt a run that has not begun; returns whether it had not. *why* may be empty."""
        queued = (runs.c.id == run_id) & (runs.c.status == RunStatus.QUEUED)
        ended = {"status": RunStatus.INTERRUPTED, "finished_at": at, "error": why or None, "ended_by": by}
        with self.database.writing() as connection, newest_kept(connection, run_id=run_id):
            return connection.execute(runs.update().where(queued).values(**ended)).rowcount == 1

    def queued_ids(self) -> set[str]:
        """The ids of the runs that wait to begin."""
        with self.database.reading() as connection:
            return set(connection.execute(sa.select(runs.c.id).where(runs.c.status == RunStatus.QUEUED)).scalars())

    def some(self, run_ids: Collection[str]) -> list[Run]:
        """Some runs, as far as there are such."""
        with self.database.reading() as connection:
            return [run_of(row) for row in connection.execute(sa.select(runs).where(runs.c.id.in_(run_ids)))]

    def purge(self, before: datetime) -> int:
        """Forget the runs that began before *before*; returns how many.

        The newest of each sync and status stay, and the one that answered its newest tick.

        What is refused now stays as well; old requests, sessions and lines of the audit go.
        """
        for key, at in (
            (requests.c.key, requests.c.requested_at),
            (cancellations.c.run_id, cancellations.c.requested_at),
            (audit.c.id, audit.c.at),
            (sessions.c.token_hash, sessions.c.expires_at),
        ):
            self._delete_in_parts(key, at < before)
        newer = runs.alias("newer")
        is_alike = newer.c.fruitless.is_not_distinct_from(runs.c.fruitless) & (newer.c.status == runs.c.status)
        kept = sa.select(sa.func.max(newer.c.seq)).where(newer.c.sync == runs.c.sync, is_alike)
        answer = sa.select(sa.func.max(newer.c.due_at)).where(newer.c.sync == runs.c.sync).scalar_subquery()
        old = (runs.c.started_at < before) & runs.c.status.not_in(OPEN) & (runs.c.seq < kept.scalar_subquery())
        return self._delete_in_parts(runs.c.seq, old & (runs.c.due_at.is_(None) | (runs.c.due_at < answer)))

    def _delete_in_parts(self, key: sa.Column[Any], old: sa.ColumnElement[bool]) -> int:
        """Delete the rows that are *old*, in transactions that are short; returns how many."""
        some = sa.select(key).where(old).limit(PURGED_AT_ONCE)
        deleted = 0
        while True:
            with self.database.writing() as connection:
                number = connection.execute(sa.delete(key.table).where(key.in_(some))).rowcount
            deleted += number
            if number < PURGED_AT_ONCE:
                return deleted

    def begin_term(self, holder: str, at: datetime) -> int:
        """Record that a service leads from now on, and give the number of its term, greater than every earlier one's.

        Shapes:
            holder: the service, for people.
        """
        from syncer.state.upgrades import take_in_earlier

        with self.database.writing() as connection:
            term = (connection.execute(sa.select(sa.func.max(terms.c.term))).scalar_one() or 0) + 1
            connection.execute(terms.delete())
            connection.execute(terms.insert().values(term=term, holder=holder, began_at=at))
            take_in_earlier(connection)
        return term

    def pause(self, sync: str, at: datetime) -> None:
        """Keep *sync* from being scheduled, until it is resumed."""
        with self.database.writing() as connection:
            connection.execute(self.database.insert(pauses).values(sync=sync, paused_at=at).on_conflict_do_nothing())

    def resume(self, sync: str, at: datetime) -> None:
        """Let *sync* be scheduled again; ticks up to *at* are no longer due."""
        with self.database.writing() as connection:
            if connection.execute(pauses.delete().where(pauses.c.sync == sync)).rowcount:
                anew = {"schedule": None, "since": at, "at_once": False}
                insert = self.database.insert(promises).values(sync=sync, **anew)
                connection.execute(insert.on_conflict_do_update(index_elements=["sync"], set_=anew))

    def get(self, run_id: str) -> Run | None:
        """One run; None where there is none."""
        with self.database.reading() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.id == run_id)).one_or_none()
        return None if row is None else run_of(row)

    def last_started(self, sync: str) -> datetime | None:
        """When the newest run of *sync* that was not skipped started, also one of single rows."""
        begun = [status for status in RunStatus if status not in (RunStatus.QUEUED, RunStatus.SKIPPED)]
        of_one = sa.select(runs.c.seq, runs.c.started_at).where(runs.c.sync == sync).order_by(runs.c.seq.desc())
        newest = [of_one.where(runs.c.status == status).limit(1).subquery() for status in begun]
        with self.database.reading() as connection:
            found = connection.execute(sa.union_all(*(sa.select(each) for each in newest))).all()
        return max(found, key=itemgetter(0))[1] if found else None

    def last_moment(self) -> datetime | None:
        """When the newest run that may have sent something, of any sync, began, or ended if that was later."""
        ended = (RunStatus.SUCCESS, RunStatus.WARNING, RunStatus.FAILED)
        query = sa.select(runs.c.started_at, runs.c.finished_at).where(runs.c.status.in_(ended))
        with self.database.reading() as connection:
            found = connection.execute(query.order_by(runs.c.seq.desc()).limit(1)).one_or_none()
        return None if found is None else max(filter(None, found))

    def counts_from(self, sync: str, now: datetime) -> datetime:
        """From when on what a run sends counts: a store may hold on to what is newer, also after a clock was set."""
        with self.database.reading():
            last, ahead = self.last_started(sync), self.sent_ahead_of(sync, now)
        return ahead or (max(now, last + timedelta(seconds=1)) if last and last <= now else now)

    def sent_ahead_of(self, sync: str, now: datetime) -> datetime | None:
        """From when on what a sync sends counts if a clock that was ahead of *now* dated what it sent before.

        None if none was. Each run counts from a second after the one before it.
        """
        may_have_sent = runs.c.status.not_in([RunStatus.QUEUED, RunStatus.SKIPPED, RunStatus.HELD])
        ahead = sa.select(runs.c.seq, runs.c.started_at).where(runs.c.sync == sync, may_have_sent)
        ahead = ahead.where(runs.c.started_at > now).order_by(runs.c.started_at.desc()).limit(1)
        with self.database.reading() as connection:
            found = connection.execute(ahead).one_or_none()
            if found is None:
                return None
            later = sa.select(sa.func.count()).where(runs.c.sync == sync, runs.c.seq > found.seq)
            last: datetime = found.started_at
            return last + timedelta(seconds=1 + connection.execute(later).scalar_one())

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
        request: str = "",
    ) -> str:
        values: dict[str, Any] = {"status": status, "started_at": at, "finished_at": finished_at}
        if notes or not order.run_id:
            values["notes"] = list(notes)
        if order.run_id:
            with self.database.writing() as connection:
                _fence(connection, order)
                if order.worker:
                    _check_lease(connection, sync, order)
                with newest_kept(connection, sync):
                    # The order of the log is that in which runs begin.
                    values |= {"seq": self._next_seq(), "definition_hash": definition_hash}
                    values["worker"] = order.worker or None
                    connection.execute(runs.update().where(runs.c.id == order.run_id).values(**values))
            return order.run_id
        run_id = _run_id(at)
        order_values = {name: getattr(order, name) for name in ("trigger", "actor", "due_at", "term", "scope")}
        order_values["options"] = " ".join(order.options)
        row = {"id": run_id, "sync": sync, "definition_hash": definition_hash, "phases": {}, "hint": ""}
        values["ordered_at"] = at if status is RunStatus.QUEUED else None
        insert = self.database.insert(runs).values(**row, **order_values, **values)
        if not self.database.is_shared:
            insert = insert.values(seq=self._next_seq())
        known = self.database.insert(latest).values(sync=sync, first_started_at=at).on_conflict_do_nothing()
        with self.database.writing() as connection:
            _fence(connection, order)
            connection.execute(known)
            with newest_kept(connection, sync):
                once = insert.on_conflict_do_nothing(index_elements=["sync", "due_at"]).returning(runs.c.id)
                added = connection.execute(once).one_or_none()
            if added is not None and request:
                old = requests.c.requested_at <= at - REQUESTS_COUNT
                connection.execute(requests.delete().where(old | (requests.c.key == request)))
                named = {"key": request, "sync": sync, "options": " ".join(order.options)}
                connection.execute(requests.insert().values(**named, run_id=run_id, requested_at=at))
        if added is None:
            raise TickAnsweredError(sync)
        return run_id

    def _next_seq(self) -> sa.ColumnElement[int]:
        if self.database.is_shared:
            return sa.func.nextval(sa.func.pg_get_serial_sequence(runs.name, "seq"), type_=sa.BigInteger)
        return sa.select(sa.func.coalesce(sa.func.max(runs.c.seq), 0) + 1).scalar_subquery()


def _fence(connection: sa.Connection, order: Order) -> None:
    """Let only the newest term's runs be recorded; none begins in the transaction's time."""
    if order.term is None:
        return
    newest = sa.select(terms.c.term).where(terms.c.term == order.term).with_for_update(read=True)
    if connection.execute(newest).one_or_none() is None:
        raise OvertakenError


def _check_lease(connection: sa.Connection, sync: str, order: Order) -> None:
    """Let a worker begin a run only if it has the sync's lease, and nobody has ended the run."""
    mine = (leases.c.sync == sync) & (leases.c.worker == order.worker) & (leases.c.run_id == order.run_id)
    leased = connection.execute(sa.select(leases.c.sync).where(mine).with_for_update()).first()
    # Nobody may withdraw it either before the transaction ends.
    open_ = sa.select(runs.c.id).where(runs.c.id == order.run_id, runs.c.status.in_(OPEN)).with_for_update()
    if leased is None or connection.execute(open_).first() is None:
        raise OvertakenError


def _run_id(at: datetime) -> str:
    """Such as `20261123T155018042-9f3c1a`: sorts by the start, to the millisecond."""
    utc = at.astimezone(UTC)
    return f"{utc:%Y%m%dT%H%M%S}{utc.microsecond // 1000:03d}-{secrets.token_hex(3)}"
