"""Where a query fails on what a file holds: the file, the column, its first row that does not fit, and the cast."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from contextlib import suppress

import duckdb

from connectors.duckdb.column_types import FileColumn
from connectors.duckdb.folder import FileTable

#: DuckDB's errors about a value that does not fit, and the type that it does not fit.
_CASTS = {
    r"""Could not convert string .* to ([A-Z]\w*(?:\([0-9, ]+\))?)""": r"\1",
    r"""can't be cast to the destination type (.+)$""": r"\1",
    r"Failed to cast value to numerical": "DOUBLE",
    r"invalid date field format|date field value out of range": "DATE",
    r"invalid timestamp field format|timestamp field value out of range": "TIMESTAMP",
    r"time field value out of range": "TIME",
}
_CASTING = re.compile(r"^(.*) when casting from source column (.+?)$", re.DOTALL | re.MULTILINE)
#: The same where DuckDB makes the cast a part of its reading.
_IN_READER = re.compile(
    r"""Error when converting column "([^"]+)"\. Could not convert string .* to '([^']+)'""", re.DOTALL
)
#: A line of the query, and below it what the error is about.
_MARKED = re.compile(r"^(LINE \d+: .*)\n( *)(\^+)", re.MULTILINE)
_NAMES = {"INT8": "TINYINT", "INT16": "SMALLINT", "INT32": "INTEGER", "INT64": "BIGINT", "BOOL": "BOOLEAN"}


def fault_in_file(
    connection: duckdb.DuckDBPyConnection, files: Iterable[FileTable], sql: str, text: str
) -> tuple[str, str] | None:
    """What in a file makes *sql* fail with DuckDB's *text*, and the next step; None if nothing is known."""
    mentioned = [file for file in files if file.columns and file.name.casefold() in sql.casefold()]
    with suppress(duckdb.Error):
        if text.startswith("Conversion Error"):
            return _failed_cast(connection, mentioned, text)
        if text.startswith("Binder Error") and re.search("VARCHAR|JSON|VARIANT", text):
            return _text_in_place_of(connection, mentioned, sql, text)
    return None


def _failed_cast(
    connection: duckdb.DuckDBPyConnection, files: Iterable[FileTable], text: str
) -> tuple[str, str] | None:
    if in_reader := _IN_READER.search(text):
        name, type_ = in_reader.groups()
    elif casting := _CASTING.search(text):
        name = casting[2]
        found = ((re.search(pattern, casting[1], re.DOTALL), type_) for pattern, type_ in _CASTS.items())
        type_ = next((match.expand(type_) for match, type_ in found if match), "")
    else:
        return None
    type_ = _NAMES.get(type_, type_)
    for file in files:
        for column in file.columns:
            if column.name.casefold() != name.casefold() or not type_:
                continue
            if row := _first_row(connection, file, column, f"TRY_CAST({column.text} AS {type_}) IS NULL"):
                return (
                    f"{file.path}: column `{column.name}`, row {row:,}: its value cannot be cast to {type_}",
                    f"Correct the file, or let TRY_CAST({column.name} AS {type_}) make NULL of it.",
                )
    return None


def _text_in_place_of(
    connection: duckdb.DuckDBPyConnection, files: Iterable[FileTable], sql: str, text: str
) -> tuple[str, str] | None:
    words = {word.casefold() for word in re.findall(r"\w+", sql)}
    mentioned = [(f, c) for f in files for c in f.columns if c.suggested and c.name.casefold() in words]
    for file, column in sorted(mentioned, key=lambda each: _distance(each[1].name, text)):
        if row := _first_row(connection, file, column, f"NOT coalesce({column.is_suggested}, false)"):
            cast = f"CAST({column.name} AS {column.suggested})"
            return (
                f"{file.path}: column `{column.name}` is {column.type}, since row {row:,} is not spelled as a "
                f"{column.suggested} is",
                f"Write {cast} in the query, or a type for the column in {file.types_path.name}.",
            )
    return None


def _distance(name: str, text: str) -> float:
    """How many characters away a column is named from what DuckDB's *text* marks; without end if it is not there."""
    marked = _MARKED.search(text)
    if marked is None:
        return 0
    line, (begin, end) = marked[1], (len(marked[2]), len(marked[2]) + len(marked[3]))
    named = re.finditer(rf"\b{re.escape(name)}\b", line, re.IGNORECASE)
    return min((max(place.start() - end, begin - place.end(), 0) for place in named), default=math.inf)


def _first_row(connection: duckdb.DuckDBPyConnection, file: FileTable, column: FileColumn, is_wrong: str) -> int | None:
    """The first row, counted from 1 below the header, whose value is wrong."""
    rows = f"SELECT row_number() OVER () AS n, {column.text} IS NOT NULL AND {is_wrong} AS is_wrong FROM {file.rows}"
    row = connection.execute(f"SELECT min(n) FROM ({rows}) WHERE is_wrong").fetchone()
    return row[0] if row else None
