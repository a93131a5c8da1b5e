"""What is deleted once it is older than SYNCER_KEEP_RUNS: one look for everything that is kept for a while."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from syncer.settings.settings import Settings
from syncer.snapshot import file
from syncer.state.coordination import forget_removals
from syncer.state.runs import RunLog

log = logging.getLogger(__name__)

_DAY = timedelta(days=1)


def prune(settings: Settings, run_log: RunLog, now: datetime) -> None:
    """Delete old runs and what the run log keeps beside them, old removals, and old snapshots that were moved aside.

    Raises:
        StateDatabaseError: the run log cannot be written.
    """
    before = now - timedelta(days=settings.keep_runs)
    if purged := run_log.purge(before):
        log.info("deleted old runs from the run log", extra={"runs": purged})
    if forgotten := forget_removals(run_log.database, before):
        log.info("deleted old removals from the run log", extra={"removals": forgotten})
    if deleted := file.delete_moved_aside(settings.state_dir / "snapshots", before):
        log.info("deleted old snapshots that were moved aside", extra={"files": deleted})
    with suppress(OSError):
        _mark(settings).write_text(now.isoformat())


def prune_daily(settings: Settings, run_log: RunLog, now: datetime) -> None:
    """Prune, unless a process did so with this state folder within a day.

    Raises:
        StateDatabaseError: the run log cannot be written.
    """
    try:
        last = datetime.fromisoformat(_mark(settings).read_text())
    except (OSError, ValueError):
        last = datetime.min.replace(tzinfo=UTC)
    # A clock that was ahead must not keep this from happening.
    if abs(now - last) >= _DAY:
        prune(settings, run_log, now)


def _mark(settings: Settings) -> Path:
    return settings.state_dir / "pruned"
