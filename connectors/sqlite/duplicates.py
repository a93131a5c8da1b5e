"""How SQLite compares people with each other."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from connectors.sql_store import duplicates
from connectors.sql_store.duplicates import PAGE_ROWS, Comparison

_COMPARISON = Comparison(
    # Of a text the value, of all else the JSON, which has every digit.
    attribute="(SELECT CASE e.type WHEN 'text' THEN e.atom ELSE p.attributes -> e.fullkey END "
    "FROM json_each(p.attributes) AS e WHERE e.key = :{name} AND e.type <> 'null' LIMIT 1)",
    folded="folded({value})",
    phone="phone({value})",
    limit=":most",
)
_NO_DIGITS = re.compile("[^0-9]+")


def found(
    connection: sqlite3.Connection, names: Sequence[str], limit: int | None, identifiers: Sequence[str]
) -> Iterator[pa.Table]:
    """See `FindsDuplicates.duplicates`; within a transaction."""
    # SQLite itself knows the lower case of ASCII alone.
    for name, function in (("folded", _folded), ("phone", _phone)):
        connection.create_function(name, 1, function, deterministic=True)

    def pages(sql: str, values: Mapping[str, str | int]) -> Iterator[list[Any]]:
        cursor = connection.execute(sql, values)
        while rows := cursor.fetchmany(PAGE_ROWS):
            yield rows

    yield from duplicates.found(pages, _COMPARISON, names, limit, identifiers)


def _folded(text: str | None) -> str | None:
    return text and text.strip().lower()


def _phone(text: str | None) -> str:
    digits = _NO_DIGITS.sub("", text or "")
    return f"+{digits}" if text and digits and text.strip().startswith("+") else digits
