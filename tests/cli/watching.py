"""What a test sees of a `syncer` that runs as a process of its own."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil

from tests.cli.conftest import MANY_ROWS, Folder
from tests.cli.forked import Running

#: Ends long after every test.
ENDLESS = "SELECT a.range AS id FROM range(1000000000000) a WHERE hash(a.range) % 1000000000000 = 3"

SECONDS = 60.0


def wait_until(true: Callable[[], bool]) -> None:
    """Ask until it is so; this ends early in every run but a failed one."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(folder: Folder, sync: str) -> bool:
    """Whether a run of the sync has begun: it holds the snapshot, and queries or is about to."""
    path = folder.path / ".syncer/runs.db"
    if not path.exists():
        return False
    with closing(sqlite3.connect(path)) as log:
        if not log.execute("SELECT 1 FROM sqlite_master WHERE name = 'syncer_runs'").fetchall():
            return False
        return bool(log.execute("SELECT 1 FROM syncer_runs WHERE sync = ? AND status = 'running'", [sync]).fetchall())


def is_busy(process: Running) -> bool:
    """Whether it, or the process of its query, has computed for longer than any start takes: then the query goes on."""
    started = psutil.Process(process.pid)
    with suppress(psutil.NoSuchProcess):
        return any(each.cpu_times().user > 2.0 for each in (started, *started.children(recursive=True)))
    return False


@contextmanager
def store_locked(folder: Folder) -> Iterator[None]:
    """Keep every writer of the store waiting."""
    with closing(sqlite3.connect(folder.path / ".syncer/profiles.db", isolation_level=None)) as store:
        store.execute("BEGIN IMMEDIATE")
        yield


def stored_people(folder: Folder) -> int:
    with closing(sqlite3.connect(folder.path / ".syncer/profiles.db")) as store:
        return int(store.execute("SELECT count(*) FROM people").fetchone()[0])


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.exists() else 0


def wait_for_batch(folder: Folder, *, before: int) -> None:
    """Wait until the outbox of `many` was written: then its first batch waits for the locked store."""
    wait_until(lambda: bytes_of(folder.path / ".syncer/snapshots") > before + 25 * MANY_ROWS)
