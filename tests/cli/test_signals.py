from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import Folder, environment

SIGNALS = [signal.SIGINT, signal.SIGTERM]

#: More than two of the store's batches.
ROWS = 25_000

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


def is_busy(process: subprocess.Popen[str]) -> bool:
    """Whether it has computed for longer than any start takes: then it is inside the query."""
    return bool(psutil.Process(process.pid).cpu_times().user > 3.0)


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


@pytest.fixture
def sending(folder: Folder) -> Folder:
    """A folder whose store exists, and a sync, `many`, of several batches."""
    assert folder.syncer("run", "customers").code == 0
    folder.define(
        "many",
        f"SELECT 'p' || range AS id, md5(range::VARCHAR) || md5(range::VARCHAR || 'x') AS plan FROM range({ROWS})",
    )
    return folder


def wait_for_batch(folder: Folder, *, before: int) -> None:
    """Wait until the outbox of `many` was written: then its first batch waits for the locked store."""
    wait_until(lambda: bytes_of(folder.path / ".syncer/snapshots") > before + 25 * ROWS)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_whose_query_goes_on_ends_at_once(folder: Folder, number: signal.Signals) -> None:
    folder.define("an_endless_one", ENDLESS)

    with folder.started("run", "an_endless_one", "customers", "--json") as process:
        wait_until(lambda: is_running(folder, "an_endless_one") and is_busy(process))
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)

    (run,) = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 128 + number
    assert err == "interrupted: an_endless_one: stopped by a signal\n"
    assert (run["sync"], run["status"]) == ("an_endless_one", "interrupted")
    (logged,) = folder.syncer("runs", "--json").objects
    assert (logged["run_id"], logged["status"]) == (run["run_id"], "interrupted")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_plan_ends_at_once(folder: Folder, number: signal.Signals) -> None:
    folder.define("endless", ENDLESS)
    state = folder.path / ".syncer/runs.db"

    with folder.started("plan", "endless") as process:
        wait_until(state.exists)
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)

    assert (process.returncode, out, err) == (128 + number, "", "")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_sends_ends_after_the_batch_in_hand(sending: Folder, number: signal.Signals) -> None:
    before = bytes_of(sending.path / ".syncer/snapshots")
    with sending.started("run", "many", "customers", "--json") as process:
        assert process.stderr is not None
        with store_locked(sending):
            wait_for_batch(sending, before=before)
            process.send_signal(number)
            told = process.stderr.readline()
        out, _ = process.communicate(timeout=SECONDS)
    after_signal = stored_people(sending)
    (again,) = sending.syncer("run", "many", "--json").objects

    runs = {run["sync"]: run for run in map(json.loads, out.splitlines())}
    assert told == "stopping after the batch in hand; a second signal ends at once\n"
    assert process.returncode == 128 + number
    assert runs["many"]["status"] == "interrupted"
    assert 0 < runs["many"]["accepted"] == after_signal - 3 < ROWS
    assert again["status"] == "success"
    assert again["unchanged"] >= runs["many"]["accepted"]
    assert stored_people(sending) == ROWS + 3


def test_a_second_signal_ends_a_run_that_sends(sending: Folder) -> None:
    before = bytes_of(sending.path / ".syncer/snapshots")
    with store_locked(sending), sending.started("run", "many") as process:
        assert process.stderr is not None
        wait_for_batch(sending, before=before)
        process.send_signal(signal.SIGTERM)
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=SECONDS)
    (again,) = sending.syncer("run", "many", "--json").objects

    assert code == 143
    assert again["accepted"] == ROWS
    assert stored_people(sending) == ROWS + 3


def test_a_signal_that_the_caller_ignores_stays_ignored(folder: Folder) -> None:
    folder.define("an_endless_one", ENDLESS)
    ignoring = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *folder.command("run", "an_endless_one")]

    with subprocess.Popen(ignoring, cwd=folder.path, env=environment()) as process:
        wait_until(lambda: is_running(folder, "an_endless_one"))
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=SECONDS)

    assert code == 143
