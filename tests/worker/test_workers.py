"""Workers make the runs that a service orders."""

from __future__ import annotations

from syncer.model.types import RunStatus
from tests.service.machines import wait_until
from tests.worker.conftest import Cluster


def test_a_worker_makes_the_run_that_a_service_orders(cluster: Cluster) -> None:
    cluster.define("people", "SELECT id, plan FROM people")
    with cluster.serving(), cluster.working("a"):
        wait_until(lambda: cluster.ended_well("people") == 1, seconds=30)

    (run,) = cluster.runs("people")
    assert run.status is RunStatus.SUCCESS
    assert cluster.stored() == {"1": "free", "2": "pro", "3": "free"}
    assert not (cluster.folder / "leader/snapshots/people.duckdb").exists()
    assert (cluster.folder / "a/snapshots/people.duckdb").exists()
