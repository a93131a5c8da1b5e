"""The outbox: every change is durably in doubt before it is sent, and acknowledged only by its verdict."""

from __future__ import annotations

import duckdb

from syncer.model.types import Action, OnRemoved, ValueForm
from syncer.snapshot.columns import StoredColumn, compared, not_forgotten
from syncer.snapshot.diff import json_name
from syncer.snapshot.keys import same_keys
from syncer.snapshot.result_schema import ResultSchema
from syncer.snapshot.values import ColumnType, as_json, literal


def reshape(connection: duckdb.DuckDBPyConnection, shape: ResultSchema, columns: tuple[StoredColumn, ...]) -> None:
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


def recognise_restated(connection: duckdb.DuckDBPyConnection, shape: ResultSchema) -> None:
    """Know rows again that now say the same in other words; part of the caller's transaction."""
    same = same_keys("snapshot", "r", [f"k{i + 1}" for i in range(len(shape.keys))])
    connection.execute(f"UPDATE snapshot SET fingerprint = r.fingerprint FROM restated r WHERE {same}")


def fill(
    connection: duckdb.DuckDBPyConnection, shape: ResultSchema, columns: tuple[StoredColumn, ...], *, only_one: bool
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
    # Nothing but this tells the next run to try them again, where the store refuses them.
    connection.execute(f"INSERT INTO in_doubt SELECT {k} FROM again ANTI JOIN in_doubt USING ({k})")
    if not only_one:
        _forget_kept(connection, shape, keys)
    if shape.definition.incremental:
        _keep_values(connection, columns, keys)
    return rows


def _forget_kept(connection: duckdb.DuckDBPyConnection, shape: ResultSchema, keys: list[str]) -> None:
    """Drop the values that are not the newest any more: the result has the key, or all there is."""
    k = ", ".join(keys)
    told = f"(SELECT {k} FROM stage UNION ALL SELECT {k} FROM set_aside)"
    staged = f" USING {told} s WHERE {same_keys('kept', 's', keys)}" if shape.definition.incremental else ""
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


def _deletes(shape: ResultSchema) -> bool:
    return shape.definition.on_removed is OnRemoved.DELETE or not shape.definition.target.entity.traits.merges


def forget_departed(connection: duckdb.DuckDBPyConnection, shape: ResultSchema) -> None:
    """Drop rows that left the result where that means nothing to the store; part of the caller's transaction."""
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    for table in ("snapshot", "in_doubt"):
        same = same_keys(table, "d", keys)
        connection.execute(f"DELETE FROM {table} USING difference d WHERE d.change = 'removed' AND {same}")


def forget_unknown(connection: duckdb.DuckDBPyConnection, shape: ResultSchema) -> None:
    """Drop rows that the whole result has not, of which an old value would be all there is to send.

    Part of the caller's transaction.
    """
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    for table in ("snapshot", "in_doubt", "kept"):
        same = same_keys(table, "s", keys)
        connection.execute(f"DELETE FROM {table} WHERE NOT EXISTS (SELECT 1 FROM stage s WHERE {same})")


def batch_queries(
    connection: duckdb.DuckDBPyConnection,
    shape: ResultSchema,
    columns: tuple[StoredColumn, ...],
    *,
    rows: int,
    form: ValueForm,
) -> list[str]:
    """A query for each batch of the outbox as a store takes it (see `ProfileStore.apply`), in the order to send."""
    removals, total = connection.execute(
        f"SELECT count(*) FILTER (action <> '{Action.PUT}'), count(*) FROM outbox"
    ).fetchall()[0]
    remove, put = _removal_sql(connection, shape, columns), _put_sql(connection, shape, columns, form)
    return [
        f"{query} WHERE seq BETWEEN {first} AND {min(first + rows - 1, last)} ORDER BY seq"
        for query, begin, last in ((remove, 1, removals), (put, removals + 1, total))
        for first in range(begin, last + 1, rows)
    ]


def whole_collection_queries(
    connection: duckdb.DuckDBPyConnection, shape: ResultSchema, columns: tuple[StoredColumn, ...], *, form: ValueForm
) -> list[str]:
    """One query for all rows of a collection, in the order of their keys; none where nothing is in the outbox.

    What is not in the outbox is taken as it was acknowledged: nothing is sent that is not in doubt before.
    """
    if not connection.execute("SELECT 1 FROM outbox LIMIT 1").fetchall():
        return []
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    k = ", ".join(keys)
    held = whole_row(columns, form, "acknowledged")
    new = whole_row(columns, form)
    return [
        f"SELECT o.seq, o.action, {', '.join(f'o.{key}' for key in keys)}, "
        f"CASE WHEN o.action = '{Action.PUT}' THEN s.whole ELSE '{{}}' END AS attributes, '[]' AS cleared, b.held "
        f"FROM outbox o LEFT JOIN (SELECT rowid AS place, {new} AS whole FROM stage) s USING (place) "
        f"LEFT JOIN (SELECT {k}, {held} AS held FROM snapshot) b ON {same_keys('o', 'b', keys)} "
        f"UNION ALL SELECT NULL, '{Action.PUT}', {k}, held, '[]', held "
        f"FROM (SELECT {k}, {held} AS held FROM snapshot) ANTI JOIN outbox USING ({k}) ORDER BY {k}"
    ]


def _removal_sql(connection: duckdb.DuckDBPyConnection, shape: ResultSchema, columns: tuple[StoredColumn, ...]) -> str:
    keys = ", ".join(f"k{i + 1}" for i in range(len(shape.keys)))
    every = _json_array([literal(_json_text(c.name)) for c in not_forgotten(connection, compared(shape, columns))])
    own = "".join(f", CAST(NULL AS VARCHAR) AS {c.name}" for c in _own_columns(shape, columns))
    return (
        f"SELECT seq, action, {keys}, '{{}}' AS attributes, "
        f"CASE WHEN action = '{Action.CLEAR}' THEN {every} ELSE '[]' END AS cleared{own} FROM outbox"
    )


def _put_sql(
    connection: duckdb.DuckDBPyConnection, shape: ResultSchema, columns: tuple[StoredColumn, ...], form: ValueForm
) -> str:
    keys = ", ".join(f"o.k{i + 1}" for i in range(len(shape.keys)))
    own = _own_columns(shape, columns)
    members = [c for c in columns if c.fed is not None and c not in own]
    if not shape.definition.target.entity.traits.merges:
        attributes, cleared = whole_row(columns, form), "'[]'"
    else:
        attributes = _json_object([f"{json_name(c.name)} || {_json_value(c, form)}" for c in members])
        names = [text for c in not_forgotten(connection, compared(shape, columns)) if (text := _cleared(shape, c))]
        cleared = _json_array(names)
    return (
        f"SELECT seq, action, {keys}, {attributes} AS attributes, {cleared} AS cleared"
        + "".join(f", {_plain(c)} AS {c.name}" for c in own)
        + " FROM outbox o JOIN stage s ON s.rowid = o.place"
    )


def _own_columns(shape: ResultSchema, columns: tuple[StoredColumn, ...]) -> list[StoredColumn]:
    """A person's identifiers beside the key: a store has columns of its own for them."""
    if not shape.definition.target.entity.traits.has_other_identifiers:
        return []
    return [c for c in columns if c.fed is not None and c.name in ("id", "email")]


def whole_row(columns: tuple[StoredColumn, ...], form: ValueForm, side: str = "staged") -> str:
    """SQL for all of a row's columns as a JSON object, NULL ones as null; *side* as the methods of StoredColumn."""
    fed = [c for c in columns if c.fed is not None]
    values = [(c.name, c.sent(f"({getattr(c, side)()})", form)) for c in fed]
    return _json_object([f"{json_name(name)} || coalesce({value}, 'null')" for name, value in values])


def _cleared(shape: ResultSchema, column: StoredColumn) -> str:
    """SQL for the attribute's name as JSON where this row unsets it, else NULL; empty where it never does."""
    name = literal(_json_text(column.name))
    if column.fed is None:
        return name
    return "" if shape.keeps_nulls else f"CASE WHEN {column.physical} IS NULL THEN {name} END"


def _json_value(column: StoredColumn, form: ValueForm) -> str:
    # NULL stays NULL: concat_ws leaves such members out.
    return column.sent(column.physical, form)


def _plain(column: StoredColumn) -> str:
    """SQL for the value as bare text, as identifiers are."""
    if column.kind is ColumnType.TEXT:
        return column.physical
    return f"json_extract_string({as_json(column.kind, column.physical)}, '$')"


def _json_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _json_object(members: list[str]) -> str:
    return f"'{{' || concat_ws(',', {', '.join(members)}) || '}}'" if members else "'{}'"


def _json_array(items: list[str]) -> str:
    return f"'[' || concat_ws(',', {', '.join(items)}) || ']'" if items else "'[]'"


def staged_bytes(
    connection: duckdb.DuckDBPyConnection, columns: tuple[StoredColumn, ...], form: ValueForm
) -> tuple[int, int]:
    """Bytes of UTF-8 JSON of all staged rows as one array, and how many rows they are."""
    query = f"SELECT coalesce(sum(strlen({whole_row(columns, form)}) + 1), 1) + 1, count(*) FROM stage"
    size, rows = connection.execute(query).fetchall()[0]
    return int(size), int(rows)
