"""What a run writes to the ledger of events: the ids of those that were sent, and what is to be tried again.

An event that is sent once more has the same id. So nothing has to be durable before it is sent: what has no answer is
not in `sent_events`, and the next run finds it new.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from syncer.model.types import Action
from syncer.snapshot import refusals
from syncer.snapshot.columns import ColumnMap
from syncer.snapshot.event_rows import AT, PRINT
from syncer.snapshot.journal import reshape
from syncer.snapshot.ledger import Intent
from syncer.snapshot.session import Session


def make_tables(session: Session) -> None:
    """Make the tables that only the ledger of events has; part of the caller's transaction."""
    session.execute("CREATE TABLE sent_events (high UBIGINT, low USMALLINT, second UINTEGER, print UINTEGER)")
    for column in ("who VARCHAR", "happened TIMESTAMP", "fingerprint UBIGINT", "anonymous VARCHAR"):
        session.execute(f"ALTER TABLE kept ADD COLUMN {column}")


def write_intent(session: Session, layout: ColumnMap, intent: Intent) -> int:
    """Put everything about to be sent into `outbox`, which nothing keeps; returns how many rows it has."""
    session.execute("INSERT INTO sent_events SELECT high, low, second, print FROM past")
    if intent.is_empty:
        return 0
    k = session.k
    if layout.schema.definition.incremental:
        reshape(session, layout)
    if not intent.only_some:
        returned = f"(SELECT {k} FROM staged WHERE nulled IS NOT NULL UNION ALL SELECT {k} FROM quarantined)"
        same = session.same_keys("kept", "r")
        session.execute(f"DELETE FROM kept{f' USING {returned} r WHERE {same}' if intent.is_partial else ''}")
    session.execute(
        "CREATE OR REPLACE TEMP TABLE outbox AS SELECT row_number() OVER (ORDER BY row_id) AS seq, "
        f"'{Action.PUT}' AS action, NULL::BIGINT AS person, * FROM ("
        f"SELECT {k}, row_id, FALSE AS known, change FROM changes "
        f"UNION ALL SELECT {session.keys_of('r')}, r.row_id, e.row_id IS NOT NULL, 'resent' FROM resent r "
        "LEFT JOIN known_events e ON r.row_id = e.row_id)"
    )
    session.execute(
        "CREATE OR REPLACE TEMP TABLE verdicts (seq BIGINT, verdict VARCHAR, reason VARCHAR); "
        "CREATE OR REPLACE TEMP TABLE waiting (row_id BIGINT, gives BOOLEAN)"
    )
    return session.count("SELECT count(*) FROM outbox")


def write_verdicts(session: Session, layout: ColumnMap, verdicts: pa.Table) -> None:
    """Add to `verdicts`, and remember what was accepted."""
    session.connection.register("answers", verdicts)
    try:
        session.execute("INSERT INTO verdicts SELECT seq, verdict, reason FROM answers")
        session.execute(
            f"INSERT INTO sent_events SELECT high, low, {AT}, {PRINT} FROM staged s "
            "JOIN outbox o ON s.rowid = o.row_id JOIN answers a USING (seq) "
            "WHERE a.verdict = 'accepted' AND NOT o.known ORDER BY seq"
        )
    finally:
        session.connection.unregister("answers")


def settle(session: Session, intent: Intent, layout: ColumnMap, *, at: datetime) -> None:
    """Keep what was rejected: its reason, and of an incremental query its values."""
    if not session.has_table("outbox"):
        return
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE answered AS SELECT {session.k}, verdict, reason, row_id "
        "FROM outbox LEFT JOIN verdicts USING (seq)"
    )
    refusals.delete_answered(session, "kept", "a.verdict = 'accepted'")
    if layout.schema.definition.incremental:
        names = "".join(f", {c.physical}" for c in layout.fed)
        columns = f"{session.k}, who, anonymous, happened, fingerprint{names}"
        session.execute(
            f"INSERT INTO kept ({columns}) SELECT {columns} FROM staged SEMI JOIN ("
            "SELECT row_id FROM answered WHERE verdict = 'rejected') a ON staged.rowid = a.row_id "
            f"ANTI JOIN kept USING ({session.k})"
        )
    refusals.settle(session, intent, at=at)
    session.execute("DROP TABLE outbox; DROP TABLE verdicts; DROP TABLE answered")


def newest_accepted(session: Session) -> int:
    """The time of the newest event that the run's store has accepted, in unix seconds; 0 if it accepted none."""
    if not session.has_table("outbox"):
        return 0
    return session.count(
        f"SELECT coalesce(max({AT}), 0) FROM staged s JOIN outbox o ON s.rowid = o.row_id JOIN verdicts v USING (seq) "
        "WHERE v.verdict = 'accepted'"
    )


def forget(session: Session, before: int) -> None:
    """Forget the ids of events of before a time, in unix seconds; part of the caller's transaction."""
    session.execute("DELETE FROM sent_events WHERE second < ?", [before])
