"""Machines die in the middle of runs: another one goes on with what they had put, and sends no more than it must."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from syncer.model.types import RunStatus
from syncer.state.database import StateDatabase
from syncer.state.pointers import Pointers
from syncer.state.runs import RunLog
from tests.cli.conftest import MANY_ROWS
from tests.service import machines as services
from tests.service.machines import wait_until
from tests.shared.machines import PERSON, Machines

#: As long as anybody cares to wait, until it is cut off.
SLOW = "SELECT 1 AS id, count(*) AS plan FROM range(1000000000000) a, range(1000) b"


@pytest.fixture
def run_log(postgres_url: str) -> Iterator[RunLog]:
    database = StateDatabase(postgres_url)
    yield RunLog(database)
    database.close()


@pytest.mark.parametrize("kills", ["between runs", "during a run"])
def test_a_new_leader_sends_what_changed_and_removes_what_left(
    tmp_path: Path, postgres_url: str, run_log: RunLog, kills: str
) -> None:
    shared = {"SYNCER_SNAPSHOTS_URL": "database"}
    machines = services.Machines(folder=tmp_path, run_log=run_log, database_url=postgres_url, variables=shared)
    people = {str(number): "free" for number in range(50)}
    machines.people(people)
    machines.define("customers", "SELECT id, plan FROM people")
    with machines.started("a") as first, machines.started("b") as second:
        wait_until(lambda: first.answers() and second.answers())
        wait_until(lambda: machines.stored() == people)
        wait_until(lambda: is_settled(run_log, "customers"))
        leader, other = (first, second) if first.leads() else (second, first)
        if kills == "during a run":
            with machines.store_locked():
                machines.people(people | {"1": "lost"})
                wait_until(lambda: not is_settled(run_log, "customers"))
                leader.send(signal.SIGKILL)
        else:
            leader.send(signal.SIGKILL)
        # One changes, and one leaves, while nobody leads.
        changed = people | {"2": "pro"}
        del changed["3"]
        machines.people(changed)
        wait_until(other.leads)
        wait_until(lambda: machines.stored() == changed | {"3": None})
        before = len(run_log.recent(limit=1000))
        wait_until(lambda: len(run_log.recent(limit=1000)) > before + 2)

    runs = [run for run in run_log.recent(limit=1000) if run.term == 2 and run.status is RunStatus.SUCCESS]
    # What changed, what left, and what the first leader was about to send.
    assert sum(run.counts.accepted for run in runs) == (3 if kills == "during a run" else 2)
    assert not [note for run in runs for note in run.notes if "every row" in note]


def is_settled(run_log: RunLog, sync: str) -> bool:
    """Whether something was put, and nothing since a run settled."""
    pointer = Pointers(run_log.database).of(sync)
    return bool(pointer.objects) and pointer.is_settled


def test_a_command_that_is_killed_while_it_sends_is_gone_on_with_elsewhere(
    tmp_path: Path, postgres_url: str, run_log: RunLog
) -> None:
    machines = Machines(path=tmp_path, run_log=postgres_url, place={"SYNCER_SNAPSHOTS_URL": f"file://{tmp_path}/place"})
    machines.common.people({"0": "free"})
    machines.common.define("many", f"SELECT 'p' || range AS id, 'a' AS plan FROM range({MANY_ROWS})", PERSON)
    machine, pointers = machines["a"], Pointers(run_log.database)
    with machine.started("run", "many", **machine.variables) as process:
        # What it is about to send is there.
        wait_until(lambda: bool(pointers.of("many").objects) or process.poll() is not None)
        process.kill()
        process.wait()
    assert not pointers.of("many").is_settled

    ran = machines["b"].ran("many")
    again = machines["b"].ran("many")

    assert (ran["status"], ran["queried"]) == ("success", MANY_ROWS)
    assert (again["accepted"], len(machines.stored())) == (0, MANY_ROWS)


def test_a_run_elsewhere_is_in_the_way_of_runs_and_plans_here(
    tmp_path: Path, postgres_url: str, run_log: RunLog
) -> None:
    machines = Machines(path=tmp_path, run_log=postgres_url, place={"SYNCER_SNAPSHOTS_URL": "database"})
    machines.common.people({"0": "free"})
    machines.common.define("slow", SLOW, PERSON)
    machine = machines["a"]
    with machine.started("run", "slow", **machine.variables) as process:
        wait_until(lambda: any(run.status is RunStatus.RUNNING for run in run_log.recent(limit=5)))
        tried = {
            words: machines["b"].run(*words.split())
            for words in ("run slow", "plan slow", "reset slow --yes", "snapshot move slow --to local")
        }
        assert process.poll() is None
        process.kill()

    assert {words: ran.code for words, ran in tried.items()} == dict.fromkeys(tried, 4)
    why = "is being run already, by another process or another machine"
    assert [words for words, ran in tried.items() if why not in ran.out + ran.err] == []


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_a_run_begins_once_more_where_another_machine_made_its_store_while_it_asked(
    tmp_path: Path, postgres_url: str, run_log: RunLog, store: str
) -> None:
    """What it remembers would be of a store that never was, and the next run would miss removals."""
    machines = Machines(path=tmp_path, run_log=postgres_url, place={"SYNCER_SNAPSHOTS_URL": "database"})
    machines.common.people({"1": "free"})
    machines.common.define("people", "SELECT id, plan FROM people", PERSON)
    gated = "SELECT 'p' || i AS id, pg_advisory_xact_lock_shared(1)::text AS plan FROM generate_series(1, 3) AS i"
    machines.common.define("gated", gated, f"{PERSON}\nwarehouse: gated")
    given = {"SYNCER_WAREHOUSES__GATED__URL": postgres_url}
    if store == "postgresql":
        given["SYNCER_STORES__DEFAULT__URL"] = postgres_url
    machine = machines["a"]
    with psycopg.connect(postgres_url, autocommit=True) as gate:
        gate.execute("SELECT pg_advisory_lock(1)")
        with machine.started("run", "gated", **{**machine.variables, **given}) as process:
            wait_until(lambda: asks(gate))
            machines["b"].ran("people", **given)
            gate.execute("SELECT pg_advisory_unlock(1)")
            process.wait()
    (again,) = run_log.recent("gated", 2)
    sent, unchanged = machine.ran("gated", **given), machines["b"].ran("gated", **given)

    assert (again.status, again.counts.accepted) == (RunStatus.SUCCESS, 3)
    assert (sent["accepted"], unchanged["accepted"], unchanged["unchanged"]) == (0, 0, 3)


def asks(connection: psycopg.Connection) -> bool:
    """Whether some query waits for the gate."""
    return bool(connection.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchall())
