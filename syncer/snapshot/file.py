"""The files of snapshots: how they are opened, locked and moved aside."""

from __future__ import annotations

import fcntl
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from syncer.model.errors import RunInProgressError, SnapshotError
from syncer.model.memory import PROCESS, for_snapshot
from syncer.model.temporary_folders import temporary_folder
from syncer.snapshot.session import begun, close, let_go
from syncer.snapshot.values import literal

#: When a file was moved aside, UTC, in its name.
_STAMP = "%Y%m%dT%H%M%S%f"
_ASIDE = re.compile(r"\.duckdb\.[a-z]+-(\d{8}T\d{12})(?:\.wal)?$")

#: Seconds that a run waits for somebody who looks into its file, which takes milliseconds.
LONGEST_LOOK = 10.0
#: Seconds between two attempts to open a file that another process reads.
LOOK_AGAIN = 0.01

#: How many times as large rows are in memory as in a file, and for how few of them the file's own size weighs.
_COMPRESSION = 4
_FEW_ROWS = 1_000

_PART_AND_EVENTS = (
    "SELECT getvariable('part'), coalesce(max(estimated_size), 0) FROM duckdb_tables() "
    "WHERE database_name = 'own' AND table_name = 'sent_events'"
)

_open_paths: set[Path] = set()
_read_paths: set[Path] = set()
_paths = threading.Condition()

#: Bytes. DuckDB takes no smaller blocks, and gives one at least to each of the many tables of a snapshot.
SMALL_BLOCK = 16_384

#: Bytes. What a run over a larger file had in memory goes with its DuckDB.
_SMALL_FILE = 16 << 20


@contextmanager
def taken(path: Path, sync: str, *, to_read: bool = False) -> Iterator[None]:
    """Let no other thread of this process open a file meanwhile; one that only looks into it is waited for.

    Raises:
        RunInProgressError: another one has it open.
    """
    with _paths:
        is_let_go = _paths.wait_for(lambda: path not in _read_paths, timeout=LONGEST_LOOK)
        if path in _open_paths or not is_let_go:
            raise in_progress(sync)
        (_read_paths if to_read else _open_paths).add(path)
    try:
        yield
    finally:
        with _paths:
            (_read_paths if to_read else _open_paths).discard(path)
            _paths.notify_all()


def shared_mark(path: Path) -> Path:
    """What lies beside a sync's file that is a copy of a shared one; see `shared.copies`."""
    return path.with_name(f"{path.name}.shared")


@contextmanager
def locked(path: Path, *, sync: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a sync's snapshot file and lock it; it is made where there is none.

    Raises:
        RunInProgressError: this or another process has locked it.
        SnapshotError: it is damaged, and was moved aside; or a newer program wrote it; or the disk refuses; or its path
            holds a `?`.
    """
    path = path.resolve()
    if "?" in str(path):
        # DuckDB takes what follows for options, and would put its write-ahead log elsewhere.
        raise SnapshotError(
            f"the snapshot of `{sync}` cannot be in a folder whose path holds a `?`: {path.parent}",
            hint="Set SYNCER_STATE_DIR to another folder.",
        )
    with taken(path, sync), PROCESS.part() as part:
        connection = _connect(path, sync, part)
        try:
            yield connection
        except BaseException:
            close(connection)
            raise
        is_small = path.exists() and path.stat().st_size < _SMALL_FILE and not _spill_of(path).exists()
        let_go(connection, "own", is_reusable=is_small)


@contextmanager
def attached(connection: duckdb.DuckDBPyConnection, path: Path, *, sync: str) -> Iterator[str]:
    """Let *connection* read a sync's snapshot meanwhile, for a moment: a run waits for it; gives its name there.

    Raises:
        RunInProgressError: a process has locked it.
        duckdb.Error: it cannot be read.
    """
    path = path.resolve()
    with taken(path, sync, to_read=True):
        try:
            connection.execute(f"ATTACH {literal(str(path))} AS other (READ_ONLY)")
        except duckdb.IOException:
            if is_locked(path):
                raise in_progress(sync) from None
            raise
        try:
            yield "other"
        finally:
            connection.execute("DETACH other")


@contextmanager
def in_memory(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty snapshot that leaves nothing behind; what does not fit into memory goes beside *path* meanwhile."""
    path.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
    with (
        PROCESS.part() as part,
        temporary_folder(path.parent) as spill,
        duckdb.connect(":memory:", config=_config(part) | {"temp_directory": str(spill)}) as connection,
    ):
        _begin_session(connection, part)
        yield connection


def is_in_use(path: Path, sync: str) -> bool:
    """Whether a process runs or plans a sync."""
    try:
        with locked(path, sync=sync):
            return False
    except RunInProgressError:
        return True
    except SnapshotError:
        return False


def is_being_changed(path: Path) -> bool:
    """Whether a run or a plan has a sync's file open, of this process or another."""
    path = path.resolve()
    with _paths:
        if path in _open_paths or path in _read_paths:
            return path in _open_paths
    return is_locked(path)


def is_locked(path: Path) -> bool:
    """Whether another process has locked a file, to change it, which this one has not open."""
    try:
        with path.open("rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def delete(path: Path, sync: str) -> None:
    """Delete a sync's file, what DuckDB keeps beside it, and what is remembered to be removed from the store.

    Raises:
        RunInProgressError: a process runs or plans the sync.
    """
    try:
        with locked(path, sync=sync):
            path.unlink()
    except SnapshotError:
        # This look moved a damaged file aside; one of a newer program cannot be locked.
        path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
    shared_mark(path).unlink(missing_ok=True)
    for former in path.parent.glob(f"{path.name}.former-*"):
        former.unlink()
    shutil.rmtree(_spill_of(path), ignore_errors=True)


def delete_moved_aside(folder: Path, before: datetime) -> int:
    """Delete the files that `move_aside` made in a folder before *before*; returns how many."""
    stamp = before.astimezone(UTC).strftime(_STAMP)
    old = [path for path in folder.glob("*") if (found := _ASIDE.search(path.name)) and found[1] < stamp]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def move_aside(path: Path, why: str, *, beside: Path | None = None) -> Path:
    """Rename a snapshot file and what DuckDB keeps beside it; returns the new path, *beside* another one if given."""
    stamp = datetime.now(UTC).strftime(_STAMP)
    aside = path.with_name(f"{(beside or path).name}.{why}-{stamp}")
    for suffix in ("", ".wal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _row_bytes(path: Path, rows: int) -> int:
    """About how many bytes each of so many rows of a snapshot file has in memory; 0 if there is no file."""
    return _COMPRESSION * path.stat().st_size // max(_FEW_ROWS, rows) if path.exists() else 0


def _spill_of(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


def room_for(
    connection: duckdb.DuckDBPyConnection, path: Path, *, columns: int, rows: int, is_whole: bool
) -> Callable[[int, int], None]:
    """What lets DuckDB use as much of the connection's part of the memory as such rows need: see `for_snapshot`.

    That is at once what the *rows* of the file at *path* need, or all of the part where they become one text. The
    events of which it has the ids need none: few are looked at, and no table in memory has them.

    Shapes:
        returns: takes the bytes of a row, and how many rows there are, of which the most counts each; may be called
            while the connection is in use.
    """
    ((part, events),) = connection.execute(_PART_AND_EVENTS).fetchall()
    beside, longest, most = connection.cursor(), 0, 0

    def make_room(row_bytes: int, rows: int) -> None:
        nonlocal longest, most
        longest, most = max(longest, row_bytes), max(most, rows)
        if part:
            size = for_snapshot(part, columns=columns, rows=most, row_bytes=longest)
            beside.execute(f"SET memory_limit = '{size}B'")

    make_room(sys.maxsize if is_whole else _row_bytes(path, rows + events), rows)
    return make_room


def _config(part: int) -> dict[str, str | bool | int | float | list[str]]:
    return {
        # Above it DuckDB writes to files beside the snapshot.
        "memory_limit": f"{for_snapshot(part)}B",
        "preserve_insertion_order": False,
        # A run writes in small steps: seldom enough to be cheap, often enough to leave little for its end.
        "checkpoint_threshold": "64MB",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        # A table name must never be taken for a variable of this program.
        "python_enable_replacements": False,
    }


def _begin_session(connection: duckdb.DuckDBPyConnection, part: int) -> None:
    # In a program that DuckDB takes for a prompt it would write on what is ours.
    connection.execute(f"SET VARIABLE part = {part}; SET TimeZone = 'UTC'; SET enable_progress_bar = false")


def _connect(path: Path, sync: str, part: int) -> duckdb.DuckDBPyConnection:
    spill = _spill_of(path)
    try:
        path.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
        connection = begun(_config(part) | {"temp_directory": str(spill)})
        _begin_session(connection, part)
        try:
            attach(connection, path)
        except BaseException:
            close(connection)
            raise
    except duckdb.IOException as exc:
        if is_locked(path):
            raise in_progress(sync, holder=re.search(r"PID (\d+)", str(exc))) from None
        raise failed(path, sync, exc) from None
    except duckdb.Error as exc:
        raise failed(path, sync, exc) from None
    except OSError as exc:
        raise unwritable(path, exc) from exc
    # What a killed process spilled; this process has the file's lock.
    shutil.rmtree(spill, ignore_errors=True)
    return connection


def unwritable(path: Path, exc: OSError) -> SnapshotError:
    """The system's error for the folder of a file."""
    return SnapshotError(
        f"the state folder cannot be written: {exc.strerror}: {path.parent}",
        hint="Set SYNCER_STATE_DIR to a folder of this user.",
    )


def attach(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Open and lock a file as the database `own`, and make it the current one; who only reads it is waited for.

    Raises:
        duckdb.Error: it is locked, or cannot be opened.
    """
    deadline = time.monotonic() + LONGEST_LOOK
    # What a run writes after it was put must be undone by cutting the log.
    on_detach = "DISABLED" if shared_mark(path).exists() else "DEFAULT"
    connection.execute(f"SET checkpoint_on_detach = '{on_detach}'")
    while True:
        # What is made is small at first: see `tables.fit_blocks`.
        size = "" if path.exists() and path.stat().st_size else f" (BLOCK_SIZE {SMALL_BLOCK})"
        try:
            connection.execute(f"ATTACH {literal(str(path))} AS own{size}; USE own")
        except duckdb.IOException as exc:
            # Those who only read it share their lock.
            if "set lock" not in str(exc) or is_locked(path) or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(LOOK_AGAIN)


def in_progress(sync: str, holder: re.Match[str] | None = None) -> RunInProgressError:
    """Another thread or process has a sync's file open."""
    by = f" by process {holder[1]}" if holder else ""
    return RunInProgressError(
        f"`{sync}` is being run or planned already{by}",
        hint="Wait until it has ended; `syncer runs` shows it.",
    )


def failed(path: Path, sync: str, cause: duckdb.Error) -> SnapshotError:
    """What DuckDB's error means for the person who reads it; a damaged file is moved aside."""
    from syncer.snapshot import file_faults

    return file_faults.explained(path, sync, cause, move_aside=move_aside)
