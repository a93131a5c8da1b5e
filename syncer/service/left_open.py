"""Runs that have no end in the run log: which are alive, and which belong to a process that died."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from syncer.model.types import EndedBy, Run, Trigger
from syncer.settings.settings import Settings
from syncer.state.run_ends import presence_of
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

    def interrupt(self, *, before: int) -> bool:
        """End the runs that services of terms *before* this one, or commands that were killed, left open.

        What waits for a tick of the schedule stays queued, and what a worker makes goes on. Returns whether a process
        of an earlier term lives that goes on with a run: it ends it after the batch in hand.
        """
        is_any_alive = False
        for run in self.run_log.open_runs():
            if run.term is None:
                if self.runner.has_no_command(run.sync):
                    self.run_log.interrupt(run.id, self.now())
            elif run.term < before:
                is_alive = self._is_present(run.term)
                is_any_alive = is_any_alive or is_alive
                # What a dead worker has left is ended with its lease.
                if not is_alive and not (self.run_log.database.is_shared and self.run_log.is_leased(run.id)):
                    self.run_log.interrupt(run.id, self.now())
        for run in self.run_log.queued_runs():
            if run.trigger is not Trigger.SCHEDULE and (run.term or 0) < before:
                self.run_log.withdraw(run.id, self.now(), why="", by=EndedBy.CRASH)
        return is_any_alive

    def _is_present(self, term: int) -> bool:
        database = self.run_log.database
        return database.is_shared and database.is_held(presence_of(term))

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
