"""Files of snapshots that are kept from all others, and from DuckDB, while something else is done with them."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncer.snapshot.file import LONGEST_LOOK, LOOK_AGAIN, in_progress, is_locked, taken, unwritable


@contextmanager
def reserved(path: Path, *, sync: str) -> Iterator[int]:
    """Keep a sync's file from DuckDB and all others meanwhile, and give its descriptor; it is made where there is none.

    Raises:
        RunInProgressError: this or another process has it open.
        SnapshotError: the state folder cannot be written.
    """
    path, deadline = path.resolve(), time.monotonic() + LONGEST_LOOK
    with taken(path, sync):
        try:
            path.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as exc:
            raise unwritable(path, exc) from exc
        try:
            while not _has_locked(descriptor):
                if is_locked(path) or time.monotonic() > deadline:
                    raise in_progress(sync)
                time.sleep(LOOK_AGAIN)
            yield descriptor
            if not os.fstat(descriptor).st_size:
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _has_locked(descriptor: int) -> bool:
    """Lock a file as DuckDB does, unless somebody else has."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
