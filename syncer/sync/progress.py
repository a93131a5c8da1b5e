"""How a run is to go, how far it has come, and how it is stopped or held."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from syncer.model.runs import LimitKind, Moved
from syncer.model.types import ENDED_WELL, Changes, Counts, Delivery, EndedBy, Finding, Hold, RunScope, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What one run does differently."""

    full: bool = False
    allow_limits: bool = False
    allow_clock: bool = False
    #: Of these limits, so many rows at most; None for any number.
    allow: Mapping[LimitKind, int | None] = field(default_factory=dict)
    #: The one key to send, a text for each key column.
    only: tuple[str, ...] | None = None
    #: The id of the kept plan to send; empty for what changed.
    plan: str = ""

    @classmethod
    def of(cls, words: Collection[str]) -> RunOptions:
        """Those that `words` gave, but for single rows, whose keys are not kept."""
        allow = {
            LimitKind(kind.removeprefix("allow_")): int(rows) if rows else None
            for kind, _, rows in (word.partition("=") for word in words)
            if kind in _ALLOWED
        }
        plan = next((word.removeprefix("plan=") for word in words if word.startswith("plan=")), "")
        full, limits, clock = (flag in words for flag in ("full", "allow_limits", "allow_clock"))
        return cls(full=full, allow_limits=limits, allow_clock=clock, allow=allow, plan=plan)

    @property
    def is_selective(self) -> bool:
        """Whether the run is about some rows alone, and leaves all others as they are."""
        return self.only is not None or self.plan != ""

    @property
    def scope(self) -> RunScope:
        """Which rows the run is about."""
        if self.only is not None:
            return RunScope.ROWS
        if self.plan:
            return RunScope.PLAN
        return RunScope.FULL if self.full else RunScope.WHOLE

    @property
    def needs_approval(self) -> bool:
        """Whether it may send what a run of the schedule would be held for."""
        return self.allow_limits or self.allow_clock or bool(self.allow)

    @property
    def words(self) -> tuple[str, ...]:
        """Those that are set, as the run log keeps them: never a key."""
        chosen = {"full": self.full, "allow_limits": self.allow_limits, "allow_clock": self.allow_clock}
        allowed = (f"allow_{kind}" + (f"={rows}" if rows is not None else "") for kind, rows in self.allow.items())
        rows = (["row"] if self.only is not None else []) + ([f"plan={self.plan}"] if self.plan else [])
        return (*(word for word, is_set in chosen.items() if is_set), *allowed, *rows)


_ALLOWED = frozenset(f"allow_{kind}" for kind in LimitKind)


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


#: Seconds that a run which has sent nothing may take to end by itself, before its query is cut off.
PATIENCE = 1.0


#: Seconds between two looks whether another process cancels the run.
_LOOK_AGAIN = 1.0


class StoppedError(Exception):
    """The run was cancelled; what was sent is settled. Its text is for the run log."""


class CancelToken:
    """Stops one run; any thread may use it.

    Waits of the store end at once. A run that has sent nothing gets a moment to end by itself; then its query is cut
    off. A run that may have sent rows ends after the batch in hand.
    """

    def __init__(self, watch: Callable[[], str] = lambda: "") -> None:
        #: Polled by `is_cancelled`: a reason to stop as another service took the lead, or nothing.
        self.watch = watch
        #: Why the run stops, for the run log, such as `stopped by ann`.
        self.reason = ""
        self.ended_by = EndedBy.PERSON
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._interrupt: Callable[[], object] | None = None
        self._wake: Callable[[], object] | None = None
        self._spared = threading.Event()

    @property
    def is_cancelled(self) -> bool:
        """Whether the run is to stop."""
        if not self._cancelled.is_set() and (reason := self.watch()):
            self.cancel(reason, EndedBy.TAKEOVER)
        return self._cancelled.is_set()

    def cancel(self, reason: str, by: EndedBy = EndedBy.PERSON) -> None:
        """Make the run stop; the first reason counts."""
        with self._lock:
            if self._cancelled.is_set():
                return
            self.reason, self.ended_by = reason, by
            self._cancelled.set()
            if self._wake is not None:
                self._wake()
        threading.Thread(target=self._cut_off, name="cut off", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait until the run is to stop, or for so long; returns whether it is to stop."""
        return self._cancelled.wait(seconds) or self.is_cancelled

    def check(self) -> None:
        """Go on only if the run is not cancelled.

        Raises:
            StoppedError: it is.
        """
        if self.is_cancelled:
            raise StoppedError(self.reason)

    @contextmanager
    def following(self, asked: Callable[[], str]) -> Iterator[None]:
        """Cancel the run once *asked*, called every second in another thread, gives a reason."""
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(_LOOK_AGAIN):
                if reason := asked():
                    self.cancel(reason)
                    return

        threading.Thread(target=follow, name="follow", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Call *wake*, from whatever thread, once the run is cancelled; at once if it is already."""
        with self._lock:
            self._wake = wake
            if self._cancelled.is_set():
                wake()
        try:
            yield
        finally:
            with self._lock:
                self._wake = None

    @contextmanager
    def interruptible(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Let *interrupt* cut off what runs inside, from another thread, until `spare` is called."""
        self._interrupt = interrupt
        try:
            yield
        finally:
            self.spare()

    def spare(self) -> None:
        """Cut off nothing from now on."""
        self._interrupt = None
        self._spared.set()

    def _cut_off(self) -> None:
        if not self._spared.wait(PATIENCE) and (interrupt := self._interrupt) is not None:
            interrupt()


@dataclass(slots=True, kw_only=True)
class Progress:
    """The state of a run in progress; the flow writes it, pages and terminals read it."""

    #: As soon as the run log has the run.
    run_id: str = ""
    phases: dict[str, float] = field(default_factory=dict)
    phase: Phase | None = None
    #: Rows done in this phase, and how many it has where that is known.
    rows: int = 0
    total: int | None = None
    #: When this phase began, by `time.monotonic`.
    began: float = 0.0
    #: Whether the run begins once more, as another process made its store meanwhile; it has sent nothing.
    is_again: bool = False
    #: Of the result, as Arrow has it.
    bytes_fetched: int = 0
    counts: Counts = field(default_factory=Counts)
    delivery: Delivery = field(default_factory=Delivery)
    #: Of the planned rows, those that were rejected before.
    tried_before: int = 0
    #: Of the rows that are rejected in the end, those that somebody has acknowledged.
    acknowledged: int = 0
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    #: Why a plan is not sent.
    moved: Sequence[Moved] = ()
    #: Called with the fence of the sync's snapshot, once the run has taken one that machines share.
    took: Callable[[int], object] = lambda fence: None
    #: Called whenever something above has changed.
    changed: Callable[[], None] = lambda: None
    #: Stops the run.
    token: CancelToken = field(default_factory=CancelToken)

    def begin_anew(self) -> None:
        """Forget what the run found, which begins once more."""
        self.is_again, self.bytes_fetched = True, 0
        self.counts, self.delivery = Counts(), Delivery()
        self.notes.clear()
        self.findings.clear()

    @contextmanager
    def during(self, phase: Phase, total: int | None = None) -> Iterator[None]:
        """Time a phase; its seconds count also where it fails.

        Raises:
            StoppedError: cancelled before anything was sent.
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
        """Report how many rows of this phase are done.

        Raises:
            StoppedError: cancelled before anything was sent.
        """
        self.rows = rows
        self.changed()
        if self._sent_nothing():
            self.token.check()

    def _sent_nothing(self) -> bool:
        return self.phase is None or not self.phase.may_have_sent

    def is_fruitless(self, status: RunStatus) -> bool | None:
        """Whether a run that ended so is (see `Run.fruitless`); None if it is as the one before it."""
        counts, delivery = self.counts, self.delivery
        is_known = 0 < counts.rejected <= self.acknowledged
        if status not in ENDED_WELL or delivery.delivered != Changes() or is_known:
            return False
        if counts.rejected == delivery.quarantined:
            return 0 < counts.queried == delivery.quarantined
        return True if self.tried_before < delivery.planned.total else None


_HELD_HINTS = {
    Hold.LIMITS: "Look at `syncer plan {name} --save`; if it is right, `syncer run {name} --plan ID` sends what it "
    "showed, and `syncer run {name} --allow-limits` lets a run through once. See `syncer docs writing-a-sync`.",
    Hold.CLOCK: "Set the clocks right. If this machine's is right now, `syncer run {name} --allow clock` lets a run "
    "through once, and the others follow it. See `syncer docs production`.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeded:
    """A limit that a run exceeds."""

    kind: LimitKind
    #: By how many rows it does what the limit bounds; of an empty result, the rows of the snapshot.
    rows: int
    #: A sentence.
    reason: str


class HeldError(Exception):
    """A limit, the clock, or that a plan is out of date holds this run; nothing was sent."""

    def __init__(self, reasons: Sequence[str], by: Hold = Hold.LIMITS, *, moved: Sequence[Moved] = ()) -> None:
        """*moved*: the rows of a plan that are not found as they were."""
        super().__init__("; ".join(reasons))
        self.reasons, self.by, self.moved = list(reasons), by, moved

    def hint(self, sync: str) -> str:
        """What to do next."""
        if self.moved:
            return f"Nothing was sent. Plan again with `syncer plan {sync} --save`."
        return _HELD_HINTS[self.by].format(name=sync)


def waking(store: object, progress: Progress) -> AbstractContextManager[None]:
    """Let a run that is stopped end the waits of its store, if that has an `interrupt`; see `Interruptible`."""
    interrupt = getattr(store, "interrupt", None)
    return nullcontext() if interrupt is None else progress.token.waking(interrupt)
