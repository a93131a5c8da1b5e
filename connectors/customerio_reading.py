"""What Customer.io holds of one person, object or collection, read back through the App API; values come as text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from connectors import customerio_collections
from connectors.customerio_calls import Api
from connectors.customerio_collections import parsed
from syncer.interfaces import IDENTIFIERS
from syncer.types import Entity, PersonKey

_COLLECTION_ROWS = 20
_RELATED = 100
#: People that one call gives.
_PEOPLE = 100
_IDENTIFIERS = ("id", "email", "cio_id")


def person(api: Api, key: PersonKey, value: str) -> dict[str, Any] | None:
    """One person with the first of their relationships; None where there is none."""
    path, query = f"/v1/customers/{quote(value, safe='')}", {"id_type": str(key)}
    found = _member(parsed(api.call("GET", f"{path}/attributes", query=query)), "customer")
    if found is None:
        return None
    attributes = dict(found.get("attributes") or {})
    names = {name: attributes.pop(name, None) for name in _IDENTIFIERS}
    related = _member(parsed(api.call("GET", f"{path}/relationships", query=query)), "cio_relationships")
    return {
        "cio_id": names["cio_id"],
        "id": names["id"] or None,
        "email": names["email"] or None,
        "attributes": attributes,
        "relationships": [
            {"object_type_id": one.get("object_type_id"), "object_id": (one.get("identifiers") or {}).get("object_id")}
            for one in (related or [])[:_RELATED]
        ],
    }


def one_object(api: Api, object_type: str, type_number: str, object_id: str) -> dict[str, Any] | None:
    """One object with the first people related to it; None where there is none."""
    path = f"/v1/objects/{type_number}/{quote(object_id, safe='')}"
    found = _member(parsed(api.call("GET", f"{path}/attributes")), "object")
    if found is None:
        return None
    related = _member(parsed(api.call("GET", f"{path}/relationships")), "cio_relationships")
    return {
        "object_type": object_type,
        "object_type_id": type_number,
        "object_id": object_id,
        "attributes": found.get("attributes") or {},
        "people": [one.get("identifiers") for one in (related or [])[:_RELATED]],
    }


def collection(api: Api, label: str, name: str) -> dict[str, Any] | None:
    """One collection with its first rows; None where there is none."""
    number = customerio_collections.find(api, label, name)
    if number is None:
        return None
    path = f"{customerio_collections.PATH}/{number}"
    held = _member(parsed(api.call("GET", path)), "collection") or {}
    rows = parsed(api.call("GET", f"{path}/content"))
    updated_at = held.get("updated_at")
    return {
        "collection": name,
        "row_count": held.get("rows"),
        "rows": [{"data": row} for row in rows[:_COLLECTION_ROWS]] if isinstance(rows, list) else [],
        "updated_at": datetime.fromtimestamp(updated_at, UTC).isoformat() if isinstance(updated_at, int) else None,
    }


def identifiers_of_people(api: Api, key: PersonKey, keys: list[str]) -> pa.Table:
    """Every name of those of *keys* who exist, as IDENTIFIERS."""
    rows = [
        {"entity": str(Entity.PERSON), "kind": name, "value": str(attributes[name])}
        for first in range(0, len(keys), _PEOPLE)
        for attributes in _people(api, key, keys[first : first + _PEOPLE])
        for name in _IDENTIFIERS
        if attributes.get(name)
    ]
    return pa.Table.from_pylist(rows, schema=IDENTIFIERS)


def _people(api: Api, key: PersonKey, keys: list[str]) -> Iterator[dict[str, Any]]:
    told = parsed(
        api.call(
            "POST", "/v1/customers/attributes", content=json.dumps({"ids": keys}).encode(), query={"id_type": str(key)}
        )
    )
    for one in _member(told, "customers") or []:
        found = _member(one, "customer") or {}
        yield {**(found.get("attributes") or {}), **(found.get("identifiers") or {})}


def _member(told: Any, name: str) -> Any:
    return told.get(name) if isinstance(told, dict) else None
