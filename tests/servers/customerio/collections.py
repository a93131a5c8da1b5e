"""The App API's collections: replaced as a whole, and in newer workspaces written row by row.

No published definition of the App API lies beside this repository: what is here is by the pages that
`connectors.customerio.keyed_writes` names, and careful where they say nothing.
"""

from __future__ import annotations

import enum
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

ROW_BYTES, COLLECTION_BYTES, KEY_BYTES = 10_000, 10_000_000, 1_024
_OF_A_COLLECTION = frozenset({"name", "data"})
_FIELDS = ("key_field", "delete_field")


class Keyed(enum.Enum):
    """Which writes by key a workspace has."""

    NONE = enum.auto()
    #: A row that sets the collection's `delete_field` deletes.
    FIELDS = enum.auto()
    #: A write has a `mode`.
    MODES = enum.auto()


@dataclass
class Write:
    """A write in the queue, or ended."""

    id: str
    body: dict[str, Any]
    #: Look-ups until it is applied.
    looks: int
    ended: dict[str, Any] | None = None


@dataclass
class Collections:
    """The collections of one workspace, by name: `id`, `name`, `data`, and the fields of newer workspaces."""

    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    keyed: Keyed = Keyed.FIELDS
    #: Whether the description of a collection has its fields.
    tells_fields: bool = True
    #: What the look-up calls a write that was applied, and one that was not yet.
    taken, queued = "applied", "queued"
    #: Look-ups of a write that find it in the queue.
    looks: int = 0
    #: What the look-up answers to everything, where it is told to.
    told: Any = None
    #: Whether a replacement of the whole does not wait for what is queued.
    overtakes: bool = False
    #: Whether a write is known to the look-up.
    remembers: bool = True
    #: The code of a row that is not taken, or an empty text.
    refuses: Callable[[dict[str, Any]], str] = lambda row: ""
    #: The body of every write that was queued.
    writes: list[dict[str, Any]] = field(default_factory=list)
    _queues: dict[int, deque[Write]] = field(default_factory=dict)
    _writes: dict[tuple[int, str], Write] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: count(1))

    def replace(self, name: str, rows: list[Any], number: int | None = None, **fields: Any) -> dict[str, Any]:
        """Make or replace a collection, after all that is queued for it unless that is overtaken."""
        if number is None:
            number = next(self._numbers)
        if not self.overtakes:
            self.work(number)
        before = next((one for one in self.held.values() if one["id"] == number), {})
        kept = {name: before.get(name) for name in _FIELDS}
        self.held[name] = {"id": number, "name": name, "data": rows, **kept, **fields}
        return self.held[name]

    def work(self, number: int | None = None, until: Write | None = None) -> None:
        """Apply what is queued, in its order."""
        for queue in [self._queues.get(number, deque())] if number is not None else list(self._queues.values()):
            while queue:
                write = queue.popleft()
                self._apply(write)
                if write is until:
                    return

    def _apply(self, write: Write) -> None:
        held = next(one for one in self.held.values() if one["id"] == write.body["collection"])
        rows, mode = write.body["data"], write.body.get("mode", "upsert") if self.keyed is Keyed.MODES else "upsert"
        if mode == "replace":
            held["key_field"] = write.body.get("key_field", held["key_field"])
        key = held["key_field"]
        saved = {} if mode == "replace" else {row[key]: row for row in held["data"]}
        if errors := self._errors(rows, key, saved, mode):
            write.ended = {"state": "failed", "code": "items", "items": errors, "message": json.dumps(errors)}
            return
        for row in rows:
            marks = self.keyed is Keyed.FIELDS and held["delete_field"] is not None
            if mode == "delete" or (marks and row.get(held["delete_field"]) is True):
                saved.pop(row[key], None)
            else:
                saved[row[key]] = row
        if _bytes(list(saved.values())) > COLLECTION_BYTES:
            write.ended = {"state": "failed", "code": "collection-too-large", "message": "too large"}
            return
        held["data"] = sorted(saved.values(), key=lambda row: str(row[key]))
        write.ended = {"state": self.taken}

    def _errors(self, rows: list[Any], key: str, saved: dict[Any, Any], mode: str) -> list[dict[str, Any]]:
        seen: set[Any] = set()
        errors = []
        for place, row in enumerate(rows):
            value = row.get(key)
            code = self.refuses(row) or _key_fault(value)
            if not code and value in seen:
                code = "duplicate-key"
            elif not code and mode == "add" and value in saved:
                code = "key-already-exists"
            elif not code and _bytes(row) > ROW_BYTES:
                code = "row-too-large"
            if code:
                errors.append({"code": code, "index": place, "key": value})
            else:
                seen.add(value)
        return errors

    # Over HTTP

    async def listing(self, request: Request) -> Response:
        return JSONResponse({"collections": [self._described(held) for held in self.held.values()]})

    async def one(self, request: Request) -> Response:
        held = self._of(request)
        return JSONResponse({"collection": self._described(held)}) if held else JSONResponse({}, 404)

    async def content(self, request: Request) -> Response:
        self.work()
        held = self._of(request)
        return JSONResponse(held["data"]) if held else JSONResponse({}, 404)

    async def put(self, request: Request) -> Response:
        body, held = await request.json(), self._of(request)
        if self.keyed is Keyed.NONE and body.keys() - _OF_A_COLLECTION:
            return _bad("unknown members", 400)
        if any(_bytes(row) > ROW_BYTES for row in body["data"]) or _bytes(body["data"]) > COLLECTION_BYTES:
            return _bad("too large", 422)
        # The other version sets the key by a write.
        fields = {name: body[name] for name in _FIELDS if name in body} if self.keyed is Keyed.FIELDS else {}
        key = fields["key_field"] if "key_field" in fields else (held or {}).get("key_field")
        if key is not None and self._errors(body["data"], key, {}, "upsert"):
            return _bad("rows without a key of their own", 422)
        made = self.replace(body["name"], body["data"], held["id"] if held else None, **fields)
        return JSONResponse({"collection": self._described(made)}, 200 if held else 201)

    async def submit(self, request: Request) -> Response:
        held = self._of(request)
        if self.keyed is Keyed.NONE or held is None:
            return JSONResponse({}, 404)
        body = await request.json()
        if not isinstance(body.get("data"), list):
            return _bad("`data` is required", 422)
        if self.keyed is Keyed.MODES and body.get("mode") not in ("replace", "add", "upsert", "update", "delete"):
            return _bad("`mode` is required", 422)
        replaces = self.keyed is Keyed.MODES and body["mode"] == "replace"
        if held["key_field"] is None and not (replaces and body.get("key_field")):
            return _bad("the collection has no key field", 422)
        write = Write(id=f"{len(self._writes):026}", body={"collection": held["id"], **body}, looks=self.looks)
        self.writes.append(body)
        self._queues.setdefault(held["id"], deque()).append(write)
        self._writes[held["id"], write.id] = write
        return JSONResponse({"write": {"id": write.id, "state": self.queued}}, 202)

    async def look_up(self, request: Request) -> Response:
        if self.told is not None:
            return JSONResponse(self.told)
        number = request.path_params["id"]
        write = self._writes.get((number, request.path_params["write"]))
        if write is None or not self.remembers:
            return JSONResponse({}, 404)
        if write.looks > 0:
            write.looks -= 1
        elif write.ended is None:
            self.work(number, write)
        return JSONResponse({"write": {"id": write.id, **(write.ended or {"state": self.queued})}})

    def _of(self, request: Request) -> dict[str, Any] | None:
        number = request.path_params.get("id")
        return next((held for held in self.held.values() if held["id"] == number), None)

    def _described(self, held: dict[str, Any]) -> dict[str, Any]:
        known = {Keyed.NONE: 0, Keyed.MODES: 1, Keyed.FIELDS: 2}[self.keyed] if self.tells_fields else 0
        return {
            "id": held["id"],
            "name": held["name"],
            "rows": len(held["data"]),
            "bytes": _bytes(held["data"]),
            "schema": sorted({name for row in held["data"] for name in row}),
            **{name: held[name] for name in _FIELDS[:known]},
        }


def _key_fault(value: Any) -> str:
    if value is None or value == "":
        return "key-missing"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return "key-invalid"
    return "key-too-long" if len(str(value).encode()) > KEY_BYTES else ""


def _bytes(given: Any) -> int:
    return len(json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode())


def _bad(detail: str, status: int) -> Response:
    return JSONResponse({"errors": [{"detail": detail, "status": str(status)}]}, status)
