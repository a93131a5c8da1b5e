"""How a run is to go, how far it has come, and how it may end early."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from syncer.model.types import Counts
from syncer.sync.cancellation import CancelToken


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one run differs from the usual."""

    full: bool = False
    allow_limits: bool = False
    #: The one key to send, a text for each key column.
    only: tuple[str, ...] | None = None


class Phase(enum.StrEnum):
    """What a run is doing, in this order."""

    QUERY = "query"
    COMPARE = "compare"
    #: Writes down what is about to be sent.
    JOURNAL = "journal"
    SEND = "send"
    SETTLE = "settle"

    @property
    def may_have_sent(self) -> bool:
        """Whether the run has to end in order, as rows may be on their way."""
        return self not in (Phase.QUERY, Phase.COMPARE)


@dataclass(slots=True, kw_only=True)
class Progress:
    """What is known of a run while it goes on; the flow writes it, whoever watches reads it."""

    #: As soon as the run log has the run.
    run_id: str = ""
    phases: dict[str, float] = field(default_factory=dict)
    phase: Phase | None = None
    #: Rows done in this phase, and how many it has where that is known.
    rows: int = 0
    total: int | None = None
    #: When this phase began, as `time.monotonic` tells it.
    began: float = 0.0
    counts: Counts = field(default_factory=Counts)
    notes: list[str] = field(default_factory=list)
    #: Called whenever something above has changed.
    changed: Callable[[], None] = lambda: None
    #: Asks the run to stop.
    token: CancelToken = field(default_factory=CancelToken)

    @contextmanager
    def during(self, phase: Phase, total: int | None = None) -> Iterator[None]:
        """Time a phase; its seconds count also where it fails.

        Raises:
            StoppedError: asked to stop, before anything was sent.
        """
        begun = self.began = time.monotonic()
        sent_nothing = self._sent_nothing()
        # Who stops a run reads the phase after the request; the run must do it the other way round.
        self.phase, self.rows, self.total = phase, 0, total
        if phase.may_have_sent:
            self.token.spare()
        self.changed()
        if sent_nothing:
            self.token.check()
        try:
            yield
        finally:
            self.phases[phase.value] = self.phases.get(phase.value, 0.0) + time.monotonic() - begun

    def reached(self, rows: int) -> None:
        """Tell how many rows of this phase are done.

        Raises:
            StoppedError: asked to stop, before anything was sent.
        """
        self.rows = rows
        self.changed()
        if self._sent_nothing():
            self.token.check()

    def _sent_nothing(self) -> bool:
        return self.phase is None or not self.phase.may_have_sent


class HeldError(Exception):
    """A limit holds this run; nothing was sent."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons
