"""How a run is to go, how far it has come, and how it may end early."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from syncer.model.types import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one run differs from the usual."""

    full: bool = False
    allow_limits: bool = False
    #: The one key to send, a text for each key column.
    only: tuple[str, ...] | None = None


@dataclass(slots=True, kw_only=True)
class Progress:
    """What is known of a run while it goes on; the flow writes it, whoever watches reads it."""

    #: As soon as the run log has the run.
    run_id: str = ""
    phases: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    #: Rows done in this phase, and how many it has where that is known.
    rows: int = 0
    total: int | None = None
    #: When this phase began, as `time.monotonic` tells it.
    began: float = 0.0
    counts: Counts = field(default_factory=Counts)
    notes: list[str] = field(default_factory=list)
    #: Called whenever something above has changed.
    changed: Callable[[], None] = lambda: None
    #: Cuts off the query that is being read; may be called from another thread.
    cancel: Callable[[], None] = lambda: None
    #: Asked between batches: whether to stop after the one in hand.
    stopping: Callable[[], bool] = lambda: False
    #: What the run log says of a run that was asked to stop.
    stopped_by: str = "stopped by a signal"

    @contextmanager
    def during(self, phase: str, total: int | None = None) -> Iterator[None]:
        """Time a phase; its seconds count also where it fails."""
        begun = self.began = time.monotonic()
        self.phase, self.rows, self.total = phase, 0, total
        self.changed()
        try:
            yield
        finally:
            self.phases[phase] = self.phases.get(phase, 0.0) + time.monotonic() - begun

    def reached(self, rows: int) -> None:
        """Tell how many rows of this phase are done."""
        self.rows = rows
        self.changed()


class HeldError(Exception):
    """A limit holds this run; nothing was sent."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class StoppedError(Exception):
    """The run was asked to stop; what was sent is settled."""
