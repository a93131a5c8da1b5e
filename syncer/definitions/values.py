"""What header fields take: how each kind of value is read, and how JSON Schema describes it."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Any

from syncer.definitions import schedules
from syncer.definitions.yaml_header import Node, without_comma
from syncer.model.errors import DefinitionError, SyncerError
from syncer.model.spelling import did_you_mean, listed, quoted
from syncer.model.types import Cron, Entity, Limit, Platform

#: UTF-8 bytes of a name that goes to a store, such as an attribute's.
NAME_BYTES = 150

_NAME = "[a-z0-9][a-z0-9_-]{0,62}"
_QUEUE = "[A-Za-z0-9_-]{1,50}"
#: The lowest is as far below 0.
HIGHEST_PRIORITY = 1_000

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

_DURATION = "([0-9]{1,9}) ?(s|m|h|d|seconds?|minutes?|hours?|days?)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldType:
    """What a field takes."""

    #: Gives the value of a node; raises DefinitionError, or an ExceptionGroup of them if several are wrong.
    read: Callable[[Node], Any]
    #: The JSON Schema by which editors check the same.
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the header, or a field inside a field."""

    kind: FieldType
    description: str
    _: KW_ONLY
    #: As the header would write it; None if there is none, or where it is no constant.
    default: Any = None
    #: Whose syncs may have it.
    entities: frozenset[Entity] = frozenset(Entity)
    #: For a field that those syncs must have: what it may look like.
    example: str = ""

    def schema(self) -> dict[str, Any]:
        default = {} if self.default is None else {"default": self.default}
        return {"description": self.description, **self.kind.schema, **default}


def read_fields(
    kinds: Mapping[str, FieldType], nodes: Mapping[str, Node]
) -> tuple[dict[str, Any], list[DefinitionError]]:
    """The values of *nodes* that are right, and the errors of those that are wrong or unknown."""
    values: dict[str, Any] = {}
    errors: list[DefinitionError] = []
    for name, node in nodes.items():
        try:
            if name not in kinds:
                raise node.error(f"the field {quoted(node.name)} is unknown", did_you_mean(name, kinds))
            values[name] = kinds[name].read(node)
        except* DefinitionError as group:
            errors.extend(error for error in group.exceptions if isinstance(error, DefinitionError))
    return values, errors


def name_fault(text: str) -> str:
    """Why no sync can have this name; empty if it can."""
    if re.fullmatch(_NAME, text):
        return ""
    return "expected 1 to 63 of `a-z`, `0-9`, `_` and `-`, not beginning with `_` or `-`"


#: What `attribute_fault` finds, as far as a pattern says it: not that the limit is one of bytes.
ATTRIBUTE_NAME = rf'^[^"\\\x00-\x1f\x7f-\x9f]{{1,{NAME_BYTES}}}$'


def attribute_fault(text: str) -> str:
    """Why no attribute, object type or collection can have this name; empty if it can."""
    if not 1 <= len(text.encode()) <= NAME_BYTES:
        return f"expected 1 to {NAME_BYTES} bytes"
    if '"' in text or "\\" in text or any(ord(character) < 32 or ord(character) == 127 for character in text):
        return 'expected no `"`, no `\\` and no control character'
    return ""


def parsed(parse: Callable[[str], Any], expected: str = "a text", **schema: Any) -> FieldType:
    """A text that stands for the value that *parse* gives, which raises SyncerError for any other text."""

    def read(node: Node) -> Any:
        if not isinstance(node.value, str):
            kind = "mapping" if isinstance(node.value, dict) else "list"
            raise node.error(f"`{node.name}` is a {kind}: expected {expected}")
        try:
            return parse(node.value)
        except SyncerError as exc:
            raise node.error(f"`{node.name}`: {exc.message}", exc.hint) from None

    return FieldType(read=read, schema=schema or {"type": "string"})


def text(fault: Callable[[str], str] = lambda text: "", **schema: Any) -> FieldType:
    """A text on one line, as it was written, in which *fault* finds nothing wrong."""

    def parse(text: str) -> str:
        found = "expected a text on one line" if not text.strip() or "\n" in text else fault(text)
        if found:
            raise SyncerError(f"{quoted(text)} cannot be used: {found}")
        return text

    return parsed(parse, type="string", **schema)


def choice(words: Iterable[enum.StrEnum]) -> FieldType:
    """One word of an enumeration, or of some of its words."""
    known = {str(word): word for word in words}
    return parsed(lambda text: _chosen(text, known), "a word", enum=list(known))


def names(item: FieldType, *, least: int = 0) -> FieldType:
    """A list of texts, none twice; one alone needs no list."""

    def read(node: Node) -> tuple[str, ...]:
        if isinstance(node.value, dict):
            raise node.error(f"`{node.name}` is a mapping: expected a name or a list of names")
        items = (node,) if isinstance(node.value, str) else node.value
        if len(items) < least:
            raise node.error(f"`{node.name}` is empty: expected a name or a list of names")
        seen: list[str] = []
        for each in items:
            found = item.read(each)
            if found in seen:
                raise each.error(f"`{node.name}` names {quoted(found)} twice", "Keep one of the two.")
            seen.append(found)
        return tuple(seen)

    array = {"type": "array", "items": item.schema, "minItems": least, "uniqueItems": True}
    return FieldType(read=read, schema={"anyOf": [item.schema, array]})


def mapping(parts: Mapping[str, Field], example: str, *, needs: str | Collection[str] = "any") -> FieldType:
    """A mapping with named parts: any of them, all of them, exactly one, or those that are named and any others."""
    kinds = {name: part.kind for name, part in parts.items()}
    hint = f"Write it as `{example}`."
    required = {"one": (), "all": tuple(parts), "any": ()}[needs] if isinstance(needs, str) else needs

    def read(node: Node) -> dict[str, Any]:
        if not isinstance(node.value, dict):
            raise node.error(f"`{node.name}` is not a mapping", hint)
        values, errors = read_fields(kinds, node.value)
        missing = [name for name in required if name not in values]
        if errors:
            raise ExceptionGroup(f"faults of {node.name}", errors)
        if needs == "one" and len(values) != 1:
            found = f"`{node.name}` has {len(values)} parts"
            raise node.error(f"{found}: expected exactly one of {listed(list(parts))}", hint)
        if missing:
            raise node.error(f"`{node.name}` lacks {listed(missing, last='and')}", hint)
        return values

    count: dict[str, Any] = {"minProperties": 1, "maxProperties": 1} if needs == "one" else {}
    if required:
        count = {"required": [*required]}
    properties = {name: part.schema() for name, part in parts.items()}
    schema = {"type": "object", "additionalProperties": False, "properties": properties, **count}
    return FieldType(read=read, schema=schema)


def _chosen(text: str, known: Mapping[str, Any]) -> Any:
    if text not in known:
        hint = did_you_mean(text, known, or_list=False)
        raise SyncerError(f"expected {listed(known)}, not {quoted(text)}", hint=hint)
    return known[text]


def _limit(text: str) -> Limit:
    share = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%", text)
    if share and float(share[1]) <= 100:
        return Limit(share=float(share[1]) / 100)
    if re.fullmatch(r"[0-9]{1,15}", text):
        return Limit(count=int(text))
    if right := without_comma(text):
        raise SyncerError(f"{quoted(text)} has a comma, which is no decimal point", hint=right)
    raise SyncerError(
        f"{quoted(text)} is neither a share from 0% to 100% nor a count of rows",
        hint="Write a share such as `15%`, or a count such as `500`.",
    )


def _queue_fault(text: str) -> str:
    return "" if re.fullmatch(_QUEUE, text) else "expected 1 to 50 letters, digits, `_` and `-`"


def _priority(text: str) -> int:
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,3})", text) and -HIGHEST_PRIORITY <= int(text) <= HIGHEST_PRIORITY:
        return int(text)
    raise SyncerError(
        f"{quoted(text)} is not a whole number from {-HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}",
        hint="A higher one goes first; `0` is the default.",
    )


def duration(least: str, most: str) -> FieldType:
    """A time between two others, in seconds or with its unit."""
    shortest, longest = _parsedduration(least), _parsedduration(most)
    assert shortest is not None
    assert longest is not None

    def parse(text: str) -> timedelta:
        duration = _parsedduration(text)
        if duration is None or not shortest <= duration <= longest:
            raise SyncerError(
                f"{quoted(text)} is not a time from {least} to {most}",
                hint="Write seconds, or a time such as `45s`, `10 minutes`, `2h` or `1 day`.",
            )
        return duration

    seconds = (int(one.total_seconds()) for one in (shortest, longest))
    number = dict(zip(("minimum", "maximum"), seconds, strict=True))
    return parsed(parse, anyOf=[{"type": "integer", **number}, {"type": "string", "pattern": f"^{_DURATION}$"}])


def _parsedduration(text: str) -> timedelta | None:
    match = re.fullmatch(_DURATION, text)
    return timedelta(seconds=int(match[1]) * _SECONDS[(match[2] or "")[:1]]) if match else None


TEXT = text()
PROSE = parsed(str.strip)
FLAG = parsed(lambda text: _chosen(text, {"true": True, "false": False}), "`true` or `false`", type="boolean")
NAMES = names(TEXT)
SYNC_NAME = text(name_fault, pattern=f"^{_NAME}$")
STORE_NAME = text(attribute_fault)
TIMEZONE = parsed(schedules.check_timezone)
LIMIT = parsed(
    _limit,
    anyOf=[
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^([0-9]{1,15}|([0-9]{1,2}(\.[0-9]{1,6})?|100(\.0{1,6})?) ?%)$"},
    ],
)
QUEUE = text(_queue_fault, pattern=f"^{_QUEUE}$")
PRIORITY = parsed(_priority, "a number", type="integer", minimum=-HIGHEST_PRIORITY, maximum=HIGHEST_PRIORITY)
TIMEOUT = duration("1 second", "24 hours")
LOOKBACK = duration("0 seconds", "366 days")
PERIOD = duration("1 minute", "366 days")

_INTERVAL = parsed(schedules.parse, type="string", pattern="^(manual|every ([1-9][0-9]* )?(minute|hour|day)s?)$")
_CRON = mapping(
    {"cron": Field(parsed(schedules.check_cron), "Minute, hour, day, month and weekday; 0 and 7 are Sunday.")},
    '{cron: "0 6 * * *"}',
    needs="one",
)


def _schedule(node: Node) -> Any:
    if isinstance(node.value, dict):
        return Cron(expression=_CRON.read(node)["cron"], timezone="UTC")
    return _INTERVAL.read(node)


#: An interval, a cron expression (its time zone is another field) or `manual`.
SCHEDULE = FieldType(read=_schedule, schema={"anyOf": [_INTERVAL.schema, _CRON.schema]})


def _attributes(node: Node) -> dict[str, str]:
    if isinstance(node.value, dict):
        return {name: TEXT.read(child) for name, child in node.value.items()}
    return {name: name for name in NAMES.read(node)}


#: A mapping of attribute to column, or a list of columns that keep their names.
ATTRIBUTES = FieldType(
    read=_attributes, schema={"anyOf": [{"type": "object", "additionalProperties": {"type": "string"}}, NAMES.schema]}
)


_PLATFORM = choice(Platform)
_PLATFORM_COLUMN = mapping(
    {"column": Field(TEXT, "The column that holds `ios` or `android`.")}, "{column: os}", needs="all"
)


def _platform(node: Node) -> Platform | str:
    if isinstance(node.value, dict):
        return str(_PLATFORM_COLUMN.read(node)["column"])
    platform: Platform = _PLATFORM.read(node)
    return platform


#: A platform of all rows, or the name of the column that has each row's.
PLATFORM = FieldType(read=_platform, schema={"anyOf": [_PLATFORM.schema, _PLATFORM_COLUMN.schema]})
