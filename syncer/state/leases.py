"""Which worker makes the run of which sync: a lease that its worker renews, and others find out of date."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from syncer.model.types import RunStatus
from syncer.state.database import StateDatabase
from syncer.state.run_ends import RunEnds
from syncer.state.schema import runs
from syncer.state.service_schema import leases, workers

#: How often a worker renews its leases, and when one that it has not renewed counts as a dead worker's.
BEAT, DEAD = timedelta(seconds=2), timedelta(seconds=10)

#: How long a worker without a beat is remembered.
_REMEMBERED = timedelta(days=1)

_FORMAT = 1
_NOW = sa.func.clock_timestamp()
_IS_DEAD = leases.c.beat_at < _NOW - DEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedRun:
    """A run that a worker makes."""

    sync: str
    run_id: str
    #: Of the sync's snapshot; 0 where the run has not taken it yet.
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWorker:
    """A worker, and what it is doing."""

    worker: str
    host: str
    #: By the database's clock, aware UTC.
    beat_at: datetime
    #: Empty for all.
    queues: Sequence[str]
    running: Sequence[LeasedRun]
    #: Whether its last sign is no older than DEAD.
    lives: bool

    def takes(self, queue: str) -> bool:
        """Whether it makes the runs of that queue."""
        return not self.queues or queue in self.queues


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases in a state database in PostgreSQL. Every change is durable when its method returns.

    A run that a worker has begun has a lease until its end is in the run log: whoever takes a lease from a dead worker
    records that end first.
    """

    database: StateDatabase

    def take(self, sync: str, run_id: str, worker: str, at: datetime) -> bool:
        """Let a worker make the run of a sync; False where another one has its lease, and lives."""
        values = {"fence": 0, "worker": worker, "beat_at": _NOW, "run_id": run_id, "format": _FORMAT}
        insert = self.database.insert(leases).values(sync=sync, **values).on_conflict_do_nothing()
        with self.database.writing() as connection:
            self._end_dead(connection, leases.c.sync == sync, at)
            return connection.execute(insert.returning(leases.c.sync)).one_or_none() is not None

    def put_fence(self, sync: str, run_id: str, worker: str, fence: int) -> bool:
        """Record with which fence a run took its snapshot; False where the worker has the lease no longer."""
        with self.database.writing() as connection:
            mine = _of(sync, run_id, worker)
            return connection.execute(leases.update().where(mine).values(fence=fence)).rowcount == 1

    def holds(self, sync: str, run_id: str, worker: str) -> bool:
        """Whether a worker has the lease still."""
        with self.database.reading() as connection:
            return connection.execute(sa.select(leases.c.sync).where(_of(sync, run_id, worker))).first() is not None

    def release(self, sync: str, run_id: str, worker: str) -> None:
        """Let go of a lease, once the end of its run is recorded, or where the run never began."""
        with self.database.writing() as connection:
            connection.execute(leases.delete().where(_of(sync, run_id, worker)))

    def beat(self, worker: str, host: str, queues: Sequence[str], run_ids: Collection[str]) -> set[str]:
        """Show that a worker lives, and renew the leases of some runs; returns the runs whose leases it has still."""
        insert = self.database.insert(workers)
        row = {"worker": worker, "host": host, "began_at": _NOW, "beat_at": _NOW, "queues": [*queues]}
        shown = insert.values(row).on_conflict_do_update(index_elements=["worker"], set_={"beat_at": _NOW})
        mine = (leases.c.worker == worker) & leases.c.run_id.in_(run_ids)
        with self.database.writing() as connection:
            connection.execute(shown)
            if not run_ids:
                return set()
            renewed = leases.update().where(mine).values(beat_at=_NOW).returning(leases.c.run_id)
            return set(connection.execute(renewed).scalars())

    def leave(self, worker: str) -> None:
        """Forget a worker that ends; the leases of runs that it could not end go out of date."""
        with self.database.writing() as connection:
            connection.execute(workers.delete().where(workers.c.worker == worker))

    def end_dead(self, at: datetime) -> list[str]:
        """Mark the runs of dead workers as interrupted, and free their syncs; returns those."""
        with self.database.reading() as connection:
            if connection.execute(sa.select(leases.c.sync).where(_IS_DEAD).limit(1)).first() is None:
                return []
        with self.database.writing() as connection:
            connection.execute(workers.delete().where(workers.c.beat_at < _NOW - _REMEMBERED))
            return self._end_dead(connection, sa.true(), at)

    def _end_dead(self, connection: sa.Connection, which: sa.ColumnElement[bool], at: datetime) -> list[str]:
        freed = leases.delete().where(which, _IS_DEAD).returning(leases.c.sync, leases.c.run_id)
        found = connection.execute(freed).all()
        for row in found:
            if (
                connection.execute(sa.select(runs.c.status).where(runs.c.id == row.run_id)).scalar()
                is RunStatus.RUNNING
            ):
                RunEnds(self.database).interrupt(row.run_id, at)
        return [row.sync for row in found]

    def run_ids(self) -> set[str]:
        """The runs that have a lease, also those of dead workers that nobody has ended yet."""
        with self.database.reading() as connection:
            return set(connection.execute(sa.select(leases.c.run_id)).scalars())

    def workers(self) -> list[KnownWorker]:
        """The workers of the last day that did not end in order, by name; none where machines share no run log."""
        if not self.database.is_shared:
            return []
        known = sa.select(workers, (workers.c.beat_at >= _NOW - DEAD).label("lives")).order_by(workers.c.worker)
        with self.database.reading() as connection:
            leased = connection.execute(sa.select(leases).order_by(leases.c.sync)).all()
            found = connection.execute(known).all()
        running: Mapping[str, list[LeasedRun]] = {row.worker: [] for row in found}
        for row in leased:
            if row.worker in running:
                running[row.worker].append(LeasedRun(sync=row.sync, run_id=row.run_id, fence=row.fence))
        return [
            KnownWorker(
                worker=row.worker,
                host=row.host,
                beat_at=row.beat_at,
                queues=row.queues,
                running=running[row.worker],
                lives=row.lives,
            )
            for row in found
        ]


def _of(sync: str, run_id: str, worker: str) -> sa.ColumnElement[bool]:
    return (leases.c.sync == sync) & (leases.c.run_id == run_id) & (leases.c.worker == worker)
