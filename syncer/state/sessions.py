"""Sessions of people who logged in: the browser keeps a random token, the database only its hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from syncer.state.database import StateDatabase
from syncer.state.service_schema import sessions

#: How long a session lasts.
LENGTH = timedelta(hours=12)

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """Somebody with a session."""

    actor: str
    #: What they may do, as it was when they logged in; None if the settings say it.
    role: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """The sessions in a state database."""

    database: StateDatabase
    #: The setting of each actor's password: a new password ends their sessions.
    passwords: Mapping[str, str]
    #: Gives aware UTC.
    now: Callable[[], datetime]
    #: The settings of the provider that people log in through: others end their sessions. Empty without one.
    provider: str = ""

    def begin(self, actor: str, role: str | None = None) -> str:
        """Start a session of somebody with a password, or with the role that the provider gives; return its token."""
        token, now = secrets.token_urlsafe(_TOKEN_BYTES), self.now()
        key = self.passwords[actor] if role is None else self.provider
        row = {"token_hash": _hash(key, token), "actor": actor, "expires_at": now + LENGTH, "role": role}
        with self.database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.expires_at <= now))
            connection.execute(sessions.insert().values(**row))
        return token

    def find(self, token: str) -> LoggedIn | None:
        """Whose session a token belongs to; None if it is unknown or has expired."""
        query = sa.select(sessions.c.token_hash, sessions.c.actor, sessions.c.role).where(
            sessions.c.token_hash.in_(self._hashes(token)), sessions.c.expires_at > self.now()
        )
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        # Another person may have the same password.
        key = self.passwords.get(row.actor) if row.role is None else self.provider
        return LoggedIn(actor=row.actor, role=row.role) if key and _hash(key, token) == row.token_hash else None

    def end(self, token: str) -> None:
        """End a session."""
        with self.database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.token_hash.in_(self._hashes(token))))

    def _hashes(self, token: str) -> set[str]:
        return {_hash(key, token) for key in (*self.passwords.values(), self.provider) if key}


def _hash(password: str, token: str) -> str:
    return hmac.new(password.encode(), token.encode(), hashlib.sha256).hexdigest()
