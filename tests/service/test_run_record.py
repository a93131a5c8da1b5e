"""A run whose rows cannot be recorded as rejected still ends in a record."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from syncer.model.types import Order, RunStatus, Trigger
from syncer.sync.progress import CancelToken, Phase, Progress
from tests.service.conftest import Bench


def refuse_rejections(bench: Bench) -> None:
    with closing(sqlite3.connect(bench.path / ".syncer/runs.db")) as log:
        log.execute(
            "CREATE TRIGGER refused BEFORE INSERT ON syncer_rejections BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_run_log_that_takes_no_rejections_leaves_no_run_running(bench: Bench, is_stopped: bool) -> None:
    bench.people({"1": "a"})
    definition = bench.define("people", "SELECT id, plan FROM people UNION ALL SELECT id, 'b' FROM people")
    progress = Progress()
    if is_stopped:
        progress = Progress(token=CancelToken(lambda: "stopped" if progress.phase is Phase.SEND else ""))
    with bench.service(started=False) as service:
        (found,) = bench.load().definitions
        # Rows that share a key are rejected, and others sent.
        definition.write_text(definition.read_text() + "UNION ALL SELECT '2', 'c'\n")
        (found,) = bench.load().definitions
        refuse_rejections(bench)

        run = service.runner.run(found, order=Order(trigger=Trigger.MANUAL), progress=progress)

        assert run.status is (RunStatus.INTERRUPTED if is_stopped else RunStatus.FAILED)
        assert run.finished_at is not None
        assert service.run_log.open_runs() == []
