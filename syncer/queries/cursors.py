"""The columns that an incremental query compares with `last_sync_time`, and whether their type has a time zone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncer.model.importing import importing
from syncer.model.select_statement import NotASelectError, dialect_of, one_select

if TYPE_CHECKING:
    from sqlglot.expressions import Expr

#: A `last_sync_time` by which the rendered query is searched; unix seconds.
MARKER = 1_234_567_890
#: How far Jinja may have moved it.
_MOVED = 400 * 86_400

#: What converts from a time zone, or says that a column is in UTC.
_CONVERTS = re.compile(r"zone|convert_tz|utc|gmt", re.IGNORECASE)

#: sqlglot's types without a zone; it knows which words mean one in which dialect.
_WITHOUT_ZONE = {
    *("DATE", "DATETIME", "DATETIME2", "SMALLDATETIME", "TIMESTAMP", "TIMESTAMPNTZ"),
    *("TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"),
}
#: Their DATETIME is a count of seconds since 1970.
_COUNTING = {"clickhouse"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A column that a query compares with `last_sync_time`."""

    #: As the query spells it.
    name: str
    #: A query that returns it alone.
    query: str


def cursors(rendered: str, dialect: str) -> list[Cursor]:
    """The columns that a query compares with `last_sync_time`, as far as its text shows them.

    Shapes:
        rendered: with MARKER for `last_sync_time`.
        dialect: sqlglot's name.
    """
    with importing:
        from sqlglot import exp

    try:
        tree = one_select(rendered, dialect).tree
    except NotASelectError:
        return []
    if tree is None:
        return []
    found: dict[str, Cursor] = {}
    for literal in tree.find_all(exp.Literal):
        if _is_marker(literal.this):
            found |= {cursor.query: cursor for cursor in _compared(tree, literal, dialect)}
    return list(found.values())


def has_no_zone(type_: str, dialect: str) -> bool:
    """Whether a warehouse's type is a time or date without a zone; not if it is unknown."""
    with importing:
        from sqlglot import exp
        from sqlglot.errors import SqlglotError

    reader = dialect_of(dialect)
    try:
        kind = exp.DataType.build(type_, dialect=reader).this
    except (SqlglotError, ValueError):
        return False
    return getattr(kind, "name", "") in _WITHOUT_ZONE and dialect not in _COUNTING


def _is_marker(text: str) -> bool:
    numbers = (int(digits) for digits in re.findall(r"[0-9]{9,16}", text))
    return any(abs(number // scale - MARKER) < _MOVED for number in numbers for scale in (1, 1_000, 1_000_000))


def _compared(tree: Expr, literal: Expr, dialect: str) -> Iterator[Cursor]:
    with importing:
        from sqlglot import exp

    reader = dialect_of(dialect)
    comparison = literal.find_ancestor(exp.GT, exp.GTE, exp.LT, exp.LTE, exp.EQ, exp.Between)
    select = comparison.find_ancestor(exp.Select) if comparison is not None else None
    if comparison is None or select is None or _CONVERTS.search(comparison.sql(reader)):
        return
    parts = {name: part for name in ("from_", "joins", "laterals") if (part := select.args.get(name))}
    for column in comparison.find_all(exp.Column):
        alone = exp.Select(expressions=[column], **parts).copy()
        if tree.args.get("with_"):
            alone.set("with_", tree.args["with_"].copy())
        yield Cursor(name=column.sql(reader), query=alone.sql(reader))
