"""Events in an SQL store: each is there once, and never changes. As SQL over a batch in the temporary table `batch`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from connectors.sql_store import contents, people
from connectors.sql_store.dialect import Execute, SQLDialect
from connectors.sql_store.event_pages import EventPages, spelled_time, utc
from connectors.sql_store.fences import Fences
from connectors.sql_store.people import NAMED
from connectors.sql_store.upgrades import WITH_EVENTS, WITH_VISITORS
from syncer.model.event_stores import EventCount
from syncer.model.types import PersonKey, Target

#: The person of an event exists.
_EXISTS = "EXISTS (SELECT 1 FROM people AS p WHERE {named})"

_STARTS = "INSERT INTO event_starts (name, key_columns, start_at) VALUES (:name, :key, :at) ON CONFLICT DO NOTHING"

#: Some events of visitors whom nobody claimed in time, the oldest first; `received_at` is by the database's clock.
_OUTDATED = (
    "SELECT event_id FROM events WHERE person_id IS NULL AND received_at < {before} ORDER BY person_id, received_at"
)

#: How many of them are removed in one transaction and in one run, beside twice as many as a batch brings.
_REMOVED_AT_ONCE, _REMOVED_A_RUN = 10_000, 100_000

_SECONDS_A_DAY = 86_400

_COUNTS = (
    "SELECT p.person_id, p.id, c.number FROM (SELECT person_id, count(*) AS number FROM events "
    "WHERE name = :name AND occurred_at >= :since AND person_id IS NOT NULL GROUP BY person_id "
    "HAVING count(*) >= :least) AS c JOIN people AS p ON p.person_id = c.person_id ORDER BY c.number DESC, p.person_id"
)


def apply(execute: Execute, dialect: SQLDialect, target: Target, *, create: bool) -> None:
    """Add the events of the batch that are not there; who does not exist is made, or else the row is rejected."""
    key = target.person_key
    if dialect.by_index:
        execute(dialect.by_index)
    if key is not None:
        _find_people(execute, key, create=create)
    if target.names_visitors:
        execute("UPDATE batch AS b SET person_id = v.person_id FROM visitors AS v WHERE v.anonymous_id = b.anonymous")
    # A plain join takes the least time.
    who, visitor, joined = "p.person_id", "NULL", "" if key is None else f"JOIN people AS p ON {NAMED[key]}"
    if target.names_visitors:
        who, visitor = "coalesce(b.person_id, p.person_id)" if joined else "b.person_id", "b.anonymous"
        joined = f"LEFT {joined}" if joined else ""
    execute(
        "INSERT INTO events (event_id, person_id, anonymous_id, name, kind, occurred_at, data) "
        f"SELECT b.event_id, {who}, {visitor}, b.name, '{target.events.kind}', b.occurred_at, b.attributes "
        f"FROM batch AS b {joined} WHERE b.verdict IS NULL ORDER BY b.seq ON CONFLICT DO NOTHING"
    )


def _find_people(execute: Execute, key: PersonKey, *, create: bool) -> None:
    """Make the people of the batch who do not exist, or else reject their rows."""
    if create and key is not PersonKey.CIO_ID:
        execute(
            f"INSERT INTO people ({key}, attributes) SELECT d.{key}, '{{}}' FROM ("
            f"SELECT DISTINCT b.{key} FROM batch AS b WHERE {_nobody(key)}) AS d"
        )
    else:
        reason = people.NO_CIO_ID if key is PersonKey.CIO_ID else "the person does not exist yet"
        execute(f"UPDATE batch AS b SET verdict = 'rejected', reason = '{reason}' WHERE {_nobody(key)}")


def _nobody(key: PersonKey) -> str:
    return f"b.anonymous IS NULL AND NOT {_EXISTS.format(named=NAMED[key])}"


class EventTables(EventPages, Fences):
    """From when on events count, who did what how often, and what nobody claimed.

    See `KeepsEventStarts`, `CountsEvents`, `ShowsEvents` and `KeepsUnclaimed`.
    """

    def _keep_unclaimed_for(self, days: float) -> None:
        """Say how long events of visitors are kept whom nobody claims."""
        before = self.dialect.ago.format(f"{days * _SECONDS_A_DAY:.3f}")
        self._outdated = _OUTDATED.format(before=before)

    def _apply_events(self, target: Target, rows: int, *, create: bool) -> None:
        """Add the events of the batch, which has so many rows; visitors' old ones make room for them."""
        apply(self._execute, self.dialect, target, create=create)
        if target.names_visitors:
            self._remove_outdated(2 * rows)

    def show_event(self, name: str, known_by: str) -> dict[str, Any] | None:
        """See `ShowsEvents.show_event`."""
        return contents.one_event(self._fetch, name, known_by) if self._format >= WITH_EVENTS else None

    def remove_unclaimed(self) -> int:
        """See `KeepsUnclaimed.remove_unclaimed`."""
        removed = 0
        while self._format >= WITH_VISITORS and removed < _REMOVED_A_RUN and self._fetch(f"{self._outdated} LIMIT 1"):
            with self._transaction():
                if self.dialect.by_index:
                    self._execute(self.dialect.by_index)
                removed += self._remove_outdated(_REMOVED_AT_ONCE)
        return removed

    def _remove_outdated(self, most: int) -> int:
        return self._execute(f"DELETE FROM events WHERE event_id IN ({self._outdated} LIMIT {most})")

    def event_start(self, target: Target) -> datetime | None:
        """See `KeepsEventStarts.event_start`."""
        if self._format < WITH_EVENTS:
            return None
        query = "SELECT start_at FROM event_starts WHERE name = :name AND key_columns = :key"
        found = self._fetch(query, **_named(target))
        return utc(found[0][0]) if found else None

    def start_events(self, target: Target, at: datetime) -> datetime:
        """See `KeepsEventStarts.start_events`."""
        self._bring_up_to_date()
        with self._transaction():
            self._keep_take()
            self._execute(_STARTS, **_named(target), at=at.astimezone(UTC).isoformat())
        kept = self.event_start(target)
        assert kept is not None
        return kept

    def event_counts(self, name: str, *, since: datetime, at_least: int) -> Iterator[EventCount]:
        """See `CountsEvents.event_counts`."""
        if self._format < WITH_EVENTS:
            return
        for person_id, identifier, number in self._fetch(_COUNTS, name=name, since=spelled_time(since), least=at_least):
            yield EventCount(person_id=person_id, id=identifier, count=number)


def _named(target: Target) -> dict[str, str]:
    return {"name": target.events.label, "key": ", ".join(target.key_columns)}
