"""JSON as people and programs read it: every digit and every character, and the members that differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

#: A sign of JSON, or a string, number or word.
_TOKEN = re.compile(r'[{}\[\]:,]|"(?:[^"\\]|\\.)*"|[^\s{}\[\]:,"]+')
#: Python makes no integer of more digits.
_MOST_DIGITS = 4_300


def json_value(text: str) -> Any:
    """What the JSON *text* of a store says, however deep it is nested.

    Numbers that are no integers are Decimals, as are integers of more digits than Python reads.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(text, parse_int=_integer, parse_float=Decimal)
    except RecursionError:
        return _deep_value(text)


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _MOST_DIGITS else Decimal(digits)


def _deep_value(text: str) -> Any:
    """The same of JSON for which Python's stack may be too small."""
    open_: list[list[Any]] = [[]]
    for token in _TOKEN.findall(text):
        if token in "{[":
            open_.append([])
        elif token in "}]" and len(open_) > 1:
            items = open_.pop()
            open_[-1].append(items if token == "]" else dict(zip(map(str, items[::2]), items[1::2], strict=True)))
        elif token not in ":,":
            open_[-1].append(json.loads(token, parse_int=_integer, parse_float=Decimal))
    ((value,),) = open_
    return value


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON with every digit of a Decimal, and times in ISO-8601, however deep it is nested."""
    written: list[str] = []
    # What is to be written, the next one last: a text, or a value and its level.
    waiting: list[str | tuple[Any, int]] = [(value, 0)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            written.append(part)
        elif isinstance(part[0], Mapping | list | tuple):
            waiting += reversed([*_parts(*part, indent)])
        else:
            written.append(_atom(part[0]))
    return "".join(written)


def _atom(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return json.dumps(value.astimezone(UTC).isoformat())
    return json.dumps(value, ensure_ascii=False)


def _parts(
    value: Mapping[str, Any] | list[Any] | tuple[Any, ...], level: int, indent: int | None
) -> Iterator[str | tuple[Any, int]]:
    """An object or array as texts, and values with their level."""
    opening, closing = "{}" if isinstance(value, Mapping) else "[]"
    separator, end = ", ", ""
    if indent is not None and value:
        end, separator = "\n" + " " * indent * level, ",\n" + " " * indent * (level + 1)
        opening += separator[1:]
    yield opening
    for number, each in enumerate(value):
        if number:
            yield separator
        if isinstance(value, Mapping):
            yield f"{json.dumps(str(each), ensure_ascii=False)}: "
        yield (value[each] if isinstance(value, Mapping) else each), level + 1
    yield end + closing


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
