"""What warehouses share: a result that is whole or an error, its columns, and a thread for a driver that blocks."""

from __future__ import annotations

import gc
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import pyarrow as pa

from connectors.support.connection import ConnectionName
from syncer.model.errors import WarehouseError
from syncer.model.select_statement import SELECT_HINT, NotASelectError, SelectStatement, one_select
from syncer.model.types import Probe

_Value = TypeVar("_Value")
_Answers = SimpleQueue[tuple[Any, Exception | None]]

RUN_AGAIN = "Nothing of the result was used; run the sync again."

#: The timeout of what describes or probes, and reads no rows.
DESCRIBE_TIMEOUT = timedelta(minutes=1)

#: Between two interruptions.
_PATIENCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColumnReading:
    """How a column is read: what it becomes in Arrow."""

    type: pa.DataType = field(default_factory=pa.string)
    #: Tells JSON and digits from text (see `syncer.model.protocols`).
    metadata: dict[bytes, bytes] | None = None


def schema_of(names: Iterable[str], readings: Iterable[ColumnReading]) -> pa.Schema:
    """The schema of a result; names may repeat."""
    return pa.schema([pa.field(n, r.type, metadata=r.metadata) for n, r in zip(names, readings, strict=True)])


def rows_at_once(most: int, columns: int) -> int:
    """How many rows to read at once, at most *most*: of many columns fewer, so that a batch has some MB."""
    return max(100, min(most, 200_000 // max(1, columns)))


def quote_identifier(name: str) -> str:
    """*name* as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def select_columns(query: str, expressions: Sequence[str]) -> str:
    """A SELECT of an expression of `{0}`, the column, for each column of *query*."""
    names = [f"c{number}" for number in range(len(expressions))]
    selected = ", ".join(expression.format(name) for name, expression in zip(names, expressions, strict=True))
    # A line of its own for the bracket: the query may end in a comment.
    return f"SELECT {selected} FROM ({query}\n) AS q ({', '.join(names)})"


def quote_literal(text: str) -> str:
    """*text* as a literal of SQL, where a backslash is no escape."""
    return "'" + text.replace("'", "''") + "'"


def in_utc(moment: datetime) -> datetime:
    """*moment* in UTC; one without a zone is in UTC already."""
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from looking for cycles among rows, which have none.

    A thousand new tuples make it look again at all of them, which takes as long as reading them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class StreamingWarehouse(ABC):
    """A warehouse that reads a result as it arrives, and that any thread may close meanwhile."""

    def __init__(self, name: str, *, dialect: str = "") -> None:
        """Nothing is read yet.

        Shapes:
            dialect: sqlglot's name of the SQL that `_select_statement` parses.
        """
        self._named = ConnectionName("warehouse", name)
        self._label = self._named.label
        self._dialect = dialect
        #: What the last query's `_read` gives.
        self._reading: Generator[Any] | None = None
        self._inside = threading.RLock()
        self._is_closed = False

    def query(self, sql: str, *, timeout: timedelta) -> pa.RecordBatchReader:
        """As in Warehouse."""
        parts = self._reading = self._read(sql, timeout)
        return pa.RecordBatchReader.from_batches(self._next(parts), self._rest(parts))

    def close(self) -> None:
        """As in Warehouse. A thread that waits for a batch gets an error; after this none is inside `_read`."""
        self._is_closed = True
        if self._reading is not None:
            is_alone = self._inside.acquire(blocking=False)
            while not is_alone:
                self._interrupt()
                is_alone = self._inside.acquire(timeout=_PATIENCE_SECONDS)
            self._reading.close()
            self._inside.release()
        self._disconnect()

    def _rest(self, parts: Generator[Any]) -> Iterator[pa.RecordBatch]:
        while (batch := self._next(parts)) is not None:
            yield batch

    def _next(self, parts: Generator[Any]) -> Any:
        with self._inside:
            if self._is_closed:
                raise self._closed_early()
            return next(parts, None)

    def _select_statement(self, sql: str) -> SelectStatement:
        """*sql*, if it is one SELECT.

        Raises:
            WarehouseError: it is not.
        """
        try:
            return self._one_select(sql)
        except NotASelectError as exc:
            raise WarehouseError(f"{self._label}: {exc}", hint=exc.hint, query_line=exc.line) from None

    def _one_select(self, sql: str) -> SelectStatement:
        return one_select(sql, self._dialect)

    def _refusal(self, fault: str) -> WarehouseError:
        """The error for a query that is not a SELECT; *fault* goes after "the query"."""
        return WarehouseError(f"{self._label}: the query {fault}", hint=SELECT_HINT)

    def _misfit(self) -> WarehouseError:
        return WarehouseError(
            f"{self._label}: the query returned other columns or types than the server described",
            hint="Run the sync again; if the error remains, CAST the columns in the query.",
        )

    def _check_count(self, sent: int, read: int) -> None:
        if sent != read:
            raise WarehouseError(f"{self._label}: the server reported {sent} rows, and Syncer read {read}")

    def _closed_early(self) -> WarehouseError:
        return WarehouseError(f"{self._label}: it was closed before the end of its result")

    def _over_timeout(self, timeout: timedelta) -> WarehouseError:
        """The error for a query that ran longer than *timeout*."""
        seconds = timeout.total_seconds()
        number, unit = (seconds / 60, "minute") if seconds % 60 == 0 else (seconds, "second")
        limit = f"{number:g} {unit}{'' if number == 1 else 's'}"
        return WarehouseError(
            f"{self._label}: the query ran over the timeout of {limit} and was cancelled",
            hint="Raise `timeout` in the definition, or make the query cheaper.",
        )

    @abstractmethod
    def _read(self, sql: str, timeout: timedelta) -> Generator[Any]:
        """The schema, then batches. Nothing of it has run when this returns."""

    @abstractmethod
    def _interrupt(self) -> None:
        """Make the thread that waits inside `_read` leave it with an error; may have no effect."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Let go of every connection; calling it twice is fine."""


def probe_of(version: str, power: str) -> Probe:
    """What a probe found.

    Shapes:
        version: of the product, with its name.
        power: what the login could write, a sentence without its end; empty if nothing.
    """
    return Probe(version=version, can_write=bool(power), note=power and f"{power}; one that may only SELECT is safer.")


class DriverError(Exception):
    """What the driver raised; its text may hold values."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class LeftError(Exception):
    """`leave` ended the wait."""


class DriverThread:
    """Runs calls one after another. A call that never returns keeps this thread, and nothing else."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._answers: _Answers = SimpleQueue()
        # A driver that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="syncer-driver", daemon=True)
        self._thread.start()

    def start(self, action: Callable[[], object]) -> None:
        """Run *action* after the calls before it; `result` gives what it returns."""
        answers = self._answers = SimpleQueue()

        def answer() -> None:
            try:
                answers.put((action(), None))
            except BaseException as exc:  # A panic of the driver too is the caller's.
                answers.put((None, DriverError(exc)))

        self._calls.put(answer)

    def result(self, *, until: float) -> Any:
        """What the call that was started last returns.

        Units:
            until: by the monotonic clock, in seconds.
        Raises:
            DriverError: the call raised.
            TimeoutError: the call still runs, and goes on.
            LeftError: `leave` was called; the call goes on.
        """
        try:
            value, error = self._answers.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            raise TimeoutError from None
        if error is not None:
            raise error from None
        return value

    def call(self, action: Callable[[], _Value], *, until: float) -> _Value:
        """`start` and `result` in one."""
        self.start(action)
        value: _Value = self.result(until=until)
        return value

    def leave(self) -> None:
        """End the wait in `result`; from any thread."""
        self._answers.put((None, LeftError()))

    def end(self, *last: Callable[[], object], wait: float = 0.0) -> None:
        """Run *last* after all other calls, whether they fail or not, and let the thread end.

        Units:
            wait: seconds to wait for that at most.
        """
        for call in (*last, None):
            self._calls.put(call)
        if wait:
            self._thread.join(wait)

    def has_ended(self, *, wait: float) -> bool:
        """Whether the thread ends within so many seconds."""
        self._thread.join(wait)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            # Only one of the last calls fails here: the connection is closing, and nobody can use the error.
            with suppress(Exception):
                call()
