"""MySQL and MariaDB as a warehouse: the rows of a prepared statement, made into Arrow a block at a time."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from connectors.mysql import errors
from connectors.mysql.connection import address, connect
from connectors.mysql.dialect import one_select
from connectors.mysql.statement import Block, LostError, PreparedStatement
from connectors.support.connection import driver
from connectors.support.warehouse import DESCRIBE_TIMEOUT, StreamingWarehouse, in_utc, probe_of
from syncer.model.errors import WarehouseError
from syncer.model.importing import importing
from syncer.model.select_statement import SelectStatement
from syncer.model.types import Column, Probe

_BATCH_ROWS = 50_000
#: Bytes of rows that become a batch at once.
_BLOCK_BYTES = 1 << 20
_CANCEL_SECONDS = 5.0
#: How long after the client's deadline the server ends a query itself, if no client is left to cancel it.
_GRACE_SECONDS = 5.0

_SESSION = """
SET SESSION time_zone = '+00:00', sql_select_limit = 18446744073709551615, net_write_timeout = {seconds}, {limit}
"""
_READ_ONLY = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

#: The strongest first.
_POWERS = (
    *("ALL PRIVILEGES", "SUPER", "FILE", "INSERT", "UPDATE", "DELETE", "DROP", "ALTER", "CREATE", "INDEX", "TRIGGER"),
    *("EVENT", "CREATE VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "CREATE USER", "DELETE HISTORY", "RELOAD", "SHUTDOWN"),
)


class MySQLWarehouse(StreamingWarehouse):
    """A MySQL or MariaDB database, read in REPEATABLE READ READ ONLY transactions.

    A prepared statement takes no second one. A date that is in no calendar, such as 0000-00-00, is NULL.
    """

    def __init__(self, name: str, url: str, **_of_other_warehouses: object) -> None:
        super().__init__(name)
        self._address = address(self._named, url)
        self._pymysql = driver("pymysql", extra="mysql", label=self._label)
        driver("numpy", extra="mysql", label=self._label)
        with importing:
            from connectors.mysql import values

        self._arrow = values
        self._connection: Any = connect(self._address)
        #: The server's number of the connection, and its SQL mode.
        self._number, self._mode = 0, ""
        #: Whether the server still sends rows.
        self._is_busy = False

    def columns(self, sql: str) -> tuple[Column, ...]:
        """As in Warehouse."""
        with self._transaction(DESCRIBE_TIMEOUT):
            statement = self._prepare(sql)
            statement.close()
        return tuple(Column(name=field.name, type=self._arrow.reading(field).word) for field in statement.fields)

    def probe(self) -> Probe:
        """See `Probing`. A user can write if a grant or an active role allows it for any table or file."""
        with self._transaction(DESCRIBE_TIMEOUT):
            ((version,),) = self._ask("SELECT VERSION()")
            product = "MariaDB" if self._is_mariadb() else "MySQL"
            power = _power(self._grants())
        number = re.match(r"\d+(\.\d+)+", version)
        return probe_of(f"{product} {number[0] if number else version}", power and f"Its user has {power}")

    def now(self) -> datetime:
        """See `TellsTime`."""
        with self._transaction(DESCRIBE_TIMEOUT):
            ((found,),) = self._ask("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)")
        return in_utc(datetime.fromisoformat(found))

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

    def _batch(self, block: Block, fields: tuple[Any, ...], schema: pa.Schema) -> pa.RecordBatch:
        try:
            columns = self._arrow.columns(block, fields)
            # The types described before a query runs are sometimes narrower or wider than those it returns.
            cast = [column.cast(wanted.type) for column, wanted in zip(columns, schema, strict=True)]
        except self._arrow.UnexpectedValueError as exc:
            raise WarehouseError(
                f"{self._label}: the column `{exc}` is TINYINT(1), so a boolean, but holds other numbers",
                hint=f"Select `{exc} + 0 AS {exc}` to have its numbers.",
            ) from None
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
            raise self._misfit() from None
        return pa.RecordBatch.from_arrays(cast, schema=schema)

    def _prepare(self, sql: str) -> PreparedStatement:
        """*sql* as the server parses it; it does not run."""
        sql = self._select_statement(sql).text
        statement = PreparedStatement(self._connection, sql)
        self._check_subquery(sql)
        if statement.parameters:
            raise WarehouseError(f"{self._label}: the query holds a `?` for a value", hint="Write the value itself.")
        if not statement.fields:
            raise self._refusal("returns no columns")
        return statement

    def _one_select(self, sql: str) -> SelectStatement:
        return one_select(sql, sql_mode=self._mode)

    def _check_subquery(self, sql: str) -> None:
        """Let the server confirm that *sql*, which it has parsed, fits into brackets, as only a SELECT does."""
        try:
            PreparedStatement(self._connection, f"SELECT EXISTS (\n{sql}\n)").close()
        except self._pymysql.MySQLError as exc:
            number, _ = errors.number_and_message(exc)
            if number == errors.SYNTAX:
                raise self._refusal("is not a SELECT") from None
            # Other errors mean a SELECT that may not be a subquery, such as SELECT SQL_NO_CACHE.
            if self._connection._sock is None:
                raise

    @contextmanager
    def _transaction(self, timeout: timedelta) -> Iterator[None]:
        """A read-only transaction; its errors become WarehouseErrors."""
        deadline = time.monotonic() + timeout.total_seconds()
        timer = threading.Timer(timeout.total_seconds(), self._interrupt)
        timer.daemon = True
        try:
            self._begin(timeout, timer)
            yield
        except (self._pymysql.MySQLError, LostError) as exc:
            if time.monotonic() >= deadline:
                raise self._over_timeout(timeout) from None
            raise errors.query_failure(self._label, exc) from None
        finally:
            timer.cancel()
            if timer.is_alive():
                timer.join()
            self._leave()
        if time.monotonic() >= deadline:
            # A SLEEP that is cut short returns without an error.
            raise self._over_timeout(timeout)

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
        """End the transaction; close a connection on which rows may still arrive."""
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
        """Make the server end the query, and wake the thread that waits for its rows."""
        connection = self._connection
        if connection is None or connection._sock is None:
            return
        with (
            suppress(WarehouseError, self._pymysql.MySQLError),
            closing(connect(self._address, seconds=_CANCEL_SECONDS)) as second,
            second.cursor() as cursor,
        ):
            cursor.execute(f"KILL QUERY {self._number:d}")
        # AttributeError: the driver has closed the connection meanwhile.
        with suppress(OSError, AttributeError), socket.socket(fileno=os.dup(connection._sock.fileno())) as own:
            own.shutdown(socket.SHUT_RDWR)


def _power(grants: list[str]) -> str:
    """The strongest privilege that the user has beside reading, or empty."""
    found: dict[str, str] = {}
    for grant in grants:
        parts = re.match(r"GRANT (.+?) ON (.+?) TO ", grant)
        if parts is None:
            continue
        for privilege in re.sub(r" *\([^)]*\)", "", parts[1]).split(", "):
            found.setdefault(privilege.upper(), parts[2].replace("`", ""))
    return next((f"{power} on {found[power]}" for power in _POWERS if power in found), "")
