"""The profile store in a PostgreSQL database, 14 or newer."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import errors
from psycopg.pq import TransactionStatus

from connectors.postgresql.connection import BoundedConnection, connect_bounded, release, reused, spelled
from connectors.postgresql.copying import as_text_arrays, copy_lines, numbers
from connectors.postgresql.dialect import DIALECT
from connectors.postgresql.errors import reason
from connectors.postgresql.loading import SAMPLED_ROWS, Loader
from connectors.postgresql.waiting import watching
from connectors.sql_store import people
from connectors.sql_store.dialect import UnfitRowsError
from connectors.sql_store.staging import Answers
from connectors.sql_store.store import SENT_AGAIN, SQLStore
from syncer.model.errors import StoreError
from syncer.model.types import Action, Entity, PersonKey, Target, ValueForm, Verdict

_WAIT_SECONDS = 60
#: For one statement, after which the server cancels it; a server that is frozen, or has vanished, gets a little longer.
_STATEMENT_SECONDS, _GRACE_SECONDS = 300, 15
#: For one statement of an upgrade, which may write every row anew.
_UPGRADE_SECONDS = 3600
#: After so many seconds without use, the connection is tried first: a firewall or a pooler may have closed it.
_IDLE_SECONDS = 10.0
_ATTEMPTS = 5

#: Within a transaction, without a statement; who waits has less patience (see `waiting`).
_SILENCE_SECONDS = 30

#: The bytes of a batch that go to libpq at once: also over a slow network, some arrive every few seconds.
_SENT_BYTES = 1 << 15
#: Errors because other programs write the same rows; the next attempt sees what they wrote.
_RACES = (errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation, errors.ForeignKeyViolation)
#: Classes of SQLSTATE: data exceptions, and limits such as that of an index row.
_UNFIT = ("22", "54")

#: With the default cost, which is for disks, PostgreSQL would read all people to join a batch.
_BEGIN = (
    "SET LOCAL lock_timeout = '{}s'; SET LOCAL statement_timeout = '{}s'; SET LOCAL random_page_cost = 1.1; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{_SILENCE_SECONDS}s'; SELECT FROM workspace FOR UPDATE"
)

_READ = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '{}s'"

_BATCH = """
    CREATE TEMP TABLE batch (
        seq bigint, action text, id text COLLATE "C", email text COLLATE "C", phone text COLLATE "C", cio_id bigint,
        attributes jsonb, clears_id smallint NOT NULL DEFAULT 0, clears_email smallint NOT NULL DEFAULT 0,
        clears_phone smallint NOT NULL DEFAULT 0, anonymous text COLLATE "C",
        object_id text COLLATE "C", key text COLLATE "C", token text COLLATE "C", platform text, last_used timestamptz,
        clears_last_used smallint NOT NULL DEFAULT 0, event_id text, name text, occurred_at timestamptz, cleared text[],
        person bigint, person_id bigint, absorbed_id bigint, verdict text, reason text) ON COMMIT DROP"""

#: Numbers for so many people.
_NUMBERS = (
    "SELECT nextval(s.name) AS number FROM (SELECT CAST(pg_get_serial_sequence('people', 'person_id') AS regclass) "
    "AS name OFFSET 0) AS s, generate_series(1, {})"
)

#: What is known of a row that went to a person.
_ANSWER = ("seq", "person")

#: Whether this user may take them.
_MAY_NUMBER = "SELECT has_sequence_privilege(pg_get_serial_sequence('people', 'person_id'), 'USAGE')"

_ELSEWHERE = (
    "These are no tables of a profile store. Give the store a database of its own, or a schema: "
    "{setting}__URL?options=-csearch_path%3Dsyncer"
)
_HINTS = {
    "25006": "Name a primary server in {setting}__URL, not a replica.",
    "42501": "GRANT this user what is missing; it must be able to create tables, and own them to upgrade them.",
    **dict.fromkeys(("42P07", "42P01", "42703", "42804", "42883"), _ELSEWHERE),
    **dict.fromkeys(("25P03", "57P01"), f"It ends sessions of processes that stand still. {SENT_AGAIN}"),
    "3F000": "Create the schema that the search path in {setting}__URL names, or name another one.",
    "57014": f"The server had {_STATEMENT_SECONDS} seconds; look what keeps it busy. {SENT_AGAIN}",
    "53100": "Free space on the server's disk.",
    "55P03": f"Another process has been writing to it for {_WAIT_SECONDS} seconds; look for one that hangs.",
}


class PostgreSQLStore(SQLStore):
    """A store for any number of machines."""

    batch_rows = 25_000
    value_form = ValueForm.EXACT_SORTED
    dialect = DIALECT

    def __init__(self, name: str, url: str, *, started_at: datetime | None = None, **options: Any) -> None:
        """See `SQLStore`; the connection of a run, which has *started_at*, may be an earlier run's."""
        self._is_of_run = started_at is not None
        super().__init__(name, url, **options)

    def close(self) -> None:
        """See `ProfileStore.close`."""
        if self._is_of_run:
            release(self._connection, self._named, self._url)
        else:
            self._connection.close()

    def _open_connection(self, url: str) -> None:
        patience = _STATEMENT_SECONDS + _GRACE_SECONDS
        if self._is_of_run:
            self._connection = reused(self._named, url, patience=patience, autocommit=True)
            self._connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        else:
            self._connection = self._connect(autocommit=True, patience=patience)
        self._used_at = time.monotonic()

    def _connect(self, *, autocommit: bool = False, patience: float = _UPGRADE_SECONDS) -> BoundedConnection:
        connection = connect_bounded(self._named, self._url, patience=patience, autocommit=autocommit)
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        # A plan would be useless after the end of the temporary table that it is for.
        connection.prepare_threshold = None
        return connection

    def _another(self) -> BoundedConnection:
        """A connection for a look at what the other one waits for."""
        return connect_bounded(
            self._named, self._url, patience=_GRACE_SECONDS, autocommit=True, connect_timeout=_GRACE_SECONDS
        )

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
        loader = Loader(self._connection, self.dialect, self._execute, self._copy, self._numbers_of)
        if target.collection is not None and loader.load_collection(target.collection, rows):
            return Answers(exceptions={})
        if target.event and not target.names_visitors and loader.load_events(target, rows, create=create):
            return Answers(exceptions={})
        if not self._only_puts_people(target, rows):
            return super()._write(target, rows, create=create)
        if create and not self._is_any_known(target.person, rows) and (loaded := self._load_people(rows)):
            return loaded
        return self._put_people(target.person, rows, create=create)

    def _only_puts_people(self, target: Target, rows: pa.Table) -> bool:
        """Whether nothing is removed, and no identifier changes that no two people share."""
        if target.entity is not Entity.PERSON or {"person", "anonymous"} & {*rows.column_names}:
            return False
        is_contested = people.contested(target.person, self.identity, rows.column_names)
        return not is_contested and bool(pc.all(pc.equal(rows["action"], str(Action.PUT))).as_py())

    def _is_any_known(self, key: PersonKey, rows: pa.Table) -> bool:
        """Whether some of the first rows' people exist."""
        if key not in self.identity.unique:
            return True
        sample = rows[str(key)][:SAMPLED_ROWS].to_pylist()
        return bool(self._connection.execute(f"SELECT FROM people WHERE {key} = ANY(%s) LIMIT 1", [sample]).fetchall())

    def _load_people(self, rows: pa.Table) -> Answers | None:
        """Load the rows as new people; None, and nothing is stored, if one of them exists."""
        given = rows.select([name for name in rows.column_names if name in (*self.identity.names, "attributes")])
        (number,) = self._numbers_of(_NUMBERS.format(len(rows)), "number")
        try:
            with self._connection.transaction():
                # COPY may give numbers that a statement may not, and then it need not be asked which ones it gave.
                self._copy("people", given.append_column("person_id", number))
        except errors.UniqueViolation:
            return None
        return Answers(exceptions={}, people=pa.table({"seq": rows["seq"], "person": number}))

    def _put_people(self, key: PersonKey, rows: pa.Table, *, create: bool) -> Answers:
        """Change the people that exist in one statement, and add the others, as `people.apply` does in several."""
        merged = self.dialect.merged
        if pc.all(pc.equal(rows["cleared"], "[]")).as_py():
            rows, merged = rows.drop_columns("cleared"), "t.attributes || b.attributes"
        self._stage(rows.drop_columns("action"))
        self._connection.execute(self.dialect.by_index)
        names = people.given(key, self.identity, rows.column_names)
        identifiers = "".join(f"{name} = {people.settled(name, self.identity, 't')}, " for name in names)
        changed = self._numbers_of(
            f"UPDATE people AS t SET {identifiers}attributes = {merged}, updated_at = now() FROM batch AS b "
            f"WHERE {people.NAMED[key].replace('p.', 't.')} RETURNING b.seq, t.person_id AS person",
            *_ANSWER,
        )
        unknown = rows["seq"].filter(pc.invert(pc.is_in(rows["seq"], changed[0])))
        if not len(unknown) or key is PersonKey.CIO_ID or not create:
            verdict = (Verdict.REJECTED, people.NO_CIO_ID) if create else (Verdict.ABSENT, None)
            return Answers(exceptions=dict.fromkeys(unknown.to_pylist(), verdict), people=pa.table(changed, _ANSWER))
        self._connection.execute("SET LOCAL enable_hashjoin = on")
        own = ", ".join((*self.identity.names, "attributes"))
        added = self._numbers_of(
            f"INSERT INTO people ({own}) SELECT {own} FROM batch WHERE seq = ANY(%s) RETURNING {key}, person_id",
            *_ANSWER,
            shown=f"SELECT b.seq, r.person_id AS person FROM r JOIN batch AS b USING ({key})",
            values=[unknown.to_pylist()],
        )
        both = [pa.concat_arrays(pair) for pair in zip(changed, added, strict=True)]
        return Answers(exceptions={}, people=pa.table(both, _ANSWER))

    def _numbers_of(
        self, rows: str, *columns: str, shown: str = "SELECT * FROM r", values: Any = None
    ) -> list[pa.Array]:
        """The *columns* of what the statement *rows* returns, all numbers, each of which comes as one value.

        *shown*: a query of the rows `r` that has these columns.
        """
        arrays = ", ".join(f"CAST(array_agg({name}) AS text)" for name in columns)
        query = f"WITH r AS ({rows}) SELECT {arrays} FROM ({shown}) AS s"
        return [numbers(text) for text in self._connection.execute(query, values).fetchall()[0]]

    @contextmanager
    def _transaction(self, *, commit: bool = True) -> Iterator[None]:
        with self._explained():
            self._revive()
        with self._explained(), self._connection.transaction(force_rollback=not commit):
            with watching(self._connection, self._another):
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

    def duplicates(self, names: Sequence[str], limit: int | None) -> Generator[pa.Table, None, None]:
        """See `FindsDuplicates.duplicates`."""
        from connectors.postgresql import duplicates

        if not self.is_new:
            with self._reading():
                yield from duplicates.found(self._connection, names, limit, self._identifiers)

    def _stage(self, rows: pa.Table) -> None:
        self._connection.execute(_BATCH)
        if "cleared" in rows.column_names:
            place = rows.column_names.index("cleared")
            rows = rows.set_column(place, "cleared", as_text_arrays(rows["cleared"]))
        self._copy("batch", rows)

    def _stage_keys(self, rows: pa.Table) -> None:
        self._stage(rows.drop_columns(["attributes", "cleared"]))

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
            for lines in copy_lines(rows):
                for start in range(0, len(lines), _SENT_BYTES):
                    copy.write(lines[start : start + _SENT_BYTES])

    def _execute(self, sql: str, **values: str | int) -> int:
        return self._connection.execute(spelled(sql), values or None).rowcount

    def _fetch(self, sql: str, **values: str | int) -> list[tuple[Any, ...]]:
        with self._explained():
            self._revive()
            return self._connection.execute(spelled(sql), values or None).fetchall()

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
