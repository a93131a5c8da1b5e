"""The audit log: who did what on the page and through the API."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from syncer.state.database import StateDatabase
from syncer.state.service_schema import audit


class AuditAction(enum.StrEnum):
    """One action of a user."""

    RUN = "run"
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    PLAN = "plan"
    ACKNOWLEDGE = "acknowledge"
    UNACKNOWLEDGE = "unacknowledge"
    MUTE = "mute"
    UNMUTE = "unmute"
    FORGET = "forget"
    LOGIN = "login"
    FAILED_LOGIN = "failed_login"
    LOGOUT = "logout"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One action of one caller."""

    #: Counted from 1; later ones have greater numbers.
    id: int
    at: datetime
    #: Empty if the caller is unknown.
    actor: str
    address: str
    action: AuditAction
    #: Empty if the action is about no sync or no run.
    sync: str
    run_id: str
    #: Of a run: words such as `allow_limits`.
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The audit log in a state database."""

    database: StateDatabase
    #: Gives aware UTC.
    now: Callable[[], datetime]

    def record(
        self,
        action: AuditAction,
        *,
        actor: str,
        address: str,
        sync: str = "",
        run_id: str = "",
        options: Sequence[str] = (),
    ) -> None:
        """Add an entry; it is durable when this returns."""
        row = {"at": self.now(), "actor": actor, "address": address, "action": action, "sync": sync, "run_id": run_id}
        row["options"] = " ".join(options)
        with self.database.writing() as connection:
            connection.execute(audit.insert().values(**row))

    def page(self, *, before: int | None, limit: int) -> list[AuditEntry]:
        """The newest entries, newest first; only those older than entry *before* if it is given."""
        query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        with self.database.reading() as connection:
            rows = [dict(row._mapping) for row in connection.execute(query)]
        return [
            AuditEntry(**row | {"action": AuditAction(row["action"]), "options": tuple(row["options"].split())})
            for row in rows
        ]
