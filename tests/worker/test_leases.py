"""Leases: one worker at a time makes the runs of a sync, and what a dead one has left ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from syncer.model.types import EndedBy, Order, RunStatus, Trigger
from syncer.state.database import StateDatabase
from syncer.state.leases import Leases
from syncer.state.runs import OvertakenError, RunLog

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def database(postgres_url: str) -> Iterator[StateDatabase]:
    made = StateDatabase(postgres_url)
    yield made
    made.close()


@pytest.fixture
def leases(database: StateDatabase) -> Leases:
    return Leases(database)


@pytest.fixture
def log(database: StateDatabase) -> RunLog:
    return RunLog(database)


def order(run_id: str = "", worker: str = "") -> Order:
    return Order(trigger=Trigger.SCHEDULE, run_id=run_id, worker=worker)


def grow_old(database: StateDatabase) -> None:
    """Let every lease be one that nobody has renewed for long."""
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE syncer_leases SET beat_at = beat_at - interval '11 seconds'"))


def test_one_worker_at_a_time_has_a_sync(leases: Leases) -> None:
    assert leases.take("people", "run-1", "a", AT)
    assert not leases.take("people", "run-2", "b", AT)
    assert leases.take("others", "run-3", "b", AT)
    assert leases.holds("people", "run-1", "a")
    assert not leases.holds("people", "run-1", "b")

    leases.release("people", "run-1", "b")
    assert leases.holds("people", "run-1", "a")
    leases.release("people", "run-1", "a")
    assert leases.take("people", "run-2", "b", AT)


def test_a_lease_that_was_not_renewed_is_free_and_its_run_has_died(
    database: StateDatabase, leases: Leases, log: RunLog
) -> None:
    run_id = log.accept("people", order(), "hash", AT)
    assert leases.take("people", run_id, "a", AT)
    log.start("people", order(run_id, "a"), "hash", AT)
    grow_old(database)
    assert leases.take("people", "run-2", "b", AT)

    run = log.get(run_id)
    assert run is not None
    assert (run.status, run.ended_by) == (RunStatus.INTERRUPTED, EndedBy.CRASH)
    assert leases.beat("a", "here", [], [run_id]) == set()
    assert not leases.put_fence("people", run_id, "a", 7)


def test_a_worker_that_comes_back_in_time_keeps_its_run(database: StateDatabase, leases: Leases, log: RunLog) -> None:
    run_id = log.accept("people", order(), "hash", AT)
    assert leases.take("people", run_id, "a", AT)
    grow_old(database)

    assert leases.beat("a", "here", [], [run_id]) == {run_id}
    assert leases.end_dead(AT) == []


def test_what_dead_workers_had_begun_ends_and_what_they_had_not_waits(
    database: StateDatabase, leases: Leases, log: RunLog
) -> None:
    begun, waiting, alive = (log.accept(sync, order(), "hash", AT) for sync in ("begun", "waiting", "alive"))
    assert leases.take("begun", begun, "a", AT)
    assert leases.take("waiting", waiting, "a", AT)
    log.start("begun", order(begun, "a"), "hash", AT)
    grow_old(database)
    assert leases.take("alive", alive, "b", AT)

    assert sorted(leases.end_dead(AT)) == ["begun", "waiting"]
    assert leases.end_dead(AT) == []
    assert {run.sync: run.status for run in log.some([begun, waiting, alive])} == {
        "begun": RunStatus.INTERRUPTED,
        "waiting": RunStatus.QUEUED,
        "alive": RunStatus.QUEUED,
    }
    assert leases.run_ids() == {alive}


def test_a_worker_without_a_sign_for_too_long_does_not_live(database: StateDatabase, leases: Leases) -> None:
    leases.beat("a", "here", ["heavy"], [])
    leases.beat("b", "there", [], [])
    with database.writing() as connection:
        connection.execute(
            sa.text("UPDATE syncer_workers SET beat_at = beat_at - interval '11 seconds' WHERE worker = 'a'")
        )

    assert [(one.worker, one.lives, one.takes("heavy"), one.takes("other")) for one in leases.workers()] == [
        ("a", False, True, False),
        ("b", True, True, True),
    ]


def test_a_run_log_that_machines_do_not_share_knows_no_workers(tmp_path: Path) -> None:
    database = StateDatabase(f"sqlite:///{tmp_path}/runs.db")
    assert Leases(database).workers() == []
    database.close()


def test_a_run_keeps_the_worker_that_makes_it(leases: Leases, log: RunLog) -> None:
    run_id = log.accept("people", order(), "hash", AT)
    before = log.some([run_id])[0].worker
    assert leases.take("people", run_id, "a", AT)
    log.start("people", order(run_id, "a"), "hash", AT)
    log.finish(run_id, RunStatus.SUCCESS, AT)
    by_hand = log.start("people", Order(trigger=Trigger.MANUAL), "hash", AT)

    assert before is None
    assert {run.id: run.worker for run in log.recent()} == {run_id: "a", by_hand: None}


def test_a_worker_begins_no_run_without_the_lease(leases: Leases, log: RunLog) -> None:
    run_id = log.accept("people", order(), "hash", AT)
    assert leases.take("people", run_id, "b", AT)

    with pytest.raises(OvertakenError):
        log.start("people", order(run_id, "a"), "hash", AT)
    assert [run.id for run in log.queued_runs()] == [run_id]


def test_a_worker_begins_no_run_that_was_ended_meanwhile(leases: Leases, log: RunLog) -> None:
    run_id = log.accept("people", order(), "hash", AT)
    assert leases.take("people", run_id, "a", AT)
    assert log.withdraw(run_id, AT, why="stopped by ann", by=EndedBy.PERSON)

    with pytest.raises(OvertakenError):
        log.start("people", order(run_id, "a"), "hash", AT)
    run = log.get(run_id)
    assert run is not None
    assert (run.status, run.error, run.ended_by) == (RunStatus.INTERRUPTED, "stopped by ann", EndedBy.PERSON)


def test_a_run_that_has_begun_is_not_withdrawn(log: RunLog) -> None:
    run_id = log.accept("people", order(), "hash", AT)
    log.start("people", order(run_id), "hash", AT)

    assert not log.withdraw(run_id, AT, why="stopped by ann", by=EndedBy.PERSON)
    assert [run.id for run in log.open_runs()] == [run_id]


def test_the_run_of_a_worker_lives_whatever_became_of_who_ordered_it(leases: Leases, log: RunLog) -> None:
    run_id = log.accept("people", order(), "hash", AT)
    by_hand = Order(trigger=Trigger.MANUAL)
    assert not log.lives("people", 3, run_id, beside=by_hand)
    assert leases.take("people", run_id, "a", AT)

    assert log.lives("people", 3, run_id, beside=by_hand)


def test_workers_are_known_by_what_they_say_of_themselves(database: StateDatabase, leases: Leases) -> None:
    leases.beat("a", "here", [], [])
    leases.beat("b", "there", ["heavy"], [])
    assert leases.take("people", "run-1", "b", AT)
    assert leases.put_fence("people", "run-1", "b", 7)
    (one, other) = leases.workers()
    leases.leave("a")

    assert (one.worker, one.host, one.queues, one.running) == ("a", "here", [], [])
    assert (other.worker, other.queues) == ("b", ["heavy"])
    assert [(run.sync, run.run_id, run.fence) for run in other.running] == [("people", "run-1", 7)]
    assert other.beat_at.tzinfo is not None
    assert [each.worker for each in leases.workers()] == ["b"]


def test_a_worker_that_left_nothing_is_forgotten_after_a_day(database: StateDatabase, leases: Leases) -> None:
    leases.beat("a", "here", [], [])
    assert leases.take("people", "run-1", "b", AT)
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE syncer_workers SET beat_at = beat_at - interval '25 hours'"))
    grow_old(database)
    leases.end_dead(AT)

    assert leases.workers() == []
