"""The seam below the stages of a run: a ledger keeps what one sync's store acknowledged, and what is in doubt.

A ledger shows itself in its session's tables, all keyed by the texts k1 to kn of the target's key; only its methods
change them. The stages keep what they find in temporary tables beside these:

    snapshot    k…, fingerprint, person, first_run, last_run, c…: the rows that the store has acknowledged; the
                fingerprint of the result's row, NULL where the row must be compared value by value; the number of the
                person that the row went to, NULL where the store gives none; the numbers of the run that added the row
                and of the one that sent it last, NULL where they are not known
    sent_runs   number, run_id, began_at: the runs that sent something; the newest has the greatest number
    left_rows   k…, attributes (JSON, as the store takes them), first_run, last_run, left_run, left_at: what left the
                result, and was removed or is kept in the store; for as long as SYNCER_KEEP_RUNS says
    absent_rows k…, run: what the last run sent to nobody, as the store has none and `create` is false
    columns     name, physical, kind: which attribute is in which of the columns c1, c2, …
    in_doubt    k…, moved, unset: rows that were sent and had no answer, or that another sync's removal may have
                touched; `moved` where the identifier is not known to name whoever got the row; `unset` where no more
                is in doubt than that another sync unset an attribute
    left_behind k…, person: people who got a row of this key before it went to somebody else
    unknown     k…, attributes (of `columns`, by column): what the store may have that is not in the snapshot; a row in
                doubt was sent without these attributes
    held        k1, attributes: what a row holds back, as another sync's value counts more; only where `attributes.yml`
                says so
    kept        k…, c…: newest values of rows in doubt, absent or rejected, where the query will not return them again
    rejections  k… (NULL where the row has none), reason, rows, attempts, first_seen, last_seen
    outbox      seq, action, k…, row_id, known, person, doubted, restores, change, first_run: only while a run sends:
                every row that it may have sent, those of a list as `put`; `person` is whom a removal reaches, NULL
                where the key says it; `doubted` where it was in doubt; `restores` where it was `unset` and did not
                change: its values alone are sent, as what is NULL in it was unset before, and another sync may have
                set it since; `change` is one of Changes; `first_run` is what the snapshot is to have
    sent_events high, low, second, print: only of events, whose outbox is temporary, and which have nothing else here
                but `kept` and `rejections`: the 80 bits that are the id, without its time; the time in unix seconds;
                and a part of the fingerprint. `kept` has who, happened and fingerprint too.
    verdicts    seq, verdict, reason: beside the outbox: what the store answered so far
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from syncer.model.protocols import NumbersPeople
from syncer.model.types import FindingKind, Identity, Removed, ValueForm
from syncer.snapshot.columns import ColumnMap
from syncer.snapshot.result_stream import ResultStream
from syncer.snapshot.session import Session

if TYPE_CHECKING:
    from syncer.snapshot.rivals import Rivals
    from syncer.snapshot.warehouse_rows import WarehouseRows


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a run needs to know of a ledger before it stages its result."""

    #: When the last run that ended well asked (see Asked), unix seconds; 0 where rows in doubt need the whole result.
    last_sync_time: int = 0
    #: Whether rows were rejected before any store saw them: an incremental query would not return them again.
    has_quarantined: bool = False
    #: The hash of the definition whose run ended well last; empty where none did.
    settled_definition: str = ""
    #: Of the last run that ended well, as Asked has it; empty where none did.
    settled_query: str = ""
    #: When a run that ended well last asked for the whole result, in unix seconds; 0 if it is not known.
    whole_result_at: int = 0
    #: Of the result that was settled last, as ResultSchema has it.
    column_case: str = ""
    #: The newest claim of the sync; empty where there is none.
    newest_claim: str = ""
    #: Whether that claim is not this ledger's: rows may have been sent that it does not know.
    is_outdated: bool = False
    #: Of events: the newest one that was sent or is past, at the last run that ended well, in unix seconds; else 0.
    last_event_time: int = 0
    #: From when on events count, aware; None where no run has decided it.
    event_start: datetime | None = None
    #: The same before the store was put back, until a run has looked what is past.
    former_start: datetime | None = None
    #: Whether a date in the header decided it: what is earlier is never sent.
    starts_at_date: bool = False
    #: Before when the ids of sent events are forgotten, in unix seconds; 0 if none are.
    forgotten_before: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a run asked its warehouse for; a ledger remembers it once the run has ended well."""

    #: When, by the warehouse's clock; aware.
    at: datetime
    #: Stands for the query's text and the warehouse, and not for `last_sync_time`; empty if it does not matter.
    query: str = ""
    #: Whether it asked for the whole result.
    is_whole: bool = True

    @property
    def memory(self) -> dict[str, str]:
        """What a ledger keeps of it, by name."""
        seconds = str(int(self.at.timestamp()))
        whole = {"whole_result_at": seconds} if self.is_whole else {}
        return {"last_sync_time": seconds, "settled_query": self.query} | whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """What the stages of one run share."""

    ledger: Ledger
    session: Session
    layout: ColumnMap
    known: Known
    sharing: Sharing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """How a run is about to send what its stages found (see Difference)."""

    #: Only rows that somebody named are sent; all others stay as they are.
    only_some: bool
    #: The result need not have every row that it had before.
    is_partial: bool
    #: The run that claims the sync; empty where none does.
    claimed_by: str
    #: Of that run.
    started_at: datetime | None = None
    #: What left the result before is forgotten.
    forget_before: datetime | None = None
    #: Nothing is to be sent, and no row was in doubt or rejected: the ledger's rows stay as they are.
    is_empty: bool = False
    #: From when on events count, where this run decides it.
    event_start: datetime | None = None
    #: Of the events of the result that were sent before, or are past, in unix seconds.
    newest_known: int = 0
    #: How many events changed after they were sent; are past; and are older than what is remembered.
    altered: int = 0
    past: int = 0
    forgotten: int = 0


class Sharing(Protocol):
    """Lets other machines have what a run has written down; see `shared.snapshot`."""

    @property
    def take(self) -> int:
        """The number under which the run has taken the sync; see `model.takes`."""

    @property
    def was_settled(self) -> bool:
        """Until the run sends: whether the one before it had settled, and sends nothing more."""

    def take_after(self, take: int) -> None:
        """Take the sync under a greater number than *take*, of another run that a store knows.

        Raises:
            RunInProgressError: another run has taken the sync.
        """

    def intended(self) -> None:
        """Let them have what the run is about to send, before it sends anything.

        Raises:
            RunInProgressError: another run has taken the sync; nothing may be sent.
            SyncerError: they cannot have it.
        """

    def recorded(self) -> None:
        """Let them have the answers that were recorded.

        Raises:
            RunInProgressError, SyncerError: as above; nothing more may be sent.
        """

    def settled(self, *, rows: int, is_changed: bool) -> None:
        """Let them have the settled ledger, with so many acknowledged rows, if anything has changed in it.

        Raises:
            RunInProgressError, SyncerError: as above.
        """

    def put_files(self) -> None:
        """Let them have the former snapshots as they are now.

        Raises:
            RunInProgressError, SyncerError: as above.
        """


def kept_elsewhere(ledger: Ledger) -> int:
    """How many rows the warehouse keeps that the ledger does not have."""
    return ledger.warehouse_rows.rows if ledger.warehouse_rows is not None else 0


class WriterState(enum.StrEnum):
    """What another sync that has fed the same entities does now."""

    FEEDS = "feeds"
    #: It feeds others.
    ELSEWHERE = "elsewhere"
    #: Its file is gone, or has `enabled: false`.
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Another sync that feeds the same entities, or has fed them."""

    attributes: frozenset[str]
    #: Its newest claim.
    claim: str


class Journal(Protocol):
    """What writes the rows of a run to a ledger's tables, within a transaction."""

    def write_intent(self, session: Session, layout: ColumnMap, intent: Intent) -> int:
        """See `Ledger.intend`."""

    def write_verdicts(self, session: Session, layout: ColumnMap, verdicts: pa.Table) -> None:
        """See `Ledger.acknowledge`."""


class Ledger(Protocol):
    """Where one sync's snapshot is kept; open, and locked by one run. Its session is for one thread at a time."""

    session: Session
    #: Sentences about what opening found, for the run's notes.
    notes: list[str]
    #: What they say of the store, each with more about it for people, or empty.
    store_findings: dict[FindingKind, str]
    #: The syncs whose values of an attribute count more, or did, once `follow_sources` has looked.
    rivals: Rivals | None
    #: The rows that the warehouse keeps in place of the ledger, if it does.
    warehouse_rows: WarehouseRows | None

    @property
    def former(self) -> list[Path]:
        """The files of former snapshots whose rows are to be removed from the store; some may be gone."""

    def remember_former(self, files: Sequence[Path]) -> None:
        """Make *files* the former snapshots."""

    def explaining(self) -> AbstractContextManager[None]:
        """Raise SnapshotError, without values, where the ledger fails inside."""

    def open(self, claim: str, *, log_id: str, is_current: bool = False) -> int:
        """Compare the sync's newest *claim* with the ledger's own; where they differ, every row is in doubt.

        Shapes:
            log_id: the name of what keeps claims and removals.
            is_current: it has all that other machines wrote down: then only a claim that was overtaken counts.
            returns: the newest removal of other syncs that the ledger knows; 0 where *log_id* is new to it.
        """

    def doubt(self, removed: Removed, *, log_id: str, also: Mapping[str, str]) -> None:
        """Put in doubt what removals of other syncs may have touched.

        That is every row where *log_id* is new, or *removed* lacks some; an incremental query then returns its whole
        result once.

        Shapes:
            also: to the kinds of some objects and relationships, by which other kinds they are known too.
        """

    def follow_people(self, store: NumbersPeople) -> None:
        """Put in doubt the rows whose identifier somebody has lost since the last run.

        Where the rows do not have the numbers of their people, these are whom their keys name now.

        Raises:
            StoreError: nothing is changed.
        """

    def follow_identity(self, identity: Identity) -> None:
        """Put in doubt the rows with an attribute that the store has become to know people by, such as a phone."""

    def compare_fences(self, fences: Mapping[str, str], *, log_id: str) -> str:
        """Compare what the store says of who wrote last, by `log_id`, with what the ledger knows of it.

        Where a store was put back, or another state folder feeds it since, every row is in doubt. A folder that goes
        on feeding it is only noted.

        Shapes:
            returns: the ledger's former `log_id`, if its record in the store is of no more use; else empty.
        """

    def follow_writers(
        self, writers: Mapping[str, Writer], state_of: Callable[[str], WriterState], *, form: ValueForm
    ) -> None:
        """Put in doubt what *writers* wrote over, by sync, that feed the same entities no more.

        *form*: how the store takes values.

        Syncs that feed them side by side are not followed: of those that write one attribute, the last one wins.
        """

    def follow_sources(
        self, rivals: Mapping[str, Mapping[str, str]], followers: Mapping[str, Mapping[str, bool]], *, store_id: str
    ) -> None:
        """Find what is held back since other syncs' values count more; see `held_back`.

        Put in doubt what counts again, and what others wrote over before they counted less.

        Shapes:
            rivals: attribute to the syncs whose values count more, each to its newest claim.
            followers: attribute to those whose values count less, each to whether it ever wrote the attribute.
        Raises:
            RunInProgressError: one of the rivals runs now; nothing is changed.
        """

    def known(self) -> Known:
        """What there is to know by now."""

    def differing(self, incoming: ResultStream, layout: ColumnMap, *, every_row: bool) -> int:
        """Read a result to its end into the temporary tables `staged` and `gone`; returns how many rows matched.

        Shapes:
            staged: as `staged_rows_sql` says; without *every_row*, only rows that the snapshot does not know.
            gone: k…; what the snapshot has and the result lacks; empty for an incremental query.
            returns: rows of the snapshot whose fingerprint a row of the result has; 0 with *every_row*.
        Raises:
            whatever the result's reader raises; then there is no table `staged`.
        """

    def intend(self, layout: ColumnMap, intent: Intent, known: Known) -> int:
        """Write down, in one transaction, every row about to be sent; returns how many rows that are."""

    def acknowledge(self, layout: ColumnMap, verdicts: pa.Table) -> None:
        """Make verdicts durable, and the snapshot what was accepted, in one transaction."""

    def settle(
        self, layout: ColumnMap, intent: Intent, *, started_at: datetime, asked: Asked, ended_well: bool
    ) -> None:
        """Drop the outbox, in one transaction: what has no answer stays in doubt, what was rejected stays visible.

        Shapes:
            started_at: of the run, by this machine's clock.
            ended_well: whether every row has an answer.
        """
