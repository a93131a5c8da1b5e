"""A run stands still before it writes, while another machine takes its sync over: then an SQL store refuses it."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import psycopg
import pytest

from syncer.definitions import folder as definitions
from syncer.model.errors import RunInProgressError
from syncer.model.protocols import ProfileStore
from syncer.model.types import Order, Run, RunStatus, SyncDefinition, Trigger
from syncer.settings import state_modes
from syncer.settings.settings import load
from syncer.shared.snapshots import SharedSnapshots
from syncer.state.database import StateDatabase
from syncer.state.pointers import Pointers
from syncer.state.runs import RunLog
from syncer.sync.runner import Runner
from tests.servers.postgresql import PostgresServer
from tests.service.conftest import wait_until
from tests.shared.machines import PERSON, Machines

#: What the run that is overtaken has, where people 1 to 4 are known, and before which of its batches it stands still.
STALE = {
    "changed": (dict.fromkeys("1234", "stale"), 2),
    "gone": ({"9": "stale"}, 0),
    "new": (dict.fromkeys("567", "stale"), 1),
}

MANY = 100_000
SECONDS = 60


@pytest.fixture(params=["sqlite", "postgresql"])
def machines(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer, postgres_url: str
) -> Iterator[Machines]:
    """Two machines, with a store of each sort."""
    with postgres.new_database() as profiles:
        place = {"SYNCER_SNAPSHOTS_URL": "database"}
        if request.param == "postgresql":
            place["SYNCER_STORES__DEFAULT__URL"] = profiles
        made = Machines(path=tmp_path, run_log=postgres_url, place=place)
        made.common.people(dict.fromkeys("1234", "old"))
        made.common.define("people", "SELECT id, plan FROM people", PERSON)
        yield made


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Where a run waits before its batch of this number, counted from 0."""

    batch: int = 0
    reached: Event = field(default_factory=Event)
    opened: Event = field(default_factory=Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pausing(Runner):
    """A runner whose runs send few rows at once, and wait at a gate after all that they look at, and before they write.

    *checks*: whether the store is told what it is to refuse. *rows*: how many it gets at once.
    """

    gate: Gate | None = None
    checks: bool = True
    rows: int = 1

    def _open_store(self, definition: SyncDefinition, started_at: datetime) -> ProfileStore:
        store: Any = Runner._open_store(self, definition, started_at)
        sent, apply = iter(range(1_000)), store.apply

        def paused(*arguments: Any, **options: Any) -> Any:
            if self.gate and next(sent) == self.gate.batch:
                self.gate.reached.set()
                assert self.gate.opened.wait(SECONDS)
            return apply(*arguments, **options)

        store.batch_rows, store.apply = self.rows, paused
        if not self.checks:
            store.hold = lambda **_: None
        found: ProfileStore = store
        return found


def run(machines: Machines, name: str, **how: Any) -> Run:
    """One run of the sync, in this process."""
    settings = load(machines[name].path, {**machines[name].variables})
    state_modes.make_state_dir(settings)
    known = definitions.load(settings.definitions_dir, warehouses=settings.warehouses, stores=settings.stores)
    (definition,) = known.definitions
    with closing(StateDatabase(machines.run_log)) as database:
        runner = Pausing(settings=settings, run_log=RunLog(database), now=lambda: datetime.now(UTC), **how)
        return runner.run(definition, order=Order(trigger=Trigger.MANUAL))


@contextmanager
def standing_still(machines: Machines, name: str, batch: int = 0, **how: Any) -> Iterator[tuple[Gate, Future[Run]]]:
    """A run of a machine that is lost to the run log's server while it waits at the gate."""
    gate = Gate(batch=batch)
    with ThreadPoolExecutor(1) as pool:
        try:
            future = pool.submit(run, machines, name, gate=gate, **how)
            wait_until(lambda: gate.reached.is_set() or future.done())
            assert not future.done(), future.result()
            end_sessions(machines)
            yield gate, future
        finally:
            gate.opened.set()


def end_sessions(machines: Machines) -> None:
    """Let the server of the run log end the sessions by which commands show that they live."""
    locks = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database "
    locks += "WHERE datname = current_database())"
    with psycopg.connect(machines.run_log, autocommit=True) as server:
        for (pid,) in server.execute(locks).fetchall():
            server.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def plans(machines: Machines) -> dict[str, str]:
    """The plan of each person in the store."""
    url = machines["a"].variables["SYNCER_STORES__DEFAULT__URL"]
    if url.startswith("postgresql"):
        with psycopg.connect(url) as server:
            return dict(server.execute("SELECT id, attributes ->> 'plan' FROM people").fetchall())
    with closing(sqlite3.connect(machines.path / "common/profiles.db")) as store:
        return dict(store.execute("SELECT id, attributes ->> '$.plan' FROM people"))


def newest_claim(machines: Machines) -> str:
    ((claim,),) = machines.logged("SELECT run_id FROM syncer_snapshots")
    return str(claim)


@pytest.mark.parametrize(("stale", "batch"), STALE.values(), ids=STALE)
def test_what_was_overtaken_before_it_wrote_writes_nothing(
    machines: Machines, stale: dict[str, str], batch: int
) -> None:
    run(machines, "a")
    machines.common.people(stale)
    newest = dict.fromkeys("1234", "newest")

    with standing_still(machines, "a", batch) as (gate, future):
        machines.common.people(newest)
        later = run(machines, "b")
        assert plans(machines) == newest
        gate.opened.set()
        overtaken = future.result(SECONDS)

    assert (later.status, later.error) == (RunStatus.SUCCESS, None)
    assert plans(machines) == newest
    assert overtaken.status is RunStatus.INTERRUPTED
    assert "another run of `people`" in str(overtaken.error)
    assert overtaken.counts.accepted == batch
    assert newest_claim(machines) == later.id
    for name in ("a", "b"):
        again = run(machines, name)
        assert (again.counts.unchanged, again.counts.accepted, again.notes) == (4, 0, ())


def test_nothing_is_written_either_once_the_other_run_has_begun(machines: Machines) -> None:
    run(machines, "a")
    machines.common.people(dict.fromkeys("1234", "stale"))

    with standing_still(machines, "a", 1) as (gate, future):
        before = plans(machines)
        machines.common.people(dict.fromkeys("1234", "newest"))
        with standing_still(machines, "b") as (later_gate, later):
            gate.opened.set()
            overtaken = future.result(SECONDS)
            meanwhile = plans(machines)
            later_gate.opened.set()
            assert later.result(SECONDS).status is RunStatus.SUCCESS

    assert overtaken.status is RunStatus.INTERRUPTED
    assert meanwhile == before
    assert sorted(before.values()) == ["old", "old", "old", "stale"]
    assert plans(machines) == dict.fromkeys("1234", "newest")
    assert run(machines, "a").counts.accepted == 0


def test_the_first_run_of_all_can_be_overtaken(machines: Machines) -> None:
    with standing_still(machines, "a") as (gate, future):
        machines.common.people(dict.fromkeys("12", "newest"))
        run(machines, "b")
        gate.opened.set()
        assert future.result(SECONDS).status is RunStatus.INTERRUPTED

    assert plans(machines) == dict.fromkeys("12", "newest")


@pytest.mark.parametrize("rows", [1, 4])
def test_where_a_store_does_not_check_the_next_run_sends_every_row(machines: Machines, rows: int) -> None:
    run(machines, "a", checks=False)
    machines.common.people(dict.fromkeys("1234", "stale"))

    with standing_still(machines, "a", checks=False, rows=rows) as (gate, future):
        machines.common.people(dict.fromkeys("1234", "newest"))
        run(machines, "b", checks=False)
        gate.opened.set()
        overtaken = future.result(SECONDS)

    assert overtaken.status is RunStatus.INTERRUPTED
    assert "stale" in plans(machines).values()
    # Other stores than these know of no run that wrote last.
    assert newest_claim(machines) == f"{overtaken.id} was overtaken"
    assert run(machines, "b", checks=False).counts.accepted == 4
    assert plans(machines) == dict.fromkeys("1234", "newest")


def test_a_run_log_that_was_put_back_refuses_no_run(machines: Machines) -> None:
    for _ in range(3):
        run(machines, "a")
    with psycopg.connect(machines.run_log) as server:
        server.execute("UPDATE syncer_snapshots SET fence = 0")
    machines.common.people(dict.fromkeys("1234", "newest"))

    later = run(machines, "b")

    assert (later.status, later.counts.accepted) == (RunStatus.SUCCESS, 4)
    # The store has it of the first run: the others sent nothing.
    assert machines.logged("SELECT fence FROM syncer_snapshots") == [(2,)]
    assert run(machines, "a").status is RunStatus.SUCCESS


def test_only_who_took_a_sync_last_can_go_past_what_a_store_knows(machines: Machines) -> None:
    settings = load(machines["a"].path, {**machines["a"].variables})
    with closing(StateDatabase(machines.run_log)) as database:
        shared = SharedSnapshots(settings=settings, database=database, now=lambda: datetime.now(UTC))
        stale, newer = shared.take("people"), shared.take("people")

        with pytest.raises(RunInProgressError, match="another run of `people`"):
            stale.take_after(7)
        newer.take_after(7)

        assert (stale.take, newer.take, Pointers(database).of("people").fence) == (1, 8, 8)


@contextmanager
def stopped(process: Any, store: sqlite3.Connection, is_time: Callable[[], bool]) -> Iterator[None]:
    """Let a process stand still once it is time, between two batches."""
    wait_until(is_time)
    wait_until(lambda: locked(store))
    os.kill(process.pid, signal.SIGSTOP)
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    store.execute("ROLLBACK")
    yield
    os.kill(process.pid, signal.SIGCONT)


def locked(store: sqlite3.Connection) -> bool:
    """Whether nobody else writes from now on."""
    try:
        store.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


@pytest.mark.early
@pytest.mark.parametrize("machines", ["sqlite"], indirect=True)
def test_a_process_that_stood_still_between_two_batches(machines: Machines) -> None:
    query = f"SELECT 'p' || range AS id, plan FROM range({MANY}), people WHERE people.id = '1'"
    machines.common.define("people", query, PERSON)
    machines["a"].ran("people")
    machines.common.people({"1": "stale"})

    def count(plan: str) -> int:
        query = "SELECT count(*) FROM people WHERE attributes ->> '$.plan' = ?"
        return int(store.execute(query, [plan]).fetchone()[0])

    path = machines.path / "common/profiles.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as store:
        with machines["a"].started("run", "people", **machines["a"].variables) as frozen:
            with stopped(frozen, store, lambda: count("stale") > 0):
                written = count("stale")
                end_sessions(machines)
                machines.common.people({"1": "newest"})
                later = machines["b"].ran("people")
                assert count("newest") == MANY
            code = frozen.wait()
        assert 0 < written < MANY, "it was stopped too late"
        assert (count("newest"), count("stale")) == (MANY, 0)

    assert code != 0
    assert later["accepted"] == MANY
    statuses = machines.logged("SELECT status, error FROM syncer_runs ORDER BY started_at, id")
    assert [status for status, _ in statuses] == ["success", "interrupted", "success"]
    assert machines["a"].ran("people")["accepted"] == 0
