"""The snapshot file's columns: which attribute is in which of them, before this run and after."""

from __future__ import annotations

from dataclasses import dataclass, replace

import duckdb

from syncer.model.types import ValueForm
from syncer.snapshot.result_schema import Attribute, ResultSchema
from syncer.snapshot.values import ColumnType, as_json, as_sent, as_sent_from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredColumn:
    """An attribute's column in the snapshot file, as it is now and as this run makes it."""

    name: str
    physical: str
    #: Its kind once this run has reshaped the file. Differing kinds meet as JSON.
    kind: ColumnType
    #: Its kind in the file before this run; None where it is not there yet.
    was: ColumnType | None
    #: Where this run's result has it.
    fed: Attribute | None

    def staged(self) -> str:
        """SQL for its value in the staged row."""
        return self.physical if self.fed else "NULL"

    def sent(self, value: str, form: ValueForm) -> str:
        """SQL for the JSON text, as a store takes it, of a *value* in the new kind; NULL stays NULL."""
        if self.fed is None or self.fed.kind is self.kind:
            return as_sent(self.kind, value, form)
        return as_sent_from_json(self.fed.kind, value, form)

    def acknowledged(self) -> str:
        """SQL for its value in the snapshot's row, in the new kind."""
        if self.was is None:
            return "NULL"
        if self.was is self.kind:
            return self.physical
        return f"CASE WHEN {self.physical} IS NOT NULL THEN {as_json(self.was, self.physical)} END"


def stored_columns(connection: duckdb.DuckDBPyConnection, shape: ResultSchema) -> tuple[StoredColumn, ...]:
    """Match the result's attributes with the file's columns; new ones come last."""
    rows = connection.execute("SELECT name, physical, kind FROM columns").fetchall()
    fed = {a.name: a for a in shape.attributes}
    known = [_known_column(name, physical, ColumnType(kind), fed.get(name)) for name, physical, kind in rows]
    taken = {c.name for c in known}
    number = max((int(c.physical[1:]) for c in known), default=0)
    new = [a for a in shape.attributes if a.name not in taken]
    return (
        *known,
        *(
            StoredColumn(name=a.name, physical=f"c{number + i}", kind=a.kind, was=None, fed=a)
            for i, a in enumerate(new, start=1)
        ),
    )


def _known_column(name: str, physical: str, was: ColumnType, fed: Attribute | None) -> StoredColumn:
    kind = was if fed is None or fed.kind is was else ColumnType.JSON
    return StoredColumn(name=name, physical=physical, kind=kind, was=was, fed=fed)


def compared(shape: ResultSchema, columns: tuple[StoredColumn, ...]) -> tuple[StoredColumn, ...]:
    """The columns in which a row may differ: those of the result, and dropped ones where they are to be unset."""
    return tuple(c for c in columns if c.fed is not None or (shape.clears_dropped and c.was is not None))


def carried(shape: ResultSchema, columns: tuple[StoredColumn, ...]) -> tuple[StoredColumn, ...]:
    """Dropped columns whose attributes stay in the store: the snapshot remembers them, in case they come back.

    A collection's row is replaced whole, and has them no more.
    """
    if shape.clears_dropped or not shape.definition.target.entity.traits.merges:
        return ()
    return tuple(c for c in columns if c.fed is None)


def not_forgotten(connection: duckdb.DuckDBPyConnection, columns: tuple[StoredColumn, ...]) -> tuple[StoredColumn, ...]:
    """Those of *columns* that the file has, once it has been reshaped."""
    stored = {name for (name,) in connection.execute("SELECT physical FROM columns").fetchall()}
    return tuple(c for c in columns if c.physical in stored)


def with_kinds_kept(columns: tuple[StoredColumn, ...]) -> tuple[StoredColumn, ...]:
    """The columns as they are once the file has been reshaped."""
    return tuple(replace(c, was=c.kind) for c in columns)
