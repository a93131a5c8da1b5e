"""Who may do what: every request passes here, and what is not named as open needs somebody who may."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from syncer.model.errors import SyncerError
from syncer.settings.service import Scope as Needed
from syncer.state.sessions import Sessions
from syncer.web import problems
from syncer.web.auth import login, safety
from syncer.web.auth.access import Access, bearer
from syncer.web.auth.principals import Caller, Means, Principal, caller
from syncer.web.auth.proxy import Peers
from syncer.web.auth.safety import STATIC, Names
from syncer.web.problems import ProblemError

#: Say only whether the service lives, to whoever asks by whatever name.
HEALTH = ("/livez", "/readyz")

#: What anybody may see and do. Everything else needs a scope: reading READ, and any change RUN.
OPEN = (*HEALTH, "/login")

_READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the guard goes by."""

    access: Access
    peers: Peers
    names: Names
    sessions: Sessions
    #: Whether people can log in on the page.
    has_password: bool


class Guard:
    """ASGI middleware before all routes."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        """*app*: what answers whom the guard lets in."""
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http":
            request = Request(scope)
            try:
                await self._admit(request)
                receive = safety.limited(request, receive)
            except (ProblemError, SyncerError) as exc:
                await self._refusal(request, exc)(scope, receive, send)
                return
        elif scope["type"] != "lifespan":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    async def _admit(self, request: Request) -> None:
        """Find out who asks, and refuse what they may not.

        Raises:
            ProblemError: refused.
            SyncerError: the run log, in which sessions are, cannot be used.
        """
        # What is routed by; the request's URL has the caller's own Host header in it.
        path, rules = request.scope["path"], self._rules
        principal = rules.access.principal(request)
        # No other site can make a browser send a token.
        by_token = principal is not None and principal.means is Means.TOKEN
        if path not in HEALTH and not by_token:
            rules.names.check_host(request)
        if principal is None and not is_open(request.method, path):
            principal = await self._of_session(request)
        request.state.caller = Caller(principal=principal, address=rules.peers.address(request))
        if not is_open(request.method, path):
            _check_scope(principal, needed(request.method))
        if request.method not in _READING and not by_token:
            by_session = principal is not None and principal.means is Means.SESSION
            rules.names.check_origin(request, required=by_session)

    async def _of_session(self, request: Request) -> Principal | None:
        token = login.session_token(request)
        # Who shows a token is asked for no other proof.
        if token is None or bearer(request) is not None:
            return None
        actor = await run_in_threadpool(self._rules.sessions.actor, token)
        return None if actor is None else Principal(actor=actor, scope=Needed.RUN, means=Means.SESSION)

    def _refusal(self, request: Request, error: Exception) -> Response:
        problem = problems.problem_of(error)
        if problem.status == 401 and self._rules.has_password and problems.wants_page(request):
            wanted = request.scope["path"] if request.method == "GET" else "/"
            return RedirectResponse(f"/login?next={quote(wanted)}", 303)
        return problems.answer(request, error)


def is_open(method: str, path: str) -> bool:
    """Whether anybody may."""
    return path in OPEN or (path.startswith(STATIC) and method in _READING)


def needed(method: str) -> Needed:
    """What a request needs that is not open."""
    return Needed.READ if method in _READING else Needed.RUN


async def who_may_run(request: HTTPConnection) -> None:
    """A dependency of what should not be shown to who may only read.

    Raises:
        ProblemError: refused.
    """
    _check_scope(caller(request).principal, Needed.RUN)


def _check_scope(principal: Principal | None, scope: Needed) -> None:
    if principal is None:
        raise ProblemError(
            401,
            "this needs somebody who may",
            hint="Log in on the page, send a token as `Authorization: Bearer TOKEN`, or name your proxy.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if not principal.may(scope):
        raise ProblemError(403, f"{principal.actor} may not do this", hint=f"It needs the scope `{scope}`.")
