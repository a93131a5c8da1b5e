"""What a ledger remembers of rows that are not in the snapshot: those that left the result, and absent ones."""

from __future__ import annotations

from datetime import UTC, datetime

from syncer.model.types import Action
from syncer.snapshot.columns import ColumnMap, in_file, json_name, json_object
from syncer.snapshot.session import Session

#: So many are remembered, or as many as the snapshot has if that is more; the oldest are forgotten first.
_MOST = 100_000


def remember_left(session: Session, layout: ColumnMap, keys: str, *, number: int, at: datetime | None) -> None:
    """Keep in `left_rows` what the snapshot has of some rows; part of the caller's transaction.

    Shapes:
        keys: SQL of a table of them: k….
        number, at: of the run; a time without zone is in UTC.
    """
    known = [c for c in in_file(session, layout.columns) if c.was is not None]
    values = [(c.name, c.sent(f"({c.acknowledged()})")) for c in known]
    attributes = json_object([f"{json_name(name)} || coalesce({value}, 'null')" for name, value in values])
    at = at.astimezone(UTC).replace(tzinfo=None) if at and at.tzinfo else at
    session.execute(f"DELETE FROM left_rows USING {keys} d WHERE {session.same_keys('left_rows', 'd')}")
    session.execute(
        f"INSERT INTO left_rows SELECT {session.k}, {attributes}, first_run, last_run, $number, $at "
        f"FROM snapshot SEMI JOIN {keys} USING ({session.k})",
        {"number": number, "at": at},
    )


def remember_removed(session: Session, layout: ColumnMap, keys: str = "") -> None:
    """Keep in `left_rows` what leaves the snapshot: *keys*, or else what the removals in `acknowledged` take out."""
    removed = f"(SELECT {session.k} FROM acknowledged WHERE action <> '{Action.PUT}' AND verdict = 'accepted')"
    ((number, at),) = session.rows("SELECT number, began_at FROM sent_runs ORDER BY number DESC LIMIT 1")
    remember_left(session, layout, keys or removed, number=number, at=at)


def remember_absent(session: Session, *, is_whole: bool) -> None:
    """Keep in `absent_rows` what a run sent to nobody; *is_whole*: it sent all such rows there are."""
    sent = "" if is_whole else f" USING outbox o WHERE {session.same_keys('absent_rows', 'o')}"
    session.execute(f"DELETE FROM absent_rows{sent}")
    session.execute(
        f"INSERT INTO absent_rows SELECT {session.k}, (SELECT max(number) FROM sent_runs) "
        "FROM outbox JOIN verdicts USING (seq) WHERE verdict = 'absent'"
    )


def forget(session: Session, *, before: datetime | None) -> None:
    """Drop from `left_rows` what left *before*, what came back, and the oldest where there are very many."""
    session.execute(
        f"DELETE FROM left_rows USING changes d WHERE d.change = 'added' AND {session.same_keys('left_rows', 'd')}"
    )
    if before is not None:
        session.execute(
            "DELETE FROM left_rows WHERE left_at < $before", {"before": before.astimezone(UTC).replace(tzinfo=None)}
        )
    rows = session.count("SELECT count(*) FROM left_rows")
    if rows > _MOST and (spare := rows - max(_MOST, session.count("SELECT count(*) FROM snapshot"))) > 0:
        session.execute(
            f"DELETE FROM left_rows WHERE rowid IN (SELECT rowid FROM left_rows ORDER BY left_run LIMIT {spare})"
        )
