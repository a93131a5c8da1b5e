"""Services and workers that are killed and stopped at random, for half a minute: the short form of a benchmark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.benchmarks.cluster.checks import Logged, Ran, _behind, ticks_of
from tests.benchmarks.cluster.course import Plan, run
from tests.benchmarks.cluster.faults import Kind
from tests.servers.postgresql import PostgresServer


@pytest.mark.early
def test_no_tick_is_lost_and_no_row_is_wrong_while_services_and_workers_are_killed_and_stopped(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    plan = Plan(seed=127, minutes=0.35, syncs=6, every=6, workers=2, haste=2, longest_wait=60)
    outcome = run(plan, postgres, tmp_path)

    print(*outcome.lines(), sep="\n")
    assert outcome.violations == []
    assert {fault.kind for fault in outcome.faults} == {*Kind}
    assert outcome.fences.fences > plan.syncs
    assert outcome.ticks.answered > plan.syncs


AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ran(seconds: int, *notes: str) -> Ran:
    """A run of the tick so many seconds after AT."""
    due_at = AT + timedelta(seconds=seconds)
    return Ran(
        id=f"{seconds}",
        sync="people",
        status="success",
        due_at=due_at,
        started_at=due_at,
        finished_at=due_at,
        notes=notes,
        error=None,
        ended_by=None,
    )


@pytest.mark.parametrize(
    ("runs", "until", "lost", "doubled"),
    [
        ([ran(0), ran(10), ran(20)], 25, 0, 0),
        ([ran(0), ran(20)], 25, 1, 0),
        ([ran(0), ran(20, "this run also stands for an earlier tick that passed unanswered")], 25, 0, 0),
        ([ran(0), ran(30, "this run also stands for an earlier tick that passed unanswered")], 35, 1, 0),
        ([ran(0), ran(0, "another run"), ran(10)], 15, 0, 1),
        ([ran(0)], 25, 1, 0),
    ],
)
def test_a_tick_that_is_lost_or_doubled_is_found(runs: list[Ran], until: int, lost: int, doubled: int) -> None:
    found = ticks_of(runs, every=timedelta(seconds=10), until=AT + timedelta(seconds=until))

    assert (len(found.lost), len(found.doubled)) == (lost, doubled)


def test_a_write_behind_a_newer_fence_is_found() -> None:
    first, shut_out = Logged(1, "people", 1, "a", AT), Logged(2, "people", 2, "", AT)
    second = Logged(3, "people", 2, "b", AT)

    assert [*_behind([first, first, shut_out, second])] == []
    assert len([*_behind([first, shut_out, first])]) == 1
    assert len([*_behind([first, second, Logged(4, "people", 2, "c", AT)])]) == 1
