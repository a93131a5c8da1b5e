"""The one table of header fields; the parser and the JSON Schema both read it."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from syncer.definitions import schedules
from syncer.definitions.values import Choice, FieldType, Flag, Names, Parsed, Part, Pattern, Text
from syncer.definitions.yaml_header import Node
from syncer.model.errors import SyncerError
from syncer.model.spelling import quoted
from syncer.model.types import CatchUp, Cron, Entity, Every, Limit, Manual, OnNull, OnRemoved, PersonKey

#: UTF-8 bytes of a name that goes to a store, such as an attribute's.
NAME_BYTES = 150

_NAME = "[a-z0-9][a-z0-9_-]{0,62}"

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}

_LONGEST_TIMEOUT = timedelta(days=1)


class Empty(enum.StrEnum):
    """What a run does with an empty result where the snapshot has rows."""

    HOLD = "hold"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of the header."""

    kind: FieldType
    description: str
    #: As the header would write it; None where there is none, or where it is no constant.
    default: Any = None
    #: Whose syncs may have it.
    entities: frozenset[Entity] = frozenset(Entity)
    #: For a field that those syncs must have: what it may look like.
    example: str = ""


def name_fault(text: str) -> str:
    """Why no sync can have this name; empty where it can."""
    if re.fullmatch(_NAME, text):
        return ""
    return "expected 1 to 63 of `a-z`, `0-9`, `_` and `-`, not beginning with `_` or `-`"


def attribute_fault(text: str) -> str:
    """Why no attribute, object type or collection can have this name; empty where it can."""
    if not 1 <= len(text.encode()) <= NAME_BYTES:
        return f"expected 1 to {NAME_BYTES} bytes"
    if '"' in text or "\\" in text or any(ord(character) < 32 or ord(character) == 127 for character in text):
        return 'expected no `"`, no `\\` and no control character'
    return ""


def _limit(text: str) -> Limit:
    share = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%", text)
    if share and float(share[1]) <= 100:
        return Limit(share=float(share[1]) / 100)
    if re.fullmatch(r"[0-9]{1,15}", text):
        return Limit(count=int(text))
    raise SyncerError(
        f"{quoted(text)} is neither a share from 0% to 100% nor a count of rows",
        hint="Write a share such as `15%`, or a count such as `500`.",
    )


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,9}) ?([smh]?)", text)
    duration = timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else timedelta()
    if not timedelta() < duration <= _LONGEST_TIMEOUT:
        raise SyncerError(
            f"{quoted(text)} is not a time from 1 second to 24 hours",
            hint="Write seconds, or a time such as `45s`, `30m` or `2h`.",
        )
    return duration


def _cron(text: str) -> str:
    schedules.check_cron(text)
    return " ".join(text.split())


def _timezone(text: str) -> str:
    schedules.check_timezone(text)
    return text


_STORE_NAME = Text(fault=attribute_fault)

_SYNC_NAME = Text(fault=name_fault, pattern=f"^{_NAME}$")

_CRON = Pattern(
    parts={
        "cron": Part(
            kind=Parsed(parse=_cron, described={"type": "string"}),
            description="Minute, hour, day, month and weekday; 0 and 7 are Sunday.",
        )
    },
    needs="one",
    example='{cron: "0 6 * * *"}',
)

_INTERVAL = Parsed(
    parse=schedules.parse,
    described={"type": "string", "pattern": "^(manual|every ([1-9][0-9]* )?(minute|hour|day)s?)$"},
)


class _Schedule:
    """An interval, a cron expression (its time zone is another field) or `manual`."""

    def read(self, node: Node) -> Every | Cron | Manual:
        if isinstance(node.value, dict):
            return Cron(expression=_CRON.read(node)["cron"], timezone="UTC")
        schedule: Every | Manual = _INTERVAL.read(node)
        return schedule

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [_INTERVAL.schema(), _CRON.schema()]}


class _Attributes:
    """A mapping of attribute to column, or a list of columns that keep their names."""

    def read(self, node: Node) -> dict[str, str]:
        if isinstance(node.value, dict):
            nodes = node.value
            columns = {name: Text().read(child) for name, child in nodes.items()}
        else:
            nodes = {str(child.value): child for child in node.value if isinstance(child, Node)}
            columns = {name: name for name in Names().read(node)}
        for name in columns:
            fault = attribute_fault(name)
            if fault:
                raise nodes.get(name, node).error(f"the attribute is called {quoted(name)}: {fault}")
        return columns

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "object", "additionalProperties": {"type": "string"}}, Names().schema()]}


_LIMIT = Parsed(
    parse=_limit,
    described={
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": r"^([0-9]{1,15}|([0-9]{1,2}(\.[0-9]{1,6})?|100(\.0{1,6})?) ?%)$"},
        ]
    },
)

_TIMEOUT = Parsed(
    parse=_duration,
    described={
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": int(_LONGEST_TIMEOUT.total_seconds())},
            {"type": "string", "pattern": "^[0-9]{1,9} ?[smh]?$"},
        ]
    },
)

_MERGED = frozenset(entity for entity in Entity if entity.traits.merges)


def _identified_by(field: str) -> frozenset[Entity]:
    return frozenset(entity for entity in Entity if field in entity.traits.identified_by)


#: In the order in which a header reads best.
FIELDS: Mapping[str, Field] = {
    "name": Field(
        kind=_SYNC_NAME,
        description="The name of the sync, unique in the folder: 1 to 63 of `a-z`, `0-9`, `_` and `-`. "
        "Default: the file's name without `.sql`.",
    ),
    "description": Field(kind=Text(prose=True), description="What the sync is for.", default=""),
    "owner": Field(kind=Text(prose=True), description="Whom to ask.", default=""),
    "tags": Field(kind=Names(), description="A list of words to select syncs by, as `tag:word`.", default=[]),
    "entity": Field(
        kind=Choice(words=Entity),
        description="What the rows describe: `person`, `object`, `relationship` or `collection` (a reference table).",
    ),
    "person": Field(
        kind=Pattern(
            parts={
                PersonKey.ID: Part(kind=Text(), description="The column that holds the person's id."),
                PersonKey.EMAIL: Part(kind=Text(), description="The column that holds the person's email."),
                PersonKey.CIO_ID: Part(kind=Text(), description="The column that holds the store's own id."),
            },
            needs="one",
            example="{id: column}",
        ),
        description="The column that identifies the person: `{id: column}`, `{email: column}` or `{cio_id: column}` "
        "(the store's own number).",
        entities=_identified_by("person"),
        example="{id: column}",
    ),
    "object": Field(
        kind=Pattern(
            parts={
                "type": Part(kind=_STORE_NAME, description="The name of the object type, such as `account`."),
                "id": Part(kind=Text(), description="The column that holds the object's id."),
            },
            needs="all",
            example="{type: account, id: column}",
        ),
        description="The type of the object, and the column that identifies it: `{type: account, id: column}`.",
        entities=_identified_by("object"),
        example="{type: account, id: column}",
    ),
    "collection": Field(
        kind=_STORE_NAME,
        description="The name of the collection.",
        entities=_identified_by("collection"),
        example="name",
    ),
    "key": Field(
        kind=Names(least=1),
        description="The column, or a list of columns, that identifies a row of the collection.",
        entities=_identified_by("key"),
        example="column",
    ),
    "attributes": Field(
        kind=_Attributes(),
        description="A list of columns to send, or `{attribute: column}` to rename them. Default: every column that "
        "is not an identifier, under its own name.",
    ),
    "exclude": Field(kind=Names(), description="A list of columns to leave out.", default=[]),
    "warehouse": Field(kind=Text(), description="The warehouse to query.", default="default"),
    "store": Field(kind=Text(), description="The store to send to.", default="default"),
    "schedule": Field(
        kind=_Schedule(),
        description="When to run: `every 15 minutes`, `every 2 hours`, `every day` (at least 1 minute), "
        '`{cron: "0 6 * * *"}` (0 and 7 are Sunday), or `manual`.',
        default="every 1 hour",
    ),
    "timezone": Field(
        kind=Parsed(parse=_timezone, described={"type": "string"}),
        description="The time zone of `cron`, as an IANA name.",
        default="UTC",
    ),
    "catch_up": Field(
        kind=Choice(words=CatchUp),
        description="What to do about runs that were due while the service was down: `once` makes one run for all of "
        "them, `skip` none.",
        default="once",
    ),
    "on_removed": Field(
        kind=Choice(words=OnRemoved),
        description="What to do when a row leaves the result: `keep` does nothing, `clear` unsets the attributes that "
        "this sync wrote, `delete` deletes the person, object or relationship. Default: `keep`; a collection always "
        "drops the row.",
    ),
    "on_null": Field(
        kind=Choice(words=OnNull),
        description="What to do with NULL: `clear` unsets the attribute, `keep` leaves it as it is.",
        default="clear",
        entities=_MERGED,
    ),
    "create": Field(
        kind=Flag(),
        description="`false` updates only people and objects that exist.",
        default=True,
        entities=_MERGED,
    ),
    "limits": Field(
        kind=Pattern(
            parts={
                "removed": Part(kind=_LIMIT, description="The most rows to remove in one run.", default="15%"),
                "changed": Part(kind=_LIMIT, description="The most rows to change in one run.", default="100%"),
                "empty": Part(
                    kind=Choice(words=Empty),
                    description="What an empty result does: `hold` or `allow`.",
                    default="hold",
                ),
            },
            example="{removed: 15%, changed: 100%, empty: hold}",
        ),
        description="The most rows that a run may remove or change, each a share or a count, and whether an empty "
        "result holds the run. Default: `{removed: 15%, changed: 100%, empty: hold}`.",
    ),
    "timeout": Field(
        kind=_TIMEOUT, description="How long the query may take: seconds, or `45s`, `30m`, `2h`.", default="30m"
    ),
    "depends_on": Field(
        kind=Names(item=_SYNC_NAME),
        description="A list of syncs that run first. People, objects, relationships and collections run in this order "
        "anyway.",
        default=[],
    ),
    "enabled": Field(kind=Flag(), description="`false` takes the sync off the schedule.", default=True),
}
