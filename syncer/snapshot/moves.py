"""People who are known by another email than before: the store moves them, with all that it has of them.

A row says so by the column `previous` of `staged`, spelled as the key; the snapshot has no such column. Only a row that
the snapshot lacks moves anybody: whoever has a row by the new email is there by it.
"""

from __future__ import annotations

from syncer.snapshot import history
from syncer.snapshot.columns import Attribute, ColumnMap
from syncer.snapshot.departures import Whereabouts
from syncer.snapshot.session import Session
from syncer.snapshot.values import literal


def mark_shared(session: Session, layout: ColumnMap, column: Attribute) -> None:
    """Mark rows of `staged` that say of one person, each for itself, that they moved; fills `spared` (k1).

    What rows in quarantine name is spared: whoever is known by it has not left.
    """
    reason = literal(f"several rows have this `{column.name}`")
    new = f"fault IS NULL AND {_may_move(layout)} AND k1 NOT IN (SELECT k1 FROM snapshot)"
    shared = f"SELECT previous FROM staged WHERE {new} GROUP BY previous HAVING count(*) > 1"
    session.execute(f"UPDATE staged SET fault = {reason} WHERE {new} AND previous IN ({shared})")
    session.execute(
        "CREATE OR REPLACE TEMP TABLE spared AS SELECT DISTINCT previous AS k1 FROM staged "
        "WHERE fault IS NOT NULL AND previous IS NOT NULL"
    )


def find(session: Session, layout: ColumnMap, whereabouts: Whereabouts | None) -> None:
    """Leave `previous` only in the rows of `staged` that move somebody.

    *whereabouts*: as `NumbersPeople` has it, for the target; without it nobody moves.
    """
    if not session.any("SELECT 1 FROM staged WHERE previous IS NOT NULL"):
        return
    added = "rowid IN (SELECT row_id FROM changes WHERE change = 'added')"
    _keep(session, f"{added} AND {_may_move(layout)}")
    for column, which in (("previous", "named IS NOT NULL"), ("k1", "named IS NULL")):
        names = f"SELECT DISTINCT {column} AS k1, NULL::BIGINT AS person FROM staged WHERE previous IS NOT NULL"
        asked = session.connection.sql(names).to_arrow_table()
        if whereabouts is None or not len(asked):
            _keep(session, "FALSE")
            return
        session.connection.register("found", whereabouts(asked))
        _keep(session, f"{column} IN (SELECT k1 FROM found WHERE {which})")
        session.connection.unregister("found")


def _keep(session: Session, which: str) -> None:
    session.execute(f"UPDATE staged SET previous = NULL WHERE previous IS NOT NULL AND NOT ({which})")


def _may_move(layout: ColumnMap) -> str:
    """SQL for whether a row of `staged` may move whoever had its former email: no row of the result has that."""
    result = (
        "SELECT k1 FROM staged WHERE k1 IS NOT NULL AND nulled IS NOT NULL "
        "UNION ALL SELECT k1 FROM quarantined WHERE k1 IS NOT NULL"
    )
    if not layout.schema.definition.incremental:
        result += " UNION ALL SELECT k1 FROM snapshot ANTI JOIN gone USING (k1)"
    return f"previous IS NOT NULL AND previous <> k1 AND previous NOT IN ({result})"


def rows(session: Session) -> int:
    """How many of the rows that are about to be sent move somebody."""
    return session.count(
        "SELECT count(*) FROM staged WHERE previous IS NOT NULL "
        "AND rowid IN (SELECT row_id FROM changes WHERE change = 'added')"
    )


def spare(session: Session) -> None:
    """Take out of the removals in `changes` whoever moves, and whom rows in quarantine name."""
    names = "SELECT previous FROM staged WHERE previous IS NOT NULL"
    if session.has_table("spared"):
        names += " UNION ALL SELECT k1 FROM spared"
    session.execute(f"DELETE FROM changes WHERE change = 'removed' AND k1 IN ({names})")


def forget_former(session: Session, layout: ColumnMap) -> None:
    """Drop the rows by the former emails of people whom the rows in `acknowledged` have moved."""
    session.execute(
        "CREATE OR REPLACE TEMP TABLE former AS SELECT b.k1 FROM acknowledged o JOIN staged s ON s.rowid = o.row_id "
        "JOIN snapshot b ON b.k1 = s.previous AND b.person = o.person WHERE o.verdict = 'accepted'"
    )
    if session.any("SELECT 1 FROM former"):
        history.remember_removed(session, layout, "former")
        for table in ("snapshot", "in_doubt"):
            session.execute(f"DELETE FROM {table} USING former f WHERE {table}.k1 = f.k1")
