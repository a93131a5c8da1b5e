"""Why Customer.io refuses a row, in its words, without what the row says: a reason is kept, and read by many."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

#: Stands for what is not kept.
HIDDEN = "[hidden]"
#: Characters that are kept.
LONGEST = 500

_EMAIL = re.compile(r"[^\s\"'`<>(),;:]+@[^\s\"'`<>(),;:]+")
_WORD = re.compile(r"[^\s\"'`<>(){}\[\],;:=\\]{6,}")
#: What an operation says beside its identifiers and attributes.
_CONSTANTS = frozenset({"type", "action", "event", "messageId", "timestamp", "object_type_id"})


def kept(reason: str, *, item: str) -> str:
    """*reason* without the identifiers and values of the operation that it is about, a JSON text.

    What stands in it as a word of its own, and longer words that are part of a value, as where it was cut short.
    """
    values = _values_in(item)
    text = _without(reason, values)
    all_values = "\n".join(values).casefold()
    return _WORD.sub(lambda word: HIDDEN if word[0].rstrip(".…").casefold() in all_values else word[0], text)[:LONGEST]


def kept_of_many(reason: str, *, rows: str) -> str:
    """*reason* without the values of many rows, a JSON text; only words that are a value are looked for."""
    return _without(reason, [value for value in _values_in(rows) if len(value) > 2])[:LONGEST]


def _without(reason: str, values: list[str]) -> str:
    text, folded = reason, reason.casefold()
    spelled = {spelling for value in values for spelling in _spellings(value) if spelling.casefold() in folded}
    if spelled:
        longest_first = "|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))
        text = re.sub(rf"(?<!\w)(?:{longest_first})(?!\w)", HIDDEN, text, flags=re.IGNORECASE)
    text = _EMAIL.sub(HIDDEN, text)
    # Not every database takes a NUL, and none half a sign.
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _spellings(value: str) -> set[str]:
    """How a value may stand in a text."""
    escaped = (json.dumps(value, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False))
    return {value, value.strip(), *escaped, quote(value, errors="replace")}


def _values_in(text: str) -> list[str]:
    """All of a JSON text that is no name and no constant."""
    found: list[str] = []
    try:
        open_ = [json.loads(text)]
    except RecursionError:
        return _WORD.findall(text)
    while open_:
        told = open_.pop()
        if isinstance(told, dict):
            open_ += [value for name, value in told.items() if name not in _CONSTANTS]
        elif isinstance(told, list):
            open_ += told
        elif told is not None and not isinstance(told, bool):
            found.append(told if isinstance(told, str) else json.dumps(told))
    return [value for value in found if value.strip()]
