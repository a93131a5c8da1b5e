"""The profile store in one SQLite file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connectors.sql_store.dialect import SQLDialect, UnfitRowsError
from connectors.sql_store.store import SENT_AGAIN, SQLStore
from syncer.model.connectors import file_of
from syncer.model.errors import StoreError

_SCHEME = "sqlite:///"
#: The first with `->` and IS DISTINCT FROM.
_OLDEST = (3, 39)
_WAIT_SECONDS = 30
#: Bytes of rows in one JSON text, of which SQLite takes at most 1e9; the rows may need several times as many in it.
#: https://www.sqlite.org/limits.html
_STAGED_BYTES = 100_000_000
_STAGED_ROWS = 2_000

_BATCH = (
    """CREATE TEMP TABLE IF NOT EXISTS batch (
        seq INTEGER, action TEXT, id TEXT, email TEXT, cio_id INTEGER,
        clears_id INTEGER NOT NULL DEFAULT 0, clears_email INTEGER NOT NULL DEFAULT 0,
        object_id TEXT, key TEXT, attributes TEXT, cleared TEXT,
        person INTEGER, person_id INTEGER, absorbed_id INTEGER, verdict TEXT, reason TEXT
    )""",
    "CREATE INDEX IF NOT EXISTS temp.batch_person ON batch (person_id)",
    "DELETE FROM batch",
)

#: json_patch would merge nested objects and drop their nulls, and json_each's values lose digits; `->` gives the
#: text of what it finds.
_MERGED = """(
    SELECT CASE
        WHEN kept IS NULL THEN b.attributes
        WHEN b.attributes = '{}' THEN '{' || kept || '}'
        ELSE '{' || kept || ',' || substr(b.attributes, 2)
    END FROM (
        SELECT group_concat(json_quote(o.key) || ':' || (t.attributes -> o.fullkey)) AS kept
        FROM json_each(t.attributes) AS o
        WHERE o.key NOT IN (SELECT key FROM json_each(b.attributes))
        AND o.key NOT IN (SELECT value FROM json_each(b.cleared))
    ))"""

_HINTS = {
    "SQLITE_BUSY": f"Another process has been writing to it for {_WAIT_SECONDS} seconds; look for one that hangs.",
    "SQLITE_READONLY": "Make the file and its folder writable for this user.",
    "SQLITE_CANTOPEN": "Check that {setting}__URL names a file in a folder that this user can write to.",
    "SQLITE_FULL": "Free space on the disk.",
    "SQLITE_IOERR": "Check the disk and its free space.",
    "SQLITE_ERROR": "Check that {setting}__URL names a profile store, and no other program's database.",
    "SQLITE_NOTADB": "Check that {setting}__URL names a profile store; this file is none.",
    "SQLITE_CORRUPT": "The file is damaged; restore it from a backup, or move it away and run every sync with --full.",
}


class SQLiteStore(SQLStore):
    """A store for one machine; several processes may use it."""

    batch_rows = 10_000
    dialect = SQLDialect(
        engine="sqlite://",
        lock="BEGIN IMMEDIATE",
        version="SELECT 'SQLite ' || sqlite_version()",
        now="strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')",
        merged=_MERGED,
        nothing_cleared="'[]'",
        as_array="json_group_array",
        find_workspace="SELECT 1 FROM sqlite_master WHERE name = 'workspace'",
        as_json="SELECT json_group_array(json_array({columns})) FROM ({rows})",
        each_attribute="json_each(p.attributes)",
    )

    # Created on demand: a run without changes has no batch.
    _duckdb: duckdb.DuckDBPyConnection | None = None

    def close(self) -> None:
        """See `ProfileStore.close`."""
        self._connection.close()
        if self._duckdb:
            self._duckdb.close()

    def _open_connection(self, url: str) -> None:
        path = file_of(url) if url.startswith(_SCHEME) else None
        if path is None or str(path) == ":memory:":
            raise self._named.unusable("URL names no file", "Write {setting}__URL as sqlite:///folder/file.db.")
        self._path = path
        self._connection = self._connect_for_good()

    def _connect_for_good(self) -> sqlite3.Connection:
        """To the file; where there is none, to an empty database in memory."""
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StoreError(
                f"{self._label} needs SQLite 3.39, and this Python has {sqlite3.sqlite_version}",
                hint="Use a Python with a newer SQLite, or a PostgreSQL store.",
            )
        with self._explained():
            connection = self._connect() if self._is_there() else sqlite3.connect(":memory:", check_same_thread=False)
            # Not for upgrades: dropping a table to create it again would delete the rows that refer to it.
            connection.execute("PRAGMA foreign_keys = ON")
            return connection

    def _connect_again(self) -> None:
        self._connection.close()
        self._connection = self._connect_for_good()

    def _look_again(self) -> None:
        super()._look_again()
        if self._format == 0 and self._path.exists():
            self._connect_again()
            super()._look_again()

    def _is_there(self) -> bool:
        """Whether there is a file; raises StoreError if none could be made."""
        try:
            if self._path.exists():
                return True
            self._path.lstat()
        except FileNotFoundError:
            nearest = next(folder for folder in self._path.absolute().parents if folder.exists())
            if os.access(nearest, os.W_OK | os.X_OK):
                return False
            fault = "this user may not write there"
        except OSError as exc:
            fault = str(exc.strerror)
        raise self._no_place(fault)

    def _no_place(self, fault: str) -> StoreError:
        return StoreError(
            f"{self._label}: no file can be made in the folder {self._path.parent}: {fault}",
            hint=f"Correct that, or change {self._named.setting}__URL.",
        )

    def _connect(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise self._no_place(str(exc.strerror)) from exc
        # SQLite would make it without the right of a group to write it. Never by open(): to close a file that another
        # connection has open takes this process's locks from it, and then others delete the log that it writes.
        with suppress(OSError, AttributeError):
            os.mknod(self._path, 0o660)
        # Without an isolation level the driver leaves BEGIN to us.
        connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection

    def _make(self, *, keep: bool = True) -> None:
        if keep:
            with self._explained(), closing(self._connect()) as connection:
                self._keep_a_write_ahead_log(connection)
        super()._make(keep=keep)
        if self._format == 0 and keep:
            self._connect_again()

    def _try_to_make(self) -> None:
        if self._is_there():
            super()._try_to_make()

    def _keep_a_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        """The file records it. SQLite cannot change it in a transaction, and refuses at once, whatever its timeout,
        while another process opens the new file."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _transaction(self, *, commit: bool = True) -> Iterator[None]:
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT" if commit else "ROLLBACK")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._explained():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    def _stage(self, rows: pa.Table) -> None:
        for statement in _BATCH:
            self._connection.execute(statement)
        names = rows.column_names
        as_text = ", ".join(f"CAST({name} AS VARCHAR)" for name in names)
        # json() refuses here what the merge could not read, and leaves no space before the first brace.
        values = ", ".join(f"json(value->>{i})" if n == "attributes" else f"value->>{i}" for i, n in enumerate(names))
        self._duckdb = self._duckdb or duckdb.connect()
        for rows_at_once in _parts(rows):
            part = self._duckdb.from_arrow(rows_at_once)
            document = part.aggregate(f"CAST(to_json(list([{as_text}])) AS VARCHAR)").fetchall()[0]
            self._connection.execute(
                f"INSERT INTO batch ({', '.join(names)}) SELECT {values} FROM json_each(?)", document
            )

    def _execute(self, sql: str, **values: str | int) -> int:
        return self._connection.execute(sql, values).rowcount

    def _fetch(self, sql: str, **values: str | int) -> list[tuple[Any, ...]]:
        with self._explained():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the driver's errors into ours; its texts name tables and columns, never values."""
        try:
            yield
        except sqlite3.Error as exc:
            code = getattr(exc, "sqlite_errorname", "")
            if code == "SQLITE_TOOBIG" or str(exc) == "malformed JSON":
                raise UnfitRowsError(f"{self._label} cannot keep a row: {exc}", condition=str(exc)) from exc
            hint = next((hint for prefix, hint in _HINTS.items() if code.startswith(prefix)), SENT_AGAIN)
            raise StoreError(f"{self._label}: {exc}", hint=self._named.hint(hint)) from exc


def _parts(rows: pa.Table) -> list[pa.Table]:
    """The rows in order, cut so that no part has more than _STAGED_ROWS, or begins beyond _STAGED_BYTES of another."""
    least = _STAGED_BYTES // _STAGED_ROWS
    sizes = pc.add(pc.binary_length(rows["attributes"]), pc.binary_length(rows["cleared"])).cast(pa.int64())
    weights = pc.max_element_wise(sizes, least)
    begins = pc.subtract(pc.cumulative_sum(weights), weights)
    ends = pc.run_end_encode(pc.divide(begins, _STAGED_BYTES).combine_chunks()).run_ends.to_pylist()
    return [rows[first:end] for first, end in zip([0, *ends], ends, strict=False)]
