from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from syncer.model.errors import StateDatabaseError
from syncer.state import schema
from syncer.state.coordination import SharedCoordination, _lock, forget_removals
from syncer.state.database import StateDatabase
from tests.removals import Name, announce, is_incomplete, look, people
from tests.state import processes
from tests.state.processes import announce_removals

STORE = "store-1"
Of = Callable[..., SharedCoordination]


@pytest.fixture
def of(database: StateDatabase) -> Of:
    """One sync's view, by its name and its store's."""
    return lambda sync, store=STORE: SharedCoordination(database=database, sync=sync, store_id=store)


def values(found: tuple[list[Name], int]) -> list[str]:
    return [value for _, _, value in found[0]]


def test_where_nothing_was_removed_there_is_nothing_to_see(of: Of) -> None:
    assert look(of("b"), 0) == ([], 0)


def test_a_removal_is_seen_by_the_other_syncs_of_its_store_only(of: Of) -> None:
    names = [("object", "account", "1"), ("person", "email", "a@b"), ("person", "id", "1")]

    announce(of("a"), names)

    assert look(of("b"), 0) == (names, 1)
    assert look(of("a"), 0) == ([], 1)
    assert look(of("b", "store-2"), 0) == ([], 0)


def test_a_closed_removal_is_seen_once(of: Of) -> None:
    announce(of("a"), people("1", "2"))
    of("a").close_removals()

    found, newest = look(of("b"), 0)

    assert found == people("1", "2")
    assert look(of("b"), newest)[0] == []


def test_what_a_dead_run_left_open_is_closed_and_seen_once_more(of: Of) -> None:
    announce(of("a"), people("1"))
    announce(of("b"), people("2"))
    _, during = look(of("c"), 0)
    later = datetime.now(UTC) + timedelta(minutes=1)

    of("c").close_abandoned(lambda sync: sync == "a", before=later)

    seen, after = look(of("c"), during)
    assert seen == people("1", "2")
    assert values(look(of("c"), after)) == ["2"]
    of("c").close_abandoned(lambda sync: True, before=later - timedelta(minutes=2))
    assert values(look(of("c"), after)) == ["2"]


def test_an_open_removal_is_seen_again_and_once_more_when_it_is_closed(of: Of) -> None:
    announce(of("a"), people("1"))
    _, during = look(of("b"), 0)
    again, _ = look(of("b"), during)
    of("a").close_removals()
    closed, after = look(of("b"), during)

    assert again == closed == people("1")
    assert after > during
    assert look(of("b"), after)[0] == []


def test_what_is_removed_again_is_seen_again(of: Of) -> None:
    announce(of("a"), people("1", "2"))
    of("a").close_removals()
    _, before = look(of("b"), 0)

    announce(of("a"), people("2"))
    of("a").close_removals()

    assert values(look(of("b"), before)) == ["2"]
    assert values(look(of("b"), 0)) == ["1", "2"]


def test_only_what_that_sync_announced_is_closed(of: Of) -> None:
    announce(of("a"), people("1"))
    announce(of("b"), people("2"))
    announce(of("a", "store-2"), people("3"))
    of("a").close_removals()

    _, newest = look(of("c"), 0)
    _, other_newest = look(of("c", "store-2"), 0)
    assert values(look(of("c"), newest)) == ["2"]
    assert values(look(of("c", "store-2"), other_newest)) == ["3"]


def test_what_two_syncs_removed_is_one_row_for_a_third(of: Of) -> None:
    announce(of("a"), people("1"))
    announce(of("b"), people("1"))

    assert values(look(of("c"), 0)) == ["1"]
    assert values(look(of("a"), 0)) == ["1"]


def test_the_same_can_be_announced_twice(of: Of) -> None:
    announce(of("a"), people("1", "1", "2"))
    assert values(look(of("b"), 0)) == ["1", "2"]


def test_what_others_unset_counts_for_those_who_write_the_attribute(of: Of) -> None:
    for number in range(20):
        of(f"sync-{number}").attributes_of_others(
            "people", [f"{number}-{i}" for i in range(50)] + ["both"] * (number < 2)
        )
    first = of("sync-0")
    announce(first, [("unset person", "id", "1"), ("moved", "id", "1")])

    seen = [look(of(f"sync-{number}"), 0)[0] for number in (1, 2)]

    assert seen == [[("moved", "id", "1"), ("unset person", "id", "1")], [("moved", "id", "1")]]


def test_closing_where_nothing_is_open_numbers_nothing(of: Of) -> None:
    announce(of("a"), people("1"))
    of("a").close_removals()
    _, newest = look(of("b"), 0)

    of("a").close_removals()
    of("never seen").close_removals()

    assert look(of("b"), newest) == ([], newest)


def test_many_removals_are_one_set_of_several_parts_without_their_identifiers(of: Of, database: StateDatabase) -> None:
    many = people(*[f"secret{i:06}" for i in range(100_000)])

    announce(of("a"), many)
    of("a").close_removals()

    found, newest = look(of("b"), 1)
    assert newest == 2
    assert set(found) == set(many)
    with of("b").removed_since(1) as removed:
        (one,) = removed.sets
        file = one.path.read_bytes()
        assert b"secret" not in file
        assert one.key.encode() not in file
        assert len(file) < 2_000_000
    assert one.path.exists() is not database.is_shared
    with database.reading() as connection:
        parts = connection.execute(sa.select(sa.func.count()).select_from(schema.removal_parts)).scalar_one()
    assert parts == (2 if database.is_shared else 0)


def test_a_store_has_one_key_until_its_last_removal_is_forgotten(of: Of, database: StateDatabase) -> None:
    def keys() -> set[str]:
        with of("c").removed_since(0) as removed:
            return {one.key for one in removed.sets}

    announce(of("a"), people("1"))
    announce(of("b"), people("2"))
    announce(of("a", "store-2"), people("1"))
    (first,) = keys()
    assert len(first) >= 22
    for sync in "ab":
        of(sync).close_removals()
    forget_removals(database, later(hours=1))
    announce(of("a"), people("1"))

    assert keys() != {first}


def test_whoever_finds_a_set_without_its_file_knows_that_something_is_missing(of: Of, database: StateDatabase) -> None:
    announce(of("a"), people("1"))
    if database.removals_folder:
        for path in database.removals_folder.iterdir():
            path.unlink()
    else:
        with database.writing() as connection:
            connection.execute(schema.removal_parts.delete())

    assert look(of("b"), 0) == ([], 1)
    assert is_incomplete(of("b"), 0)


def test_a_set_that_cannot_be_written_leaves_nothing(of: Of, database: StateDatabase) -> None:
    def write(path: Path, key: str) -> int:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(StateDatabaseError, match=r"cannot be recorded: No space left on device"):
        of("a").announce(write)

    assert look(of("b"), 0) == ([], 0)
    assert not database.removals_folder or not [*database.removals_folder.iterdir()]


def waits_for(server: psycopg.Connection, locktype: str) -> bool:
    """Whether somebody waits for a lock of that kind."""
    query = "SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database WHERE NOT granted AND locktype = %s"
    return bool(server.execute(f"{query} AND datname = current_database()", [locktype]).fetchall())


def test_a_second_writer_waits_so_that_numbers_appear_in_order(postgres_url: str) -> None:
    database = StateDatabase(postgres_url)
    views = {sync: SharedCoordination(database=database, sync=sync, store_id=STORE) for sync in "abc"}
    elsewhere = SharedCoordination(database=database, sync="d", store_id="store-2")
    about_to_commit, may_commit = threading.Event(), threading.Event()

    def hold(connection: sa.Connection) -> None:
        if threading.current_thread() is first:
            about_to_commit.set()
            may_commit.wait(60)

    first = threading.Thread(target=announce, args=(views["a"], people("1")))
    second = threading.Thread(target=announce, args=(views["b"], people("2")))
    sa.event.listen(sa.Engine, "commit", hold)
    try:
        first.start()
        assert about_to_commit.wait(60)
        second.start()
        with psycopg.connect(postgres_url, autocommit=True) as server:
            while second.is_alive() and not waits_for(server, "advisory"):
                time.sleep(0.01)
            assert second.is_alive()
            # Another store waits for nobody.
            announce(elsewhere, people("4"))
            elsewhere.close_removals()
            assert values(look(SharedCoordination(database=database, sync="e", store_id="store-2"), 0)) == ["4"]
            assert waits_for(server, "advisory")
        assert look(views["c"], 0)[1] == 0
    finally:
        may_commit.set()
        first.join()
        second.join()
        sa.event.remove(sa.Engine, "commit", hold)

    assert values(look(views["c"], 0)) == ["1", "2"]
    views["a"].close_removals()
    views["b"].close_removals()
    assert values(look(views["c"], 3)) == ["2"]
    database.close()


def test_who_locks_the_table_for_all_stores_as_earlier_versions_do_lets_nobody_number(postgres_url: str) -> None:
    database = StateDatabase(postgres_url)
    view = SharedCoordination(database=database, sync="a", store_id=STORE)
    with psycopg.connect(postgres_url, autocommit=True) as server, psycopg.connect(postgres_url) as older:
        older.execute("LOCK TABLE syncer_removal_sets IN SHARE ROW EXCLUSIVE MODE")
        newer = threading.Thread(target=announce, args=(view, people("1")))
        newer.start()
        while newer.is_alive() and not waits_for(server, "relation"):
            time.sleep(0.01)
        assert newer.is_alive()
        older.rollback()
        newer.join()
        # And the other way round.
        with database.writing() as connection:
            _lock(connection, STORE)
            older.execute("SET lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                older.execute("LOCK TABLE syncer_removal_sets IN SHARE ROW EXCLUSIVE MODE")
    database.close()


@pytest.mark.parametrize("rounds", [5])
def test_two_that_forget_the_removals_of_many_stores_do_not_wait_for_each_other_for_ever(
    postgres_url: str, rounds: int
) -> None:
    databases = [StateDatabase(postgres_url) for _ in range(2)]
    failed = list[BaseException]()

    def forget(database: StateDatabase, barrier: threading.Barrier) -> None:
        barrier.wait()
        try:
            forget_removals(database, later(hours=1))
        except BaseException as exc:
            failed.append(exc)

    for _ in range(rounds):
        for number in range(20):
            view = SharedCoordination(database=databases[0], sync="a", store_id=f"store-{number}")
            announce(view, people("1"))
            view.close_removals()
        barrier = threading.Barrier(2)
        threads = [threading.Thread(target=forget, args=(database, barrier)) for database in databases]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for database in databases:
        database.close()
    assert failed == []


def test_a_reader_misses_nothing_that_two_processes_write_at_once(url: str, of: Of) -> None:
    writing = [processes.started(announce_removals, url, sync, 15) for sync in ("a", "b")]
    names = people(*[f"{sync}-{i}" for sync in "ab" for i in range(15)])
    seen: set[Name] = set()
    newest = 0
    ended = False

    while not ended:
        ended = all(process.poll() is not None for process in writing)
        found, newest = look(of("c"), newest, names)
        seen.update(found)

    assert [process.communicate()[0].split() for process in writing] == [
        [f"{sync}-{i}" for i in range(15)] for sync in ("a", "b")
    ]
    assert seen == set(names)
    assert look(of("c"), newest)[0] == []


def test_what_was_announced_outlives_a_killed_process(url: str, of: Of) -> None:
    announced = processes.killed(processes.started(announce_removals, url, "a", 1_000_000), after=10)

    found, newest = look(of("b"), 0, people(*announced))
    assert announced <= {value for _, _, value in found}
    of("a").close_removals()
    assert look(of("b"), look(of("b"), newest)[1])[0] == []


# Forgetting


def later(**ago: float) -> datetime:
    return datetime.now(UTC) + timedelta(**ago)


def test_old_removals_are_forgotten_and_who_did_not_see_them_knows(of: Of, database: StateDatabase) -> None:
    announce(of("a"), people("1", "2"))
    of("a").close_removals()
    _, seen = look(of("b"), 0)
    assert forget_removals(database, later(hours=-1)) == 0
    assert not is_incomplete(of("c"), 0)

    assert forget_removals(database, later(hours=1)) == 2

    assert look(of("c"), 0) == ([], seen)
    assert is_incomplete(of("c"), 0)
    assert is_incomplete(of("c"), seen - 1)
    assert not is_incomplete(of("b"), seen)
    assert not is_incomplete(of("c", "store-2"), 0)
    with database.reading() as connection:
        for table in ("syncer_removal_sets", "syncer_removal_parts"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() == 0


def test_the_files_of_what_was_forgotten_go_and_those_of_runs_that_died(of: Of, database: StateDatabase) -> None:
    announce(of("a"), people("1"))
    announce(of("b"), people("2"))
    of("a").close_removals()
    if (folder := database.removals_folder) is None:
        return
    (folder / "of_a_run_that_died.parquet").write_bytes(b"half of it")
    (folder / "of_a_run_that_writes.parquet").write_bytes(b"half of it")
    for path in folder.iterdir():
        if "writes" not in path.name:
            os.utime(path, (0, 0))

    forget_removals(database, later(hours=1))

    with of("c").removed_since(0) as removed:
        kept = [one.path.name for one in removed.sets]
    assert len(kept) == 1
    assert sorted(path.name for path in folder.iterdir()) == sorted([*kept, "of_a_run_that_writes.parquet"])


def test_numbers_go_on_after_what_was_forgotten(of: Of, database: StateDatabase) -> None:
    announce(of("a"), people("1", "2", "3"))
    of("a").close_removals()
    _, seen = look(of("b"), 0)
    forget_removals(database, later(hours=1))

    announce(of("a"), people("4"))

    found, newest = look(of("b"), seen)
    assert found == people("4")
    assert newest > seen
    assert not is_incomplete(of("b"), seen)


def test_a_removal_that_was_left_open_is_seen_once_more_before_it_is_forgotten(of: Of, database: StateDatabase) -> None:
    announce(of("a"), people("1"))
    _, during = look(of("b"), 0)

    assert forget_removals(database, later(hours=1)) == 0

    found, closed = look(of("b"), during)
    assert found == people("1")
    assert closed > during
    assert not is_incomplete(of("b"), during)
    assert forget_removals(database, later(hours=1)) == 1
    assert is_incomplete(of("b"), during)
    assert not is_incomplete(of("b"), closed)
