"""Turns of calls: one sequence for all who share a run log, by the server's clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from random import Random

import pytest
import sqlalchemy as sa

from syncer.model.call_rates import Reserved
from syncer.model.errors import StateDatabaseError
from syncer.state.database import StateDatabase
from syncer.state.rates import Rates, sharing

APART = 0.002


@pytest.fixture
def database(postgres_url: str) -> Iterator[StateDatabase]:
    made = StateDatabase(postgres_url)
    yield made
    made.close()


@pytest.fixture
def rates(database: StateDatabase) -> Rates:
    return Rates(database)


def reserve(rates: Rates, turns: int = 1, workspace: str = "w", lead: float = 0.05) -> Reserved:
    return rates.reserve(workspace, turns, apart=APART, lead=lead)


def set_next(database: StateDatabase, seconds: float) -> None:
    """Put the next turn so many seconds from now, as if the server's clock had been another one."""
    with database.writing() as connection:
        statement = "UPDATE syncer_rates SET next_at = clock_timestamp() + :seconds * interval '1 second'"
        connection.execute(sa.text(statement), {"seconds": seconds})


def test_turns_of_many_are_one_sequence_and_none_is_in_the_past(postgres_url: str) -> None:
    def taken(number: int) -> list[Reserved]:
        database, random = StateDatabase(postgres_url), Random(number)
        try:
            return [reserve(Rates(database), random.randint(1, 9)) for _ in range(20)]
        finally:
            database.close()

    with ThreadPoolExecutor(6) as pool:
        found = [one for each in pool.map(taken, range(6)) for one in each if one.turns]

    turns = sorted(one.first + place * APART for one in found for place in range(one.turns))
    assert len(turns) > 300
    assert min(later - first for first, later in pairwise(turns)) > APART - 0.000_01
    assert min(one.first - one.clock for one in found) > 0.0


def test_turns_that_nobody_uses_are_lost(database: StateDatabase, rates: Rates) -> None:
    reserve(rates, 5)
    set_next(database, -60)

    later = reserve(rates)

    assert 0.0 < later.first - later.clock < 1.0


def test_the_clock_is_told_between_two_moments(rates: Rates) -> None:
    before, found, after = time.monotonic(), reserve(rates), time.monotonic()

    assert before < found.asked < found.told < after
    assert abs(found.clock - time.time()) < 1.0


def test_every_workspace_has_a_rate_of_its_own(rates: Rates) -> None:
    reserve(rates, 500)

    other = reserve(rates, workspace="v")

    assert other.first - other.clock < 0.5


def test_nothing_is_reserved_far_ahead(rates: Rates) -> None:
    reserve(rates)
    rates.pause("w", 60)
    rates.pause("w", 5)

    found = [reserve(rates, 10) for _ in range(3)]

    assert [one.turns for one in found] == [0, 0, 0]
    assert len({one.first for one in found}) == 1
    assert all(58 < one.first - one.clock < 61 for one in found)
    assert reserve(rates, workspace="v").turns == 1


def test_a_clock_that_was_set_back_stops_nobody(database: StateDatabase, rates: Rates) -> None:
    reserve(rates)
    set_next(database, 86_400)

    found = reserve(rates)

    assert found.turns == 1
    assert found.first - found.clock < 1.0


def test_a_turn_is_no_part_of_a_transaction(database: StateDatabase, rates: Rates, postgres_url: str) -> None:
    first = reserve(rates, 100)
    other = StateDatabase(postgres_url)
    try:
        with suppress(ZeroDivisionError), database.writing() as connection:
            connection.execute(sa.text("DELETE FROM syncer_workers"))
            second = reserve(rates, 100)
            third = reserve(Rates(other))
            raise ZeroDivisionError
    finally:
        other.close()

    assert second.first >= first.first + 100 * APART - 0.000_01
    assert third.first >= second.first + 100 * APART - 0.000_01


def test_a_run_log_that_ended_every_session_is_connected_to_anew(database: StateDatabase, rates: Rates) -> None:
    reserve(rates)
    end = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()")
    with pytest.raises(StateDatabaseError), database.writing() as connection:
        connection.execute(end)

    assert reserve(rates).turns == 1


def test_a_run_log_without_its_table_is_an_error_of_the_run_log(database: StateDatabase, rates: Rates) -> None:
    with database.writing() as connection:
        connection.execute(sa.text("DROP TABLE syncer_rates"))

    with pytest.raises(StateDatabaseError):
        reserve(rates)
    with pytest.raises(StateDatabaseError):
        rates.pause("w", 1)


class Limited:
    """A store that keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[object] = []

    def share_rate(self, turns: object) -> None:
        self.given.append(turns)


def test_a_store_gets_the_turns_of_a_run_log_that_others_can_reach(
    database: StateDatabase, tmp_path_factory: pytest.TempPathFactory
) -> None:
    alone = StateDatabase(f"sqlite:///{tmp_path_factory.mktemp('log')}/runs.db")
    try:
        store = sharing(sharing(Limited(), alone), database)
    finally:
        alone.close()

    assert store.given == [Rates(database)]
    assert sharing("no store", database) == "no store"
