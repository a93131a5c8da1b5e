"""The values that packages exchange: frozen, without behaviour or I/O."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from syncer.model.attribute_rules import AttributeRule as AttributeRule
from syncer.model.entities import Entity as Entity
from syncer.model.entities import EventKind as EventKind
from syncer.model.entities import EventType as EventType
from syncer.model.entities import Identity as Identity
from syncer.model.entities import ListAction as ListAction
from syncer.model.entities import PersonKey as PersonKey
from syncer.model.entities import Platform as Platform
from syncer.model.entities import Target as Target
from syncer.model.run_lists import Latest as Latest
from syncer.model.run_lists import Promise as Promise
from syncer.model.run_lists import RunMark as RunMark
from syncer.model.run_lists import RunOutcome as RunOutcome
from syncer.model.run_lists import RunResult as RunResult
from syncer.model.runs import CONCLUSIVE as CONCLUSIVE
from syncer.model.runs import ENDED_WELL as ENDED_WELL
from syncer.model.runs import OPEN as OPEN
from syncer.model.runs import OVERTAKEN as OVERTAKEN
from syncer.model.runs import Changes as Changes
from syncer.model.runs import Counts as Counts
from syncer.model.runs import Delivery as Delivery
from syncer.model.runs import EndedBy as EndedBy
from syncer.model.runs import Finding as Finding
from syncer.model.runs import FindingKind as FindingKind
from syncer.model.runs import Hold as Hold
from syncer.model.runs import Order as Order
from syncer.model.runs import Run as Run
from syncer.model.runs import RunScope as RunScope
from syncer.model.runs import RunStatus as RunStatus
from syncer.model.runs import Trigger as Trigger
from syncer.model.runs import Undelivered as Undelivered
from syncer.model.schedules import HOURLY
from syncer.model.schedules import CatchUp as CatchUp
from syncer.model.schedules import Cron as Cron
from syncer.model.schedules import Every as Every
from syncer.model.schedules import Manual as Manual
from syncer.model.schedules import Schedule as Schedule
from syncer.model.snapshot_home import SnapshotHome


class OnRemoved(enum.StrEnum):
    """What a row that left the result means for the store."""

    KEEP = "keep"
    CLEAR = "clear"
    DELETE = "delete"


class OnNull(enum.StrEnum):
    """What NULL in a column means for the attribute."""

    CLEAR = "clear"
    KEEP = "keep"


class Action(enum.StrEnum):
    """What a store does with one row of a batch."""

    PUT = "put"
    CLEAR = "clear"
    DELETE = "delete"
    SUPPRESS = "suppress"
    UNSUPPRESS = "unsuppress"
    MERGE = "merge"


class Verdict(enum.StrEnum):
    """A store's answer for one row. A row without one is in doubt."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    ABSENT = "absent"


class ValueForm(enum.StrEnum):
    """How a store takes numbers and times in its JSON."""

    #: Numbers with every digit, times as ISO-8601 text in UTC.
    EXACT = "exact"
    #: The same, shorter names before longer ones: PostgreSQL keeps members of `jsonb` so, and need not sort them.
    EXACT_SORTED = "exact_sorted"
    #: Numbers beyond 2^53 as strings, times as unix seconds (a date is its midnight UTC).
    UNIX_SECONDS = "unix_seconds"

    def rank(self, name: str) -> tuple[int, bytes]:
        """By what the members of a row are sorted, of which this is the name; alike for all where they need not be."""
        encoded = name.encode()
        return (len(encoded), encoded) if self is ValueForm.EXACT_SORTED else (0, b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most rows that one run may touch: a share of the snapshot, or a count. Exactly one is set."""

    share: float | None = None
    count: int | None = None

    @property
    def words(self) -> str:
        """`15%` or `200 rows`."""
        return f"{self.count:,} rows" if self.count is not None else f"{(self.share or 0.0) * 100:.6g}%"


#: A limit that allows no row.
NONE = Limit(count=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one sync."""

    removed: Limit = Limit(share=0.15)
    changed: Limit = Limit(share=1.0)
    #: Rows whose value of one attribute becomes NULL; a share of the rows that had one.
    cleared: Limit = Limit(share=0.2)
    #: None accepts any number.
    added: Limit | None = None
    #: People whom a list deletes; None has the default, which depends on the store.
    deleted: Limit | None = None
    #: Pairs of people to merge, likewise.
    merged: Limit | None = None
    #: New events; None accepts any number.
    events: Limit | None = None
    #: Whether an empty result is accepted where the snapshot has rows.
    allow_empty: bool = False


class Start(enum.StrEnum):
    """What the first run of an event sync does with the events that are there."""

    #: It sends all of them.
    ALL = "all"
    #: It takes them as past, and sends none.
    NOW = "now"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRules:
    """What the header of an event sync says beside its target."""

    #: The column that has the person's identifier; None where rows only name visitors.
    person_column: str | None
    #: The column that says when it happened.
    time_column: str
    #: A date: events before it (UTC) are never sent.
    start: Start | date
    #: How long before the newest event the ids of sent ones are known; None for ever.
    remember: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFields:
    """What a header says of devices, beside the person and the token, which are the key."""

    #: Of every row; None where a column says it.
    platform: Platform | None = None
    #: The column that says it.
    platform_column: str | None = None
    #: The column of the time at which a device was used last.
    last_used: str | None = None

    @property
    def columns(self) -> dict[str, str]:
        """The attributes that columns have, each to its column."""
        named = {"platform": self.platform_column, "last_used": self.last_used}
        return {attribute: column for attribute, column in named.items() if column is not None}


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
    #: Set for a device.
    device: DeviceFields | None = None
    #: The column that has the visitor, of people and events; None where the rows name none.
    visitor_column: str | None = None
    #: The column that has the email by which a person was known before; None where the rows name none.
    previous_column: str | None = None
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    #: Attribute to column, in the header's order; None takes every column that is not an identifier.
    attributes: dict[str, str] | None = None
    exclude: tuple[str, ...] = ()
    warehouse: str = "default"
    store: str = "default"
    schedule: Schedule = HOURLY
    catch_up: CatchUp = CatchUp.ONCE
    on_removed: OnRemoved = OnRemoved.KEEP
    on_null: OnNull = OnNull.CLEAR
    create: bool = True
    limits: Limits = Limits()
    #: Rejected rows up to which a run succeeds; a share of the rows that the sync has, with those.
    tolerated: Limit = NONE
    timeout: timedelta = timedelta(minutes=30)
    #: How far before the last run an incremental query looks again.
    lookback: timedelta = timedelta(minutes=10)
    #: How often an incremental query asks for its whole result; None for never.
    full_every: timedelta | None = None
    depends_on: tuple[str, ...] = ()
    #: What its runs wait in.
    queue: str = "default"
    #: Of runs that may begin, those of a higher one go first; −1000 to 1000.
    priority: int = 0
    #: Where the rows of its snapshot are to be; None for where they are.
    snapshot: SnapshotHome | None = None
    enabled: bool = True
    #: Whether the query uses `last_sync_time` or `last_event_time`, not only in a comment.
    incremental: bool = False
    #: Set for events.
    event_rules: EventRules | None = None
    #: SHA-256 of the file's bytes, in hex; then a hyphen and more, where `attributes.yml` changes what is sent.
    hash: str = ""
    #: Header field to its line in the file, counted from 1; nested fields as `limits.removed`.
    lines: dict[str, int] = field(default_factory=dict)
    #: Attribute to its rule in `attributes.yml`; empty where this sync writes no attributes of people.
    rules: Mapping[str, AttributeRule] = field(default_factory=dict)

    @property
    def yields_to(self) -> set[str]:
        """The syncs whose values of some attributes count more than its own."""
        return {name for rule in self.rules.values() for name in rule.before(self.name)}


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
class RejectedRow:
    """What is known of the values of a rejected row."""

    #: A JSON object of its columns, long texts cut; None if it is not known.
    values: str | None = None
    #: Another one means that a value has changed; empty if the values are not known.
    digest: str = ""
    #: Of rows that share a key, the columns in which they differ.
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Somebody knows that a row is rejected. Times are aware UTC."""

    by: str
    reason: str
    at: datetime
    #: From then on the row counts again.
    until: datetime


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
    row: RejectedRow = RejectedRow()
    #: Until it expires, or the row changes.
    acknowledged: Acknowledgement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedSet:
    """What a sync removed, unset or moved in one run, without its identifiers: an immutable Parquet file.

    Its columns are `entity`, `kind` and `value` as in IDENTIFIERS, but each value is a UUID: the hash of all three,
    with a key (see `snapshot.announced`).
    """

    path: Path
    #: Of the hashes.
    key: str
    #: Whether what was unset counts; else only what was removed or moved.
    counts_unset: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What other syncs of a store removed, unset or moved."""

    sets: Sequence[RemovedSet] = ()
    #: The number from which to look next time; 0 where there is none.
    newest: int = 0
    #: Whether something that belongs here was forgotten for its age, or its file is gone.
    is_incomplete: bool = False
