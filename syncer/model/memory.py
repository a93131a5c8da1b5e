"""The memory of this process, and the parts of it that its runs work with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from syncer.model.errors import SyncerError

SETTING = "SYNCER_MEMORY_LIMIT"

#: The next step where a run needs more memory than it may have.
HINT = f"Raise {SETTING}, or let the service run fewer syncs at a time with SYNCER_POOL_SIZE."

#: Without a limit of its own, what the process may take at most.
DEFAULT = 2_000_000_000
#: What the program and its libraries take before the first run.
_PROGRAM = 200_000_000
#: The part of a connection, however many there are: DuckDB does little with less.
_LEAST = 32_000_000
#: Of DuckDB for one run, where that is enough: what goes to files beyond it costs little time.
_USUAL = 96_000_000
#: What each column of a result adds to it: DuckDB writes the values of a column together.
_BYTES_PER_COLUMN = 1_000_000
#: What each row of the snapshot adds to it: its fingerprint and place are in a hash table.
_BYTES_PER_ROW = 16
#: As many rows DuckDB works with at once, in the steps and threads of a statement together.
_ROWS_IN_HAND = 2_048 * 16
#: Of one batch on its way to or from a store, at most.
_BATCH = 4_000_000


class Memory:
    """Hands out parts of a limit, and takes them back; for any number of threads."""

    def __init__(self, limit: int = DEFAULT, *, runs: int = 1) -> None:
        """*limit* in bytes, for the whole process; *runs*: how many there are at a time."""
        self._lock = threading.Lock()
        self._taken = 0
        self.divide(limit, runs=runs)

    def divide(self, limit: int, *, runs: int) -> None:
        """Have another limit, or so many runs at a time; parts that are out stay as they are."""
        self._whole = max(_LEAST, limit - _PROGRAM)
        # A run opens its snapshot, and perhaps a warehouse that needs memory in this process.
        self._part = max(_LEAST, self._whole // (2 * runs))

    @contextmanager
    def part(self) -> Iterator[int]:
        """The bytes that one connection to a database in this process may use meanwhile."""
        with self._lock:
            part = max(_LEAST, min(self._part, self._whole - self._taken))
            self._taken += part
        try:
            yield part
        finally:
            with self._lock:
                self._taken -= part

    @property
    def batch(self) -> int:
        """The bytes that one batch may have."""
        return min(_BATCH, self._part // 32)


#: That of this process.
PROCESS = Memory()


def explained(cause: BaseException) -> BaseException:
    """What ended a run, as people are to read it, where it is a lack of memory."""
    if isinstance(cause, MemoryError):
        return SyncerError("the run needs more memory than it may have", hint=HINT)
    return cause


def for_snapshot(part: int, *, columns: int = 0, rows: int = 0, row_bytes: int = 0) -> int:
    """How many bytes of its *part* DuckDB uses for a run with so many columns and rows of its snapshot.

    *row_bytes*: of its longest rows, on average.
    """
    least = _USUAL + columns * _BYTES_PER_COLUMN + rows * _BYTES_PER_ROW + row_bytes * _ROWS_IN_HAND
    return min(part, max(least, part // 8))
