"""Why an entity is, or is not, as a query says: what each sync had to do with it, from its snapshot and the run log."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncer.model.spelling import listed, quoted
from syncer.model.types import Verdict
from syncer.sync.lookup import Stored

#: The most rows of one sync, such as relationships of a person.
MOST_ROWS = 100


class RowState(enum.StrEnum):
    """What became of one row of one sync."""

    REJECTED = "rejected"
    #: A run has the snapshot open.
    BUSY = "busy"
    IN_DOUBT = "in doubt"
    #: Not in the result.
    LEFT = "not in the result"
    UNSENT = "never sent"
    #: With `create: false`, the store has nobody to update.
    ABSENT = "absent"
    #: The store has other values by now.
    OVERWRITTEN = "overwritten"
    #: Accepted, and what the store has now is not known.
    DELIVERED = "delivered"
    #: A list did to the person what it does.
    DONE = "done"
    #: An event that the store has no more.
    GONE = "gone"
    STANDS = "in the store"


_WORDS: Mapping[RowState, str] = {
    RowState.REJECTED: "rejected: {reason}",
    RowState.BUSY: "a run or a plan has the snapshot open now; try again when it has ended",
    RowState.IN_DOUBT: "sent without an answer; the next run sends it again",
    RowState.LEFT: "not in the query's result",
    RowState.UNSENT: "never sent",
    RowState.ABSENT: "the store has nothing to update, and the header says `create: false`",
    RowState.OVERWRITTEN: "delivered, but the store has other values of {attributes}",
    RowState.DELIVERED: "delivered; what the store has now is not known",
    RowState.DONE: "{done} by this list, once",
    RowState.GONE: "sent once, and {reason}",
    RowState.STANDS: "delivered, and the store has these values",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSent:
    """What the store answered last; where it once accepted the row, that is the last time it did."""

    #: Attribute to value, as the store takes it; None where it is not known.
    values: Mapping[str, Any] | None
    #: The start of the run; None where it is not known.
    at: datetime | None
    run_id: str | None
    #: None where no answer came.
    verdict: Verdict | None
    #: Why it was rejected; of an event that was accepted, why the store has it no more.
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedSince:
    """That a row is rejected now."""

    reason: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeState:
    """An attribute that the store accepted from a sync."""

    attribute: str
    sent: Any
    #: What the store has now; None where it has no value, or is not known.
    stored: Any
    #: Whether they agree; None where that is not known.
    stands: bool | None
    #: The syncs of which one has a value that counts more, so that this one is not sent.
    held_back_for: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowNow:
    """What the warehouse has now of a row."""

    #: Whether the query returns it; None where that cannot be known.
    in_result: bool | None = None
    #: Attribute to value, as the store takes it; None without a row that can be sent.
    values: Mapping[str, Any] | None = None
    #: The attributes of which the store did not accept this value.
    differs: Sequence[str] = ()
    #: Why the next run would reject it.
    reason: str | None = None
    #: Why the warehouse could not say.
    error: str | None = None

    @property
    def summary(self) -> str:
        """The same as the end of a sentence, for people."""
        if self.error is not None:
            return f"the warehouse did not say: {self.error}"
        if self.reason is not None:
            return f"in the query's result, and the next run rejects it: {self.reason}"
        if not self.in_result:
            return "not in the query's result"
        if self.differs:
            return f"in the query's result, and the next run sends {listed([*self.differs], last='and')}"
        return "in the query's result, as it was sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What one sync had to do with one row; its fields are those of `explain --json`."""

    sync: str
    #: As people type it; empty where it is not known.
    key: str
    #: Whether the query's result had the row when a run looked last; None where that is not known, as of an incremental
    #: query, which does not return its whole result.
    in_result: bool | None = None
    #: The run since which that is so.
    since_run: str | None = None
    last_sent: LastSent | None = None
    rejected: RejectedSince | None = None
    #: Whether it was sent, and the store's answer is not known.
    in_doubt: bool = False
    attributes: Sequence[AttributeState] = ()
    #: What the warehouse has now, if it was asked.
    now: RowNow | None = None
    #: Whether a run has the snapshot open, so that only the run log could be read.
    busy: bool = False
    #: What a list does, such as `deleted`; empty for what is none.
    done: str = ""

    @property
    def is_known(self) -> bool:
        """Whether the sync ever had something to do with the row, or has now."""
        is_there_now = self.now is not None and self.now.in_result
        return bool(self.last_sent or self.rejected or self.in_doubt or self.since_run or is_there_now)

    @property
    def overwritten(self) -> list[str]:
        """The attributes of which the store has another value, and should not."""
        return [one.attribute for one in self.attributes if one.stands is False and not one.held_back_for]

    @property
    def state(self) -> RowState:
        """What became of the row, in a word."""
        if self.rejected is not None:
            return RowState.REJECTED
        if self.busy:
            return RowState.BUSY
        if self.in_doubt:
            return RowState.IN_DOUBT
        if self.in_result is False:
            return RowState.LEFT
        if self.last_sent is None:
            return RowState.UNSENT
        if self.last_sent.verdict is Verdict.ABSENT:
            return RowState.ABSENT
        if self.done:
            return RowState.DONE
        if self.last_sent.verdict is Verdict.ACCEPTED and self.last_sent.reason:
            return RowState.GONE
        if self.overwritten:
            return RowState.OVERWRITTEN
        is_seen = any(one.stands for one in self.attributes if not one.held_back_for)
        return RowState.STANDS if is_seen else RowState.DELIVERED

    @property
    def is_well(self) -> bool:
        """Whether the store has what was sent, as far as that is known."""
        return self.state in (RowState.STANDS, RowState.DELIVERED, RowState.DONE)

    @property
    def summary(self) -> str:
        """The same as the end of a sentence, for people."""
        words = _WORDS[self.state]
        reason = self.rejected.reason if self.rejected else (self.last_sent and self.last_sent.reason) or ""
        return words.format(reason=reason, attributes=listed(self.overwritten or ["-"], last="and"), done=self.done)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What all syncs had to do with one entity."""

    stored: Stored
    #: By sync and key.
    rows: Sequence[Explanation]
    #: How many syncs write such entities and never had something to do with this one.
    others: int
    #: Syncs of which there are more than MOST_ROWS rows.
    cut: Sequence[str] = ()
    #: Syncs whose snapshot cannot be read.
    unread: Sequence[str] = ()

    @property
    def is_known(self) -> bool:
        """Whether any sync had something to do with it."""
        return any(row.is_known for row in self.rows)

    @property
    def notes(self) -> list[str]:
        """What the rows do not say, a sentence each."""
        said = [] if self.is_known else [self._unknown]
        if self.stored.fault is not None:
            said.append(f"What the store has is not known: {self.stored.fault}.")
        elif self.stored.content is None:
            said.append(f"The store {quoted(self.stored.sought.store)} has no such {self.stored.sought.entity}.")
        if self.others and self.is_known and not self.stored.sought.is_whole:
            said.append(f"Other syncs that write such entities, and never sent this one: {self.others:,}.")
        said += [f"Of {quoted(name)} only the first {MOST_ROWS} rows are shown." for name in self.cut]
        return [*said, *(f"The snapshot of {quoted(name)} cannot be read." for name in self.unread)]

    @property
    def _unknown(self) -> str:
        if any(row.busy for row in self.rows):
            return "No sync is known to have sent it, but the snapshots above are in use: ask again later."
        return "No sync knows it: none has sent it, and no row of it is rejected."
