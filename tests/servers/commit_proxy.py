"""A way to a PostgreSQL server, over 127.0.0.1, that can be cut inside a COMMIT."""

from __future__ import annotations

import enum
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_CHUNK = 1 << 16


class Cut(enum.Enum):
    """Where in a COMMIT the connection is cut."""

    #: The server never hears of it.
    BEFORE_THE_SERVER = enum.auto()
    #: The server has done it, and its answer is lost.
    BEFORE_THE_ANSWER = enum.auto()


class CommitProxy:
    """Passes everything on, to the byte, until it is told to cut."""

    def __init__(self, url: str) -> None:
        """Listen; *url* is the server's."""
        server = urlsplit(url)
        self._server = (str(server.hostname), int(server.port or 5432))
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        #: The same database, by this way. Encryption would hide what is said.
        self.url = f"postgresql://postgres@127.0.0.1:{port}{server.path}?sslmode=disable&gssencmode=disable"
        self._lock = threading.Lock()
        self._cut: Cut | None = None
        self._commits_left = 0
        #: How many connections were cut.
        self.cuts = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_commit(self, number: int, cut: Cut) -> None:
        """Cut in the COMMIT of this number from now, counted from 1; whoever connects later is not cut."""
        with self._lock:
            self._commits_left, self._cut = number, cut

    def close(self) -> None:
        """Stop listening, and cut whoever is still connected."""
        _shut(self._listener)
        for each in self._open:
            _shut(each)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._open += [client, server]
                _Connection(self, client, server)

    def is_to_cut(self) -> Cut | None:
        """How to cut in the COMMIT that has just been seen, if at all."""
        with self._lock:
            self._commits_left -= 1
            if self._cut is None or self._commits_left:
                return None
            cut, self._cut = self._cut, None
            self.cuts += 1
            return cut


class _Connection:
    """Two sockets, and a thread for each direction."""

    def __init__(self, proxy: CommitProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._answer_is_lost = threading.Event()
        threading.Thread(target=self._pass_questions, daemon=True).start()
        threading.Thread(target=self._pass_answers, daemon=True).start()

    def _pass_questions(self) -> None:
        with suppress(OSError):
            for message in _messages(self._client):
                cut = self._proxy.is_to_cut() if _is_commit(message) else None
                if cut is Cut.BEFORE_THE_SERVER:
                    break
                if cut is Cut.BEFORE_THE_ANSWER:
                    self._answer_is_lost.set()
                self._server.sendall(message)
        self._end(waiting=self._answer_is_lost.is_set())

    def _pass_answers(self) -> None:
        held_back = b""
        with suppress(OSError):
            while data := self._server.recv(_CHUNK):
                if not self._answer_is_lost.is_set():
                    self._client.sendall(data)
                    continue
                held_back += data
                if b"COMMIT\0" in held_back:
                    break
        self._end()

    def _end(self, *, waiting: bool = False) -> None:
        # While an answer is to be lost, it is the other thread that ends both.
        if not waiting:
            _shut(self._client)
            _shut(self._server)


def _messages(client: socket.socket) -> Iterator[bytes]:
    """What a client says, a message at a time; the first one has no letter for its type."""
    with client.makefile("rb") as stream:
        type_length = 0
        while len(head := stream.read(type_length + 4)) == type_length + 4:
            yield head + stream.read(int.from_bytes(head[type_length:]) - 4)
            type_length = 1


def _is_commit(message: bytes) -> bool:
    """Whether it is a COMMIT, sent as a simple query or to be parsed."""
    return message[:1] in (b"Q", b"P") and b"COMMIT" in message[5:].split(b"\0")[:2]


def _shut(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


@contextmanager
def commit_proxy(url: str) -> Iterator[CommitProxy]:
    """A proxy to the server at *url*, as superuser."""
    proxy = CommitProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
