"""Settling: verdicts become the snapshot, and what has no verdict stays in doubt."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from syncer.snapshot.columns import Layout, in_file
from syncer.snapshot.session import Session


def record(session: Session, layout: Layout, verdicts: pa.Table) -> None:
    """Write a batch's verdicts down, and make the snapshot what was accepted, in one transaction."""
    with session.transaction():
        session.connection.register("answers", verdicts)
        session.execute("CREATE OR REPLACE TEMP TABLE answered AS SELECT seq, verdict, reason FROM answers")
        session.connection.unregister("answers")
        session.execute("INSERT INTO verdicts SELECT * FROM answered")
        session.execute(
            f"CREATE OR REPLACE TEMP TABLE acknowledged AS "
            f"SELECT {session.keys_of('o')}, o.action, o.row_id, o.known, a.verdict "
            "FROM outbox o JOIN answered a USING (seq) WHERE a.verdict IN ('accepted', 'absent')"
        )
        _take_over(session, layout)


def _take_over(session: Session, layout: Layout) -> None:
    """Give the snapshot the values of the rows in `acknowledged`."""
    values = _new_values(session, layout)
    source = "acknowledged o JOIN staged s ON s.rowid = o.row_id"
    reads_old = any("b." in value for value in values.values())
    if reads_old:
        source += f" LEFT JOIN snapshot b ON {session.same_keys('o', 'b')}"
    listed = ", ".join([session.keys_of("o"), *(f"{value} AS {name}" for name, value in values.items())])
    accepted = f"SELECT {listed} FROM {source} WHERE o.action = 'put' AND o.verdict = 'accepted'"
    if reads_old:
        # The acknowledged values are read before their rows are deleted.
        session.execute(f"CREATE OR REPLACE TEMP TABLE accepted AS {accepted}")
        accepted = "SELECT * FROM accepted"
    if session.any("SELECT 1 FROM acknowledged WHERE known"):
        same = session.same_keys("snapshot", "t")
        session.execute(f"DELETE FROM snapshot USING acknowledged t WHERE t.known AND {same}")
    session.execute(f"INSERT INTO snapshot ({', '.join([*session.keys, *values])}) {accepted}")


def _new_values(session: Session, layout: Layout) -> dict[str, str]:
    """The snapshot's columns, beside the key, to the SQL of their values; s. is staged, b. is what was before."""
    fed = [c.physical for c in layout.fed]
    values = {"fingerprint": "s.fingerprint"} | {name: f"s.{name}" for name in fed}
    if layout.schema.keeps_nulls:
        kept = " OR ".join(f"(s.{name} IS NULL AND b.{name} IS NOT NULL)" for name in fed) or "FALSE"
        values = {"fingerprint": f"CASE WHEN {kept} THEN NULL ELSE s.fingerprint END"}
        values |= {name: f"coalesce(s.{name}, b.{name})" for name in fed}
    return values | {c.physical: f"b.{c.physical}" for c in in_file(session, layout.carried)}


def settle(session: Session, *, complete: bool, partial: bool, quarantine: bool, at: datetime) -> None:
    """Drop the outbox: what has no answer stays in doubt, what was rejected stays visible.

    Part of the caller's transaction.

    *complete*: the run looked at every row, so that older rejections end, except of rows in doubt; but where the
    result is *partial*, only those of the keys that it has.
    *quarantine*: the run staged a result, so the tables `staged` and `quarantined` are there.
    """
    k = session.k
    # Of a first load's million rows none was in doubt or rejected before: then the accepted ones matter to no table.
    left = "SELECT (SELECT count(*) FROM in_doubt) + (SELECT count(*) FROM kept) + (SELECT count(*) FROM rejections)"
    which = "" if session.count(left) else "WHERE verdict IS NULL OR verdict = 'rejected'"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE answered AS SELECT {k}, verdict, reason "
        f"FROM outbox LEFT JOIN verdicts USING (seq) {which}"
    )
    # A rejection says nothing about an earlier send of the same row that had no answer.
    for table in ("in_doubt", "kept"):
        _delete_answered(session, table, "a.verdict IN ('accepted', 'absent')")
    session.execute(
        f"INSERT INTO in_doubt SELECT {k} FROM (SELECT {k} FROM answered WHERE verdict IS NULL) "
        f"ANTI JOIN in_doubt USING ({k})"
    )
    _find_rejected(session, quarantine=quarantine, at=at)
    _forget_rejections(session, complete=complete, partial=partial, quarantine=quarantine)
    session.execute(f"DELETE FROM rejections USING rejected r WHERE {session.same_keys('rejections', 'r')}")
    session.execute("INSERT INTO rejections SELECT * FROM rejected")
    for table in ("outbox", "verdicts", "answered", "rejected"):
        session.execute(f"DROP TABLE {table}")


def _find_rejected(session: Session, *, quarantine: bool, at: datetime) -> None:
    """Fill `rejected` with the rows that are rejected or quarantined now, in the columns of `rejections`."""
    k = session.k
    known = " AND ".join(f"r.{key} IS NOT DISTINCT FROM o.{key}" for key in session.keys)
    rejected = f"SELECT {k}, reason, 1 AS rows FROM answered WHERE verdict = 'rejected'"
    if quarantine:
        rejected += f" UNION ALL SELECT {k}, reason, rows FROM quarantined"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE rejected AS SELECT {session.keys_of('r')}, r.reason, r.rows, "
        f"coalesce(o.attempts, 0) + 1 AS attempts, coalesce(o.first_seen, $at) AS first_seen, $at AS last_seen "
        f"FROM ({rejected}) r LEFT JOIN rejections o ON {known} AND (NOT ({_keyless(session, 'r')}) "
        "OR r.reason = o.reason)",
        {"at": at.replace(tzinfo=None)},
    )


def _forget_rejections(session: Session, *, complete: bool, partial: bool, quarantine: bool) -> None:
    """Drop the rejections that this run has answered, or of which it has shown that they are over."""
    keyless = _keyless(session, "rejections")
    if complete:
        staged = f"EXISTS (SELECT 1 FROM staged s WHERE {session.same_keys('rejections', 's')})"
        which = f"({keyless} OR {staged}) AND " if partial else ""
        session.execute(
            f"DELETE FROM rejections WHERE {which}NOT EXISTS (SELECT 1 FROM answered a "
            f"WHERE a.verdict IS NULL AND {session.same_keys('rejections', 'a')})"
        )
        return
    _delete_answered(session, "rejections", "a.verdict IS NOT NULL")
    if quarantine:
        session.execute(f"DELETE FROM rejections WHERE {keyless}")


def _keyless(session: Session, table: str) -> str:
    return " OR ".join(f"{table}.{key} IS NULL" for key in session.keys)


def _delete_answered(session: Session, table: str, which: str) -> None:
    session.execute(f"DELETE FROM {table} USING answered a WHERE {session.same_keys(table, 'a')} AND {which}")
