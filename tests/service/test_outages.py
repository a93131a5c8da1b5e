"""A run log in PostgreSQL that stops, locks and returns at every point of a run: no tick is lost, none runs twice."""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from syncer.model.errors import StateDatabaseError
from syncer.model.types import OPEN, Order, RunStatus, SyncDefinition, Trigger
from syncer.service.catalog import Catalog
from syncer.service.leadership import LeaderElection
from syncer.service.pool import ActiveRun, AlreadyActiveError, ClosedError
from syncer.service.service import Service
from syncer.service.timetable import HEARTBEAT_SECONDS, Tick
from syncer.settings import settings, state_modes
from syncer.state import database as state_database
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from syncer.sync import retention
from syncer.sync.progress import Phase
from syncer.sync.runner import Runner
from syncer.web.app import _is_ready
from tests.service.conftest import PERSON, Bench, wait_until
from tests.service.machines import Machines

HOUR = timedelta(hours=1)

Outage = Callable[[str], AbstractContextManager[None]]


@contextmanager
def stopped(url: str) -> Iterator[None]:
    """Nobody is connected to the database, and nobody can connect."""
    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Whoever reads or writes runs has to wait."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE syncer_runs IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are waited for during a second, not thirty."""
    for kind in ("_READ", "_WRITE"):
        statements = getattr(state_database, kind)
        shortened = {name: text.replace("'30s'", "'1s'") for name, text in statements.items()}
        monkeypatch.setattr(state_database, kind, shortened)


@pytest.fixture
def shared(bench: Bench, postgres_url: str) -> Iterator[Service]:
    """A service whose run log is in PostgreSQL; not started."""
    found = settings.load(bench.path, bench.environment)
    state_modes.make_state_dir(found)
    database = StateDatabase(postgres_url)
    log = RunLog(database)
    bench.define("people", header=f"{PERSON}schedule: every 1 hour")
    service = Service(
        settings=found,
        catalog=Catalog(bench.load),
        runner=Runner(settings=found, run_log=log, now=bench.now, patience=bench.patience),
        run_log=log,
        leadership=LeaderElection(database, log, holder="this test", now=bench.now),
        now=bench.now,
    )
    yield service
    service.stop("the test is over")
    database.close()


def well(service: Service, name: str = "people") -> int:
    return len(service.run_log.recent(name, 1000, statuses=[RunStatus.SUCCESS]))


def is_at_rest(service: Service) -> bool:
    """Whether it leads, and nothing waits or runs, in the pool or the run log."""
    if not service.leads or service.pool.active_runs():
        return False
    return not [run for run in service.run_log.recent(limit=1000) if run.status in OPEN]


@pytest.mark.parametrize("outage", [stopped, locked])
@pytest.mark.parametrize("phase", list(Phase))
def test_a_service_leads_again_after_its_run_log_was_away_during_a_run(
    shared: Service, postgres_url: str, outage: Outage, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    during = Runner.run
    away: list[AbstractContextManager[None]] = []

    def fail(runner: Runner, *arguments: object, progress: object, **named: object) -> object:
        def changed() -> None:
            if progress.phase is phase and not away:  # type: ignore[attr-defined]
                away.append(outage(postgres_url))
                away[0].__enter__()

        progress.changed = changed  # type: ignore[attr-defined]
        return during(runner, *arguments, progress=progress, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Runner, "run", fail)
    shared.start()
    wait_until(lambda: away)
    wait_until(lambda: not shared.pool.active_runs() or not shared.leads)
    away[0].__exit__(None, None, None)

    wait_until(lambda: is_at_rest(shared) and well(shared) == 1)
    assert shared.is_alive
    assert _is_ready(shared)
    ticks = [run.due_at for run in shared.run_log.recent(limit=100) if run.due_at]
    assert len(ticks) == len(set(ticks)) == 1
    active = wait_until(lambda: ordered(shared))
    assert active.ended.wait(60)
    assert active.run is not None
    assert active.run.status is RunStatus.SUCCESS


def ordered(service: Service) -> ActiveRun | None:
    """A run that somebody orders; None if the service does not take it yet."""
    try:
        return service.run_now("people", actor="ann")
    except (ClosedError, StateDatabaseError, AlreadyActiveError):
        return None


@pytest.mark.parametrize("outage", [stopped, locked])
def test_a_run_that_cannot_begin_begins_later(
    shared: Service, postgres_url: str, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    newest, away = shared.pool.newest, outage(postgres_url)
    met: list[ActiveRun] = []

    def newest_while_away(active: ActiveRun) -> SyncDefinition | str:
        if not met:
            met.append(active)
            away.__enter__()
        return newest(active)

    shared.pool.newest = newest_while_away
    shared.start()
    wait_until(lambda: met and ("the run begins later" in caplog.text or not shared.leads))
    away.__exit__(None, None, None)

    wait_until(lambda: is_at_rest(shared) and well(shared) == 1)
    # Who has lost the lead meanwhile ends it, and makes up for it.
    *_, first = shared.run_log.recent()
    assert (first.id, first.due_at) == (met[0].run_id, met[0].order.due_at)
    assert len(shared.run_log.recent()) == 1 or first.status is RunStatus.INTERRUPTED


def test_a_stop_does_not_wait_for_a_run_that_could_not_be_recorded(shared: Service, postgres_url: str) -> None:
    bench_definition = shared.settings.definitions_dir / "people.sql"
    endless = "SELECT 1 AS id, count(*) AS plan FROM range(1000000000000) a, range(1000000) b"
    bench_definition.write_text(f"/* sync\n{PERSON}\n*/\n{endless}\n")
    shared.start()
    active: ActiveRun = wait_until(lambda: next(iter(shared.pool.active_runs()), None))
    wait_until(lambda: active.progress.phase is Phase.QUERY)

    with stopped(postgres_url):
        assert active.ended.wait(60)
        assert shared.stop("the test is over")


@pytest.mark.parametrize("outage", [stopped, locked])
def test_leading_begins_when_the_schedule_is_complete(
    shared: Service, postgres_url: str, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire, away = LeaderElection.acquire, outage(postgres_url)

    def acquire_then_fail(leadership: LeaderElection) -> bool:
        taken = acquire(leadership)
        away.__enter__()
        monkeypatch.setattr(LeaderElection, "acquire", acquire)
        return taken

    monkeypatch.setattr(LeaderElection, "acquire", acquire_then_fail)
    with pytest.raises(StateDatabaseError):
        shared.start()
    shared.timetable.start()
    assert not shared.leads
    with pytest.raises((ClosedError, StateDatabaseError)):
        shared.run_now("people", actor="ann")
    away.__exit__(None, None, None)

    wait_until(lambda: shared.leads and shared.timetable.names() == {"people"})
    wait_until(lambda: well(shared) == 1)


@pytest.mark.parametrize("outage", [stopped, locked])
def test_a_tick_that_meets_a_run_log_that_is_away_is_answered_later(
    shared: Service, postgres_url: str, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    shared.start()
    wait_until(lambda: is_at_rest(shared) and well(shared) == 1)
    due_at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
    with outage(postgres_url):
        offer(shared, Tick(sync="people", due_at=due_at))
        wait_until(lambda: not shared.leads or "a tick is tried again" in caplog.text)

    wait_until(lambda: is_at_rest(shared))
    if outage is locked:
        wait_until(lambda: well(shared) == 2)
        assert [run.status for run in shared.run_log.recent() if run.due_at == due_at] == [RunStatus.SUCCESS]


def offer(service: Service, tick: Tick) -> None:
    """Let a tick come now."""
    service.timetable._handing.offer(tick)


def test_a_readiness_probe_sees_a_leader_without_a_schedule(shared: Service) -> None:
    shared.catalog.open()
    shared.leadership.acquire()

    assert not shared.leads
    assert not _is_ready(shared)
    with pytest.raises(ClosedError, match="this service is about to lead"):
        shared.run_now("people", actor="ann")
    shared.leader.look()
    assert shared.leads
    assert _is_ready(shared)


def test_what_is_accepted_and_never_reached_the_pool_is_run(shared: Service) -> None:
    shared.start()
    # Without the run of its first tick, which the lost one would meet.
    wait_until(lambda: is_at_rest(shared) and well(shared) == 1)
    tick = Order(trigger=Trigger.SCHEDULE, due_at=datetime.now(UTC) + HOUR, term=shared.leadership.term)
    # As if the answer to its commit was lost.
    lost = shared.run_log.accept("people", tick, "x", datetime.now(UTC))
    shared.leader.answer(Tick(sync="people", due_at=tick.due_at or datetime.now(UTC)))

    wait_until(lambda: is_at_rest(shared))
    found = shared.run_log.get(lost)
    assert found is not None
    assert found.status is RunStatus.SUCCESS


def test_an_order_is_refused_while_the_run_log_is_away(shared: Service, postgres_url: str) -> None:
    shared.start()
    wait_until(lambda: is_at_rest(shared) and well(shared) == 1)
    with stopped(postgres_url), pytest.raises((ClosedError, StateDatabaseError)):
        shared.run_now("people", actor="ann")
    assert wait_until(lambda: ordered(shared)).ended.wait(60)


def test_a_tick_that_meets_a_locked_sqlite_is_answered_later(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_database, "_WAIT_SECONDS", 0.2)
    bench.define("people", header=f"{PERSON}schedule: every 1 hour")
    with bench.service() as service:
        wait_until(lambda: is_at_rest(service) and well(service) == 1)
        due_at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
        with closing(sqlite3.connect(bench.path / ".syncer/runs.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            offer(service, Tick(sync="people", due_at=due_at))
            wait_until(lambda: "a tick is tried again" in caplog.text)
            assert service.is_alive

        wait_until(lambda: is_at_rest(service) and well(service) == 2)
        (run,) = [run for run in service.run_log.recent() if run.due_at == due_at]
        assert run.status is RunStatus.SUCCESS


def test_an_edit_that_meets_a_locked_run_log_is_scheduled_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_database, "_WAIT_SECONDS", 0.2)
    bench.define("people", header=f"{PERSON}schedule: every 1 hour")
    with bench.service() as service:
        wait_until(lambda: is_at_rest(service) and well(service) == 1)
        with closing(sqlite3.connect(bench.path / ".syncer/runs.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            bench.define("people", header=f"{PERSON}schedule: every 100 days")
            assert service.reload() == {"people"}

        wait_until(lambda: service.timetable.next_due()["people"] > datetime.now(UTC) + HOUR)


@pytest.mark.parametrize("phase", [Phase.QUERY, Phase.SEND, Phase.SETTLE])
def test_a_locked_sqlite_leaves_no_run_without_an_end(
    bench: Bench, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_database, "_WAIT_SECONDS", 0.2)
    bench.define("people", header=f"{PERSON}schedule: manual")
    with bench.service() as service:
        active = service.run_now("people", actor="ann")
        other = sqlite3.connect(bench.path / ".syncer/runs.db", isolation_level=None, check_same_thread=False)
        reached = threading.Event()

        def lock() -> None:
            if active.progress.phase is phase and not reached.is_set():
                reached.set()
                other.execute("BEGIN IMMEDIATE")

        active.progress.changed = lock
        assert active.ended.wait(60)
        other.close()

        wait_until(lambda: is_at_rest(service))
        run = service.run_log.get(active.run_id)
        assert run is not None
        assert run.finished_at is not None
        assert service.is_alive
        again = service.run_now("people", actor="ann")
        assert again.ended.wait(60)
        assert again.run is not None
        assert again.run.status is RunStatus.SUCCESS


def test_a_purge_that_takes_long_stops_no_heartbeat(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, began = threading.Event(), threading.Event()

    def prune(*_: object) -> None:
        began.set()
        go_on.wait()

    monkeypatch.setattr(retention, "prune", prune)
    with bench.service() as service:
        try:
            assert began.wait(60)
            last = service.last_heartbeat
            wait_until(lambda: service.last_heartbeat > last + HEARTBEAT_SECONDS)
        finally:
            go_on.set()


def test_a_process_whose_run_log_was_away_goes_on_and_ends_at_a_signal(tmp_path: Path, postgres_url: str) -> None:
    database = StateDatabase(postgres_url)
    machines = Machines(folder=tmp_path, run_log=RunLog(database), database_url=postgres_url)
    machines.people({"1": "free"})
    machines.define("customers", "SELECT id, plan FROM people")
    with closing(database), machines.started("a") as service:
        wait_until(lambda: service.answers() and machines.stored() == {"1": "free"})
        with stopped(postgres_url):
            machines.people({"1": "pro"})
            wait_until(lambda: "leads no longer" in (tmp_path / "a.log").read_text())
        wait_until(lambda: machines.stored() == {"1": "pro"})
        ticks = [run.due_at for run in machines.run_log.recent(limit=1000) if run.due_at]
        with stopped(postgres_url):
            service.send(signal.SIGTERM)
            code = service.process.wait(timeout=20)

    assert len(ticks) == len(set(ticks))
    assert code == 128 + signal.SIGTERM
