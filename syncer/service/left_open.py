"""Runs that have no end in the run log: which are alive, and which belong to a process that died."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from syncer.model.types import Run, Trigger
from syncer.settings.settings import Settings
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
            if run.term < before if run.term is not None else self.runner.has_no_command(run.sync):
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
                if run.term is not None or not self.runner.has_no_command(sync):
                    return run
                self.run_log.interrupt(run.id, self.now())
        return None
