"""After any history of results, faults and deaths, one clean run makes a store equal to the queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests.properties.convergence import (
    AT,
    IDS,
    NAMES,
    ROWS,
    Convergence,
    Life,
    Rows,
    WithoutOutbox,
    WithoutReach,
    ended,
    proven_in,
)
from tests.servers.fake_store import FakeStore

pytestmark = [pytest.mark.timeout(900), pytest.mark.early]


@dataclass
class FakeOnTrial(FakeStore):
    """The store in memory, which is open for ever."""

    makes_ends: bool = False

    @contextmanager
    def opened(self, started_at: datetime, life: Life) -> Iterator[FakeStore]:
        yield self

    def mark(self) -> int:
        return len(self.taken)

    def written_since(self, mark: int) -> bool:
        return len(self.taken) > mark

    def removed_since(self, mark: int) -> int:
        return sum(action != "put" for action, _ in self.taken[mark:])


class WithAFakeStore(Convergence):
    """Every history there is, in little time."""

    store: FakeOnTrial

    def new_store(self) -> FakeOnTrial:
        return FakeOnTrial()

    @rule(behind=st.integers(0, 3))
    def answer_late(self, behind: int) -> None:
        self.store.behind = behind

    @rule(name=NAMES, batches=AT, fault=st.sampled_from(["before", "after", "reply"]), rows=ROWS)
    def run_and_lose_the_store(self, name: str, batches: int, fault: str, rows: Rows = ()) -> None:
        self.put_all(name, rows)
        self.store.strikes_at, self.store.fault = batches, fault
        self._run(name)
        self.store.strikes_at = None

    @rule(name=NAMES, refused=IDS, rows=ROWS)
    def run_and_refuse(self, name: str, refused: str, rows: Rows) -> None:
        self.put_all(name, rows)
        self.store.refuses = lambda key: key[0] == refused
        self._run(name)
        self.store.refuses = lambda key: False

    @invariant()
    def at_rest_nothing_is_held_open(self) -> None:
        assert self.store.strikes_at is None


TestConvergence = WithAFakeStore.TestCase
TestConvergence.settings = proven_in(10)


def a_lost_reply_and_a_value_that_goes_back(machine: WithAFakeStore) -> None:
    machine.put("people", "1", "1", "a")
    machine.run_all_cleanly("people")
    machine.put("people", "1", "1", "b")
    machine.run_and_lose_the_store("people", 0, "after")
    machine.put("people", "1", "1", "a")
    machine.run_all_cleanly("people")


def _a_removal_by_one_sync_of_what_another_feeds(machine: WithAFakeStore) -> None:
    machine.put("people", "1", "1", "a")
    machine.put("values", "1", "1", "b")
    machine.run_all_cleanly("people")
    machine.leave("people", "1", "1")
    machine.run_all_cleanly("people")


@pytest.mark.parametrize(
    ("history", "mutant"),
    [
        (a_lost_reply_and_a_value_that_goes_back, WithoutOutbox),
        (_a_removal_by_one_sync_of_what_another_feeds, WithoutReach),
    ],
)
def test_the_property_holds_for_syncer_and_fails_for_a_mutant(
    history: Callable[[WithAFakeStore], None], mutant: type[Convergence]
) -> None:
    with ended(WithAFakeStore()) as machine:
        history(machine)
    with ended(type("Mutant", (mutant, WithAFakeStore), {})()) as machine, pytest.raises(AssertionError):
        history(machine)
