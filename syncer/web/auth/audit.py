"""Who did what by way of the page and the API."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from syncer.state.database import StateDatabase
from syncer.state.schema import audit
from syncer.web.auth.principals import Caller


class AuditAction(enum.StrEnum):
    """What somebody did."""

    RUN = "run"
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    PLAN = "plan"
    LOGIN = "login"
    FAILED_LOGIN = "failed_login"
    LOGOUT = "logout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One deed."""

    #: Counted from 1; later ones have greater numbers.
    id: int
    at: datetime
    #: Empty where nobody had said who they are.
    actor: str
    address: str
    action: AuditAction
    #: The sync and the run that it was about; empty where it was about none.
    sync: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The audit in the run log."""

    database: StateDatabase
    #: Gives aware UTC.
    now: Callable[[], datetime]

    def record(
        self, caller: Caller, deed: AuditAction, *, actor: str | None = None, sync: str = "", run_id: str = ""
    ) -> None:
        """Write down what somebody does; *actor* where it is not yet the caller."""
        row = {
            "at": self.now(),
            "actor": caller.actor if actor is None else actor,
            "address": caller.address,
            "action": deed,
            "sync": sync,
            "run_id": run_id,
        }
        with self.database.writing() as connection:
            connection.execute(audit.insert().values(**row))

    def page(self, *, before: int | None, limit: int) -> list[Entry]:
        """The newest deeds, newest first, of those older than the one *before*."""
        query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        with self.database.reading() as connection:
            rows = [dict(row._mapping) for row in connection.execute(query)]
        return [Entry(**row | {"action": AuditAction(row["action"])}) for row in rows]
