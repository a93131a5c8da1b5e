"""What a store has of one person, object or collection, as people and `syncer show` read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from connectors.sql_store.staging import CIO_ID
from connectors.sql_store.upgrades import WITH_DEVICES, WITH_EVENTS, WITH_VISITORS
from syncer.model.event_stores import SHOWN_EVENTS
from syncer.model.json_text import json_value
from syncer.model.types import PersonKey

#: Runs one query, in which `:name` stands for a value, and returns its rows.
Fetch = Callable[..., list[tuple[Any, ...]]]

_RELATED_PEOPLE = 100
_COLLECTION_ROWS = 20
_JSON = ("attributes", "data")


def person(
    fetch: Fetch, key: PersonKey, value: str, *, moment: str, format_: int, names: Sequence[str]
) -> dict[str, Any] | None:
    """One person with their relationships, devices, visitors and newest events; of several with one e-mail address the
    first.

    *moment*: see `SQLDialect`. *format_*: of the store, which may have no devices, events or visitors yet. *names*: of
    the identifiers that people have.
    """
    by_number = key is PersonKey.CIO_ID
    if by_number and not re.fullmatch(CIO_ID, value):
        return None
    found = _rows(
        fetch,
        f"person_id {' '.join(names)} attributes created_at updated_at",
        f"FROM people WHERE {'person_id' if by_number else key} = :value ORDER BY person_id LIMIT 1",
        value=int(value) if by_number else value,
    )
    if not found:
        return None
    related = _rows(
        fetch,
        "object_type object_id attributes",
        "FROM relationships WHERE person_id = :person_id ORDER BY object_type, object_id",
        person_id=found[0]["person_id"],
    )
    return found[0] | {
        "relationships": related,
        "devices": _devices(fetch, moment, found[0]["person_id"]) if format_ >= WITH_DEVICES else [],
        "anonymous_ids": _visitors(fetch, found[0]["person_id"]) if format_ >= WITH_VISITORS else [],
        "events": events(fetch, found[0]["person_id"], limit=SHOWN_EVENTS) if format_ >= WITH_EVENTS else [],
    }


def events(fetch: Fetch, person_id: int, *, limit: int, before: str = "") -> list[dict[str, Any]]:
    """The newest events of a person, newest first, or the newest of those older than the event of the id *before*."""
    at = "(SELECT occurred_at FROM events WHERE event_id = :before)"
    older = f"AND occurred_at <= {at} AND (occurred_at < {at} OR event_id < :before) " if before else ""
    return _rows(
        fetch,
        "event_id name kind occurred_at anonymous_id data",
        f"FROM events WHERE person_id = :person_id {older}ORDER BY occurred_at DESC, event_id DESC LIMIT {limit}",
        person_id=person_id,
        **({"before": before} if before else {}),
    )


def one_event(fetch: Fetch, name: str, known_by: str) -> dict[str, Any] | None:
    """One event of a name, by the last 16 signs of its id, with who did it."""
    found = _rows(
        fetch,
        "e.event_id e.kind e.occurred_at e.received_at e.data e.anonymous_id p.id p.email e.person_id",
        "FROM events AS e LEFT JOIN people AS p ON p.person_id = e.person_id "
        "WHERE e.name = :name AND substr(e.event_id, 11) = :known_by",
        name=name,
        known_by=known_by,
    )
    return found[0] if found else None


def _visitors(fetch: Fetch, person_id: int) -> list[str]:
    """Those who were claimed first come first."""
    query = "SELECT anonymous_id FROM visitors WHERE person_id = :person_id ORDER BY claimed_at, anonymous_id"
    return [visitor for (visitor,) in fetch(query, person_id=person_id)]


def _devices(fetch: Fetch, moment: str, person_id: int) -> list[dict[str, Any]]:
    """Those that were used last come first."""
    used = moment.format("last_used")
    rows = fetch(
        f"SELECT token, platform, {used}, CAST(attributes AS text) FROM devices WHERE person_id = :person_id "
        "ORDER BY last_used IS NULL, last_used DESC, token",
        person_id=person_id,
    )
    names = ("token", "platform", "last_used", "attributes")
    return [{name: _shown(name, value) for name, value in zip(names, row, strict=True)} for row in rows]


def people_with(
    fetch: Fetch, each_attribute: str, text: str, limit: int, *, names: Sequence[str]
) -> list[dict[str, Any]]:
    """The first people whose email or phone, or an attribute that is called some `name`, contains *text*, in any letter
    case; *names*: of the identifiers that people have.
    """
    for sign in "!%_":
        text = text.replace(sign, f"!{sign}")
    is_name = "lower(e.key) LIKE :name AND lower(CAST(e.value AS text)) LIKE :part ESCAPE '!'"
    called = f"SELECT min(CAST(e.value AS text)) FROM {each_attribute} AS e WHERE {is_name}"
    columns = ", ".join(f"p.{name}" for name in names)
    contains = " OR ".join(f"lower({name}) LIKE :part ESCAPE '!'" for name in names if name != PersonKey.ID)
    rows = fetch(
        f"SELECT * FROM (SELECT p.person_id, {columns}, ({called}) AS called FROM people AS p) AS found "
        f"WHERE {contains} OR called IS NOT NULL ORDER BY person_id LIMIT :most",
        name="%name%",
        part=f"%{text.lower()}%",
        most=limit,
    )
    return [dict(zip(("person_id", *names, "name"), row, strict=True)) for row in rows]


def one_object(fetch: Fetch, object_type: str, object_id: str, *, names: Sequence[str]) -> dict[str, Any] | None:
    """One object, how many people it is related to, and the first of them with these *names*."""
    key = {"type": object_type, "id": object_id}
    its = "object_type = :type AND object_id = :id"
    found = _rows(fetch, "object_type object_id attributes created_at updated_at", f"FROM objects WHERE {its}", **key)
    if not found:
        return None
    related = f"FROM relationships AS r JOIN people AS p USING (person_id) WHERE {its}"
    return found[0] | {
        "people_count": fetch(f"SELECT count(*) {related}", **key)[0][0],
        "people": _rows(
            fetch,
            f"person_id {' '.join(f'p.{name}' for name in names)} r.attributes",
            f"{related} ORDER BY person_id LIMIT {_RELATED_PEOPLE}",
            **key,
        ),
    }


def collection(fetch: Fetch, name: str, key: str) -> dict[str, Any] | None:
    """One collection with its first rows, or with the one row of *key*."""
    found = _rows(fetch, "updated_at", "FROM collections WHERE name = :name", name=name)
    its = "FROM collection_rows WHERE collection = :name"
    one, wanted = ("AND key = :key", {"name": name, "key": key}) if key else ("", {"name": name})
    rows = _rows(fetch, "key data", f"{its} {one} ORDER BY key LIMIT {_COLLECTION_ROWS}", **wanted)
    if not found or (key and not rows):
        return None
    count = fetch(f"SELECT count(*) {its}", name=name)[0][0]
    return {"collection": name, "row_count": count, "rows": rows} | found[0]


def _rows(fetch: Fetch, columns: str, rest: str, **values: str | int) -> list[dict[str, Any]]:
    """Rows by the names of their columns; JSON is parsed with every digit of its numbers, times are ISO-8601 text."""
    names = [column.rpartition(".")[2] for column in columns.split()]
    selected = (f"CAST({c} AS text)" if n in _JSON else c for c, n in zip(columns.split(), names, strict=True))
    return [
        {name: _shown(name, value) for name, value in zip(names, row, strict=True)}
        for row in fetch(f"SELECT {', '.join(selected)} {rest}", **values)
    ]


def _shown(name: str, value: Any) -> Any:
    if name in _JSON:
        return json_value(value)
    if name == "occurred_at" and isinstance(value, str):
        # SQLite compares its texts, and has them in one form.
        value = datetime.fromisoformat(value)
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
