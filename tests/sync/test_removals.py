from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa

from syncer.model.protocols import IDENTIFIERS, text_table
from syncer.state.database import StateDatabase
from syncer.state.removals import Removals

STORE = "store-1"

ANNOUNCING = """
import sys
from syncer.model.protocols import IDENTIFIERS, text_table
from syncer.state.removals import Removals
from syncer.state.database import StateDatabase
_, url, sync, entries = sys.argv
removals = Removals(StateDatabase(url))
for i in range(int(entries)):
    removals.announce("store-1", sync, text_table(IDENTIFIERS.names, [("person", "id", f"{sync}-{i}")]))
    print(f"{sync}-{i}", flush=True)
    if i % 7 == 0:
        removals.close_open("store-1", sync)
removals.close_open("store-1", sync)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new state database can be made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(url: str) -> Iterator[StateDatabase]:
    database = StateDatabase(url)
    yield database
    database.close()


@pytest.fixture
def removals(database: StateDatabase) -> Removals:
    return Removals(database)


def people(*ids: str) -> pa.Table:
    return text_table(IDENTIFIERS.names, [("person", "id", value) for value in ids])


def values(table: pa.Table) -> list[str]:
    return sorted(table["value"].to_pylist())


def announcing_process(url: str, sync: str, entries: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ANNOUNCING, url, sync, str(entries)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_where_nothing_was_removed_there_is_nothing_to_see(removals: Removals) -> None:
    table, newest = removals.since(STORE, 0, except_sync="b")

    assert table.equals(IDENTIFIERS.empty_table())
    assert newest == 0


def test_a_removal_is_seen_by_the_other_syncs_of_its_store_only(removals: Removals) -> None:
    table = text_table(
        IDENTIFIERS.names, [("person", "id", "1"), ("person", "email", "a@b"), ("object", "account", "1")]
    )

    removals.announce(STORE, "a", table)

    seen, newest = removals.since(STORE, 0, except_sync="b")
    assert seen.schema.equals(IDENTIFIERS)
    assert seen.sort_by([("entity", "descending"), ("kind", "descending")]).equals(table)
    assert newest == 3
    assert removals.since(STORE, 0, except_sync="a") == (IDENTIFIERS.empty_table(), 3)
    assert removals.since("store-2", 0, except_sync="b") == (IDENTIFIERS.empty_table(), 0)


def test_a_closed_removal_is_seen_once(removals: Removals) -> None:
    removals.announce(STORE, "a", people("1", "2"))
    removals.close_open(STORE, "a")

    table, newest = removals.since(STORE, 0, except_sync="b")

    assert values(table) == ["1", "2"]
    assert removals.since(STORE, newest, except_sync="b")[0].num_rows == 0


def test_an_open_removal_is_seen_again_and_once_more_when_it_is_closed(removals: Removals) -> None:
    removals.announce(STORE, "a", people("1"))
    _, during = removals.since(STORE, 0, except_sync="b")
    again, _ = removals.since(STORE, during, except_sync="b")
    removals.close_open(STORE, "a")
    closed, after = removals.since(STORE, during, except_sync="b")

    assert values(again) == values(closed) == ["1"]
    assert after > during
    assert removals.since(STORE, after, except_sync="b")[0].num_rows == 0


def test_what_is_removed_again_is_seen_again(removals: Removals) -> None:
    removals.announce(STORE, "a", people("1", "2"))
    removals.close_open(STORE, "a")
    _, before = removals.since(STORE, 0, except_sync="b")

    removals.announce(STORE, "a", people("2"))
    removals.close_open(STORE, "a")

    assert values(removals.since(STORE, before, except_sync="b")[0]) == ["2"]
    assert values(removals.since(STORE, 0, except_sync="b")[0]) == ["1", "2"]


def test_only_what_that_sync_announced_is_closed(removals: Removals) -> None:
    removals.announce(STORE, "a", people("1"))
    removals.announce(STORE, "b", people("2"))
    removals.announce("store-2", "a", people("3"))
    removals.close_open(STORE, "a")

    _, newest = removals.since(STORE, 0, except_sync="c")
    _, other_newest = removals.since("store-2", 0, except_sync="c")
    assert values(removals.since(STORE, newest, except_sync="c")[0]) == ["2"]
    assert values(removals.since("store-2", other_newest, except_sync="c")[0]) == ["3"]


def test_what_two_syncs_removed_is_one_row_for_a_third(removals: Removals) -> None:
    removals.announce(STORE, "a", people("1"))
    removals.announce(STORE, "b", people("1"))

    assert values(removals.since(STORE, 0, except_sync="c")[0]) == ["1"]
    assert values(removals.since(STORE, 0, except_sync="a")[0]) == ["1"]


def test_nothing_and_the_same_twice_can_be_announced(removals: Removals) -> None:
    removals.announce(STORE, "a", people())
    assert removals.since(STORE, 0, except_sync="b")[1] == 0

    removals.announce(STORE, "a", people("1", "1", "2"))
    assert values(removals.since(STORE, 0, except_sync="b")[0]) == ["1", "2"]


def test_closing_where_nothing_is_open_numbers_nothing(removals: Removals) -> None:
    removals.announce(STORE, "a", people("1"))
    removals.close_open(STORE, "a")
    _, newest = removals.since(STORE, 0, except_sync="b")

    removals.close_open(STORE, "a")
    removals.close_open(STORE, "never seen")

    assert removals.since(STORE, newest, except_sync="b") == (IDENTIFIERS.empty_table(), newest)


def test_many_removals_are_numbered_without_a_gap(removals: Removals) -> None:
    many = people(*[f"u{i}" for i in range(20_000)])

    removals.announce(STORE, "a", many)
    removals.close_open(STORE, "a")

    table, newest = removals.since(STORE, 20_000, except_sync="b")
    assert newest == 40_000
    assert set(table["value"].to_pylist()) == set(many["value"].to_pylist())


def test_a_second_writer_waits_so_that_numbers_appear_in_order(postgres_url: str) -> None:
    database = StateDatabase(postgres_url)
    removals = Removals(database)
    about_to_commit, may_commit = threading.Event(), threading.Event()

    def hold(connection: sa.Connection) -> None:
        if threading.current_thread() is first:
            about_to_commit.set()
            may_commit.wait(60)

    first = threading.Thread(target=removals.announce, args=(STORE, "a", people("1")))
    second = threading.Thread(target=removals.announce, args=(STORE, "b", people("2")))
    sa.event.listen(sa.Engine, "commit", hold)
    try:
        first.start()
        assert about_to_commit.wait(60)
        second.start()
        with psycopg.connect(postgres_url, autocommit=True) as server:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'syncer_removals'::regclass"
            while second.is_alive() and server.execute(waiting).fetchall() == [(0,)]:
                time.sleep(0.01)
        assert second.is_alive()
        assert removals.since(STORE, 0, except_sync="c")[1] == 0
    finally:
        may_commit.set()
        first.join()
        second.join()
        sa.event.remove(sa.Engine, "commit", hold)

    assert values(removals.since(STORE, 1, except_sync="c")[0]) == ["1", "2"]
    removals.close_open(STORE, "a")
    removals.close_open(STORE, "b")
    assert values(removals.since(STORE, 3, except_sync="c")[0]) == ["2"]
    database.close()


def test_a_reader_misses_nothing_that_two_processes_write_at_once(url: str, removals: Removals) -> None:
    processes = [announcing_process(url, sync, 60) for sync in ("a", "b")]
    seen: set[str] = set()
    newest = 0
    ended = False

    while not ended:
        ended = all(process.poll() is not None for process in processes)
        table, newest = removals.since(STORE, newest, except_sync="c")
        seen.update(table["value"].to_pylist())

    assert [process.communicate()[0].split() for process in processes] == [
        [f"{sync}-{i}" for i in range(60)] for sync in ("a", "b")
    ]
    assert seen == {f"{sync}-{i}" for sync in ("a", "b") for i in range(60)}
    assert removals.since(STORE, newest, except_sync="c")[0].num_rows == 0


def test_what_was_announced_outlives_a_killed_process(url: str, removals: Removals) -> None:
    with announcing_process(url, "a", 1_000_000) as process:
        assert process.stdout is not None
        announced = {process.stdout.readline().strip() for _ in range(10)}
        process.kill()
        announced |= {line.strip() for line in process.stdout if line.endswith("\n")}

    table, newest = removals.since(STORE, 0, except_sync="b")
    assert announced <= set(table["value"].to_pylist())
    removals.close_open(STORE, "a")
    assert removals.since(STORE, removals.since(STORE, newest, except_sync="b")[1], except_sync="b")[0].num_rows == 0
