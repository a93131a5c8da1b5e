"""Who is logged in on the page: the browser has a random token, the run log only a hash of it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from starlette.requests import HTTPConnection
from starlette.responses import Response

from syncer.settings.service import Scope
from syncer.state.database import StateDatabase
from syncer.state.schema import sessions
from syncer.web.auth.principals import Means, Principal

#: How long somebody stays logged in.
LENGTH = timedelta(hours=12)

_COOKIE = "syncer_session"
#: Browsers take a cookie of this name only by TLS, and from this very host.
_SECURE_COOKIE = f"__Host-{_COOKIE}"

_TOKEN_BYTES = 32
_LONGEST_TOKEN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """The sessions in the run log."""

    database: StateDatabase
    #: The password's setting: with another password every session ends.
    password: str
    #: Gives aware UTC.
    now: Callable[[], datetime]

    def begin(self, actor: str) -> str:
        """Log somebody in, and give the token for their browser."""
        token, now = secrets.token_urlsafe(_TOKEN_BYTES), self.now()
        row = {"token_hash": self._hash(token), "actor": actor, "expires_at": now + LENGTH}
        with self.database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.expires_at <= now))
            connection.execute(sessions.insert().values(**row))
        return token

    def principal(self, token: str) -> Principal | None:
        """Whom a token logs in; None for one that is unknown, or over."""
        query = sa.select(sessions.c.actor).where(
            sessions.c.token_hash == self._hash(token), sessions.c.expires_at > self.now()
        )
        with self.database.reading() as connection:
            actor = connection.execute(query).scalar_one_or_none()
        return None if actor is None else Principal(actor=actor, scope=Scope.RUN, means=Means.SESSION)

    def end(self, token: str) -> None:
        """Log out."""
        with self.database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.token_hash == self._hash(token)))

    def _hash(self, token: str) -> str:
        return hmac.new(self.password.encode(), token.encode(), hashlib.sha256).hexdigest()


def token_of(request: HTTPConnection) -> str | None:
    """The token that a browser sends."""
    token = request.cookies.get(_SECURE_COOKIE) or request.cookies.get(_COOKIE)
    return token if token and len(token) <= _LONGEST_TOKEN else None


def give(response: Response, token: str, *, secure: bool) -> None:
    """Let the browser keep a token, which no script can read and no other site's page makes it send."""
    response.set_cookie(
        _SECURE_COOKIE if secure else _COOKIE,
        token,
        max_age=int(LENGTH.total_seconds()),
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )


def take_back(response: Response) -> None:
    """Let the browser forget its token."""
    response.delete_cookie(_COOKIE, path="/", httponly=True, samesite="strict")
    response.delete_cookie(_SECURE_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
