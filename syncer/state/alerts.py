"""The open alerts, and the syncs whose alerts are muted, in the state database: they outlive the service."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from syncer.state.database import StateDatabase
from syncer.state.service_schema import alerts, mutes


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """That nobody gets a notice of a sync for a while. Times are aware UTC."""

    sync: str
    #: Who muted it.
    actor: str
    reason: str
    at: datetime
    until: datetime


class Mutes:
    """The muted syncs in a state database. Every change is durable when its method returns."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def current(self, now: datetime) -> dict[str, Mute]:
        """The syncs that are muted, by name."""
        query = sa.select(mutes).where(mutes.c.until > now).order_by(mutes.c.sync)
        with self._database.reading() as connection:
            return {row.sync: Mute(**row._mapping) for row in connection.execute(query)}

    def mute(self, mute: Mute) -> None:
        """Mute a sync, in place of an earlier mute; those that are over are forgotten."""
        with self._database.writing() as connection:
            connection.execute(mutes.delete().where((mutes.c.sync == mute.sync) | (mutes.c.until <= mute.at)))
            connection.execute(mutes.insert().values(**asdict(mute)))

    def unmute(self, sync: str) -> bool:
        """Let a sync send notices again; returns whether it was muted, perhaps until a time that has passed."""
        with self._database.writing() as connection:
            return connection.execute(mutes.delete().where(mutes.c.sync == sync)).rowcount > 0


def _alert(about: str, kind: str, since: datetime) -> Alert:
    # No name of a sync has a blank.
    return Alert(sync=None if " " in about else about, kind=kind, since=since, about=about)
