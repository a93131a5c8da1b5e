"""Doubt is kept for each attribute: what a row in doubt did not send, the store may have as it was, as sent, or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from syncer.model.errors import StoreError
from syncer.model.protocols import NumbersPeople
from syncer.model.types import Counts, OnNull, OnRemoved
from tests.sync.house import BY_ID, House
from tests.workbench import Workbench, table

Result = dict[str, list[Any]]
GOLD: Result = {"id": [1], "tier": ["gold"], "x": ["x"]}
SILVER: Result = {"id": [1], "tier": ["silver"], "x": ["x"]}
DROPPED: Result = {"id": [1], "x": ["x"]}
NULL: Result = {"id": [1], "tier": [None], "x": ["x"]}


class Silent:
    """A store that takes one batch, and whose answer is lost."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        self._inner.apply(*args, **kwargs)
        raise StoreError("gone")


@dataclass
class Forgetful(House):
    """Whose store may be silent."""

    is_silent: bool = False

    def wrapped(self, inner: Any) -> Any:
        return Silent(inner) if self.is_silent and isinstance(inner, NumbersPeople) else inner

    def lose_the_answer(self) -> None:
        self.is_silent = True
        with pytest.raises(StoreError):
            self.run()
        self.is_silent = False


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(folder=tmp_path)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(folder=tmp_path, store_url=f"sqlite:///{tmp_path}/people.db")


def test_an_attribute_comes_back_though_its_person_was_deleted_while_it_was_not_sent(house: House) -> None:
    house.sync("people", BY_ID, "id", OnRemoved.DELETE)
    house.sync("extra", BY_ID, "id tier")
    house.sync("keepn", BY_ID, "id tier2", on_null=OnNull.KEEP)
    for name, rows in (("people", ["1", "2"]), ("extra", ["1 gold", "2 gold"]), ("keepn", ["1 gold", "2 gold"])):
        house.put(name, *rows)
    house.run()
    house.columns["extra"] = ["id"]
    house.put("extra", "1", "2")
    house.put("keepn", "1 -", "2 -")
    house.run()
    house.put("people", "2")
    house.run()
    house.put("people", "1", "2")
    house.run()
    house.columns["extra"] = ["id", "tier"]
    house.put("extra", "1 gold", "2 gold")
    house.put("keepn", "1 gold", "2 gold")

    # Of the second person nothing was in doubt.
    assert [house.run(name).counts.accepted for name in ("extra", "keepn")] == [1, 1]
    assert house.attributes("1") == {"tier": "gold", "tier2": "gold"} == house.attributes("2")
    assert [house.run(name).counts.accepted for name in ("extra", "keepn")] == [0, 0]


@pytest.mark.parametrize("on_removed", [OnRemoved.KEEP, OnRemoved.DELETE])
@pytest.mark.parametrize("unsent", [DROPPED, NULL])
def test_a_value_that_went_back_is_sent_where_another_one_may_have_arrived(
    bench: Workbench, unsent: Result, on_removed: OnRemoved
) -> None:
    bench.adjust(on_null=OnNull.KEEP, on_removed=on_removed)
    bench.run(table(GOLD))
    bench.lose_the_answer(table(SILVER))
    bench.run(table(unsent))
    assert bench.store.people["1"]["tier"] == "silver"
    assert bench.run(table(unsent)).counts.accepted == 0

    assert bench.run(table(GOLD)).counts == Counts(queried=1, changed=1, accepted=1)
    assert bench.store.people["1"]["tier"] == "gold"
    assert bench.run(table(GOLD)).counts.accepted == 0


def test_what_may_have_arrived_is_unset_once_null_means_that(bench: Workbench) -> None:
    bench.adjust(on_null=OnNull.KEEP)
    bench.run(table(NULL))
    bench.lose_the_answer(table(SILVER))
    bench.run(table(NULL))
    bench.adjust(on_null=OnNull.CLEAR)

    bench.run(table(NULL))

    assert bench.store.people == {"1": {"x": "x"}}
    assert bench.run(table(NULL)).counts.accepted == 0


def test_what_may_have_arrived_is_unset_once_a_dropped_column_means_that(bench: Workbench) -> None:
    bench.run(table(DROPPED))
    bench.lose_the_answer(table(GOLD))
    bench.run(table(DROPPED))
    assert bench.store.people == {"1": {"tier": "gold", "x": "x"}}
    bench.adjust(on_removed=OnRemoved.CLEAR)

    bench.run(table(DROPPED))

    assert bench.store.people == {"1": {"x": "x"}}
    assert bench.run(table(DROPPED)).counts.accepted == 0


def test_an_attribute_stays_unknown_until_it_is_sent(bench: Workbench) -> None:
    bench.adjust(on_null=OnNull.KEEP)
    bench.run(table(GOLD))
    bench.lose_the_answer(table(SILVER))
    for x in ("y", "z"):
        bench.run(table(NULL | {"x": [x]}))
    bench.store.refuses = lambda key: True
    bench.run(table(GOLD))
    assert bench.store.people["1"]["tier"] == "silver"
    bench.store.refuses = lambda key: False

    bench.run(table(GOLD))

    assert bench.store.people == {"1": {"tier": "gold", "x": "x"}}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_whoever_was_deleted_and_came_back_without_an_answer_can_be_removed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/people.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    house = Forgetful(folder=tmp_path, store_url=url)
    house.sync("people", BY_ID, "id tier", OnRemoved.DELETE)
    house.put("people", "1 gold", "2 gold")
    house.run()
    house.put("people", "2 gold")
    house.lose_the_answer()
    house.put("people", "1 gold", "2 gold")
    house.lose_the_answer()
    assert house.person("1") is not None

    house.put("people", "2 gold")
    house.run()

    assert house.person("1") is None
    assert house.person("2") is not None
    assert house.run().counts.accepted == 0
