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
class Sessions:
    """The sessions in a state database."""

    database: StateDatabase
    #: The setting of each actor's password: a new password ends their sessions.
    passwords: Mapping[str, str]
    #: Gives aware UTC.
    now: Callable[[], datetime]

    def begin(self, actor: str) -> str:
        """Start a session, and return its token."""
        token, now = secrets.token_urlsafe(_TOKEN_BYTES), self.now()
        row = {"token_hash": _hash(self.passwords[actor], token), "actor": actor, "expires_at": now + LENGTH}
        with self.database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.expires_at <= now))
            connection.execute(sessions.insert().values(**row))
        return token

    def actor(self, token: str) -> str | None:
        """Whose session a token belongs to; None if it is unknown or has expired."""
        hashes = {actor: _hash(password, token) for actor, password in self.passwords.items()}
        query = sa.select(sessions.c.token_hash, sessions.c.actor).where(
            sessions.c.token_hash.in_(hashes.values()), sessions.c.expires_at > self.now()
        )
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        # Another person may have the same password.
        return row.actor if row is not None and hashes.get(row.actor) == row.token_hash else None

    def end(self, token: str) -> None:
        """End a session."""
        hashes = {_hash(password, token) for password in self.passwords.values()}
        with self.database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.token_hash.in_(hashes)))


def _hash(password: str, token: str) -> str:
    return hmac.new(password.encode(), token.encode(), hashlib.sha256).hexdigest()
