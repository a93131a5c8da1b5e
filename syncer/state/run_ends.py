"""How runs end in the run log: each records its own end, and those of processes that died are marked as interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import cache

import sqlalchemy as sa

from syncer.model.errors import StateDatabaseError
from syncer.model.types import OPEN, Counts, Delivery, EndedBy, Finding, Order, Rejection, RunStatus
from syncer.state.history import RunHistory, fruitless_before
from syncer.state.newest_runs import newest_runs
from syncer.state.schema import delivery_values, latest, rejection_totals, rejections, runs
from syncer.state.service_schema import leases

#: The error of a run that was overtaken, and knows of none.
OVERTAKEN = "this process was taken for dead, or another run of this sync began, before it ended"

_NO_ROWS, _NOTHING = Counts(), Delivery()


def presence_of(term: int) -> str:
    """The name that a leader of a term holds for as long as its process lives; see `StateDatabase.is_held`."""
    return f"term {term}"


class RunEnds(RunHistory):
    """The ends of runs in a state database. Every change is durable when its method returns.

    A run is overtaken once another process has marked it as interrupted, or has begun another run of its sync. Of what
    it records then, only its own row counts: what its sync has refused, and how it stands, is for the newer run to say.
    """

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
        ended_by: EndedBy | None = None,
        delivery: Delivery = _NOTHING,
        fruitless: bool | None = False,
        bytes_fetched: int | None = None,
    ) -> None:
        """Record how a run ended, and of one that was interrupted who ended it.

        One that was overtaken was interrupted, whatever *status* says; one that has an end keeps it.

        Shapes:
            fruitless: None if it is as the run that showed the state of its sync before it.
        Units:
            phases: seconds, in the order they ran.
            bytes_fetched: of the result, as Arrow has it.
        Raises:
            StateDatabaseError: the run log has no such run: it was replaced meanwhile.
        """
        values = {"phases": dict(phases or {}), "error": error, "hint": hint, "notes": list(notes), **asdict(counts)}
        values |= delivery_values(delivery)
        values["fruitless"] = fruitless_before(run_id) if fruitless is None else fruitless
        values["bytes_fetched"] = bytes_fetched
        values |= {"findings": [asdict(finding) for finding in findings], "ended_by": ended_by}
        mine = runs.c.id == run_id
        with self.database.writing() as connection, newest_kept(connection, run_id=run_id):
            standing = connection.execute(sa.select(runs.c.status, runs.c.ended_by).where(mine)).one_or_none()
            if standing is None:
                raise StateDatabaseError(
                    f"the run log has no run {run_id}", hint="Was the run log replaced during the run?"
                )
            if _is_overtaken(*standing):
                by = EndedBy.TAKEOVER if standing.status in OPEN else ended_by or EndedBy.TAKEOVER
                values |= {"error": error or OVERTAKEN, "ended_by": by}
                status = RunStatus.INTERRUPTED
            elif standing.status not in OPEN:
                return
            connection.execute(runs.update().where(mine).values(status=status, finished_at=at, **values))

    def interrupt_open(
        self,
        sync: str,
        at: datetime,
        *,
        promised: str | None = None,
        beside: Order | None = None,
    ) -> int:
        """Mark the runs of *sync* that began and never ended as `interrupted`, but for *promised*; returns how many.

        Only for who holds the sync's lock, before its own run starts. Of this machine no other run can be alive then;
        one of another machine may be, which is overtaken from now on, and records its own end.

        Shapes:
            beside: as for `lives`; without it nobody else lives.
        """
        left_open = (runs.c.sync == sync) & (runs.c.status == RunStatus.RUNNING) & (runs.c.id != (promised or ""))
        with self.database.writing() as connection:
            found = connection.execute(sa.select(runs.c.id, runs.c.term).where(left_open)).all()
            if not found:
                return 0
            alive = [run_id for run_id, term in found if beside and self.lives(sync, term, run_id, beside=beside)]
            with newest_kept(connection, sync):
                overtaken = left_open & runs.c.id.in_(alive)
                connection.execute(runs.update().where(overtaken).values(ended_by=EndedBy.TAKEOVER))
                return connection.execute(_interrupted(at, EndedBy.CRASH).where(left_open, ~overtaken)).rowcount

    def lives(self, sync: str, term: int | None, run_id: str = "", *, beside: Order) -> bool:
        """Whether a process on another machine lives that may have begun a run of *sync*.

        Shapes:
            term: of the service that ordered it; None for a command.
            beside: of the caller's own run, which holds the sync already if it is a command's.
        """
        if not self.database.is_shared or (term is not None and term == beside.term):
            return False
        if term is not None:
            return self.database.is_held(presence_of(term)) or self.is_leased(run_id)
        return self.database.holders(sync) > (1 if beside.term is None else 0)

    def is_leased(self, run_id: str) -> bool:
        """Whether a worker makes a run; one that died does until its end is recorded."""
        with self.database.reading() as connection:
            return connection.execute(sa.select(leases.c.sync).where(leases.c.run_id == run_id)).first() is not None

    def interrupt(self, run_id: str, at: datetime, *, by: EndedBy = EndedBy.CRASH) -> None:
        """Mark one run that never ended as `interrupted`; only for who knows that it is dead."""
        left_open = (runs.c.id == run_id) & runs.c.status.in_(OPEN)
        with self.database.writing() as connection, newest_kept(connection, run_id=run_id):
            connection.execute(_interrupted(at, by).where(left_open))

    def replace_rejections(
        self, sync: str, refused: Sequence[Rejection], total: int, *, now: datetime, run_id: str = ""
    ) -> int:
        """Record what *sync* has refused now, in place of what it had before; see `rejections.record`.

        Shapes:
            run_id: the run that found it; one that was overtaken changes nothing.
        Units:
            total: rows, also those that *refused* leaves out.
        """
        with self.database.writing() as connection:
            if run_id and not _stands(connection, sync, run_id):
                return 0
            if not total:
                for table in (rejections, rejection_totals):
                    connection.execute(table.delete().where(table.c.sync == sync))
                return 0
            from syncer.state.rejections import record

            return record(connection, sync, refused, total, now=now)


@contextmanager
def newest_kept(connection: sa.Connection, sync: str = "", *, run_id: str = "") -> Iterator[None]:
    """Let `latest` follow what the block writes of one sync, or of the sync of one run; others wait meanwhile."""
    which = latest.c.sync == (sa.select(runs.c.sync).where(runs.c.id == run_id).scalar_subquery() if run_id else sync)
    locked = connection.execute(sa.select(latest.c.sync).where(which).with_for_update()).scalar_one_or_none()
    yield
    if locked is not None:
        connection.execute(_renewal(connection.dialect.name == "postgresql"), {"renewed": locked})


@cache
def _renewal(is_shared: bool) -> sa.Update:
    """Brings the row of the sync `renewed` up to date; made once, as it takes ten times as long as to execute it."""
    newest = newest_runs(sa.select(sa.bindparam("renewed").label("sync")).subquery("each"), is_shared=is_shared)
    values = {column.name: column for column in newest.c if column.name != "sync"}
    return latest.update().where(latest.c.sync == newest.c.sync).values(values)


def _interrupted(at: datetime, by: EndedBy) -> sa.Update:
    return runs.update().values(status=RunStatus.INTERRUPTED, finished_at=at, ended_by=by)


def _stands(connection: sa.Connection, sync: str, run_id: str) -> bool:
    """Whether a run is not overtaken; nobody overtakes it before the transaction ends."""
    connection.execute(sa.select(latest.c.sync).where(latest.c.sync == sync).with_for_update())
    standing = connection.execute(sa.select(runs.c.status, runs.c.ended_by).where(runs.c.id == run_id)).one_or_none()
    return standing is not None and not _is_overtaken(*standing)


def _is_overtaken(status: RunStatus, ended_by: EndedBy | None) -> bool:
    return status is RunStatus.INTERRUPTED or (status is RunStatus.RUNNING and ended_by is not None)
