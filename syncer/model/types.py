"""The values that packages exchange: frozen, without behaviour or I/O."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from syncer.model.entities import Entity as Entity
from syncer.model.entities import PersonKey as PersonKey
from syncer.model.entities import Target as Target
from syncer.model.errors import SyncerError
from syncer.model.findings import Finding as Finding
from syncer.model.findings import FindingKind as FindingKind
from syncer.model.findings import Hold as Hold


class Identity(enum.StrEnum):
    """Which identifiers a store keeps unique over its people."""

    ID = "id"
    EMAIL = "email"
    ID_OR_EMAIL = "id_or_email"


class OnRemoved(enum.StrEnum):
    """What a row that left the result means for the store."""

    KEEP = "keep"
    CLEAR = "clear"
    DELETE = "delete"


class OnNull(enum.StrEnum):
    """What NULL in a column means for the attribute."""

    CLEAR = "clear"
    KEEP = "keep"


class CatchUp(enum.StrEnum):
    """What to do about ticks of the schedule that passed while no service ran."""

    ONCE = "once"
    SKIP = "skip"


class Action(enum.StrEnum):
    """What a store does with one row of a batch."""

    PUT = "put"
    CLEAR = "clear"
    DELETE = "delete"


class Verdict(enum.StrEnum):
    """A store's answer for one row. A row without one is in doubt."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    ABSENT = "absent"


class ValueForm(enum.StrEnum):
    """How a store takes numbers and times in its JSON."""

    #: Numbers with every digit, times as ISO-8601 text in UTC.
    EXACT = "exact"
    #: Numbers beyond 2^53 as strings, times as unix seconds (a date is its midnight UTC).
    UNIX_SECONDS = "unix_seconds"


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


class RunScope(enum.StrEnum):
    """Which rows of the result a run is about."""

    #: All; it sends what changed.
    WHOLE = "whole"
    #: All; it sends every row, changed or not.
    FULL = "full"
    #: Those that somebody named; it does not show the state of the sync.
    ROWS = "rows"


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
class Every:
    """A schedule by interval, at least one minute; its ticks are the interval's multiples since 1970 in UTC."""

    interval: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A schedule by a five-field cron expression, where 0 and 7 are Sunday."""

    expression: str
    #: IANA name.
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manual:
    """Never started by the schedule."""


Schedule = Every | Cron | Manual


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most rows that one run may touch: a share of the snapshot, or a count. Exactly one is set."""

    share: float | None = None
    count: int | None = None

    @property
    def words(self) -> str:
        """`15%` or `200 rows`."""
        return f"{self.count:,} rows" if self.count is not None else f"{(self.share or 0.0) * 100:.6g}%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one sync."""

    removed: Limit = Limit(share=0.15)
    changed: Limit = Limit(share=1.0)
    #: Rows whose value of one attribute becomes NULL; a share of the rows that had one.
    cleared: Limit = Limit(share=0.2)
    #: None accepts any number.
    added: Limit | None = None
    #: Whether an empty result is accepted where the snapshot has rows.
    allow_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncDefinition:
    """One parsed `.sql` file."""

    name: str
    path: Path
    #: The SQL as written, before Jinja; the first line of it is `sql_line` of the file.
    sql: str
    #: Counted from 1.
    sql_line: int
    target: Target
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    #: Attribute to column, in the header's order; None takes every column that is not an identifier.
    attributes: dict[str, str] | None = None
    exclude: tuple[str, ...] = ()
    warehouse: str = "default"
    store: str = "default"
    schedule: Schedule = Every(interval=timedelta(hours=1))
    catch_up: CatchUp = CatchUp.ONCE
    on_removed: OnRemoved = OnRemoved.KEEP
    on_null: OnNull = OnNull.CLEAR
    create: bool = True
    limits: Limits = Limits()
    timeout: timedelta = timedelta(minutes=30)
    #: How far before the last run an incremental query looks again.
    lookback: timedelta = timedelta(minutes=10)
    #: How often an incremental query asks for its whole result; None for never.
    full_every: timedelta | None = None
    depends_on: tuple[str, ...] = ()
    enabled: bool = True
    #: Whether the query uses `last_sync_time`, not only in a comment.
    incremental: bool = False
    #: SHA-256 of the file's bytes, in hex.
    hash: str = ""
    #: Header field to its line in the file, counted from 1; nested fields as `limits.removed`.
    lines: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a query's result."""

    name: str
    #: The warehouse's own word for the type.
    type: str
    #: The name as the warehouse has it, if it is another: it folded the name to upper case.
    written: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a look at a connection found."""

    #: Product and version, such as `PostgreSQL 18.6`.
    version: str
    #: Whether its login could write: a warehouse's should not, a store's must. None where that is not known.
    can_write: bool | None = None
    #: More for the reader, a sentence or empty.
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows of one run. `queried` = `added` + `changed` + `unchanged` + rows set aside before the comparison."""

    queried: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    accepted: int = 0
    rejected: int = 0
    absent: int = 0


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
    #: The error that ended it, in the process that ran it; the run log keeps only its text.
    cause: SyncerError | None = field(default=None, compare=False, repr=False)

    @property
    def hold(self) -> Hold | None:
        """What held it; None if nothing did."""
        if self.status is not RunStatus.HELD:
            return None
        return Hold.CLOCK if any(found.kind is FindingKind.CLOCK for found in self.findings) else Hold.LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A row that the store or Syncer rejects now."""

    sync: str
    #: The identifiers, joined; empty where the row has no usable key.
    key: str
    reason: str
    #: Runs that rejected it, counted from 1.
    attempts: int
    first_seen: datetime
    last_seen: datetime
