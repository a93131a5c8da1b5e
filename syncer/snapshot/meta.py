"""What a snapshot's file says of itself, by name."""

from __future__ import annotations

import duckdb


class Meta:
    """The table `meta` of a file; each change is part of the caller's transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def get(self, name: str) -> str | None:
        """What was said last; None where nothing was."""
        rows = self._connection.execute("SELECT value FROM meta WHERE name = ?", [name]).fetchall()
        return rows[0][0] if rows else None

    def set(self, **values: str) -> None:
        """Say something anew."""
        for name, value in values.items():
            self._connection.execute("DELETE FROM meta WHERE name = ?", [name])
            self._connection.execute("INSERT INTO meta VALUES (?, ?)", [name, value])

    def knows_claim(self, newest: str, *, log_id: str) -> bool:
        """Whether the newest claim of the sync in a run log (see `Claims`) is one that was made from this file."""
        if self.get("log_id") not in (None, log_id):
            return newest == ""
        # A run that died between its two writes has sent nothing: the claim before its own is the newest then.
        return newest in (self.get("claimed_by") or "", self.get("claimed_after") or "")
