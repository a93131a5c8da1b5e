"""The connections of a run log in PostgreSQL: kept for the next transaction, and replaced once they are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from syncer.model.errors import StateDatabaseError
from syncer.state.database import StateDatabase

_TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
_END_OTHERS = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def read(database: StateDatabase) -> None:
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def write(database: StateDatabase) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS written (moment int)")
        connection.exec_driver_sql("INSERT INTO written VALUES (1)")


def hold(database: StateDatabase) -> None:
    with database.holding("people"):
        assert database.is_held("people")
    assert not database.is_held("people")


def connect(database: StateDatabase) -> None:
    connection = database.own_connection()
    assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    connection.close()


@pytest.fixture
def shared(postgres_url: str) -> Iterator[StateDatabase]:
    database = StateDatabase(postgres_url)
    yield database
    database.close()


@pytest.mark.parametrize("use", [read, write, hold, connect])
def test_whoever_uses_it_after_the_server_ended_what_was_kept_gets_a_new_one(
    shared: StateDatabase, postgres_url: str, use: Callable[[StateDatabase], None]
) -> None:
    for _ in range(2):
        with several(shared):
            pass
        with psycopg.connect(postgres_url, autocommit=True) as server:
            assert len(server.execute(_END_OTHERS).fetchall()) > 1
        use(shared)


@contextmanager
def several(database: StateDatabase) -> Iterator[None]:
    """Let more than one connection be kept."""
    with database.reading(), database.writing():
        yield


def test_a_session_that_ends_within_a_transaction_fails_it_as_a_whole(shared: StateDatabase, postgres_url: str) -> None:
    def lose_the_session_between_two_statements() -> None:
        with shared.writing() as connection:
            connection.exec_driver_sql("INSERT INTO written VALUES (2)")
            with psycopg.connect(postgres_url, autocommit=True) as server:
                server.execute(_END_OTHERS)
            connection.exec_driver_sql("INSERT INTO written VALUES (3)")

    write(shared)
    with pytest.raises(StateDatabaseError):
        lose_the_session_between_two_statements()
    with shared.reading() as connection:
        assert connection.exec_driver_sql("SELECT moment FROM written").scalars().all() == [1]


def test_each_transaction_is_one_for_the_server(shared: StateDatabase, postgres_url: str) -> None:
    """None is spent to find out whether a connection still works."""
    with psycopg.connect(postgres_url, autocommit=True) as server:
        write(shared)
        before = counted(server, shared)
        for _ in range(20):
            read(shared)
            write(shared)
        assert 40 <= counted(server, shared) - before < 60


def counted(server: psycopg.Connection, database: StateDatabase) -> int:
    """The transactions so far; a session that is at rest has told of all of its own."""
    with database.reading() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    server.execute("SELECT pg_stat_clear_snapshot()")
    return int(server.execute(_TRANSACTIONS).fetchall()[0][0])
