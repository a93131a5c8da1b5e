"""What DuckDB's errors about the file of a snapshot mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from syncer.model.errors import SnapshotError
from syncer.model.memory import HINT

#: In DuckDB 2.0's errors, in lower case, about files that were cut, overwritten or had bits flipped.
_SIGNS_OF_DAMAGE = (
    "corrupt",
    "checksum",
    "not a valid duckdb",
    "could not read enough bytes",
    "replaying wal",
    "failed to deserialize",
    "serialization error",
)

#: In the system's errors, in lower case, about a disk, a quota or a file size that is used up.
_SIGNS_OF_FULL_DISK = ("no space left", "quota exceeded", "file too large")

#: The same where DuckDB itself stops before the last tenth of a disk is full.
_SIGN_OF_FULL_FOLDER = "max_temp_directory_size"


def explained(path: Path, sync: str, cause: duckdb.Error, *, move_aside: Callable[[Path, str], Path]) -> SnapshotError:
    """What DuckDB's error means for the person who reads it; its own text may hold values."""
    text = _text_of(cause, path)
    if isinstance(cause, duckdb.OutOfMemoryException) and _SIGN_OF_FULL_FOLDER not in text:
        return SnapshotError(f"the run of `{sync}` needs more memory than it may have", hint=HINT)
    if any(sign in text for sign in (*_SIGNS_OF_FULL_DISK, _SIGN_OF_FULL_FOLDER)):
        return SnapshotError(
            f"the snapshot of `{sync}` does not fit: the disk is full: {path.parent}",
            hint="Free some space and run the sync again; what was acknowledged is kept.",
        )
    if isinstance(cause, duckdb.IOException) and ("newer version" in text or "version number" in text):
        return SnapshotError(
            f"the snapshot of `{sync}` was written by a newer DuckDB: {path}",
            hint="Install the newer Syncer again, or `syncer reset` this sync.",
        )
    if "permission denied" in text or not path.is_file():
        return SnapshotError(
            f"the snapshot of `{sync}` cannot be opened: {path}",
            hint="Look at the owner and the mode of the file and its folder.",
        )
    if any(sign in text for sign in _SIGNS_OF_DAMAGE):
        return _damaged(sync, move_aside(path, "damaged"))
    return SnapshotError(
        f"the snapshot of `{sync}` failed: {type(cause).__name__}",
        hint=f"Run it again; if it fails once more, `syncer reset {sync}` starts from scratch.",
    )


def _text_of(cause: duckdb.Error, path: Path) -> str:
    """What DuckDB says, in lower case, without the names of files and folders that it quotes."""
    text = str(cause)
    for part in (path, path.parent, path.name):
        text = text.replace(str(part), "")
    return text.lower()


def _damaged(sync: str, aside: Path) -> SnapshotError:
    return SnapshotError(
        f"the snapshot of `{sync}` is damaged and was moved aside as {aside}",
        hint=f"`syncer run {sync}` rebuilds it: every row is sent again, and nothing is removed from the store.",
    )
