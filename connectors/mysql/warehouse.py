"""MySQL and MariaDB as a warehouse: a prepared statement's rows as they come, made into Arrow a block at a time."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from typing import Any

import pyarrow as pa

from connectors.mysql import errors
from connectors.mysql.connection import address, connect
from connectors.mysql.dialect import one_select
from connectors.mysql.statement import Block, Field, LostError, Statement
from connectors.support.connection import driver
from connectors.support.warehouse import StreamingWarehouse, over_timeout, probe_of
from syncer.model.errors import WarehouseError
from syncer.model.select_statement import SelectStatement
from syncer.model.types import Column, Probe

_BATCH_ROWS = 50_000
#: Bytes of rows that are made into a batch at once.
_BLOCK_BYTES = 1 << 22
_DESCRIBE_TIMEOUT = timedelta(minutes=1)
_CANCEL_SECONDS = 5.0
#: How much later than we the server ends a query by itself, should we no longer be there.
_GRACE_SECONDS = 5.0

_SESSION = """
SET SESSION time_zone = '+00:00', sql_select_limit = 18446744073709551615, net_write_timeout = {seconds}, {limit}
"""
_READ_ONLY = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

#: In the order of how much they matter to who reads the note.
_POWERS = (
    *("ALL PRIVILEGES", "SUPER", "FILE", "INSERT", "UPDATE", "DELETE", "DROP", "ALTER", "CREATE", "INDEX", "TRIGGER"),
    *("EVENT", "CREATE VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "CREATE USER", "DELETE HISTORY", "RELOAD", "SHUTDOWN"),
)


class MySQLWarehouse(StreamingWarehouse):
    """A MySQL or MariaDB database, read in REPEATABLE READ READ ONLY transactions.

    A query is sent as a prepared statement only, which takes no second one. A date that is in no calendar, such as
    0000-00-00, is NULL.
    """

    def __init__(self, name: str, url: str, **_of_other_warehouses: object) -> None:
        super().__init__(name)
        self._address = address(name, url)
        self._pymysql = driver("pymysql", extra="mysql", label=self._label)
        driver("numpy", extra="mysql", label=self._label)
        from connectors.mysql import values

        self._arrow = values
        self._connection: Any = connect(self._address)
        #: The server's for the connection, and what it makes of quotes.
        self._number, self._mode = 0, ""
        #: Whether rows are still to come.
        self._is_busy = False

    def columns(self, sql: str) -> tuple[Column, ...]:
        """As in Warehouse."""
        with self._transaction(_DESCRIBE_TIMEOUT):
            statement = self._prepare(sql)
            statement.close()
        return tuple(Column(name=field.name, type=self._arrow.reading(field).word) for field in statement.fields)

    def probe(self) -> Probe:
        """See `Probing`. A user can write if a grant or an active role lets them write any table or file."""
        with self._transaction(_DESCRIBE_TIMEOUT):
            ((version,),) = self._ask("SELECT VERSION()")
            product = "MariaDB" if self._is_mariadb() else "MySQL"
            power = _power(self._grants())
        number = re.match(r"\d+(\.\d+)+", version)
        return probe_of(f"{product} {number[0] if number else version}", power and f"Its user has {power}")

    def _read(self, sql: str, timeout: timedelta) -> Generator[Any]:
        """The schema, then batches."""
        with self._transaction(timeout):
            statement = self._prepare(sql)
            schema = self._arrow.schema(statement.fields)
            yield schema
            self._is_busy = True
            fields = statement.execute()
            for block in statement.blocks(size=_BLOCK_BYTES, rows=_BATCH_ROWS):
                yield self._batch(block, fields, schema)
            self._is_busy = False
            statement.close()

    def _batch(self, block: Block, fields: tuple[Field, ...], schema: pa.Schema) -> pa.RecordBatch:
        try:
            columns = self._arrow.columns(block, fields)
            # What is announced before a query runs is now and then narrower or wider than what it returns.
            cast = [column.cast(wanted.type) for column, wanted in zip(columns, schema, strict=True)]
        except self._arrow.UnexpectedValueError as exc:
            raise WarehouseError(
                f"{self._label}: the column `{exc.column}` is TINYINT(1), so a boolean, but holds other numbers",
                hint=f"Select `{exc.column} + 0 AS {exc.column}` to have its numbers.",
            ) from None
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
            raise WarehouseError(
                f"{self._label}: the query returned other columns or types than it had announced",
                hint="Run the sync again; if it stays so, CAST the columns to the types that are meant.",
            ) from None
        return pa.RecordBatch.from_arrays(cast, schema=schema)

    def _prepare(self, sql: str) -> Statement:
        """*sql* as the server understands it; it is not run."""
        sql = self._select_statement(sql).text
        statement = Statement(self._connection, sql)
        self._check_subquery(sql)
        if statement.parameters:
            raise WarehouseError(f"{self._label}: the query holds a `?` for a value", hint="Write the value itself.")
        if not statement.fields:
            raise self._refusal("returns no columns")
        return statement

    def _one_select(self, sql: str) -> SelectStatement:
        return one_select(sql, sql_mode=self._mode)

    def _check_subquery(self, sql: str) -> None:
        """Let the server confirm that *sql*, which it has understood, can stand in brackets, as only a SELECT can."""
        try:
            Statement(self._connection, f"SELECT EXISTS (\n{sql}\n)").close()
        except self._pymysql.MySQLError as exc:
            number, _ = errors.number_and_message(exc)
            if number == errors.SYNTAX:
                raise self._refusal("is not a SELECT") from None
            # Others say that it is one which may not stand just there, such as SELECT SQL_NO_CACHE.
            if self._connection._sock is None:
                raise

    @contextmanager
    def _transaction(self, timeout: timedelta) -> Iterator[None]:
        """A read-only transaction; what goes wrong in it is a WarehouseError."""
        deadline = time.monotonic() + timeout.total_seconds()
        timer = threading.Timer(timeout.total_seconds(), self._interrupt)
        timer.daemon = True
        try:
            self._begin(timeout, timer)
            yield
        except (self._pymysql.MySQLError, LostError) as exc:
            if time.monotonic() >= deadline:
                raise over_timeout(self._label, timeout) from None
            raise self._failure(exc) from None
        finally:
            timer.cancel()
            if timer.is_alive():
                timer.join()
            self._leave()
        if time.monotonic() >= deadline:
            # MySQL lets a SLEEP that is cut short return as if it had ended well.
            raise over_timeout(self._label, timeout)

    def _begin(self, timeout: timedelta, timer: threading.Timer) -> None:
        if self._connection is None:
            self._connection = connect(self._address)
        timer.start()
        ((self._number, self._mode),) = self._ask("SELECT CONNECTION_ID(), @@sql_mode")
        seconds = timeout.total_seconds() + _GRACE_SECONDS
        limit = f"max_execution_time = {round(seconds * 1000)}"
        if self._is_mariadb():
            limit = f"max_statement_time = {seconds}"
        self._ask(_SESSION.format(seconds=round(seconds), limit=limit))
        self._ask(_READ_ONLY)
        self._ask(_BEGIN)

    def _leave(self) -> None:
        """End the transaction; a connection on which something may still come is given up."""
        if self._is_busy:
            self._interrupt()
            self._disconnect()
            self._is_busy = False
        elif self._connection is not None:
            try:
                self._connection.rollback()
            except self._pymysql.MySQLError:
                self._disconnect()

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _grants(self) -> list[str]:
        of = ""
        if not self._is_mariadb():
            ((roles,),) = self._ask("SELECT CURRENT_ROLE()")
            of = "" if roles == "NONE" else f" FOR CURRENT_USER() USING {roles}"
        return [grant for (grant,) in self._ask(f"SHOW GRANTS{of}")]

    def _is_mariadb(self) -> bool:
        return "mariadb" in self._connection.server_version.lower()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(self._pymysql.MySQLError):
                connection.close()

    def _interrupt(self) -> None:
        """Make the server end the query, and whoever waits for its rows learn that there are no more."""
        connection = self._connection
        if connection is None or connection._sock is None:
            return
        with (
            suppress(WarehouseError, self._pymysql.MySQLError),
            closing(connect(self._address, seconds=_CANCEL_SECONDS)) as second,
            second.cursor() as cursor,
        ):
            cursor.execute(f"KILL QUERY {self._number:d}")
        # AttributeError: the driver has given the connection up meanwhile.
        with suppress(OSError, AttributeError), socket.socket(fileno=os.dup(connection._sock.fileno())) as own:
            own.shutdown(socket.SHUT_RDWR)

    def _failure(self, error: Exception) -> WarehouseError:
        return WarehouseError(
            f"{self._label}: {errors.reason(error)}", hint=errors.hint(error), query_line=errors.line(error)
        )


def _power(grants: list[str]) -> str:
    """What the user may do beside reading, from the strongest down; empty where that is nothing."""
    found: dict[str, str] = {}
    for grant in grants:
        parts = re.match(r"GRANT (.+?) ON (.+?) TO ", grant)
        if parts is None:
            continue
        for privilege in re.sub(r" *\([^)]*\)", "", parts[1]).split(", "):
            found.setdefault(privilege.upper(), parts[2].replace("`", ""))
    return next((f"{power} on {found[power]}" for power in _POWERS if power in found), "")
