"""What the header fields take that say who a row is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncer.definitions.values import TEXT, Field, FieldType, mapping
from syncer.definitions.yaml_header import Node
from syncer.model.entities import PersonKey
from syncer.model.spelling import listed

#: The part that names a visitor.
ANONYMOUS = "anonymous"

_KEYS: Mapping[str, Field] = {
    PersonKey.ID: Field(TEXT, "The column that holds the person's id."),
    PersonKey.EMAIL: Field(TEXT, "The column that holds the person's email."),
    PersonKey.PHONE: Field(TEXT, "The column that holds the person's phone number, in E.164."),
    PersonKey.CIO_ID: Field(TEXT, "The column that holds the store's own id."),
}
_VISITOR: Mapping[str, Field] = {
    ANONYMOUS: Field(TEXT, "The column that holds the id of a visitor whose name is not known yet.")
}
_EXAMPLE = "{id: column}"

#: One identifier of a person.
PERSON = mapping(_KEYS, _EXAMPLE, needs="one")

_PARTS = mapping({**_KEYS, **_VISITOR}, _EXAMPLE)


def _person_or_visitor(node: Node) -> dict[str, str]:
    found: dict[str, str] = _PARTS.read(node)
    keys = [part for part in found if part != ANONYMOUS]
    if len(keys) > 1 or not found:
        raise node.error(
            f"`{node.name}` has {len(keys)} parts: expected exactly one of {listed(list(_KEYS))}",
            f"Write it as `{_EXAMPLE}`.",
        )
    return found


_COUNT: Mapping[str, Any] = {
    "minProperties": 1,
    "anyOf": [{"maxProperties": 1}, {"maxProperties": 2, "required": [ANONYMOUS]}],
}

#: The same, or a visitor, or both; which of them an entity takes is no matter of the value.
PERSON_OR_VISITOR = FieldType(read=_person_or_visitor, schema={**_PARTS.schema, **_COUNT})

#: JSON Schema of a value that has an identifier, and of one that has no visitor.
IDENTIFIES: Mapping[str, Any] = {"anyOf": [{"required": [str(key)]} for key in _KEYS]}
NO_VISITOR: Mapping[str, Any] = {"properties": {ANONYMOUS: False}}
