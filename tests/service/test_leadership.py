from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
import pytest

from syncer.model.errors import SettingsError, StateDatabaseError
from syncer.model.types import Order, Run, RunStatus, Trigger
from syncer.service.leadership import LeaderElection
from syncer.service.session_lock import _LEADERSHIP
from syncer.state.database import StateDatabase
from syncer.state.runs import OvertakenError, RunLog
from tests.servers.transaction_pooler import transaction_pooler
from tests.service.machines import Machines, Service, wait_until

#: Every 2 s a service that stands by looks whether somebody leads; the rest is for a busy machine.
TAKEOVER_SECONDS = 20.0

#: What one server session holds: the lock of a leader.
LOCKS = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = {_LEADERSHIP}"

#: More than two of the store's batches.
MANY = 25_000


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def run_log(postgres_url: str) -> Iterator[RunLog]:
    database = StateDatabase(postgres_url)
    yield RunLog(database)
    database.close()


@pytest.fixture
def candidates(postgres_url: str) -> Iterator[list[LeaderElection]]:
    """Two services' claims to lead."""
    databases = [StateDatabase(postgres_url) for _ in range(2)]
    made = [
        LeaderElection(database, RunLog(database), holder=name, now=now)
        for database, name in zip(databases, "ab", strict=True)
    ]
    yield made
    for candidate, database in zip(made, databases, strict=True):
        candidate.release()
        database.close()


@pytest.fixture
def machines(tmp_path: Path, postgres_url: str, run_log: RunLog) -> Machines:
    made = Machines(folder=tmp_path, run_log=run_log, database_url=postgres_url)
    made.people({"1": "free", "2": "pro"})
    made.define("customers", "SELECT id, plan FROM people")
    return made


def end_session_of_leader(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as server:
        ((pid,),) = server.execute(LOCKS).fetchall()
        server.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_one_of_two_leads_until_it_lets_go(candidates: list[LeaderElection]) -> None:
    first, second = candidates

    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    assert (first.holds(), second.holds()) == (True, False)
    assert second.leader() == "a"
    first.release()
    # The server takes a moment to see the session end.
    wait_until(second.acquire, seconds=30)
    assert (first.holds(), second.holds()) == (False, True)
    assert second.term == 2


def test_a_leader_that_lost_its_session_leads_no_longer(candidates: list[LeaderElection], postgres_url: str) -> None:
    first, second = candidates
    assert first.acquire()
    end_session_of_leader(postgres_url)

    wait_until(second.acquire, seconds=30)
    wait_until(lambda: not first.holds(), seconds=30)
    assert first.term is None
    assert not first.acquire()


def test_an_older_term_records_no_run(candidates: list[LeaderElection], run_log: RunLog, postgres_url: str) -> None:
    first, second = candidates
    assert first.acquire()
    older = Order(trigger=Trigger.SCHEDULE, term=first.term, due_at=now())
    promised = run_log.start("people", Order(trigger=Trigger.API, term=first.term), "hash", now())
    end_session_of_leader(postgres_url)
    assert second.acquire()

    with pytest.raises(OvertakenError):
        run_log.start("people", older, "hash", now())
    with pytest.raises(OvertakenError):
        run_log.start("people", Order(trigger=Trigger.API, term=1, run_id=promised), "hash", now())
    assert run_log.start(
        "people", Order(trigger=Trigger.SCHEDULE, term=second.term, due_at=older.due_at), "hash", now()
    )


@pytest.mark.early
def test_a_leader_that_stands_still_while_it_writes_the_run_log_keeps_nobody_from_leading(
    candidates: list[LeaderElection], postgres_url: str
) -> None:
    first, second = candidates
    assert first.acquire()
    stalled = StateDatabase(postgres_url)

    def write() -> None:
        with stalled.writing() as connection:
            connection.exec_driver_sql("SELECT term FROM syncer_terms FOR SHARE")
            end_session_of_leader(postgres_url)
            wait_until(second.acquire, seconds=30)
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(StateDatabaseError):
        write()
    assert second.term == 2
    stalled.close()


def test_nobody_leads_by_way_of_a_pooler_of_transactions(postgres_url: str) -> None:
    with transaction_pooler(postgres_url) as pooled:
        database = StateDatabase(pooled)
        candidate = LeaderElection(database, RunLog(database), holder="a", now=now)
        with pytest.raises(SettingsError, match="SYNCER_DATABASE_URL: this is a pooler"):
            candidate.acquire()
        assert not candidate.holds()
        database.close()
    with psycopg.connect(postgres_url) as server:
        assert server.execute(LOCKS).fetchall() == []


@pytest.mark.parametrize("kills", ["between runs", "during a run"])
def test_another_service_takes_over_from_one_that_was_killed(machines: Machines, kills: str) -> None:
    with machines.started("a") as first, machines.started("b") as second:
        wait_until(lambda: first.answers() and second.answers())
        wait_until(lambda: machines.stored() == {"1": "free", "2": "pro"})
        leader, other = (first, second) if first.leads() else (second, first)
        # The other has no snapshot; now it changes hands once, so that it has an old one.
        machines.people({"1": "pro", "2": "pro", "3": "free"})
        wait_until(lambda: machines.stored() == {"1": "pro", "2": "pro", "3": "free"})
        if kills == "during a run":
            with machines.store_locked():
                machines.people({"1": "lost", "2": "pro", "3": "free"})
                changed = now()
                wait_until(lambda: is_sending(machines, leader, changed))
                leader.send(signal.SIGKILL)
        else:
            leader.send(signal.SIGKILL)
        machines.people({"1": "free", "2": "pro", "3": "free"})
        seconds = wait_until(other.leads)
        print(f"takeover after {seconds:.1f} s")
        wait_until(lambda: machines.stored() == {"1": "free", "2": "pro", "3": "free"})
        before = len(machines.run_log.recent(limit=1000))
        wait_until(lambda: len(machines.run_log.recent(limit=1000)) > before + 3)

    assert seconds < TAKEOVER_SECONDS
    runs = machines.run_log.recent(limit=1000)
    answered = Counter(run.due_at for run in runs if run.due_at is not None)
    assert max(answered.values()) == 1
    assert {run.term for run in runs} == {1, 2}
    # Nothing that the killed one began is left open.
    assert not [run for run in runs if run.term == 1 and run.status is RunStatus.RUNNING]
    assert answers_every_tick(machines)


def is_sending(machines: Machines, leader: Service, since: datetime) -> bool:
    """Whether a run has found the change of *since* and waits for the store: it cannot end before it is sent."""
    begun = [run.started_at for run in machines.run_log.open_runs() if run.started_at > since]
    return any((now() - at).total_seconds() > 2 for at in begun) and leader.leads()


def answers_every_tick(machines: Machines) -> bool:
    """Whether between two answered ticks each has an answer, or stands in a later run's notes."""
    recorded = [run for run in reversed(machines.run_log.recent(limit=1000)) if run.due_at is not None]
    # A tick may be skipped before the run of the tick before it is recorded.
    runs = sorted(recorded, key=lambda run: run.due_at or run.started_at)
    ticks = [run.due_at for run in runs]
    for run, before in zip(runs[1:], ticks, strict=False):
        assert run.due_at is not None
        assert before is not None
        if (run.due_at - before).total_seconds() > 1 and not run.notes and run.status is not RunStatus.INTERRUPTED:
            return False
    return [run for run in runs if run.status is not RunStatus.SKIPPED] == [
        run for run in recorded if run.status is not RunStatus.SKIPPED
    ]


@pytest.mark.early
def test_a_leader_that_stood_still_is_fenced_and_what_it_sent_late_is_made_good(machines: Machines) -> None:
    machines.define("many", f"SELECT 'p' || range AS id, plan FROM range({MANY}), people WHERE people.id = '1'")
    with machines.started("a") as first:
        wait_until(first.answers)
        wait_until(lambda: len(machines.stored()) == MANY + 2)
        with machines.started("b") as second:
            wait_until(second.answers)
            with machines.store_locked():
                machines.people({"1": "stale", "2": "stale"})
                changed = now()
                wait_until(lambda: is_sending(machines, first, changed))
                first.send(signal.SIGSTOP)
                # Not before it stands still: else it might hold the store's lock while it does.
                wait_until(lambda: psutil.Process(first.process.pid).status() == psutil.STATUS_STOPPED)
            # The server ends the session of a leader that gives no sign of life.
            seconds = wait_until(second.leads)
            machines.people({"1": "newest", "2": "newest"})
            wait_until(lambda: set(machines.stored().values()) == {"newest"})
            interrupted = [run for run in machines.run_log.recent(limit=1000) if run.status is RunStatus.INTERRUPTED]
            # One that began before may have sent all it had.
            stopped = [run.id for run in interrupted if run.started_at > changed]
            first.send(signal.SIGCONT)
            wait_until(lambda: all(ended_by_itself(machines, run_id) for run_id in stopped), seconds=200)
            after = now()
            wait_until(lambda: {run.sync for run in ended_since(machines, after)} == {"customers", "many"})
            stored = machines.stored()
            machines.people({"1": "newest", "2": "newest"})

    print(f"takeover from a process that stands still after {seconds:.1f} s")
    assert seconds < 10 + TAKEOVER_SECONDS
    assert stopped
    assert set(stored.values()) == {"newest"}
    assert {run.status for run in map(machines.run_log.get, stopped) if run} == {RunStatus.INTERRUPTED}


def ended_by_itself(machines: Machines, run_id: str) -> bool:
    """Whether a run's own process has recorded its end, which tells more than that it was left open."""
    run = machines.run_log.get(run_id)
    return run is not None and run.error is not None


def ended_since(machines: Machines, at: datetime) -> list[Run]:
    wanted = (RunStatus.SUCCESS, RunStatus.WARNING)
    return [run for run in machines.run_log.recent(limit=1000) if run.started_at > at and run.status in wanted]


def test_a_second_service_on_one_state_folder_names_the_first(machines: Machines) -> None:
    with machines.started("a") as first:
        wait_until(first.answers)
        told = first.lock.read_text().strip()
        with machines.started("a", "syncer", "serve") as second:
            code = second.process.wait(timeout=120)
        log = (machines.folder / "a.log").read_text()
        first.send(signal.SIGKILL)
        first.process.wait()
        # The system has freed the lock, whatever the file says.
        with machines.started("a") as third:
            wait_until(third.answers)

    assert code == 4
    assert f"another service uses {machines.folder}/a: {told}" in log
    assert "http://127.0.0.1:" in told
