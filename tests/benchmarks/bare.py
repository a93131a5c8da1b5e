"""The least that a database itself needs for the same work: what Syncer is compared with."""

from __future__ import annotations

import io
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import psycopg

from tests.benchmarks.measuring import Cost, costs

_SENT_BYTES = 1 << 17

#: The tables whose rows go with a person, and how they refer to people.
_REFERENCES = (
    "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE confrelid = 'people'::regclass AND conrelid::regclass::text NOT LIKE 'bare.%' ORDER BY conname"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the database needed, and how it went about it."""

    cost: Cost
    how: str


class Bare(Protocol):
    """People beside those of a store."""

    def follow(self) -> Change:
        """Bring them up to those of the store by the database alone, one statement for each kind of change."""

    def close(self) -> None:
        """End the connection."""


def copy_out(url: str, query: str, *, times: int = 1) -> Cost:
    """What a bare COPY of the query takes, read by psycopg and thrown away: of several times the mean."""
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        connection.execute("CHECKPOINT")
        with costs() as cost:
            for _ in range(times):
                with cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
                    for _ in copy:
                        pass
    return cost() / times


class PostgreSQLBare:
    """In the schema `bare` of the store's database: tables of the same shape, with the same indexes and references."""

    def __init__(self, store: str) -> None:
        self._connection = psycopg.connect(store, autocommit=True)
        self._is_made = False

    def _make(self) -> None:
        self._connection.execute("CREATE SCHEMA bare")
        ((options,),) = self._connection.execute("SELECT reloptions FROM pg_class WHERE oid = 'people'::regclass")
        storage = f"WITH ({', '.join(options)})" if options else ""
        self._connection.execute(f"CREATE TABLE bare.people (LIKE people INCLUDING ALL) {storage}")
        for table, reference in self._connection.execute(_REFERENCES).fetchall():
            reference = reference.replace("REFERENCES people", "REFERENCES bare.people")
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS bare.{table} (LIKE {table} INCLUDING ALL)")
            self._connection.execute(f"ALTER TABLE bare.{table} ADD {reference}")
        self._is_made = True

    def follow(self) -> Change:
        """See `Bare.follow`: a COPY; an UPDATE, and a DELETE, each from a temporary table that a COPY fills."""
        if not self._is_made:
            self._make()
        with tempfile.TemporaryFile() as new, tempfile.TemporaryFile() as changed, tempfile.TemporaryFile() as gone:
            self._write(
                new,
                "SELECT p.person_id, p.id, p.attributes FROM people AS p "
                "WHERE NOT EXISTS (SELECT FROM bare.people AS b WHERE b.id = p.id) ORDER BY p.ctid",
            )
            self._write(
                changed,
                "SELECT p.id, p.attributes FROM people AS p JOIN bare.people AS b USING (id) "
                "WHERE p.attributes <> b.attributes ORDER BY id",
            )
            self._write(
                gone,
                "SELECT b.id FROM bare.people AS b "
                "WHERE NOT EXISTS (SELECT FROM people AS p WHERE b.id = p.id) ORDER BY id",
            )
            self._connection.execute("CHECKPOINT")
            with costs() as cost, self._connection.transaction():
                how = [*self._add(new), *self._change(changed), *self._delete(gone)]
        return Change(cost=cost(), how="; ".join(how))

    def close(self) -> None:
        """See `Bare.close`."""
        self._connection.close()

    def _write(self, file: IO[bytes], query: str) -> None:
        with self._connection.cursor().copy(f"COPY ({query}) TO STDOUT") as copy:
            for data in copy:
                file.write(data)
        file.seek(0)

    def _read(self, table: str, file: IO[bytes]) -> None:
        with self._connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            while data := file.read(_SENT_BYTES):
                copy.write(data)

    def _add(self, rows: IO[bytes]) -> list[str]:
        if not _has_rows(rows):
            return []
        self._read("bare.people (person_id, id, attributes)", rows)
        return ["COPY"]

    def _change(self, rows: IO[bytes]) -> list[str]:
        if not _has_rows(rows):
            return []
        self._connection.execute('CREATE TEMP TABLE batch (id text COLLATE "C", attributes jsonb) ON COMMIT DROP')
        self._read("batch", rows)
        self._connection.execute("SET LOCAL enable_mergejoin = off; SET LOCAL enable_hashjoin = off")
        return [
            self._planned(
                "UPDATE bare.people AS t SET attributes = b.attributes, updated_at = now() FROM batch AS b "
                "WHERE t.id = b.id"
            )
        ]

    def _delete(self, rows: IO[bytes]) -> list[str]:
        if not _has_rows(rows):
            return []
        self._connection.execute('CREATE TEMP TABLE gone (id text COLLATE "C") ON COMMIT DROP')
        self._read("gone", rows)
        return [self._planned("DELETE FROM bare.people AS t USING gone AS g WHERE t.id = g.id")]

    def _planned(self, statement: str) -> str:
        """Run a statement; returns its kind, and how it joins."""
        plan = "\n".join(line for (line,) in self._connection.execute(f"EXPLAIN {statement}"))
        self._connection.execute(statement)
        kind = statement.partition(" ")[0]
        joins = ("Nested Loop", "Hash Join", "Merge Join", "Hash Semi Join")
        return f"{kind}, {next((join for join in joins if join in plan), 'no join').lower()}"


class SQLiteBare:
    """In a file of its own, made with the statements that made the store; changes come from an attached file."""

    def __init__(self, store: Path, folder: Path) -> None:
        self._store, self._changes, self._made = store, folder / "changes.db", folder / "bare.db"

    def _make(self) -> None:
        with closing(sqlite3.connect(self._store)) as connection:
            tables = connection.execute(
                "SELECT sql FROM sqlite_master WHERE tbl_name = 'people' AND sql IS NOT NULL ORDER BY type DESC"
            ).fetchall()
        with closing(sqlite3.connect(self._made)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            for (sql,) in tables:
                connection.execute(sql)

    def follow(self) -> Change:
        """See `Bare.follow`."""
        if not self._made.exists():
            self._make()
        counts = self._find_changes()
        statements = {
            "INSERT": "INSERT INTO people (person_id, id, attributes) SELECT person_id, id, attributes FROM new",
            "UPDATE": "UPDATE people SET attributes = c.attributes FROM changed AS c WHERE people.id = c.id",
            "DELETE": "DELETE FROM people WHERE id IN (SELECT id FROM gone)",
        }
        needed = [name for name, count in zip(statements, counts, strict=True) if count]
        with costs() as cost, closing(sqlite3.connect(self._made)) as connection, connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("ATTACH ? AS changes", [str(self._changes)])
            connection.execute("BEGIN IMMEDIATE")
            for name in needed:
                connection.execute(statements[name])
            connection.execute("COMMIT")
        return Change(cost=cost(), how="; ".join(needed))

    def close(self) -> None:
        """See `Bare.close`."""
        for path in (self._changes, self._made):
            path.unlink(missing_ok=True)

    def _find_changes(self) -> list[int]:
        self._changes.unlink(missing_ok=True)
        queries = {
            "new": "SELECT person_id, id, attributes FROM store.people WHERE id NOT IN (SELECT id FROM bare.people)",
            "changed": "SELECT p.id, p.attributes FROM store.people AS p JOIN bare.people AS b ON b.id = p.id "
            "WHERE p.attributes <> b.attributes",
            "gone": "SELECT id FROM bare.people WHERE id NOT IN (SELECT id FROM store.people)",
        }
        with closing(sqlite3.connect(self._changes)) as connection, connection:
            connection.execute("ATTACH ? AS store", [str(self._store)])
            connection.execute("ATTACH ? AS bare", [str(self._made)])
            for name, query in queries.items():
                connection.execute(f"CREATE TABLE main.{name} AS {query}")
            return [connection.execute(f"SELECT count(*) FROM main.{name}").fetchone()[0] for name in queries]


def _has_rows(file: IO[bytes]) -> bool:
    begin = file.read(1)
    file.seek(0, io.SEEK_SET)
    return bool(begin)
