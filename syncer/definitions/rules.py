"""Which header fields go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from syncer.definitions.fields import FIELDS
from syncer.definitions.yaml_header import Node
from syncer.model.errors import DefinitionError
from syncer.model.spelling import listed, quoted
from syncer.model.types import Entity, OnRemoved, PersonKey


def broken(
    path: Path, values: Mapping[str, Any], fields: Mapping[str, Node], incremental_line: int | None
) -> Iterator[DefinitionError]:
    """An error for each rule that the fields break.

    Shapes:
        values: what could be read of *fields*, with `entity`.
        incremental_line: where the query mentions `last_sync_time`, in the file; None where it does not.
    """
    yield from _misplaced(values["entity"], fields)
    yield from _contradictions(values, fields)
    if incremental_line is not None:
        yield from _incremental_contradictions(path, values, fields, incremental_line)


def key_columns(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The identifier's columns, in the order of the target's key."""
    columns = [*values.get("person", {}).values()]
    columns += [values["object"]["id"]] if "object" in values else []
    return (*columns, *values.get("key", ()))


def person_attribute_fault(key: PersonKey, attribute: str) -> str:
    """Why a person known by *key* cannot have this attribute; empty where they can."""
    if attribute == PersonKey.CIO_ID:
        return "the attribute `cio_id` is the store's own and cannot be written"
    if attribute == key:
        return f"the attribute {quoted(attribute)} is the identifier itself, which comes from another column"
    return ""


def _misplaced(entity: Entity, fields: Mapping[str, Node]) -> Iterator[DefinitionError]:
    """What a sync of this entity lacks, or has and cannot have."""
    for name, field in FIELDS.items():
        needed = field.example and entity in field.entities
        if needed and name not in fields:
            yield fields["entity"].error(
                f"a sync of entity `{entity}` needs `{name}`", f"Add `{name}: {field.example}`."
            )
        elif name in fields and entity not in field.entities:
            others = listed([other for other in Entity if other in field.entities])
            yield fields[name].error(
                f"`{name}` does not belong to a sync of entity `{entity}`, only of {others}",
                "Take it away, or change `entity`.",
            )


def _contradictions(values: Mapping[str, Any], fields: Mapping[str, Node]) -> Iterator[DefinitionError]:
    entity = values["entity"]
    if "attributes" in values and "exclude" in values:
        yield fields["exclude"].error(
            "`exclude` stands beside `attributes`, which names every column to take", "Keep one of the two."
        )
    if not entity.traits.merges and values.get("on_removed", OnRemoved.DELETE) is not OnRemoved.DELETE:
        yield fields["on_removed"].error(
            f"a {entity} always drops the rows that left the result", "Take `on_removed` away."
        )
    columns = key_columns(values)
    if entity.traits.links and len(set(columns)) < len(columns):
        yield fields["object"].error(f"{quoted(columns[0])} identifies both the person and the object")
    yield from _identifiers_among(values, fields, set(columns))


def _identifiers_among(
    values: Mapping[str, Any], fields: Mapping[str, Node], identifiers: set[str]
) -> Iterator[DefinitionError]:
    for column in values.get("exclude", ()):
        if column in identifiers:
            yield fields["exclude"].error(f"{quoted(column)} is the identifier and cannot be left out")
    traits = values["entity"].traits
    if not traits.merges:
        return
    for attribute, column in (values.get("attributes") or {}).items():
        if column in identifiers:
            yield _attribute_node(fields["attributes"], attribute).error(
                f"the column {quoted(column)} is the identifier, and no attribute beside it",
                "Take it out of `attributes`; the identifier is always sent.",
            )
        for key in values.get("person", {}) if traits.has_other_identifiers else ():
            fault = person_attribute_fault(key, attribute)
            if fault:
                yield _attribute_node(fields["attributes"], attribute).error(fault)


def _attribute_node(node: Node, attribute: str) -> Node:
    if isinstance(node.value, dict):
        return node.value[attribute]
    return next((item for item in node.value if isinstance(item, Node) and item.value == attribute), node)


def _incremental_contradictions(
    path: Path, values: Mapping[str, Any], fields: Mapping[str, Node], line: int
) -> Iterator[DefinitionError]:
    why = "a query that mentions `last_sync_time` returns only the rows that changed"
    entity: Entity = values["entity"]
    if not entity.traits.merges:
        yield DefinitionError(
            f"{why}, and a {entity} drops the others", path=path, line=line, hint=f"Return all rows of a {entity}."
        )
    elif values.get("on_removed", OnRemoved.KEEP) is not OnRemoved.KEEP:
        yield fields["on_removed"].error(f"{why}, so `on_removed` must be `keep`", "Take `on_removed` away.")
    if "empty" in values.get("limits", {}):
        empty = fields["limits"].value
        assert isinstance(empty, dict)
        yield empty["empty"].error(f"{why}, so `limits.empty` means nothing", "Take `empty` away.")
