"""What the header fields of events take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

from syncer.definitions.values import TEXT, Field, FieldType, choice, duration, mapping, names, parsed, text
from syncer.definitions.yaml_header import Node
from syncer.model.entities import EVENT_NAME_BYTES, EventKind
from syncer.model.errors import SyncerError
from syncer.model.spelling import quoted
from syncer.model.types import Limit, Start

#: Before it, there are no seconds since 1970.
_FIRST_YEAR = 1970


def _name_fault(text: str) -> str:
    """Why no event can have this name; empty if it can."""
    if not 1 <= len(text.encode()) <= EVENT_NAME_BYTES:
        return f"expected 1 to {EVENT_NAME_BYTES} bytes"
    return "expected no control character" if any(ord(one) < 32 or ord(one) == 127 for one in text) else ""


def _count(text: str) -> Limit:
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise SyncerError(f"{quoted(text)} is no count of rows", hint="Write a number such as `100000`.")
    return Limit(count=int(text))


REMEMBER = duration("1 hour", "3660 days")
COUNT = parsed(_count, type="integer", minimum=0)

_COLUMN = mapping({"column": Field(TEXT, "The column that has the name.")}, "{column: event_type}", needs="one")


def _name_or_column(node: Node) -> dict[str, str]:
    return _COLUMN.read(node) if isinstance(node.value, dict) else {"name": _NAME.read(node)}


_NAME = text(_name_fault)
_PARTS: Mapping[str, Field] = {
    "name": Field(
        FieldType(read=_name_or_column, schema={"anyOf": [_NAME.schema, _COLUMN.schema]}),
        "The name of the events, or `{column: event_type}` where a column has it.",
    ),
    "id": Field(names(TEXT, least=1), "The column, or a list of columns, whose values make a row one event, for ever."),
    "time": Field(TEXT, "The column that says when it happened."),
    "kind": Field(choice(EventKind), "`event`, `page` or `screen`.", default=str(EventKind.EVENT)),
}

#: What makes rows events.
EVENT = mapping(_PARTS, "{name: order_paid, id: order_id, time: paid_at}", needs=("name", "id", "time"))


def _start(text: str) -> Start | date:
    if text in tuple(Start):
        return Start(text)
    try:
        found = date.fromisoformat(text) if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else None
    except ValueError:
        found = None
    if found is None or found.year < _FIRST_YEAR:
        raise SyncerError(
            f"{quoted(text)} is neither `all`, `now` nor a date",
            hint="`all` sends what is there, `now` what comes later, and a date such as `2026-01-31` from then on.",
        )
    return found


START = parsed(_start, anyOf=[{"enum": list(map(str, Start))}, {"type": "string", "format": "date"}])
