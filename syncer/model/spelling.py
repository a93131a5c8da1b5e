"""Words that people wrote: how messages show them, and what they probably meant. Digits that no reader may round."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from difflib import get_close_matches

from syncer.model.entities import Identity, PersonKey

#: A longer text is cut where a message shows it.
_SHOWN = 60

#: What is no part of an identifier at its ends: every blank of Unicode, and the signs of no width.
BLANKS = "".join(map(chr, (*range(9, 14), *range(28, 33), 133, 160, 5760, 6158, *range(8192, 8204), 8232, 8233, 8239)))
BLANKS += "\u205f\u2060\u3000\ufeff"

#: More options than this are not listed.
_LISTED = 24


def visible(text: str) -> str:
    """*text* on one line, with everything that is not a sign written as its escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def quoted(text: str) -> str:
    """*text* in backticks on one line, cut and with control characters escaped."""
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return f"`{visible(shown)}`"


def listed(words: Collection[str], *, last: str = "or") -> str:
    """`a`, `b` or `c`."""
    *others, end = [quoted(word) for word in words]
    return f"{', '.join(others)} {last} {end}" if others else end


def closest(word: str, options: Collection[str]) -> str | None:
    """The option that *word* was probably meant to be."""
    folded = {option.casefold(): option for option in options}
    matches = get_close_matches(word.casefold(), folded, n=1)
    return folded[matches[0]] if matches else None


def did_you_mean(word: str, options: Collection[str], *, or_list: bool = True) -> str:
    """A hint: the closest option; else, with *or_list*, the options where they are few; else empty."""
    match = closest(word, options)
    if match is not None:
        return f"Did you mean {quoted(match)}?"
    return f"Use {listed(sorted(options))}." if or_list and 0 < len(options) <= _LISTED else ""


def identifier(text: str) -> str:
    """*text* as snapshots and stores spell an identifier: trimmed, and composed."""
    return unicodedata.normalize("NFC", text.strip(BLANKS))


#: A string in JSON, as a regular expression whose group is what it holds.
JSON_STRING = r'"((?:[^"\\]|\\.)*)"'


def numbers_as_text(text: str) -> str:
    """DuckDB's SQL for the JSON *text* with numbers that no reader rounds, since they are text: `"#1.5"`, `"text#"`."""
    return rf"""regexp_replace({text}, '{JSON_STRING}|(-?[0-9][-+.eE0-9]*)', '"\1#\2"', 'g')"""


def text_as_numbers(text: str) -> str:
    """DuckDB's SQL for what was the JSON *text* before `numbers_as_text`."""
    numbers = rf"""regexp_replace({text}, '"#(-?[0-9][-+.eE0-9]*)"', '\1', 'g')"""
    return rf"""regexp_replace({numbers}, '"((?:[^"\\]|\\.)*)#"', '"\1"', 'g')"""


def kind_of(value: str, identity: Identity) -> PersonKey:
    """Of which kind a person's identifier is, by its looks, where a store knows people by several."""
    looks_so = {PersonKey.EMAIL: "@" in value, PersonKey.PHONE: value.strip().startswith("+"), PersonKey.ID: True}
    return next((kind for kind, is_so in looks_so.items() if is_so and kind in identity.unique), identity.unique[0])
