"""What holds for every request, whoever asks: no foreign names and origins, and headers that browsers heed."""

from __future__ import annotations

import ipaddress
import logging
import traceback
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syncer.settings.service import WebSettings
from syncer.web import problems
from syncer.web.auth.proxy import Peers
from syncer.web.problems import ProblemError

log = logging.getLogger(__name__)

#: Bytes of a request's body that are taken.
_BODY_BYTES = 64 * 1024

STATIC = "/static/"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With `no-referrer` browsers would send forms with the origin `null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Safety:
    """ASGI middleware, the outermost: adds the headers, and answers for what nobody caught."""

    def __init__(self, app: ASGIApp) -> None:
        """*app*: what answers."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_safely(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if not scope["path"].startswith(STATIC):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        try:
            await self._app(scope, receive, send_safely)
        except Exception as exc:
            # Its text may hold values: the frames tell where, and the name tells what.
            log.error("unexpected %s\n%s", type(exc).__name__, "".join(traceback.format_tb(exc.__traceback__)))
            if not started:
                await problems.answer(Request(scope), exc)(scope, receive, send_safely)


def limited(request: Request, receive: Receive) -> Receive:
    """*receive*, which takes no more of a body than is allowed.

    Raises:
        ProblemError: the body says by itself that it is larger.
    """
    told = request.headers.get("content-length", "0")
    if not told.isdecimal() or int(told) > _BODY_BYTES:
        raise ProblemError(413, problems.HTTP_DETAILS[413])
    taken = 0

    async def receive_limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > _BODY_BYTES:
            raise HTTPException(413)
        return message

    return receive_limited


class Names:
    """The names and origins that are the service's own."""

    def __init__(self, web: WebSettings, peers: Peers) -> None:
        """*web*: where the service listens, and what people call it."""
        self._peers = peers
        self._url = urlsplit(web.url.rstrip("/")) if web.url else None
        self._names = {"localhost", web.host.lower()}
        if self._url is not None and self._url.hostname:
            self._names.add(self._url.hostname)

    def check_host(self, request: HTTPConnection) -> None:
        """Refuse a name that is not the service's: another site's that leads here would be trusted by browsers.

        An address is nobody's name, so it can only have been meant.

        Raises:
            ProblemError: refused.
        """
        hosts = request.headers.getlist("host")
        if len(hosts) == 1:
            name = _name(hosts[0])
            if name in self._names or _is_address(name):
                return
        raise ProblemError(421, "unknown host name", hint="Set SYNCER_WEB__URL to the address that people type.")

    def check_origin(self, request: HTTPConnection, *, required: bool) -> None:
        """Refuse what another site's page asks for with its reader's rights.

        Shapes:
            required: whether a browser asks for sure. Other clients tell no origin.
        Raises:
            ProblemError: refused.
        """
        origins = request.headers.getlist("origin")
        if origins:
            if len(origins) == 1 and origins[0] in self._origins(request):
                return
        elif "sec-fetch-site" in request.headers:
            if request.headers["sec-fetch-site"] in ("same-origin", "none"):
                return
        elif not required:
            return
        raise ProblemError(
            403,
            "this request comes from another site's page, or from none",
            hint="If it was the service's own page, set SYNCER_WEB__URL to the address that people type.",
        )

    def is_secure(self, request: HTTPConnection) -> bool:
        """Whether the caller came by TLS."""
        by_url = self._url is not None and self._url.scheme == "https"
        return by_url or self._peers.forwarded_scheme(request) == "https"

    def _origins(self, request: HTTPConnection) -> set[str]:
        """What a page of the service's own has for an origin, as `scheme://name:port`."""
        host = request.headers.get("host", "")
        scheme = "https" if self._peers.forwarded_scheme(request) == "https" else "http"
        if self._url is None:
            return {_origin(scheme, host)}
        by_url = _origin(self._url.scheme, self._url.netloc)
        return {by_url} if _name(host) == self._url.hostname else {by_url, _origin(scheme, host)}


def _origin(scheme: str, netloc: str) -> str:
    usual = {"http": ":80", "https": ":443"}[scheme]
    return f"{scheme}://{netloc.lower().removesuffix(usual)}"


def _name(host: str) -> str:
    """The name in a Host header, without its port; empty where it cannot be read."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    return parts.hostname or "" if parts.netloc == host and "@" not in host else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
