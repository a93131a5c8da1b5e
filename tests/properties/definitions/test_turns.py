"""Whose turn it is, compared with the rules as one would tell them, for every two syncs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from syncer.definitions.folder import in_dependency_order
from syncer.definitions.order import Precedence, Turns
from syncer.model.attribute_rules import AttributeRule
from syncer.model.entities import ListAction
from syncer.model.types import Entity, SyncDefinition
from tests.definitions.test_folder import sync

NAMES = [f"s{number}" for number in range(10)]
MOMENTS = [datetime(2026, 11, 30, hour, tzinfo=UTC) for hour in range(3)]


@dataclass(frozen=True)
class House:
    """Syncs, their runs, and the ticks that have none yet."""

    definitions: Sequence[SyncDefinition]
    runs: Mapping[str, datetime | None]
    due: Mapping[str, datetime]

    def awaited(self, name: str) -> bool:
        """Whether any other sync has to go before a run, by looking at each."""
        moment = self.runs[name]
        for other, of in self.runs.items():
            if other != name and (
                self._depends(name, other) or (moment is not None and of == moment and self._before(other, name))
            ):
                return True
        return moment is not None and any(at <= moment and self._before(other, name) for other, at in self.due.items())

    def _depends(self, name: str, on: str) -> bool:
        ordered = {one.name: one for one in in_dependency_order(self.definitions)}
        return name in ordered and on in ordered and on in ordered[name].depends_on

    def _before(self, first: str, second: str) -> bool:
        ordered = in_dependency_order(self.definitions)
        ranks = {one.name: rank for rank, one in enumerate(ordered)}
        if first not in ranks or second not in ranks or ranks[first] >= ranks[second]:
            return False
        one, other = ordered[ranks[first]], ordered[ranks[second]]
        if first in other.depends_on:
            return True
        return one.store == other.store and (one.target.order < other.target.order or first in other.yields_to)


def definitions() -> st.SearchStrategy[list[SyncDefinition]]:
    """Also such that depend on each other, or each count more of some attribute."""
    rules = st.lists(st.lists(st.sampled_from(NAMES), unique=True, min_size=2, max_size=6), max_size=3)
    one = st.tuples(
        # Most of one kind, or none but the rules of kinds would count.
        st.sampled_from([Entity.PERSON] * 20 + [*Entity]),
        st.sampled_from([None] * 10 + [*ListAction]),
        st.sampled_from(["default", "crm"]),
        st.sampled_from([[]] * 5 + [[name] for name in NAMES]),
    )
    return st.tuples(rules, st.lists(one, min_size=len(NAMES) // 2, max_size=len(NAMES))).map(
        lambda drawn: _made(*drawn)
    )


def _made(
    sources: list[list[str]], drawn: list[tuple[Entity, ListAction | None, str, list[str]]]
) -> list[SyncDefinition]:
    rules = {f"a{number}": AttributeRule(sources=tuple(names)) for number, names in enumerate(sources)}
    made = []
    for number, (entity, action, store, depends_on) in enumerate(drawn):
        one = replace(sync(f"s{number}", entity, *depends_on), store=store)
        if entity is Entity.PERSON:
            one = replace(one, rules=rules, target=replace(one.target, action=action))
        made.append(one)
    return made


def houses() -> st.SearchStrategy[House]:
    # Of some, the definition is gone.
    names = [*NAMES, "gone"]
    runs = st.fixed_dictionaries({}, optional=dict.fromkeys(names, st.sampled_from([None, *MOMENTS * 2])))
    due = st.fixed_dictionaries({}, optional=dict.fromkeys(names, st.sampled_from(MOMENTS)))
    return st.builds(House, definitions(), runs, due)


@given(houses())
def test_a_run_waits_for_what_the_rules_say_and_for_nothing_else(house: House) -> None:
    turns = Turns(Precedence(house.definitions), list(house.runs.items()), house.due)

    for name, moment in house.runs.items():
        assert turns.has_come(name, moment) is not house.awaited(name)


@given(definitions(), st.sampled_from(MOMENTS))
def test_what_is_due_at_one_tick_never_waits_for_each_other(syncs: list[SyncDefinition], moment: datetime) -> None:
    precedence, left, done = Precedence(syncs), [one.name for one in syncs], 0
    while left:
        turns = Turns(precedence, [(name, moment) for name in left], {})
        free = next(name for name in left if turns.has_come(name, moment))
        left.remove(free)
        done += 1
    assert done == len(syncs)


@given(houses(), st.timedeltas(timedelta(), timedelta(days=1)))
def test_a_tick_that_is_yet_to_come_holds_nobody(house: House, later: timedelta) -> None:
    runs, precedence = list(house.runs.items()), Precedence(house.definitions)
    future = dict.fromkeys(house.due, MOMENTS[-1] + timedelta(seconds=1) + later)

    expected = [Turns(precedence, runs, {}).has_come(*run) for run in runs]
    assert [Turns(precedence, runs, future).has_come(*run) for run in runs] == expected
