"""Any database that SQLAlchemy has a dialect for: the driver's rows in chunks, which become Arrow by column."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, CursorResult, create_engine, event
from sqlalchemy.pool import NullPool

from connectors.sqlalchemy.arrow import arrow_kind, from_arrow
from connectors.sqlalchemy.connection import parsed_url
from connectors.sqlalchemy.databases import Database, database, description, keep_values, with_instants
from connectors.sqlalchemy.errors import reason
from connectors.sqlalchemy.options import WAREHOUSE
from connectors.sqlalchemy.values import (
    UNSEEN,
    MisfitError,
    ValueKind,
    array,
    described_kind,
    first_zone,
    has_zone,
    seen,
    type_name,
)
from connectors.support.column_case import PARAMETER, ColumnCase, column_case
from connectors.support.warehouse import (
    DESCRIBE_TIMEOUT,
    DriverError,
    DriverThread,
    LeftError,
    StreamingWarehouse,
    rows_at_once,
    schema_of,
    uncollected,
)
from syncer.model.errors import WarehouseError
from syncer.model.importing import importing
from syncer.model.select_statement import SelectStatement
from syncer.model.types import Column, Probe

#: Small enough that Python's values of one batch stay in the processor's cache.
_BATCH_ROWS = 5_000
#: The most batches to read until a column of unknown type has a value that is not NULL.
_BATCHES_AHEAD = 20
_CONNECT_SECONDS = 60.0
_STREAMED = {"stream_results": True, "max_row_buffer": _BATCH_ROWS, "no_parameters": True}


class SQLAlchemyWarehouse(StreamingWarehouse):
    """A database behind a DBAPI driver. Each query has a connection of its own, which is always rolled back.

    If the driver reports no types, Syncer infers them from the first rows. Values of two kinds in one column, such as
    numbers and then texts, are a WarehouseError.
    """

    def __init__(self, name: str, url: str, **_of_other_warehouses: object) -> None:
        super().__init__(name, dialect=WAREHOUSE.dialect_of(url))
        parsed, found = parsed_url(self._label, url)
        given = str(parsed.query.get(PARAMETER, ""))
        parsed = parsed.difference_update_query([PARAMETER])
        self._database = database(found.name)
        with importing:
            self._engine = create_engine(parsed, poolclass=NullPool, hide_parameters=True)
        dialect = self._engine.dialect
        #: None if the database does not fold names to upper case.
        self._case: ColumnCase | None = None
        if dialect.requires_name_normalize:
            self._case = column_case(self._named, given, lambda name: str(dialect.normalize_name(name)))
        event.listen(self._engine, "connect", self._prepare)
        event.listen(self._engine, "before_cursor_execute", self._remember)
        self._thread: DriverThread | None = None
        #: Why the results of the new connection cannot be trusted, and the next step.
        self._fault: tuple[str, str] | None = None
        self._connection: Connection | None = None
        #: The driver's own.
        self._raw: Any = None
        self._cursor: Any = None
        with self._failures(timedelta(seconds=_CONNECT_SECONDS)) as deadline:
            self._connect(deadline)

    def columns(self, sql: str) -> tuple[Column, ...]:
        """As in Warehouse. The type is `unknown` if the driver reports none."""
        statement = self._select_statement(sql)
        with self._transaction(DESCRIBE_TIMEOUT, statement) as call:
            if self._database.description:
                describe = description(self._database, statement.text)
                name, type_ = self._database.described_at
                rows = call(lambda: self._execute(describe)[0].fetchall())
                return tuple(self._column(_as_text(row[name]), _as_text(row[type_])) for row in rows)
            if self._database.parses:
                described = call(partial(self._parsed, statement.text))
            else:
                _, described = call(lambda: self._execute(_without_rows(statement)))
            return tuple(self._column(d[0], type_name(d) or "unknown") for d in described)

    def _parsed(self, sql: str) -> Sequence[Sequence[Any]]:
        """How the driver describes the columns of *sql*, which does not run."""
        cursor = self._raw.cursor()
        try:
            cursor.parse(sql)
            return cursor.description or ()
        finally:
            cursor.close()

    def _column(self, name: str, type_: str) -> Column:
        return self._case.column(name, type_) if self._case else Column(name=name, type=type_)

    def probe(self) -> Probe:
        """See `Probing`. It does not examine what the role could write."""
        with self._failures(DESCRIBE_TIMEOUT) as deadline:
            connection = self._connect(deadline)
        parts = getattr(connection.dialect, "server_version_info", None) or ()
        version = f"{self._database.product} {'.'.join(map(str, parts))}".strip()
        if self._database.is_locked:
            return Probe(version=version, can_write=False)
        note = "Syncer cannot tell whether its role could write; give it one that may only SELECT."
        return Probe(version=version, note=note)

    def now(self) -> datetime:
        """See `TellsTime`; the clock of this machine if Syncer does not know how to read the database's."""
        if not self._database.clock:
            return datetime.now(UTC)
        found = self.query(self._database.clock, timeout=DESCRIBE_TIMEOUT).read_all()
        return datetime.fromtimestamp(float(found.column(0)[0].as_py()), UTC)

    def _read(self, sql: str, timeout: timedelta) -> Generator[Any]:
        """The schema, then batches."""
        statement = self._select_statement(sql)
        with self._transaction(timeout, statement) as call:
            text, described = statement.text, None
            if self._database.in_utc:
                described = call(partial(self._parsed, text))
                zones = [has_zone(described_kind(d)) for d in described]
                text = with_instants(self._database, text, [d[0] for d in described], zones)
            result, found = call(lambda: self._execute(text))
            reading = _Columns(described or found, self._case, self._database)
            if hasattr(self._cursor, "fetchmany_arrow"):
                yield from self._arrow_batches(call, reading)
                return
            held: list[Sequence[Sequence[Any]]] = []
            while not reading.is_known:
                held.append(call(partial(_fetched, result)))
                reading.learn(held[-1], is_last=not held[-1] or len(held) == _BATCHES_AHEAD)
            yield reading.schema
            for rows in held:
                if rows:
                    yield reading.batch(rows)
            while rows := call(partial(_fetched, result)):
                yield reading.batch(rows)

    def _arrow_batches(self, call: Callable[[Callable[[], Any]], Any], reading: _Columns) -> Iterator[Any]:
        """The schema, then batches, of a driver that has Arrow."""
        fetched = partial(self._cursor.fetchmany_arrow, _BATCH_ROWS)
        table = call(fetched)
        reading.learn_types(table)
        yield reading.schema
        while table.num_rows:
            yield reading.batch_of(table)
            table = call(fetched)

    def _execute(self, sql: str) -> tuple[CursorResult[Any], Sequence[Sequence[Any]]]:
        assert self._connection is not None
        result = self._connection.exec_driver_sql(sql, execution_options={**_STREAMED, **self._database.options})
        return result, self._cursor.description or ()

    @contextmanager
    def _transaction(
        self, timeout: timedelta, statement: SelectStatement
    ) -> Iterator[Callable[[Callable[[], Any]], Any]]:
        """A transaction, read-only if the database has that, and a function that calls the driver in it."""
        is_over = False
        with self._failures(timeout, statement) as deadline:
            connection = self._connect(deadline)
            thread = self._thread
            assert thread is not None

            def call(action: Callable[[], Any]) -> Any:
                return thread.call(action, until=deadline)

            try:
                for sql in self._database.read_only:
                    call(partial(connection.exec_driver_sql, sql))
                yield call
                is_over = True
            finally:
                if not is_over:
                    self._interrupt()
                self._disconnect()

    def _connect(self, deadline: float) -> Connection:
        """The connection, which may be a new one."""
        if self._is_closed:
            raise self._closed_early()
        if self._connection is None:
            thread = self._thread = DriverThread()
            try:
                self._connection = thread.call(self._engine.connect, until=deadline)
            except DriverError as exc:
                raise self._unreachable(reason(exc.error)[0]) from None
            except TimeoutError:
                raise self._unreachable("no answer") from None
            finally:
                if self._connection is None:
                    self._disconnect()
            if self._fault:
                self._disconnect()
                raise WarehouseError(f"{self._label}: {self._fault[0]}", hint=self._fault[1])
        return self._connection

    def _unreachable(self, said: str) -> WarehouseError:
        return WarehouseError(
            f"{self._label}: cannot connect to {self._database.product}: {said}",
            hint=f"{self._database.unreachable} in {self._named.setting}__URL.",
        )

    def _prepare(self, connection: Any, _: object) -> None:
        self._raw = connection
        keep_values(connection)
        self._fault = self._database.prepare(connection)

    def _remember(self, connection: Any, cursor: Any, *_: Any) -> None:
        self._cursor = cursor

    def _interrupt(self) -> None:
        """Cancel in the driver's way, and wake the thread that waits for it."""
        raw, cursor, thread = self._raw, self._cursor, self._thread
        ways = ((raw, "interrupt"), (raw, "cancel_safe"), (raw, "cancel"), (cursor, "cancel"))
        cancel = next((way for owner, name in ways if callable(way := getattr(owner, name, None))), None)
        if cancel is not None:
            # Without an answer of the server it would wait.
            DriverThread().end(cancel)
        if thread is not None:
            thread.leave()

    def _disconnect(self) -> None:
        """Roll back and close on the driver's thread, without waiting for it."""
        connection, thread, cursor = self._connection, self._thread, self._cursor
        self._connection = self._thread = self._raw = self._cursor = None
        if thread is not None:
            # A cursor stays open where its server does not answer; without the connection it asks nobody.
            thread.end(*(part.close for part in (cursor, connection, cursor) if part is not None))

    @contextmanager
    def _failures(self, timeout: timedelta, statement: SelectStatement | None = None) -> Iterator[float]:
        """Turn errors into WarehouseErrors; gives the deadline."""
        deadline = time.monotonic() + timeout.total_seconds()
        try:
            yield deadline
        except TimeoutError:
            raise self._over_timeout(timeout) from None
        except LeftError:
            raise self._closed_early() from None
        except MisfitError as exc:
            raise WarehouseError(
                f"{self._label}: {exc}", hint="Give the column one type in the query, with CAST(… AS …)."
            ) from None
        except DriverError as exc:
            said, word = reason(exc.error)
            line = statement.line_of(word) if statement is not None and word else None
            raise WarehouseError(f"{self._label}: {said}", query_line=line) from None


class _Columns:
    """The columns of one result, and their kinds as far as known."""

    def __init__(self, described: Sequence[Sequence[Any]], case: ColumnCase | None, of: Database) -> None:
        self._case = case
        self._names = [d[0] for d in described]
        self._announced = [described_kind(d, bytes_are_text=of.bytes_are_text) for d in described]
        self._kinds: list[ValueKind | None] = list(self._announced)

    @property
    def is_known(self) -> bool:
        return None not in self._kinds

    def learn(self, rows: Sequence[Sequence[Any]], *, is_last: bool) -> None:
        """Infer unknown kinds from *rows*; after the last rows every kind is known."""
        columns = list(zip(*rows, strict=True)) or [()] * len(self._kinds)
        for place, (name, kind) in enumerate(zip(self._names, self._kinds, strict=True)):
            if kind is None and (found := seen(name, {*map(type, columns[place])})) is not None:
                self._kinds[place] = first_zone(columns[place], found)
            elif kind is None and is_last:
                self._kinds[place] = UNSEEN

    def learn_types(self, table: pa.Table) -> None:
        """Take kinds that are unknown from a driver's own Arrow, if it has rows; after this every kind is known."""
        types = table.schema.types if table.num_rows else [pa.null()] * len(self._kinds)
        self._kinds = [kind or arrow_kind(found) for kind, found in zip(self._kinds, types, strict=True)]

    @property
    def schema(self) -> pa.Schema:
        schema = schema_of(self._names, (kind or UNSEEN for kind in self._kinds))
        return self._case.names(schema) if self._case else schema

    def batch(self, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
        with uncollected():
            arrays = [
                array(name, values, kind or UNSEEN, is_announced=announced is not None)
                for name, values, kind, announced in zip(
                    self._names, zip(*rows, strict=True), self._kinds, self._announced, strict=True
                )
            ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def batch_of(self, table: pa.Table) -> pa.RecordBatch:
        """A driver's own Arrow."""
        arrays = [
            from_arrow(name, column.combine_chunks(), kind or UNSEEN)
            for name, column, kind in zip(self._names, table.columns, self._kinds, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _as_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _without_rows(statement: SelectStatement) -> str:
    """The same query with no row, for its columns, where the database knows LIMIT."""
    if statement.tree is None or statement.tree.args.get("limit") is not None:
        return f"SELECT * FROM ({statement.text}\n) AS q LIMIT 0"
    return f"{statement.text}\nLIMIT 0"


def _fetched(result: CursorResult[Any]) -> Sequence[Sequence[Any]]:
    """The next rows as the driver has them; SQLAlchemy's own rows take longer, and nothing needs their names."""
    with uncollected():
        # After the last row there is no cursor.
        described = result.cursor.description if result.cursor else None
        size = rows_at_once(_BATCH_ROWS, len(described or ()))
        rows: Sequence[Sequence[Any]] = result.cursor_strategy.fetchmany(result, result.cursor, size)
        return rows
