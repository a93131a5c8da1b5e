"""A service that stands by: what is read of it works, and what would run is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from syncer.definitions import folder as definitions
from syncer.model.types import EndedBy, Order, RunStatus, Trigger
from syncer.service.catalog import Catalog
from syncer.service.leadership import LeaderElection
from syncer.service.pool import FENCED, ClosedError
from syncer.service.service import Service
from syncer.settings import settings, state_modes
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from syncer.sync.progress import Phase, RunOptions, StoppedError
from syncer.sync.runner import Runner
from tests.service.machines import wait_until
from tests.service.test_leadership import end_session_of_leader
from tests.state.processes import hold, killed, started


def now() -> datetime:
    return datetime.now(UTC)


def service(folder: Path, url: str, name: str) -> Service:
    """A service of a machine called *name*."""
    (folder / "sync_definitions").mkdir(exist_ok=True)
    (folder / "sync_definitions/customers.sql").write_text(
        "/* sync\nentity: person\nperson: {id: id}\nschedule: manual\n*/\nSELECT '1' AS id, 'x' AS plan\n"
    )
    made = settings.load(
        folder, {"SYNCER_STATE_DIR": name, "SYNCER_WAREHOUSES__DEFAULT__URL": f"duckdb:///{folder}/sync_definitions"}
    )
    state_modes.make_state_dir(made)
    database = StateDatabase(url)
    run_log = RunLog(database)
    runner = Runner(settings=made, run_log=run_log, now=now)
    load = Catalog(lambda: definitions.load(made.definitions_dir, warehouses=made.warehouses, stores=made.stores))
    leadership = LeaderElection(database, run_log, holder=f"service {name}", now=now)
    return Service(settings=made, catalog=load, runner=runner, run_log=run_log, leadership=leadership, now=now)


@pytest.fixture
def two(tmp_path: Path, postgres_url: str) -> Iterator[tuple[Service, Service]]:
    """One that leads and one that stands by."""
    made = service(tmp_path, postgres_url, "a"), service(tmp_path, postgres_url, "b")
    for each in made:
        each.start()
    yield made
    for each in made:
        each.stop("the test is over")
        each.run_log.database.close()


def test_a_command_that_was_killed_no_longer_blocks_its_sync(two: tuple[Service, Service], postgres_url: str) -> None:
    leader, _ = two
    process = started(hold, postgres_url, "customers")
    wait_until(lambda: leader.run_log.database.is_held("customers"))
    wait_until(lambda: bool(leader.run_log.open_runs()))
    (left,) = leader.run_log.open_runs()
    alive = leader.elsewhere("customers")
    killed(process, after=1)

    assert alive == left
    wait_until(lambda: leader.elsewhere("customers") is None)
    found = leader.run_log.get(left.id)
    assert found is not None
    assert found.status is RunStatus.INTERRUPTED
    assert not leader.run_log.database.is_held("customers")
    assert leader.run_now("customers", actor="ann").ended.wait(60)


def test_a_new_leader_leaves_the_run_of_a_command_alone_that_goes_on(tmp_path: Path, postgres_url: str) -> None:
    with started(hold, postgres_url, "customers") as process:
        run_id = process.stdout.readline().strip()
        leader = service(tmp_path, postgres_url, "a")
        leader.start()
        found = leader.run_log.get(run_id)
        # Not even by a run of the same sync: the command records its own end.
        active = leader.run_now("customers", actor="ann")
        assert active.ended.wait(60)
        still = leader.run_log.get(run_id)
        leader.stop("the test is over")
        leader.run_log.database.close()

    assert found is not None
    assert still is not None
    assert (found.status, still.status) == (RunStatus.RUNNING, RunStatus.RUNNING)
    assert active.run is not None
    assert active.run.status is RunStatus.SUCCESS


def test_a_new_leader_lets_the_one_before_it_end_its_run(two: tuple[Service, Service], postgres_url: str) -> None:
    """Its session is lost, and its process lives: it ends after the batch in hand, and tells so itself."""
    leader, standby = two
    assert leader.run_now("customers", actor="ann").ended.wait(60)
    with sqlite3.connect(leader.settings.state_dir / "profiles.db") as store:
        store.execute("BEGIN IMMEDIATE")
        active = leader.run_now("customers", actor="ann", options=RunOptions(full=True))
        wait_until(lambda: active.progress.phase is Phase.SEND)
        end_session_of_leader(postgres_url)
        wait_until(lambda: standby.leads)
        meanwhile = standby.run_log.get(active.run_id)
    store.close()
    assert active.ended.wait(60)
    ended = standby.run_log.get(active.run_id)

    assert meanwhile is not None
    assert (meanwhile.status, meanwhile.error) in [(RunStatus.RUNNING, None), (RunStatus.INTERRUPTED, FENCED)]
    assert ended is not None
    assert (ended.status, ended.error, ended.ended_by) == (RunStatus.INTERRUPTED, FENCED, EndedBy.TAKEOVER)


def test_what_stands_by_is_read_and_names_who_leads(two: tuple[Service, Service]) -> None:
    leader, standby = two

    assert (leader.leads, standby.leads) == (True, False)
    assert [standing.definition.name for standing in standby.statuses()] == ["customers"]
    with pytest.raises(ClosedError, match=r"^this service stands by, as another one leads: service a$"):
        standby.run_now("customers", actor="ann")
    assert standby.run_log.recent() == []


def test_a_leader_that_was_overtaken_takes_no_orders_before_it_knows(
    two: tuple[Service, Service], postgres_url: str
) -> None:
    leader, standby = two
    end_session_of_leader(postgres_url)
    wait_until(lambda: standby.leads or (leader.leads and leader.leadership.term == 2))
    overtaken, newest = (leader, standby) if standby.leads else (standby, leader)

    active = newest.run_now("customers", actor="ann")
    assert active.ended.wait(60)
    assert active.run is not None
    assert (active.run.status, active.run.term, active.run.error) == (RunStatus.SUCCESS, 2, None)
    with pytest.raises(ClosedError, match="another one leads"):
        overtaken.run_now("customers", actor="ann")


def test_a_run_of_an_older_term_ends(two: tuple[Service, Service], postgres_url: str) -> None:
    leader, _ = two
    active = leader.leader.new_run(
        leader.definition("customers"), Order(trigger=Trigger.API, term=leader.leadership.term), RunOptions(), now()
    )
    assert not active.is_stopped
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute("UPDATE syncer_terms SET term = term + 1")

    wait_until(lambda: active.is_stopped, seconds=30)
    assert active.progress.token.reason == FENCED
    with pytest.raises(StoppedError):
        active.progress.reached(0)
    active.ended.set()
