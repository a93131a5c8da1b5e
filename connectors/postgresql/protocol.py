"""A warehouse over PostgreSQL's protocol: read-only transactions in which each wait ends at a deadline."""

from __future__ import annotations

import os
import selectors
import socket
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Protocol

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGconn, PGresult

from connectors.postgresql.connection import connect
from connectors.postgresql.errors import query_failure
from connectors.support.warehouse import DESCRIBE_TIMEOUT, StreamingWarehouse, in_utc
from syncer.model.errors import WarehouseError
from syncer.model.types import Column

#: How long to wait for the server's own word on its timeout before the client gives up, in seconds.
_GRACE_SECONDS = 5.0
_CANCEL_SECONDS = 5.0

_FAILED = {pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE}


class Server:
    """The other end of one connection, by libpq without blocking, so that Ctrl-C, a cancel and the deadline work.

    Nobody else may use the connection during a call. Each call raises psycopg.Error if the server refuses or the
    connection is lost, and TimeoutError if the server is silent past the deadline; the rows so far are then not all.
    """

    def __init__(self, pgconn: PGconn, *, deadline: float) -> None:
        self._pgconn = pgconn
        #: By the monotonic clock, in seconds.
        self._deadline = deadline
        #: How many rows the server says that it sent; known after `copied`.
        self.rows_copied = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(pgconn.socket, selectors.EVENT_READ)

    def close(self) -> None:
        """Stop listening; the connection stays open."""
        self._selector.close()

    def ask(self, send: Callable[..., None], *arguments: object) -> PGresult:
        """The answer to one of libpq's `send_…` calls."""
        send(*arguments)
        return list(self._answers())[-1]

    def rows(self, sql: bytes, *, size: int) -> Iterator[PGresult]:
        """What one statement returns, as text, in parts of at most *size* rows; the server keeps nothing of it."""
        self._pgconn.send_query_params(sql, None)
        self._pgconn.set_chunked_rows_mode(size)
        yield from (part for part in self._answers() if part.ntuples)

    def copied(self, *, start: bytes, size: int) -> Iterator[bytearray]:
        """Everything that a COPY TO STDOUT begun by `ask` sends, in blocks of *start* and then whole rows.

        Units:
            size: a block ends with the row that brings it to so many bytes.
        """
        receive = self._pgconn.get_copy_data
        block = bytearray(start)
        while True:
            length, row = receive(1)
            if length > 0:
                block += row
                if len(block) >= size:
                    yield block
                    block = bytearray(start)
            elif length == 0:
                self._wait(selectors.EVENT_READ)
            else:
                break
        self.rows_copied = list(self._answers())[-1].command_tuples or 0
        if len(block) > len(start):
            yield block

    def _answers(self) -> Iterator[PGresult]:
        """Each result of the statement, or the one that opens a COPY; an error is raised after all others."""
        while self._pgconn.flush():
            self._wait(selectors.EVENT_READ | selectors.EVENT_WRITE)
        failed = None
        while True:
            while self._pgconn.is_busy():
                self._wait(selectors.EVENT_READ)
            answer = self._pgconn.get_result()
            if answer is None:
                break
            if answer.status in _FAILED:
                failed = failed or answer
                continue
            yield answer
            if answer.status == pq.ExecStatus.COPY_OUT:
                return
        if failed is not None:
            raise error_from_result(failed)

    def _wait(self, events: int) -> None:
        self._selector.modify(self._pgconn.socket, events)
        if not self._selector.select(max(0.0, self._deadline - time.monotonic())):
            raise TimeoutError
        self._pgconn.consume_input()


class Description(Protocol):
    """The columns of a query: names, and types as the server writes them."""

    names: list[str]
    types: list[str]


class ProtocolWarehouse(StreamingWarehouse):
    """A warehouse over one psycopg connection; the subclass sets its isolation and access mode."""

    #: What opens every transaction, with `{milliseconds}` for its timeout.
    _settings: str
    #: The time in UTC, as an expression of its SQL.
    _clock = "now()"

    def __init__(self, name: str, url: str, *, dialect: str = "") -> None:
        super().__init__(name, dialect=dialect)
        self._connection = self._connect(url)

    def _connect(self, url: str) -> psycopg.Connection:
        return connect(self._named, url)

    def columns(self, sql: str) -> tuple[Column, ...]:
        """As in Warehouse."""
        with self._transaction(DESCRIBE_TIMEOUT) as server:
            found = self._describe(server, sql)
        return tuple(Column(name=n, type=t) for n, t in zip(found.names, found.types, strict=True))

    def now(self) -> datetime:
        """See `TellsTime`."""
        with self._transaction(DESCRIBE_TIMEOUT):
            ((found,),) = self._connection.execute(f"SELECT {self._clock}").fetchall()
        return in_utc(found)

    @abstractmethod
    def _describe(self, server: Server, sql: str) -> Description:
        """What *sql* would return; the server parses it and does not run it."""

    @contextmanager
    def _transaction(self, timeout: timedelta) -> Iterator[Server]:
        """A transaction that is rolled back; its errors become WarehouseErrors."""
        deadline = time.monotonic() + timeout.total_seconds()
        try:
            self._connection.execute(self._settings.format(milliseconds=max(1, round(timeout.total_seconds() * 1000))))
            with closing(Server(self._connection.pgconn, deadline=deadline + _GRACE_SECONDS)) as server:
                yield server
        except TimeoutError:
            raise self._over_timeout(timeout) from None
        except psycopg.Error as exc:
            if isinstance(exc, psycopg.errors.QueryCanceled) and time.monotonic() >= deadline:
                raise self._over_timeout(timeout) from None
            raise query_failure(self._label, exc) from None
        finally:
            self._leave()

    def _described(self, server: Server, sql: str) -> PGresult:
        """The columns, at least one, that *sql* would return; the server parses it and does not run it."""
        if "\0" in sql:
            # libpq would take it for the end.
            raise WarehouseError(f"{self._label}: the query holds a NUL character", hint="Remove it.")
        pgconn = self._connection.pgconn
        try:
            server.ask(pgconn.send_prepare, b"", sql.encode())
        except psycopg.Error as exc:
            raise query_failure(self._label, exc, sql) from None
        answer = server.ask(pgconn.send_describe_prepared, b"")
        if not answer.nfields:
            raise self._refusal("returns no columns")
        return answer

    def _power(self, query: str) -> str:
        """What the role could write, as the first row of *query* says it; empty without a row."""
        row = self._connection.execute(query).fetchone()
        return f"Its role {row[0]}" if row else ""

    def _interrupt(self) -> None:
        try:
            self._connection.cancel_safe(timeout=_CANCEL_SECONDS)
        except psycopg.Error:
            # The server does not take the cancel; whoever waits for it gets an error of the connection.
            with socket.socket(fileno=os.dup(self._connection.fileno())) as own, suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)

    def _disconnect(self) -> None:
        self._connection.close()

    def _leave(self) -> None:
        if self._connection.info.transaction_status == pq.TransactionStatus.ACTIVE:
            self._interrupt()
            self._connection.close()
        with suppress(psycopg.Error):
            self._connection.rollback()
