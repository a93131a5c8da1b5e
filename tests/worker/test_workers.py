"""Workers make the runs that a service orders."""

from __future__ import annotations

import signal
import time
from datetime import timedelta

import pytest

from syncer.model.types import EndedBy, RunStatus
from tests.service.machines import wait_until
from tests.worker.conftest import Cluster


def test_a_worker_makes_the_run_that_a_service_orders(cluster: Cluster) -> None:
    cluster.define("people", "SELECT id, plan FROM people")
    with cluster.serving(), cluster.working("a"):
        wait_until(lambda: cluster.ended_well("people") == 1, seconds=30)
        wait_until(lambda: cluster.jobs() == [])

    (run,) = cluster.runs("people")
    assert run.status is RunStatus.SUCCESS
    assert cluster.stored() == {"1": "free", "2": "pro", "3": "free"}
    assert not (cluster.folder / "leader/snapshots/people.duckdb").exists()
    assert (cluster.folder / "a/snapshots/people.duckdb").exists()


def test_two_workers_run_two_syncs_at_the_same_time_and_tell_so(cluster: Cluster) -> None:
    cluster.define_gated("first")
    cluster.define_gated("second")
    with cluster.serving(), cluster.working("a", "--concurrency", "1"), cluster.working("b", "--concurrency", "1"):
        with cluster.closed("first", "second"):
            wait_until(lambda: cluster.is_running("first", "second"))
            wait_until(lambda: all(run["fence"] for one in cluster.workers().values() for run in one["running"]))
            found = cluster.workers()
            open_runs = {run.sync: run.id for run in cluster.run_log.open_runs()}
        wait_until(lambda: cluster.ended_well("first") == cluster.ended_well("second") == 1, seconds=30)
        wait_until(lambda: not any(one["running"] for one in cluster.workers().values()))

    assert all(one.keys() == {"worker", "host", "beat_at", "lives", "queues", "running"} for one in found.values())
    (one,), (other,) = (worker["running"] for worker in found.values())
    assert {run["sync"]: run["run_id"] for run in (one, other)} == open_runs
    assert {run["fence"] for run in (one, other)} == {1}


def test_a_worker_leaves_the_syncs_of_other_queues_alone(cluster: Cluster) -> None:
    cluster.define("people", "SELECT id, plan FROM people")
    cluster.define_gated("large", "queue: heavy")
    with cluster.serving():
        with cluster.working("a", "--queues", "heavy"):
            wait_until(lambda: cluster.ended_well("large") == 1, seconds=30)
            (found,) = cluster.workers().values()
            begun = time.monotonic()
            wait_until(lambda: time.monotonic() > begun + 3)
            meanwhile = cluster.jobs()
        with cluster.working("b", "--queues", "default,heavy"):
            wait_until(lambda: cluster.ended_well("people") == 1, seconds=30)

    assert found["queues"] == ["heavy"]
    assert meanwhile == ["todo"]


def test_a_person_on_another_machine_stops_a_run(cluster: Cluster) -> None:
    cluster.define_gated("people")
    with cluster.serving(), cluster.working("a"), cluster.closed("people"):
        wait_until(lambda: cluster.is_running("people"))
        cancelled = cluster.command("cancel", "people")
        (run,) = cluster.runs("people")
        (asked_at,) = cluster.query("SELECT requested_at FROM syncer_cancellations")

    assert cancelled.code == 0
    assert (run.status, run.ended_by) == (RunStatus.INTERRUPTED, EndedBy.PERSON)
    # The worker sees it within two seconds, and a query is given one more.
    assert run.finished_at is not None
    assert run.finished_at - asked_at < timedelta(seconds=4)


def test_a_person_stops_runs_on_any_worker(cluster: Cluster) -> None:
    names = ("first", "second")
    for name in names:
        cluster.define_gated(name)
    with (
        cluster.serving(),
        cluster.working("a", "--concurrency", "1"),
        cluster.working("b", "--concurrency", "1"),
        cluster.closed(*names),
    ):
        wait_until(lambda: cluster.is_running(*names))
        assert [cluster.command("cancel", name).code for name in names] == [0, 0]
        runs = [cluster.runs(name)[0] for name in names]
        asked_at = max(cluster.query("SELECT requested_at FROM syncer_cancellations"))

    assert len({run.worker for run in runs}) == 2
    for run in runs:
        assert (run.status, run.ended_by) == (RunStatus.INTERRUPTED, EndedBy.PERSON)
        assert run.finished_at is not None
        assert run.finished_at - asked_at < timedelta(seconds=4)


def test_a_run_that_no_worker_has_begun_is_stopped_as_well(cluster: Cluster) -> None:
    cluster.define("people", "SELECT id, plan FROM people")
    with cluster.serving():
        wait_until(lambda: cluster.jobs() == ["todo"])
        assert cluster.command("cancel", "people").code == 0
        (run,) = cluster.runs("people")
        with cluster.working("a"):
            wait_until(lambda: cluster.jobs() == [])

    assert (run.status, run.ended_by) == (RunStatus.INTERRUPTED, EndedBy.PERSON)
    assert cluster.runs("people") == [run]
    assert cluster.stored() == {}


def test_a_worker_that_is_stopped_ends_its_run_and_another_one_goes_on(cluster: Cluster) -> None:
    cluster.define_gated("people")
    with cluster.serving(), cluster.working("a") as worker:
        with cluster.closed("people"):
            wait_until(lambda: cluster.is_running("people"))
            worker.send_signal(signal.SIGTERM)
            code = worker.wait(30)
            wait_until(lambda: [run.status for run in cluster.runs("people")][1:] == [RunStatus.QUEUED])
            (stopped, _) = cluster.runs("people")
            known = cluster.workers()
        with cluster.working("b"):
            wait_until(lambda: cluster.ended_well("people") == 1, seconds=30)

    assert code == 0
    assert (stopped.status, stopped.ended_by) == (RunStatus.INTERRUPTED, EndedBy.SHUTDOWN)
    assert stopped.error == "the worker was stopped"
    assert known == {}


def test_a_run_that_does_not_end_in_time_is_made_again_elsewhere(cluster: Cluster) -> None:
    cluster.define("people", "SELECT id, plan FROM people")
    with (cluster.folder / "syncer.toml").open("r+") as file:
        rest = file.read()
        file.seek(0)
        file.write(f"grace = 1\n{rest}")
    with cluster.serving(), cluster.working("a") as worker:
        with cluster.store_locked():
            wait_until(lambda: cluster.is_running("people"))
            worker.send_signal(signal.SIGTERM)
            code = worker.wait(20)
        with cluster.working("b"):
            wait_until(lambda: cluster.ended_well("people") == 1, seconds=60)

    assert code == 143
    assert cluster.stored() == {"1": "free", "2": "pro", "3": "free"}


def test_a_worker_outlives_an_outage_of_the_run_log(cluster: Cluster) -> None:
    cluster.define("before", "SELECT id, plan FROM people")
    with cluster.serving(), cluster.working("a") as worker:
        wait_until(lambda: cluster.ended_well("before") == 1, seconds=30)
        with cluster.store_locked():
            cluster.define("during", "SELECT id, plan FROM people")
            wait_until(lambda: cluster.is_running("during"))
            with cluster.outage():
                moment = time.monotonic() + 15
                wait_until(lambda: time.monotonic() > moment)
        wait_until(lambda: cluster.ended_well("during") == 1)
        cluster.define("after", "SELECT id, plan FROM people")
        wait_until(lambda: cluster.ended_well("after") == 1)
        assert worker.poll() is None

    assert [run.status for run in cluster.runs("after")] == [RunStatus.SUCCESS]


def test_the_notes_of_an_order_are_those_of_its_run(cluster: Cluster) -> None:
    cluster.define_gated("people")
    with cluster.serving(), cluster.working("a") as worker, cluster.closed("people"):
        wait_until(lambda: cluster.is_running("people"))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    with cluster.serving("later"), cluster.working("b"):
        wait_until(lambda: cluster.ended_well("people") == 1, seconds=60)

    assert "this run makes up for the one before, which was interrupted" in cluster.runs("people")[-1].notes


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, ["SYNCER_SNAPSHOTS_URL"]),
        ({"SYNCER_DATABASE_URL": "sqlite:///runs.db"}, ["SYNCER_DATABASE_URL"]),
    ],
)
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_workers_need_what_machines_share(
    cluster: Cluster, command: str, given: dict[str, str], named: list[str]
) -> None:
    (cluster.folder / "syncer.toml").write_text('runs = "workers"\n')
    found = cluster.command(command, **given)

    assert found.code == 2
    assert found.err.startswith("error: syncer.toml runs: workers need what all machines reach; set ")
    assert all(name in found.err for name in [*named, "SYNCER_SNAPSHOTS_URL"])


def test_a_worker_wants_a_service_that_orders_runs(cluster: Cluster) -> None:
    (cluster.folder / "syncer.toml").write_text('snapshots_url = "database"\n')
    found = cluster.command("worker")

    assert found.code == 2
    assert "SYNCER_RUNS=workers" in found.err


def test_no_worker_is_known_where_there_is_none(cluster: Cluster) -> None:
    found = cluster.command("workers")

    assert (found.code, found.out) == (0, "No worker is known here; `syncer worker` starts one.\n")
    assert cluster.workers() == {}
