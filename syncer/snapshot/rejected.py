"""The rows that are refused now, as people read them."""

from __future__ import annotations

from datetime import UTC

import duckdb

from syncer.model.types import Rejection
from syncer.snapshot.keys import key_text


def rejections(connection: duckdb.DuckDBPyConnection, keys: list[str], sync: str, limit: int) -> list[Rejection]:
    """At most *limit* of them, oldest first."""
    keyless = " OR ".join(f"{name} IS NULL" for name in keys)
    rows = connection.execute(
        f"SELECT CASE WHEN {keyless} THEN '' ELSE {key_text(keys)} END, "
        "CASE WHEN rows > 1 THEN reason || ' (' || rows || ' rows)' ELSE reason END, "
        f"attempts, first_seen, last_seen FROM rejections ORDER BY first_seen, {', '.join(keys)}, reason LIMIT {limit}"
    ).fetchall()
    return [
        Rejection(
            sync=sync,
            key=key,
            reason=reason,
            attempts=attempts,
            first_seen=first.replace(tzinfo=UTC),
            last_seen=last.replace(tzinfo=UTC),
        )
        for key, reason, attempts, first, last in rows
    ]
