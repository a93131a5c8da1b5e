"""Connections to PostgreSQL that runs of one process use in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg
import pyarrow as pa
import pytest

from connectors.postgresql import connection as connections
from connectors.postgresql.store import PostgreSQLStore
from connectors.postgresql.warehouse import PostgreSQLWarehouse
from syncer.model.errors import StoreError, WarehouseError
from syncer.model.types import Identity

_BACKEND = "SELECT pg_backend_pid() AS pid"


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """No connection of another test waits, or is left to one."""
    connections._close_all()
    yield
    connections._close_all()


def warehouse(url: str, sync: str = "people") -> PostgreSQLWarehouse:
    return PostgreSQLWarehouse("default", url, sync=sync)


def read(url: str, sql: str, *, sync: str = "people") -> pa.Table:
    with closing(warehouse(url, sync)) as opened:
        return opened.query(sql, timeout=timedelta(minutes=1)).read_all()


def backend(url: str, **options: str) -> int:
    return int(read(url, _BACKEND, **options)["pid"][0].as_py())


def store(url: str, *, is_of_run: bool = True) -> PostgreSQLStore:
    at = datetime.now(UTC) if is_of_run else None
    return PostgreSQLStore("default", url, identity=Identity.ID, started_at=at)


def test_the_next_run_gets_the_connection_of_the_last(postgres_url: str) -> None:
    assert backend(postgres_url) == backend(postgres_url)
    with closing(store(postgres_url)) as first:
        used = first._connection
    with closing(store(postgres_url)) as second:
        assert second._connection is used
        assert second._connection.autocommit


def test_a_warehouse_and_a_store_at_one_url_have_connections_of_their_own(postgres_url: str) -> None:
    used = backend(postgres_url)
    with closing(store(postgres_url)) as opened:
        assert opened._connection.info.backend_pid != used


def test_a_connection_that_is_tested_is_a_new_one(postgres_url: str) -> None:
    assert backend(postgres_url) != backend(postgres_url, sync="")
    with closing(store(postgres_url)) as first:
        used = first._connection
    with closing(store(postgres_url, is_of_run=False)) as second:
        assert second._connection is not used


def test_a_run_finds_nothing_of_what_the_last_one_set(postgres_url: str) -> None:
    lock = "SELECT pg_advisory_lock(7) IS NULL AS locked, set_config('syncer.left', 'x', false) AS value"
    used = backend(postgres_url)
    read(postgres_url, lock)
    found = read(
        postgres_url,
        "SELECT pg_backend_pid() AS pid, coalesce(current_setting('syncer.left', true), '') AS value, "
        "current_setting('transaction_read_only') AS read_only, "
        "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks",
    ).to_pylist()
    assert found == [{"pid": used, "value": "", "read_only": "on", "locks": 0}]


def test_a_connection_on_which_something_failed_goes_to_nobody(postgres_url: str) -> None:
    used = backend(postgres_url)
    with pytest.raises(WarehouseError):
        read(postgres_url, "SELECT 1 / (2 - generate_series(1, 3)) AS x")
    assert backend(postgres_url) != used
    with closing(store(postgres_url)) as opened:
        failed = opened._connection
        with pytest.raises(StoreError):
            opened._fetch("SELECT nothing")
    assert failed.closed


def test_a_query_that_fails_after_another_one_leaves_no_connection(postgres_url: str) -> None:
    used = backend(postgres_url)
    with closing(warehouse(postgres_url)) as opened:
        opened.query(_BACKEND, timeout=timedelta(minutes=1)).read_all()
        with pytest.raises(WarehouseError):
            opened.query("SELECT 1 / (2 - generate_series(1, 3)) AS x", timeout=timedelta(minutes=1)).read_all()
    assert backend(postgres_url) != used


def test_a_result_that_is_not_read_to_its_end_leaves_no_connection(postgres_url: str) -> None:
    used = backend(postgres_url)
    with closing(warehouse(postgres_url)) as opened:
        opened.query("SELECT * FROM generate_series(1, 3000000)", timeout=timedelta(minutes=1)).read_next_batch()
    assert backend(postgres_url) != used


def test_a_session_that_the_server_ended_is_replaced(postgres_url: str) -> None:
    used = backend(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [used])
    assert backend(postgres_url) != used


def test_few_connections_wait_and_not_for_long(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_WAITING_SECONDS", 0.3)
    opened = [store(postgres_url) for _ in range(connections._MOST_OF_ONE + 2)]
    for one in opened:
        one.close()
        one.close()
    assert sum(not one._connection.closed for one in opened) == connections._MOST_OF_ONE
    until = time.monotonic() + 10
    while any(not one._connection.closed for one in opened) and time.monotonic() < until:
        time.sleep(0.05)
    assert all(one._connection.closed for one in opened)
