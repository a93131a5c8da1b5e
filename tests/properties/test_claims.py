"""Whenever visitors are claimed, before they did something or after, the store is the same, as a model has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.model.protocols import ProfileStore
from syncer.model.types import Identity
from syncer.settings.registry import open_store
from tests.contracts.batches import ACCEPTED, PEOPLE, apply, delete, put
from tests.contracts.test_claims import CLAIMS, TAKEN
from tests.contracts.test_events import PAIRS
from tests.contracts.test_visitors import PAID, Tables, event, sent
from tests.properties.convergence import proven_in

PERSONS, VISITORS = ("ann", "bob", "cleo"), ("v1", "v2", "v3")
#: What every event is: whose it is, or of which visitor.
EVENTS = {
    letter: event(letter, *who)
    if len(who) == 1
    else event(letter, visitor=who[1])
    for letter, who in zip(
        "abcdefgh",
        [("ann",), ("bob",), *(("", one) for one in ("v1", "v1", "v2", "v2", "v3", "v3"))],
        strict=True,
    )
}  # fmt: skip

#: A claim names one visitor, or none.
claims = st.lists(
    st.tuples(st.sampled_from(PERSONS), st.sampled_from([*VISITORS, None])),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one[0],
)
steps = st.one_of(
    st.tuples(st.just("events"), st.lists(st.sampled_from(sorted(EVENTS)), min_size=1, max_size=5, unique=True)),
    st.tuples(st.just("claims"), claims),
    st.tuples(st.just("claims"), claims),
    st.tuples(st.just("merge"), st.permutations(PERSONS).map(lambda pair: tuple(pair[:2]))),
    st.tuples(st.just("delete"), st.sampled_from(PERSONS)),
)


@dataclass
class Model:
    """What a store is to have."""

    people: set[str] = field(default_factory=set)
    visitors: dict[str, str] = field(default_factory=dict)
    events: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    #: Into whom somebody was merged.
    merged: dict[str, str] = field(default_factory=dict)

    def take(self, letters: list[str]) -> None:
        for letter in letters:
            who, visitor = EVENTS[letter]["who"], EVENTS[letter]["anonymous"]
            self.people |= {who} - {None}
            self.events.setdefault(letter, (self.visitors.get(visitor, who), visitor))

    def claim(self, rows: list[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
        verdicts: list[tuple[str, str | None]] = []
        before = {**self.visitors}
        taken: set[str] = set()
        for person, visitor in rows:
            is_taken = before.get(visitor or "", person) != person or visitor in taken
            verdicts.append(TAKEN if visitor and is_taken else ACCEPTED)
            if visitor and not is_taken:
                taken.add(visitor)
                self.visitors[visitor] = person
            if not (visitor and is_taken):
                self.people.add(person)
        self._settle()
        return verdicts

    def merge(self, keep: str, goes: str) -> None:
        if keep not in self.people:
            keep = self.merged.get(keep, "")
        if keep == goes or not {keep, goes} <= self.people:
            return
        self.people.discard(goes)
        self.merged = {one: keep if who == goes else who for one, who in self.merged.items()} | {goes: keep}
        self.visitors = {one: keep if who == goes else who for one, who in self.visitors.items()}
        self.events = {one: (keep if who == goes else who, v) for one, (who, v) in self.events.items()}

    def delete(self, person: str) -> None:
        self.people.discard(person)
        self.merged = {one: who for one, who in self.merged.items() if who != person}
        self.visitors = {one: who for one, who in self.visitors.items() if who != person}
        self.events = {one: (who, v) for one, (who, v) in self.events.items() if who != person}

    def _settle(self) -> None:
        self.events = {one: (who or self.visitors.get(v or ""), v) for one, (who, v) in self.events.items()}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('claims')}/people.db"
        return
    with request.getfixturevalue("postgres").new_database() as made:
        yield made


@pytest.fixture(scope="module")
def store(url: str) -> Iterator[ProfileStore]:
    with closing(open_store("default", url, identity=Identity.ID)) as opened:
        apply(opened, PEOPLE, put("nobody"))
        yield opened


def emptied(url: str) -> Tables:
    tables = Tables(url)
    for table in ("events", "merged_people", "visitors", "people"):
        tables.execute(f"DELETE FROM {table}")
    return tables


def state(tables: Tables) -> tuple[object, ...]:
    people = {one for (one,) in tables.execute("SELECT id FROM people")}
    whose = "SELECT v.anonymous_id, p.id FROM visitors v JOIN people p ON p.person_id = v.person_id"
    return people, dict(tables.execute(whose)), {one: (who, v) for one, who, v in tables.events()}


@proven_in(25)
@given(history=st.lists(steps, min_size=3, max_size=12))
def test_after_any_history_a_store_is_as_if_done_in_order(
    url: str, store: ProfileStore, history: list[tuple[str, Any]]
) -> None:
    tables, model = emptied(url), Model()
    for step, given_ in history:
        if step == "events":
            model.take(given_)
            assert sent(store, PAID, *(EVENTS[letter] for letter in given_)) == [ACCEPTED] * len(given_)
        elif step == "claims":
            expected = model.claim(given_)
            assert apply(store, CLAIMS, *(put(who, anonymous=visitor) for who, visitor in given_)) == expected
        elif step == "merge":
            model.merge(*given_)
            apply(store, PAIRS, ("merge", given_, {}, (), {}))
        else:
            model.delete(given_)
            apply(store, PEOPLE, delete(given_))
    assert state(tables) == (model.people, model.visitors, model.events)


@proven_in(15)
@given(
    owners=st.fixed_dictionaries({visitor: st.sampled_from([*PERSONS, None]) for visitor in VISITORS}),
    order=st.randoms(use_true_random=False),
)
def test_claimed_late_or_early_the_state_is_the_same(
    url: str, store: ProfileStore, owners: dict[str, str | None], order: Random
) -> None:
    """Of each visitor at most one person claims them; batches come in any order, and some of them again."""
    found = []
    claimed = [(who, visitor) for visitor, who in owners.items() if who is not None]
    for _ in range(2):
        tables = emptied(url)
        letters = sorted(EVENTS)
        work: list[tuple[str, Any]] = [("event", letter) for letter in letters] + [("claim", one) for one in claimed]
        work += order.sample(work, len(work) // 2)
        order.shuffle(work)
        for kind, one in work:
            if kind == "event":
                assert sent(store, PAID, EVENTS[one]) == [ACCEPTED]
            else:
                who, visitor = one
                assert apply(store, CLAIMS, put(who, anonymous=visitor)) == [ACCEPTED]
        found.append(state(tables))
    assert found[0] == found[1]
    assert found[0][2] == {
        letter: (one["who"] or owners.get(one["anonymous"] or ""), one["anonymous"]) for letter, one in EVENTS.items()
    }
