"""The header's fields and their values, from the one table that its parser reads."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lsprotocol.types import CompletionItemKind

from syncer.definitions.fields import FIELDS, default_of
from syncer.lsp.text import DefinitionDraft, Suggestion
from syncer.model.types import Entity

_FIELD = re.compile(r"([A-Za-z_]+)[ \t]*:")
#: Fields that take columns of the query's result, and those of which every field inside does.
_COLUMNS = {
    "person.id",
    "person.email",
    "person.phone",
    "person.cio_id",
    "person.anonymous",
    "person.previous",
    "object.id",
    "device.token",
    "device.last_used",
    "event.id",
    "event.time",
    # Of the platform.
    "device.column",
    "key",
    "exclude",
}
_NAMED_COLUMNS = {"attributes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderPlace:
    """What is being written in a header."""

    #: The names of the fields around it, outermost first; the last one is that whose value it is.
    fields: tuple[str, ...]
    #: Whether it is a field's name.
    is_name: bool
    #: The column at which it begins.
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNames:
    """The names that fields may take, as far as they are known."""

    warehouses: Collection[str] = ()
    stores: Collection[str] = ()
    syncs: Callable[[], Collection[str]] = lambda: ()
    #: Of the query's result.
    columns: Callable[[], Collection[str]] = lambda: ()


def place_of(draft: DefinitionDraft, line: int, column: int) -> HeaderPlace | None:
    """What is being written at a place of the header; None in a comment, or right after a colon."""
    before = draft.lines[line][:column]
    if re.search(r"(^|\s)#", before) or line == 0:
        return None
    fields = ((number, _FIELD.match(draft.lines[number])) for number in range(line, 0, -1))
    number, field = next(((number, match) for number, match in fields if match), (line, None))
    top = HeaderPlace(fields=(), is_name=True, start=len(before) - len(before.lstrip()))
    if field is None or (number == line and column < field.end()):
        return top
    value = "\n".join([*draft.lines[number:line], before])[field.end() :]
    opened = [bracket for bracket in re.sub(r"\{[^{}]*\}|\[[^\[\]]*\]", "", value) if bracket in "{["]
    if number == line and not opened:
        return HeaderPlace(fields=(field[1],), is_name=False, start=column - len(value.lstrip())) if value else None
    if opened:
        written, is_mapping = re.split(r"[{\[,\n]", value)[-1], opened[-1] == "{"
    elif before[:1].isspace():
        written, is_mapping = before.lstrip().removeprefix("- "), not before.lstrip().startswith("-")
    else:
        return top
    name, colon, inner = written.partition(":")
    if is_mapping and colon:
        return HeaderPlace(fields=(field[1], name.strip()), is_name=False, start=column - len(inner.lstrip()))
    return HeaderPlace(fields=(field[1],), is_name=is_mapping, start=column - len(written.lstrip()))


def suggestions(draft: DefinitionDraft, place: HeaderPlace, known: KnownNames) -> Iterator[Suggestion]:
    """What may be written there."""
    if not place.fields:
        yield from _field_names(draft)
        return
    parts = _parts(place.fields[0])
    if place.is_name and parts:
        for name, part in parts.items():
            yield Suggestion(text=f"{name}: ", kind=CompletionItemKind.Property, documentation=part["description"])
        return
    for value in dict.fromkeys(_values(place.fields, known)):
        yield Suggestion(text=value, kind=CompletionItemKind.Value)
    if ".".join(place.fields) in _COLUMNS or place.fields[0] in _NAMED_COLUMNS:
        for column in known.columns():
            yield Suggestion(text=column, kind=CompletionItemKind.Field)


def _field_names(draft: DefinitionDraft) -> Iterator[Suggestion]:
    written = {match[1] for line in draft.lines[1 : draft.sql_line] if (match := _FIELD.match(line))}
    entity = draft.field("entity")
    for name, field in FIELDS.items():
        fits = entity not in set(Entity) or Entity(entity) in field.entities
        if name not in written and fits:
            yield Suggestion(
                text=f"{name}: ",
                kind=CompletionItemKind.Property,
                detail=field.example,
                documentation=description(name) or "",
            )


def description(*fields: str) -> str | None:
    """What a field, or a field inside of a field, means, in Markdown; None if there is none."""
    if not fields or fields[0] not in FIELDS:
        return None
    field = FIELDS[fields[0]]
    if len(fields) > 1 and (part := _parts(fields[0]).get(fields[1])):
        default = f"\n\nDefault: `{part['default']}`" if "default" in part else ""
        return f"**`{'.'.join(fields[:2])}`**\n\n{part['description']}{default}"
    of = [str(entity) for entity in Entity if entity in field.entities]
    lines = [f"**`{fields[0]}`**", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", field.description)]
    if default := default_of(field):
        lines.append(default.capitalize() if field.example or default == "required" else f"Default: {default}")
    if len(of) < len(Entity) and not field.example:
        lines.append(f"For entities: {', '.join(of)}")
    return "\n\n".join(lines)


def _parts(field: str) -> Mapping[str, Mapping[str, Any]]:
    """The schemas of what *field* may have inside, by name."""
    for schema in _alternatives(_schema(field)):
        if "properties" in schema:
            parts: Mapping[str, Mapping[str, Any]] = schema["properties"]
            return parts
    return {}


def _values(fields: tuple[str, ...], known: KnownNames) -> Iterator[str]:
    match fields:
        case ["warehouse"]:
            yield from known.warehouses
        case ["store"]:
            yield from known.stores
        case ["depends_on"]:
            yield from known.syncs()
        case ["timezone"]:
            yield from _timezones()
    schema = _schema(fields[0]) if len(fields) == 1 else _parts(fields[0]).get(fields[1], {})
    for one in _alternatives(schema):
        yield from map(str, one.get("enum", ()))
        if one.get("type") == "boolean":
            yield from ("true", "false")
    if ((default := schema.get("default")) and isinstance(default, str)) or type(default) is int:
        yield str(default)
    if fields == ("schedule",):
        yield "manual"
    if len(fields) == 1 and fields[0] in FIELDS and FIELDS[fields[0]].example.startswith("{"):
        yield FIELDS[fields[0]].example


def _alternatives(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for one in schema.get("anyOf", ()):
        yield from _alternatives(one)


@cache
def _timezones() -> list[str]:
    return sorted(zoneinfo.available_timezones())


@cache
def _schema(field: str) -> Mapping[str, Any]:
    return FIELDS[field].schema() if field in FIELDS else {}
