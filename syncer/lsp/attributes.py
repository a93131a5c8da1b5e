"""What may stand at a place of `attributes.yml`, from the fields that its parser reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lsprotocol.types import CompletionItemKind

from syncer.definitions.attribute_rules import RULE
from syncer.lsp.text import DefinitionDraft, Suggestion

#: The fields of a rule, by name.
_FIELDS: Mapping[str, Mapping[str, Any]] = RULE.schema["properties"]

#: A line that begins a rule, up to its colon, and the name of a field within one.
_RULE = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s#'"].*?):(?=\s|$)""")
_FIELD = re.compile(rf"(?:^|[{{,\n])[ \t]*({'|'.join(_FIELDS)})[ \t]*:")


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePlace:
    """What is being written in a rule."""

    #: The field whose value it is; empty for the name of a field.
    field: str
    #: The fields that the rule has before.
    before: Collection[str]
    #: The column at which it begins.
    start: int


def place_of(draft: DefinitionDraft, line: int, column: int) -> RulePlace | None:
    """What is being written at a place; None in a comment, in the name of an attribute, or right after a colon."""
    before = draft.lines[line][:column]
    if re.search(r"(^|\s)#", before):
        return None
    rules = ((number, _RULE.match(draft.lines[number])) for number in range(line, -1, -1))
    number, rule = next(((number, match) for number, match in rules if match), (line, None))
    if rule is None or (number == line and column <= rule.end()):
        return None
    if number < line and not before[:1].isspace():
        return None
    body = "\n".join([*draft.lines[number:line], before])[rule.end() :]
    if body.count("{") == body.count("}") and ("{" in body or "\n" not in body):
        return None
    written = re.split(r"[^\w-]", before)[-1]
    fields = [*_FIELD.finditer(body)]
    named = [field[1] for field in fields]
    value = re.sub(r"\[[^\[\]]*\]", "", body[fields[-1].end() :]) if fields else ","
    is_value = "[" in value or (not {*"},"} & {*value} and _goes_on(value))
    if is_value and not value:
        return None
    return RulePlace(field=named[-1] if is_value else "", before=named, start=column - len(written))


def _goes_on(value: str) -> bool:
    """Whether the last line of what stands behind a field's colon belongs to it."""
    *others, last = value.split("\n")
    return not others or last.lstrip().startswith("-")


def suggestions(place: RulePlace, syncs: Callable[[], Collection[str]]) -> Iterator[Suggestion]:
    """What may be written there; *syncs* are those that write attributes of people."""
    if not place.field:
        for name, field in _FIELDS.items():
            if name not in place.before:
                yield Suggestion(text=f"{name}: ", kind=CompletionItemKind.Property, documentation=field["description"])
        return
    for value in syncs() if place.field == "from" else _FIELDS[place.field]["enum"]:
        yield Suggestion(text=value, kind=CompletionItemKind.Value)


def description(draft: DefinitionDraft, line: int, start: int, end: int) -> str | None:
    """What a field means whose name stands there, in Markdown; None if it is none."""
    word, is_name = draft.lines[line][start:end], draft.lines[line][end:].lstrip().startswith(":")
    is_inside = start > 0 and place_of(draft, line, start) is not None
    if not (word in _FIELDS and is_name and is_inside):
        return None
    return f"**`{word}`**\n\n{_FIELDS[word]['description']}"
