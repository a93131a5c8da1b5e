"""Rules for every request, whoever makes it: the service's own hosts and origins, small bodies, safe headers."""

from __future__ import annotations

import logging
import traceback
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syncer.settings.service import WebSettings
from syncer.web import problems
from syncer.web.auth.access import Access, ip_address
from syncer.web.problems import ProblemError

log = logging.getLogger(__name__)

#: The most bytes of a request's body.
_BODY_BYTES = 64 * 1024

STATIC = "/static/"

#: What browsers leave out of an origin, by scheme.
_PORTS = {"http": ":80", "https": ":443"}

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
    """ASGI middleware, the outermost: adds the headers, and answers errors that nobody caught."""

    def __init__(self, app: ASGIApp) -> None:
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
            # The error's text may contain values; its name and its frames do not.
            log.error("unexpected %s\n%s", type(exc).__name__, "".join(traceback.format_tb(exc.__traceback__)))
            if not started:
                await problems.answer(Request(scope), exc)(scope, receive, send_safely)


def limited(request: Request, receive: Receive) -> Receive:
    """*receive*, which fails when a body grows too large.

    Raises:
        ProblemError: its Content-Length is already too large.
    """
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _BODY_BYTES:
        raise ProblemError(413, problems.HTTP_DETAILS[413])
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > _BODY_BYTES:
            raise HTTPException(413)
        return message

    return receive_limited


class AllowedHosts:
    """The hosts and origins that are the service's own."""

    def __init__(self, web: WebSettings, access: Access) -> None:
        self._access = access
        self._url = urlsplit(web.url.rstrip("/")) if web.url else None
        self._names = {"localhost", web.host.lower()}
        if self._url is not None and self._url.hostname:
            self._names.add(self._url.hostname)

    def check_host(self, request: HTTPConnection) -> None:
        """Reject a foreign host name: a browser would trust another site whose name leads here.

        No site can have a bare IP address as its name, so any is allowed.

        Raises:
            ProblemError: the host is unknown.
        """
        hosts = request.headers.getlist("host")
        if len(hosts) == 1:
            name = _name(hosts[0])
            if name in self._names or ip_address(name):
                return
        raise ProblemError(421, "unknown host name", hint="Set SYNCER_WEB__URL to the address that people type.")

    def check_origin(self, request: HTTPConnection, *, required: bool) -> None:
        """Reject a change that another site's page requests with the rights of its reader.

        Shapes:
            required: whether the caller is certainly a browser. Other clients send no origin.
        Raises:
            ProblemError: the origin is foreign, or required and missing.
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
        """Whether the caller uses TLS."""
        by_url = self._url is not None and self._url.scheme == "https"
        return by_url or self._access.forwarded_schemes(request)[:1] == ["https"]

    def _origins(self, request: HTTPConnection) -> set[str]:
        """The origins of the service's own pages, as `scheme://name:port`."""
        host = request.headers.get("host", "")
        # Behind several proxies the outer one may end TLS, and the inner ones not.
        schemes = {scheme for scheme in self._access.forwarded_schemes(request) if scheme in _PORTS} or {"http"}
        by_host = {_origin(scheme, host) for scheme in schemes}
        if self._url is None:
            return by_host
        by_url = _origin(self._url.scheme, self._url.netloc)
        return {by_url} if _name(host) == self._url.hostname else {by_url, *by_host}


def _origin(scheme: str, netloc: str) -> str:
    return f"{scheme}://{netloc.lower().removesuffix(_PORTS[scheme])}"


def _name(host: str) -> str:
    """The name in a Host header, without its port; empty if the header is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    return parts.hostname or "" if parts.netloc == host and "@" not in host else ""
