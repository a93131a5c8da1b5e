"""The jobs that wake workers, and the tables that they are in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest

from syncer.model.errors import SettingsError
from syncer.service.worker.jobs import JobQueue
from syncer.state.database import StateDatabase
from syncer.state.leases import Leases

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def database(postgres_url: str) -> Iterator[StateDatabase]:
    made = StateDatabase(postgres_url)
    yield made
    made.close()


def jobs(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        found = "SELECT lock, queueing_lock, queue_name, priority, args ->> 'run_id', status FROM procrastinate_jobs"
        return connection.execute(f"{found} ORDER BY id").fetchall()


def take_job(url: str, *, seconds_ago: int) -> None:
    """As a worker does that is gone."""
    with psycopg.connect(url, autocommit=True) as connection:
        worker = connection.execute("SELECT worker_id FROM procrastinate_register_worker_v1()").fetchone()
        assert worker is not None
        connection.execute("SELECT procrastinate_fetch_job_v2(NULL, %s)", worker)
        connection.execute("UPDATE procrastinate_events SET at = at - make_interval(secs => %s)", [seconds_ago])


def test_whoever_comes_first_makes_the_tables(database: StateDatabase, postgres_url: str) -> None:
    queues = [JobQueue(database) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda queue: queue.prepare(), queues))

    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT version FROM syncer_job_tables").fetchall() == [("3.10",)]


def test_a_run_has_one_job_that_waits(database: StateDatabase, postgres_url: str) -> None:
    queue = JobQueue(database)
    queue.prepare()
    queue.defer("people", "run-1", queue="default")
    queue.defer("people", "run-1", queue="default")
    queue.defer("others", "run-2", queue="heavy", priority=3)

    assert jobs(postgres_url) == [
        ("people", "people", "default", 0, "run-1", "todo"),
        ("others", "others", "heavy", 3, "run-2", "todo"),
    ]


@pytest.mark.parametrize(
    ("seconds_ago", "freed", "leased", "deleted"),
    [
        (0, [], "", 0),
        (11, [], "", 1),
        (0, ["people"], "", 1),
        (11, [], "run-1", 0),
        (11, [], "run-0", 1),
    ],
)
def test_a_job_goes_that_nobody_works_at(
    database: StateDatabase, postgres_url: str, seconds_ago: int, freed: list[str], leased: str, deleted: int
) -> None:
    queue = JobQueue(database)
    queue.prepare()
    queue.defer("people", "run-1", queue="default")
    take_job(postgres_url, seconds_ago=seconds_ago)
    queue.defer("waits", "run-2", queue="default")
    if leased:
        assert Leases(database).take("people", leased, "a", AT)

    assert queue.delete_orphans(freed) == deleted
    assert [job[-1] for job in jobs(postgres_url)] == ["doing"] * (1 - deleted) + ["todo"]


def test_the_jobs_of_another_program_are_left_alone(database: StateDatabase, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE procrastinate_jobs (id bigint)")
    with pytest.raises(SettingsError, match="another program keeps jobs of Procrastinate in this database"):
        JobQueue(database).prepare()

    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM syncer_job_tables").fetchall() == [(0,)]


def test_tables_of_another_version_are_not_used(database: StateDatabase, postgres_url: str) -> None:
    JobQueue(database).prepare()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE syncer_job_tables SET version = '9.1'")

    with pytest.raises(SettingsError, match=r"are of Procrastinate 9\.1, not 3\.10"):
        JobQueue(database).prepare()


def test_a_package_that_is_missing_is_named(database: StateDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    with pytest.raises(SettingsError, match="is not installed") as caught:
        JobQueue(database).prepare()

    assert caught.value.message.startswith("SYNCER_RUNS: ")
    assert "pip install 'syncer[cluster]'" in caught.value.hint
