"""The profile store in a PostgreSQL database, 14 or newer."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import errors
from psycopg.pq import TransactionStatus

from connectors.postgresql.connection import BoundedConnection, connect_bounded
from connectors.postgresql.errors import reason
from connectors.sql_store import people
from connectors.sql_store.dialect import SQLDialect, UnfitRowsError
from connectors.sql_store.staging import Answers
from connectors.sql_store.store import SENT_AGAIN, SQLStore
from syncer.model.errors import StoreError
from syncer.model.types import Action, Target

#: Any number, the same for every version of Syncer: its holder creates or upgrades the tables.
_UPGRADE_LOCK = 7305712
_WAIT_SECONDS = 60
#: For one statement, after which the server cancels it; a server that is frozen, or has vanished, gets a little longer.
_STATEMENT_SECONDS = 300
_GRACE_SECONDS = 15
#: For one statement of an upgrade, which may write every row anew.
_UPGRADE_SECONDS = 3600
#: After so many seconds without use, the connection is tried first: a firewall or a pooler may have closed it.
_IDLE_SECONDS = 10.0
_ATTEMPTS = 5
#: How many of a batch's people to look up before all count as new.
_SAMPLED_ROWS = 100

#: The bytes of a batch that go to libpq at once.
_SENT_BYTES = 1 << 17
#: What COPY's text format escapes; the backslash first.
_ESCAPED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}

#: Errors because other programs write the same rows; the next attempt sees what they wrote.
_RACES = (errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation, errors.ForeignKeyViolation)
#: Classes of SQLSTATE: data exceptions, and limits such as that of an index row.
_UNFIT = ("22", "54")

#: With the default cost, which is for disks, PostgreSQL would read all people to join a batch.
_BEGIN = (
    "SET LOCAL lock_timeout = '{}s'; SET LOCAL statement_timeout = '{}s'; SET LOCAL random_page_cost = 1.1; "
    "SELECT FROM workspace FOR UPDATE"
)

_READ = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '{}s'"

_BATCH = """
    CREATE TEMP TABLE batch (
        seq bigint, action text, id text COLLATE "C", email text COLLATE "C", cio_id bigint,
        clears_id smallint NOT NULL DEFAULT 0, clears_email smallint NOT NULL DEFAULT 0,
        object_id text COLLATE "C", key text COLLATE "C", attributes jsonb, cleared jsonb,
        person bigint, person_id bigint, absorbed_id bigint, verdict text, reason text
    ) ON COMMIT DROP"""

#: Numbers for so many people.
_NUMBERS = (
    "SELECT nextval(s.name) AS number FROM (SELECT CAST(pg_get_serial_sequence('people', 'person_id') AS regclass) "
    "AS name OFFSET 0) AS s, generate_series(1, {})"
)

#: Whether this user may take them.
_MAY_NUMBER = "SELECT has_sequence_privilege(pg_get_serial_sequence('people', 'person_id'), 'USAGE')"

_MERGED = """(
    CASE WHEN b.cleared = '[]' THEN t.attributes
    ELSE t.attributes - ARRAY(SELECT jsonb_array_elements_text(b.cleared)) END || b.attributes)"""

_ELSEWHERE = (
    "These are no tables of a profile store. Give the store a database of its own, or a schema: "
    "{setting}__URL?options=-csearch_path%3Dsyncer"
)
_HINTS = {
    "25006": "Name a primary server in {setting}__URL, not a replica.",
    "42501": "GRANT this user what is missing; it must be able to create tables, and own them to upgrade them.",
    "42P07": _ELSEWHERE,
    "42P01": _ELSEWHERE,
    "42703": _ELSEWHERE,
    "42804": _ELSEWHERE,
    "42883": _ELSEWHERE,
    "3F000": "Create the schema that the search path in {setting}__URL names, or name another one.",
    "57014": f"The server had {_STATEMENT_SECONDS} seconds; look what keeps it busy. {SENT_AGAIN}",
    "53100": "Free space on the server's disk.",
    "55P03": f"Another process has been writing to it for {_WAIT_SECONDS} seconds; look for one that hangs.",
}


class PostgreSQLStore(SQLStore):
    """A store for any number of machines."""

    batch_rows = 25_000
    dialect = SQLDialect(
        engine="postgresql+psycopg://",
        lock=f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})",
        version="SELECT 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1)",
        now="now()",
        merged=_MERGED,
        nothing_cleared="'[]'::jsonb",
        as_array="json_agg",
        find_workspace="SELECT WHERE to_regclass('workspace') IS NOT NULL",
        as_json="SELECT CAST(json_agg(json_build_array({columns})) AS text) FROM ({rows}) AS page",
        each_attribute="jsonb_each_text(p.attributes)",
    )

    def close(self) -> None:
        """See `ProfileStore.close`."""
        self._connection.close()

    def _open_connection(self, url: str) -> None:
        self._connection = self._connect(autocommit=True, patience=_STATEMENT_SECONDS + _GRACE_SECONDS)
        self._used_at = time.monotonic()

    def _connect(self, *, autocommit: bool = False, patience: float = _UPGRADE_SECONDS) -> BoundedConnection:
        connection = connect_bounded(self._named, self._url, patience=patience, autocommit=autocommit)
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        # A plan would be useless after the end of the temporary table that it is for.
        connection.prepare_threshold = None
        return connection

    def _revive(self) -> None:
        """Open the connection again, once, if it was closed while it was idle; never within a transaction."""
        idle = self._connection.pgconn.transaction_status == TransactionStatus.IDLE
        if idle and time.monotonic() - self._used_at > _IDLE_SECONDS and not self._is_alive():
            self._connection.close()
            known, was_new = self.store_id, self._format == 0
            self._open_connection(self._url)
            self._open()
            if known != self.store_id and not was_new:
                raise StoreError(f"{self._label}: another store is at its URL now", hint="Run the sync again.")
        self._used_at = time.monotonic()

    def _is_alive(self) -> bool:
        usual, self._connection.patience = self._connection.patience, _GRACE_SECONDS
        try:
            self._connection.execute("SELECT")
        except psycopg.Error:
            return False
        finally:
            self._connection.patience = usual
        return True

    def _take(self, target: Target, rows: pa.Table, *, create: bool) -> Answers:
        attempt = 1
        while True:
            try:
                return super()._take(target, rows, create=create)
            except _RaceError:
                if attempt == _ATTEMPTS:
                    raise
                attempt += 1

    def _write(self, target: Target, rows: pa.Table, *, create: bool) -> Answers:
        if create and self._may_be_new_people(target, rows) and (loaded := self._load_people(rows)):
            return loaded
        return super()._write(target, rows, create=create)

    def _may_be_new_people(self, target: Target, rows: pa.Table) -> bool:
        key = target.person_key
        if not target.entity.traits.has_other_identifiers or key is None or key not in people.UNIQUE[self.identity]:
            return False
        only_puts = pc.all(pc.equal(rows["action"], str(Action.PUT))).as_py()
        if not only_puts or people.contested(key, self.identity, rows.column_names):
            return False
        sample = rows[str(key)][:_SAMPLED_ROWS].to_pylist()
        known = self._connection.execute(f"SELECT FROM people WHERE {key} = ANY(%s) LIMIT 1", [sample])
        return not known.fetchall()

    def _load_people(self, rows: pa.Table) -> Answers | None:
        """Load the rows as new people; None, and nothing is stored, if one of them exists."""
        people = rows.select([n for n in rows.column_names if n in ("id", "email", "attributes")])
        numbers = pa.array(self._columns(_NUMBERS.format(len(rows)), ["number"])["number"], pa.int64())
        try:
            with self._connection.transaction():
                # COPY may give numbers that a statement may not, and then it need not be asked which ones it gave.
                self._copy("people", people.append_column("person_id", numbers))
        except errors.UniqueViolation:
            return None
        return Answers(exceptions={}, people=pa.table({"seq": rows["seq"], "person": numbers}))

    @contextmanager
    def _transaction(self, *, commit: bool = True) -> Iterator[None]:
        with self._explained():
            self._revive()
        with self._explained(), self._connection.transaction(force_rollback=not commit):
            self._connection.execute(_BEGIN.format(_WAIT_SECONDS, _STATEMENT_SECONDS))
            yield
            self._used_at = time.monotonic()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._explained():
            self._revive()
        with self._explained(), self._connection.transaction():
            self._connection.execute(_READ.format(_STATEMENT_SECONDS))
            yield
            self._used_at = time.monotonic()

    def _stage(self, rows: pa.Table) -> None:
        self._connection.execute(_BATCH)
        self._copy("batch", rows)

    def _try_to_write(self) -> None:
        super()._try_to_write()
        ((may_number,),) = self._connection.execute(_MAY_NUMBER).fetchall()
        if not may_number:
            raise StoreError(
                f"{self._label}: permission denied for the sequence of people.person_id",
                hint=self._named.hint(_HINTS["42501"]),
            )

    def _copy(self, table: str, rows: pa.Table) -> None:
        columns = ", ".join(rows.column_names)
        with self._connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
            for lines in _copy_lines(rows):
                for start in range(0, len(lines), _SENT_BYTES):
                    copy.write(lines[start : start + _SENT_BYTES])

    def _execute(self, sql: str, **values: str | int) -> int:
        return self._connection.execute(_named(sql), values or None).rowcount

    def _fetch(self, sql: str, **values: str | int) -> list[tuple[Any, ...]]:
        with self._explained():
            self._revive()
            return self._connection.execute(_named(sql), values or None).fetchall()

    def _fetch_within(self, sql: str, **values: str | int) -> list[tuple[Any, ...]]:
        with self._connection.transaction():
            return self._fetch(sql, **values)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the driver's errors into ours; they are not chained, since their texts hold values."""
        try:
            yield
        except psycopg.Error as exc:
            said = f"{self._label}: {reason(exc)}"
            if (exc.sqlstate or "").startswith(_UNFIT):
                error: StoreError = UnfitRowsError(said, condition=reason(exc))
            elif isinstance(exc, _RACES):
                error = _RaceError(said, hint="Look for another program that writes to the store's tables.")
            else:
                error = StoreError(said, hint=self._named.hint(_HINTS.get(exc.sqlstate or "", SENT_AGAIN)))
        else:
            return
        raise error


class _RaceError(StoreError):
    """Another program wrote the same rows at the same time; nothing of the batch was stored."""


def _copy_lines(rows: pa.Table) -> Iterator[memoryview]:
    """Rows in COPY's text format, which the server parses in less time than CSV; nothing for no rows."""
    for batch in rows.to_batches():
        if batch.num_rows:
            fields = [_copy_field(column) for column in batch.columns]
            lines = fields[0]
            for field in fields[1:]:
                lines = pc.binary_join_element_wise(lines, field, "\t")
            # Joined with nothing, each line ends in the separator; then Arrow's buffer is the text.
            yield _content(pc.binary_join_element_wise(lines, "", "\n"))


def _copy_field(column: pa.Array) -> pa.Array:
    """A column as COPY's text format writes it; nothing of it is NULL."""
    text = column if pa.types.is_string(column.type) else column.cast(pa.string())
    content = bytes(_content(text))
    for special, escaped in _ESCAPED.items():
        if special.encode() in content:
            text = pc.replace_substring(text, special, escaped)
    return text.fill_null("\\N")


def _content(text: pa.StringArray) -> memoryview:
    """The texts of a column, one after the other."""
    _, offsets, content = text.buffers()
    if content is None:
        return memoryview(b"")
    places = memoryview(offsets).cast("i")
    return memoryview(content)[places[text.offset] : places[text.offset + len(text)]]


def _named(sql: str) -> str:
    """psycopg's spelling of `:name`."""
    return re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", sql)
