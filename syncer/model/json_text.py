"""JSON as people and programs read it: every digit and every character, and the members that differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any


def json_text(value: Any, indent: int | None = None, *, level: int = 0) -> str:
    """JSON with every digit of a Decimal, and times in ISO-8601."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return json.dumps(value.astimezone(UTC).isoformat())
    if not isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        parts = [
            f"{json.dumps(str(name), ensure_ascii=False)}: {json_text(each, indent, level=level + 1)}"
            for name, each in value.items()
        ]
        opening, closing = "{", "}"
    else:
        parts = [json_text(each, indent, level=level + 1) for each in value]
        opening, closing = "[", "]"
    if indent is None or not parts:
        return f"{opening}{', '.join(parts)}{closing}"
    inner, outer = "\n" + " " * indent * (level + 1), "\n" + " " * indent * level
    return f"{opening}{inner}{f',{inner}'.join(parts)}{outer}{closing}"


def members(text: str) -> dict[str, str]:
    """The members of a JSON object as the texts that they are written in."""
    decoder = json.JSONDecoder(parse_int=str)
    members, position = {}, 1
    while text[position] != "}":
        name, position = decoder.raw_decode(text, position)
        _, end = decoder.raw_decode(text, position + 1)
        members[name] = text[position + 1 : end]
        position = end + (text[end] == ",")
    return members


def differing(before: str | None, after: str | None) -> list[tuple[str, str, str]]:
    """The members in which two JSON objects differ: name, old and new text; a missing one is `null`."""
    old, new = members(before or "{}"), members(after or "{}")
    both = ((name, old.get(name, "null"), new.get(name, "null")) for name in {**new, **old})
    return [(name, was, is_now) for name, was, is_now in both if was != is_now]
