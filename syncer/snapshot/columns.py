"""The columns of a run: those of the query's result, and those of the snapshot's file, before this run and after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import pyarrow as pa

from syncer.definitions.columns import attribute_columns, check_columns, event_columns, match_column, visitor_column
from syncer.model.errors import QueryResultError
from syncer.model.protocols import COLUMN_CASE, WRITTEN_NAMES
from syncer.model.types import Identity, OnNull, OnRemoved, PersonKey, SyncDefinition, ValueForm
from syncer.snapshot import devices, visitors
from syncer.snapshot.attributes import Attribute as Attribute
from syncer.snapshot.attributes import EventColumns, as_event_columns
from syncer.snapshot.identifiers import former_email, unique_others
from syncer.snapshot.session import Session
from syncer.snapshot.values import ColumnType, as_json, as_sent, column_type, literal

#: Bytes of UTF-8. Customer.io refuses longer ids (Track API limits), and every store keeps to the same.
LONGEST_KEY = 150
#: Those of Google have more than 150 and no limit of their own; it is that of every other value at Customer.io.
LONGEST_TOKEN = 1_000


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
    #: A person's other identifiers, where the store keeps them unique and the result has them.
    unique: tuple[Attribute, ...] = ()
    #: What the store knows people by beside their attributes.
    identifiers: tuple[str, ...] = Identity.ID.names
    #: COLUMN_CASE of the result; empty where the warehouse folds no names, or they are kept as they were.
    column_case: str = ""
    #: How the store takes values.
    form: ValueForm = ValueForm.EXACT
    #: Set for events.
    event: EventColumns | None = None
    #: By which email a person was known before.
    previous: Attribute | None = None

    @property
    def used(self) -> tuple[Attribute, ...]:
        """All columns of the result that matter."""
        return (*self.keys, *self.attributes, *(self.event.own if self.event else filter(None, [self.previous])))

    @property
    def folded_keys(self) -> frozenset[int]:
        """Which of the keys, from 0 on, are e-mail addresses, which are compared in lower case."""
        kinds = self.definition.target.keys_of_people
        return frozenset(place for place, kind in enumerate(kinds) if kind is PersonKey.EMAIL)

    def is_phone(self, key: Attribute) -> bool:
        """Whether a part of the key, or an event's person, is a phone number."""
        target, people = self.definition.target, [self.event.person] if self.event else self.keys
        kinds = (target.person_key, target.merged_key)
        return any(key is one and kind is PersonKey.PHONE for one, kind in zip(people, kinds, strict=False))

    def longest(self, key: Attribute) -> int | None:
        """The most bytes of a part of the key; None where there is no limit."""
        if not self.definition.target.entity.traits.merges:
            return LONGEST_KEY if self.event and any(key is one for one in self.event.who.values()) else None
        is_token = self.definition.target.entity.traits.names_device and key is self.keys[1]
        return LONGEST_TOKEN if is_token else LONGEST_KEY

    def form_of(self, attribute: str) -> ValueForm:
        """How the store takes the values of an attribute; other identifiers are text, spelled as keys are."""
        is_identifier = self.definition.target.entity.traits.has_other_identifiers and attribute in self.identifiers
        return ValueForm.EXACT if is_identifier else self.form

    @property
    def keeps_nulls(self) -> bool:
        """Whether NULL leaves an attribute as it is."""
        return self.definition.on_null is OnNull.KEEP and self.definition.target.entity.traits.merges

    @property
    def clears_dropped(self) -> bool:
        """Whether a column that left the query has its attribute unset."""
        return self.definition.on_removed is OnRemoved.CLEAR

    @property
    def deletes(self) -> bool:
        """Whether a row that left the result is deleted from the store."""
        is_deleted = self.definition.on_removed is OnRemoved.DELETE or not self.definition.target.entity.traits.merges
        return self.sends_removals and is_deleted

    @property
    def sends_removals(self) -> bool:
        """Whether a row that left the result is a removal in the store."""
        if self.definition.incremental or self.event:
            return False
        return self.definition.on_removed is not OnRemoved.KEEP or not self.definition.target.entity.traits.merges


def result_schema(
    definition: SyncDefinition,
    schema: pa.Schema,
    identity: Identity,
    form: ValueForm = ValueForm.EXACT,
    *,
    now: datetime | None = None,
    store_id: str = "",
) -> ResultSchema:
    """Sort the columns of a result.

    Shapes:
        identity, form, store_id: of the store; see `ProfileStore`.
        now: the time by the warehouse's clock, which events may not be ahead of; None for this machine's.
    Raises:
        DefinitionError: the header names a column that the result lacks, or two columns have one name; or the sync may
            not write an attribute.
        QueryResultError: a column's type cannot be used.
    """
    names = list(schema.names)
    check_columns(definition, names, written_names(schema))
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
    if definition.rules:
        from syncer.snapshot import conversions

        attributes = conversions.of_result(definition, attributes)
    if definition.device is not None:
        attributes = devices.of_result(definition.device, attributes, len(names))
    if (visitor := visitor_column(definition, names)) is not None:
        attributes = (*attributes, visitors.of_result(attribute(visitor, visitor)))
    return ResultSchema(
        definition=definition,
        keys=tuple(attribute(c, c) for c in definition.target.key_columns),
        attributes=attributes,
        width=len(names),
        unique=unique_others(definition, attributes, identity),
        identifiers=identity.names,
        column_case=column_case(schema),
        form=form,
        event=as_event_columns(
            {role: attribute(c, c) for role, c in event_columns(definition, names).items()}, now, store_id
        ),
        previous=former_email(definition, names, attribute),
    )


def column_case(schema: pa.Schema) -> str:
    """COLUMN_CASE of a result; empty where its warehouse folds no names."""
    return str((schema.metadata or {}).get(COLUMN_CASE, b"").decode())


def written_names(schema: pa.Schema) -> list[str]:
    """WRITTEN_NAMES of a result; empty where its warehouse folds no names."""
    found: list[str] = json.loads((schema.metadata or {}).get(WRITTEN_NAMES, b"[]"))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredColumn:
    """An attribute's column in the snapshot file, as it is now and as this run makes it."""

    name: str
    physical: str
    #: Its type once this run has reshaped the file. Different types meet as JSON, each value as the store is sent it.
    type: ColumnType
    #: Its type in the file before this run; None where it is not there yet.
    was: ColumnType | None
    #: Where this run's result has it.
    fed: Attribute | None
    #: How the store takes its values.
    form: ValueForm
    #: Whether it is what the header says of a device.
    is_of_device: bool

    @property
    def is_visitor(self) -> bool:
        """Whether it is the visitor whom a person claims, and no attribute."""
        return self.physical == visitors.COLUMN

    def staged(self) -> str:
        """SQL for its value in the staged row."""
        return self.physical if self.fed else "NULL"

    def sent(self, value: str) -> str:
        """SQL for the JSON text, as the store takes it, of a *value* in the new type; NULL stays NULL."""
        return (devices.sent_json if self.is_of_device else as_sent)(self.type, value, self.form)

    def acknowledged(self) -> str:
        """SQL for its value in the snapshot's row, in the new type."""
        if self.was is None:
            return "NULL"
        if self.was is self.type:
            return self.physical
        return f"CASE WHEN {self.physical} IS NOT NULL THEN {as_sent(self.was, self.physical, self.form)} END"


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """The columns of one run's result, and the file's columns that hold them."""

    schema: ResultSchema
    #: All that the file has or will have.
    columns: tuple[StoredColumn, ...]

    @cached_property
    def fed(self) -> tuple[StoredColumn, ...]:
        """The columns that the result has."""
        return tuple(c for c in self.columns if c.fed is not None)

    @cached_property
    def compared(self) -> tuple[StoredColumn, ...]:
        """The columns in which a row may differ: the result's, and dropped ones if they are to be unset."""
        unsets = self.schema.clears_dropped or not self._merges
        return tuple(c for c in self.columns if c.fed or (unsets and c.was is not None and not c.is_visitor))

    @cached_property
    def reshaping(self) -> tuple[StoredColumn, ...]:
        """The columns that every row of a collection gets or loses: NULL ones are part of its data too."""
        return () if self._merges else tuple(c for c in self.columns if (c.fed is None) != (c.was is None))

    @property
    def is_unchanged(self) -> bool:
        """Whether the file has the result's columns, each in its type, and no others."""
        return all(c.fed is not None and c.was is c.type for c in self.columns)

    @cached_property
    def carried(self) -> tuple[StoredColumn, ...]:
        """Dropped columns whose attributes stay in the store: the snapshot remembers them, in case they come back.

        A collection's row is replaced whole, and does not have them any more.
        """
        if self.schema.clears_dropped or not self._merges:
            return ()
        return tuple(c for c in self.columns if c.fed is None)

    @cached_property
    def own(self) -> tuple[StoredColumn, ...]:
        """The attributes for which a store has columns of its own: other identifiers, and what makes a device."""
        own = self.schema.definition.target.entity.traits.columns_in(self.schema.identifiers)
        return tuple(c for c in self.fed if c.name in own)

    @property
    def _merges(self) -> bool:
        return self.schema.definition.target.entity.traits.merges

    def reshaped(self) -> ColumnMap:
        """The same once the file has been reshaped."""
        return replace(self, columns=tuple(replace(c, was=c.type) for c in self.columns))


def layout_of(session: Session, schema: ResultSchema) -> ColumnMap:
    """Match the result's attributes with the file's columns; new ones come last."""
    rows = session.rows("SELECT name, physical, kind FROM columns")
    fed = {(a.name, a.is_visitor): a for a in schema.attributes}
    known = [
        _known_column(name, physical, ColumnType(type_), fed.get((name, physical == visitors.COLUMN)), schema)
        for name, physical, type_ in rows
    ]
    taken = {(c.name, c.is_visitor) for c in known}
    number = max((int(c.physical[1:]) for c in known), default=0)
    new = [a for a in schema.attributes if (a.name, a.is_visitor) not in taken]
    return ColumnMap(
        schema=schema,
        columns=(
            *known,
            *(
                StoredColumn(
                    name=a.name,
                    physical=visitors.COLUMN if a.is_visitor else f"c{number + i}",
                    type=a.kind,
                    was=None,
                    fed=a,
                    form=schema.form_of(a.name),
                    is_of_device=a.is_of_device,
                )
                for i, a in enumerate(new, start=1)
            ),
        ),
    )


def _known_column(
    name: str, physical: str, was: ColumnType, fed: Attribute | None, schema: ResultSchema
) -> StoredColumn:
    entity = schema.definition.target.entity
    return StoredColumn(
        name=name,
        physical=physical,
        type=was if fed is None or fed.kind is was else ColumnType.JSON,
        was=was,
        fed=fed,
        form=schema.form_of(name),
        is_of_device=entity.traits.names_device and name in entity.traits.own_columns,
    )


def in_file(session: Session, columns: Sequence[StoredColumn]) -> tuple[StoredColumn, ...]:
    """Those of *columns* that the file has, once it has been reshaped."""
    stored = {name for (name,) in session.rows("SELECT physical FROM columns")}
    return tuple(c for c in columns if c.physical in stored)


def json_name(name: str) -> str:
    """SQL for a JSON member's name and colon."""
    return literal(json.dumps(name, ensure_ascii=False) + ":")


def json_object(members: Sequence[str]) -> str:
    """SQL for a JSON object of *members*, each the SQL of a name and a value; a NULL one is left out."""
    return f"'{{' || concat_ws(',', {', '.join(members)}) || '}}'" if members else "'{}'"


def json_array(items: Sequence[str]) -> str:
    """SQL for a JSON array of *items*, each the SQL of a JSON text; a NULL one is left out."""
    return f"'[' || concat_ws(',', {', '.join(items)}) || ']'" if items else "'[]'"


def whole_row(layout: ColumnMap, side: str = "staged") -> str:
    """SQL for all of a row's columns as a JSON object, NULL ones as null; *side* as the methods of StoredColumn."""
    sent = [(c.name, c.sent(f"({getattr(c, side)()})")) for c in sorted(layout.fed, key=lambda c: c.form.rank(c.name))]
    return json_object([f"{json_name(name)} || coalesce({value}, 'null')" for name, value in sent])


def shown_row(columns: Sequence[StoredColumn], side: str, more: Sequence[str] = ()) -> str:
    """The same as people see it, of any columns; *more*: further members, as `json_object` takes them."""
    values = [(c.name, as_json(c.type, f"({getattr(c, side)()})")) for c in columns]
    return json_object([*(f"{json_name(name)} || coalesce({value}, 'null')" for name, value in values), *more])


def listed(columns: Sequence[StoredColumn], side: str, prefix: str) -> str:
    """SQL for the values of columns, as *prefix* and their number; *side* as the methods of StoredColumn."""
    return ", ".join(f"{getattr(c, side)()} AS {prefix}{i}" for i, c in enumerate(columns)) or "1 AS nothing"
