"""Temporary folders that do not outlive their process for long: the next one that makes such a folder deletes them.

A folder is locked while it is in use: the system frees the lock of a process that was killed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

#: What the names of all of them begin with. Folders of earlier versions, which had no lock, have other names.
_PREFIX = "syncer-locked-"


class TemporaryFolder:
    """A new, empty folder of this user; it is deleted when it is closed, and at the latest when the process ends."""

    def __init__(self, parent: Path | None = None) -> None:
        """Make it, among the system's temporary ones or in *parent*, and delete what killed processes left there."""
        within = str(parent or tempfile.gettempdir())
        _delete_abandoned(within)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=within))
            #: Of the lock; a process that inherits one keeps the folder in use. None where there are no such locks.
            self.descriptor: int | None = None
            if os.name != "posix":
                break
            # Another process may take it for abandoned before it is locked.
            with suppress(FileNotFoundError):
                self.descriptor = os.open(self.path, os.O_RDONLY)
                if not _locked(self.descriptor, wait=True) or self.path.exists():
                    break
                os.close(self.descriptor)
        self._delete = weakref.finalize(self, _delete, self.path, self.descriptor)

    def close(self) -> None:
        """Delete it; calling it twice is fine."""
        self._delete()


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A TemporaryFolder for the block."""
    made = TemporaryFolder(parent)
    try:
        yield made.path
    finally:
        made.close()


def _delete(path: Path, descriptor: int | None) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if descriptor is not None:
        os.close(descriptor)


@cache
def _delete_abandoned(parent: str) -> None:
    """Delete the folders that no process uses; once in a process."""
    if os.name != "posix":
        return
    with suppress(OSError):
        for path in [*Path(parent).glob(f"{_PREFIX}*")]:
            # Another user's, or one that has gone.
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    if os.fstat(descriptor).st_uid == os.geteuid() and _locked(descriptor, wait=False):
                        shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(descriptor)


def _locked(descriptor: int, *, wait: bool) -> bool:
    """Lock a folder for this process alone; returns whether it is locked, as not every disk can."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        return False
    return True
