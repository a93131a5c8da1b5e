"""One file to one definition: the fields' values, and whether they go together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from syncer.definitions import columns, yaml_header
from syncer.definitions.fields import FIELDS, NOT_OF_LISTS, Empty
from syncer.definitions.values import name_fault, read_fields
from syncer.definitions.yaml_header import DefinitionText, Node
from syncer.model.errors import DefinitionError
from syncer.model.spelling import listed, quoted
from syncer.model.types import (
    NONE,
    Cron,
    DeviceFields,
    Entity,
    Limits,
    ListAction,
    OnRemoved,
    PersonKey,
    Platform,
    SyncDefinition,
    Target,
)
from syncer.queries import query

#: Fields that go into the definition as they are read.
_PLAIN = (
    "description", "owner", "tags", "attributes", "exclude", "warehouse", "store", "schedule", "catch_up", "on_removed",
    "on_null", "create", "timeout", "lookback", "full_every", "depends_on", "enabled",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionFile:
    """What one file says; no definition if it has errors."""

    path: Path
    #: The name that it takes, or would take; a file without a readable header has its stem's.
    name: str
    #: Of the name, counted from 1.
    name_line: int
    definition: SyncDefinition | None
    errors: tuple[DefinitionError, ...]


def parse(path: Path, data: bytes) -> DefinitionFile:
    """Read a file's bytes, without checking connections or other definitions."""
    errors: list[DefinitionError] = []
    text = yaml_header.read(path, data, errors)
    node = text.fields.get("name") if text else None
    name = node.value if node and isinstance(node.value, str) else path.stem
    definition = _definition(path, name, text, errors) if text else None
    if definition is not None:
        errors += columns.header_errors(definition)
    return DefinitionFile(
        path=path,
        name=name,
        name_line=node.line if node else 1,
        definition=None if errors or definition is None else replace(definition, hash=hashlib.sha256(data).hexdigest()),
        errors=tuple(errors),
    )


def _definition(path: Path, name: str, text: DefinitionText, errors: list[DefinitionError]) -> SyncDefinition | None:
    values, faults = read_fields({field: known.kind for field, known in FIELDS.items()}, text.fields)
    errors += faults
    if "name" not in text.fields and name_fault(name):
        message = f"the file's name {quoted(name)} is not a valid sync name: {name_fault(name)}"
        errors.append(DefinitionError(message, path=path, hint="Rename the file, or give the sync a `name`."))
    incremental_line = _incremental_line(path, text, errors)
    if "entity" not in text.fields:
        message = f"`entity` is missing: expected {listed(list(Entity))}"
        errors.append(DefinitionError(message, path=path, hint="Add a line `entity: person`."))
    if "entity" not in values:
        return None
    errors += _misplaced(values["entity"], text.fields)
    errors += [*_contradictions(path, values, text.fields, incremental_line), *_of_lists(values, text.fields)]
    return None if errors else _built(path, name, text, values, incremental=incremental_line is not None)


def _built(
    path: Path, name: str, text: DefinitionText, values: Mapping[str, Any], *, incremental: bool
) -> SyncDefinition:
    entity: Entity = values["entity"]
    person, merged = values.get("person") or values.get("keep", {}), values.get("merge", {})
    thing, limits, device = values.get("object", {}), values.get("limits", {}), values.get("device", {})
    own = (*merged.values(), *([thing["id"]] if thing else []), *([device["token"]] if device else []))
    target = Target(
        entity=entity,
        person_key=PersonKey(next(iter(person))) if person else None,
        merged_key=PersonKey(next(iter(merged))) if merged else None,
        object_type=thing.get("type"),
        collection=values.get("collection"),
        key_columns=(*person.values(), *own, *values.get("key", ())),
        action=_action(values),
    )
    plain = {field: values[field] for field in _PLAIN if field in values}
    if not entity.traits.merges:
        plain["on_removed"] = OnRemoved.DELETE
    if isinstance(plain.get("schedule"), Cron):
        plain["schedule"] = replace(plain["schedule"], timezone=values.get("timezone", "UTC"))
    return SyncDefinition(
        name=name,
        path=path,
        sql=text.sql,
        sql_line=text.sql_line,
        target=target,
        device=_device(device) if device else None,
        limits=Limits(
            **{part: limit for part, limit in limits.items() if part != "empty"},
            allow_empty=limits.get("empty") is Empty.ALLOW,
        ),
        tolerated=values.get("tolerate", {}).get("rejected", NONE),
        incremental=incremental,
        lines=dict(line for node in text.fields.values() for line in node.lines()),
        **plain,
    )


def _device(values: Mapping[str, Any]) -> DeviceFields:
    platform, last_used = values["platform"], values.get("last_used")
    if isinstance(platform, Platform):
        return DeviceFields(platform=platform, last_used=last_used)
    return DeviceFields(platform_column=platform, last_used=last_used)


def _misplaced(entity: Entity, fields: Mapping[str, Node]) -> Iterator[DefinitionError]:
    """What a sync of this entity lacks, or has and cannot have."""
    for name, field in FIELDS.items():
        if field.example and entity in field.entities and name not in fields:
            yield fields["entity"].error(
                f"a sync of entity `{entity}` needs `{name}`", f"Add `{name}: {field.example}`."
            )
        elif name in fields and entity not in field.entities:
            others = listed([other for other in Entity if other in field.entities])
            yield fields[name].error(
                f"`{name}` does not belong to a sync of entity `{entity}`, only of {others}",
                "Remove it, or change `entity`.",
            )


def _contradictions(
    path: Path, values: Mapping[str, Any], fields: Mapping[str, Node], incremental_line: int | None
) -> Iterator[DefinitionError]:
    """Fields that do not go together, or not with the query."""
    if "attributes" in values and "exclude" in values:
        yield fields["exclude"].error(
            "`exclude` cannot be used with `attributes`, which lists every column to send", "Keep one of the two."
        )
    entity: Entity = values["entity"]
    if not entity.traits.merges and values.get("on_removed", OnRemoved.DELETE) is not OnRemoved.DELETE:
        yield fields["on_removed"].error(
            f"a {entity} always drops the rows that left the result", "Remove `on_removed`."
        )
    if entity.traits.names_device and values.get("on_removed") is OnRemoved.CLEAR:
        yield fields["on_removed"].error(
            "a device cannot be cleared: without its token and platform it is none", "Write `keep` or `delete`."
        )
    if incremental_line is None:
        return
    why = "a query that uses `last_sync_time` returns only the rows that changed"
    if not entity.traits.merges:
        message, hint = f"{why}, and a {entity} drops all others", f"Return all rows of a {entity}."
        yield DefinitionError(message, path=path, line=incremental_line, hint=hint)
    elif values.get("on_removed", OnRemoved.KEEP) is not OnRemoved.KEEP:
        yield fields["on_removed"].error(f"{why}, so `on_removed` must be `keep`", "Remove `on_removed`.")
    if "empty" in values.get("limits", {}):
        empty = fields["limits"].value
        assert isinstance(empty, dict)
        yield empty["empty"].error(f"{why}, so `limits.empty` has no effect", "Remove `empty`.")


def _of_lists(values: Mapping[str, Any], fields: Mapping[str, Node]) -> Iterator[DefinitionError]:
    """Fields that mean nothing for a list, or only for one."""
    action = _action(values)
    field = "entity: merge" if action is ListAction.MERGE else "action"
    if action is not None:
        for name in NOT_OF_LISTS & fields.keys():
            yield fields[name].error(
                f"`{name}` does not belong to a sync with `{field}`: it sends no attributes, and a row that leaves the "
                "list does nothing",
                f"Remove it, or remove `{field}`.",
            )
    own = {"merged" if action is ListAction.MERGE else "deleted"} if action and action.deletes else set[str]()
    for part in values.get("limits", {}):
        has_effect = part in own if action or part in ("deleted", "merged") else True
        if not has_effect:
            limits = fields["limits"].value
            assert isinstance(limits, dict)
            lacking = "`entity: merge`" if part == "merged" else "an `action` that deletes people"
            why = f"with `{field if field != 'action' else f'action: {action}'}`" if action else f"without {lacking}"
            hint = f"Write `{min(own)}`: it is the limit of a list." if own else f"Remove `{part}`."
            yield limits[part].error(f"`limits.{part}` has no effect {why}", hint)


def _action(values: Mapping[str, Any]) -> ListAction | None:
    """What a list does to each of its rows; None for a sync that is none."""
    if values["entity"].traits.names_pair:
        return ListAction.MERGE
    action: ListAction | None = values.get("action")
    return action


def _incremental_line(path: Path, text: DefinitionText, errors: list[DefinitionError]) -> int | None:
    """The file's line of the first use of `last_sync_time` outside of comments."""
    try:
        template = query.template(path, text.sql, text.sql_line)
    except DefinitionError as error:
        errors.append(error)
        return None
    return template.incremental_line if template else None
