"""The columns of a result by what they are to Syncer: attributes, and what an event has beside its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from syncer.model.attribute_rules import Normaliser
from syncer.model.errors import QueryResultError
from syncer.snapshot.values import ColumnType


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute that the query feeds."""

    name: str
    #: Its place in the result, counted from 0.
    position: int
    kind: ColumnType
    type: pa.DataType
    #: Whether it is what the header says of a device: see `snapshot.devices`.
    is_of_device: bool = False
    #: The value of every row, where no column of the result has it; its position is beyond them.
    constant: str | None = None
    #: Set for the visitor whom a person claims, and for nothing else: the kind of its column. See `snapshot.visitors`.
    read_as: ColumnType | None = None
    #: Where `attributes.yml` has a type or a spelling for it: the kind of its column. See `snapshot.conversions`.
    queried_as: ColumnType | None = None
    normaliser: Normaliser | None = None

    @property
    def is_visitor(self) -> bool:
        """Whether it is the visitor whom a person claims, and no attribute."""
        return self.read_as is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventColumns:
    """The columns of an event beside its data."""

    #: Of these two one at least; the first that is not NULL counts.
    person: Attribute | None
    visitor: Attribute | None
    time: Attribute
    #: The time by the warehouse's clock, aware.
    now: datetime
    #: Of the store that gets them.
    store_id: str

    @property
    def own(self) -> tuple[Attribute, ...]:
        """All of them."""
        return (*self.who.values(), self.time)

    @property
    def who(self) -> dict[str, Attribute]:
        """Those that say who did it, by what `staged` calls them."""
        found = {"who": self.person, "anonymous": self.visitor}
        return {name: one for name, one in found.items() if one is not None}


def as_event_columns(found: Mapping[str, Attribute], now: datetime | None, store_id: str) -> EventColumns | None:
    """An event's `person`, `visitor` and `time`, of which no attribute may be; None if *found* is empty.

    Raises:
        QueryResultError: the time is of a type that says none.
    """
    if not found:
        return None
    time = found["time"]
    if time.kind in (ColumnType.BOOLEAN, ColumnType.BINARY, ColumnType.JSON):
        raise QueryResultError(
            f"column `{time.name}` has the type {time.type}, which is no time",
            hint="Let the query return a timestamp, a date, unix seconds, or text such as 2026-01-31T09:30:00Z.",
        )
    return EventColumns(
        person=found.get("person"),
        visitor=found.get("visitor"),
        time=time,
        now=now or datetime.now(UTC),
        store_id=store_id,
    )
