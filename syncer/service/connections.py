"""The connections of the page and the API: how many there may be, and how long one may take to send a request."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import Any, ClassVar

from uvicorn.protocols.http.auto import AutoHTTPProtocol

log = logging.getLogger(__name__)

#: From the first byte of a connection or request to its last.
REQUEST_SECONDS = 10.0

#: The most connections; a process that may open few files has fewer, and the rest of it needs some too.
_CONNECTIONS = 500
_SHARE_OF_FILES = 0.5

#: After which a connection ends whose peer is gone, or does not read.
_SILENT_SECONDS = 30


def limit() -> int:
    """The most connections at a time."""
    if os.name != "posix":
        return _CONNECTIONS
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS if files == resource.RLIM_INFINITY else min(_CONNECTIONS, int(files * _SHARE_OF_FILES))


def end_when_silent(listening: socket.socket) -> None:
    """Let the system end the connections of a socket whose peers are gone, or do not read what they get."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _SILENT_SECONDS),
        ("TCP_KEEPINTVL", _SILENT_SECONDS // 3),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", _SILENT_SECONDS * 1000),
    ):
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class BoundedConnection(asyncio.Protocol):
    """uvicorn's connection, which ends if a request does not come in time, or if others need its place."""

    #: The most of this process.
    limit = limit()
    _all: ClassVar[set[BoundedConnection]] = set()

    def __init__(self, **of_uvicorn: Any) -> None:
        """Take what uvicorn's own takes."""
        protocol: Any = AutoHTTPProtocol
        self._inner = protocol(**of_uvicorn)
        self._loop: asyncio.AbstractEventLoop = self._inner.loop
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        #: Of the loop's clock.
        self._last_heard = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection; the one that has waited longest for its request may have to make room for it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._inner.connection_made(transport)
        self._all.add(self)
        self._await_request()
        if len(self._all) > self.limit:
            log.warning("too many connections: those that wait longest for a request are closed")
            min(filter(BoundedConnection._is_waiting, self._all), key=lambda one: one._last_heard)._abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._all.discard(self)
        self._end_deadline()
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request, which has to be whole in time."""
        self._last_heard = self._loop.time()
        if self._is_waiting() and self._deadline is None:
            self._await_request()
        self._inner.data_received(data)
        if not self._is_waiting():
            self._end_deadline()

    def eof_received(self) -> None:
        """See asyncio."""
        self._inner.eof_received()

    def pause_writing(self) -> None:
        """See asyncio."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._inner.resume_writing()

    def _is_waiting(self) -> bool:
        """Whether no request has come as a whole that is not answered yet."""
        cycle = self._inner.cycle
        return cycle is None or cycle.response_complete or cycle.more_body

    def _await_request(self) -> None:
        self._last_heard = self._loop.time()
        self._deadline = self._loop.call_later(REQUEST_SECONDS, self._close_if_late)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_if_late(self) -> None:
        self._deadline = None
        if self._is_waiting():
            self._abort()

    def _abort(self) -> None:
        # Others may need a place before asyncio reports this one lost.
        self._all.discard(self)
        if self._transport is not None:
            self._transport.abort()
