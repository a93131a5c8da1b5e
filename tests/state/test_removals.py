from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa

from syncer.model.protocols import IDENTIFIERS
from syncer.state.coordination import SharedCoordination, forget_removals
from syncer.state.database import StateDatabase
from tests.state import processes
from tests.state.processes import announce_removals

STORE = "store-1"
Of = Callable[..., SharedCoordination]


@pytest.fixture
def of(database: StateDatabase) -> Of:
    """One sync's view, by its name and its store's."""
    return lambda sync, store=STORE: SharedCoordination(database=database, sync=sync, store_id=store)


def identifiers(rows: list[tuple[str, str, str]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(IDENTIFIERS.names, row, strict=True)) for row in rows], IDENTIFIERS)


def people(*ids: str) -> pa.Table:
    return identifiers([("person", "id", value) for value in ids])


def values(table: pa.Table) -> list[str]:
    return sorted(table["value"].to_pylist())


def test_where_nothing_was_removed_there_is_nothing_to_see(of: Of) -> None:
    table, newest = of("b").removed_since(0)

    assert table.equals(IDENTIFIERS.empty_table())
    assert newest == 0


def test_a_removal_is_seen_by_the_other_syncs_of_its_store_only(of: Of) -> None:
    table = identifiers([("person", "id", "1"), ("person", "email", "a@b"), ("object", "account", "1")])

    of("a").announce(table)

    seen, newest = of("b").removed_since(0)
    assert seen.schema.equals(IDENTIFIERS)
    assert seen.sort_by([("entity", "descending"), ("kind", "descending")]).equals(table)
    assert newest == 3
    assert of("a").removed_since(0) == (IDENTIFIERS.empty_table(), 3)
    assert of("b", "store-2").removed_since(0) == (IDENTIFIERS.empty_table(), 0)


def test_a_closed_removal_is_seen_once(of: Of) -> None:
    of("a").announce(people("1", "2"))
    of("a").close_removals()

    table, newest = of("b").removed_since(0)

    assert values(table) == ["1", "2"]
    assert of("b").removed_since(newest)[0].num_rows == 0


def test_what_a_dead_run_left_open_is_closed_and_seen_once_more(of: Of) -> None:
    of("a").announce(people("1"))
    of("b").announce(people("2"))
    _, during = of("c").removed_since(0)
    later = datetime.now(UTC) + timedelta(minutes=1)

    of("c").close_abandoned(lambda sync: sync == "a", before=later)

    seen, after = of("c").removed_since(during)
    assert values(seen) == ["1", "2"]
    assert values(of("c").removed_since(after)[0]) == ["2"]
    of("c").close_abandoned(lambda sync: True, before=later - timedelta(minutes=2))
    assert values(of("c").removed_since(after)[0]) == ["2"]


def test_an_open_removal_is_seen_again_and_once_more_when_it_is_closed(of: Of) -> None:
    of("a").announce(people("1"))
    _, during = of("b").removed_since(0)
    again, _ = of("b").removed_since(during)
    of("a").close_removals()
    closed, after = of("b").removed_since(during)

    assert values(again) == values(closed) == ["1"]
    assert after > during
    assert of("b").removed_since(after)[0].num_rows == 0


def test_what_is_removed_again_is_seen_again(of: Of) -> None:
    of("a").announce(people("1", "2"))
    of("a").close_removals()
    _, before = of("b").removed_since(0)

    of("a").announce(people("2"))
    of("a").close_removals()

    assert values(of("b").removed_since(before)[0]) == ["2"]
    assert values(of("b").removed_since(0)[0]) == ["1", "2"]


def test_only_what_that_sync_announced_is_closed(of: Of) -> None:
    of("a").announce(people("1"))
    of("b").announce(people("2"))
    of("a", "store-2").announce(people("3"))
    of("a").close_removals()

    _, newest = of("c").removed_since(0)
    _, other_newest = of("c", "store-2").removed_since(0)
    assert values(of("c").removed_since(newest)[0]) == ["2"]
    assert values(of("c", "store-2").removed_since(other_newest)[0]) == ["3"]


def test_what_two_syncs_removed_is_one_row_for_a_third(of: Of) -> None:
    of("a").announce(people("1"))
    of("b").announce(people("1"))

    assert values(of("c").removed_since(0)[0]) == ["1"]
    assert values(of("a").removed_since(0)[0]) == ["1"]


def test_nothing_and_the_same_twice_can_be_announced(of: Of) -> None:
    of("a").announce(people())
    assert of("b").removed_since(0)[1] == 0

    of("a").announce(people("1", "1", "2"))
    assert values(of("b").removed_since(0)[0]) == ["1", "2"]


def test_what_others_unset_takes_no_look_up_for_each_entry(of: Of) -> None:
    for number in range(20):
        of(f"sync-{number}").attributes_of_others(
            "people", [f"{number}-{i}" for i in range(50)] + ["both"] * (number < 2)
        )
    first = of("sync-0")
    first.announce(identifiers([("unset person", "id", str(i)) for i in range(5_000)]))

    began = time.monotonic()
    seen = [of(f"sync-{number}").removed_since(0)[0].num_rows for number in (1, 2)]

    assert seen == [5_000, 0]
    assert time.monotonic() - began < 5


def test_closing_where_nothing_is_open_numbers_nothing(of: Of) -> None:
    of("a").announce(people("1"))
    of("a").close_removals()
    _, newest = of("b").removed_since(0)

    of("a").close_removals()
    of("never seen").close_removals()

    assert of("b").removed_since(newest) == (IDENTIFIERS.empty_table(), newest)


def test_many_removals_are_numbered_without_a_gap(of: Of) -> None:
    many = people(*[f"u{i}" for i in range(20_000)])

    of("a").announce(many)
    of("a").close_removals()

    table, newest = of("b").removed_since(20_000)
    assert newest == 40_000
    assert set(table["value"].to_pylist()) == set(many["value"].to_pylist())


def test_a_second_writer_waits_so_that_numbers_appear_in_order(postgres_url: str) -> None:
    database = StateDatabase(postgres_url)
    views = {sync: SharedCoordination(database=database, sync=sync, store_id=STORE) for sync in "abc"}
    about_to_commit, may_commit = threading.Event(), threading.Event()

    def hold(connection: sa.Connection) -> None:
        if threading.current_thread() is first:
            about_to_commit.set()
            may_commit.wait(60)

    first = threading.Thread(target=views["a"].announce, args=(people("1"),))
    second = threading.Thread(target=views["b"].announce, args=(people("2"),))
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
        assert views["c"].removed_since(0)[1] == 0
    finally:
        may_commit.set()
        first.join()
        second.join()
        sa.event.remove(sa.Engine, "commit", hold)

    assert values(views["c"].removed_since(1)[0]) == ["1", "2"]
    views["a"].close_removals()
    views["b"].close_removals()
    assert values(views["c"].removed_since(3)[0]) == ["2"]
    database.close()


def test_a_reader_misses_nothing_that_two_processes_write_at_once(url: str, of: Of) -> None:
    writing = [processes.started(announce_removals, url, sync, 60) for sync in ("a", "b")]
    seen: set[str] = set()
    newest = 0
    ended = False

    while not ended:
        ended = all(process.poll() is not None for process in writing)
        table, newest = of("c").removed_since(newest)
        seen.update(table["value"].to_pylist())

    assert [process.communicate()[0].split() for process in writing] == [
        [f"{sync}-{i}" for i in range(60)] for sync in ("a", "b")
    ]
    assert seen == {f"{sync}-{i}" for sync in ("a", "b") for i in range(60)}
    assert of("c").removed_since(newest)[0].num_rows == 0


def test_what_was_announced_outlives_a_killed_process(url: str, of: Of) -> None:
    announced = processes.killed(processes.started(announce_removals, url, "a", 1_000_000), after=10)

    table, newest = of("b").removed_since(0)
    assert announced <= set(table["value"].to_pylist())
    of("a").close_removals()
    assert of("b").removed_since(of("b").removed_since(newest)[1])[0].num_rows == 0


# Forgetting


def later(**ago: float) -> datetime:
    return datetime.now(UTC) + timedelta(**ago)


def test_old_removals_are_forgotten_and_who_did_not_see_them_knows(of: Of, database: StateDatabase) -> None:
    of("a").announce(people("1", "2"))
    of("a").close_removals()
    _, seen = of("b").removed_since(0)
    assert forget_removals(database, later(hours=-1)) == 0
    assert not of("c").has_forgotten(0)

    assert forget_removals(database, later(hours=1)) == 2

    assert of("c").removed_since(0) == (IDENTIFIERS.empty_table(), seen)
    assert of("c").has_forgotten(0)
    assert of("c").has_forgotten(seen - 1)
    assert not of("b").has_forgotten(seen)
    assert not of("c", "store-2").has_forgotten(0)
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM syncer_removals").scalar_one() == 0


def test_numbers_go_on_after_what_was_forgotten(of: Of, database: StateDatabase) -> None:
    of("a").announce(people("1", "2", "3"))
    of("a").close_removals()
    _, seen = of("b").removed_since(0)
    forget_removals(database, later(hours=1))

    of("a").announce(people("4"))

    table, newest = of("b").removed_since(seen)
    assert values(table) == ["4"]
    assert newest > seen
    assert not of("b").has_forgotten(seen)


def test_a_removal_that_was_left_open_is_seen_once_more_before_it_is_forgotten(of: Of, database: StateDatabase) -> None:
    of("a").announce(people("1"))
    _, during = of("b").removed_since(0)

    assert forget_removals(database, later(hours=1)) == 0

    table, closed = of("b").removed_since(during)
    assert values(table) == ["1"]
    assert closed > during
    assert not of("b").has_forgotten(during)
    assert forget_removals(database, later(hours=1)) == 1
    assert of("b").has_forgotten(during)
    assert not of("b").has_forgotten(closed)
