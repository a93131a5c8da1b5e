"""What a store holds of one person, object or collection, as people and `syncer show` read it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from connectors.sql_store.staging import CIO_ID
from syncer.model.types import PersonKey

#: Runs one query, in which `:name` stands for a value, and returns its rows.
Fetch = Callable[..., list[tuple[Any, ...]]]

_RELATED_PEOPLE = 100
_COLLECTION_ROWS = 20


def person(fetch: Fetch, key: PersonKey, value: str) -> dict[str, Any] | None:
    """One person with their relationships; where an e-mail address is shared, the first who has it."""
    by_number = key is PersonKey.CIO_ID
    if by_number and not re.fullmatch(CIO_ID, value):
        return None
    found = fetch(
        "SELECT person_id, id, email, CAST(attributes AS text), created_at, updated_at FROM people "
        f"WHERE {'person_id' if by_number else key} = :value ORDER BY person_id LIMIT 1",
        value=int(value) if by_number else value,
    )
    if not found:
        return None
    person_id, id_, email, attributes, created_at, updated_at = found[0]
    related = fetch(
        "SELECT object_type, object_id, CAST(attributes AS text) FROM relationships "
        "WHERE person_id = :person_id ORDER BY object_type, object_id",
        person_id=person_id,
    )
    return {
        "person_id": person_id,
        "id": id_,
        "email": email,
        "attributes": _read(attributes),
        "relationships": [
            {"object_type": object_type, "object_id": object_id, "attributes": _read(text)}
            for object_type, object_id, text in related
        ],
        "created_at": _shown(created_at),
        "updated_at": _shown(updated_at),
    }


def one_object(fetch: Fetch, object_type: str, object_id: str) -> dict[str, Any] | None:
    """One object, how many people it is related to, and the first of them."""
    key = {"type": object_type, "id": object_id}
    found = fetch(
        "SELECT CAST(attributes AS text), created_at, updated_at FROM objects "
        "WHERE object_type = :type AND object_id = :id",
        **key,
    )
    if not found:
        return None
    attributes, created_at, updated_at = found[0]
    of_it = "FROM relationships AS r JOIN people AS p USING (person_id) WHERE object_type = :type AND object_id = :id"
    related = fetch(
        f"SELECT person_id, p.id, p.email, CAST(r.attributes AS text) {of_it} "
        f"ORDER BY person_id LIMIT {_RELATED_PEOPLE}",
        **key,
    )
    return {
        "object_type": object_type,
        "object_id": object_id,
        "attributes": _read(attributes),
        "people_count": fetch(f"SELECT count(*) {of_it}", **key)[0][0],
        "people": [
            {"person_id": person_id, "id": id_, "email": email, "attributes": _read(text)}
            for person_id, id_, email, text in related
        ],
        "created_at": _shown(created_at),
        "updated_at": _shown(updated_at),
    }


def collection(fetch: Fetch, name: str, key: str) -> dict[str, Any] | None:
    """One collection with its first rows, or with the one row of *key*."""
    found = fetch("SELECT updated_at FROM collections WHERE name = :name", name=name)
    in_it = "FROM collection_rows WHERE collection = :name"
    wanted = {"name": name, "key": key} if key else {"name": name}
    rows = fetch(
        f"SELECT key, CAST(data AS text) {in_it} {'AND key = :key' if key else ''} "
        f"ORDER BY key LIMIT {_COLLECTION_ROWS}",
        **wanted,
    )
    if not found or (key and not rows):
        return None
    return {
        "collection": name,
        "row_count": fetch(f"SELECT count(*) {in_it}", name=name)[0][0],
        "rows": [{"key": row_key, "data": _read(data)} for row_key, data in rows],
        "updated_at": _shown(found[0][0]),
    }


def _read(text: str) -> Any:
    """JSON with every digit of its numbers."""
    return json.loads(text, parse_float=Decimal)


def _shown(moment: datetime | str) -> str:
    return moment if isinstance(moment, str) else moment.astimezone(UTC).isoformat()
