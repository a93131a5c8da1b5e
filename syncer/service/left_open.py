"""Runs that have no end in the run log: which are alive, and which belong to a process that died."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from syncer.model.types import Run, Trigger
from syncer.settings.settings import Settings
from syncer.snapshot.file import is_in_use
from syncer.state.runs import RunLog
from syncer.sync.runner import Runner


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOpen:
    """The runs that have no end in the run log."""

    settings: Settings
    runner: Runner
    run_log: RunLog
    #: Gives aware UTC.
    now: Callable[[], datetime]

    def interrupt(self, *, before: int) -> None:
        """End the runs that services of terms *before* this one, or commands that were killed, left open.

        What waits for a tick of the schedule stays queued.
        """
        for run in self.run_log.open_runs():
            if run.term < before if run.term is not None else self._is_dead(run.sync):
                self.run_log.interrupt(run.id, self.now())
        for run in self.run_log.queued_runs():
            if run.trigger is not Trigger.SCHEDULE and (run.term or 0) < before:
                self.run_log.interrupt(run.id, self.now())

    def alive(self, sync: str, *, except_for: Collection[str]) -> Run | None:
        """A run of a sync that another process makes; those of commands that were killed are ended.

        Shapes:
            except_for: ids of our own runs.
        """
        for run in self.run_log.open_runs():
            if run.sync == sync and run.id not in except_for:
                if run.term is not None or not self._is_dead(sync):
                    return run
                self.run_log.interrupt(run.id, self.now())
        return None

    def _is_dead(self, sync: str) -> bool:
        """Whether no command runs a sync: it would hold the snapshot, or a lock if the run log is shared."""
        if self.run_log.database.is_shared:
            return not self.run_log.database.is_held(sync)
        path = self.runner.snapshot_path(sync)
        return not path.exists() or not is_in_use(path, sync)
