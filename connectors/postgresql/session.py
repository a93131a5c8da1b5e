"""Read-only transactions over PostgreSQL's protocol, and what becomes of the errors in them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult

from connectors.postgresql.connection import reason
from connectors.postgresql.copy import Server
from connectors.support.warehouse import over_timeout
from syncer.model.errors import WarehouseError
from syncer.model.select_statement import SELECT_HINT

#: How long to wait for the server's own word on its timeout before the client gives up, in seconds.
_GRACE_SECONDS = 5.0
_CANCEL_SECONDS = 5.0


#: SQLSTATE, or its class, to the next step.
_HINTS = {
    "0A": SELECT_HINT,
    "25006": SELECT_HINT,
    "42501": "Ask its owner to GRANT SELECT on it, and USAGE on its schema, to this role.",
    "42P01": "Check the name; a table outside of the role's search path needs its schema, as in `schema.table`.",
    "57014": "Somebody cancelled it on the server; run the sync again.",
    "08": "Nothing of the result was used; run the sync again.",
    "40": "Nothing of the result was used; run the sync again.",
    "53": "Nothing of the result was used; ask who runs the server, or make the query cheaper.",
    "57": "Nothing of the result was used; run the sync again.",
}


class ReadOnlySession:
    """One connection's transactions; its isolation and access mode are set by who made it."""

    def __init__(self, label: str, connection: psycopg.Connection, settings: str) -> None:
        """Nothing is sent yet.

        Shapes:
            settings: what opens every transaction, with `{milliseconds}` for its timeout.
        """
        self._label = label
        self._connection = connection
        self._settings = settings

    @contextmanager
    def transaction(self, timeout: timedelta) -> Iterator[Server]:
        """A transaction that is rolled back; what goes wrong in it is a WarehouseError."""
        deadline = time.monotonic() + timeout.total_seconds()
        try:
            self._connection.execute(self._settings.format(milliseconds=max(1, round(timeout.total_seconds() * 1000))))
            with closing(Server(self._connection.pgconn, deadline=deadline + _GRACE_SECONDS)) as server:
                yield server
        except TimeoutError:
            raise over_timeout(self._label, timeout) from None
        except psycopg.Error as exc:
            if isinstance(exc, psycopg.errors.QueryCanceled) and time.monotonic() >= deadline:
                raise over_timeout(self._label, timeout) from None
            raise self.failure(exc) from None
        finally:
            self._leave()

    def describe(self, server: Server, sql: str) -> PGresult:
        """The columns that *sql* would return, of which there is one at least; it is parsed, not run."""
        if "\0" in sql:
            # libpq would take it for the end.
            raise WarehouseError(f"{self._label}: the query holds a NUL character", hint="Remove it.")
        pgconn = self._connection.pgconn
        try:
            server.ask(pgconn.send_prepare, b"", sql.encode())
        except psycopg.Error as exc:
            raise self.failure(exc, sql) from None
        answer = server.ask(pgconn.send_describe_prepared, b"")
        if not answer.nfields:
            raise WarehouseError(f"{self._label}: the query returns no columns", hint=SELECT_HINT)
        return answer

    def cancel(self) -> None:
        """Ask the server to give up what it does; from any thread."""
        try:
            self._connection.cancel_safe(timeout=_CANCEL_SECONDS)
        except psycopg.Error:
            # The server cannot be asked; whoever waits for it learns that the connection is gone.
            with socket.socket(fileno=os.dup(self._connection.fileno())) as own, suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)

    def failure(self, error: psycopg.Error, sql: str | None = None) -> WarehouseError:
        """The error to raise for *error*; where *sql* was parsed, with the line of it."""
        state = error.sqlstate or "08"
        line = None
        if sql is not None and error.diag.statement_position:
            line = sql.count("\n", 0, int(error.diag.statement_position) - 1) + 1
        hint = _HINTS.get(state) or _HINTS.get(state[:2], "")
        if state.startswith("42") and not hint:
            hint = error.diag.message_hint or ""
        return WarehouseError(f"{self._label}: {reason(error)}", hint=hint, query_line=line)

    def _leave(self) -> None:
        if self._connection.info.transaction_status == TransactionStatus.ACTIVE:
            self.cancel()
            self._connection.close()
        with suppress(psycopg.Error):
            self._connection.rollback()
