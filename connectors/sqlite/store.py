"""The profile store in one SQLite file."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connectors.sql_store import entities
from connectors.sql_store.dialect import SQLDialect, UnfitRowsError
from connectors.sql_store.staging import Answers
from connectors.sql_store.store import SENT_AGAIN, SQLStore
from connectors.sqlite import upserts
from connectors.sqlite.upserts import Upsert
from syncer.model.connectors import file_of
from syncer.model.errors import StoreError
from syncer.model.types import PersonKey, Target

_SCHEME = "sqlite:///"
#: The first with `->` and IS DISTINCT FROM.
_OLDEST = (3, 39)
_WAIT_SECONDS = 30
#: KiB of pages in memory: those of an index, which a batch reaches in no order of the rows, are read again otherwise.
_CACHE = 16_000

_BATCH = (
    """CREATE TEMP TABLE IF NOT EXISTS batch (
        seq INTEGER, action TEXT, id TEXT, email TEXT, phone TEXT, cio_id INTEGER, clears_id INTEGER NOT NULL DEFAULT 0,
        clears_email INTEGER NOT NULL DEFAULT 0, clears_phone INTEGER NOT NULL DEFAULT 0,
        object_id TEXT, key TEXT, token TEXT, platform TEXT, last_used TEXT,
        clears_last_used INTEGER NOT NULL DEFAULT 0, event_id TEXT, name TEXT, occurred_at TEXT, anonymous TEXT,
        attributes TEXT, cleared TEXT, person INTEGER, person_id INTEGER, absorbed_id INTEGER, verdict TEXT, reason TEXT
    )""",
    "DROP INDEX IF EXISTS temp.batch_person",
    "DELETE FROM batch",
)
#: Only for a batch of which one row's identifiers matter to others.
_BATCH_PERSON = "CREATE INDEX temp.batch_person ON batch (person_id)"

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

    batch_rows = 25_000
    dialect = SQLDialect(
        engine="sqlite://",
        lock="BEGIN IMMEDIATE",
        version="SELECT 'SQLite ' || sqlite_version()",
        now="strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')",
        ago="strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-{} seconds')",
        merged=_MERGED,
        nothing="'{}'",
        without_phone="json_remove(t.attributes, '$.phone')",
        moment="{}",
        nothing_cleared="'[]'",
        as_array="json_group_array",
        find_workspace="SELECT 1 FROM sqlite_master WHERE name = 'workspace'",
        as_json="SELECT json_group_array(json_array({columns})) FROM ({rows})",
        each_attribute="json_each(p.attributes)",
        each_text="json_each(:values) AS e",
        each_pair="(SELECT value ->> 0 AS one, value ->> 1 AS other FROM json_each(:values)) AS c",
        numbered="person_id IN (SELECT value FROM json_each('[' || :numbers || ']'))",
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
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
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

    def _write(self, target: Target, rows: pa.Table, *, create: bool) -> Answers:
        is_plain = create and "anonymous" not in rows.column_names
        upsert = upserts.upsert_of(target, rows, self.identity) if is_plain else None
        if upsert is None or not self._put(target, upsert, rows):
            return super()._write(target, rows, create=create)
        return Answers(exceptions={}, people=self._people_of(target, rows) if target.key_may_move else None)

    def _put(self, target: Target, upsert: Upsert, rows: pa.Table) -> bool:
        ((now,),) = self._fetch(f"SELECT {self.dialect.now}")
        if target.collection is not None:
            entities.touch_collection(self._execute, self.dialect, str(target.collection))
        self._duckdb = self._duckdb or duckdb.connect(config={"threads": 1})
        return upserts.run(self._connection, self._duckdb, upsert, rows, now=now)

    def _people_of(self, target: Target, rows: pa.Table) -> pa.Table:
        """The person of each row, which has one: seq, person."""
        key = rows[str(target.person_key)]
        named = json.dumps(key.to_pylist(), ensure_ascii=False)
        query = (
            f"SELECT p.{target.person_key} AS named, p.person_id AS person FROM json_each(:keys) AS k "
            f"JOIN people AS p ON p.{target.person_key} = k.value"
        )
        found = self._columns(query, ("named", "person"), keys=named)
        people = pa.array(found["person"], pa.int64()).take(pc.index_in(key, pa.array(found["named"], pa.string())))
        return pa.table({"seq": rows["seq"], "person": people})

    def duplicates(self, names: Sequence[str], limit: int | None) -> Generator[pa.Table, None, None]:
        """See `FindsDuplicates.duplicates`."""
        from connectors.sqlite import duplicates

        if not self.is_new:
            with self._reading():
                yield from duplicates.found(self._connection, names, limit, self._identifiers)

    def erase_traces(self, names: pa.Table) -> None:
        """See `ErasesTraces.erase_traces`; the file is written anew, as free pages have what was there before."""
        super().erase_traces(names)
        if not self.is_new:
            with self._explained():
                self._connection.execute("VACUUM")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _stage(self, rows: pa.Table) -> None:
        for statement in _BATCH:
            self._connection.execute(statement)
        names = rows.column_names
        values = dict.fromkeys(names, "?") | {"attributes": upserts.checked("?", rows["attributes"])}
        self._connection.executemany(
            f"INSERT INTO batch ({', '.join(values)}) VALUES ({', '.join(values.values())})",
            zip(*(rows[name].to_pylist() for name in values), strict=True),
        )
        if len({*PersonKey}.intersection(names)) > 1 or any(name.startswith("clears") for name in names):
            self._connection.execute(_BATCH_PERSON)

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
