"""One row a sync tells of its newest runs, and is what a look through all runs finds."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from syncer.model.types import (
    CONCLUSIVE,
    ENDED_WELL,
    OPEN,
    Latest,
    Order,
    RunMark,
    RunResult,
    RunScope,
    RunStatus,
    Trigger,
)
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog, TickAnsweredError
from syncer.state.schema import latest, runs
from tests.conftest import seeds
from tests.fixtures.earlier_versions import unpack
from tests.state.cost import cost_of
from tests.state.processes import ROOT
from tests.web.many import insert_runs

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BY_HAND = Order(trigger=Trigger.MANUAL)

SYNCS = ("people", "accounts")
ENDS = [status for status in RunStatus if status not in (*OPEN, RunStatus.SKIPPED)]


@pytest.fixture
def log(database: StateDatabase) -> RunLog:
    return RunLog(database)


def rows(database: StateDatabase) -> dict[str, dict[str, Any]]:
    with database.reading() as connection:
        return {row.sync: dict(row._mapping) for row in connection.execute(sa.select(latest))}


def looked_up(database: StateDatabase) -> dict[str, dict[str, Any]]:
    """What `latest` should have, but for when the first run started, by a look through all runs."""
    with database.reading() as connection:
        found = [row._mapping for row in connection.execute(sa.select(runs).order_by(runs.c.seq.desc()))]
    by_sync = defaultdict(list)
    for run in found:
        by_sync[run["sync"]].append(run)
    return {sync: _looked_up(of_sync) for sync, of_sync in by_sync.items()}


def _looked_up(newest_first: list[Any]) -> dict[str, Any]:
    def first(names: tuple[str, ...], prefix: str, which: Any) -> dict[str, Any]:
        fitting = (run for run in newest_first if run["status"] in which and run["scope"] != RunScope.ROWS)
        run = next(fitting, dict.fromkeys(names))
        return {f"{prefix}_{name}": run[name] for name in names}

    ended = (*CONCLUSIVE, RunStatus.INTERRUPTED)
    return {
        "sync": newest_first[0]["sync"],
        "last_due_at": max((run["due_at"] for run in newest_first if run["due_at"]), default=None),
        **first(("seq", "id", "status", "started_at", "finished_at"), "last", (*ended, RunStatus.RUNNING)),
        **first(("status", "started_at", "finished_at"), "ended", ended),
        **first(("seq",), "conclusive", CONCLUSIVE),
        **first(("started_at",), "well", ENDED_WELL),
    }


@pytest.mark.parametrize("seed", seeds(2))
def test_the_row_of_a_sync_follows_whatever_is_recorded(log: RunLog, seed: int) -> None:
    chance = random.Random(seed)
    promised: list[str] = []
    for number in range(60):
        sync, at = chance.choice(SYNCS), NOON + chance.randint(-50, 50) * HOUR
        _act(log, chance, sync, at, promised)
        if number % 20 == 19:
            log.purge(NOON + chance.randint(-50, 0) * HOUR)
        expected = looked_up(log.database)
        found = {
            name: {column: value for column, value in row.items() if column != "first_started_at"}
            for name, row in rows(log.database).items()
        }
        assert found == expected


def _act(log: RunLog, chance: random.Random, sync: str, at: datetime, promised: list[str]) -> None:
    tick = Order(trigger=Trigger.SCHEDULE, due_at=at)
    match chance.randrange(6):
        case 0:
            by_hand = Order(trigger=Trigger.MANUAL, scope=chance.choice(list(RunScope)))
            log.finish(log.start(sync, by_hand, "abc", at), chance.choice(ENDS), at + HOUR)
        case 1:
            promised.append(log.accept(sync, Order(trigger=Trigger.API), "abc", at))
        case 2 if promised:
            run = log.get(chance.choice(promised))
            assert run is not None
            log.start(run.sync, Order(trigger=Trigger.API, run_id=run.id), "abc", at)
        case 3:
            log.interrupt_open(sync, at)
        case 4 if promised:
            log.finish(promised.pop(), chance.choice(list(RunStatus)), at)
        case _:
            try:
                log.record_skipped(sync, tick, "abc", at, note="already running")
            except TickAnsweredError:
                return


def test_the_newest_run_is_the_one_recorded_last_whatever_the_clock_said(log: RunLog) -> None:
    ahead = NOON + 400 * 24 * HOUR
    ids = []
    for at, status in ((ahead, RunStatus.FAILED), (NOON, RunStatus.SUCCESS), (NOON - HOUR, RunStatus.WARNING)):
        ids.append(log.start("people", BY_HAND, "abc", at))
        log.finish(ids[-1], status, at)

    assert [run.id for run in log.recent()] == ids[::-1]
    assert [run.id for run in log.recent(before=ids[1])] == ids[:1]
    assert [outcome.id for outcome in log.outcomes(["people"], 2)["people"]] == ids[:0:-1]
    assert log.last_runs(["people"])["people"].id == ids[-1]
    assert log.last_status() == {"people": RunStatus.WARNING}
    mark = RunMark(ids[-1], RunStatus.WARNING, NOON - HOUR, NOON - HOUR)
    assert log.latest(["people", "none"]) == {
        "people": Latest(
            last=mark,
            conclusive=RunResult(RunStatus.WARNING, fruitless=False, queried=0),
            ended_well=NOON - HOUR,
            seconds=0.0,
            promised_since=None,
        )
    }
    assert log.last_started("people") == NOON - HOUR
    assert log.last_ended_well(["people"]) == {"people": NOON - HOUR}

    assert log.purge(NOON - HOUR / 2) == 0
    assert log.purge(ahead + HOUR) == 0, "the newest of each kind stays"


def test_runs_older_than_one_that_was_forgotten_are_still_found(log: RunLog) -> None:
    ids = [log.start("people", BY_HAND, "abc", NOON + number * HOUR) for number in range(4)]
    for run_id in ids:
        log.finish(run_id, RunStatus.SUCCESS, NOON)
    with log.database.writing() as connection:
        connection.execute(runs.delete().where(runs.c.id == ids[2]))

    assert [run.id for run in log.recent(before=ids[2])] == ids[1::-1]
    assert log.recent(before="0") == []


def test_two_processes_that_write_runs_of_one_sync_leave_the_newest(url: str) -> None:
    def write(status: RunStatus) -> None:
        with closing(StateDatabase(url)) as database:
            for _ in range(20):
                own = RunLog(database)
                own.finish(own.start("people", BY_HAND, "abc", NOON), status, NOON)

    threads = [threading.Thread(target=write, args=[status]) for status in (RunStatus.SUCCESS, RunStatus.FAILED)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with closing(StateDatabase(url)) as database:
        (row,) = rows(database).values()
        del row["first_started_at"]
        assert row == looked_up(database)["people"]
        assert len(RunLog(database).recent(limit=100)) == 40


def names_of(number: int) -> list[str]:
    return [f"sync_{name}" for name in range(number)]


def of_each(log: RunLog) -> None:
    names = names_of(20)
    log.last_status()
    log.newest_conclusive(names)
    for read in (log.latest, log.last_runs, log.last_ended_well, log.first_started):
        assert len(read(names)) == 20
    assert len(log.last_due(names, until=NOON + 9999 * HOUR)) == 20


def of_one(log: RunLog) -> None:
    assert len(log.newest(["sync_7"], 5, statuses=ENDED_WELL)["sync_7"]) == 5
    assert len(log.outcomes(["sync_7"], 5)["sync_7"]) == 5
    assert log.last_started("sync_7")
    for sync in (None, "sync_7"):
        for statuses in ((), (RunStatus.WARNING,)):
            (before,) = log.recent(sync, 1, statuses=statuses)
            log.recent(sync, 5, statuses=statuses, before=before.id)


@pytest.mark.parametrize("read", [of_each, of_one])
def test_reading_costs_no_more_with_more_runs(url: str, read: Callable[[RunLog], None]) -> None:
    costs = {}
    for of_each_sync in (60, 500):
        with closing(StateDatabase(url)) as database:
            with database.writing() as connection:
                connection.execute(runs.delete())
                connection.execute(latest.delete())
            insert_runs(database, names_of(20), of_each_sync, NOON)
            costs[of_each_sync] = cost_of(database, partial(read, RunLog(database)))

    assert costs[500] <= costs[60] * 1.2


def test_writing_costs_no_more_with_more_runs(tmp_path: Path) -> None:
    costs = {}
    for of_each_sync in (60, 500):
        with closing(StateDatabase(f"sqlite:///{tmp_path}/{of_each_sync}.db")) as database:
            insert_runs(database, names_of(20), of_each_sync, NOON)
            log = RunLog(database)

            def write(log: RunLog = log) -> None:
                log.finish(log.start("sync_7", BY_HAND, "abc", NOON), RunStatus.FAILED, NOON)
                log.interrupt_open("sync_7", NOON)
                log.purge(NOON - timedelta(hours=50))

            log.purge(NOON - timedelta(hours=50))
            costs[of_each_sync] = cost_of(database, write)

    assert costs[500] <= costs[60] * 1.2


def test_what_an_older_service_records_after_the_upgrade_is_taken_in_by_the_next_one_that_leads(log: RunLog) -> None:
    ended = log.start("people", BY_HAND, "abc", NOON)
    log.finish(ended, RunStatus.SUCCESS, NOON)
    # An upgraded table in SQLite has this default.
    place = {} if log.database.is_shared else {"seq": 0}
    with log.database.writing() as connection:
        for number, sync in enumerate(("people", "accounts", "people")):
            values = {
                "trigger": "manual",
                "status": "failed",
                "definition_hash": "",
                "phases": {},
                "hint": "",
                "notes": [],
            }
            row = {"id": f"older-{number}", "sync": sync, "started_at": NOON + HOUR, **values, **place}
            connection.execute(runs.insert().values(row))

    log.begin_term("one", NOON)

    assert log.last_status() == {"people": RunStatus.FAILED, "accounts": RunStatus.FAILED}
    newer = log.start("people", BY_HAND, "abc", NOON)
    assert [run.id for run in log.recent()] == [newer, "older-2", "older-1", "older-0", ended]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_upgrade_that_is_killed_loses_nothing(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The process dies in the middle of its transaction; the next one upgrades."""
    folder = unpack("format_3", tmp_path, request.getfixturevalue("postgres_url") if kind == "postgresql" else "")
    before = folder.records()

    program = (
        "import os; from syncer.state import database, upgrades\n"
        "upgrades.fill_latest = lambda connection: os.kill(os.getpid(), 9)\n"
        f"database.StateDatabase({folder.run_log!r})\n"
    )
    died = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert died.returncode == -signal.SIGKILL
    assert folder.records() == before

    with closing(StateDatabase(folder.run_log)) as database:
        assert [run.id for run in RunLog(database).recent(limit=100)] == sorted(
            (row["id"] for row in before["syncer_runs"]), reverse=True
        )
        found = rows(database)
        started = {sync: row.pop("first_started_at") for sync, row in found.items()}
        assert found == looked_up(database)
        oldest = RunLog(database).recent("people", 100)[-1]
        assert started["people"] == oldest.started_at
