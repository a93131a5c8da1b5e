"""What people of a workspace did: each event once, by its id."""

from __future__ import annotations

import json
import re
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


class Events:
    """Events by id: `cio_id` (empty once the person is deleted), `name`, `kind`, `timestamp` (unix seconds), `data`."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.held: dict[str, dict[str, Any]] = {}

    def of(self, cio_id: str) -> list[dict[str, Any]]:
        """What a person did, in the order in which it came, with the `id` of each event."""
        return [{"id": id_, **held} for id_, held in self.held.items() if held["cio_id"] == cio_id]

    def add(self, item: dict[str, Any], cio_id: str) -> None:
        """Keep an event, unless one of its id was there before, even of somebody who is deleted."""
        told = {"name": item["name"], "kind": item["action"], "timestamp": item["timestamp"]}
        self.held.setdefault(item["id"], {"cio_id": cio_id, **told, "data": item.get("attributes") or {}})

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
    return {
        "action": "event" if is_custom else call["type"],
        "identifiers": {"id": call["userId"]},
        "name": call["event" if is_custom else "name"],
        "id": call["messageId"],
        "timestamp": int(datetime.fromisoformat(call["timestamp"]).timestamp()),
        "attributes": call.get("properties"),
    }


def fault(item: dict[str, Any]) -> str:
    """The member that makes an event one that is not taken; empty if none does."""
    if not _ULID.fullmatch(item["id"]):
        return "id"
    if not item["name"].strip() or len(item["name"].encode()) > _NAME_BYTES:
        return "name"
    return "attributes" if len(json.dumps(item.get("attributes"), ensure_ascii=False).encode()) > _DATA_BYTES else ""
