"""Sessions of people who logged in: the browser keeps a random token, the database only its hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from syncer.state.database import StateDatabase
from syncer.state.service_schema import sessions

#: How long a session lasts.
LENGTH = timedelta(hours=12)

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """The sessions in a state database."""

    database: StateDatabase
    #: The password's setting: a new password ends every session.
    password: str
    #: Gives aware UTC.
    now: Callable[[], datetime]

    def begin(self, actor: str) -> str:
        """Start a session, and return its token."""
        token, now = secrets.token_urlsafe(_TOKEN_BYTES), self.now()
        row = {"token_hash": self._hash(token), "actor": actor, "expires_at": now + LENGTH}
        with self.database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.expires_at <= now))
            connection.execute(sessions.insert().values(**row))
        return token

    def actor(self, token: str) -> str | None:
        """Whose session a token belongs to; None if it is unknown or has expired."""
        query = sa.select(sessions.c.actor).where(
            sessions.c.token_hash == self._hash(token), sessions.c.expires_at > self.now()
        )
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def end(self, token: str) -> None:
        """End a session."""
        with self.database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.token_hash == self._hash(token)))

    def _hash(self, token: str) -> str:
        return hmac.new(self.password.encode(), token.encode(), hashlib.sha256).hexdigest()
