"""Services and workers that are killed and stopped at random, for half a minute: the short form of a benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.cluster.course import Plan, run
from tests.benchmarks.cluster.faults import Kind
from tests.servers.postgresql import PostgresServer


@pytest.mark.early
def test_no_tick_is_lost_and_no_row_is_wrong_while_services_and_workers_are_killed_and_stopped(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    plan = Plan(seed=127, minutes=0.35, syncs=6, every=6, workers=2, haste=2)
    outcome = run(plan, postgres, tmp_path)

    print(*outcome.lines(), sep="\n")
    assert outcome.violations == []
    assert {fault.kind for fault in outcome.faults} == {*Kind}
    assert outcome.fences.fences > plan.syncs
    assert outcome.ticks.answered > plan.syncs
