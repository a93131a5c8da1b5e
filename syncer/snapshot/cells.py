"""The attributes of a row as a list of texts, one cell each, as a snapshot and as a store have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncer.model.spelling import numbers_as_text, text_as_numbers
from syncer.model.types import ValueForm
from syncer.snapshot import devices, visitors
from syncer.snapshot.columns import json_name, json_object
from syncer.snapshot.identifiers import recorded, text_of
from syncer.snapshot.session import Session
from syncer.snapshot.spelling import json_said, number_said, said_of_texts
from syncer.snapshot.values import ColumnType, as_sent, literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What counts as the same."""

    form: ValueForm
    #: Whether the store gives every value as text.
    gives_texts: bool
    #: Whether NULL leaves an attribute as it is.
    keeps_nulls: bool
    #: The attributes that the sync writes now; None if they are not known.
    written: frozenset[str] | None
    #: What the columns of a collection's key are called in its rows.
    key_names: tuple[str, ...]
    #: What the store knows people by beside their attributes.
    identifiers: tuple[str, ...]

    def is_known(self, column: AttributeColumn) -> bool:
        """Whether the store has an attribute where it had it when the rows were sent; else the next run sends it."""
        return column.is_of_device or column.is_own == (column.name in self.identifiers)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeColumn:
    """An attribute's column in a snapshot."""

    name: str
    physical: str
    kind: ColumnType
    #: Whether stores have a column of their own for it.
    is_own: bool
    #: Whether that is what makes a device.
    is_of_device: bool


class Cells:
    """The SQL for the cells of one sync's attributes; a cell is JSON by `numbers_as_text`."""

    def __init__(self, columns: Sequence[AttributeColumn], rules: Rules) -> None:
        self.columns = columns
        self.rules = rules

    def clears(self, column: AttributeColumn) -> bool:
        """Whether a NULL of an attribute means that the store has none."""
        rules = self.rules
        is_written = rules.written is None or column.name in rules.written
        return is_written and not rules.keeps_nulls and not column.is_own

    @property
    def names(self) -> str:
        """SQL for the list of the attributes, in the order of every list of cells."""
        return f"[{', '.join(literal(c.name) for c in self.columns)}]"

    def of(self, columns: Sequence[AttributeColumn]) -> str:
        """SQL for the list of what a row of a snapshot with *columns* has of each attribute."""
        members = [
            f"{json_name(c.name)} || coalesce({as_sent(c.kind, c.physical, self.rules.form)}, 'null')"
            for c in columns
            if not c.is_own
        ]
        of = {c.name: c for c in columns}
        given = [of.get(c.name) for c in self.columns if c.is_own]
        own = [own_text(c, self.rules.form) if c else "NULL::VARCHAR" for c in given]
        return self._list(numbers_as_text(json_object(members)), own)

    def of_stored(self, table: str) -> str:
        """The same of what is stored."""
        return self._list(f"{table}.said", [f"{table}.{c.name}" for c in self.columns if c.is_own])

    def _list(self, said: str, identifiers: Sequence[str]) -> str:
        paths = ", ".join(pointer(c.name, "#") for c in self.columns if not c.is_own)
        plain = f"json_extract({said}, [{paths}])" if paths else "[]::JSON[]"
        own = ", ".join(f"to_json({name} || '#')" for name in identifiers)
        return f"list_concat({plain}, [{own}]::JSON[])"

    def value(self, cell: str) -> str:
        """SQL for a cell's text; NULL where there is no value."""
        text = f"nullif(CAST({cell} AS VARCHAR), 'null')"
        return f"""nullif({text}, '"#"')""" if self.rules.gives_texts else text

    def is_same(self, left: str, right: str) -> str:
        """SQL for whether two cells with other texts have the same value."""
        if not self.rules.gives_texts:
            return f"({left} IS NOT NULL AND {right} IS NOT NULL AND {said_of_texts(left)} = {said_of_texts(right)})"
        a, b = _plain(left), _plain(right)
        number = "'-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?'"
        numbers = f"regexp_full_match({a}, {number}) AND regexp_full_match({b}, {number})"
        # DuckDB looks into every text, whatever CASE says.
        valid = [f"CASE WHEN json_valid({text}) THEN {text} END" for text in (a, b)]
        return (
            f"({left} IS NOT NULL AND {right} IS NOT NULL AND CASE WHEN {a} = {b} THEN TRUE "
            f"WHEN {numbers} THEN {number_said(a)} = {number_said(b)} "
            f"ELSE coalesce({json_said(valid[0])} = {json_said(valid[1])}, FALSE) END)"
        )


def columns_of(session: Session, schema: str) -> tuple[AttributeColumn, ...]:
    """The attributes' columns of a snapshot, the identifiers that the store has columns for last."""
    traits = session.target.entity.traits
    own = traits.columns_in(recorded(session, schema) if traits.has_other_identifiers else ())
    found = [
        AttributeColumn(
            name=name,
            physical=physical,
            kind=ColumnType(kind),
            is_own=name in own,
            is_of_device=traits.names_device and name in own,
        )
        for name, physical, kind in session.rows(f"SELECT name, physical, kind FROM {schema}columns")
        if physical != visitors.COLUMN
    ]
    return tuple(sorted(found, key=lambda c: c.is_own))


def visitor_of(session: Session) -> tuple[AttributeColumn, ...]:
    """The column of the visitor whom a row claims, if a snapshot has it."""
    if not visitors.are_in(session):
        return ()
    return (
        AttributeColumn(
            name=visitors.VISITOR,
            physical=visitors.COLUMN,
            kind=ColumnType.TEXT,
            is_own=False,
            is_of_device=False,
        ),
    )


def own_text(column: AttributeColumn, form: ValueForm) -> str:
    """SQL for what a store's own column has of a row of a snapshot."""
    if column.is_of_device:
        return devices.sent_text(column.kind, column.physical, form)
    return text_of(column.name, column.kind, column.physical)


def pointer(name: str, mark: str) -> str:
    """SQL for the JSON pointer to a member."""
    return literal("/" + name.replace("~", "~0").replace("/", "~1") + mark)


def _plain(cell: str) -> str:
    """SQL for the text of a cell: a text's content, a number's digits, other JSON as it is."""
    content = f"json_extract_string({cell}, '$')"
    return (
        f"""CASE WHEN ends_with({cell}, '#"') THEN left({content}, length({content}) - 1) """
        f"""WHEN starts_with({cell}, '"#') THEN substr({content}, 2) ELSE {text_as_numbers(cell)} END"""
    )
