"""How long the pool looks for its next run, where thousands wait."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import pytest

from syncer.definitions.order import Precedence
from syncer.model.types import Entity, Order, SyncDefinition, Trigger
from syncer.service.pool import ActiveRun, Pool
from syncer.service.timetable import Timetable
from syncer.state.runs import RunLog
from syncer.sync.progress import RunOptions
from syncer.sync.runner import Runner
from tests.definitions.test_folder import sync
from tests.service.conftest import Bench

FEW, MANY = 300, 3_000


def steps(look: Any) -> int:
    """The lines of Python that a call takes in this thread: the same number on every machine."""
    counted = 0

    def count(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal counted
        counted += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        look()
    finally:
        sys.settrace(before)
    return counted


def seconds(look: Any) -> float:
    """The processor's time for a call, of the shortest of a few: what else the machine does counts little."""
    found = []
    for _ in range(5):
        began = time.thread_time()
        look()
        found.append(time.thread_time() - began)
    return min(found)


def pool_of(bench: Bench, definitions: list[SyncDefinition], moments: list[datetime]) -> Pool:
    """A pool without threads in which a run of each sync waits, the first of which has begun."""
    now = datetime.now(UTC)
    timetable = Timetable(jitter=timedelta(), tick=lambda _: None, heartbeat=lambda: None)
    for one in definitions:
        timetable.set(one, answered=now, now=now)
    with bench.service(started=False) as service:
        runner, run_log = service.runner, service.run_log
    pool = _pool(runner, run_log, timetable, definitions)
    for number, one in enumerate(definitions):
        moment = moments[number % len(moments)]
        order = Order(trigger=Trigger.SCHEDULE, due_at=moment)
        pool.submit(ActiveRun(definition=one, order=order, options=RunOptions(), asked_at=now, moment=moment))
    pool.active_runs()[0].began_at = now
    return pool


def _pool(runner: Runner, run_log: RunLog, timetable: Timetable, definitions: list[SyncDefinition]) -> Pool:
    return Pool(
        runner=runner,
        run_log=run_log,
        size=0,
        now=lambda: datetime.now(UTC),
        still_due=timetable.still_due,
        precedence=Precedence(definitions),
    )


@pytest.mark.parametrize("ticks", [1, 60])
def test_the_look_for_the_next_run_takes_longer_as_the_runs_are_more_and_no_worse(bench: Bench, ticks: int) -> None:
    """All wait for one: of the same tick, or of one of many, each of which has a person sync that goes on."""
    now = datetime.now(UTC).replace(microsecond=0)
    moments = [now - timedelta(minutes=number) for number in range(ticks)]

    def pool(size: int) -> Pool:
        people = [sync(f"a{number}", Entity.PERSON) for number in range(ticks)]
        others = [sync(f"b{number}", Entity.RELATIONSHIP, "a0") for number in range(size - ticks)]
        made = pool_of(bench, [*people, *others], moments)
        for active in made.active_runs()[:ticks]:
            active.began_at = now
        assert made._next() is None
        return made

    few, many = pool(FEW), pool(MANY)
    assert steps(many._next) < 12 * steps(few._next)
    assert steps(many._next) < 100 * MANY
    assert seconds(many._next) < 40 * seconds(few._next)


def test_a_run_that_thousands_of_ticks_go_before_waits_for_them(bench: Bench) -> None:
    """Ticks that nobody has answered yet, each at a time of its own, as after the run log was away."""
    now = datetime.now(UTC).replace(microsecond=0)

    def pool(size: int) -> Pool:
        people = [sync(f"a{number}", Entity.PERSON) for number in range(size)]
        others = [replace(sync(f"b{number}", Entity.RELATIONSHIP), store="default") for number in range(size)]
        made = pool_of(bench, others, [now + timedelta(seconds=number) for number in range(size)])
        made.active_runs()[0].began_at = None
        made.precedence = Precedence([*people, *others])
        due = {one.name: now + timedelta(seconds=number) for number, one in enumerate(people)}
        made.still_due = lambda: due
        assert made._next() is None
        return made

    few, many = pool(FEW), pool(MANY)
    assert steps(many._next) < 12 * steps(few._next)
    assert seconds(many._next) < 40 * seconds(few._next)
