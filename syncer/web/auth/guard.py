"""Authorization: every request passes here, and needs a role unless its path is open."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from syncer.model.errors import SyncerError
from syncer.settings.service import Role
from syncer.state.sessions import Sessions
from syncer.web import problems
from syncer.web.auth import login, safety
from syncer.web.auth.access import Access, Caller, Means, Principal, bearer, caller
from syncer.web.auth.safety import STATIC, AllowedHosts
from syncer.web.problems import ProblemError

#: These only say whether the service lives, to anybody under any host name.
HEALTH = ("/livez", "/readyz")

#: Where people log in, and where a provider sends them back.
LOGIN, PROVIDER, CALLBACK = "/login", "/login/oidc", "/login/oidc/callback"

#: Open to anybody. Everything else needs a role: any change that of an operator.
OPEN = (*HEALTH, LOGIN, PROVIDER, CALLBACK)

#: For anybody who is logged in.
LOGOUT = "/logout"

_READING = ("GET", "HEAD", "OPTIONS")


class Guard:
    """ASGI middleware before all routes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        hosts: AllowedHosts,
        sessions: Sessions,
        roles: Mapping[str, Role],
        login: str,
    ) -> None:
        """Rules of one service.

        Shapes:
            roles: of those who can log in on the page.
            login: the path where people log in; empty if they cannot.
        """
        self._app, self._access, self._hosts, self._sessions = app, access, hosts, sessions
        self._roles, self._login = roles, login

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
        """Find the caller, and reject what they may not do.

        Raises:
            ProblemError: rejected.
            SyncerError: the run log, which contains the sessions, cannot be used.
        """
        # The path that is routed; the request's URL contains the caller's Host header.
        path = request.scope["path"]
        principal = self._access.principal(request)
        # No other site can make a browser send a token.
        by_token = principal is not None and principal.means is Means.TOKEN
        if path not in HEALTH and not by_token:
            self._hosts.check_host(request)
        if principal is None and not is_open(request.method, path):
            principal = await self._of_session(request)
        request.state.caller = Caller(principal=principal, address=self._access.address(request))
        if not is_open(request.method, path):
            caller(request).require(Role.VIEWER if request.method in _READING or path == LOGOUT else Role.OPERATOR)
        if request.method not in _READING and not by_token:
            by_session = principal is not None and principal.means is Means.SESSION
            self._hosts.check_origin(request, required=by_session)

    async def _of_session(self, request: Request) -> Principal | None:
        token = login.session_token(request)
        # A token is the only proof of a caller who sends one.
        if token is None or bearer(request) is not None:
            return None
        found = await run_in_threadpool(self._sessions.find, token)
        if found is None:
            return None
        role = self._roles[found.actor] if found.role is None else Role(found.role)
        return Principal(actor=found.actor, role=role, means=Means.SESSION)

    def _refusal(self, request: Request, error: Exception) -> Response:
        problem = problems.problem_of(error)
        if problem.status == 401 and self._login and problems.wants_page(request):
            query = request.scope["query_string"].decode("latin-1")
            path = request.scope["path"] + (f"?{query}" if query else "")
            wanted = path if request.method == "GET" else "/"
            return RedirectResponse(f"{self._login}?next={quote(wanted)}", 303)
        return problems.answer(request, error)


def is_open(method: str, path: str) -> bool:
    """Whether a request needs no role."""
    return path in OPEN or (path.startswith(STATIC) and method in _READING)


async def operators_only(request: HTTPConnection) -> None:
    """A dependency of routes that show values of rows.

    Raises:
        ProblemError: the caller is no operator.
    """
    caller(request).require(Role.OPERATOR)


def may_see_values(by: Caller) -> bool:
    """Whether a caller may see the values of rows, keys among them, and not only names and counts."""
    return by.may(Role.OPERATOR)
