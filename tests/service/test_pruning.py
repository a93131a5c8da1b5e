"""When a service deletes what is old: once on each day, and not on one on which its clock was set ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from syncer.service.pruning import DailyPruning
from syncer.settings import settings, state_modes
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog

DAY = datetime(2026, 5, 4, 9, tzinfo=UTC)


def test_it_is_once_on_each_day_that_is_not_left_out(tmp_path: Path) -> None:
    found = settings.load(tmp_path, {})
    state_modes.make_state_dir(found)
    database = StateDatabase(f"sqlite:///{tmp_path}/runs.db")
    pruning = DailyPruning(settings=found, run_log=RunLog(database))

    def last(at: datetime) -> datetime:
        pruning.begin(at)
        pruning.end()
        return datetime.fromtimestamp((found.state_dir / "pruned").stat().st_mtime, UTC)

    assert last(DAY) == DAY
    assert last(DAY + timedelta(hours=3)) == DAY
    pruning.leave_out((DAY + timedelta(days=400)).date())
    assert last(DAY + timedelta(days=400)) == DAY
    assert last(DAY + timedelta(hours=4)) == DAY, "the clock was set right"
    assert last(DAY + timedelta(days=1)) == DAY + timedelta(days=1)
    assert last(DAY + timedelta(days=400, hours=1)) == DAY + timedelta(days=1)
    database.close()
