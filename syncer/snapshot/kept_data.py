"""Rows of a snapshot in the form in which a warehouse keeps them: a key, a fingerprint, and JSON of all else."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from syncer.snapshot.session import Session

#: Rows that go back at once.
_AT_ONCE = 250_000

#: Columns of a snapshot's row beside its key, fingerprint and attributes.
NUMBERS = ("person", "first_run", "last_run")


def rows_of_file(session: Session) -> Iterator[pa.Table]:
    """The rows of a file as they are kept: k1, …, `fingerprint` and `data`, so many at once."""
    physical = columns_of_attributes(session)
    members = ", ".join(f"{name} := CAST({name} AS VARCHAR)" for name in (*NUMBERS, *physical))
    query = (
        f"SELECT {session.k}, {_as_signed('fingerprint')} AS fingerprint, "
        f"CAST(to_json(struct_pack({members})) AS VARCHAR) AS data FROM snapshot"
    )
    for batch in session.connection.sql(query).to_arrow_reader(_AT_ONCE):
        yield pa.Table.from_batches([batch])


def columns_of_attributes(session: Session) -> dict[str, str]:
    """The file's columns of attributes, each to its type."""
    rows = session.rows(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'snapshot' "
        "AND database_name = current_database() AND regexp_full_match(column_name, 'c[0-9]+') ORDER BY column_index"
    )
    return dict(rows)


def read(name: str, type_: str) -> str:
    """SQL for one value of a kept row's data; a type that is empty is that of numbers."""
    text = f"json_extract_string(data, '$.{name}')"
    return f"CAST({text} AS {type_ or 'BIGINT'})"


def doubts(session: Session) -> str:
    """SQL for the keys (k…) of rows that a run has to look at whatever the result has of them."""
    parts = [f"SELECT {session.k} FROM {table}" for table in ("in_doubt", "kept", "unknown", "left_behind")]
    whole = " AND ".join(f"{key} IS NOT NULL" for key in session.keys)
    return " UNION ".join([*parts, f"SELECT {session.k} FROM rejections WHERE {whole}"])


def as_unsigned(column: str) -> str:
    """SQL for a fingerprint as the file has it, of one as the warehouse does."""
    return f"CAST(CASE WHEN {column} < 0 THEN {column}::HUGEINT + 18446744073709551616 ELSE {column} END AS UBIGINT)"


def _as_signed(column: str) -> str:
    return (
        f"CAST(CASE WHEN {column} > 9223372036854775807 THEN {column}::HUGEINT - 18446744073709551616 "
        f"ELSE {column} END AS BIGINT)"
    )
