"""The outbox: every change is durably in doubt before it is sent, and acknowledged only by its verdict."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from syncer.snapshot.diff import json_name
from syncer.snapshot.shape import Shape
from syncer.snapshot.stage import StoredColumn
from syncer.snapshot.values import Kind, as_json, literal
from syncer.types import Action, Entity, OnRemoved


def reshape(connection: duckdb.DuckDBPyConnection, shape: Shape, columns: tuple[StoredColumn, ...]) -> None:
    """Give the file's tables the columns and kinds of this run; part of the caller's transaction."""
    forgotten = [c for c in columns if _is_forgotten(connection, shape, c)]
    for table in ("snapshot", "kept"):
        for c in columns:
            if c in forgotten:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {c.physical}")
            elif c.was is None:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {c.physical} {c.kind.storage}")
            elif c.was is not c.kind:
                connection.execute(
                    f"ALTER TABLE {table} ALTER {c.physical} TYPE {c.kind.storage} USING {c.acknowledged()}"
                )
    connection.execute("DELETE FROM columns")
    for c in columns:
        if c not in forgotten:
            connection.execute("INSERT INTO columns VALUES (?, ?, ?)", [c.name, c.physical, c.kind.value])


def _is_forgotten(connection: duckdb.DuckDBPyConnection, shape: Shape, column: StoredColumn) -> bool:
    """Whether a column that left the query need not be remembered to unset its attribute."""
    if column.fed is not None:
        return False
    if not shape.clears_dropped:
        return True
    query = f"SELECT (SELECT count({column.physical}) FROM snapshot) + (SELECT count(*) FROM in_doubt)"
    return bool(connection.execute(query).fetchall()[0][0] == 0)


def fill(connection: duckdb.DuckDBPyConnection, shape: Shape, columns: tuple[StoredColumn, ...]) -> int:
    """Write every row about to be sent, removals first; part of the caller's transaction; returns how many."""
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    k = ", ".join(keys)
    stored = [name for (name,) in connection.execute("SELECT physical FROM columns").fetchall()]
    by_name = {c.physical: c for c in columns}
    acknowledged = "".join(f", {name}" for name in stored)
    staged = "".join(f", {by_name[name].staged()} AS {name}" for name in stored)
    removal = Action.DELETE if _deletes(shape) else Action.CLEAR
    removals = (
        f"SELECT '{removal}' AS action, d.* FROM (SELECT {k} FROM difference WHERE change = 'removed') d"
        if shape.sends_removals
        else None
    )
    puts = (
        f"SELECT '{Action.PUT}' AS action, {k}{staged} FROM stage SEMI JOIN "
        f"(SELECT {k} FROM difference WHERE change <> 'removed' UNION ALL SELECT {k} FROM again) USING ({k})"
    )
    connection.execute(
        f"CREATE TABLE outbox AS SELECT CAST(0 AS BIGINT) AS seq, CAST(NULL AS VARCHAR) AS action, {k}{acknowledged} "
        "FROM snapshot LIMIT 0"
    )
    connection.execute("CREATE TABLE verdicts (seq BIGINT, verdict VARCHAR, reason VARCHAR)")
    rows = 0
    if removals is not None:
        rows = _insert(connection, f"(action, {k})", removals, 0)
    return rows + _insert(connection, f"(action, {k}{acknowledged})", puts, rows)


def _deletes(shape: Shape) -> bool:
    return shape.definition.on_removed is OnRemoved.DELETE or shape.definition.target.entity is Entity.COLLECTION


def _insert(connection: duckdb.DuckDBPyConnection, names: str, query: str, after: int) -> int:
    inserted = connection.execute(
        f"INSERT INTO outbox (seq, {names[1:]} SELECT {after} + row_number() OVER (), * FROM ({query})"
    ).fetchall()
    return int(inserted[0][0])


def forget_departed(connection: duckdb.DuckDBPyConnection, shape: Shape) -> None:
    """Drop rows that left the result where that means nothing to the store; part of the caller's transaction."""
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    for table in ("snapshot", "in_doubt"):
        same = " AND ".join(f"{table}.{key} = d.{key}" for key in keys)
        connection.execute(f"DELETE FROM {table} USING difference d WHERE d.change = 'removed' AND {same}")


def batches(
    connection: duckdb.DuckDBPyConnection, shape: Shape, columns: tuple[StoredColumn, ...], *, rows: int
) -> Iterator[pa.RecordBatch]:
    """The outbox as a store takes it (see `ProfileStore.apply`), at most *rows* rows a batch, removals first."""
    total = connection.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchall()[0][0]
    query = _payload_sql(connection, shape, columns)
    for first in range(1, total + 1, rows):
        table = connection.sql(
            f"{query} WHERE seq BETWEEN {first} AND {first + rows - 1} ORDER BY seq"
        ).to_arrow_table()
        yield from table.combine_chunks().to_batches()


def _payload_sql(connection: duckdb.DuckDBPyConnection, shape: Shape, columns: tuple[StoredColumn, ...]) -> str:
    keys = ", ".join(f"k{i + 1}" for i in range(len(shape.keys)))
    stored = {name for (name,) in connection.execute("SELECT physical FROM columns").fetchall()}
    live = [c for c in columns if c.physical in stored]
    own = [c for c in live if shape.definition.target.entity is Entity.PERSON and c.name in ("id", "email")]
    members = [c for c in live if c not in own and c.fed is not None]
    every = _json_array([literal(_json_text(c.name)) for c in live])
    if shape.definition.target.entity is Entity.COLLECTION:
        attributes = _json_object([f"{json_name(c.name)} || coalesce({_json_value(c)}, 'null')" for c in members])
        cleared = "'[]'"
    else:
        attributes = _json_object([f"{json_name(c.name)} || {_json_value(c)}" for c in members])
        cleared = _json_array([text for c in live if (text := _cleared(shape, c))])
    put = f"action = '{Action.PUT}'"
    return (
        f"SELECT seq, action, {keys}, CASE WHEN {put} THEN {attributes} ELSE '{{}}' END AS attributes, "
        f"CASE WHEN {put} THEN {cleared} WHEN action = '{Action.CLEAR}' THEN {every} ELSE '[]' END AS cleared"
        + "".join(f", CASE WHEN {put} THEN {_plain(c)} END AS {c.name}" for c in own if c.fed is not None)
        + " FROM outbox"
    )


def _cleared(shape: Shape, column: StoredColumn) -> str:
    """SQL for the attribute's name as JSON where this row unsets it, else NULL; empty where it never does."""
    name = literal(_json_text(column.name))
    if column.fed is None:
        return name
    return "" if shape.keeps_nulls else f"CASE WHEN {column.physical} IS NULL THEN {name} END"


def _json_value(column: StoredColumn) -> str:
    # NULL stays NULL: concat_ws leaves such members out.
    return as_json(column.kind, column.physical)


def _plain(column: StoredColumn) -> str:
    """SQL for the value as bare text, as identifiers are."""
    if column.kind is Kind.TEXT:
        return column.physical
    return f"json_extract_string({as_json(column.kind, column.physical)}, '$')"


def _json_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _json_object(members: list[str]) -> str:
    return f"'{{' || concat_ws(',', {', '.join(members)}) || '}}'" if members else "'{}'"


def _json_array(items: list[str]) -> str:
    return f"'[' || concat_ws(',', {', '.join(items)}) || ']'" if items else "'[]'"


def staged_bytes(connection: duckdb.DuckDBPyConnection, columns: tuple[StoredColumn, ...]) -> int:
    """Bytes of UTF-8 JSON of all staged rows as one array."""
    members = [
        f"{json_name(c.name)} || coalesce({as_json(c.kind, c.physical)}, 'null')" for c in columns if c.fed is not None
    ]
    query = f"SELECT coalesce(sum(strlen({_json_object(members)}) + 1), 1) + 1 FROM stage"
    return int(connection.execute(query).fetchall()[0][0])
