"""PostgreSQL as a warehouse: `COPY (query) TO STDOUT` as CSV, parsed into Arrow a block at a time."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.errors import SyntaxError as RefusedSyntaxError
from psycopg.pq import TransactionStatus

from connectors.postgresql_arrow import BLOCK_START, CsvParser, Reading, reading
from connectors.postgresql_connection import connect, reason
from connectors.postgresql_copy import Server
from connectors.warehouses.results import Result, over_timeout
from syncer.errors import WarehouseError
from syncer.types import Column, Probe, WarehouseOptions

#: Bytes of CSV that are parsed at once: large enough for Arrow, small enough that the server goes on meanwhile.
_BLOCK_BYTES = 1 << 22
#: How long to wait for the server's own word on its timeout before the client gives up, in seconds.
_GRACE_SECONDS = 5.0
_DESCRIBE_TIMEOUT = timedelta(minutes=1)
_CANCEL_SECONDS = 5.0

_SESSION = """
SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres';
SET LOCAL extra_float_digits = 1; SET LOCAL statement_timeout = {milliseconds}
"""
_TYPES = """
SELECT pg_catalog.format_type(t.oid, d.modifier), t.typcategory
FROM ROWS FROM (unnest(%s::oid[]), unnest(%s::int4[])) WITH ORDINALITY AS d (oid, modifier, number)
JOIN pg_catalog.pg_type t USING (oid) ORDER BY d.number
"""
_POWERS = """
WITH own_table AS (
    SELECT c.oid, c.relowner, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'm') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
)
SELECT 'is a superuser' FROM pg_catalog.pg_roles WHERE rolname = current_user AND rolsuper
UNION ALL (SELECT 'owns ' || name FROM own_table WHERE pg_has_role(relowner, 'USAGE') ORDER BY name LIMIT 1)
UNION ALL (SELECT 'may change ' || name FROM own_table
           WHERE has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
              OR has_any_column_privilege(oid, 'INSERT, UPDATE') ORDER BY name LIMIT 1)
UNION ALL (SELECT 'may create tables in the schema ' || quote_ident(nspname) FROM pg_catalog.pg_namespace
           WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' AND has_schema_privilege(oid, 'CREATE')
           ORDER BY nspname LIMIT 1)
UNION ALL SELECT 'may create schemas' WHERE has_database_privilege(current_database(), 'CREATE')
LIMIT 1
"""

_SELECT_HINT = "A sync's query is one SELECT, and only reads."

#: SQLSTATE, or its class, to the next step.
_HINTS = {
    "0A": _SELECT_HINT,
    "25006": _SELECT_HINT,
    "42501": "Ask its owner to GRANT SELECT on it, and USAGE on its schema, to this role.",
    "42P01": "Check the name; a table outside of the role's search path needs its schema, as in `schema.table`.",
    "57014": "Somebody cancelled it on the server; run the sync again.",
    "08": "Nothing of the result was used; run the sync again.",
    "40": "Nothing of the result was used; run the sync again.",
    "53": "Nothing of the result was used; ask who runs the server, or make the query cheaper.",
    "57": "Nothing of the result was used; run the sync again.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Described:
    subquery: str
    names: list[str]
    types: list[str]
    readings: list[Reading]


class PostgreSQLWarehouse:
    """A PostgreSQL database, 14 or newer, read in REPEATABLE READ READ ONLY transactions.

    A query is sent by the extended protocol only, which takes no second statement.
    """

    def __init__(self, name: str, url: str, *, options: WarehouseOptions, sync: str = "") -> None:
        self._label = f"warehouse `{name}`"
        self._connection = connect("warehouse", name, url)
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True
        self._result: Result | None = None

    def columns(self, sql: str) -> tuple[Column, ...]:
        """As in Warehouse."""
        with self._transaction(_DESCRIBE_TIMEOUT) as server:
            described = self._describe(server, sql)
        return tuple(Column(name=n, type=t) for n, t in zip(described.names, described.types, strict=True))

    def query(self, sql: str, *, timeout: timedelta) -> pa.RecordBatchReader:
        """As in Warehouse. A date or time outside the years 1 to 9999 is Arrow's largest or smallest value."""
        self._result = Result(self._label, self._read(sql, timeout), interrupt=self._cancel)
        return self._result.reader()

    def forecast(self, sql: str) -> str:
        """As in Warehouse."""
        return ""

    def probe(self) -> Probe:
        """As in Warehouse. A role can write if it could change or make any table."""
        with self._transaction(_DESCRIBE_TIMEOUT):
            version = self._connection.info.parameter_status("server_version") or ""
            power = self._connection.execute(_POWERS).fetchone()
        note = f"Its role {power[0]}; one that may only SELECT is safer." if power else ""
        return Probe(version=f"PostgreSQL {version.partition(' ')[0]}", can_write=bool(power), note=note)

    def close(self) -> None:
        """As in Warehouse. A thread that waits for a batch gets an error."""
        if self._result is not None:
            self._result.close()
        self._connection.close()

    def _read(self, sql: str, timeout: timedelta) -> Generator[Any]:
        """The schema, then batches."""
        with self._transaction(timeout) as server:
            described = self._describe(server, sql)
            parser = CsvParser(described.names, described.readings)
            yield parser.schema
            # PostgreSQL refuses a whole result for one text of SQL_ASCII that is not UTF-8, if asked for UTF-8.
            is_ascii = self._connection.info.parameter_status("server_encoding") == "SQL_ASCII"
            copy = _copy(described, "SQL_ASCII" if is_ascii else "UTF8")
            server.ask(self._connection.pgconn.send_query_params, copy.encode(), None)
            yield from self._batches(server, parser)

    def _batches(self, server: Server, parser: CsvParser) -> Iterator[pa.RecordBatch]:
        rows = 0
        for block in server.copied(start=BLOCK_START, size=_BLOCK_BYTES):
            for batch in parser.parse(block):
                rows += batch.num_rows
                yield batch
        if rows != server.rows_copied:
            raise WarehouseError(f"{self._label}: PostgreSQL sent {server.rows_copied} rows, {rows} were understood")

    def _describe(self, server: Server, sql: str) -> _Described:
        """What *sql* would return; it is parsed, not run."""
        sql = sql.removeprefix("\ufeff")
        if "\0" in sql:
            # libpq would take it for the end.
            raise WarehouseError(f"{self._label}: the query holds a NUL character", hint="Remove it.")
        pgconn = self._connection.pgconn
        try:
            server.ask(pgconn.send_prepare, b"", sql.encode())
        except psycopg.Error as exc:
            raise self._failure(exc, sql) from None
        answer = server.ask(pgconn.send_describe_prepared, b"")
        columns = range(answer.nfields)
        if not columns:
            raise WarehouseError(f"{self._label}: the query returns no columns", hint=_SELECT_HINT)
        oids, modifiers = [answer.ftype(i) for i in columns], [answer.fmod(i) for i in columns]
        types = self._connection.execute(_TYPES, (oids, modifiers)).fetchall()
        return _Described(
            subquery=self._subquery(server, sql),
            names=[(answer.fname(i) or b"").decode() for i in columns],
            types=[name for name, _ in types],
            readings=[reading(oid, category) for oid, (_, category) in zip(oids, types, strict=True)],
        )

    def _subquery(self, server: Server, sql: str) -> str:
        """*sql*, which PostgreSQL has understood, as it can stand in brackets: without semicolons at its end."""
        before = "SELECT FROM ("
        while True:
            try:
                with self._connection.transaction():
                    server.ask(self._connection.pgconn.send_prepare, b"", f"{before}{sql}\n) AS q".encode())
                return sql
            except RefusedSyntaxError as exc:
                wrong = int(exc.diag.statement_position or 0) - 1 - len(before)
                if sql[max(0, wrong) :][:1] != ";":
                    raise WarehouseError(f"{self._label}: the query is not a SELECT", hint=_SELECT_HINT) from None
                sql = f"{sql[:wrong]} {sql[wrong + 1 :]}"

    @contextmanager
    def _transaction(self, timeout: timedelta) -> Iterator[Server]:
        """A read-only transaction; what goes wrong in it is a WarehouseError."""
        deadline = time.monotonic() + timeout.total_seconds()
        try:
            self._connection.execute(_SESSION.format(milliseconds=max(1, round(timeout.total_seconds() * 1000))))
            with closing(Server(self._connection.pgconn, deadline=deadline + _GRACE_SECONDS)) as server:
                yield server
        except TimeoutError:
            raise over_timeout(self._label, timeout) from None
        except psycopg.Error as exc:
            if isinstance(exc, psycopg.errors.QueryCanceled) and time.monotonic() >= deadline:
                raise over_timeout(self._label, timeout) from None
            raise self._failure(exc) from None
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._connection.info.transaction_status == TransactionStatus.ACTIVE:
            self._cancel()
            self._connection.close()
        with suppress(psycopg.Error):
            self._connection.rollback()

    def _cancel(self) -> None:
        try:
            self._connection.cancel_safe(timeout=_CANCEL_SECONDS)
        except psycopg.Error:
            # The server cannot be asked; whoever waits for it learns that the connection is gone.
            with socket.socket(fileno=os.dup(self._connection.fileno())) as own, suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)

    def _failure(self, error: psycopg.Error, sql: str | None = None) -> WarehouseError:
        """The error to raise for *error*; where *sql* was parsed, with the line of it."""
        state = error.sqlstate or "08"
        line = None
        if sql is not None and error.diag.statement_position:
            line = sql.count("\n", 0, int(error.diag.statement_position) - 1) + 1
        hint = _HINTS.get(state) or _HINTS.get(state[:2], "")
        if state.startswith("42") and not hint:
            hint = error.diag.message_hint or ""
        return WarehouseError(f"{self._label}: {reason(error)}", hint=hint, query_line=line)


def _copy(described: _Described, encoding: str) -> str:
    names = [f"c{number}" for number in range(len(described.readings))]
    wanted = ", ".join(r.expression.format(name) for name, r in zip(names, described.readings, strict=True))
    # A line of its own for the bracket: the query may end in a comment.
    wrapped = f"SELECT {wanted} FROM ({described.subquery}\n) AS q ({', '.join(names)})"
    return f"COPY ({wrapped}) TO STDOUT (FORMAT csv, ENCODING '{encoding}')"
