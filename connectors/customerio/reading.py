"""What Customer.io holds of one person, object or collection, read back through the App API; values come as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

import pyarrow as pa

from connectors.customerio import collections
from connectors.customerio.calls import Api
from connectors.customerio.collections import parsed
from syncer.model.errors import StoreError
from syncer.model.protocols import IDENTIFIERS
from syncer.model.types import Entity, PersonKey

_COLLECTION_ROWS = 20
_RELATED = 100
#: People that one call gives.
_PEOPLE = 100
_IDENTIFIERS = ("id", "email", "cio_id")


def person(api: Api, key: PersonKey, value: str) -> dict[str, Any] | None:
    """One person with the first of their relationships; None where there is none."""
    path, query = f"/v1/customers/{quote(value, safe='')}", {"id_type": str(key)}
    found = _member(api, _told(api, f"{path}/attributes", query), "customer", dict)
    if found is None:
        return None
    attributes = dict(_member(api, found, "attributes", dict) or {})
    names = {name: attributes.pop(name, None) for name in _IDENTIFIERS}
    return {
        "cio_id": names["cio_id"],
        "id": names["id"] or None,
        "email": names["email"] or None,
        "attributes": attributes,
        "relationships": [
            {
                "object_type_id": one.get("object_type_id"),
                "object_id": (_member(api, one, "identifiers", dict) or {}).get("object_id"),
            }
            for one in _related(api, f"{path}/relationships", query)
        ],
    }


def one_object(api: Api, object_type: str, type_number: str, object_id: str) -> dict[str, Any] | None:
    """One object with the first people related to it; None where there is none."""
    path = f"/v1/objects/{type_number}/{quote(object_id, safe='')}"
    found = _member(api, _told(api, f"{path}/attributes"), "object", dict)
    if found is None:
        return None
    return {
        "object_type": object_type,
        "object_type_id": type_number,
        "object_id": object_id,
        "attributes": _member(api, found, "attributes", dict) or {},
        "people": [one.get("identifiers") for one in _related(api, f"{path}/relationships")],
    }


def collection(api: Api, label: str, name: str) -> dict[str, Any] | None:
    """One collection with its first rows; None where there is none."""
    number = collections.find(api, label, name)
    if number is None:
        return None
    path = f"{collections.PATH}/{number}"
    held = _member(api, _told(api, path), "collection", dict) or {}
    rows = _told(api, f"{path}/content")
    return {
        "collection": name,
        "row_count": held.get("rows"),
        "rows": [{"data": row} for row in rows[:_COLLECTION_ROWS]] if isinstance(rows, list) else [],
        "updated_at": _time(held.get("updated_at")),
    }


def identifiers_of_people(api: Api, key: PersonKey, keys: list[str]) -> pa.Table:
    """Every name of those of *keys* who exist, as IDENTIFIERS."""
    rows = [
        {"entity": str(Entity.PERSON), "kind": name, "value": str(names[name]).encode(errors="replace").decode()}
        for first in range(0, len(keys), _PEOPLE)
        for names in _people(api, key, keys[first : first + _PEOPLE])
        for name in _IDENTIFIERS
        if names.get(name)
    ]
    return pa.Table.from_pylist(rows, schema=IDENTIFIERS)


def _people(api: Api, key: PersonKey, keys: list[str]) -> Iterator[dict[str, Any]]:
    body = json.dumps({"ids": keys}).encode()
    told = parsed(api.call("POST", "/v1/customers/attributes", content=body, query={"id_type": str(key)}))
    for one in _member(api, told, "customers", list) or []:
        found = _member(api, one, "customer", dict)
        for part in ("attributes", "identifiers"):
            _member(api, found, part, dict)
        if found is not None:
            yield {**(found.get("attributes") or {}), **(found.get("identifiers") or {})}


def _related(api: Api, path: str, query: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    related = (_member(api, _told(api, path, query), "cio_relationships", list) or [])[:_RELATED]
    if not all(isinstance(one, dict) for one in related):
        raise _another_shape(api)
    return related


def _told(api: Api, path: str, query: Mapping[str, str] | None = None) -> Any:
    return parsed(api.call("GET", path, query=query))


_Part = TypeVar("_Part", dict[str, Any], list[Any])


def _member(api: Api, told: Any, name: str, kind: type[_Part]) -> _Part | None:
    """A part of what was told; None where it is not there."""
    if told is None:
        return None
    part = told.get(name) if isinstance(told, dict) else told
    if isinstance(told, dict) and (part is None or isinstance(part, kind)):
        return part
    raise _another_shape(api)


def _another_shape(api: Api) -> StoreError:
    return StoreError(
        f"{api.label}: what Customer.io's App API answers has another shape than is described",
        hint="Is the store's APP_URL the address of the App API? Otherwise tell the makers of Syncer.",
    )


def _time(seconds: Any) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return None
