"""The rows that are rejected now, one by one: with their values, and the columns in which those of one key differ."""

from __future__ import annotations

from datetime import UTC

from syncer.model.json_text import json_text, json_value
from syncer.model.types import RejectedRow, Rejection
from syncer.snapshot.columns import ColumnMap, StoredColumn, json_name, json_object
from syncer.snapshot.session import Session
from syncer.snapshot.spelling import is_too_deep, json_said
from syncer.snapshot.values import ColumnType, as_json, json_holds_infinity, json_holds_spare_comma, literal

#: Characters of the JSON of one row, and of a text in a longer one: what is longer is cut.
_LONGEST_ROW, _LONGEST_TEXT = 4_000, 200


def found(session: Session, layout: ColumnMap | None, limit: int) -> list[Rejection]:
    """At most *limit* rejected rows, those that were rejected first before others.

    *layout*: of the result that is in `staged` and `faulty`; None where there is none, so that no values are known.
    """
    _place(session, layout, limit)
    differing = _differing_columns(session, layout) if layout else {}
    key = f"CASE WHEN keyless THEN '' ELSE {session.key_text} END"
    rows = session.rows(
        f"SELECT {key}, reason, attempts, first_seen, last_seen, md5(shown), shown FROM placed JOIN lines USING (line) "
        f"LEFT JOIN ({_values(session, layout)}) USING (source, place) ORDER BY line, source, place"
    )
    return [
        Rejection(
            sync=session.sync,
            key=key,
            reason=reason,
            attempts=attempts,
            first_seen=first.replace(tzinfo=UTC),
            last_seen=last.replace(tzinfo=UTC),
            row=RejectedRow(values=_short(values), digest=digest or "", columns=differing.get(key, ()) if key else ()),
        )
        for key, reason, attempts, first, last, digest, values in rows
    ]


def _place(session: Session, layout: ColumnMap | None, limit: int) -> None:
    """Fill `lines` with the first rejections, and `placed` (line, source, place) with where the rows of each are."""
    order = f"ORDER BY first_seen, {session.k}, reason"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE lines AS SELECT row_number() OVER ({order}) AS line, "
        f"({session.lacks_key('rejections')}) AS keyless, * FROM rejections {order} LIMIT {limit}"
    )
    found = "SELECT 0 AS line, '' AS source, 0 AS place LIMIT 0"
    if layout is not None:
        same = session.same_keys("l", "s")
        alike = " AND ".join(f"l.{key} IS NOT DISTINCT FROM s.{key}" for key in session.keys)
        found = (
            f"SELECT line, 'staged' AS source, s.rowid AS place FROM lines l JOIN staged s ON {same} UNION ALL "
            f"SELECT line, 'faulty', s.rowid FROM lines l JOIN faulty s ON {same} UNION ALL "
            f"SELECT line, 'faulty', s.rowid FROM lines l JOIN faulty s ON {alike} AND reason = fault WHERE keyless"
        )
    # What an earlier run staged is only counted.
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE placed AS WITH found AS ({found}) SELECT line, source, place FROM ("
        "SELECT * FROM found UNION ALL SELECT line, NULL, NULL FROM (SELECT line, unnest(range(rows - coalesce(n, 0))) "
        "FROM lines LEFT JOIN (SELECT line, count(*) AS n FROM found GROUP BY line) USING (line))) "
        f"ORDER BY line, source, place LIMIT {limit}"
    )


def _values(session: Session, layout: ColumnMap | None) -> str:
    """SQL for the rows in `placed` as people see them: source, place, shown."""
    if layout is None:
        return "SELECT '' AS source, 0 AS place, '' AS shown LIMIT 0"
    shown = _shown(session, layout)
    return " UNION ALL ".join(
        f"SELECT '{table}' AS source, {table}.rowid AS place, {shown} AS shown FROM {table} "
        f"WHERE rowid IN (SELECT place FROM placed WHERE source = '{table}')"
        for table in ("staged", "faulty")
    )


def _shown(session: Session, layout: ColumnMap) -> str:
    """SQL for a row as people see it: the columns of its key, and its attributes."""
    fed = {column.name for column in layout.fed}
    keys = zip(layout.schema.definition.target.key_columns, session.keys, strict=True)
    values = [(name, f"CAST(to_json({key}) AS VARCHAR)") for name, key in keys if name not in fed]
    values += [(column.name, _value(column)) for column in layout.fed]
    if event := layout.schema.event:
        own = {**event.who, "CAST(happened AS VARCHAR)": event.time}.items()
        values += [(one.name, f"CAST(to_json({text}) AS VARCHAR)") for text, one in own if one.name not in dict(values)]
    return json_object([f"{json_name(name)} || coalesce({value}, 'null')" for name, value in values])


def _value(column: StoredColumn) -> str:
    """SQL for the JSON of a value; JSON that is rejected is text."""
    value = column.physical
    if column.type is not ColumnType.JSON:
        return as_json(column.type, value)
    faults = " OR ".join((is_too_deep(value), json_holds_infinity(value), json_holds_spare_comma(value)))
    return f"CASE WHEN json_valid({value}) AND NOT ({faults}) THEN {value} ELSE CAST(to_json({value}) AS VARCHAR) END"


def _differing_columns(session: Session, layout: ColumnMap) -> dict[str, tuple[str, ...]]:
    """The key of rows that share it, to the columns in which they differ."""
    names = [f"CASE WHEN {_differs(column)} THEN {literal(column.name)} END" for column in layout.fed]
    if not names:
        return {}
    shared = f"SELECT {session.k} FROM lines WHERE rows > 1 AND NOT keyless"
    rows = session.rows(
        f"SELECT {session.key_text}, [{', '.join(names)}] FROM faulty SEMI JOIN ({shared}) USING ({session.k}) "
        f"GROUP BY {session.k}"
    )
    return {key: tuple(name for name in found if name is not None) for key, found in rows}


def _differs(column: StoredColumn) -> str:
    value = column.physical
    if column.type is ColumnType.JSON:
        valid = f"CASE WHEN json_valid({value}) AND NOT ({is_too_deep(value)}) THEN {value} END"
        value = f"coalesce(CAST({json_said(valid)} AS VARCHAR), {value})"
    return f"count(DISTINCT {value}) + CAST(count(*) > count({column.physical}) AS INTEGER) > 1"


def _short(values: str | None) -> str | None:
    if values is None or len(values) <= _LONGEST_ROW:
        return values
    return json_text({name: _cut(value) for name, value in json_value(values).items()})


def _cut(value: object) -> object:
    text = value if isinstance(value, str) else json_text(value)
    return value if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
