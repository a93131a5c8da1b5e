"""Logging in, with the password on this page, and out; one address can only try so often."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

import anyio.to_thread
import argon2
from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response

from syncer.settings.service import SHARED, Role
from syncer.state.audit import Audit, AuditAction
from syncer.state.sessions import LENGTH, Sessions
from syncer.web import rendering, root_path
from syncer.web.auth.access import caller, ip_address
from syncer.web.auth.safety import AllowedHosts
from syncer.web.problems import ProblemError
from syncer.web.rendering import Context

_COOKIE = "syncer_session"
#: Browsers accept a cookie whose name begins so only over TLS, and only from this very host.
_SECURE = "__Host-"
#: The same below a root path, which that name does not allow; other services of the host do not get it.
_BELOW = "__Secure-"

#: Attempts of one address in a window.
GUESSES = 10
WINDOW = timedelta(minutes=5)

#: The most addresses to remember; older ones are forgotten.
_ADDRESSES = 10_000

_LONGEST_TOKEN = 100
_LONGEST_PASSWORD = 1000
_LONGEST_NAME = 200
_LONGEST_URL = 2000

router = APIRouter(include_in_schema=False)


class LoginContext(Context, template="login.html"):
    """The form for the password, and the name if people have one each; and the way to a provider."""

    asks_password: bool
    asks_name: bool
    #: The host of the OpenID Connect provider; empty if there is none.
    provider: str
    #: What somebody typed before.
    name: str = ""

    #: The URL to open after it.
    next: str
    #: Why the last attempt failed.
    fault: str = ""


class ContinueContext(Context, template="continue.html"):
    """After the provider: browsers send the strict cookie only when a page of this site leads on."""

    name: str
    role: Role
    #: The path below which the service is shown.
    root: str
    next: str


class Password:
    """The password, kept only as an Argon2 hash."""

    def __init__(self, setting: str) -> None:
        """*setting*: the password or its hash."""
        self._hasher = argon2.PasswordHasher()
        self._hash = setting if setting.startswith("$argon2") else self._hasher.hash(setting)
        # Each check takes 64 MB and a part of a second on purpose: one at a time.
        self._turns = anyio.CapacityLimiter(1)

    async def is_right(self, guess: str) -> bool:
        """Whether somebody knows it."""
        return await anyio.to_thread.run_sync(self._matches, guess, limiter=self._turns)

    def _matches(self, guess: str) -> bool:
        try:
            return self._hasher.verify(self._hash, guess)
        except argon2.exceptions.VerifyMismatchError:
            return False


@dataclass(slots=True, kw_only=True)
class Throttle:
    """Counts the attempts of each address; several threads may use it."""

    #: Gives aware UTC.
    now: Callable[[], datetime]
    _windows: OrderedDict[str, tuple[datetime, int]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def guess(self, address: str) -> timedelta | None:
        """Count an attempt before it is checked; returns how long to wait, or None if it is allowed."""
        network, now = _network(address), self.now()
        with self._lock:
            began, guesses = self._windows.pop(network, (now, 0))
            if now - began >= WINDOW:
                began, guesses = now, 0
            self._windows[network] = began, min(guesses + 1, GUESSES + 1)
            while len(self._windows) > _ADDRESSES:
                self._windows.popitem(last=False)
        return None if guesses < GUESSES else began + WINDOW - now

    def forgive(self, address: str) -> None:
        """Forget the attempts of an address after a right one."""
        with self._lock:
            self._windows.pop(_network(address), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginService:
    """Logs people in and out."""

    #: By the actor; SHARED is the one of everybody who gives no name.
    passwords: Mapping[str, Password]
    sessions: Sessions
    throttle: Throttle
    audit: Audit
    hosts: AllowedHosts
    #: The host of the OpenID Connect provider; empty if there is none.
    provider: str = ""

    def form(self, url: str, *, name: str = "", fault: str = "") -> LoginContext:
        """The form, which opens *url* after it."""
        return LoginContext(
            next=url,
            asks_password=bool(self.passwords),
            asks_name=any(actor != SHARED for actor in self.passwords),
            provider=self.provider,
            name=name,
            fault=fault,
        )

    def too_often(self, address: str, url: str, *, name: str = "") -> Response | None:
        """Count an attempt of an address; the answer if there were too many, else None."""
        wait = self.throttle.guess(address)
        if wait is None:
            return None
        seconds = str(int(wait.total_seconds()) + 1)
        form = self.form(url, name=name, fault=f"Too many attempts; wait {seconds} seconds.")
        return rendering.page(form, status=429, headers={"Retry-After": seconds})

    async def log_in(self, request: Request, name: str, guess: str, url: str) -> Response:
        """Start a session and open *url*, or show the form with the reason.

        Raises:
            ProblemError: nobody has a password.
        """
        address, actor = caller(request).address, name.strip() or SHARED
        if not self.passwords:
            raise ProblemError(404, "nobody has a password here", hint="Log in through the provider.")
        if (refusal := self.too_often(address, url, name=name)) is not None:
            return refusal
        # A name that nobody has takes as long as a wrong password.
        password = self.passwords.get(actor) or next(iter(self.passwords.values()))
        is_right = len(guess) <= _LONGEST_PASSWORD and await password.is_right(guess)
        if not is_right or actor not in self.passwords:
            await run_in_threadpool(self.audit.record, AuditAction.FAILED_LOGIN, actor="", address=address)
            fault = "Wrong name or password." if self.form(url).asks_name else "Wrong password."
            return rendering.page(self.form(url, name=name, fault=fault), status=401)
        response = RedirectResponse(url, 303)
        await self.begin(request, response, actor)
        return response

    async def begin(self, request: Request, response: Response, actor: str, role: str | None = None) -> None:
        """Start a session as `Sessions.begin`; the response gives it to the browser."""
        self.throttle.forgive(caller(request).address)
        token = await run_in_threadpool(self.sessions.begin, actor, role)
        await run_in_threadpool(self.audit.record, AuditAction.LOGIN, actor=actor, address=caller(request).address)
        _set_cookie(response, token, secure=self.hosts.is_secure(request))

    def log_out(self, request: Request) -> Response:
        """End the session."""
        token, who = session_token(request), caller(request)
        if token is not None:
            self.sessions.end(token)
        self.audit.record(AuditAction.LOGOUT, actor=who.actor, address=who.address)
        response = RedirectResponse("/login", 303)
        response.delete_cookie(_COOKIE, path=cookie_path(), httponly=True, samesite="strict")
        secure = cookie_name(_COOKIE, secure=True)
        response.delete_cookie(secure, path=cookie_path(), secure=True, httponly=True, samesite="strict")
        return response


def session_token(request: HTTPConnection) -> str | None:
    """The session's token that a browser sends."""
    token = request.cookies.get(cookie_name(_COOKIE, secure=True)) or request.cookies.get(_COOKIE)
    return token if token and len(token) <= _LONGEST_TOKEN else None


async def _login(request: Request) -> LoginService:
    found = request.app.state.login
    if not isinstance(found, LoginService):
        hint = "Set SYNCER_WEB__PASSWORD, a password for each person, or SYNCER_WEB__OIDC__ISSUER."
        raise ProblemError(404, "there is no login, as no password and no provider is set", hint=hint)
    return found


TheLogin = Annotated[LoginService, Depends(_login)]


@router.get("/login")
def show_form(login: TheLogin, url: Annotated[str, Query(alias="next")] = "/") -> Response:
    return rendering.page(login.form(own(url)))


@router.post("/login")
async def log_in(
    request: Request,
    login: TheLogin,
    password: Annotated[str, Form()],
    name: Annotated[str, Form(max_length=_LONGEST_NAME)] = "",
    url: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    return await login.log_in(request, name, password, own(url))


@router.post("/logout")
def log_out(request: Request, login: TheLogin) -> Response:
    return login.log_out(request)


def _set_cookie(response: Response, token: str, *, secure: bool) -> None:
    """Store a token in the browser: no script can read it, and no other site's page can make the browser send it."""
    name, age = cookie_name(_COOKIE, secure=secure), int(LENGTH.total_seconds())
    response.set_cookie(name, token, max_age=age, path=cookie_path(), secure=secure, httponly=True, samesite="strict")


def cookie_path() -> str:
    """The path whose requests get a cookie."""
    return f"{root_path.current()}/"


def cookie_name(name: str, *, secure: bool) -> str:
    """What a cookie is called; *secure*: over TLS."""
    return f"{_BELOW if root_path.current() else _SECURE}{name}" if secure else name


def own(url: str) -> str:
    """A URL of this service, so that no link can lead from the login to elsewhere."""
    is_own = url.startswith("/") and not url.startswith(("//", "/\\")) and url.isprintable()
    return url if is_own and len(url) <= _LONGEST_URL else "/"


def _network(address: str) -> str:
    """An IPv4 address, or the IPv6 network that a provider gives one customer."""
    parsed = ip_address(address)
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed and parsed.version == 6 else address
