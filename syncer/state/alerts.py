"""The open alerts, in the state database: they outlive the service."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from syncer.state.database import StateDatabase
from syncer.state.schema import alerts


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that is wrong with a sync, and of which a notice was sent."""

    sync: str
    #: An AlertKind; a newer version may have written another word.
    kind: str
    #: Aware UTC.
    since: datetime


class OpenAlerts:
    """The open alerts in a state database. Every change is durable when its method returns."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def all(self) -> list[Alert]:
        """Every open alert, by sync."""
        query = sa.select(alerts).order_by(alerts.c.sync, alerts.c.since, alerts.c.kind)
        with self._database.reading() as connection:
            return [Alert(sync=row.sync, kind=row.kind, since=row.since) for row in connection.execute(query)]

    def update(self, opened: Collection[Alert], closed: Iterable[tuple[str, str]]) -> None:
        """Open some alerts and close others, which are given by sync and kind, in one transaction."""
        with self._database.writing() as connection:
            for sync, kind in closed:
                connection.execute(alerts.delete().where(alerts.c.sync == sync, alerts.c.kind == kind))
            for alert in opened:
                row = {"sync": alert.sync, "kind": alert.kind, "since": alert.since}
                connection.execute(self._database.insert(alerts).values(**row).on_conflict_do_nothing())
