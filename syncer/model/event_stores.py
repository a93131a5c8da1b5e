"""Events in profile stores: how a batch has them, and what only some stores can do with them.

Every row of a batch of events is a `put`. Exactly one of `who` and `anonymous` is NULL, and no other of these columns:

    k1, …       the event's key
    event_id    string: a ULID, whose last 16 signs are the same for the same event, whatever its time
    name        string
    who         string: the person's identifier, spelled as a key
    anonymous   string: a visitor, spelled as a key, who did it where no person is known. Left out by targets that name
                no visitors; `who` is NULL in every row of one that only names visitors
    happened    timestamp in microseconds, UTC, without a zone
    attributes  string: a JSON object, the event's whole data, NULL values included

A store that has the event accepts it, and changes nothing. Without *create* an event of nobody is rejected; one of a
visitor is not. It is the person's who has claimed the visitor, or is kept until somebody claims them.

A batch of people whose target `names_visitors` has a column `anonymous` too, in its puts: the visitor whom the person
claims, or NULL for none. An accepted `put` makes the visitor theirs for ever, and the events of the visitor that are
nobody's so far, in one transaction with the rest of it. A visitor who is somebody else's is a rejection of the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from syncer.model.types import Target

#: How many events a store shows with their person: the newest ones.
SHOWN_EVENTS = 20

#: From then on all events count: none may be earlier.
FIRST = datetime(1970, 1, 1, tzinfo=UTC)


@runtime_checkable
class KeepsEventStarts(Protocol):
    """Keeps from when on events count: a store, so that it is decided once whatever becomes of a state folder, or the
    run log in the place of one that cannot."""

    def event_start(self, target: Target) -> datetime | None:
        """What was decided for events of this name and key, aware, in UTC; None if nothing was."""

    def start_events(self, target: Target, at: datetime) -> datetime:
        """Decide it, unless it is decided, durably; returns what counts."""


@runtime_checkable
class KeepsUnclaimed(Protocol):
    """A store that keeps the events of visitors whom nobody has claimed, for a while."""

    def remove_unclaimed(self) -> int:
        """Remove some that were kept for long enough, a bounded number; returns how many.

        Raises:
            StoreError: it did not answer; some may be removed.
        """


@runtime_checkable
class KnowsVisitors(Protocol):
    """A store that can be asked whose visitors are."""

    def holders(self, visitors: pa.Table) -> Iterator[pa.Table]:
        """Who has claimed visitors.

        Shapes:
            visitors: string `anonymous`, none of them twice.
            returns: tables of the strings `anonymous` and `cio_id`, in any order; none for whom nobody has claimed.
        Raises:
            StoreError: it did not answer.
        """


@runtime_checkable
class ShowsEvents(Protocol):
    """A store in which one event can be looked up."""

    def show_event(self, name: str, known_by: str) -> dict[str, Any] | None:
        """An event of a name, by the last 16 signs of its id, ready for JSON; None where there is none.

        Shapes:
            returns: `event_id`, `kind`, `occurred_at`, `received_at`, `data`, `anonymous_id`, and of its person `id`,
                `email` and `person_id`; all three are None while nobody has claimed its visitor.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCount:
    """How often a person did something."""

    person_id: int
    id: str | None
    count: int


@runtime_checkable
class CountsEvents(Protocol):
    """A store that can say who did something how often."""

    def event_counts(self, name: str, *, since: datetime, at_least: int) -> Iterator[EventCount]:
        """The people with *at_least* so many events of a name since a time, the most frequent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doer(EventCount):
    """The same with what else a page shows of the person."""

    email: str | None
    #: When they did it last, aware, in UTC.
    last_at: datetime


@runtime_checkable
class ListsEvents(Protocol):
    """A store whose events people can look through, a page at a time, each by an index.

    Each method raises StoreError where the store does not answer.
    """

    def event_names(self, *, after: str, limit: int) -> list[tuple[str, datetime]]:
        """The first names of events behind a name, in order, each with the time of its newest event."""

    def nth_newest(self, name: str, n: int) -> datetime | None:
        """The time of the *n*th newest event of a name, aware, in UTC; None if there are fewer."""

    def doers(
        self, name: str, *, since: datetime, at_least: int, after: tuple[int, int] | None, limit: int
    ) -> list[Doer]:
        """As `CountsEvents.event_counts`, those behind a count and the number of a person, at most *limit*."""

    def events_of(self, person_id: int, *, before: str, limit: int) -> list[dict[str, Any]]:
        """The events of a person that are older than the event of an id, newest first, as `show` has them."""
