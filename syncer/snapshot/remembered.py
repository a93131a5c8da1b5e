"""Rows that an incremental query will not return again, among those that it returned."""

from __future__ import annotations

from syncer.snapshot.columns import ColumnMap
from syncer.snapshot.session import Session


def stage(session: Session, layout: ColumnMap) -> None:
    """Stage them with their newest values; `nulled` is NULL there."""
    k = session.k
    values = "".join(f", {c.acknowledged()}" for c in layout.fed)
    names = "".join(f", {c.physical}" for c in layout.fed)
    returned = f"SELECT {k} FROM staged UNION ALL SELECT {k} FROM quarantined"
    if layout.schema.previous is not None:
        # Whoever had it has another email now.
        returned += " UNION ALL SELECT previous FROM staged ANTI JOIN snapshot USING (k1) WHERE previous IS NOT NULL"
    # A token that the result has for somebody else has moved on.
    told_by = "k2" if session.target.entity.traits.names_device else k
    for table, limit in (("kept", ""), ("snapshot", f" SEMI JOIN in_doubt USING ({k})")):
        session.execute(
            f"INSERT INTO staged ({k}{names}) SELECT {k}{values} FROM {table}{limit} "
            f"ANTI JOIN ({returned}) r USING ({told_by})"
        )
