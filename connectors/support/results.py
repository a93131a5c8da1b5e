"""What every warehouse owes of a result: it is whole, or reading it is an error."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from typing import Any

import pyarrow as pa

from syncer.model.errors import WarehouseError

#: Between one interruption and the next.
_PATIENCE_SECONDS = 1.0


class Result:
    """A result in the making, which may be closed at any time and from any thread."""

    def __init__(self, label: str, parts: Generator[Any], *, interrupt: Callable[[], None]) -> None:
        """Nothing is read yet.

        Shapes:
            parts: the schema, then batches.
            interrupt: makes the thread that waits in *parts* leave it with an error; may have no effect.
        """
        self._label = label
        self._parts = parts
        self._interrupt = interrupt
        self._inside = threading.RLock()
        self._is_closed = False

    def reader(self) -> pa.RecordBatchReader:
        """The schema at once; the batches as they are read."""
        return pa.RecordBatchReader.from_batches(self._next(), self._batches())

    def close(self) -> None:
        """End it. When this returns nobody is inside *parts* any more."""
        self._is_closed = True
        is_alone = self._inside.acquire(blocking=False)
        while not is_alone:
            self._interrupt()
            is_alone = self._inside.acquire(timeout=_PATIENCE_SECONDS)
        self._parts.close()
        self._inside.release()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        while (batch := self._next()) is not None:
            yield batch

    def _next(self) -> Any:
        with self._inside:
            if self._is_closed:
                raise closed_early(self._label)
            return next(self._parts, None)


class StreamingWarehouse(ABC):
    """A warehouse that reads a result as it comes, and may be closed meanwhile from any thread."""

    def __init__(self, label: str) -> None:
        #: What messages call it, such as "warehouse `crm`".
        self._label = label
        self._result: Result | None = None

    def query(self, sql: str, *, timeout: timedelta) -> pa.RecordBatchReader:
        """As in Warehouse."""
        self._result = Result(self._label, self._read(sql, timeout), interrupt=self._interrupt)
        return self._result.reader()

    def close(self) -> None:
        """As in Warehouse. A thread that waits for a batch gets an error."""
        if self._result is not None:
            self._result.close()
        self._disconnect()

    @abstractmethod
    def _read(self, sql: str, timeout: timedelta) -> Generator[Any]:
        """The schema, then batches. Nothing of it has run when this returns."""

    @abstractmethod
    def _interrupt(self) -> None:
        """Make the thread that waits inside `_read` leave it with an error; may have no effect."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Let go of every connection; calling it twice is fine."""


def closed_early(label: str) -> WarehouseError:
    """The error for a result of which the rest can no longer be read."""
    return WarehouseError(f"{label}: it was closed before its result had been read")


def over_timeout(label: str, timeout: timedelta) -> WarehouseError:
    """The error for a query that was cancelled because it ran longer than *timeout*."""
    seconds = timeout.total_seconds()
    number, unit = (seconds / 60, "minute") if seconds % 60 == 0 else (seconds, "second")
    return WarehouseError(
        f"{label}: the query ran over the timeout of {number:g} {unit}{'' if number == 1 else 's'} and was cancelled",
        hint="Raise `timeout` in the definition, or make the query cheaper.",
    )
