"""Snowflake as a warehouse: Syncer polls a query's state until it ends, and reads its result as Arrow in parts."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa

from connectors.snowflake.connection import connect, names_of
from connectors.snowflake.errors import missing_name, query_failure
from connectors.snowflake.options import SnowflakeOptions
from connectors.snowflake.values import SnowflakeReading, reading
from connectors.support.connection import driver
from connectors.support.warehouse import (
    DriverError,
    DriverThread,
    LeftError,
    StreamingWarehouse,
    in_utc,
    probe_of,
    quote_identifier,
    schema_of,
)
from syncer.model.errors import WarehouseError
from syncer.model.select_statement import NotASelectError, SelectStatement
from syncer.model.types import Column, Probe

_BATCH_ROWS = 20_000
#: Seconds between two polls of a query: at first, and at most.
_FIRST_WAIT, _LONGEST_WAIT = 0.02, 2.0
#: How long to wait until a query is cancelled; after that the server's own timeout ends it.
_CANCEL_SECONDS = 5.0
_VERSION = "SELECT CURRENT_VERSION(), CURRENT_ROLE()"

#: Privileges that can write, beside OWNERSHIP and those to CREATE.
_WRITING = {
    *("INSERT", "UPDATE", "DELETE", "TRUNCATE", "WRITE", "EVOLVE SCHEMA", "ALL", "ALL PRIVILEGES", "MANAGE GRANTS")
}
#: Every user has it.
_EVERYBODY = "PUBLIC"


class SnowflakeWarehouse(StreamingWarehouse):
    """A Snowflake account, read as one role.

    Snowflake has no read-only transaction. It first describes a statement without running it, and then runs it only as
    the inner part of a SELECT; the role limits what a function in it may do. A date or time outside the years 1 to 9999
    is Arrow's largest or smallest value.
    """

    def __init__(self, name: str, url: str, *, options: SnowflakeOptions, sync: str = "") -> None:
        super().__init__(name, dialect="snowflake")
        self._case = names_of(self._named, url)
        self._connection = connect(self._named, url, options=options, sync=sync)
        self._errors = driver("snowflake.connector.errors", extra="snowflake", label=self._label)
        self._thread: DriverThread | None = None
        #: Set when nobody waits for the result any more.
        self._is_left = threading.Event()
        #: Whether the server works on a query of ours, or will.
        self._is_busy = False

    def columns(self, sql: str) -> tuple[Column, ...]:
        """As in Warehouse."""
        with self._failures(statement := self._select_statement(sql)):
            described = self._described(statement)
        return tuple(self._case.column(name, one.name) for name, one in described)

    def probe(self) -> Probe:
        """See `Probing`. A role can write if it, or a role within it, may change, make or own anything."""
        with self._failures():
            version, role = self._rows(_VERSION)[0]
            can = self._power(role)
        return probe_of(f"Snowflake {version.split(' ')[0]}", can and f"Its role {can}")

    def now(self) -> datetime:
        """See `TellsTime`."""
        with self._failures():
            ((found,),) = self._rows("SELECT SYSDATE()")
        return in_utc(found)

    def _read(self, sql: str, timeout: timedelta) -> Generator[Any]:
        """The schema, then batches."""
        deadline = time.monotonic() + timeout.total_seconds()
        self._is_left = threading.Event()
        parts = self._parts(sql, timeout, self._is_left)
        thread = self._thread = DriverThread()
        self._is_busy = True
        thread.start(partial(next, parts, None))
        try:
            while (part := thread.result(until=deadline)) is not None:
                # The thread reads the next part meanwhile.
                thread.start(partial(next, parts, None))
                yield part
        except TimeoutError:
            raise self._over_timeout(timeout) from None
        except LeftError:
            raise self._closed_early() from None
        except DriverError as exc:
            raise exc.error from None
        finally:
            self._is_left.set()
            thread.end(parts.close, wait=_CANCEL_SECONDS if self._is_busy else 0.0)

    def _interrupt(self) -> None:
        self._is_left.set()
        if self._thread is not None:
            self._thread.leave()

    def _disconnect(self) -> None:
        self._connection.close()

    def _parts(self, sql: str, timeout: timedelta, is_left: threading.Event) -> Generator[Any]:
        """As `_read`, on the driver's thread, where a call may hang."""
        with self._failures(statement := self._select_statement(sql)):
            described = self._described(statement)
            schema = self._case.names(schema_of(*zip(*described, strict=True)))
            yield schema
            if is_left.is_set():
                return
            cursor = self._connection.cursor()
            seconds = max(1, round(timeout.total_seconds() + 1))
            cursor.execute(f"ALTER SESSION SET STATEMENT_TIMEOUT_IN_SECONDS = {seconds}")
            self._run(cursor, _wrapped(statement, described), is_left)
            rows = 0
            for batch in _batches(cursor):
                rows += batch.num_rows
                yield self._converted(batch, schema, [one for _, one in described])
        self._check_count(cursor.rowcount, rows)

    def _run(self, cursor: Any, sql: str, is_left: threading.Event) -> None:
        """Run *sql* to its end, so that *cursor* has its result; cancel it if *is_left* is set before."""
        query = cursor.execute_async(sql, num_statements=1)["queryId"]
        wait = _FIRST_WAIT
        while self._connection.is_still_running(self._connection.get_query_status(query)):
            if is_left.wait(wait):
                cursor.abort_query(query)
                raise self._closed_early()
            wait = min(wait * 1.5, _LONGEST_WAIT)
        cursor.query_result(query)
        self._is_busy = False

    def _converted(self, batch: pa.RecordBatch, schema: pa.Schema, readings: list[SnowflakeReading]) -> pa.RecordBatch:
        try:
            columns = [one.convert(column) for one, column in zip(readings, batch.columns, strict=True)]
            return pa.RecordBatch.from_arrays(columns, schema=schema)
        except (pa.ArrowException, ValueError):
            # Its text may hold a value.
            raise self._misfit() from None

    def _one_select(self, sql: str) -> SelectStatement:
        statement = super()._one_select(sql)
        for word, line in statement.words():
            if word == "->>":
                raise NotASelectError("the query passes its result on with `->>`", line=line)
        return statement

    def _described(self, statement: SelectStatement) -> list[tuple[str, SnowflakeReading]]:
        """Name and reading of each column that *statement* would return; it does not run."""
        columns = self._connection.cursor().describe(statement.text) or []
        found = [(one.name, reading(one.type_code, one.precision, one.scale)) for one in columns]
        for name, read in found:
            if read is None:
                raise WarehouseError(
                    f"{self._label}: Syncer cannot read the type of the column `{name}`",
                    hint="Cast it in the query, as in `x::VARCHAR` or `x::NUMBER(38, 6)`.",
                )
        if not found:
            raise self._refusal("returns no columns")
        return [(name, read) for name, read in found if read is not None]

    def _rows(self, sql: str) -> list[Any]:
        return list(self._connection.cursor().execute(sql, num_statements=1).fetchall())

    def _power(self, role: str) -> str:
        """What *role*, or a role within it, could write, as the rest of a sentence about it; empty if nothing."""
        found, waiting = {role}, [role, _EVERYBODY]
        while waiting:
            cursor = self._connection.cursor()
            grants = f"SHOW GRANTS TO ROLE {quote_identifier(waiting.pop())}"
            rows = cursor.execute(grants, num_statements=1).fetchall()
            names = [column.name for column in cursor.description]
            for row in rows:
                privilege, kind, name = (row[names.index(part)] for part in ("privilege", "granted_on", "name"))
                if privilege == "OWNERSHIP" or privilege in _WRITING or privilege.startswith("CREATE "):
                    has = "owns" if privilege == "OWNERSHIP" else f"has {privilege} on"
                    return f"{has} the {kind.lower().replace('_', ' ')} {name}"
                if kind == "ROLE" and name not in found:
                    found.add(name)
                    waiting.append(name)
        return ""

    @contextmanager
    def _failures(self, statement: SelectStatement | None = None) -> Iterator[None]:
        """Turn errors into WarehouseErrors."""
        try:
            yield
        except self._errors.Error as exc:
            failure = query_failure(exc, self._named)
            if statement is not None and failure.query_line is None:
                failure.query_line = statement.line_of(missing_name(exc))
            raise failure from None


def _batches(cursor: Any) -> Iterator[pa.RecordBatch]:
    """The rows as the driver has them, whose types may differ between the parts of a result."""
    # In one stream, the driver would read every part as the first part's types.
    for part in cursor.get_result_batches() or []:
        table = part.to_arrow(number_to_decimal=True, force_microsecond_precision=True)
        if table is not None:
            yield from table.to_batches(max_chunksize=_BATCH_ROWS)


def _wrapped(statement: SelectStatement, described: list[tuple[str, SnowflakeReading]]) -> str:
    """*statement* in brackets that take only a query, with the casts that its columns need."""
    quoted = [(quote_identifier(name), one.cast) for name, one in described]
    casts = ", ".join(f"{cast.format(name)} AS {name}" for name, cast in quoted if cast)
    # A line of its own for the bracket: the query may end in a comment.
    return f"SELECT *{f' REPLACE ({casts})' if casts else ''} FROM ({statement.text}\n)"
