"""A run of the service that waits or goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from syncer.model.types import Order, Run, SyncDefinition
from syncer.sync.progress import Options, Progress, StoppedError

#: Seconds that a run which has sent nothing may take to end by itself, before its query is cut off.
_PATIENCE = 1.0

#: The phases in which nothing was sent yet.
_BEFORE_SENDING = ("", "query", "compare", "journal")


#: What the run log says of a run whose service was overtaken.
FENCED = "stopped, as this service leads no longer"


@dataclass(slots=True, kw_only=True, eq=False)
class ActiveRun:
    """One run from the moment it is asked for until it has ended."""

    definition: SyncDefinition
    order: Order
    options: Options
    #: Aware UTC.
    asked_at: datetime
    progress: Progress = field(default_factory=Progress)
    #: The moment whose runs are ordered among each other, aware UTC; None for a run that is no tick's.
    moment: datetime | None = None
    #: None while it waits for room, or for another sync.
    began_at: datetime | None = None
    #: How it ended; None also where it never began.
    run: Run | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    #: Asked often: whether something else than `stop` ends this run.
    fenced: Callable[[], bool] = lambda: False
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.progress.stopping = self._is_stopping
        self.progress.changed = self._end_early

    @property
    def name(self) -> str:
        """The sync's."""
        return self.definition.name

    @property
    def run_id(self) -> str:
        """The run's id; empty for a tick of the schedule that has not begun."""
        return self.order.run_id or self.progress.run_id

    @property
    def is_stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._stopped.is_set()

    def stop(self, by: str) -> None:
        """Ask the run to end after the batch in hand; before it sends, its query is cut off.

        Shapes:
            by: for the run log, such as `stopped by ann`.
        """
        if self._stopped.is_set():
            return
        self.progress.stopped_by = by
        self._stopped.set()
        threading.Thread(target=self._cut_off, name=f"stop {self.name}", daemon=True).start()

    def _is_stopping(self) -> bool:
        if not self._stopped.is_set() and self.fenced():
            self.stop(FENCED)
        return self._stopped.is_set()

    def _end_early(self) -> None:
        if self._stopped.is_set() and self.progress.phase in _BEFORE_SENDING:
            raise StoppedError

    def _cut_off(self) -> None:
        if not self.ended.wait(_PATIENCE) and self.progress.phase in _BEFORE_SENDING:
            self.progress.cancel()
