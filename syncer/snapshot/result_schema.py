"""How the result of a sync's query becomes rows of its snapshot."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from syncer.definitions.folder import attribute_columns, check_columns, match_column
from syncer.model.errors import QueryResultError
from syncer.model.types import Identity, OnNull, OnRemoved, PersonKey, SyncDefinition
from syncer.snapshot.values import ColumnType, column_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute that the query feeds."""

    name: str
    #: Its place in the result, counted from 0.
    position: int
    kind: ColumnType
    type: pa.DataType


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSchema:
    """A result's columns, sorted into keys and attributes, and the header's rules for them."""

    definition: SyncDefinition
    #: The key's columns, in the target's order.
    keys: tuple[Attribute, ...]
    #: In the result's or the header's order; may be empty.
    attributes: tuple[Attribute, ...]
    #: How many columns the result has.
    width: int
    #: A person's other identifier, where the store keeps it unique and the result has it.
    unique: Attribute | None

    @property
    def fold_key(self) -> bool:
        """Whether the first key is an e-mail address, which is compared in lower case."""
        return self.definition.target.person_key is PersonKey.EMAIL

    @property
    def limit_key_bytes(self) -> bool:
        """Whether identifiers have the length limit of people and objects."""
        return self.definition.target.entity.traits.merges

    @property
    def keeps_nulls(self) -> bool:
        """Whether NULL leaves an attribute as it is."""
        return self.definition.on_null is OnNull.KEEP and self.definition.target.entity.traits.merges

    @property
    def clears_dropped(self) -> bool:
        """Whether a column that left the query has its attribute unset."""
        return self.definition.on_removed is OnRemoved.CLEAR

    @property
    def sends_removals(self) -> bool:
        """Whether a row that left the result is a removal in the store."""
        if self.definition.incremental:
            return False
        return self.definition.on_removed is not OnRemoved.KEEP or not self.definition.target.entity.traits.merges


def result_schema(definition: SyncDefinition, schema: pa.Schema, identity: Identity) -> ResultSchema:
    """Sort the columns of a result.

    Raises:
        DefinitionError: the header names a column that the result has not, or a name stands twice.
        QueryResultError: a column's type cannot be used.
    """
    names = list(schema.names)
    check_columns(definition, names)
    for field in schema:
        if pa.types.is_decimal256(field.type) or pa.types.is_float16(field.type):
            raise QueryResultError(
                f"column `{field.name}` has the type {field.type}, which cannot be compared",
                hint="Cast it in the query, for example to text.",
            )

    def attribute(name: str, column: str) -> Attribute:
        position = names.index(match_column(column, names) or column)
        field = schema.field(position)
        return Attribute(name=name, position=position, kind=column_type(field), type=field.type)

    attributes = tuple(attribute(n, c) for n, c in attribute_columns(definition, names).items())
    return ResultSchema(
        definition=definition,
        keys=tuple(attribute(c, c) for c in definition.target.key_columns),
        attributes=attributes,
        width=len(names),
        unique=_unique_identifier(definition, attributes, identity),
    )


def _unique_identifier(
    definition: SyncDefinition, attributes: tuple[Attribute, ...], identity: Identity
) -> Attribute | None:
    if not definition.target.entity.traits.has_other_identifiers:
        return None
    unique = {Identity.ID: {"id"}, Identity.EMAIL: {"email"}, Identity.ID_OR_EMAIL: {"id", "email"}}[identity]
    others = unique - {str(definition.target.person_key)}
    return next((a for a in attributes if a.name in others), None)
