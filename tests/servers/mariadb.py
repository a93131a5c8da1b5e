"""A real MariaDB for tests: Debian's `mariadb-server`, on a free port of 127.0.0.1 and a socket in its folder.

`root` may do everything and needs no password; every other user needs its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.servers.process import started

_SERVER, _INSTALL = "mariadbd", "mariadb-install-db"
_PACKAGE = "mariadb-server"
_SETTINGS = {
    "bind-address": "127.0.0.1",
    "character-set-server": "utf8mb4",
    "innodb-buffer-pool-size": "256M",
    "max-allowed-packet": "64M",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-flush-method": "nosync",
    "secure-file-priv": "",
    "skip-log-bin": "",
    "skip-name-resolve": "",
    # Else a server's zone of UTC could hide that the session's is not set.
    "default-time-zone": "+05:30",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MariaDBServer:
    """A running server."""

    port: int
    pid: int
    socket: Path
    #: Where the server may write files.
    folder: Path
    _numbers: Iterator[int]

    def url(self, database: str = "", *, user: str = "root", password: str = "") -> str:
        """Where to connect; nothing in it is quoted."""
        login = f"{user}:{password}" if password else user
        return f"mysql://{login}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """The name of an empty database that is dropped at the end."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield name
        finally:
            self.execute(f"DROP DATABASE {name}")

    def execute(self, sql: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """The rows of one statement by `root`, committed."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def connect(self, database: str | None = None) -> pymysql.Connection[Any]:
        """A connection of `root`, which commits each statement."""
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True)


@contextmanager
def mariadb_server(**settings: str) -> Iterator[MariaDBServer]:
    """Start a server without databases; it and its files are gone afterwards.

    Shapes:
        settings: of the server, `_` for `-` in their names.
    """
    _require_server()
    folder = Path(tempfile.mkdtemp(prefix="syncer-mariadb-"))
    try:
        _make_data(folder)
        options = _SETTINGS | {name.replace("_", "-"): value for name, value in settings.items()}
        with _started(folder, options) as (pid, port):
            yield MariaDBServer(port=port, pid=pid, socket=folder / "socket", folder=folder, _numbers=count(1))
    finally:
        shutil.rmtree(folder)


def _require_server() -> None:
    if all(shutil.which(program, path=_path()) for program in (_SERVER, _INSTALL)):
        return
    said = f"MariaDB is not installed: `apt-get install {_PACKAGE}`"
    if os.environ.get("CI"):
        pytest.fail(said)
    pytest.skip(said)


def _make_data(folder: Path) -> None:
    command = [_INSTALL, "--no-defaults", f"--datadir={folder}/data", "--auth-root-authentication-method=normal"]
    quick = ["--skip-test-db", "--skip-name-resolve", "--innodb-flush-method=nosync"]
    made = subprocess.run([*command, *quick, *_account()], env=_environment(folder), cwd=folder, capture_output=True)
    if made.returncode:
        raise RuntimeError(f"{_INSTALL} failed: {made.stdout.decode()} {made.stderr.decode()}")


def _started(folder: Path, settings: dict[str, str]) -> AbstractContextManager[tuple[int, int]]:
    options = [
        f"--{name}={value}" if value or name == "secure-file-priv" else f"--{name}" for name, value in settings.items()
    ]
    files = [f"--datadir={folder}/data", f"--socket={folder}/socket", f"--pid-file={folder}/pid", f"--tmpdir={folder}"]
    return started(
        lambda port: [_SERVER, "--no-defaults", *files, f"--port={port}", *options, *_account()],
        connect=lambda port: pymysql.connect(host="127.0.0.1", port=port, user="root", connect_timeout=2).close(),
        refused=pymysql.OperationalError,
        log=folder / "log",
        end=signal.SIGTERM,
        env=_environment(folder),
        cwd=folder,
    )


def _account() -> list[str]:
    # It refuses root unless told so.
    return ["--user=root"] if os.geteuid() == 0 else []


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": _path(), "LC_ALL": "C", "HOME": str(folder)}


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/bin", "/bin", "/usr/sbin", "/sbin"])
