"""Rows of snapshots kept in a schema of PostgreSQL, and compared there with a query's result."""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from math import inf
from typing import TypeVar

import psycopg
import pyarrow as pa
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict

from connectors.postgresql.connection import release, reused
from connectors.postgresql.copying import copy_lines
from connectors.postgresql.warehouse import PostgreSQLWarehouse
from connectors.support.connection import ConnectionName
from connectors.support.warehouse import quote_identifier
from syncer.model.errors import RunInProgressError, WarehouseError
from syncer.model.kept_rows import DATA, KEPT_PRINT, PRINT, TOTAL, KeptState, Question
from syncer.model.types import Column

#: To be raised whenever a row's fingerprint is made otherwise.
_RULES = 1

#: Types whose values are hashed as they are: equal ones are read as one text.
_HASHED = ("smallint", "integer", "bigint", "boolean", "date", "uuid", "bytea", "oid", "timestamp")
_TEXTS = ("text", "character varying")

_MINE = """
SELECT n.nspname FROM pg_catalog.pg_namespace n
WHERE n.nspowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY 1
"""
_META = "id text PRIMARY KEY, sync text, version text, rules text, format integer, changed_at timestamptz"
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('syncer kept rows'))"
_HINT = "Let KEEPER_URL be a login that owns one schema, for Syncer alone; see `syncer docs warehouses`."
_READING = timedelta(hours=1)
#: That a statement waits for a lock: a reader that stands still has one.
LOCK_SECONDS = 60

_Result = TypeVar("_Result")


class PostgreSQLKeptRows:
    """See `KeepsRows`. The schema is the only one that the keeper owns."""

    def __init__(self, name: str, url: str, keeper_url: str, *, tables: str, keys: int) -> None:
        """Connect as the keeper.

        Shapes:
            url: of the login that reads.
            tables: the name of the snapshot's tables, without kept_ or in_doubt_ before it.
            keys: how many columns the key has.
        Raises:
            WarehouseError: the server cannot be reached, or refuses; or the keeper owns no schema, or several.
        """
        self._named, self._url, self._reader_url = ConnectionName("warehouse", name), keeper_url, url
        self._tables, self._keys = tables, [f"k{number}" for number in range(1, keys + 1)]
        try:
            self._connection = reused(self._named, keeper_url, patience=inf, autocommit=True)
        except WarehouseError as exc:
            raise WarehouseError(exc.message, hint=exc.hint.replace("__URL", "__KEEPER_URL")) from None
        schemas = self._asked(lambda: [row[0] for row in self._connection.execute(_MINE)])
        if len(schemas) != 1:
            self.close()
            found = f"owns several: {', '.join(schemas)}" if schemas else "owns none"
            raise WarehouseError(f"{self._named.label}: KEEPER_URL should own one schema, and {found}", hint=_HINT)
        self._schema = schemas[0]

    @property
    def dialect(self) -> str:
        """See `KeepsRows`."""
        return "postgres"

    @property
    def name(self) -> str:
        """See `KeepsRows`."""
        return self._tables

    def state(self) -> KeptState | None:
        """See `KeepsRows`."""
        query = sql.SQL(
            "SELECT version, rules, format, EXISTS (SELECT FROM {doubts}) FROM {meta} WHERE id = %s"
        ).format(**self._names)
        try:
            found = self._asked(lambda: self._connection.execute(query, [self._tables]).fetchone())
        except _MissingError:
            return None
        if found is None:
            return None
        return KeptState(version=found[0], rules=found[1], format=found[2], has_doubts=found[3])

    def rules(self, columns: Sequence[Column]) -> str:
        """See `KeepsRows`."""
        version = self._connection.info.server_version // 10_000
        text = repr((_RULES, version, [(column.name, column.type) for column in columns]))
        return hashlib.sha256(text.encode()).hexdigest()

    def all_rows(self) -> pa.RecordBatchReader:
        """See `KeepsRows`."""
        columns = ", ".join([*self._keys, "fingerprint", "data"])
        reader = PostgreSQLWarehouse(self._named.name, self._url)
        return _closing(reader, reader.query(f"SELECT {columns} FROM {self._place('kept')}", timeout=_READING))

    def put_in_doubt(self, keys: pa.Table) -> None:
        """See `KeepsRows`."""
        with self._writing() as cursor:
            cursor.execute(sql.SQL("TRUNCATE {doubts}").format(**self._names))
            self._copy(cursor, self._names["doubts"], keys.select(self._keys))
            cursor.execute(sql.SQL("ANALYZE {doubts}").format(**self._names))

    def knows_any(self, keys: pa.Table) -> bool:
        """See `KeepsRows`."""
        same = sql.SQL(" AND ").join(sql.SQL("h.{0} = g.{0}").format(sql.Identifier(k)) for k in self._keys)
        query = sql.SQL("SELECT EXISTS (SELECT FROM given g JOIN {kept} h ON {same})").format(same=same, **self._names)
        with self._writing() as cursor:
            self._make_given(cursor, keys)
            found = cursor.execute(query).fetchone()
        return bool(found and found[0])

    def replace(
        self, known: Collection[str], state: KeptState, *, gone: pa.Table | None, rows: Iterable[pa.Table], sync: str
    ) -> None:
        """See `KeepsRows`."""
        is_new = False
        with self._writing() as cursor:
            if "" in known:
                is_new = self._made(cursor, sync)
            move = sql.SQL(
                "UPDATE {meta} SET version = %s, rules = %s, format = %s, sync = %s, changed_at = clock_timestamp() "
                "WHERE id = %s AND version = ANY(%s)"
            ).format(**self._names)
            given = [state.version, state.rules, state.format, sync, self._tables, [*known]]
            if cursor.execute(move, given).rowcount != 1:
                raise RunInProgressError(
                    f"another run of `{sync}` has changed the rows that warehouse `{self._named.name}` keeps",
                    hint="The next run sends again what is in doubt.",
                )
            if gone is None:
                cursor.execute(sql.SQL("TRUNCATE {kept}, {doubts}").format(**self._names))
            else:
                self._make_given(cursor, gone)
                same = sql.SQL(" AND ").join(sql.SQL("h.{0} = g.{0}").format(sql.Identifier(k)) for k in self._keys)
                cursor.execute(
                    sql.SQL("DELETE FROM {kept} h USING given g WHERE {same}").format(same=same, **self._names)
                )
            for table in rows:
                self._copy(cursor, self._names["kept"], table.select([*self._keys, "fingerprint", "data"]))
            if is_new:
                key = sql.SQL(", ").join(map(sql.Identifier, self._keys))
                cursor.execute(sql.SQL("ALTER TABLE {kept} ADD PRIMARY KEY ({key})").format(key=key, **self._names))
            if gone is None:
                cursor.execute(sql.SQL("ANALYZE {kept}").format(**self._names))

    def forget(self) -> None:
        """See `KeepsRows`."""
        with self._writing() as cursor:
            cursor.execute(sql.SQL("DROP TABLE IF EXISTS {kept}, {doubts}").format(**self._names))
            if cursor.execute("SELECT to_regclass(%s)", [self._place("", "meta")]).fetchone() != (None,):
                cursor.execute(sql.SQL("DELETE FROM {meta} WHERE id = %s").format(**self._names), [self._tables])

    def comparing(self, question: Question) -> str:
        """See `KeepsRows`."""
        k = self._keys
        others = [f"u{number}" for number in range(1, len(question.unique) + 1)]
        listed, more = ", ".join(k), "".join(f", q.{u}" for u in others)
        on = " AND ".join(f"q.{key} = h.{key}" for key in k)
        sharing = "".join(
            f"\nUNION SELECT {listed} FROM result WHERE {u} IN (SELECT {u} FROM differing WHERE {u} <> '')"
            for u in others
        )
        width = len(question.columns)
        user = ", ".join(f"q.c{i} AS {quote_identifier(c.name)}" for i, c in enumerate(question.columns))
        shown = "".join(f", h.{key}" for key in k)
        wanted = f"({listed}) IN (SELECT {listed} FROM wanted)"
        return (
            f"WITH result AS MATERIALIZED (\n{self._result(question)}\n),\n"
            f"differing AS MATERIALIZED (SELECT {', '.join(f'coalesce(q.{key}, h.{key}) AS {key}' for key in k)}{more} "
            f"FROM (SELECT {', '.join(['p', *k, *others])} FROM result) q "
            f"{'FULL' if question.is_whole else 'LEFT'} JOIN {self._place('kept')} h ON {on} "
            "WHERE q.p IS DISTINCT FROM h.fingerprint),\n"
            f"wanted AS MATERIALIZED (SELECT {listed} FROM differing "
            f"UNION SELECT {listed} FROM {self._place('in_doubt')}{sharing})\n"
            f"SELECT {user}, t.total AS {TOTAL}, q.p AS {PRINT}{shown}, h.fingerprint AS {KEPT_PRINT}, "
            f"h.data AS {DATA}\n"
            f"FROM (SELECT count(*) AS total FROM result) t LEFT JOIN ((SELECT "
            f"{', '.join([*(f'c{i}' for i in range(width)), 'p', *k])} FROM result WHERE {wanted}) q "
            f"FULL JOIN (SELECT * FROM {self._place('kept')} WHERE {wanted}) h ON {on}) ON TRUE"
        )

    def reading(self, question: Question) -> str:
        """See `KeepsRows`."""
        user = ", ".join(f"q.c{i} AS {quote_identifier(c.name)}" for i, c in enumerate(question.columns))
        return f"SELECT {user}, q.p AS {PRINT} FROM (\n{self._result(question, with_keys=False)}\n) q"

    def close(self) -> None:
        """See `KeepsRows`."""
        release(self._connection, self._named, self._url)

    def _result(self, question: Question, *, with_keys: bool = True) -> str:
        """SQL for the rows of the result: c0, …, their fingerprint p, their key k1, …, other identifiers u1, …"""
        names = ", ".join(f"c{i}" for i in range(len(question.columns)))
        hashed = ", ".join(_hashed(f"c{i}", column.type) for i, column in enumerate(question.columns))
        # A record of one value, or of none, needs the word.
        parts = [names, f"hash_record_extended(ROW({hashed}), 0) AS p"]
        if with_keys:
            for number, at in enumerate(question.keys):
                parts.append(f"{_key(f'c{at}', fold=number in question.folded)} AS k{number + 1}")
            for number, at in enumerate(question.unique):
                parts.append(f"{_key(f'c{at}', fold=True)} AS u{number + 1}")
        # A line of its own for the bracket: the query may end in a comment.
        return f"SELECT {', '.join(parts)} FROM (\n{question.sql}\n) AS r ({names})"

    @property
    def _names(self) -> dict[str, sql.Composable]:
        place = {"kept": f"kept_{self._tables}", "doubts": f"in_doubt_{self._tables}", "meta": "meta"}
        return {name: sql.Identifier(self._schema, table) for name, table in place.items()}

    def _place(self, kind: str, table: str = "") -> str:
        return f"{quote_identifier(self._schema)}.{quote_identifier(table or f'{kind}_{self._tables}')}"

    def _made(self, cursor: psycopg.Cursor, sync: str) -> bool:
        """Make the tables where they are missing; returns whether they were."""
        cursor.execute(_LOCK)
        cursor.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {meta} (" + _META + ")").format(**self._names))
        found = cursor.execute("SELECT to_regclass(%s)", [self._place("kept")]).fetchone()
        is_new = found == (None,)
        keys = sql.SQL(", ").join(sql.SQL('{} text COLLATE "C"').format(sql.Identifier(k)) for k in self._keys)
        if is_new:
            cursor.execute(
                sql.SQL(
                    "CREATE TABLE {kept} ({keys}, fingerprint bigint, data text NOT NULL); "
                    "DROP TABLE IF EXISTS {doubts}; CREATE TABLE {doubts} ({keys})"
                ).format(keys=keys, **self._names)
            )
            reader = sql.Identifier(self._reader())
            cursor.execute(
                sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(self._schema), reader)
                + sql.SQL("; GRANT SELECT ON {kept}, {doubts} TO ").format(**self._names)
                + reader
            )
        new = sql.SQL("INSERT INTO {meta} (id, version) VALUES (%s, '') ON CONFLICT DO NOTHING").format(**self._names)
        cursor.execute(new, [self._tables])
        return is_new

    def _reader(self) -> str:
        """The login that reads."""
        with psycopg.connect(self._reader_url, connect_timeout=15) as connection:
            found = connection.execute("SELECT current_user").fetchone()
        return found[0] if found else str(conninfo_to_dict(self._reader_url).get("user") or getpass.getuser())

    def _make_given(self, cursor: psycopg.Cursor, keys: pa.Table) -> None:
        columns = sql.SQL(", ").join(sql.SQL('{} text COLLATE "C"').format(sql.Identifier(k)) for k in self._keys)
        cursor.execute(sql.SQL("CREATE TEMP TABLE given ({}) ON COMMIT DROP").format(columns))
        self._copy(cursor, sql.Identifier("given"), keys.select(self._keys))
        cursor.execute("ANALYZE given")

    def _copy(self, cursor: psycopg.Cursor, table: sql.Composable, rows: pa.Table) -> None:
        if not len(rows):
            return
        with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(table)) as copy:
            for lines in copy_lines(rows):
                copy.write(lines)

    @contextmanager
    def _writing(self) -> Iterator[psycopg.Cursor]:
        with self._explained(), self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
            yield cursor

    def _asked(self, ask: Callable[[], _Result]) -> _Result:
        with self._explained():
            return ask()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (errors.UndefinedTable, errors.InvalidSchemaName):
            raise _MissingError(f"{self._named.label}: the tables of KEEPER_URL are missing", hint=_HINT) from None
        except psycopg.Error as exc:
            # The text of other errors may hold values.
            is_of_rights = isinstance(exc, (errors.InsufficientPrivilege, errors.OperationalError))
            said = exc.diag.message_primary if is_of_rights and exc.diag.message_primary else type(exc).__name__
            raise WarehouseError(f"{self._named.label}: KEEPER_URL: {said}", hint=_HINT) from None


class _MissingError(WarehouseError):
    """A table is not there."""


def _closing(warehouse: PostgreSQLWarehouse, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        finally:
            warehouse.close()

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _hashed(column: str, type_: str) -> str:
    """SQL for what stands for a value: the same for two values only where both are read as one text."""
    name = type_.partition("(")[0].strip()
    if type_.endswith("[]"):
        return f"{column}::text"
    if name in _HASHED or type_.startswith("timestamp"):
        return column
    # Under other collations, texts that differ may be equal.
    return f'{column} COLLATE "C"' if name in _TEXTS else f"{column}::text"


def _key(column: str, *, fold: bool) -> str:
    """SQL for a key's text, as the snapshot spells most of them; one that it spells otherwise is returned each time."""
    text = f"btrim({column}::text)"
    return f"coalesce({f'lower({text})' if fold else text}, '') COLLATE \"C\""
