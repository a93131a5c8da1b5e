"""A run of the service that waits or goes on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from syncer.model.types import Order, Run, SyncDefinition
from syncer.sync.progress import Options, Progress

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
        return self.progress.token.is_cancelled

    def stop(self, by: str) -> None:
        """Ask the run to stop; *by* is for the run log, such as `stopped by ann`."""
        self.progress.token.cancel(by)
