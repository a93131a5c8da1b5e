"""What Customer.io has of one person, object or collection, read back through the App API; values are text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar, assert_never
from urllib.parse import quote

import pyarrow as pa

from connectors.customerio import collections
from connectors.customerio.connection import Answer, Api
from syncer.model.errors import StoreError
from syncer.model.json_text import json_text
from syncer.model.protocols import IDENTIFIERS
from syncer.model.types import Entity, Identity, PersonKey, Target

_COLLECTION_ROWS = 20
_RELATED = 100
#: People that one call gives.
_PEOPLE = 100
_IDENTIFIERS = tuple(PersonKey)


def person(api: Api, key: PersonKey, value: str, identity: Identity) -> dict[str, Any] | None:
    """One person with the first of their relationships, and their devices; None if it does not exist."""
    path, query = f"/v1/customers/{quote(value, safe='')}", {"id_type": str(key)}
    found = _member(api, _one(api, f"{path}/attributes", "customer", query), "customer", dict)
    if found is None:
        return None
    attributes = dict(_member(api, found, "attributes", dict) or {})
    names = {str(name): attributes.pop(name, None) or None for name in (PersonKey.CIO_ID, *identity.names)}
    return names | {
        "attributes": attributes,
        "relationships": [
            {
                "object_type_id": one.get("object_type_id"),
                "object_id": (_member(api, one, "identifiers", dict) or {}).get("object_id"),
            }
            for one in _related(api, f"{path}/relationships", query)
        ],
        "devices": _devices(api, found),
    }


def _devices(api: Api, customer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The devices in an answer about a person."""
    listed = _member(api, customer, "devices", list) or []
    if not all(isinstance(one, dict) for one in listed):
        raise _unexpected(api)
    return [
        {
            "token": one.get("id"),
            "platform": one.get("platform"),
            "last_used": one.get("last_used"),
            "attributes": _member(api, one, "attributes", dict) or {},
        }
        for one in listed
    ]


def one_object(api: Api, object_type: str, type_number: str, object_id: str) -> dict[str, Any] | None:
    """One object with the first people related to it; None if it does not exist."""
    path = f"/v1/objects/{type_number}/{quote(object_id, safe='')}"
    found = _member(api, _one(api, f"{path}/attributes", "object"), "object", dict)
    if found is None:
        return None
    return {
        "object_type": object_type,
        "object_type_id": type_number,
        "object_id": object_id,
        "attributes": _member(api, found, "attributes", dict) or {},
        "people": [one.get("identifiers") for one in _related(api, f"{path}/relationships")],
    }


def collection(api: Api, name: str) -> dict[str, Any] | None:
    """One collection with its first rows; None if it does not exist."""
    number = collections.find(api, name)
    if number is None:
        return None
    stored = _member(api, _one(api, f"{collections.PATH}/{number}", "collection"), "collection", dict) or {}
    return {
        "collection": name,
        "row_count": stored.get("rows"),
        "rows": [{"data": row} for row in _content(api, number)[:_COLLECTION_ROWS]],
        "updated_at": _time(stored.get("updated_at")),
    }


def contained(api: Api, target: Target, type_number: str, keys: pa.Table, identity: Identity) -> Iterator[pa.Table]:
    """See `ReadsBack.contained`; of a relationship no attributes, and of a collection every row."""
    match target.entity:
        case Entity.PERSON:
            ids = keys["k1"].to_pylist()
            for first in range(0, len(ids), _PEOPLE):
                part = ids[first : first + _PEOPLE]
                people = _people(api, target.person, part)
                yield _texts([_read_person(one, identity) for one in people])
        case Entity.OBJECT:
            for object_id in keys["k1"].to_pylist():
                path = f"/v1/objects/{type_number}/{quote(object_id, safe='')}"
                found = _member(api, _one(api, f"{path}/attributes", "object"), "object", dict)
                if found is not None:
                    attributes = json_text(_member(api, found, "attributes", dict) or {})
                    yield _texts([{"object_id": object_id, "attributes": attributes}])
        case Entity.RELATIONSHIP | Entity.DEVICE:
            for person_id in dict.fromkeys(keys["k1"].to_pylist()):
                yield _texts(_read_links(api, target, type_number, person_id))
        case Entity.COLLECTION:
            yield _texts([{"attributes": json_text(row)} for row in _rows_of_collection(api, str(target.collection))])
        case Entity.MERGE | Entity.EVENT:
            raise ValueError("neither who was merged nor an event is read back")
        case _:
            assert_never(target.entity)


def _rows_of_collection(api: Api, name: str) -> list[dict[str, Any]]:
    number = collections.find(api, name)
    return [] if number is None else _content(api, number)


def _content(api: Api, number: int) -> list[dict[str, Any]]:
    """The rows of a collection, every digit of their numbers included."""
    answer = api.call("GET", f"{collections.PATH}/{number}/content")
    if answer.status == HTTPStatus.NOT_FOUND:
        return []
    rows = _answered(api, answer).json(exact=True)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _unexpected(api)
    return rows


def _one(api: Api, path: str, member: str, query: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """The answer about one thing, which has *member*; None if that does not exist."""
    answer = api.call("GET", path, query=query)
    return None if answer.status == HTTPStatus.NOT_FOUND else _having(api, answer, member)


def _having(api: Api, answer: Answer, member: str) -> dict[str, Any]:
    content = _answered(api, answer).json()
    if not isinstance(content, dict) or member not in content:
        raise _unexpected(api)
    return content


def _answered(api: Api, answer: Answer) -> Answer:
    """*answer*; a refusal does not mean that something does not exist."""
    if not answer.ok:
        raise StoreError(
            f"{api.label}: Customer.io refuses to be read back, with status {answer.status}",
            hint="Check what the App API key may read, and that the workspace lets people be looked up by this "
            "identifier, such as an email.",
        )
    return answer


#: What `contained` gives.
_CONTAINED = pa.schema(
    [
        (name, pa.string())
        for name in (*_IDENTIFIERS, "object_id", "key", "token", "platform", "last_used", "attributes")
    ]
)


def _texts(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=_CONTAINED)


def _read_person(found: dict[str, Any], identity: Identity) -> dict[str, Any]:
    names = {str(name): found.get(name) or None for name in (PersonKey.CIO_ID, *identity.names)}
    return names | {"attributes": json_text({n: value for n, value in found.items() if n not in names})}


def _read_links(api: Api, target: Target, type_number: str, value: str) -> list[dict[str, Any]]:
    if target.entity.traits.names_device:
        return _read_devices(api, target.person, value)
    return _read_relationships(api, target.person, type_number, value)


def _read_relationships(api: Api, key: PersonKey, type_number: str, value: str) -> list[dict[str, Any]]:
    path, start, found = f"/v1/customers/{quote(value, safe='')}/relationships", "", []
    while True:
        query = {"id_type": str(key)} | ({"start": start} if start else {})
        content = _one(api, path, "cio_relationships", query)
        related = _member(api, content, "cio_relationships", list) or []
        if not all(isinstance(one, dict) for one in related):
            raise _unexpected(api)
        found += [
            {str(key): value, "object_id": (_member(api, one, "identifiers", dict) or {}).get("object_id")}
            for one in related
            if str(one.get("object_type_id")) == type_number
        ]
        following = content.get("next") if content else ""
        if not following or following == start:
            return found
        start = str(following)


def _read_devices(api: Api, key: PersonKey, value: str) -> list[dict[str, Any]]:
    path, query = f"/v1/customers/{quote(value, safe='')}/attributes", {"id_type": str(key)}
    found = _member(api, _one(api, path, "customer", query), "customer", dict)
    return [
        {
            str(key): value,
            **one,
            "last_used": None if one["last_used"] is None else str(one["last_used"]),
            "attributes": json_text(one["attributes"]),
        }
        for one in (_devices(api, found) if found else [])
    ]


def identifiers_of_people(api: Api, key: PersonKey, keys: list[str], identity: Identity) -> pa.Table:
    """Every name of those of *keys* who exist, as IDENTIFIERS."""
    rows = [
        {"entity": str(Entity.PERSON), "kind": str(name), "value": str(names[name]).encode(errors="replace").decode()}
        for first in range(0, len(keys), _PEOPLE)
        for names in _people(api, key, keys[first : first + _PEOPLE])
        for name in (PersonKey.CIO_ID, *identity.names)
        if names.get(name)
    ]
    return pa.Table.from_pylist(rows, schema=IDENTIFIERS)


def _people(api: Api, key: PersonKey, keys: list[str]) -> Iterator[dict[str, Any]]:
    body = json.dumps({"ids": keys}).encode()
    answer = api.call("POST", "/v1/customers/attributes", content=body, query={"id_type": str(key)})
    content = _having(api, answer, "customers")
    for one in _member(api, content, "customers", list) or []:
        found = _member(api, one, "customer", dict)
        for part in ("attributes", "identifiers"):
            _member(api, found, part, dict)
        if found is not None:
            yield {**(found.get("attributes") or {}), **(found.get("identifiers") or {})}


def _related(api: Api, path: str, query: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    content = _one(api, path, "cio_relationships", query)
    related = (_member(api, content, "cio_relationships", list) or [])[:_RELATED]
    if not all(isinstance(one, dict) for one in related):
        raise _unexpected(api)
    return related


_Part = TypeVar("_Part", dict[str, Any], list[Any])


def _member(api: Api, content: Any, name: str, kind: type[_Part]) -> _Part | None:
    """A part of *content*, which may lack it; None without *content*."""
    if content is None:
        return None
    part = content.get(name) if isinstance(content, dict) else content
    if isinstance(content, dict) and (part is None or isinstance(part, kind)):
        return part
    raise _unexpected(api)


def _unexpected(api: Api) -> StoreError:
    return StoreError(
        f"{api.label}: an answer of Customer.io's App API does not have the documented form",
        hint="Is the store's APP_URL the address of the App API? If it is, report this to the makers of Syncer.",
    )


def _time(seconds: Any) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return None
