"""One file to one definition: the fields' values, and whether they go together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from syncer.definitions import rules, yaml_header
from syncer.definitions.fields import FIELDS, Empty, name_fault
from syncer.definitions.rules import key_columns
from syncer.definitions.values import read_fields
from syncer.definitions.yaml_header import DefinitionText
from syncer.model.errors import DefinitionError
from syncer.model.spelling import listed, quoted
from syncer.model.types import Cron, Entity, Limits, OnRemoved, PersonKey, Schedule, SyncDefinition, Target
from syncer.queries import query

#: Fields that go into the definition as they are read.
_PLAIN = (
    "description", "owner", "tags", "attributes", "exclude", "warehouse", "store", "catch_up", "on_removed", "on_null",
    "create", "timeout", "depends_on", "enabled",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionFile:
    """What one file says; its definition is None where it has errors."""

    path: Path
    #: The name that it takes, or would take; a file without a readable header has its stem's.
    name: str
    #: Of the name, counted from 1.
    name_line: int
    definition: SyncDefinition | None
    errors: tuple[DefinitionError, ...]


def parse(path: Path, data: bytes) -> DefinitionFile:
    """Read a file's bytes; connections and other definitions are not looked at."""
    errors: list[DefinitionError] = []
    text = yaml_header.read(path, data, errors)
    name = text.fields.get("name") if text else None
    called = name.value if name and isinstance(name.value, str) else path.stem
    definition = _definition(path, called, text, errors) if text else None
    return DefinitionFile(
        path=path,
        name=called,
        name_line=name.line if name else 1,
        definition=None if errors or definition is None else replace(definition, hash=hashlib.sha256(data).hexdigest()),
        errors=tuple(errors),
    )


def _definition(path: Path, name: str, text: DefinitionText, errors: list[DefinitionError]) -> SyncDefinition | None:
    values, faults = read_fields({field: known.kind for field, known in FIELDS.items()}, text.fields)
    errors += faults
    if "name" not in text.fields and name_fault(name):
        errors.append(
            DefinitionError(
                f"the file's name {quoted(name)} makes no sync name: {name_fault(name)}",
                path=path,
                hint="Rename the file, or give the sync a `name`.",
            )
        )
    incremental_line = _incremental_line(path, text, errors)
    if "entity" not in text.fields:
        errors.append(
            DefinitionError(
                f"`entity` is missing: expected {listed(list(Entity))}", path=path, hint="Add a line `entity: person`."
            )
        )
    if "entity" not in values:
        return None
    errors += rules.broken(path, values, text.fields, incremental_line)
    if errors:
        return None
    return _built(path, name, text, values, incremental=incremental_line is not None)


def _built(
    path: Path, name: str, text: DefinitionText, values: Mapping[str, Any], *, incremental: bool
) -> SyncDefinition:
    plain = {field: values[field] for field in _PLAIN if field in values}
    target = _target(values)
    if not target.entity.traits.merges:
        plain["on_removed"] = OnRemoved.DELETE
    if "schedule" in values:
        plain["schedule"] = _schedule(values)
    return SyncDefinition(
        name=name,
        path=path,
        sql=text.sql,
        sql_line=text.sql_line,
        target=target,
        limits=_limits(values.get("limits", {})),
        incremental=incremental,
        lines=dict(line for node in text.fields.values() for line in node.lines()),
        **plain,
    )


def _target(values: Mapping[str, Any]) -> Target:
    entity: Entity = values["entity"]
    person: Mapping[str, str] = values.get("person", {})
    thing: Mapping[str, str] = values.get("object", {})
    return Target(
        entity=entity,
        person_key=PersonKey(next(iter(person))) if person else None,
        object_type=thing.get("type"),
        collection=values.get("collection"),
        key_columns=key_columns(values),
    )


def _schedule(values: Mapping[str, Any]) -> Schedule:
    schedule: Schedule = values["schedule"]
    if isinstance(schedule, Cron) and "timezone" in values:
        return replace(schedule, timezone=values["timezone"])
    return schedule


def _limits(values: Mapping[str, Any]) -> Limits:
    given = {name: value for name, value in values.items() if name != "empty"}
    return Limits(**given, allow_empty=values.get("empty") is Empty.ALLOW)


def _incremental_line(path: Path, text: DefinitionText, errors: list[DefinitionError]) -> int | None:
    """The file's line of the template's first mention of `last_sync_time`."""
    try:
        template = query.template(path, text.sql, text.sql_line)
    except DefinitionError as error:
        errors.append(error)
        return None
    return template.mentions.get("last_sync_time") if template else None
