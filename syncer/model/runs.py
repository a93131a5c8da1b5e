"""A run as the run log keeps it: why it was made, how it ended, its rows, and what it found."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from syncer.model.errors import SyncerError

#: What a finding about clocks is about.
THE_CLOCK = "the clock"


class Hold(enum.StrEnum):
    """What can hold a run before it sends anything, until somebody lets it through."""

    LIMITS = "limits"
    CLOCK = "clock"


class LimitKind(enum.StrEnum):
    """What a limit bounds."""

    REMOVED = "removed"
    CHANGED = "changed"
    CLEARED = "cleared"
    ADDED = "added"
    #: People, by a list.
    DELETED = "deleted"
    #: Pairs of people.
    MERGED = "merged"
    #: An empty result, where the snapshot has rows.
    EMPTY = "empty"
    #: New events.
    EVENTS = "events"


class Moved(NamedTuple):
    """A row of a plan that is not found as it was; the key is None where it is about every row."""

    key: str | None
    why: Literal["definition", "snapshot", "warehouse"]


class FindingKind(enum.StrEnum):
    """What a run can find that concerns other syncs too."""

    #: A warehouse, store or place of snapshots cannot be reached, or refuses everything.
    UNREACHABLE = "unreachable"
    #: The store is not as the last run left it.
    RESTORED = "restored"
    #: Another state folder feeds the store.
    SHARED = "shared"
    #: This machine's clock, or another one, is wrong; nothing was sent.
    CLOCK = "clock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a run found out about something that other syncs use too."""

    kind: FindingKind
    #: Such as `warehouse crm`, `snapshots s3://bucket/prefix`, or THE_CLOCK.
    about: str
    #: Sentences for people, as far as the run's error and notes do not say it.
    detail: str = ""


class RunStatus(enum.StrEnum):
    """Whether a run waits or goes on, or how it ended."""

    #: Accepted by a service; it begins as soon as there is room.
    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    WARNING = "warning"
    FAILED = "failed"
    HELD = "held"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"


#: A run that ended so has delivered what it found, but for rejected rows.
ENDED_WELL = (RunStatus.SUCCESS, RunStatus.WARNING)

#: Runs that show the state of a sync; a skipped or interrupted run does not.
CONCLUSIVE = (*ENDED_WELL, RunStatus.FAILED, RunStatus.HELD)


#: Runs that have not ended.
OPEN = (RunStatus.QUEUED, RunStatus.RUNNING)
#: How the claim of a sync ends where what an earlier run sent may have come after what a later one did.
OVERTAKEN = " was overtaken"


class RunScope(enum.StrEnum):
    """Which rows of the result a run is about."""

    #: All; it sends what changed.
    WHOLE = "whole"
    #: All; it sends every row, changed or not.
    FULL = "full"
    #: Those that somebody named; it does not show the state of the sync.
    ROWS = "rows"
    #: Those of a plan that was kept.
    PLAN = "plan"


class EndedBy(enum.StrEnum):
    """Who or what ended a run that was interrupted."""

    PERSON = "person"
    #: The service was stopped.
    SHUTDOWN = "shutdown"
    #: Another service took the lead.
    TAKEOVER = "takeover"
    #: Its process died, or could not record the end.
    CRASH = "crash"


class Trigger(enum.StrEnum):
    """Who started a run."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    API = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows of one run.

    `queried` = `added` + `changed` + `unchanged` + `altered` + rows set aside before the comparison.
    """

    queried: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    accepted: int = 0
    rejected: int = 0
    absent: int = 0
    #: Events that changed after they were sent, and are not sent again.
    altered: int = 0
    #: Pairs of people that the store made one.
    merged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Rows that a run sends, by why."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    #: They did not change: they were in doubt, rejected before, or somebody asked for them.
    resent: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.added + self.changed + self.removed + self.resent


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """Rows that a run planned to send and did not deliver, by why."""

    rejected: int = 0
    absent: int = 0
    in_doubt: int = 0
    #: A limit held the run, or it ended before it sent anything.
    not_sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of the rows of one run."""

    #: What it was to send; of removed rows, those that `on_removed` sends.
    planned: Changes = Changes()
    delivered: Changes = Changes()
    #: Rows that Syncer rejected before the comparison.
    quarantined: int = 0
    in_doubt: int = 0

    def undelivered(self, counts: Counts) -> Undelivered:
        """The planned rows that were not delivered, by the counts of the same run."""
        rejected, absent, in_doubt = counts.rejected - self.quarantined, counts.absent, self.in_doubt
        not_sent = self.planned.total - self.delivered.total - rejected - absent - in_doubt
        return Undelivered(rejected=rejected, absent=absent, in_doubt=in_doubt, not_sent=not_sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Why a run is made, and how."""

    trigger: Trigger
    #: Who ordered it: a user's name; empty for the schedule and the command line.
    actor: str = ""
    #: The tick of the schedule that it answers, aware UTC; None for every other run.
    due_at: datetime | None = None
    #: The term of the service that leads (see `Leadership`), by which an older leader's run is known; None on the
    #: command line.
    term: int | None = None
    #: The run's id where an order got it before the run began.
    run_id: str = ""
    scope: RunScope = RunScope.WHOLE
    #: What it does differently: words such as `allow_limits`.
    options: tuple[str, ...] = ()
    #: The worker that makes it, which has the sync's lease; empty where none does.
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a sync, as the run log keeps it. Times are aware UTC."""

    id: str
    sync: str
    trigger: Trigger
    status: RunStatus
    started_at: datetime
    definition_hash: str
    #: Who ordered it; empty for the schedule and the command line.
    actor: str = ""
    #: The tick of the schedule that it answers.
    due_at: datetime | None = None
    #: Of the service that leads; None on the command line.
    term: int | None = None
    finished_at: datetime | None = None
    #: When it was ordered, if it began, or is to begin, later than that; None of one that never waited.
    ordered_at: datetime | None = None
    #: The worker that makes or made it; None where its service or a command does.
    worker: str | None = None
    counts: Counts = Counts()
    #: Phase to seconds, in the order they ran.
    phases: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    hint: str = ""
    #: Sentences for people that are no errors.
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    scope: RunScope = RunScope.WHOLE
    #: What it did differently: words such as `allow_limits`.
    options: tuple[str, ...] = ()
    #: Of a run that was interrupted; None for every other.
    ended_by: EndedBy | None = None
    #: None of a run that an earlier version made: it recorded only what was planned.
    delivery: Delivery | None = None
    #: Whether it ended well, yet every row that was new to the store was rejected. A run that has no such row, and
    #: delivers nothing, is as the one before it was.
    fruitless: bool = False
    #: Of the result, as Arrow has it: all of it, or what differed where the warehouse compares. None of a run that an
    #: earlier version made, or that goes on.
    bytes_fetched: int | None = None
    #: The error that ended it, in the process that ran it; the run log keeps only its text.
    cause: SyncerError | None = field(default=None, compare=False, repr=False)
    #: Why it was held, if it was to run a plan: in the same process alone.
    moved: tuple[Moved, ...] = field(default=(), compare=False, repr=False)

    @property
    def waited_seconds(self) -> float | None:
        """How long it waited from its order to its beginning; None if it did not wait, or has not begun."""
        # One that is withdrawn keeps the moment of its order as its start.
        if self.ordered_at is None or self.status is RunStatus.QUEUED or self.started_at == self.ordered_at:
            return None
        # The clocks of two machines may differ.
        return max((self.started_at - self.ordered_at).total_seconds(), 0.0)

    @property
    def planned(self) -> Changes:
        """The rows that it was to send, as far as that is known of an earlier version's run."""
        counts = self.counts
        known = Changes(added=counts.added, changed=counts.changed, removed=counts.removed)
        return self.delivery.planned if self.delivery else known

    @property
    def delivered(self) -> Changes | None:
        """The rows that the store accepted; None of an earlier version's run."""
        return self.delivery.delivered if self.delivery else None

    @property
    def undelivered(self) -> Undelivered | None:
        """The others: with `delivered` they are what was planned; None of an earlier version's run."""
        return self.delivery.undelivered(self.counts) if self.delivery else None

    @property
    def quarantined(self) -> int | None:
        """The rows that Syncer rejected before the comparison; None of an earlier version's run."""
        return self.delivery.quarantined if self.delivery else None

    @property
    def hold(self) -> Hold | None:
        """What held it; None if nothing did."""
        if self.status is not RunStatus.HELD:
            return None
        return Hold.CLOCK if any(found.kind is FindingKind.CLOCK for found in self.findings) else Hold.LIMITS
