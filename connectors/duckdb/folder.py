"""A folder of files as DuckDB views: each CSV, Parquet and JSON file is a table named by its stem."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Mapping
from pathlib import Path

import duckdb

from connectors.duckdb.errors import reason
from connectors.support.warehouse import quote_identifier, quote_literal

# Without these DuckDB guesses, and a wrong guess drops rows: those that start with `#`, or those above the header.
_CSV = """header = true, delim = '{}', quote = '"', escape = '"', comment = '', skip = 0"""
_DIALECTS = {"csv": _CSV.format(","), "tsv": _CSV.format("\t")}
_READERS: Mapping[str, str] = {
    **{kind: f"read_csv({{}}, {dialect})" for kind, dialect in _DIALECTS.items()},
    "json": "read_json({})",
    "jsonl": "read_json({}, format = 'newline_delimited')",
    "ndjson": "read_json({}, format = 'newline_delimited')",
    "parquet": "read_parquet({})",
}
_NAME = re.compile(r"([^.].*)\.(?:(csv|tsv|json|jsonl|ndjson)(?:\.gz)?|(parquet))", re.IGNORECASE)


def tables(folder: Path) -> list[tuple[str, str, Path]]:
    """The tables of *folder*: name, kind (`csv`, `json`, …), file; names may repeat."""
    found = ((_NAME.fullmatch(path.name), path) for path in sorted(folder.iterdir()) if path.is_file())
    return [(match[1], (match[2] or match[3]).lower(), path) for match, path in found if match]


def create_view(connection: duckdb.DuckDBPyConnection, name: str, kind: str, path: Path) -> str | None:
    """Make the file a table; returns why not if it cannot be read."""
    reader = _READERS[kind].format(quote_literal(str(path)))
    try:
        connection.execute(f"CREATE VIEW {quote_identifier(name)} AS FROM {reader}")
    except duckdb.Error as exc:
        if "sniffing" in str(exc):
            return _broken_row(connection, kind, path)
        said = reason(str(exc))
        return said if str(path) in said else f"{path}: {said}"
    return None


def _broken_row(connection: duckdb.DuckDBPyConnection, kind: str, path: Path) -> str:
    """Where a file breaks of which DuckDB's text gives no line."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
        header = next(csv.reader(file, delimiter="\t" if kind == "tsv" else ","), [])
    columns = ", ".join(f"c{number}: 'VARCHAR'" for number in range(len(header)))
    given = f"{quote_literal(str(path))}, {_DIALECTS[kind]}, auto_detect = false, columns = {{{columns}}}"
    try:
        connection.execute(f"SELECT count(*) FROM read_csv({given})").fetchall()
    except duckdb.Error as exc:
        return reason(str(exc))
    return f"{path}: it cannot be read as CSV"
