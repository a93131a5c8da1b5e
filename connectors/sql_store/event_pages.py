"""Events as people look through them, a page at a time: an index has each page in its order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from connectors.sql_store import contents
from connectors.sql_store.database import StoreDatabase
from connectors.sql_store.upgrades import WITH_EVENTS
from syncer.model.event_stores import Doer

#: One look into the index for each name, and one for its newest event.
_NAMES = (
    "WITH RECURSIVE n (name) AS (SELECT min(name) FROM events WHERE name > :after UNION ALL "
    "SELECT (SELECT min(e.name) FROM events AS e WHERE e.name > n.name) FROM n WHERE n.name IS NOT NULL) "
    "SELECT name, (SELECT max(e.occurred_at) FROM events AS e WHERE e.name = n.name) FROM n "
    "WHERE name IS NOT NULL LIMIT :most"
)

_NTH_NEWEST = "SELECT occurred_at FROM events WHERE name = :name ORDER BY occurred_at DESC LIMIT 1 OFFSET :skipped"

_DOERS = (
    "SELECT p.person_id, p.id, p.email, c.number, c.last_at FROM ("
    "SELECT person_id, count(*) AS number, max(occurred_at) AS last_at FROM events "
    "WHERE name = :name AND occurred_at >= :since AND person_id IS NOT NULL GROUP BY person_id "
    "HAVING count(*) >= :least AND (count(*) < :number OR (count(*) = :number AND person_id > :person))) AS c "
    "JOIN people AS p ON p.person_id = c.person_id ORDER BY c.number DESC, p.person_id LIMIT :most"
)

#: Behind nobody: more often than anybody did anything.
_FIRST = (2**62, 0)


class EventPages(StoreDatabase):
    """See `ListsEvents`."""

    def event_names(self, *, after: str, limit: int) -> list[tuple[str, datetime]]:
        """See `ListsEvents.event_names`."""
        if self._format < WITH_EVENTS:
            return []
        return [(name, utc(at)) for name, at in self._fetch(_NAMES, after=after, most=limit)]

    def nth_newest(self, name: str, n: int) -> datetime | None:
        """See `ListsEvents.nth_newest`."""
        if self._format < WITH_EVENTS:
            return None
        found = self._fetch(_NTH_NEWEST, name=name, skipped=n - 1)
        return utc(found[0][0]) if found else None

    def doers(
        self, name: str, *, since: datetime, at_least: int, after: tuple[int, int] | None, limit: int
    ) -> list[Doer]:
        """See `ListsEvents.doers`."""
        if self._format < WITH_EVENTS:
            return []
        number, person = after or _FIRST
        place = {"number": number, "person": person, "most": limit}
        found = self._fetch(_DOERS, name=name, since=spelled_time(since), least=at_least, **place)
        return [
            Doer(person_id=person_id, id=identifier, email=email, count=count, last_at=utc(at))
            for person_id, identifier, email, count, at in found
        ]

    def events_of(self, person_id: int, *, before: str, limit: int) -> list[dict[str, Any]]:
        """See `ListsEvents.events_of`."""
        if self._format < WITH_EVENTS:
            return []
        return contents.events(self._fetch, person_id, before=before, limit=limit)


def spelled_time(at: datetime) -> str:
    """As `occurred_at` is spelled, whose texts SQLite compares."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def utc(value: datetime | str) -> datetime:
    """A time as the database gives it, in UTC."""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.astimezone(UTC)
