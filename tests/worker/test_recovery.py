"""What becomes of runs whose worker, or leader, dies or stands still."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from functools import partial

import pytest

from syncer.model.types import EndedBy, RunStatus
from tests.service.machines import wait_until
from tests.worker.conftest import Cluster


def passed(moment: float) -> bool:
    return time.monotonic() > moment


#: Seconds after which the run of a worker that died has been made again.
LONGEST = 20.0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_worker_left_another_one_runs_again(cluster: Cluster, number: signal.Signals) -> None:
    cluster.define("people", "SELECT id, plan FROM people")
    with cluster.serving(), cluster.working("a") as first:
        with cluster.store_locked():
            wait_until(lambda: cluster.is_running("people"))
            os.kill(first.pid, number)
        with cluster.working("b"):
            took = wait_until(lambda: cluster.ended_well("people") == 1, seconds=60)
            died, again = cluster.runs("people")

    assert took < LONGEST
    assert (died.status, died.ended_by) == (RunStatus.INTERRUPTED, EndedBy.CRASH)
    assert again.status is RunStatus.SUCCESS
    assert cluster.stored() == {"1": "free", "2": "pro", "3": "free"}


def test_a_worker_that_stood_still_leaves_the_newer_run_alone(cluster: Cluster) -> None:
    """Neither its old run nor the end of its old job touches what another worker makes by now."""
    cluster.define_gated("people")
    with ExitStack() as stack, cluster.serving(), cluster.working("a") as first:
        with cluster.closed("people"):
            wait_until(lambda: cluster.is_running("people"))
            first.send_signal(signal.SIGSTOP)
            stack.enter_context(cluster.working("b"))
            wait_until(lambda: cluster.is_running("people") and len(cluster.runs("people")) == 2, seconds=LONGEST)
            first.send_signal(signal.SIGCONT)
            wait_until(lambda: '"the run ended"' in cluster.printed("a"))
            # Time for a third run to begin, if the lock of the second were free.
            wait_until(partial(passed, time.monotonic() + 6))
            jobs, meanwhile = cluster.jobs(), [run.status for run in cluster.runs("people")]
        wait_until(lambda: cluster.ended_well("people") == 1, seconds=30)
        ended = [(run.status, run.ended_by) for run in cluster.runs("people")]
        wait_until(lambda: cluster.jobs() == [])

    assert (jobs, meanwhile) == (["doing"], [RunStatus.INTERRUPTED, RunStatus.RUNNING])
    assert ended == [(RunStatus.INTERRUPTED, EndedBy.TAKEOVER), (RunStatus.SUCCESS, None)]
    assert cluster.stored().keys() == {"people"}


def test_a_run_goes_on_while_the_leader_changes(cluster: Cluster) -> None:
    cluster.define("people", "SELECT id, plan FROM people")
    with cluster.serving("one") as leader, cluster.working("a"), cluster.serving("other") as standby:
        with cluster.store_locked():
            wait_until(lambda: cluster.is_running("people"))
            leader.send(signal.SIGKILL)
            wait_until(standby.leads)
            wait_until(lambda: "this service leads" in cluster.printed("other"))
            (meanwhile,) = cluster.runs("people")
        wait_until(lambda: cluster.ended_well("people") == 1, seconds=30)
        (run,) = cluster.runs("people")

    assert meanwhile.status is RunStatus.RUNNING
    assert (run.id, run.status) == (meanwhile.id, RunStatus.SUCCESS)
    assert cluster.stored() == {"1": "free", "2": "pro", "3": "free"}


def test_a_run_goes_on_that_no_leader_follows(cluster: Cluster) -> None:
    cluster.define_gated("people")
    with cluster.serving("one") as leader, cluster.working("a"):
        with cluster.closed("people"):
            wait_until(lambda: cluster.is_running("people"))
            leader.process.terminate()
            leader.process.wait()
        wait_until(lambda: cluster.ended_well("people") == 1, seconds=30)

    assert [run.status for run in cluster.runs("people")] == [RunStatus.SUCCESS]


def test_what_a_worker_left_is_run_again_also_if_the_leader_dies_with_it(cluster: Cluster) -> None:
    cluster.define_gated("people")
    with cluster.serving("one") as leader, cluster.working("a") as worker, cluster.closed("people"):
        wait_until(lambda: cluster.is_running("people"))
        leader.send(signal.SIGKILL)
        worker.kill()
    with cluster.serving("other"), cluster.working("b"):
        wait_until(lambda: cluster.ended_well("people") == 1, seconds=60)

    assert [run.status for run in cluster.runs("people")] == [RunStatus.INTERRUPTED, RunStatus.SUCCESS]


def test_a_job_that_is_lost_is_made_again(cluster: Cluster) -> None:
    cluster.define("people", "SELECT id, plan FROM people")
    with cluster.serving():
        wait_until(lambda: cluster.jobs() == ["todo"])
        cluster.change("DELETE FROM procrastinate_jobs")
        with cluster.working("a"):
            wait_until(lambda: cluster.ended_well("people") == 1, seconds=30)

    assert len(cluster.runs("people")) == 1
