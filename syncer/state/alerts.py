"""The open alerts, in the state database: they outlive the service."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from syncer.state.database import StateDatabase
from syncer.state.service_schema import alerts


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that is wrong, and of which a notice was sent."""

    #: The name of a sync; None if the alert is not about one sync.
    sync: str | None
    #: An AlertKind; a newer version may have written another word.
    kind: str
    #: Aware UTC.
    since: datetime
    #: The sync, or what many syncs use, such as `warehouse crm`.
    about: str


class OpenAlerts:
    """The open alerts in a state database. Every change is durable when its method returns."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def all(self) -> list[Alert]:
        """Every open alert, by what it is about."""
        query = sa.select(alerts).order_by(alerts.c.sync, alerts.c.since, alerts.c.kind)
        with self._database.reading() as connection:
            return [_alert(row.sync, row.kind, row.since) for row in connection.execute(query)]

    def update(self, opened: Iterable[tuple[str, str]], closed: Collection[tuple[str, str]], at: datetime) -> None:
        """Open and close alerts, each given by what it is about and its kind, in one transaction."""
        with self._database.writing() as connection:
            for about, kind in closed:
                connection.execute(alerts.delete().where(alerts.c.sync == about, alerts.c.kind == kind))
            for about, kind in opened:
                row = {"sync": about, "kind": kind, "since": at}
                connection.execute(self._database.insert(alerts).values(**row).on_conflict_do_nothing())


def _alert(about: str, kind: str, since: datetime) -> Alert:
    # No name of a sync has a blank.
    return Alert(sync=None if " " in about else about, kind=kind, since=since, about=about)
