"""The batches of an outbox, as SQL: what is removed, what is put, and a collection as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer.model.types import Action
from syncer.snapshot import devices
from syncer.snapshot.columns import ColumnMap, StoredColumn, in_file, json_array, json_name, json_object, whole_row
from syncer.snapshot.event_rows import id_sql
from syncer.snapshot.identifiers import text_of
from syncer.snapshot.session import Session
from syncer.snapshot.values import literal

if TYPE_CHECKING:
    from syncer.snapshot.held_back import Sending

#: So many rows at each of several places tell how many bytes a row has; fewer rows than that make one batch.
_SAMPLE_ROWS = 64


def batch_queries(session: Session, layout: ColumnMap, after: int, until: int, *, rows: int) -> list[str]:
    """A query for at most so many *rows* each, in any order, of those between two places; the next ones come later."""
    if layout.schema.event is not None:
        return [
            f"{_event_sql(session, layout)} WHERE o.seq BETWEEN {first} AND {min(first + rows - 1, until)}"
            for first in range(after + 1, until + 1, rows)
        ]
    removals = session.count(f"SELECT count(*) FROM outbox WHERE action <> '{Action.PUT}'")
    remove, put = _removal_sql(session, layout), _put_sql(session, layout)
    return [
        f"{query} WHERE seq BETWEEN {first} AND {min(first + rows - 1, last)}"
        for query, begin, last in ((remove, after + 1, min(removals, until)), (put, max(removals, after) + 1, until))
        for first in range(begin, last + 1, rows)
    ]


def row_bytes(session: Session, layout: ColumnMap) -> int:
    """About how many bytes of JSON a row of the outbox has; 1 where there are few rows."""
    last = session.count("SELECT count(*) FROM outbox") - _SAMPLE_ROWS
    if last < 0:
        return 1
    # Places in `staged` say nothing: it also had, and lost, places of the snapshot's rows.
    sampled = " OR ".join(f"seq BETWEEN {first + 1} AND {first + _SAMPLE_ROWS}" for first in (0, last // 2, last))
    size = f"SELECT coalesce(max(strlen({whole_row(layout)})), 0) FROM staged"
    return max(1, session.count(f"{size} WHERE rowid IN (SELECT row_id FROM outbox WHERE {sampled})"))


def whole_collection_queries(session: Session, layout: ColumnMap) -> list[str]:
    """One query for all rows of a collection, in the order of their keys; none where nothing is in the outbox.

    What is not in the outbox is taken as it was acknowledged: nothing is sent that is not in doubt before.
    """
    if not session.any("SELECT 1 FROM outbox"):
        return []
    k = session.k
    acknowledged = whole_row(layout, "acknowledged")
    return [
        f"SELECT o.seq, o.action, {session.keys_of('o')}, "
        f"CASE WHEN o.action = '{Action.PUT}' THEN s.whole ELSE '{{}}' END AS attributes, '[]' AS cleared, "
        "b.acknowledged "
        f"FROM outbox o LEFT JOIN (SELECT rowid AS row_id, {whole_row(layout)} AS whole FROM staged) s "
        f"USING (row_id) LEFT JOIN (SELECT {k}, {acknowledged} AS acknowledged FROM snapshot) b "
        f"ON {session.same_keys('o', 'b')} "
        f"UNION ALL SELECT NULL, '{Action.PUT}', {k}, acknowledged, '[]', acknowledged "
        f"FROM (SELECT {k}, {acknowledged} AS acknowledged FROM snapshot) ANTI JOIN outbox USING ({k}) ORDER BY {k}"
    ]


def _removal_sql(session: Session, layout: ColumnMap) -> str:
    shared = sending(layout)
    cleared = [(c, literal(_json_text(c.name))) for c in in_file(session, layout.compared) if not c.is_visitor]
    every = json_array([shared.unless_held(name, c) if shared else name for c, name in cleared])
    own = "".join(f", CAST(NULL AS VARCHAR) AS {c.name}" for c in layout.own)
    person = ", person" if session.any("SELECT 1 FROM outbox WHERE person IS NOT NULL") else ""
    return (
        f"SELECT seq, action, {session.keys_of('o')}, '{{}}' AS attributes, "
        f"CASE WHEN action = '{Action.CLEAR}' THEN {every} ELSE '[]' END AS cleared{own}{person} FROM outbox o"
        + (shared.beside("o") if shared else "")
    )


def _put_sql(session: Session, layout: ColumnMap) -> str:
    own, shared = layout.own, sending(layout)
    if not session.target.entity.traits.merges:
        attributes, cleared = whole_row(layout), "'[]'"
    else:
        # NULL stays NULL: such members are left out.
        sent = [c for c in layout.fed if not (c in own or c.is_visitor)]
        sent.sort(key=lambda c: c.form.rank(c.name))
        members = [(c, f"{json_name(c.name)} || {c.sent(c.physical)}") for c in sent]
        attributes = json_object([shared.unless_held(text, c) if shared else text for c, text in members])
        unset = [(c, text) for c in in_file(session, layout.compared) if (text := _cleared(layout, c))]
        names = json_array([shared.if_unset(text, c, "o.doubted") if shared else text for c, text in unset])
        cleared = f"CASE WHEN o.restores THEN '[]' ELSE {names} END"
    identifiers = [(c, _own_text(c)) for c in own]
    action = "action" if session.target.action is None else f"'{session.target.action}' AS action"
    return (
        f"SELECT seq, {action}, {session.keys_of('o')}, {attributes} AS attributes, {cleared} AS cleared"
        + "".join(f", {shared.unless_held(text, c) if shared else text} AS {c.name}" for c, text in identifiers)
        + "".join(f", {c.physical} AS anonymous" for c in layout.fed if c.is_visitor)
        + ("" if layout.schema.previous is None else ", s.previous")
        + " FROM outbox o JOIN staged s ON s.rowid = o.row_id"
        + (shared.beside("o") if shared else "")
    )


def sending(layout: ColumnMap) -> Sending | None:
    """How rows send attributes that several syncs may write, where `attributes.yml` names any."""
    if not layout.schema.definition.rules:
        return None
    from syncer.snapshot import held_back

    return held_back.sending(layout)


def _event_sql(session: Session, layout: ColumnMap) -> str:
    event = session.target.events
    name = session.keys[-1] if event.column else literal(event.name)
    visitor = "s.anonymous, " if session.target.names_visitors else ""
    return (
        f"SELECT seq, action, {session.keys_of('o')}, {whole_row(layout)} AS attributes, '[]' AS cleared, "
        f"{id_sql('s')} AS event_id, {f's.{name}' if event.column else name} AS name, s.who, "
        f"{visitor}s.happened FROM outbox o JOIN staged s ON s.rowid = o.row_id"
    )


def _cleared(layout: ColumnMap, column: StoredColumn) -> str:
    """SQL for the attribute's name as JSON where this row unsets it, else NULL; empty where it never does."""
    name = literal(_json_text(column.name))
    if column.is_visitor:
        return ""
    if column.fed is None:
        return name
    return "" if layout.schema.keeps_nulls else f"CASE WHEN {column.physical} IS NULL THEN {name} END"


def _own_text(column: StoredColumn) -> str:
    """SQL for what a store's own column gets: another identifier as the key would be spelled; NULL where it is blank,
    which sets and unsets nothing."""
    if column.is_of_device:
        return devices.sent_text(column.type, column.physical, column.form)
    return text_of(column.name, column.type, column.physical)


def _json_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
