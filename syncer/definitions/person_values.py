"""What the header fields take that say who a row is about."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from syncer.definitions.values import TEXT, Field, FieldType, mapping
from syncer.definitions.yaml_header import Node
from syncer.model.entities import PersonKey
from syncer.model.spelling import listed

#: The part that names a visitor.
ANONYMOUS = "anonymous"
#: The part that says by which email the person was known before.
PREVIOUS = "previous"

_KEYS: Mapping[str, Field] = {
    PersonKey.ID: Field(TEXT, "The column that holds the person's id."),
    PersonKey.EMAIL: Field(TEXT, "The column that holds the person's email."),
    PersonKey.PHONE: Field(TEXT, "The column that holds the person's phone number, in E.164."),
    PersonKey.CIO_ID: Field(TEXT, "The column that holds the store's own id."),
}
_MORE: Mapping[str, Field] = {
    ANONYMOUS: Field(TEXT, "The column that holds the id of a visitor whose name is not known yet."),
    PREVIOUS: Field(TEXT, "The column that holds the email by which the person was known before, or NULL."),
}
_EXAMPLE = "{id: column}"

#: One identifier of a person.
PERSON = mapping(_KEYS, _EXAMPLE, needs="one")

_PARTS = mapping({**_KEYS, **_MORE}, _EXAMPLE)


def _person_or_visitor(node: Node) -> dict[str, str]:
    found: dict[str, str] = _PARTS.read(node)
    keys = [*key_of(found)]
    if len(keys) > 1 or not (keys or [*found] == [ANONYMOUS]):
        raise node.error(
            f"`{node.name}` has {len(keys)} parts: expected exactly one of {listed(list(_KEYS))}",
            f"Write it as `{_EXAMPLE}`.",
        )
    return found


def key_of(found: Mapping[str, str]) -> dict[str, str]:
    """Of the parts of `person`, each with its column, the one that identifies the person; empty where none does."""
    return {part: column for part, column in found.items() if part in _KEYS}


#: JSON Schema of a value that has an identifier, and of one that has no visitor, or no former email.
IDENTIFIES: Mapping[str, Any] = {"anyOf": [{"required": [str(key)]} for key in _KEYS]}
NO_VISITOR: Mapping[str, Any] = {"properties": {ANONYMOUS: False}}
NO_PREVIOUS: Mapping[str, Any] = {"properties": {PREVIOUS: False}}

_COUNT: Mapping[str, Any] = {
    "anyOf": [{"required": [ANONYMOUS]}, IDENTIFIES],
    "not": {"anyOf": [{"required": [str(a), str(b)]} for a, b in combinations(_KEYS, 2)]},
    "dependencies": {PREVIOUS: {"required": [str(PersonKey.EMAIL)]}},
}

#: The same, or a visitor, or both, or a former email too; which of them an entity takes is no matter of the value.
PERSON_OR_VISITOR = FieldType(read=_person_or_visitor, schema={**_PARTS.schema, **_COUNT})
