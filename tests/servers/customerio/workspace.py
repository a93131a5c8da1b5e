"""What a workspace holds, and what operations make of it."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

import orjson

from tests.servers.customerio import events
from tests.servers.customerio.collections import Collections
from tests.servers.customerio.faults import Faults

#: Bytes.
ITEM_BYTES, BATCH_BYTES = 32_000, 500_000
ID_BYTES, NAME_BYTES, VALUE_BYTES, ATTRIBUTES = 150, 150, 1_000, 300
#: E.164.
_PHONE = re.compile("[+][1-9][0-9]{1,14}")
#: Of a device.
PLATFORMS = ("ios", "android")


class RefusedError(Exception):
    """An operation that is not taken."""

    def __init__(self, reason: str, field: str = "", message: str = "") -> None:
        super().__init__(reason)
        self.told = {"reason": reason, "field": field, "message": message}


@dataclass
class Person:
    cio_id: str
    attributes: dict[str, Any] = field(default_factory=dict)
    #: Attribute to the unix seconds that it is from.
    times: dict[str, int] = field(default_factory=dict)


@dataclass
class Workspace:
    """One workspace. A relationship makes the ends that are missing, and a device its person; an unset attribute is one
    that is not there. A device that somebody else adds is theirs alone from then on."""

    site_id: str
    api_key: str = "track-secret"
    app_api_key: str = "app-secret"
    cdp_api_key: str = "cdp-secret"
    #: For every API, where the workspace has one; and how the Track API takes it, `Bearer` or `Basic`.
    private_key: str = ""
    private_as: str = "Bearer"
    region: str = "us"
    #: Calls a second that the App API takes.
    app_rate: int = 10
    #: Identifiers that are unique, beside cio_id.
    unique: tuple[str, ...] = ("id",)
    object_types: tuple[str, ...] = ("1", "2")
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    #: cio_id, object type, object id.
    relationships: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    held_collections: Collections = field(default_factory=Collections)
    #: By token: `cio_id`, `platform`, `last_used` and `attributes`.
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: events.Events = field(default_factory=lambda: events.Events())
    faults: Faults = field(default_factory=Faults)
    #: Whether requests are checked against the vendor's definitions.
    checked: bool = True
    #: Every request: method and path, as they came.
    requests: list[tuple[str, str]] = field(default_factory=list)
    #: When each batch began to come, in seconds of the monotonic clock.
    arrivals: list[float] = field(default_factory=list)
    #: The body of every batch of the Track API, where they are to be kept.
    bodies: list[bytes] | None = None
    #: Bytes of every batch.
    batches: list[int] = field(default_factory=list)
    #: Operations of the Track API that were taken, in order: action and identifiers.
    taken: list[tuple[str, str]] = field(default_factory=list)
    #: Entities of which two operations were in flight at once.
    breaches: list[tuple[Any, ...]] = field(default_factory=list)
    message_ids: set[str] = field(default_factory=set)
    #: Identifiers of which nobody is made: kind and value.
    suppressed: set[tuple[str, str]] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _numbers: Any = field(default_factory=lambda: count(1))
    _people: dict[str, Person] = field(default_factory=dict)
    #: Who has a unique identifier: its kind and value.
    _named: dict[tuple[str, Any], Person] = field(default_factory=dict)

    @property
    def collections(self) -> dict[str, dict[str, Any]]:
        """By name, once all that is queued for them is done."""
        self.held_collections.work()
        return self.held_collections.held

    @property
    def people(self) -> list[Person]:
        """Everybody, in the order of their making."""
        return list(self._people.values())

    def person(self, **named: str) -> Person | None:
        """The person of this identifier."""
        ((kind, value),) = named.items()
        if kind == "cio_id":
            return self._people.get(value)
        if kind in self.unique:
            return self._named.get((kind, _folded(kind, value)))
        return next((p for p in self._people.values() if p.attributes.get(kind) == value), None)

    def attributes(self, id_: str) -> dict[str, Any]:
        """What a person has, without the identifier."""
        found = self.person(id=id_)
        assert found is not None
        return {name: value for name, value in found.attributes.items() if name != "id"}

    def take_of_visitor(self, body: dict[str, Any]) -> None:
        """Apply a call of the Track API about what a visitor did.

        Raises:
            RefusedError: it cannot be.
        """
        self._happen(events.of_visitor(body))

    def take(self, item: dict[str, Any]) -> None:
        """Apply one operation of the Track API.

        Raises:
            RefusedError: it cannot be.
        """
        kind, action = item["type"], item["action"]
        if kind == "person":
            {
                "identify": self._identify,
                "delete": self._delete_person,
                "suppress": self._suppress,
                "unsuppress": self._unsuppress,
                "merge": self._merge,
                "add_relationships": self._relate,
                "delete_relationships": self._unrelate,
                "add_device": self._add_device,
                "delete_device": self._delete_device,
                "event": self._happen,
                "page": self._happen,
                "screen": self._happen,
            }[action](item)
        elif kind == "object":
            self._object(item)
        else:
            raise RefusedError("invalid", "type")
        if action == "merge":
            self.taken.append((action, json.dumps([kind, item["primary"], item["secondary"]])))
            return
        related = [one["identifiers"] for one in item.get("cio_relationships", [])]
        related += [item["device"]["token"]] if "device" in item else []
        unsets = (item.get("attributes") or {}).get("_update", False)
        self.taken.append(("clear" if unsets else action, json.dumps([kind, item["identifiers"], *related])))

    def take_call(self, call: dict[str, Any]) -> None:
        """Apply one call of the Pipelines API; one that came before is not taken again."""
        if call.get("messageId") in self.message_ids:
            return
        self._take_new_call(call)
        self.message_ids.add(call["messageId"])

    def _take_new_call(self, call: dict[str, Any]) -> None:
        who = {"id": call.get("userId", "")}
        if call["type"] == "identify":
            visitor = {"anonymous_id": call["anonymousId"]} if "anonymousId" in call else {}
            self._identify({"identifiers": who, "attributes": call["traits"] | visitor})
        elif events.is_event(call):
            self._happen(events.as_operation(call))
        elif call.get("event") == "Device Created or Updated":
            device = call["context"]["device"]
            used = int(datetime.fromisoformat(call["timestamp"]).timestamp())
            given = {"token": device["token"], "platform": device["type"], "last_used": used}
            self._add_device({"identifiers": who, "device": given | {"attributes": call.get("properties") or {}}})
        elif call.get("event") == "Device Deleted":
            self._delete_device({"identifiers": who, "device": call["context"]["device"]})
        else:
            {
                "User Deleted": self._delete_person,
                "User Suppressed": self._suppress,
                "User Unsuppressed": self._unsuppress,
            }[call["event"]]({"identifiers": who})

    def _found(self, identifiers: dict[str, Any]) -> Person | None:
        ((kind, value),) = identifiers.items()
        if not value.strip():
            raise RefusedError("required", kind)
        if len(value.encode()) > ID_BYTES:
            raise RefusedError("too long", kind)
        if kind != "cio_id" and kind not in self.unique:
            raise RefusedError("not an identifier of this workspace", kind)
        if kind == "phone" and not _PHONE.fullmatch(value):
            raise RefusedError("invalid", kind)
        return self.person(**{kind: value})

    def _made(self, identifiers: dict[str, Any]) -> Person:
        ((kind, value),) = identifiers.items()
        person = Person(cio_id=f"{next(self._numbers):08x}")
        self._people[person.cio_id] = person
        self._name(person, kind, _folded(kind, value))
        return person

    def _name(self, person: Person, kind: str, value: Any) -> None:
        """Give a person a unique identifier, or take it."""
        self._named.pop((kind, person.attributes.get(kind)), None)
        _set(person.attributes, kind, value)
        if kind in person.attributes:
            self._named[kind, value] = person

    def _identify(self, item: dict[str, Any]) -> None:
        given = dict(item.get("attributes") or {})
        only_known, visitor = given.pop("_update", False), given.pop("anonymous_id", "")
        _check(given)
        if self._is_suppressed(item):
            return
        person = self._found(item["identifiers"])
        if person is None:
            named = [self.person(**{name: given[name]}) for name in self.unique if given.get(name)]
            person = next((other for other in named if other is not None), None)
            if person is not None:
                ((kind, value),) = item["identifiers"].items()
                self._name(person, kind, value)
        if person is None:
            if only_known or "cio_id" in item["identifiers"]:
                return
            person = self._made(item["identifiers"])
        if visitor:
            self.events.claim(visitor, person.cio_id, now=time.time())
        self._set_attributes(person, given, item.get("timestamp", 0))

    def _set_attributes(self, person: Person, given: dict[str, Any], moment: int) -> None:
        for name, value in given.items():
            if moment < person.times.get(name, 0):
                continue
            if name not in self.unique:
                _set(person.attributes, name, value)
            # Taken all the same; the failure only shows in the activity log.
            elif value is None or self._may_have(person, name, value):
                self._name(person, name, value if value is None else _folded(name, value))
            else:
                continue
            person.times[name] = moment

    def _may_have(self, person: Person, name: str, value: str) -> bool:
        is_one = name != "phone" or _PHONE.fullmatch(value) is not None
        return is_one and self.person(**{name: value}) in (None, person)

    def _delete_person(self, item: dict[str, Any]) -> None:
        person = self._found(item["identifiers"])
        if person is not None:
            del self._people[person.cio_id]
            for kind in self.unique:
                self._named.pop((kind, person.attributes.get(kind)), None)
            for key in [key for key in self.relationships if key[0] == person.cio_id]:
                del self.relationships[key]
            for token in [token for token, held in self.devices.items() if held["cio_id"] == person.cio_id]:
                del self.devices[token]
            self.events.move(person.cio_id, "")

    def _add_device(self, item: dict[str, Any]) -> None:
        device = item["device"]
        token, given = device["token"], device.get("attributes") or {}
        if not token.strip() or _is_longer(token, VALUE_BYTES) or device["platform"] not in PLATFORMS:
            raise RefusedError("invalid", "device")
        _check(given)
        person = self._found(item["identifiers"])
        if person is None:
            if "cio_id" in item["identifiers"]:
                return
            person = self._made(item["identifiers"])
        held = self.devices.get(token)
        if held is None or held["cio_id"] != person.cio_id:
            held = self.devices[token] = {"cio_id": person.cio_id, "attributes": {}}
        held |= {"platform": device["platform"], "last_used": device.get("last_used", int(time.time()))}
        for name, value in given.items():
            _set(held["attributes"], name, value)

    def _delete_device(self, item: dict[str, Any]) -> None:
        person, token = self._found(item["identifiers"]), item["device"]["token"]
        if person is not None and self.devices.get(token, {}).get("cio_id") == person.cio_id:
            del self.devices[token]

    def _happen(self, item: dict[str, Any]) -> None:
        """An event; one of somebody unknown makes them."""
        if wrong := events.fault(item):
            raise RefusedError("invalid", wrong)
        if "anonymous_id" in item:
            self.events.add(item, "", item["anonymous_id"])
            return
        if self._is_suppressed(item):
            return
        person = self._found(item["identifiers"])
        if person is None:
            if "cio_id" in item["identifiers"]:
                return
            person = self._made(item["identifiers"])
        self.events.add(item, person.cio_id)

    def _merge(self, item: dict[str, Any]) -> None:
        """Nothing happens where one of the two is not there."""
        primary, secondary = self._found(item["primary"]), self._found(item["secondary"])
        if primary is None or secondary is None or primary is secondary:
            return
        inherited = {name: value for name, value in secondary.attributes.items() if name not in primary.attributes}
        links = {key[1:]: held for key, held in self.relationships.items() if key[0] == secondary.cio_id}
        for held in self.devices.values():
            if held["cio_id"] == secondary.cio_id:
                held["cio_id"] = primary.cio_id
        self.events.move(secondary.cio_id, primary.cio_id)
        self._delete_person({"identifiers": {"cio_id": secondary.cio_id}})
        for name, value in inherited.items():
            if name in self.unique:
                self._name(primary, name, value)
            else:
                primary.attributes[name] = value
        for key, held in links.items():
            self.relationships.setdefault((primary.cio_id, *key), held)

    def _suppress(self, item: dict[str, Any]) -> None:
        person = self._found(item["identifiers"])
        names = dict(item["identifiers"]) if person is None else {}
        if person is not None:
            names = {kind: person.attributes[kind] for kind in self.unique if kind in person.attributes}
        self.suppressed |= {(kind, _folded(kind, value)) for kind, value in names.items()}
        self._delete_person(item)

    def _unsuppress(self, item: dict[str, Any]) -> None:
        self._found(item["identifiers"])
        self.suppressed -= {(kind, _folded(kind, value)) for kind, value in item["identifiers"].items()}

    def _object_key(self, identifiers: dict[str, Any]) -> tuple[str, str]:
        key = identifiers["object_type_id"], identifiers["object_id"]
        if key[0] not in self.object_types:
            raise RefusedError("not found", "object_type_id")
        if not key[1].strip() or len(key[1].encode()) > ID_BYTES:
            raise RefusedError("invalid", "object_id")
        return key

    def _object(self, item: dict[str, Any]) -> None:
        key = self._object_key(item["identifiers"])
        if item["action"] == "delete":
            self.objects.pop(key, None)
            for related in [related for related in self.relationships if related[1:] == key]:
                del self.relationships[related]
            return
        given = item.get("attributes") or {}
        _check(given)
        held = self.objects.setdefault(key, {})
        for name, value in given.items():
            _set(held, name, value)

    def _is_suppressed(self, item: dict[str, Any]) -> bool:
        """Whether nobody may have the identifier: the operation is taken, and does nothing."""
        return any((kind, _folded(kind, value)) in self.suppressed for kind, value in item["identifiers"].items())

    def _relate(self, item: dict[str, Any]) -> None:
        if self._is_suppressed(item):
            return
        person = self._found(item["identifiers"]) or self._made(item["identifiers"])
        for one in item["cio_relationships"]:
            key = self._object_key(one["identifiers"])
            given = one.get("relationship_attributes") or {}
            _check(given)
            self.objects.setdefault(key, {})
            held = self.relationships.setdefault((person.cio_id, *key), {})
            for name, value in given.items():
                _set(held, name, value)

    def _unrelate(self, item: dict[str, Any]) -> None:
        person = self._found(item["identifiers"])
        if person is not None:
            for one in item["cio_relationships"]:
                self.relationships.pop((person.cio_id, *self._object_key(one["identifiers"])), None)


def _set(held: dict[str, Any], name: str, value: Any) -> None:
    if value is None or value == "":
        held.pop(name, None)
    else:
        held[name] = value


def _folded(kind: str, value: str) -> str:
    return value.lower() if kind == "email" else value


def _check(given: dict[str, Any]) -> None:
    if len(given) > ATTRIBUTES:
        raise RefusedError("too many", "attributes")
    for name, value in given.items():
        if _is_longer(name, NAME_BYTES):
            raise RefusedError("too long", "attribute name")
        if _is_longer(value if isinstance(value, str) else orjson.dumps(value).decode(), VALUE_BYTES):
            raise RefusedError("too long", "attribute value")


def _is_longer(text: str, limit: int) -> bool:
    # A character is four bytes at most.
    return len(text) > limit // 4 and len(text.encode()) > limit
