"""Workers reach the run log through a pooler in transaction mode; the service has a connection of its own."""

from __future__ import annotations

import time
from dataclasses import replace

from syncer.model.types import RunStatus
from tests.servers.pgbouncer import pgbouncer
from tests.service.machines import wait_until
from tests.worker.conftest import Cluster


def test_workers_make_runs_through_a_pooler_and_outlive_its_outage(cluster: Cluster) -> None:
    # More than a driver sends before it lets the server keep a statement.
    names = [f"sync{number}" for number in range(12)]
    with pgbouncer(cluster.database_url) as pooler:
        pooled = replace(cluster, database_url=pooler.url)
        with cluster.serving(), pooled.working("a") as one, pooled.working("b") as other:
            for name in names:
                cluster.define(name, "SELECT id, plan FROM people")
            wait_until(lambda: all(cluster.ended_well(name) for name in names))
            with cluster.store_locked():
                cluster.define("during", "SELECT id, plan FROM people")
                wait_until(lambda: cluster.is_running("during"))
                with pooler.outage():
                    moment = time.monotonic() + 12
                    wait_until(lambda: time.monotonic() > moment)
            wait_until(lambda: cluster.ended_well("during") == 1)
            cluster.define("after", "SELECT id, plan FROM people")
            wait_until(lambda: cluster.ended_well("after") == 1)
            assert (one.poll(), other.poll()) == (None, None)

    runs = [run for name in [*names, "after"] for run in cluster.runs(name)]
    assert {run.status for run in runs} == {RunStatus.SUCCESS}
    assert len(runs) == len(names) + 1
    assert len({run.worker for run in runs}) == 2
    assert [line for name in "ab" for line in cluster.printed(name).splitlines() if "prepared statement" in line] == []


def test_a_person_stops_a_run_of_a_worker_behind_a_pooler(cluster: Cluster) -> None:
    cluster.define_gated("people")
    with (
        pgbouncer(cluster.database_url) as pooler,
        cluster.serving(),
        replace(cluster, database_url=pooler.url).working("a"),
        cluster.closed("people"),
    ):
        wait_until(lambda: cluster.is_running("people"))
        assert cluster.command("cancel", "people").code == 0
        (run,) = cluster.runs("people")

    assert (run.status, run.worker is None) == (RunStatus.INTERRUPTED, False)
