"""What a snapshot's file says of itself, read beside whoever has it open for reading, and without changing it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from syncer.model.errors import RunInProgressError, SnapshotError
from syncer.snapshot.file import attached


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """What one file has."""

    #: That the store has acknowledged.
    rows: int
    #: The warehouse that keeps the rows; empty where the file has them.
    kept_in: str
    #: The run that sent from it last, and the claim before that run's own; empty where none did.
    claims: tuple[str, str]


def facts_of(path: Path, sync: str) -> SnapshotFacts:
    """Look into a sync's file.

    Raises:
        RunInProgressError: a process has it open to change it.
        SnapshotError: it cannot be read; it stays where it is.
    """
    try:
        with duckdb.connect() as connection, attached(connection, path, sync=sync) as name:
            tables = f"SELECT table_name FROM duckdb_tables() WHERE database_name = '{name}'"
            found = {table for (table,) in connection.execute(tables).fetchall()}
            rows = "sent_events" if "sent_events" in found else "snapshot"
            ((count,),) = connection.execute(f"SELECT count(*) FROM {name}.{rows}").fetchall()
            meta = dict(connection.execute(f"SELECT name, value FROM {name}.meta").fetchall())
    except RunInProgressError:
        raise
    except duckdb.Error as exc:
        raise SnapshotError(
            f"the snapshot of `{sync}` cannot be read: {type(exc).__name__}: {path}",
            hint=f"The next run moves it aside. `syncer reset {sync}` starts from scratch.",
        ) from None
    is_elsewhere = bool(meta.get("kept_version"))
    return SnapshotFacts(
        rows=count + (int(meta.get("kept_rows", 0)) if is_elsewhere else 0),
        kept_in=meta.get("kept_in", "") if is_elsewhere else "",
        claims=(meta.get("claimed_by", ""), meta.get("claimed_after", "")),
    )
