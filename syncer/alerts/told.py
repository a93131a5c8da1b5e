"""What somebody was told of and is not over, in the state database: it outlives the service."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from syncer.state.database import StateDatabase
from syncer.state.schema import alerts


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that is wrong with a sync, and that somebody was told of."""

    sync: str
    #: A AlertKind; another word where a newer version wrote it.
    kind: str
    #: Aware UTC.
    since: datetime


class Told:
    """The alerts in a state database. Every change is durable when its method returns."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def all(self) -> list[Alert]:
        """Every alert that is not over, by sync."""
        query = sa.select(alerts).order_by(alerts.c.sync, alerts.c.since, alerts.c.kind)
        with self._database.reading() as connection:
            return [Alert(sync=row.sync, kind=row.kind, since=row.since) for row in connection.execute(query)]

    def change(self, begun: Collection[Alert], over: Iterable[tuple[str, str]]) -> None:
        """Record what began and what is over, of which sync and kind, in one go."""
        with self._database.writing() as connection:
            for sync, kind in over:
                connection.execute(alerts.delete().where(alerts.c.sync == sync, alerts.c.kind == kind))
            for alert in begun:
                row = {"sync": alert.sync, "kind": alert.kind, "since": alert.since}
                connection.execute(self._database.insert(alerts).values(**row).on_conflict_do_nothing())
