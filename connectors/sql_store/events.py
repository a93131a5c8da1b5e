"""Events in an SQL store: each is there once, and never changes. As SQL over a batch in the temporary table `batch`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from connectors.sql_store import people
from connectors.sql_store.database import StoreDatabase
from connectors.sql_store.dialect import Execute, SQLDialect
from connectors.sql_store.people import NAMED
from connectors.sql_store.upgrades import WITH_EVENTS
from syncer.model.event_stores import EventCount
from syncer.model.types import EventKind, PersonKey, Target

#: The person of an event exists.
_EXISTS = "EXISTS (SELECT 1 FROM people AS p WHERE {named})"

_STARTS = "INSERT INTO event_starts (name, key_columns, start_at) VALUES (:name, :key, :at) ON CONFLICT DO NOTHING"

_COUNTS = (
    "SELECT p.person_id, p.id, c.number FROM (SELECT person_id, count(*) AS number FROM events "
    "WHERE name = :name AND occurred_at >= :since AND person_id IS NOT NULL GROUP BY person_id "
    "HAVING count(*) >= :least) AS c JOIN people AS p ON p.person_id = c.person_id ORDER BY c.number DESC, p.person_id"
)


def apply(execute: Execute, dialect: SQLDialect, key: PersonKey, kind: EventKind, *, create: bool) -> None:
    """Add the events of the batch that are not there; who does not exist is made, or else the row is rejected."""
    exists = _EXISTS.format(named=NAMED[key])
    if dialect.by_index:
        execute(dialect.by_index)
    if create and key is not PersonKey.CIO_ID:
        execute(
            f"INSERT INTO people ({key}, attributes) SELECT d.{key}, '{{}}' FROM ("
            f"SELECT DISTINCT b.{key} FROM batch AS b WHERE NOT {exists}) AS d"
        )
    else:
        reason = people.NO_CIO_ID if key is PersonKey.CIO_ID else "the person does not exist yet"
        execute(f"UPDATE batch AS b SET verdict = 'rejected', reason = '{reason}' WHERE NOT {exists}")
    execute(
        "INSERT INTO events (event_id, person_id, name, kind, occurred_at, data) "
        f"SELECT b.event_id, p.person_id, b.name, '{kind}', b.occurred_at, b.attributes "
        f"FROM batch AS b JOIN people AS p ON {NAMED[key]} WHERE b.verdict IS NULL ORDER BY b.seq "
        "ON CONFLICT DO NOTHING"
    )


class EventTables(StoreDatabase):
    """From when on events count, and who did what how often; see `KeepsEventStarts` and `CountsEvents`."""

    def event_start(self, target: Target) -> datetime | None:
        """See `KeepsEventStarts.event_start`."""
        if self._format < WITH_EVENTS:
            return None
        query = "SELECT start_at FROM event_starts WHERE name = :name AND key_columns = :key"
        found = self._fetch(query, **_named(target))
        return _time(found[0][0]) if found else None

    def start_events(self, target: Target, at: datetime) -> datetime:
        """See `KeepsEventStarts.start_events`."""
        self._bring_up_to_date()
        with self._transaction():
            self._execute(_STARTS, **_named(target), at=at.astimezone(UTC).isoformat())
        kept = self.event_start(target)
        assert kept is not None
        return kept

    def event_counts(self, name: str, *, since: datetime, at_least: int) -> Iterator[EventCount]:
        """See `CountsEvents.event_counts`."""
        if self._format < WITH_EVENTS:
            return
        # As `occurred_at` is spelled, whose texts SQLite compares.
        moment = since.astimezone(UTC).isoformat(timespec="microseconds")
        for person_id, identifier, number in self._fetch(_COUNTS, name=name, since=moment, least=at_least):
            yield EventCount(person_id=person_id, id=identifier, count=number)


def _named(target: Target) -> dict[str, str]:
    return {"name": target.events.label, "key": ", ".join(target.key_columns)}


def _time(value: datetime | str) -> datetime:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.astimezone(UTC)
