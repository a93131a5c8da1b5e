"""What is deleted once it is older than SYNCER_KEEP_RUNS: one look for everything that is kept for a while."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from datetime import datetime, timedelta

from syncer.model.errors import PlaceError, SettingsError
from syncer.model.importing import importing
from syncer.model.runs import Hold
from syncer.model.types import CONCLUSIVE
from syncer.settings import state_modes
from syncer.settings.settings import Settings
from syncer.shared.snapshots import SharedSnapshots
from syncer.snapshot import file
from syncer.state.coordination import forget_removals
from syncer.state.runs import RunLog

log = logging.getLogger(__name__)

#: A file of the state folder; its time is that of the last look.
MARK = "pruned"


def prune(settings: Settings, run_log: RunLog, now: datetime) -> None:
    """Delete old runs and what the run log keeps beside them, old removals, and old snapshots that were moved aside.

    Nothing is deleted while a wrong clock holds runs: by it, everything may be old. The modes of what earlier versions
    left in the state folder are corrected as well.

    Raises:
        StateDatabaseError: the run log cannot be written.
    """
    if any(run.hold is Hold.CLOCK for run in run_log.recent(limit=1, statuses=CONCLUSIVE)):
        return
    before = now - timedelta(days=settings.keep_runs)
    if purged := run_log.purge(before):
        log.info("deleted old runs from the run log", extra={"runs": purged})
    if forgotten := forget_removals(run_log.database, before):
        log.info("deleted old removals from the run log", extra={"removals": forgotten})
    if deleted := file.delete_moved_aside(settings.snapshots_dir, before):
        log.info("deleted old snapshots that were moved aside", extra={"files": deleted})
    _prune_plans_and_objects(SharedSnapshots(settings=settings, database=run_log.database, now=lambda: now))
    state_modes.restrict(settings.state_dir)
    with suppress(OSError):
        mark = settings.state_dir / MARK
        mark.touch()
        os.utime(mark, (now.timestamp(), now.timestamp()))


def _prune_plans_and_objects(shared: SharedSnapshots) -> None:
    with importing:
        from syncer.sync.kept_plans import KeptPlans

    try:
        for plans in KeptPlans.everywhere(shared):
            if deleted := plans.delete_expired():
                log.info("deleted plans that had expired", extra={"files": deleted})
        if deleted := shared.delete_orphans():
            log.info("deleted what no shared snapshot needs any more", extra={"objects": deleted})
    except (PlaceError, SettingsError) as exc:
        log.warning("old objects of shared snapshots are not deleted today: %s", exc)
