"""What is special about the visitor whom a person claims: the store gets them beside the attributes, and never back.

A snapshot has the visitor in a column of its own beside those of attributes, so that another visitor is a change.
"""

from __future__ import annotations

from dataclasses import replace

from syncer.definitions.columns import VISITOR as VISITOR
from syncer.model.errors import QueryResultError
from syncer.snapshot.attributes import Attribute
from syncer.snapshot.session import Session
from syncer.snapshot.values import ColumnType, as_key, canonical, literal

#: The column of a snapshot's file; those of attributes are called c and a number.
COLUMN = "v0"

#: Bytes of UTF-8, as of every identifier.
_LONGEST = 150

_NO_IDS = (ColumnType.JSON, ColumnType.BINARY, ColumnType.BOOLEAN)


def of_result(column: Attribute) -> Attribute:
    """The column of a result as the visitor.

    Raises:
        QueryResultError: its type is one of no identifier.
    """
    if column.kind in _NO_IDS:
        raise QueryResultError(
            f"column `{column.name}` is of the kind {column.kind}, which is no visitor's id",
            hint="Cast it to text in the query.",
        )
    return replace(column, name=VISITOR, kind=ColumnType.TEXT, read_as=column.kind)


def are_in(session: Session) -> bool:
    """Whether a snapshot that is open has visitors."""
    return session.any(f"SELECT 1 FROM columns WHERE physical = {literal(COLUMN)}")


def read(attribute: Attribute, value: str) -> str:
    """SQL for the stored form of a scanned *value*: spelled as identifiers are, and NULL where it is blank."""
    kind = attribute.read_as or attribute.kind
    return f"nullif({as_key(kind, f'({canonical(kind, attribute.type, value)})', fold=False)}, '')"


def fault_case(name: str) -> tuple[str, str]:
    """SQL of a test, with that of the reason why a row that passes it cannot be sent; *name* is the column's."""
    return f"strlen({COLUMN}) > {_LONGEST}", literal(f"`{name}` is longer than {_LONGEST} bytes")
