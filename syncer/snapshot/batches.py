"""What is in the outbox as batches: a query for each, whose result a store takes (see `ProfileStore.apply`)."""

from __future__ import annotations

from syncer.model.types import Action, ValueForm
from syncer.snapshot.columns import Layout, StoredColumn, in_file
from syncer.snapshot.json_rows import json_array, json_name, json_object, whole_row
from syncer.snapshot.session import Session
from syncer.snapshot.values import ColumnType, as_json, literal


def batch_queries(session: Session, layout: Layout, *, rows: int, form: ValueForm) -> list[str]:
    """A query for each batch of at most so many *rows*, in the order to send."""
    removals, total = session.rows(f"SELECT count(*) FILTER (action <> '{Action.PUT}'), count(*) FROM outbox")[0]
    remove, put = _removal_sql(session, layout), _put_sql(session, layout, form)
    return [
        f"{query} WHERE seq BETWEEN {first} AND {min(first + rows - 1, last)} ORDER BY seq"
        for query, begin, last in ((remove, 1, removals), (put, removals + 1, total))
        for first in range(begin, last + 1, rows)
    ]


def whole_collection_queries(session: Session, layout: Layout, *, form: ValueForm) -> list[str]:
    """One query for all rows of a collection, in the order of their keys; none where nothing is in the outbox.

    What is not in the outbox is taken as it was acknowledged: nothing is sent that is not in doubt before.
    """
    if not session.any("SELECT 1 FROM outbox"):
        return []
    k = session.k
    acknowledged = whole_row(layout, form, "acknowledged")
    return [
        f"SELECT o.seq, o.action, {session.keys_of('o')}, "
        f"CASE WHEN o.action = '{Action.PUT}' THEN s.whole ELSE '{{}}' END AS attributes, '[]' AS cleared, "
        "b.acknowledged "
        f"FROM outbox o LEFT JOIN (SELECT rowid AS row_id, {whole_row(layout, form)} AS whole FROM staged) s "
        f"USING (row_id) LEFT JOIN (SELECT {k}, {acknowledged} AS acknowledged FROM snapshot) b "
        f"ON {session.same_keys('o', 'b')} "
        f"UNION ALL SELECT NULL, '{Action.PUT}', {k}, acknowledged, '[]', acknowledged "
        f"FROM (SELECT {k}, {acknowledged} AS acknowledged FROM snapshot) ANTI JOIN outbox USING ({k}) ORDER BY {k}"
    ]


def _removal_sql(session: Session, layout: Layout) -> str:
    every = json_array([literal(_json_text(c.name)) for c in in_file(session, layout.compared)])
    own = "".join(f", CAST(NULL AS VARCHAR) AS {c.name}" for c in layout.other_identifiers)
    return (
        f"SELECT seq, action, {session.k}, '{{}}' AS attributes, "
        f"CASE WHEN action = '{Action.CLEAR}' THEN {every} ELSE '[]' END AS cleared{own} FROM outbox"
    )


def _put_sql(session: Session, layout: Layout, form: ValueForm) -> str:
    own = layout.other_identifiers
    if not session.target.entity.traits.merges:
        attributes, cleared = whole_row(layout, form), "'[]'"
    else:
        # NULL stays NULL: such members are left out.
        members = [f"{json_name(c.name)} || {c.sent(c.physical, form)}" for c in layout.fed if c not in own]
        attributes = json_object(members)
        cleared = json_array([text for c in in_file(session, layout.compared) if (text := _cleared(layout, c))])
    return (
        f"SELECT seq, action, {session.keys_of('o')}, {attributes} AS attributes, {cleared} AS cleared"
        + "".join(f", {_plain(c)} AS {c.name}" for c in own)
        + " FROM outbox o JOIN staged s ON s.rowid = o.row_id"
    )


def _cleared(layout: Layout, column: StoredColumn) -> str:
    """SQL for the attribute's name as JSON where this row unsets it, else NULL; empty where it never does."""
    name = literal(_json_text(column.name))
    if column.fed is None:
        return name
    return "" if layout.schema.keeps_nulls else f"CASE WHEN {column.physical} IS NULL THEN {name} END"


def _plain(column: StoredColumn) -> str:
    """SQL for the value as bare text, as identifiers are."""
    if column.type is ColumnType.TEXT:
        return column.physical
    return f"json_extract_string({as_json(column.type, column.physical)}, '$')"


def _json_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
