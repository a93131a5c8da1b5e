"""The tables of a snapshot's file in the newest format, and the upgrades of files of earlier ones."""

from __future__ import annotations

from pathlib import Path

from syncer.model.importing import importing
from syncer.model.upgrades import Formats
from syncer.snapshot import file
from syncer.snapshot.session import Session
from syncer.snapshot.values import literal

#: From so many rows of a result on, a file has DuckDB's own blocks: with small ones a run would take a third longer.
MANY_ROWS = 20_000


def make_tables(session: Session) -> None:
    """Make the tables of a new file; part of the caller's transaction."""
    k, seen = ", ".join(f"{key} VARCHAR" for key in session.keys), "first_seen TIMESTAMP, last_seen TIMESTAMP"
    for table, columns in (
        ("snapshot", f"{k}, fingerprint UBIGINT, person BIGINT, first_run UINTEGER, last_run UINTEGER"),
        ("in_doubt", f"{k}, moved BOOLEAN, unset BOOLEAN"),
        ("left_behind", f"{k}, person BIGINT"),
        ("unknown", f"{k}, attributes VARCHAR[]"),
        ("kept", k),
        ("rejections", f"{k}, reason VARCHAR, rows BIGINT, attempts INTEGER, {seen}"),
        ("columns", "name VARCHAR, physical VARCHAR, kind VARCHAR"),
        ("meta", "name VARCHAR, value VARCHAR"),
    ):
        session.execute(f"CREATE TABLE {table} ({columns})")
    _make_history(session)
    if session.target.entity.traits.happens:
        with importing:
            from syncer.snapshot import event_journal

        event_journal.make_tables(session)


def fit_blocks(session: Session, path: Path) -> None:
    """Give a file blocks for many rows, if it was made with those for few; in no transaction.

    Raises:
        duckdb.Error: as `write_anew`.
    """
    if _block_size(session) == file.SMALL_BLOCK:
        _write_anew(session, path, "")


def write_anew(session: Session, path: Path) -> None:
    """Write a file anew, so that nothing is left in it of what was deleted; in no transaction.

    At each moment *path* is a whole file. Before the new one is locked another process may lock it.

    Raises:
        duckdb.Error: it did, or the disk is full; nothing is lost.
    """
    _write_anew(session, path, f" (BLOCK_SIZE {_block_size(session)})")


def _block_size(session: Session) -> int:
    return session.count("SELECT block_size FROM pragma_database_size() WHERE database_name = 'own'")


def _write_anew(session: Session, path: Path, size: str) -> None:
    larger = path.with_name(f"{path.name}.larger")
    for left in (larger, larger.with_name(f"{larger.name}.wal")):
        # A run died here.
        left.unlink(missing_ok=True)
    session.execute(
        f"ATTACH {literal(str(larger))} AS larger{size}; COPY FROM DATABASE own TO larger; CHECKPOINT larger"
    )
    # No log of the old file may be left for the new one.
    session.execute("CHECKPOINT own")
    larger.replace(path)
    session.execute("USE memory; DETACH own; DETACH larger")
    file.attach(session.connection, path)


def _make_history(session: Session) -> None:
    k = ", ".join(f"{key} VARCHAR" for key in session.keys)
    session.execute("CREATE TABLE sent_runs (number UINTEGER, run_id VARCHAR, began_at TIMESTAMP)")
    numbers = "first_run UINTEGER, last_run UINTEGER, left_run UINTEGER"
    session.execute(f"CREATE TABLE left_rows ({k}, attributes VARCHAR, {numbers}, left_at TIMESTAMP)")
    session.execute(f"CREATE TABLE absent_rows ({k}, run UINTEGER)")


def _add_fingerprints(session: Session) -> None:
    session.execute("ALTER TABLE snapshot ADD COLUMN fingerprint UBIGINT")


def _add_people(session: Session) -> None:
    session.execute("ALTER TABLE snapshot ADD COLUMN person BIGINT")
    session.execute("ALTER TABLE in_doubt ADD COLUMN moved BOOLEAN")
    session.execute(f"CREATE TABLE left_behind ({', '.join(f'{key} VARCHAR' for key in session.keys)}, person BIGINT)")
    # A run of the version before may have died while it sent.
    if session.has_table("outbox"):
        session.execute("ALTER TABLE outbox ADD COLUMN person BIGINT")


def _add_unknown(session: Session) -> None:
    keys = ", ".join(f"{key} VARCHAR" for key in session.keys)
    session.execute(f"CREATE TABLE unknown ({keys}, attributes VARCHAR[])")
    if session.has_table("outbox"):
        session.execute("ALTER TABLE outbox ADD COLUMN doubted BOOLEAN")


def _add_unset(session: Session) -> None:
    session.execute("ALTER TABLE in_doubt ADD COLUMN unset BOOLEAN")


def _add_history(session: Session) -> None:
    session.execute("ALTER TABLE snapshot ADD COLUMN first_run UINTEGER")
    session.execute("ALTER TABLE snapshot ADD COLUMN last_run UINTEGER")
    _make_history(session)


def _know_events(session: Session) -> None:
    """A file that has the tables of events is made so; those of before have none, and only say that they may."""


def _know_visitors(session: Session) -> None:
    if session.has_table("sent_events"):
        session.execute("ALTER TABLE kept ADD COLUMN anonymous VARCHAR")


#: Of a file whose rows the warehouse keeps; see `warehouse_rows`. No file is brought up to it.
ELSEWHERE = 9

FORMATS = Formats(
    (_add_fingerprints, _add_people, _add_unknown, _add_unset, _add_history, _know_events, _know_visitors)
)
