"""Processes that write one state database, and print what they have written: `python -m tests.state.processes`."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from syncer.model.types import Order, RunStatus, Trigger
from syncer.state.coordination import SharedCoordination
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from tests.cli import forked
from tests.cli.forked import Running
from tests.removals import announce, people

ROOT = Path(__file__).parents[2]
#: Its name where it is the main module as well.
_MODULE = "tests.state.processes"


def record_runs(database: StateDatabase, sync: str, times: int) -> None:
    """Record runs that begin and end; prints their ids."""
    log = RunLog(database)
    for _ in range(times):
        now = datetime.now(UTC)
        run_id = log.start(sync, Order(trigger=Trigger.SCHEDULE), "hash", now)
        log.finish(run_id, RunStatus.SUCCESS, now)
        print(run_id, flush=True)


def announce_removals(database: StateDatabase, sync: str, times: int) -> None:
    """Announce that people are removed, and close it now and then; prints their ids."""
    mine = SharedCoordination(database=database, sync=sync, store_id="store-1")
    for i in range(times):
        announce(mine, people(f"{sync}-{i}"))
        print(f"{sync}-{i}", flush=True)
        if i % 7 == 0:
            mine.close_removals()
    mine.close_removals()


def hold(database: StateDatabase, sync: str, times: int) -> None:
    """Record a run that begins, and show that this process lives, for ever; prints the run's id."""
    with database.holding(sync):
        order = Order(trigger=Trigger.MANUAL)
        print(RunLog(database).start(sync, order, "hash", datetime.now(UTC)), flush=True)
        threading.Event().wait()


def tell_id(database: StateDatabase, sync: str, times: int) -> None:
    """Print the id of the run log."""
    print(database.log_id)


Writing = Callable[[StateDatabase, str, int], None]


def started(writing: Writing, url: str, sync: str = "", times: int = 1) -> Running:
    """A process that does this *times* times to the database at *url*."""
    words = (writing.__name__, url, sync, str(times))
    return forked.running(*words, folder=ROOT, environment=dict(os.environ), module=_MODULE)


def killed(process: Running, *, after: int) -> set[str]:
    """Kill a process after so many lines; returns all whole lines that it printed."""
    with process:
        printed = {process.stdout.readline().strip() for _ in range(after)}
        process.kill()
        return printed | {line.strip() for line in process.stdout if line.endswith("\n")}


if __name__ == "__main__":
    _, name, url, sync, times = sys.argv
    known: dict[str, Writing] = {each.__name__: each for each in (record_runs, announce_removals, hold, tell_id)}
    known[name](StateDatabase(url), sync, int(times))
