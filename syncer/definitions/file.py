"""One file to one definition: the fields' values, and whether they go together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncer.definitions import columns, yaml_header
from syncer.definitions.fields import FIELDS, NOT_OF_LISTS, Empty
from syncer.definitions.person_values import ANONYMOUS, PREVIOUS, key_of
from syncer.definitions.values import name_fault, read_fields
from syncer.definitions.yaml_header import DefinitionText, Node
from syncer.model.errors import DefinitionError
from syncer.model.spelling import listed, quoted
from syncer.model.types import (
    NONE,
    Cron,
    DeviceFields,
    Entity,
    EventKind,
    EventRules,
    EventType,
    Limits,
    ListAction,
    OnRemoved,
    PersonKey,
    Platform,
    SyncDefinition,
    Target,
)
from syncer.queries import query

if TYPE_CHECKING:
    from syncer.queries.template import Template

#: Fields that go into the definition as they are read.
_PLAIN = (
    "description", "owner", "tags", "attributes", "exclude", "warehouse", "store", "schedule", "catch_up", "on_removed",
    "on_null", "create", "timeout", "lookback", "full_every", "depends_on", "queue", "priority", "snapshot",
    "enabled",
)  # fmt: skip


#: Unless the header says otherwise: how far back an incremental query of events looks; how long their ids are known.
_LOOKBACK_OF_EVENTS, _REMEMBERED = timedelta(days=1), timedelta(days=90)


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
    template = _template(path, text, errors)
    incremental_line = template.incremental_line if template else None
    if "entity" not in text.fields:
        message = f"`entity` is missing: expected {listed(list(Entity))}"
        errors.append(DefinitionError(message, path=path, hint="Add a line `entity: person`."))
    if "entity" not in values:
        return None
    entity: Entity = values["entity"]
    if template and template.event_line and not entity.traits.happens:
        message = f"`last_event_time` does not belong to a sync of entity `{entity}`, only of events"
        errors.append(DefinitionError(message, path=path, line=template.event_line, hint="Use `last_sync_time`."))
    errors += _misplaced(entity, text.fields)
    errors += [*_contradictions(path, values, text.fields, incremental_line), *_of_lists(values, text.fields)]
    return None if errors else _built(path, name, text, values, incremental=incremental_line is not None)


def _built(
    path: Path, name: str, text: DefinitionText, values: Mapping[str, Any], *, incremental: bool
) -> SyncDefinition:
    entity: Entity = values["entity"]
    limits, device = values.get("limits", {}), values.get("device", {})
    plain = {field: values[field] for field in _PLAIN if field in values}
    rules: EventRules | None = None
    if entity.traits.happens:
        rules = _event_rules(values, incremental=incremental)
        plain.setdefault("lookback", _LOOKBACK_OF_EVENTS)
    elif not entity.traits.merges:
        plain["on_removed"] = OnRemoved.DELETE
    if isinstance(plain.get("schedule"), Cron):
        plain["schedule"] = replace(plain["schedule"], timezone=values.get("timezone", "UTC"))
    return SyncDefinition(
        name=name,
        path=path,
        sql=text.sql,
        sql_line=text.sql_line,
        target=_target(values),
        device=_device(device) if device else None,
        visitor_column=values.get("person", {}).get(ANONYMOUS),
        previous_column=values.get("person", {}).get(PREVIOUS),
        event_rules=rules,
        limits=Limits(
            **{part: limit for part, limit in limits.items() if part != "empty"},
            allow_empty=limits.get("empty") is Empty.ALLOW,
        ),
        tolerated=values.get("tolerate", {}).get("rejected", NONE),
        incremental=incremental,
        lines=dict(line for node in text.fields.values() for line in node.lines()),
        **plain,
    )


def _target(values: Mapping[str, Any]) -> Target:
    person, merged = key_of(values.get("person", values.get("keep", {}))), values.get("merge", {})
    thing, device, event = values.get("object", {}), values.get("device", {}), values.get("event")
    own = (*merged.values(), *([thing["id"]] if thing else []), *([device["token"]] if device else []))
    key_columns = (*person.values(), *own, *values.get("key", ()))
    kind: EventType | None = None
    if event is not None:
        kind = EventType(**event["name"], kind=event.get("kind", EventKind.EVENT))
        key_columns = (*event["id"], *filter(None, [kind.column]))
    return Target(
        entity=values["entity"],
        person_key=PersonKey(next(iter(person))) if person else None,
        names_visitors=ANONYMOUS in values.get("person", {}),
        names_previous=PREVIOUS in values.get("person", {}),
        merged_key=PersonKey(next(iter(merged))) if merged else None,
        object_type=thing.get("type"),
        collection=values.get("collection"),
        event=kind,
        key_columns=key_columns,
        action=_action(values),
    )


def _event_rules(values: Mapping[str, Any], *, incremental: bool) -> EventRules:
    return EventRules(
        person_column=next(iter(key_of(values["person"]).values()), None),
        time_column=values["event"]["time"],
        start=values["start"],
        remember=values.get("remember", _REMEMBERED if incremental else None),
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
    yield from _misplaced_limits(entity, fields)
    yield from _misplaced_visitor(values, fields)
    yield from _misplaced_previous(values, fields)
    if entity.traits.happens:
        yield from _forgetting(values, fields, incremental=incremental_line is not None)
        return
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


def _misplaced_visitor(values: Mapping[str, Any], fields: Mapping[str, Node]) -> Iterator[DefinitionError]:
    """A visitor of rows that have none, or no person beside a visitor."""
    entity: Entity = values["entity"]
    if ANONYMOUS not in values.get("person", {}) or not entity.traits.names_person:
        return
    person = fields["person"].value
    assert isinstance(person, dict)
    if not entity.traits.knows_visitors or _action(values) is not None:
        whose = f"a sync of entity `{entity}`" if _action(values) is None else "a sync with `action`"
        known = listed([one for one in Entity if one.traits.knows_visitors], last="and")
        yield person[ANONYMOUS].error(f"`person.{ANONYMOUS}` does not belong to {whose}, only of {known}", "Remove it.")
    elif not (entity.traits.happens or key_of(values["person"])):
        yield fields["person"].error(
            f"`person` names a visitor and nobody who claims them: expected one of {listed(list(PersonKey))} too",
            f"Write it as `{{id: column, {ANONYMOUS}: column}}`.",
        )


def _misplaced_previous(values: Mapping[str, Any], fields: Mapping[str, Node]) -> Iterator[DefinitionError]:
    """A former email of rows that put no people, or of people who are known otherwise."""
    entity, given = values["entity"], values.get("person", {})
    if PREVIOUS not in given or not entity.traits.names_person:
        return
    person, (key, *_) = fields["person"].value, (*key_of(given), "")
    assert isinstance(person, dict)
    if entity is not Entity.PERSON or _action(values) is not None:
        whose = f"a sync of entity `{entity}`" if _action(values) is None else "a sync with `action`"
        why = f"does not belong to {whose}, only of `{Entity.PERSON}`"
    elif key == PersonKey.EMAIL:
        return
    elif key == PersonKey.ID:
        why = "has no use beside an `id`, which keeps the profile when an email changes"
    else:
        why = f"says by which email a person was known, and `person` knows them by `{key}`"
    yield person[PREVIOUS].error(f"`person.{PREVIOUS}` {why}", "Remove it.")


def _misplaced_limits(entity: Entity, fields: Mapping[str, Node]) -> Iterator[DefinitionError]:
    """The limits that mean nothing to a sync of this entity."""
    given = fields["limits"].value if "limits" in fields else {}
    for part, node in given.items() if isinstance(given, dict) else ():
        if (part == "events") is not entity.traits.happens:
            known = "`limits.events` is the only limit of events" if entity.traits.happens else "it is one of events"
            yield node.error(f"`limits.{part}` does not belong to a sync of entity `{entity}`: {known}", "Remove it.")


def _forgetting(
    values: Mapping[str, Any], fields: Mapping[str, Node], *, incremental: bool
) -> Iterator[DefinitionError]:
    """Whether an event sync forgets the ids of events that its query may return again."""
    remember, lookback = values.get("remember"), values.get("lookback", _LOOKBACK_OF_EVENTS)
    if remember is not None and remember <= lookback:
        yield fields["remember"].error(
            "`remember` is not longer than `lookback`, so that events would be sent again after they were forgotten",
            "Make it longer, such as `90 days`.",
        )
    elif incremental and remember is None and lookback >= _REMEMBERED:
        yield fields["lookback"].error(
            "`lookback` is not shorter than the 90 days for which the ids of sent events are known",
            "Make it shorter, or give a longer `remember`.",
        )


def _template(path: Path, text: DefinitionText, errors: list[DefinitionError]) -> Template | None:
    try:
        return query.template(path, text.sql, text.sql_line)
    except DefinitionError as error:
        errors.append(error)
        return None
