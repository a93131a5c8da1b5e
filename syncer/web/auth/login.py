"""Logging in with the password, and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import anyio.to_thread
import argon2
from fastapi import APIRouter, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response

from syncer.settings.service import WebSettings
from syncer.state.audit import Audit, AuditAction
from syncer.state.sessions import LENGTH, Sessions
from syncer.web import rendering
from syncer.web.auth.principals import caller
from syncer.web.auth.safety import Names
from syncer.web.auth.throttle import Throttle
from syncer.web.problems import ProblemError

#: The run log's word for who knows the password: nobody tells who they are.
ACTOR = "password"

_COOKIE = "syncer_session"
#: Browsers accept a cookie of this name only over TLS, and only from this very host.
_SECURE_COOKIE = f"__Host-{_COOKIE}"

_LONGEST_TOKEN = 100
_LONGEST_PASSWORD = 1000
_LONGEST_ADDRESS = 2000


class Password:
    """The password, of which only an Argon2 hash is kept."""

    def __init__(self, setting: str) -> None:
        """*setting*: in plain, or its hash."""
        self._hasher = argon2.PasswordHasher()
        self._hash = setting if setting.startswith("$argon2") else self._hasher.hash(setting)
        # Each look takes 64 MB and a part of a second on purpose, so callers wait for their turn.
        self._turns = anyio.CapacityLimiter(1)

    async def is_right(self, guess: str) -> bool:
        """Whether somebody knows it."""
        return await anyio.to_thread.run_sync(self._matches, guess, limiter=self._turns)

    def _matches(self, guess: str) -> bool:
        try:
            return self._hasher.verify(self._hash, guess)
        except argon2.exceptions.VerifyMismatchError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginService:
    """What logging in needs."""

    password: Password
    sessions: Sessions
    throttle: Throttle
    audit: Audit
    names: Names

    async def enter(self, request: Request, guess: str, wanted: str) -> Response:
        """Log in, or say why not."""
        who = caller(request)
        wait = self.throttle.guess(who.address)
        if wait is not None:
            seconds = str(int(wait.total_seconds()) + 1)
            headers = {"Retry-After": seconds}
            return _form(wanted, f"Too many attempts; wait {seconds} seconds.", status=429, headers=headers)
        if len(guess) > _LONGEST_PASSWORD or not await self.password.is_right(guess):
            await run_in_threadpool(self._record, AuditAction.FAILED_LOGIN, who.actor, who.address)
            return _form(wanted, "This is not the password.", status=401)
        self.throttle.forgive(who.address)
        token = await run_in_threadpool(self.sessions.begin, ACTOR)
        await run_in_threadpool(self._record, AuditAction.LOGIN, ACTOR, who.address)
        response = RedirectResponse(wanted, 303)
        _set_cookie(response, token, secure=self.names.is_secure(request))
        return response

    def leave(self, request: Request) -> Response:
        """Log out."""
        token, who = session_token(request), caller(request)
        if token is not None:
            self.sessions.end(token)
        self._record(AuditAction.LOGOUT, who.actor, who.address)
        response = RedirectResponse("/login", 303)
        response.delete_cookie(_COOKIE, path="/", httponly=True, samesite="strict")
        response.delete_cookie(_SECURE_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
        return response

    def _record(self, action: AuditAction, actor: str, address: str) -> None:
        self.audit.record(action, actor=actor, address=address)


def session_token(request: HTTPConnection) -> str | None:
    """The session's token that a browser sends."""
    token = request.cookies.get(_SECURE_COOKIE) or request.cookies.get(_COOKIE)
    return token if token and len(token) <= _LONGEST_TOKEN else None


def _set_cookie(response: Response, token: str, *, secure: bool) -> None:
    """Store a token in the browser: no script can read it, and no other site's page can make the browser send it."""
    name, age = _SECURE_COOKIE if secure else _COOKIE, int(LENGTH.total_seconds())
    response.set_cookie(name, token, max_age=age, path="/", secure=secure, httponly=True, samesite="strict")


def router(door: LoginService | None) -> APIRouter:
    """The routes; without a password there is no door."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/login")
    def show(next: str = "/") -> Response:  # noqa: A002
        if door is None:
            raise _no_door()
        return _form(_own(next))

    @routes.post("/login")
    async def log_in(
        request: Request,
        password: Annotated[str, Form()],
        next: Annotated[str, Form()] = "/",  # noqa: A002
    ) -> Response:
        if door is None:
            raise _no_door()
        return await door.enter(request, password, _own(next))

    @routes.post("/logout")
    def log_out(request: Request) -> Response:
        if door is None:
            raise _no_door()
        return door.leave(request)

    return routes


def has_password(web: WebSettings) -> bool:
    """Whether people can log in."""
    return bool(web.password)


def _no_door() -> ProblemError:
    return ProblemError(404, "nobody logs in here: no password is set", hint="Set SYNCER_WEB__PASSWORD.")


def _form(wanted: str, fault: str = "", *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return rendering.page("login.html", status=status, headers=headers, next=wanted, fault=fault)


def _own(address: str) -> str:
    """An address of this service to go to, so that no link can lead from the login to elsewhere."""
    is_own = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if is_own and len(address) <= _LONGEST_ADDRESS else "/"
