"""Rows that differ from what was acknowledged, and are equal to it all the same."""

from __future__ import annotations

from collections.abc import Sequence

from syncer.snapshot.columns import ColumnMap, StoredColumn, listed
from syncer.snapshot.session import Session
from syncer.snapshot.spelling import json_said, number_said
from syncer.snapshot.values import ColumnType, sum_of

#: SQL for the value of a text, for each kind that has spellings.
_SAID = {ColumnType.JSON: json_said, ColumnType.NUMBER: number_said}


def drop(session: Session, layout: ColumnMap, near: str) -> None:
    """Take rows out of `changes` whose only difference is a kept NULL, or how JSON or a number is spelled.

    *near*: SQL for the keys (k…) of those that may be such.
    """
    compared, keeps_nulls, k = layout.compared, layout.schema.keeps_nulls, session.k
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE pairs AS SELECT * FROM ({near}) "
        f"JOIN (SELECT {k}, {listed(compared, 'staged', 's')} FROM staged) USING ({k}) "
        f"JOIN (SELECT {k}, {listed(compared, 'acknowledged', 'o')} FROM snapshot) USING ({k})"
    )
    differs = {i: f"s{i} IS DISTINCT FROM o{i}" for i in range(len(compared))}
    if keeps_nulls:
        differs |= {i: f"(s{i} IS NOT NULL AND {d})" for i, d in differs.items() if compared[i].fed is not None}
    number = sum_of([f"CAST({d} AS INTEGER)" for d in differs.values()])
    is_spelled = any(c.type.has_spellings for c in compared)
    respelled = _respelled(compared, k) if is_spelled else f"SELECT {k}, 0 AS n FROM pairs LIMIT 0"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE equal AS SELECT {k} FROM pairs LEFT JOIN ({respelled}) USING ({k}) "
        f"WHERE {number} = coalesce(n, 0)"
    )
    session.execute(
        f"DELETE FROM changes USING equal e WHERE change = 'changed' AND {session.same_keys('changes', 'e')}"
    )
    session.execute("DROP TABLE pairs")


def _respelled(compared: Sequence[StoredColumn], k: str) -> str:
    """SQL for in how many of the columns each row of `pairs` differs by the spelling alone: k…, n."""
    # One row a column, so that the look into the text is planned once a kind, however many columns there are.
    sides = [
        f"{{'kind': '{c.type}', 'new': s{i}, 'old': o{i}, {_double(c, i)}}}"
        for i, c in enumerate(compared)
        if c.type.has_spellings
    ]
    texts = f"SELECT {k}, unnest([{', '.join(sides)}], recursive := true) FROM pairs"
    # A cast in the warehouse makes a decimal of each bit of a double, of which the shortest digits are sent.
    exact = "CAST(TRY_CAST(double AS DECIMAL(38, 0)) AS VARCHAR) = other"
    same = [
        f"SELECT {k} FROM respelled WHERE kind = '{kind}' AND ({said('new')} = {said('old')} OR {exact})"
        for kind, said in _SAID.items()
    ]
    return (
        f"WITH respelled AS (SELECT * FROM ({texts}) t WHERE new <> old) "
        f"SELECT {k}, count(*) AS n FROM ({' UNION ALL '.join(same)}) GROUP BY {k}"
    )


def _double(column: StoredColumn, number: int) -> str:
    """SQL for the members `double`, a whole number beyond 2^53 on the side that is a double, and `other`, of the other.

    NULL where neither side is one.
    """
    is_new = column.fed is not None and column.fed.kind is ColumnType.FLOAT
    if not is_new and column.was is not ColumnType.FLOAT:
        return "'double': NULL::DOUBLE, 'other': NULL::VARCHAR"
    side, other = ("s", "o") if is_new else ("o", "s")
    double = f"TRY_CAST({side}{number} AS DOUBLE)"
    return f"'double': CASE WHEN abs({double}) >= 9007199254740992 THEN {double} END, 'other': {other}{number}"
