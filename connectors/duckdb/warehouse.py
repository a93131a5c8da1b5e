"""DuckDB as a warehouse: a database file, or a folder whose CSV, Parquet and JSON files are its tables."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from connectors.duckdb.errors import column, hint, line, reason
from connectors.duckdb.folder import TYPES, FileTable, one_file, tables
from connectors.duckdb.functions import builds_values
from connectors.support.warehouse import (
    DESCRIBE_TIMEOUT,
    ColumnReading,
    DriverError,
    DriverThread,
    LeftError,
    StreamingWarehouse,
    quote_identifier,
    quote_literal,
    rows_at_once,
    schema_of,
    select_columns,
)
from syncer.model.connectors import file_of
from syncer.model.errors import WarehouseError
from syncer.model.memory import PROCESS
from syncer.model.protocols import JSON, NUMBER
from syncer.model.temporary_folders import TemporaryFolder
from syncer.model.types import Column, Probe

if TYPE_CHECKING:
    from connectors.duckdb.apart import Apart

_BATCH_ROWS = 20_000

#: Names of databases and schemas that are always there.
_TAKEN = {"main", "memory", "temp", "system", "information_schema", "pg_catalog"}

#: After the timeout, for DuckDB to notice that it was interrupted. It does not look inside a function.
_GRACE_SECONDS = 2.0
#: Between two interruptions of a query that is to end.
_AGAIN_SECONDS = 0.02
_SELECT_HINT = "A sync's query is one SELECT, and only reads; PIVOT needs `IN (…)`."


@dataclass(frozen=True, slots=True, kw_only=True)
class DuckDBReading(ColumnReading):
    """How a column of one DuckDB type is selected; DuckDB itself says what that is in Arrow."""

    #: What to select for the column `{0}`.
    expression: str = "{0}"


_AS_IT_IS = DuckDBReading()
_AS_TEXT = DuckDBReading(expression="{0}::VARCHAR")
_AS_NUMBER = DuckDBReading(expression="{0}::VARCHAR", metadata=NUMBER)
_AS_JSON = DuckDBReading(expression="to_json({0})::VARCHAR", metadata=JSON)

#: The start of a type as DESCRIBE writes it; the first match counts, and other types become text.
_READINGS = {
    r".*\]$|(STRUCT|MAP|UNION)\(|VARIANT$": _AS_JSON,
    r"JSON$": DuckDBReading(expression="{0}::VARCHAR", metadata=JSON),
    r"(HUGEINT|UHUGEINT|BIGNUM)$": _AS_NUMBER,
    r"TIMESTAMP_(S|MS|NS)$": DuckDBReading(expression="{0}::TIMESTAMP"),
    r"TIMESTAMPTZ_NS$": DuckDBReading(expression="{0}::TIMESTAMPTZ"),
    r"(BOOLEAN|U?(TINY|SMALL|BIG)INT|U?INTEGER|DOUBLE|VARCHAR|BLOB|DATE|TIMESTAMP( WITH TIME ZONE)?)$": _AS_IT_IS,
    r"DECIMAL\(": _AS_IT_IS,
    # The shortest digits that mean this number, as in PostgreSQL: 0.1, not 0.10000000149.
    r"FLOAT$": DuckDBReading(expression="{0}::VARCHAR::DOUBLE"),
}


class DuckDBWarehouse(StreamingWarehouse):
    """A DuckDB in memory that can read only one file or folder.

    It attaches a file read-only, so that two may have one file open. The infinite dates and times are Arrow's largest
    and smallest values.
    """

    def __init__(
        self, name: str, url: str, *, is_apart: bool = False, memory: int = 0, **_of_other_warehouses: object
    ) -> None:
        """Open the file or folder. *is_apart*: in a process for one query (see `apart`), with *memory* bytes."""
        super().__init__(name)
        self._name, self._url, self._is_apart = name, url, is_apart
        #: The process in which the query runs, if it is not this one.
        self._apart: Apart | None = None
        #: The statements of the file's views and of its columns that are computed.
        self._computed = ""
        #: Table to why its file cannot be read, and the next step.
        self._unreadable: dict[str, tuple[str, str]] = {}
        self._files: dict[str, FileTable] = {}
        #: The query that runs.
        self._sql = ""
        self._spill = TemporaryFolder()
        self._thread = DriverThread()
        self._borrowed = ExitStack()
        # What needs more goes to files.
        self._memory = memory or self._borrowed.enter_context(PROCESS.part())
        limit = f"{self._memory}B"
        self._connection = duckdb.connect(config={"temp_directory": str(self._spill.path), "memory_limit": limit})
        try:
            with self._failures(DESCRIBE_TIMEOUT):
                self._open(file_of(url))
        except WarehouseError:
            self.close()
            raise

    def columns(self, sql: str) -> tuple[Column, ...]:
        """As in Warehouse."""

        def described() -> tuple[Column, ...]:
            statement = self._statement(sql)
            self._learn_types(statement)
            return self._describe(statement)

        with self._failures(DESCRIBE_TIMEOUT) as deadline:
            until = deadline + _GRACE_SECONDS
            if not self._runs_apart(sql):
                return self._thread.call(described, until=until)
            with self._started(sql) as apart:
                return self._thread.call(apart.columns, until=until)

    def probe(self) -> Probe:
        """See `Probing`; it cannot write at all."""
        return Probe(version=f"DuckDB {duckdb.__version__}", can_write=False)

    def now(self) -> datetime:
        """See `TellsTime`; it has the clock of this machine."""
        return datetime.now(UTC)

    def _open(self, location: Path | None) -> None:
        path = (location or Path()).resolve()
        if location and path.is_dir():
            # DuckDB compares these with a path as it is handed over.
            self._lock(allowed=[str(path), one_file(path)])
            self._create_views(path)
        elif path.is_file():
            name = quote_identifier(_database_name(path))
            self._connection.execute(f"ATTACH {quote_literal(str(path))} AS {name} (READ_ONLY, TYPE duckdb)")
            self._connection.execute(f"USE {name}")
            self._lock(allowed=[])
            made = "SELECT sql FROM duckdb_views() WHERE NOT internal UNION ALL SELECT sql FROM duckdb_tables() "
            rows = self._connection.execute(f"{made} WHERE sql ILIKE '%GENERATED%' OR sql ILIKE '% AS(%'").fetchall()
            self._computed = "\n".join(sql for (sql,) in rows if sql)
        else:
            raise WarehouseError(
                f"{self._label}: there is no file or folder {path if location else 'named in its URL'}",
                hint="Write duckdb:///name for a path from the working folder, duckdb:////name for one from the root; "
                "in it a blank is `%20`.",
            )

    def _lock(self, *, allowed: list[str]) -> None:
        self._connection.execute(f"""
            SET TimeZone = 'UTC'; SET enable_progress_bar = false;
            SET allowed_directories = [{", ".join(map(quote_literal, allowed))}];
            SET enable_external_access = false; SET lock_configuration = true
        """)

    def _create_views(self, folder: Path) -> None:
        """Make tables of the files; what is wrong with one is said when a query uses it."""
        for file in tables(folder):
            name = file.name.casefold()
            if other := self._files.get(name):
                both = f"{other.path.name} and {file.path.name} in {folder} would both be the table `{file.name}`"
                self._unreadable[name] = both, "Rename or remove one of them."
                self._connection.execute(f"DROP VIEW IF EXISTS {quote_identifier(other.name)}")
                continue
            self._files[name] = file
            if said := file.create_view(self._connection):
                self._unreadable[name] = said, file.hint

    def _learn_types(self, sql: str) -> None:
        """Give the tables that *sql* may read the types of their columns."""
        # In an identifier a quote is written twice.
        self._sql, text = sql, sql.casefold().replace('""', '"')
        for name, file in self._files.items():
            # These functions read tables by texts that need not be their names.
            if name not in self._unreadable and (name in text or "query" in text):
                file.learn_types(self._connection)

    def _read(self, sql: str, timeout: timedelta) -> Generator[Any]:
        """The schema, then batches."""
        if self._runs_apart(sql):
            yield from self._read_apart(sql, timeout)
            return
        with self._failures(timeout) as deadline:
            until = deadline + _GRACE_SECONDS
            select, schema = self._thread.call(lambda: self._prepared(sql), until=until)
            yield schema
            batches: Any = None
            try:
                size = rows_at_once(_BATCH_ROWS, len(schema))
                batches = self._thread.call(lambda: self._connection.sql(select).to_arrow_reader(size), until=until)
                while (batch := self._thread.call(lambda: next(batches, None), until=until)) is not None:
                    if time.monotonic() >= deadline:
                        raise self._over_timeout(timeout)
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            finally:
                # It keeps the file open, and the traceback of an error would keep it.
                batches = None

    def _read_apart(self, sql: str, timeout: timedelta) -> Generator[Any]:
        """The same by a process of its own."""
        with self._failures(timeout) as deadline, self._started(sql, timeout) as apart:
            yield self._thread.call(apart.schema, until=deadline + _GRACE_SECONDS)
            while (batch := self._thread.call(apart.next, until=deadline + _GRACE_SECONDS)) is not None:
                yield batch

    def _runs_apart(self, sql: str) -> bool:
        computed = f"{sql}\n;{self._computed}"
        return not self._is_apart and "(" in computed and builds_values(computed)

    @contextmanager
    def _started(self, sql: str, timeout: timedelta | None = None) -> Iterator[Apart]:
        from connectors.duckdb.apart import Apart, Task

        self._learn_types(sql)
        memory = self._memory
        task = Task(name=self._name, url=self._url, sql=sql, timeout=timeout, types=TYPES, memory=memory)
        self._apart = Apart(task, folder=self._spill)
        try:
            yield self._apart
        finally:
            self._apart.end()
            self._thread.start(self._apart.close)

    def _prepared(self, sql: str) -> tuple[str, pa.Schema]:
        """What to select, and the schema of that."""
        statement = self._statement(sql)
        self._learn_types(statement)
        columns = self._describe(statement)
        readings = [_reading(column.type) for column in columns]
        select = select_columns(statement, [r.expression for r in readings])
        typed = self._connection.sql(f"{select} LIMIT 0").to_arrow_table().schema
        found = [replace(r, type=kind) for r, kind in zip(readings, typed.types, strict=True)]
        return select, schema_of([column.name for column in columns], found)

    def _interrupt(self) -> None:
        self._connection.interrupt()
        self._thread.leave()
        if self._apart is not None:
            self._apart.end()

    def _disconnect(self) -> None:
        # What does not come to its end keeps the thread, which then closes the connection.
        self._thread.end(self._connection.close, self._spill.close, self._borrowed.close)
        deadline = time.monotonic() + _GRACE_SECONDS
        while not self._thread.has_ended(wait=_AGAIN_SECONDS) and time.monotonic() < deadline:
            # An interruption that comes before the query begins is lost, and the query would go on for ever.
            with suppress(duckdb.Error):
                self._connection.interrupt()

    def _statement(self, sql: str) -> str:
        """*sql*, if it is one SELECT, so that it fits into brackets."""
        sql = sql.removeprefix("\ufeff")
        statements = self._connection.extract_statements(sql)
        if len(statements) != 1:
            raise WarehouseError(f"{self._label}: the query holds {len(statements)} statements", hint=_SELECT_HINT)
        if statements[0].type != duckdb.StatementType.SELECT:
            raise WarehouseError(f"{self._label}: the query is not a SELECT", hint=_SELECT_HINT)
        return _without_semicolons(sql)

    def _describe(self, statement: str) -> tuple[Column, ...]:
        # In brackets DuckDB refuses a WITH that writes, which extract_statements calls a SELECT.
        described = self._connection.execute(f"DESCRIBE ({statement}\n)").fetchall()
        return tuple(Column(name=name, type=kind) for name, kind, *_ in described)

    @contextmanager
    def _failures(self, timeout: timedelta) -> Iterator[float]:
        """Turn errors into WarehouseErrors, and interrupt what takes longer than *timeout*; gives the deadline."""
        deadline = time.monotonic() + timeout.total_seconds()
        timer = threading.Timer(timeout.total_seconds(), self._connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            try:
                yield deadline
            except DriverError as exc:
                raise exc.error from None
        except LeftError:
            raise self._closed_early() from None
        except TimeoutError:
            raise self._over_timeout(timeout) from None
        except (duckdb.Error, OSError) as exc:  # An Arrow stream passes DuckDB's errors on as OSError.
            if str(exc).startswith("INTERRUPT"):
                late = time.monotonic() >= deadline
                raise (self._over_timeout(timeout) if late else self._closed_early()) from None
            if isinstance(exc, OSError) and exc.errno is not None:
                raise WarehouseError(f"{self._label}: {exc.filename}: {exc.strerror}") from None
            raise self._failure(str(exc)) from None
        finally:
            timer.cancel()

    def _failure(self, text: str) -> WarehouseError:
        missing = re.match(r'Catalog Error: Table with name "?([^"\n]+?)"? does not exist', text)
        if missing and (fault := self._unreadable.get(missing[1].casefold())):
            return WarehouseError(f"{self._label}: {fault[0]}", hint=fault[1])
        from connectors.duckdb.casts import fault_in_file

        place = column(text, self._sql)
        if fault := fault_in_file(self._connection, self._files.values(), self._sql, text):
            return WarehouseError(
                f"{self._label}: {fault[0]}", hint=fault[1], query_line=line(text), query_column=place
            )
        tables = [file.name for name, file in self._files.items() if name not in self._unreadable]
        step = f"Its tables: {', '.join(tables)}." if missing and tables else hint(text)
        return WarehouseError(f"{self._label}: {reason(text)}", hint=step, query_line=line(text), query_column=place)


def _reading(kind: str) -> DuckDBReading:
    """How to select a column of the type *kind*, as DESCRIBE writes it."""
    found = next((reading for pattern, reading in _READINGS.items() if re.match(pattern, kind, re.DOTALL)), _AS_TEXT)
    if found is not _AS_JSON or "FLOAT" not in kind:
        return found
    # The shortest digits inside, as above.
    casts = "".join(f"::{_with_floats_as(wider, kind)}" for wider in ("VARCHAR", "DOUBLE"))
    return replace(found, expression=f"to_json({{0}}{casts.replace('{', '{{').replace('}', '}}')})::VARCHAR")


def _with_floats_as(wider: str, kind: str) -> str:
    """The type *kind* with another one in the place of each FLOAT in it; names in quotes stay."""
    return re.sub(r"""("(?:[^"]|"")*"|'(?:[^']|'')*')|\bFLOAT\b""", lambda found: found[1] or wider, kind)


def _database_name(path: Path) -> str:
    """The name by which a query may call the file: its stem, but for names that DuckDB has itself."""
    return f"{path.stem}_db" if path.stem.casefold() in _TAKEN else path.stem


def _without_semicolons(sql: str) -> str:
    """*sql* with blanks in the place of the semicolons around its statement."""
    text = sql.encode()
    tokens = [start for start, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment]
    for order in (tokens, reversed(tokens)):
        for start in order:
            if text[start : start + 1] != b";":
                break
            text = text[:start] + b" " + text[start + 1 :]
    return text.decode()
