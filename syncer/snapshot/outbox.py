"""The outbox: every change is durably in doubt before it is sent, and acknowledged only by its verdict."""

from __future__ import annotations

import duckdb

from syncer.snapshot.columns import StoredColumn, compared, not_forgotten
from syncer.snapshot.diff import json_name
from syncer.snapshot.keys import same_keys
from syncer.snapshot.shape import Shape
from syncer.snapshot.values import Kind, as_json, literal
from syncer.types import Action, Entity, OnRemoved


def reshape(connection: duckdb.DuckDBPyConnection, shape: Shape, columns: tuple[StoredColumn, ...]) -> None:
    """Give the file's tables the columns and kinds of this run; part of the caller's transaction."""
    forgotten = [c for c in columns if _is_forgotten(connection, c)]
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


def _is_forgotten(connection: duckdb.DuckDBPyConnection, column: StoredColumn) -> bool:
    """Whether no row has a value of a column that left the query, so that none can be unset."""
    if column.fed is not None:
        return False
    query = f"SELECT (SELECT count({column.physical}) FROM snapshot) + (SELECT count(*) FROM in_doubt)"
    return bool(connection.execute(query).fetchall()[0][0] == 0)


def recognise_restated(connection: duckdb.DuckDBPyConnection, shape: Shape) -> None:
    """Know rows again that now say the same in other words; part of the caller's transaction."""
    same = same_keys("snapshot", "r", [f"k{i + 1}" for i in range(len(shape.keys))])
    connection.execute(f"UPDATE snapshot SET fingerprint = r.fingerprint FROM restated r WHERE {same}")


def fill(
    connection: duckdb.DuckDBPyConnection, shape: Shape, columns: tuple[StoredColumn, ...], *, only_one: bool
) -> int:
    """Write down every row about to be sent, removals first; part of the caller's transaction; returns how many.

    The values stay in `stage`, by `row`; where the query will not return them again, `kept` takes them too.
    """
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    k = ", ".join(keys)
    connection.execute(
        f"CREATE TABLE outbox (seq BIGINT, action VARCHAR, {', '.join(f'{key} VARCHAR' for key in keys)}, "
        "place BIGINT, known BOOLEAN)"
    )
    connection.execute("CREATE TABLE verdicts (seq BIGINT, verdict VARCHAR, reason VARCHAR)")
    rows = 0
    if shape.sends_removals:
        action = Action.DELETE if _deletes(shape) else Action.CLEAR
        rows = _inserted(
            connection,
            f"INSERT INTO outbox SELECT row_number() OVER (), '{action}', {k}, NULL, TRUE "
            "FROM difference WHERE change = 'removed'",
        )
    rows += _inserted(
        connection,
        f"INSERT INTO outbox SELECT {rows} + row_number() OVER (), '{Action.PUT}', {k}, place, known "
        f"FROM (SELECT {k}, place, change <> 'added' AS known FROM difference WHERE change <> 'removed' "
        f"UNION ALL SELECT {k}, place, TRUE FROM again)",
    )
    if not only_one:
        _forget_kept(connection, shape, keys)
    if shape.definition.incremental:
        _keep_values(connection, columns, keys)
    return rows


def _forget_kept(connection: duckdb.DuckDBPyConnection, shape: Shape, keys: list[str]) -> None:
    """Drop the values that are not the newest any more: the result has the key, or all there is."""
    staged = f" USING stage s WHERE {same_keys('kept', 's', keys)}" if shape.definition.incremental else ""
    connection.execute(f"DELETE FROM kept{staged}")


def _inserted(connection: duckdb.DuckDBPyConnection, statement: str) -> int:
    return int(connection.execute(statement).fetchall()[0][0])


def _keep_values(connection: duckdb.DuckDBPyConnection, columns: tuple[StoredColumn, ...], keys: list[str]) -> None:
    connection.execute(f"DELETE FROM kept USING outbox o WHERE {same_keys('kept', 'o', keys)}")
    names = "".join(f", {c.physical}" for c in columns if c.fed is not None)
    k = ", ".join(keys)
    connection.execute(
        f"INSERT INTO kept ({k}{names}) SELECT {k}{names} FROM stage "
        "SEMI JOIN (SELECT place FROM outbox) o ON stage.rowid = o.place"
    )


def _deletes(shape: Shape) -> bool:
    return shape.definition.on_removed is OnRemoved.DELETE or shape.definition.target.entity is Entity.COLLECTION


def forget_departed(connection: duckdb.DuckDBPyConnection, shape: Shape) -> None:
    """Drop rows that left the result where that means nothing to the store; part of the caller's transaction."""
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    for table in ("snapshot", "in_doubt"):
        same = same_keys(table, "d", keys)
        connection.execute(f"DELETE FROM {table} USING difference d WHERE d.change = 'removed' AND {same}")


def batch_queries(
    connection: duckdb.DuckDBPyConnection, shape: Shape, columns: tuple[StoredColumn, ...], *, rows: int
) -> list[str]:
    """A query for each batch of the outbox as a store takes it (see `ProfileStore.apply`), in the order to send."""
    removals, total = connection.execute(
        f"SELECT count(*) FILTER (action <> '{Action.PUT}'), count(*) FROM outbox"
    ).fetchall()[0]
    remove, put = _removal_sql(connection, shape, columns), _put_sql(connection, shape, columns)
    return [
        f"{query} WHERE seq BETWEEN {first} AND {min(first + rows - 1, last)} ORDER BY seq"
        for query, begin, last in ((remove, 1, removals), (put, removals + 1, total))
        for first in range(begin, last + 1, rows)
    ]


def _removal_sql(connection: duckdb.DuckDBPyConnection, shape: Shape, columns: tuple[StoredColumn, ...]) -> str:
    keys = ", ".join(f"k{i + 1}" for i in range(len(shape.keys)))
    every = _json_array([literal(_json_text(c.name)) for c in not_forgotten(connection, compared(shape, columns))])
    own = "".join(f", CAST(NULL AS VARCHAR) AS {c.name}" for c in _own_columns(shape, columns))
    return (
        f"SELECT seq, action, {keys}, '{{}}' AS attributes, "
        f"CASE WHEN action = '{Action.CLEAR}' THEN {every} ELSE '[]' END AS cleared{own} FROM outbox"
    )


def _put_sql(connection: duckdb.DuckDBPyConnection, shape: Shape, columns: tuple[StoredColumn, ...]) -> str:
    keys = ", ".join(f"o.k{i + 1}" for i in range(len(shape.keys)))
    own = _own_columns(shape, columns)
    members = [c for c in columns if c.fed is not None and c not in own]
    if shape.definition.target.entity is Entity.COLLECTION:
        attributes, cleared = whole_row(columns), "'[]'"
    else:
        attributes = _json_object([f"{json_name(c.name)} || {_json_value(c)}" for c in members])
        names = [text for c in not_forgotten(connection, compared(shape, columns)) if (text := _cleared(shape, c))]
        cleared = _json_array(names)
    return (
        f"SELECT seq, action, {keys}, {attributes} AS attributes, {cleared} AS cleared"
        + "".join(f", {_plain(c)} AS {c.name}" for c in own)
        + " FROM outbox o JOIN stage s ON s.rowid = o.place"
    )


def _own_columns(shape: Shape, columns: tuple[StoredColumn, ...]) -> list[StoredColumn]:
    """A person's identifiers beside the key: a store has columns of its own for them."""
    if shape.definition.target.entity is not Entity.PERSON:
        return []
    return [c for c in columns if c.fed is not None and c.name in ("id", "email")]


def whole_row(columns: tuple[StoredColumn, ...]) -> str:
    """SQL for all of a staged row's columns as a JSON object, NULL ones as null."""
    fed = [c for c in columns if c.fed is not None]
    return _json_object([f"{json_name(c.name)} || coalesce({_json_value(c)}, 'null')" for c in fed])


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
    query = f"SELECT coalesce(sum(strlen({whole_row(columns)}) + 1), 1) + 1 FROM stage"
    return int(connection.execute(query).fetchall()[0][0])
