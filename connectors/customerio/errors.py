"""Why Customer.io rejects a row, in its words and without the row's values: many people may read a reason."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

#: In place of a value.
HIDDEN = "[hidden]"
#: Characters.
LONGEST = 500

_EMAIL = re.compile(r"[^\s\"'`<>(),;:]+@[^\s\"'`<>(),;:]+")
_PHONE = re.compile(r"\+[1-9][0-9]{7,14}\b")
_WORD = re.compile(r"[^\s\"'`<>(){}\[\],;:=\\]{6,}")
#: The members of an operation beside its identifiers and attributes.
_CONSTANTS = frozenset({"type", "action", "event", "messageId", "timestamp", "object_type_id", "platform"})


def kept(reason: str, *, item: str) -> str:
    """*reason* without the identifiers and values of *item*, the JSON text of an operation.

    It hides each value that is a word of its own, and longer words that are part of a value, which may be cut short.
    """
    values = _values_in(item)
    text = _without(reason, values)
    all_values = "\n".join(values).casefold()
    return _WORD.sub(lambda word: HIDDEN if word[0].rstrip(".…").casefold() in all_values else word[0], text)[:LONGEST]


def kept_of_many(reason: str, *, rows: str) -> str:
    """*reason* without the values of *rows*, a JSON text; hides only words that are a whole value."""
    return _without(reason, [value for value in _values_in(rows) if len(value) > 2])[:LONGEST]


def _without(reason: str, values: list[str]) -> str:
    text, folded = reason, reason.casefold()
    spelled = {spelling for value in values for spelling in _spellings(value) if spelling.casefold() in folded}
    if spelled:
        longest_first = "|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))
        text = re.sub(rf"(?<!\w)(?:{longest_first})(?!\w)", HIDDEN, text, flags=re.IGNORECASE)
    text = _PHONE.sub(HIDDEN, _EMAIL.sub(HIDDEN, text))
    # Not every database stores a NUL, and none half a surrogate pair.
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _spellings(value: str) -> set[str]:
    """The spellings that a value may have in a text."""
    escaped = (json.dumps(value, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False))
    return {value, value.strip(), *escaped, quote(value, errors="replace")}


def _values_in(text: str) -> list[str]:
    """The values in a JSON text, without names and constants."""
    found: list[str] = []
    try:
        open_ = [json.loads(text)]
    except (ValueError, RecursionError):
        return _WORD.findall(text)
    while open_:
        part = open_.pop()
        if isinstance(part, dict):
            open_ += [value for name, value in part.items() if name not in _CONSTANTS]
        elif isinstance(part, list):
            open_ += part
        elif part is not None and not isinstance(part, bool):
            found.append(part if isinstance(part, str) else json.dumps(part))
    return [value for value in found if value.strip()]
