"""What people of a workspace did: each event once, by its id."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from typing import Any

#: Events of the Pipelines API that are orders.
ORDERS = (
    "Device Created or Updated",
    "Device Deleted",
    "User Deleted",
    "User Suppressed",
    "User Unsuppressed",
)

_NAME_BYTES, _DATA_BYTES = 100, 100_000
_ULID = re.compile("[0-7][0-9A-HJKMNP-TV-Z]{25}")


#: Unix seconds that an event waits for somebody to claim its visitor, and for which one that comes later still counts.
KEPT, COMES_LATE = 30 * 86_400, 300


class Events:
    """Events by id: `cio_id` (empty for nobody), `anonymous_id`, `name`, `kind`, `timestamp` (unix seconds), `data`."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.held: dict[str, dict[str, Any]] = {}
        #: By visitor, who claimed them, and when in unix seconds.
        self.claims: dict[str, tuple[str, float]] = {}

    def of(self, cio_id: str) -> list[dict[str, Any]]:
        """What a person did, in the order in which it came, with the `id` of each event."""
        return [{"id": id_, **held} for id_, held in self.held.items() if held["cio_id"] == cio_id]

    def add(self, item: dict[str, Any], cio_id: str, anonymous_id: str = "") -> None:
        """Keep an event, unless one of its id was there before, even of somebody who is deleted.

        One of a visitor is whose who claimed them, if that was not long ago.
        """
        told = {"name": item["name"], "kind": item["action"], "timestamp": item["timestamp"]}
        claimed = self.claims.get(anonymous_id)
        if claimed and time.time() - claimed[1] <= COMES_LATE:
            cio_id = claimed[0]
        whose = {"cio_id": cio_id, "anonymous_id": anonymous_id}
        self.held.setdefault(item["id"], {**whose, **told, "data": item.get("attributes") or {}})

    def claim(self, anonymous_id: str, cio_id: str, *, now: float) -> None:
        """Give a person what a visitor did of late, unless somebody had the visitor before."""
        if self.claims.setdefault(anonymous_id, (cio_id, now))[0] != cio_id:
            return
        for held in self.held.values():
            is_theirs = held["anonymous_id"] == anonymous_id and not held["cio_id"]
            if is_theirs and now - held["timestamp"] <= KEPT:
                held["cio_id"] = cio_id

    def move(self, cio_id: str, to: str) -> None:
        """Give what one person did to another one; with an empty one, only its ids stay known."""
        for held in self.held.values():
            if held["cio_id"] == cio_id:
                held["cio_id"] = to


def is_event(call: dict[str, Any]) -> bool:
    """Whether a call of the Pipelines API says what happened, and orders nothing."""
    return call["type"] in ("page", "screen") or (call["type"] == "track" and call["event"] not in ORDERS)


def as_operation(call: dict[str, Any]) -> dict[str, Any]:
    """The operation of the Track API that says the same as a call of the Pipelines API about what happened."""
    is_custom = call["type"] == "track"
    who = {"identifiers": {"id": call["userId"]}} if "userId" in call else {"anonymous_id": call["anonymousId"]}
    return {
        **who,
        "action": "event" if is_custom else call["type"],
        "name": call["event" if is_custom else "name"],
        "id": call["messageId"],
        "timestamp": int(datetime.fromisoformat(call["timestamp"]).timestamp()),
        "attributes": call.get("properties"),
    }


def of_visitor(body: dict[str, Any]) -> dict[str, Any]:
    """The operation that says the same as the body of a call about a visitor."""
    own = {name: body[name] for name in ("anonymous_id", "id", "name", "timestamp")}
    return {**own, "action": body["type"], "attributes": body["data"]}


def fault(item: dict[str, Any]) -> str:
    """The member that makes an event one that is not taken; empty if none does."""
    if not _ULID.fullmatch(item["id"]):
        return "id"
    if not item["name"].strip() or len(item["name"].encode()) > _NAME_BYTES:
        return "name"
    return "attributes" if len(json.dumps(item.get("attributes"), ensure_ascii=False).encode()) > _DATA_BYTES else ""
