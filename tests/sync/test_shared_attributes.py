"""Syncs that write the same attributes: where one has NULL, the value of another stays, and runs come to rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from syncer.model.types import OnNull, OnRemoved
from tests.sync.house import BY_EMAIL, BY_ID, House

Attributes = dict[str, Any]

CASES: list[tuple[str, str, Attributes]] = [
    ("- -", "- -", {}),
    ("1 -", "1 -", {"x": "1"}),
    ("1 -", "- 2", {"x": "1", "y": "2"}),
    ("1 2", "- -", {"x": "1", "y": "2"}),
    ("- -", "1 2", {"x": "1", "y": "2"}),
]


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    url = f"sqlite:///{tmp_path}/people.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    return House(folder=tmp_path, store_url=url)


def two_syncs(house: House, a: str, b: str) -> None:
    for name, row in (("a", a), ("b", b)):
        house.sync(name, BY_ID, "id x y", OnRemoved.CLEAR)
        house.put(name, f"1 {row}", "2 7 8")


def settle(house: House) -> None:
    """Run every sync until one looked at what the other did."""
    house.run()
    house.run()
    assert [house.run(name).counts.accepted for name in house.syncs] == [0] * len(house.syncs)


@pytest.mark.parametrize(("a", "b", "stored"), CASES)
def test_null_beside_a_value_of_another_sync_comes_to_rest(house: House, a: str, b: str, stored: Attributes) -> None:
    two_syncs(house, a, b)
    settle(house)
    assert house.attributes("1") == stored

    # Every row is in doubt in both, and the store has nothing of them.
    (house.folder / "runs.db").unlink()
    settle(house)
    assert house.attributes("1") == stored
    assert house.attributes("2") == {"x": "7", "y": "8"}


@pytest.mark.parametrize(("a", "b", "stored"), CASES)
def test_a_full_run_leaves_the_values_of_others(house: House, a: str, b: str, stored: Attributes) -> None:
    two_syncs(house, a, b)
    settle(house)

    assert house.run("b", full=True).counts.accepted == 2
    settle(house)

    assert house.attributes("1") == stored


def test_a_row_that_changes_too_unsets_what_is_null_in_it(house: House) -> None:
    two_syncs(house, "1 2", "- 3")
    settle(house)

    house.put("a", "1 - 4", "2 7 8")
    house.put("b", "1 - -", "2 7 8")
    house.run("a", "b", "a")

    assert house.attributes("1") == {"y": "4"}
    settle(house)


def test_what_was_unset_while_a_sync_was_disabled_comes_back_with_it(house: House) -> None:
    two_syncs(house, "1 2", "1 2")
    settle(house)
    house.edit("a", enabled=False)
    house.put("b", "1 - 2", "2 7 8")
    house.run("b")
    assert house.attributes("1") == {"y": "2"}
    house.edit("a", enabled=True)

    settle(house)

    assert house.attributes("1") == {"x": "1", "y": "2"}


def test_a_row_that_could_not_be_sent_unsets_what_is_null_in_it_later(house: House) -> None:
    two_syncs(house, "1 2", "- 3")
    settle(house)
    house.put("b", "1 - -", "2 7 8")
    house.run("b")
    house.at_query = fail

    with pytest.raises(ConnectionError):
        house.run("a")
    settle(house)

    assert house.attributes("1") == {"x": "1", "y": "2"}


def fail() -> None:
    raise ConnectionError


def test_a_null_that_stays_is_no_change_for_a_sync_by_another_identifier(house: House) -> None:
    house.sync("people", BY_ID, "id email")
    house.sync("a", BY_ID, "id x")
    house.sync("b", BY_EMAIL, "email x")
    house.put("people", "1 ann@x.com")
    house.put("a", "1 -")
    house.put("b", "ann@x.com -")
    settle(house)
    house.put("b", "ann@x.com 5")
    settle(house)
    assert house.attributes("1") == {"x": "5"}


@pytest.mark.parametrize("on_removed", [OnRemoved.KEEP, OnRemoved.CLEAR])
def test_a_file_that_was_renamed_shares_nothing_with_its_former_name(house: House, on_removed: OnRemoved) -> None:
    house.sync("plans", BY_ID, "id plan city", on_removed)
    house.sync("totals", BY_ID, "id total", on_removed)
    house.put("plans", "1 - -", "2 pro -")
    house.put("totals", "1 -", "2 3")
    settle(house)
    house.rename("plans", "tariffs")
    house.rename("totals", "sums")
    settle(house)

    house.put("tariffs", "1 - Rome", "2 - -")
    assert house.run("tariffs").counts.accepted == 2

    assert house.run("sums").counts.accepted == 0


def test_a_sync_that_shares_nothing_sends_nothing(house: House) -> None:
    two_syncs(house, "1 2", "1 2")
    house.sync("c", BY_ID, "id z")
    house.put("c", "1 3", "2 9")
    settle(house)
    house.put("b", "1 - -", "2 7 8")

    assert [house.run(name).counts.accepted for name in ("b", "c", "a", "c")] == [1, 0, 1, 0]
    assert house.attributes("1") == {"x": "1", "y": "2", "z": "3"}


def test_what_left_the_query_before_the_other_sync_ran_comes_back(house: House) -> None:
    two_syncs(house, "1 2", "1 2")
    settle(house)
    house.edit("b", columns=["id", "y"])
    house.put("b", "1 2", "2 8")
    house.edit("a", columns=["id", "x"])
    house.put("a", "1 1", "2 7")

    house.run("b", "b", "a")

    assert (house.attributes("1") or {})["x"] == "1"
    settle(house)
    assert house.attributes("1") == {"x": "1", "y": "2"}


def test_a_kept_null_does_not_hide_that_another_sync_unset_the_value(house: House) -> None:
    house.sync("a", BY_ID, "id x y")
    house.sync("b", BY_ID, "id x y", on_null=OnNull.KEEP)
    for name in house.syncs:
        house.put(name, "1 1 2")
    settle(house)
    house.put("b", "1 - 2")
    settle(house)
    house.put("a", "1 - 2")
    settle(house)
    assert house.attributes("1") == {"y": "2"}

    house.put("b", "1 1 2")
    settle(house)

    assert house.attributes("1") == {"x": "1", "y": "2"}


@pytest.mark.parametrize("runs_between", [True, False])
def test_a_column_that_comes_back_is_sent_where_another_sync_unset_it(house: House, *, runs_between: bool) -> None:
    for name in ("a", "b"):
        house.sync(name, BY_ID, "id x y")
        house.put(name, "1 1 2")
    settle(house)
    house.edit("b", columns=["id", "y"])
    house.put("b", "1 2")
    if runs_between:
        house.run("b")
    house.put("a", "1 - 2")
    settle(house)
    assert house.attributes("1") == {"y": "2"}

    house.edit("b", columns=["id", "x", "y"])
    house.put("b", "1 1 2")
    settle(house)

    assert house.attributes("1") == {"x": "1", "y": "2"}


def test_what_is_unset_for_a_former_name_comes_back_from_another_sync(house: House) -> None:
    two_syncs(house, "1 2", "1 2")
    settle(house)
    house.rename("b", "c")
    house.put("c", "2 7 8")

    house.run("c", "a")

    assert house.attributes("1") == {"x": "1", "y": "2"}
    settle(house)


def test_what_was_unset_before_a_file_was_renamed_comes_back_from_another_sync(house: House) -> None:
    two_syncs(house, "1 2", "1 2")
    settle(house)
    house.put("b", "2 7 8")
    house.run("b")
    assert house.attributes("1") == {}
    house.rename("b", "c")

    house.run("c", "a")

    assert house.attributes("1") == {"x": "1", "y": "2"}
    settle(house)


@dataclass
class SideBySide(House):
    """A house in which something else happens once, before the next run sends."""

    at_apply: Callable[[], object] = lambda: None

    def wrapped(self, inner: Any) -> Any:
        if hasattr(inner, "apply"):
            apply, before, self.at_apply = inner.apply, self.at_apply, lambda: None

            def beside(*arguments: Any, **named: Any) -> Any:
                before()
                return apply(*arguments, **named)

            inner.apply = beside
        return inner


def test_a_sync_that_began_to_write_while_another_sent_keeps_its_value(tmp_path: Path) -> None:
    house = SideBySide(folder=tmp_path, store_url=f"sqlite:///{tmp_path}/people.db")
    two_syncs(house, "1 2", "- 2")
    house.at_apply = lambda: house.run("a")

    house.run("b")
    settle(house)

    assert house.attributes("1") == {"x": "1", "y": "2"}


@pytest.mark.parametrize("between", ["a plan", "a run that fails"])
def test_a_look_at_what_another_sync_unset_does_not_make_a_null_unset_its_value(house: House, between: str) -> None:
    two_syncs(house, "1 -", "2 3")
    house.put("a", "1 1 -", "2 7 8")
    house.put("b", "1 2 3", "2 7 8")
    settle(house)
    house.put("b", "1 - 3", "2 7 8")
    house.run("b")

    if between == "a plan":
        house.plan("a")
    else:
        house.at_query = fail
        with pytest.raises(ConnectionError):
            house.run("a")
    house.run("a")

    assert house.attributes("1") == {"x": "1", "y": "3"}
    assert house.run("b").counts.accepted == 0
