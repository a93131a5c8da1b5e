"""The rows that are rejected now, as a run that ends finds them: the table `rejections`, from `answered`."""

from __future__ import annotations

from datetime import datetime

from syncer.snapshot.ledger import Intent
from syncer.snapshot.session import Session


def settle(session: Session, intent: Intent | None, *, at: datetime) -> None:
    """Bring `rejections` up to date; see `journal.settle`."""
    looked_at_all = intent is not None and not intent.only_some
    _find_rejected(session, quarantine=looked_at_all, at=at)
    if intent is not None and looked_at_all:
        _end_rejections(session, partial=intent.is_partial)
    else:
        delete_answered(session, "rejections", "a.verdict IS NOT NULL")
    session.execute(f"DELETE FROM rejections USING rejected r WHERE {session.same_keys('rejections', 'r')}")
    session.execute("INSERT INTO rejections SELECT * FROM rejected; DROP TABLE rejected")


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
        f"FROM ({rejected}) r LEFT JOIN rejections o ON {known} AND (NOT ({session.lacks_key('r')}) "
        "OR r.reason = o.reason)",
        {"at": at.replace(tzinfo=None)},
    )


def _end_rejections(session: Session, *, partial: bool) -> None:
    """Drop the rejections that a whole look has shown to be over."""
    staged = f"EXISTS (SELECT 1 FROM staged s WHERE {session.same_keys('rejections', 's')})"
    which = f"({session.lacks_key('rejections')} OR {staged}) AND " if partial else ""
    session.execute(
        f"DELETE FROM rejections WHERE {which}NOT EXISTS (SELECT 1 FROM answered a "
        f"WHERE a.verdict IS NULL AND {session.same_keys('rejections', 'a')})"
    )


def delete_answered(session: Session, table: str, which: str) -> None:
    """Delete the rows of a table of whose answer the SQL *which* is true."""
    session.execute(f"DELETE FROM {table} USING answered a WHERE {session.same_keys(table, 'a')} AND {which}")
