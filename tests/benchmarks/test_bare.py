"""What Syncer is compared with does the whole work, and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg

from tests.benchmarks.bare import Bare, PostgreSQLBare, SQLiteBare

_POSTGRESQL = """
CREATE TABLE people (person_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text COLLATE "C", email text,
    attributes jsonb NOT NULL, updated_at timestamptz NOT NULL DEFAULT now()) WITH (fillfactor = 70);
CREATE UNIQUE INDEX people_id ON people (id) WHERE id IS NOT NULL
"""
_SQLITE = """
CREATE TABLE people (person_id INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, email TEXT, attributes TEXT NOT NULL);
CREATE UNIQUE INDEX people_id ON people (id) WHERE id IS NOT NULL
"""
#: What happens in the store, and how the bare people follow.
_STEPS = {
    "INSERT INTO people (id, attributes) VALUES ('a', '{\"x\": 1}'), ('b', '{}'), ('c', '{}')": ("COPY", "INSERT"),
    "SELECT 1": ("", ""),
    "UPDATE people SET attributes = '{\"x\": 2}' WHERE id = 'b'": ("UPDATE, nested loop", "UPDATE"),
    "DELETE FROM people WHERE id = 'a'": ("DELETE, ", "DELETE"),
}


def test_people_of_postgresql_are_as_those_of_the_store(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as store:
        store.execute(_POSTGRESQL)
        bare = PostgreSQLBare(postgres_url)
        with closing(bare):
            for step, (how, _) in _STEPS.items():
                store.execute(step)
                _check(bare, how)
                there = "SELECT person_id, id, attributes FROM {} ORDER BY id"
                assert _rows(store, there.format("bare.people")) == _rows(store, there.format("people"))
        shapes = "SELECT reloptions FROM pg_class WHERE relname = 'people'"
        indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'people' GROUP BY schemaname"
        assert _rows(store, shapes) == [(["fillfactor=70"],)] * 2
        assert _rows(store, indexes) == [(2,)] * 2


def test_people_of_sqlite_are_as_those_of_the_store(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as store:
        store.executescript(_SQLITE)
        bare = SQLiteBare(tmp_path / "store.db", tmp_path)
        for step, (_, how) in _STEPS.items():
            store.execute(step).fetchall()
            _check(bare, how)
            with closing(sqlite3.connect(tmp_path / "bare.db")) as followed:
                query = "SELECT person_id, id, attributes FROM people ORDER BY id"
                assert followed.execute(query).fetchall() == store.execute(query).fetchall()
    bare.close()
    assert not (tmp_path / "bare.db").exists()


def _check(bare: Bare, how: str) -> None:
    assert bare.follow().how.startswith(how)
    # Once is enough.
    assert bare.follow().how == ""


def _rows(connection: psycopg.Connection, query: str) -> list[tuple[object, ...]]:
    return connection.execute(query).fetchall()
