"""Events in profile stores: how a batch has them, and what only some stores can do with them.

Every row of a batch of events is a `put`, and none of these columns of it is NULL:

    k1, …       the event's key
    event_id    string: a ULID, whose last 16 signs are the same for the same event, whatever its time
    name        string
    who         string: the person's identifier, spelled as a key
    happened    timestamp in microseconds, UTC, without a zone
    attributes  string: a JSON object, the event's whole data, NULL values included

A store that has the event accepts it, and changes nothing. Without *create* an event of nobody is rejected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from syncer.model.types import Target


@runtime_checkable
class KeepsEventStarts(Protocol):
    """Keeps from when on events count: a store, so that it is decided once whatever becomes of a state folder, or the
    run log in the place of one that cannot."""

    def event_start(self, target: Target) -> datetime | None:
        """What was decided for events of this name and key, aware, in UTC; None if nothing was."""

    def start_events(self, target: Target, at: datetime) -> datetime:
        """Decide it, unless it is decided, durably; returns what counts."""


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
