"""PostgreSQL as a warehouse: `COPY (query) TO STDOUT` as CSV, parsed into Arrow a block at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.errors import SyntaxError as RefusedSyntaxError

from connectors.postgresql.connection import BoundedConnection, release, reused
from connectors.postgresql.protocol import ProtocolWarehouse, Server
from connectors.postgresql.values import BLOCK_START, CsvParser, PostgreSQLReading, reading
from connectors.support.warehouse import DESCRIBE_TIMEOUT, probe_of, select_columns
from syncer.model.types import Column, Probe

#: Bytes of CSV to parse at once: large enough for Arrow, small enough that several fit into little memory.
_BLOCK_BYTES = 1 << 19

_TYPES = """
SELECT pg_catalog.format_type(t.oid, d.modifier), t.typcategory,
    coalesce(e.oid = 'pg_catalog.json'::pg_catalog.regtype OR e.typtype NOT IN ('b', 'e', 'r', 'm'), true)
FROM ROWS FROM (unnest(%s::oid[]), unnest(%s::int4[])) WITH ORDINALITY AS d (oid, modifier, number)
JOIN pg_catalog.pg_type t USING (oid) LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem ORDER BY d.number
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


@dataclass(slots=True, kw_only=True)
class _Described:
    subquery: str
    names: list[str]
    types: list[str]
    readings: list[PostgreSQLReading]


class PostgreSQLWarehouse(ProtocolWarehouse):
    """A PostgreSQL database, 14 or newer, read in REPEATABLE READ READ ONLY transactions.

    The extended protocol takes no second statement. A date or time outside the years 1 to 9999 is Arrow's largest or
    smallest value.
    """

    _settings = """
        SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres';
        SET LOCAL extra_float_digits = 1; SET LOCAL statement_timeout = {milliseconds}
    """

    def __init__(self, name: str, url: str, *, sync: str = "", **_of_other_warehouses: object) -> None:
        """See `StreamingWarehouse`; the connection of a *sync* may be an earlier run's."""
        self._url, self._is_of_run, self._is_left_clean = url, sync != "", False
        super().__init__(name, url)
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True

    def _connect(self, url: str) -> psycopg.Connection:
        return reused(self._named, url, patience=inf, autocommit=False) if self._is_of_run else super()._connect(url)

    def _disconnect(self) -> None:
        if isinstance(self._connection, BoundedConnection) and self._is_left_clean:
            release(self._connection, self._named, self._url)
        else:
            super()._disconnect()

    def _interrupt(self) -> None:
        # Who has it next must not be cancelled.
        self._is_left_clean, self._is_of_run = False, False
        super()._interrupt()

    def columns(self, sql: str) -> tuple[Column, ...]:
        """As in Warehouse; the server plans the query too, as only then it looks at the role's rights."""
        with self._transaction(DESCRIBE_TIMEOUT) as server:
            found = self._describe(server, sql)
            server.ask(self._connection.pgconn.send_query_params, f"EXPLAIN {found.subquery}".encode(), None)
        return tuple(Column(name=n, type=t) for n, t in zip(found.names, found.types, strict=True))

    def probe(self) -> Probe:
        """See `Probing`. A role can write if it could change or make any table."""
        with self._transaction(DESCRIBE_TIMEOUT):
            version = self._connection.info.parameter_status("server_version") or ""
            power = self._power(_POWERS)
        return probe_of(f"PostgreSQL {version.partition(' ')[0]}", power)

    def _read(self, sql: str, timeout: timedelta) -> Generator[Any]:
        """The schema, then batches."""
        self._is_left_clean = False
        with self._transaction(timeout) as server:
            described = self._describe(server, sql)
            parser = CsvParser(described.names, described.readings)
            yield parser.schema
            # As UTF-8, PostgreSQL would refuse a whole result for one text of SQL_ASCII that is not UTF-8.
            is_ascii = self._connection.info.parameter_status("server_encoding") == "SQL_ASCII"
            encoding = "SQL_ASCII" if is_ascii else "UTF8"
            select = select_columns(described.subquery, [r.expression for r in described.readings])
            copy = f"COPY ({select}) TO STDOUT (FORMAT csv, ENCODING '{encoding}')"
            server.ask(self._connection.pgconn.send_query_params, copy.encode(), None)
            yield from self._batches(server, parser)
        self._is_left_clean = self._is_of_run

    def _batches(self, server: Server, parser: CsvParser) -> Iterator[pa.RecordBatch]:
        rows = 0
        for block in server.copied(start=BLOCK_START, size=_BLOCK_BYTES):
            for batch in parser.parse(block):
                rows += batch.num_rows
                yield batch
        self._check_count(server.rows_copied, rows)

    def _describe(self, server: Server, sql: str) -> _Described:
        sql = sql.removeprefix("\ufeff")
        answer = self._described(server, sql)
        columns = range(answer.nfields)
        oids, modifiers = [answer.ftype(i) for i in columns], [answer.fmod(i) for i in columns]
        types = self._connection.execute(_TYPES, (oids, modifiers)).fetchall()
        return _Described(
            subquery=self._subquery(server, sql),
            names=[(answer.fname(i) or b"").decode() for i in columns],
            types=[name for name, *_ in types],
            readings=[
                reading(oid, category, may_hold_json=may) for oid, (_, category, may) in zip(oids, types, strict=True)
            ],
        )

    def _subquery(self, server: Server, sql: str) -> str:
        """*sql*, which PostgreSQL has parsed, without the semicolons at its end, so that it fits into brackets."""
        before = "SELECT FROM ("
        while True:
            try:
                with self._connection.transaction():
                    server.ask(self._connection.pgconn.send_prepare, b"", f"{before}{sql}\n) AS q".encode())
                return sql
            except RefusedSyntaxError as exc:
                wrong = int(exc.diag.statement_position or 0) - 1 - len(before)
                if sql[max(0, wrong) :][:1] != ";":
                    raise self._refusal("is not a SELECT") from None
                sql = f"{sql[:wrong]} {sql[wrong + 1 :]}"
