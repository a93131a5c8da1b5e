"""A path below which a proxy shows the service, such as `/syncer`: requests lose it, and answers get it.

Everything within knows only paths from `/` on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Of the request in hand; empty if there is none.
_current: ContextVar[str] = ContextVar("root_path", default="")

#: In HTML, where text has no quotes that are not escaped, so that these are attributes.
_LINKS = re.compile(r'(\s(?:href|src|action|data-events)=")/(?![/\\])')


def current() -> str:
    """The root path of the request in hand, without a slash at its end; empty if there is none."""
    return _current.get()


def linked(html: str) -> str:
    """*html* with the root path before each link to the service itself."""
    root = current()
    return _LINKS.sub(rf"\1{root}/", html) if root else html


class RootPath:
    """ASGI middleware, outside of all others."""

    def __init__(self, app: ASGIApp, *, root_of: Callable[[HTTPConnection], str]) -> None:
        """*root_of* gives the root path of a request."""
        self._app, self._root_of = app, root_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        root, own = self._root_of(request), f"{scope['scheme']}://{request.headers.get('host', '')}/"

        async def send_below(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                location = headers.get("location", "")
                # Only the caller knows by which scheme they came.
                location = f"/{location[len(own) :]}" if location.startswith(own) else location
                if location.startswith("/") and not location.startswith("//"):
                    headers["location"] = f"{root}{location}"
            await send(message)

        token = _current.set(root)
        try:
            await self._app(_without(root, scope) if root else scope, receive, send_below)
        finally:
            _current.reset(token)


def _without(root: str, scope: Scope) -> Scope:
    """*scope* without the root path, which some proxies pass on and others remove."""
    if scope["path"] != root and not scope["path"].startswith(f"{root}/"):
        return scope
    raw: bytes = scope.get("raw_path") or b""
    return {**scope, "path": scope["path"][len(root) :] or "/", "raw_path": raw.removeprefix(root.encode()) or b"/"}
