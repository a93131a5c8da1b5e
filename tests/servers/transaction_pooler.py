"""A pooler in front of a PostgreSQL server that gives each transaction of a client any session that is free."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_READY = b"Z" + struct.pack("!I", 5) + b"I"


@contextmanager
def transaction_pooler(url: str) -> Iterator[str]:
    """Pool the sessions of a server that trusts `postgres`; gives the URL to come by."""
    server = urlsplit(url)
    pool = _Pool(str(server.hostname), int(server.port or 5432), server.path.lstrip("/"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, pool), daemon=True).start()
        port = listener.getsockname()[1]
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}{server.path}?sslmode=disable&gssencmode=disable"
        finally:
            pool.close()


class _Pool:
    def __init__(self, host: str, port: int, database: str) -> None:
        self._address = (host, port)
        self._database = database
        self._lock = threading.Lock()
        self._free: list[socket.socket] = []
        self._all: list[socket.socket] = []

    def take(self) -> socket.socket:
        """The session that was used last, else a new one."""
        with self._lock:
            if self._free:
                return self._free.pop()
        session = socket.create_connection(self._address)
        told = b"user\0postgres\0database\0" + self._database.encode() + b"\0client_encoding\0UTF8\0\0"
        session.sendall(struct.pack("!II", len(told) + 8, 196608) + told)
        while _message(session)[:1] != b"Z":
            pass
        self._all.append(session)
        return session

    def give_back(self, session: socket.socket) -> None:
        with self._lock:
            self._free.append(session)

    def close(self) -> None:
        for session in self._all:
            session.close()


def _accept(listener: socket.socket, pool: _Pool) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, pool), daemon=True).start()


def _serve(client: socket.socket, pool: _Pool) -> None:
    session: socket.socket | None = None
    with client, suppress(OSError):
        _exactly(client, struct.unpack("!I", _exactly(client, 4))[0] - 4)
        version = b"server_version\x0018.0\0"
        client.sendall(b"R" + struct.pack("!II", 8, 0))
        client.sendall(b"S" + struct.pack("!I", 4 + len(version)) + version + _READY)
        while True:
            message = _message(client)
            if message[:1] == b"X":
                return
            session = session or pool.take()
            session.sendall(message)
            if message[:1] not in b"QS":
                continue
            while (answer := _message(session))[:1] != b"Z":
                client.sendall(answer)
            if answer[5:] == b"I":
                pool.give_back(session)
                session = None
            client.sendall(answer)


def _message(sender: socket.socket) -> bytes:
    head = _exactly(sender, 5)
    return head + _exactly(sender, struct.unpack("!I", head[1:])[0] - 4)


def _exactly(sender: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = sender.recv(size - len(received))
        if not part:
            raise ConnectionError
        received += part
    return received
