"""Claims: which run of a sync was the last to send, over all machines that share a run log.

Each machine has a snapshot of its own. Before a run sends anything it writes its id into its snapshot and claims the
sync here; a snapshot that does not know the newest claim is out of date, since rows were sent from another one.
"""

from __future__ import annotations

import sqlalchemy as sa

from syncer.state.database import StateDatabase
from syncer.state.schema import newest_snapshots


class Claims:
    """The newest claim of each sync, in a state database."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def newest(self, sync: str) -> str:
        """The run that claimed *sync* last, or what stands in its place; empty where none did."""
        query = sa.select(newest_snapshots.c.run_id).where(newest_snapshots.c.sync == sync)
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one_or_none() or ""

    def make(self, sync: str, run_id: str, *, after: str) -> bool:
        """Claim *sync* durably for a run, if *after* is the newest claim still; returns whether it is."""
        mine = {"sync": sync, "run_id": run_id}
        claim = (
            newest_snapshots.update().where(newest_snapshots.c.sync == sync, newest_snapshots.c.run_id == after)
            if after
            else self._database.insert(newest_snapshots).on_conflict_do_nothing()
        )
        with self._database.writing() as connection:
            made = connection.execute(claim.values(mine).returning(newest_snapshots.c.run_id))
            return made.one_or_none() is not None

    def confirm(self, sync: str, run_id: str) -> bool:
        """Tell, of a run that sends no more, whether its claim is the newest still.

        If it is not, the store may have taken this run's values after those of a newer one: then no snapshot of the
        sync counts as up to date any more.
        """
        overtaken = (newest_snapshots.c.sync == sync) & (newest_snapshots.c.run_id != run_id)
        spoil = newest_snapshots.update().where(overtaken).values(run_id=f"{run_id} was overtaken")
        with self._database.writing() as connection:
            return connection.execute(spoil).rowcount == 0
