"""The snapshot file's columns: which attribute is in which of them, before this run and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from syncer.model.types import ValueForm
from syncer.snapshot.result_schema import Attribute, ResultSchema
from syncer.snapshot.session import Session
from syncer.snapshot.values import ColumnType, as_json, as_sent, as_sent_from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredColumn:
    """An attribute's column in the snapshot file, as it is now and as this run makes it."""

    name: str
    physical: str
    #: Its type once this run has reshaped the file. Different types meet as JSON.
    type: ColumnType
    #: Its type in the file before this run; None where it is not there yet.
    was: ColumnType | None
    #: Where this run's result has it.
    fed: Attribute | None

    def staged(self) -> str:
        """SQL for its value in the staged row."""
        return self.physical if self.fed else "NULL"

    def sent(self, value: str, form: ValueForm) -> str:
        """SQL for the JSON text, as a store takes it, of a *value* in the new type; NULL stays NULL."""
        if self.fed is None or self.fed.kind is self.type:
            return as_sent(self.type, value, form)
        return as_sent_from_json(self.fed.kind, value, form)

    def acknowledged(self) -> str:
        """SQL for its value in the snapshot's row, in the new type."""
        if self.was is None:
            return "NULL"
        if self.was is self.type:
            return self.physical
        return f"CASE WHEN {self.physical} IS NOT NULL THEN {as_json(self.was, self.physical)} END"


@dataclass(frozen=True, kw_only=True)
class Layout:
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
        return tuple(c for c in self.columns if c.fed is not None or (self.schema.clears_dropped and c.was is not None))

    @cached_property
    def carried(self) -> tuple[StoredColumn, ...]:
        """Dropped columns whose attributes stay in the store: the snapshot remembers them, in case they come back.

        A collection's row is replaced whole, and does not have them any more.
        """
        if self.schema.clears_dropped or not self.schema.definition.target.entity.traits.merges:
            return ()
        return tuple(c for c in self.columns if c.fed is None)

    @cached_property
    def other_identifiers(self) -> tuple[StoredColumn, ...]:
        """A person's identifiers beside the key: a store has columns of its own for them."""
        if not self.schema.definition.target.entity.traits.has_other_identifiers:
            return ()
        return tuple(c for c in self.fed if c.name in ("id", "email"))

    def reshaped(self) -> Layout:
        """The same once the file has been reshaped."""
        return replace(self, columns=tuple(replace(c, was=c.type) for c in self.columns))


def layout_of(session: Session, schema: ResultSchema) -> Layout:
    """Match the result's attributes with the file's columns; new ones come last."""
    rows = session.rows("SELECT name, physical, kind FROM columns")
    fed = {a.name: a for a in schema.attributes}
    known = [_known_column(name, physical, ColumnType(type_), fed.get(name)) for name, physical, type_ in rows]
    taken = {c.name for c in known}
    number = max((int(c.physical[1:]) for c in known), default=0)
    new = [a for a in schema.attributes if a.name not in taken]
    return Layout(
        schema=schema,
        columns=(
            *known,
            *(
                StoredColumn(name=a.name, physical=f"c{number + i}", type=a.kind, was=None, fed=a)
                for i, a in enumerate(new, start=1)
            ),
        ),
    )


def _known_column(name: str, physical: str, was: ColumnType, fed: Attribute | None) -> StoredColumn:
    type_ = was if fed is None or fed.kind is was else ColumnType.JSON
    return StoredColumn(name=name, physical=physical, type=type_, was=was, fed=fed)


def in_file(session: Session, columns: Sequence[StoredColumn]) -> tuple[StoredColumn, ...]:
    """Those of *columns* that the file has, once it has been reshaped."""
    stored = {name for (name,) in session.rows("SELECT physical FROM columns")}
    return tuple(c for c in columns if c.physical in stored)
