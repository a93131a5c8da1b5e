"""The rows that are rejected now, as people read them."""

from __future__ import annotations

from datetime import UTC

from syncer.model.types import Rejection
from syncer.snapshot.keys import key_text
from syncer.snapshot.session import Session


def rejections(session: Session, limit: int) -> list[Rejection]:
    """At most *limit* of them, oldest first."""
    keys = session.keys
    keyless = " OR ".join(f"{name} IS NULL" for name in keys)
    rows = session.rows(
        f"SELECT CASE WHEN {keyless} THEN '' ELSE {key_text(keys)} END, "
        "CASE WHEN rows > 1 THEN reason || ' (' || rows || ' rows)' ELSE reason END, "
        f"attempts, first_seen, last_seen FROM rejections ORDER BY first_seen, {', '.join(keys)}, reason LIMIT {limit}"
    )
    return [
        Rejection(
            sync=session.sync,
            key=key,
            reason=reason,
            attempts=attempts,
            first_seen=first.replace(tzinfo=UTC),
            last_seen=last.replace(tzinfo=UTC),
        )
        for key, reason, attempts, first, last in rows
    ]
