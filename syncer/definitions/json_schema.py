"""The JSON Schemas of the header and of `attributes.yml`, as editors read them."""

from __future__ import annotations

from typing import Any

from syncer.definitions.attribute_rules import RULE
from syncer.definitions.fields import FIELDS, NOT_OF_LISTS
from syncer.definitions.person_values import IDENTIFIES, NO_PREVIOUS, NO_VISITOR
from syncer.definitions.values import ATTRIBUTE_NAME
from syncer.model.types import Entity, OnRemoved

_DRAFT = {"$schema": "http://json-schema.org/draft-07/schema#"}


def schema() -> dict[str, Any]:
    """The header's schema, draft 7."""
    return {
        **_DRAFT,
        "title": "Syncer sync definition",
        "description": "The YAML between `/* sync` and `*/` at the top of a .sql file.",
        "type": "object",
        "additionalProperties": False,
        "required": ["entity"],
        "properties": {name: field.schema() for name, field in FIELDS.items()},
        "allOf": [*map(_rules_of, Entity), *_rules_of_lists()],
    }


def attributes_schema() -> dict[str, Any]:
    """The schema of `attributes.yml`, draft 7."""
    return {
        **_DRAFT,
        "title": "Syncer attributes",
        "description": "Which syncs may write an attribute of people, whose value stands, and how it is written.",
        "type": "object",
        "propertyNames": {"pattern": ATTRIBUTE_NAME},
        "additionalProperties": RULE.schema,
    }


def _rules_of_lists() -> list[dict[str, Any]]:
    misplaced: dict[str, Any] = dict.fromkeys(sorted(NOT_OF_LISTS), False)
    misplaced |= {"person": {"allOf": [NO_VISITOR, NO_PREVIOUS]}}
    is_merge = {"properties": {"entity": {"const": str(Entity.MERGE)}}, "required": ["entity"]}
    return [
        {"if": condition, "then": {"properties": misplaced | {"limits": {"propertyNames": {"const": limit}}}}}
        for condition, limit in (({"required": ["action"]}, "deleted"), (is_merge, "merged"))
    ]


def _rules_of(entity: Entity) -> dict[str, Any]:
    required = [name for name, field in FIELDS.items() if field.example and entity in field.entities]
    misplaced: dict[str, Any] = {name: False for name, field in FIELDS.items() if entity not in field.entities}
    if entity.traits.names_person and not entity.traits.knows_visitors:
        misplaced["person"] = {"allOf": [NO_VISITOR, NO_PREVIOUS]}
    elif entity.traits.names_person:
        misplaced["person"] = NO_PREVIOUS if entity.traits.happens else IDENTIFIES
    if entity.traits.names_device:
        misplaced["on_removed"] = {"enum": [OnRemoved.KEEP, OnRemoved.DELETE]}
    # `events` is the only limit of events, and theirs alone.
    limits = FIELDS["limits"].kind.schema["properties"]
    misplaced["limits"] = {"properties": {n: False for n in limits if (n == "events") is not entity.traits.happens}}
    return {
        "if": {"properties": {"entity": {"const": str(entity)}}, "required": ["entity"]},
        "then": {"required": required, "properties": misplaced},
    }
