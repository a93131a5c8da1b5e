"""From when on the events of a store count, kept here for a store that keeps nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from syncer.model.types import Target
from syncer.state.database import StateDatabase
from syncer.state.schema import event_starts


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStarts:
    """What was decided for one store; see `KeepsEventStarts`."""

    database: StateDatabase
    store_id: str

    def event_start(self, target: Target) -> datetime | None:
        """See `KeepsEventStarts.event_start`."""
        which = [event_starts.c[name] == value for name, value in self._key(target).items()]
        with self.database.reading() as connection:
            found: datetime | None = connection.execute(
                sa.select(event_starts.c.start_at).where(*which)
            ).scalar_one_or_none()
        return found

    def start_events(self, target: Target, at: datetime) -> datetime:
        """See `KeepsEventStarts.start_events`."""
        row = self._key(target) | {"start_at": at}
        with self.database.writing() as connection:
            connection.execute(self.database.insert(event_starts).on_conflict_do_nothing(), row)
        kept = self.event_start(target)
        assert kept is not None
        return kept

    def _key(self, target: Target) -> dict[str, str]:
        columns = ", ".join(target.key_columns)
        return {"store_id": self.store_id, "name": target.events.label, "key_columns": columns}
