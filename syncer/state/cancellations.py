"""Runs that are to end, whatever process makes them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from syncer.state.database import StateDatabase
from syncer.state.service_schema import cancellations


@dataclass(frozen=True, slots=True)
class Cancellations:
    """What was asked of open runs, in a state database; the process that makes a run looks here every second or two."""

    database: StateDatabase

    def ask(self, run_id: str, actor: str, at: datetime) -> None:
        """Ask a run to end after the batch in hand; the first *actor* counts."""
        asked = self.database.insert(cancellations).values(run_id=run_id, actor=actor, requested_at=at)
        with self.database.writing() as connection:
            connection.execute(asked.on_conflict_do_nothing())

    def of(self, run_ids: Collection[str]) -> dict[str, str]:
        """Those of some runs that are to end, and who said so."""
        query = sa.select(cancellations.c.run_id, cancellations.c.actor)
        with self.database.reading() as connection:
            found = connection.execute(query.where(cancellations.c.run_id.in_(run_ids)))
            return {row.run_id: row.actor for row in found}
