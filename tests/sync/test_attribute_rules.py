"""Attributes that several syncs may write: the value of the one that counts most stands, then the next one's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from syncer.model.attribute_rules import AttributeType, Normaliser
from syncer.model.errors import DefinitionError, StoreError
from syncer.model.types import OnNull, OnRemoved
from syncer.snapshot.ledger import Asked
from tests.sync.house import BY_EMAIL, BY_ID, House


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    url = f"sqlite:///{tmp_path}/people.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    made = House(folder=tmp_path, store_url=url)
    made.sync("billing", BY_ID, "id plan sum")
    made.sync("crm", BY_ID, "id plan city")
    made.rule("plan", "billing", "crm")
    return made


def rest(house: House) -> None:
    """Run every sync until nothing is sent, which must be soon."""
    house.run()
    house.run()
    assert [house.run(name).counts.accepted for name in house.syncs] == [0] * len(house.syncs)


def plan(house: House, key: str = "1") -> Any:
    found = house.attributes(key)
    return found and found.get("plan")


@pytest.mark.parametrize("order", [("billing", "crm"), ("crm", "billing")])
def test_the_value_that_counts_most_stands_whoever_runs_first(house: House, order: tuple[str, str]) -> None:
    house.put("billing", "1 pro 5", "2 - 6")
    house.put("crm", "1 free Rome", "2 free Oslo", "3 free Bonn")
    house.run(*order)

    assert house.attributes("1") == {"plan": "pro", "sum": "5", "city": "Rome"}
    assert house.attributes("2") == {"plan": "free", "sum": "6", "city": "Oslo"}
    assert house.attributes("3") == {"plan": "free", "city": "Bonn"}
    rest(house)


def test_a_value_that_is_held_back_is_no_change_and_is_not_sent(house: House) -> None:
    house.put("billing", "1 pro 5")
    house.put("crm", "1 free Rome")
    rest(house)
    house.put("crm", "1 basic Rome")

    planned = house.plan("crm")
    assert (planned.counts.changed, planned.counts.unchanged) == (0, 1)
    assert house.run("crm").counts.accepted == 0

    house.put("crm", "1 team Oslo")
    assert house.run("crm").counts.accepted == 1
    assert house.run("crm", full=True).counts.accepted == 1
    assert house.attributes("1") == {"plan": "pro", "sum": "5", "city": "Oslo"}


@pytest.mark.parametrize("on_removed", list(OnRemoved))
@pytest.mark.parametrize("left", ["1 - 5", ""])
def test_the_next_value_stands_once_the_first_one_leaves(house: House, on_removed: OnRemoved, left: str) -> None:
    house.edit("billing", on_removed=on_removed)
    house.put("billing", "1 pro 5", "2 pro 6")
    house.put("crm", "1 free Rome")
    rest(house)
    house.put("crm", "1 basic Rome")
    house.run("crm")

    house.put("billing", *[row for row in (left, "2 pro 6") if row])
    house.run("billing", "crm")

    assert plan(house) == "basic"
    assert plan(house, "2") == "pro"
    rest(house)
    house.put("billing", "1 gold 5", "2 pro 6")
    house.run("billing", "crm")
    assert plan(house) == "gold"
    rest(house)


@pytest.mark.parametrize("on_removed", [OnRemoved.CLEAR, OnRemoved.KEEP])
def test_a_row_that_leaves_or_has_null_unsets_nothing_that_counts_more(house: House, on_removed: OnRemoved) -> None:
    house.edit("crm", on_removed=on_removed)
    house.put("billing", "1 pro 5", "2 pro 6")
    house.put("crm", "1 free Rome", "2 free Oslo")
    rest(house)

    house.put("crm", "2 - Bonn")
    house.run("crm")

    assert plan(house) == "pro"
    assert plan(house, "2") == "pro"
    assert house.run("billing").counts.accepted == 0


def test_of_three_the_first_that_has_a_value_stands(house: House) -> None:
    house.sync("web", BY_ID, "id plan")
    house.rule("plan", "web", "billing", "crm")
    house.put("web", "1 -")
    house.put("billing", "1 - 5")
    house.put("crm", "1 c Rome")
    rest(house)
    assert plan(house) == "c"

    for name, row, stands in (
        ("billing", "1 b 5", "b"),
        ("web", "1 a", "a"),
        ("billing", "1 - 5", "a"),
        ("billing", "1 b 5", "a"),
        ("crm", "1 cc Rome", "a"),
        ("web", "1 -", "b"),
        ("billing", "1 - 5", "cc"),
    ):
        house.put(name, row)
        rest(house)
        assert plan(house) == stands


def test_an_incremental_query_need_not_return_again_what_was_held_back(house: House) -> None:
    house.edit("crm", incremental=True)
    house.put("billing", "1 pro 5")
    house.put("crm", "1 free Rome")
    rest(house)
    house.put("crm", "1 basic Rome")
    house.run("crm")
    house.put("crm")
    house.put("billing", "1 - 5")
    house.asked = lambda name, snapshot: Asked(at=house.now, is_whole=name == "billing")  # type: ignore[method-assign]

    house.run("billing", "crm")

    assert plan(house) == "basic"


def test_null_that_keeps_a_value_keeps_it_from_those_who_count_less(house: House) -> None:
    house.edit("billing", on_null=OnNull.KEEP)
    house.put("billing", "1 pro 5")
    house.put("crm", "1 free Rome")
    rest(house)
    house.put("billing", "1 - 5")
    rest(house)

    assert plan(house) == "pro"


def test_a_new_rule_brings_back_what_others_had_written_over(house: House) -> None:
    house.rule("plan")
    house.put("billing", "1 pro 5", "2 pro 6")
    house.put("crm", "1 free Rome", "3 free Bonn")
    house.run("billing", "crm")
    assert plan(house) == "free"

    house.rule("plan", "billing", "crm")
    rest(house)
    assert (plan(house), plan(house, "2"), plan(house, "3")) == ("pro", "pro", "free")

    house.rule("plan", "crm", "billing")
    rest(house)
    assert (plan(house), plan(house, "2"), plan(house, "3")) == ("free", "pro", "free")

    house.rule("plan", "billing", "crm")
    rest(house)
    assert plan(house) == "pro"


def test_a_sync_that_began_after_the_rule_makes_nothing_go_again(house: House) -> None:
    house.put("billing", "1 pro 5")
    house.run("billing")
    house.put("crm", "1 free Rome")
    house.run("crm")

    assert house.run("billing").counts.accepted == 0


def test_what_a_disabled_sync_sent_stands(house: House) -> None:
    house.put("billing", "1 pro 5")
    house.put("crm", "1 free Rome")
    rest(house)
    house.edit("billing", enabled=False)
    house.put("crm", "1 basic Oslo")

    house.run("crm")
    assert house.attributes("1") == {"plan": "pro", "sum": "5", "city": "Oslo"}

    house.rule("plan", "crm")
    house.run("crm")
    assert plan(house) == "basic"


def test_people_are_the_same_whatever_identifier_a_sync_knows_them_by(house: House) -> None:
    house.sync("people", BY_ID, "id email")
    house.sync("news", BY_EMAIL, "email plan")
    house.rule("plan", "billing", "news", "crm")
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("billing", "1 pro 5")
    house.put("news", "ann@x.com free", "bob@x.com free")
    house.run("people", "billing", "news")

    assert (plan(house), plan(house, "2")) == ("pro", "free")
    rest(house)
    house.rule("plan", "news", "billing", "crm")
    rest(house)
    assert (plan(house), plan(house, "2")) == ("free", "free")
    house.put("news", "bob@x.com free")
    rest(house)
    assert plan(house) == "pro"


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_value_that_came_while_another_one_was_sent_stands_in_the_end(house: House, *, is_answered: bool) -> None:
    house.put("billing", "1 - 5")
    house.put("crm", "1 free Rome")
    rest(house)
    house.put("crm", "1 basic Rome")

    def meanwhile() -> None:
        house.put("billing", "1 pro 5")
        house.run("billing")

    def wrapped(inner: Any) -> Any:
        return inner if house.running else _late(inner, meanwhile, is_answered=is_answered)

    house.wrapped = wrapped  # type: ignore[method-assign]
    with nullcontext() if is_answered else pytest.raises(StoreError):
        house.run("crm")
    house.wrapped = lambda inner: inner  # type: ignore[method-assign]
    assert plan(house) == "basic"

    rest(house)
    assert plan(house) == "pro"


def _late(inner: Any, meanwhile: Callable[[], None], *, is_answered: bool) -> Any:
    """A store to which something else happens before it takes a batch, and whose answer may be lost."""
    if hasattr(inner, "apply"):
        apply = inner.apply

        def late(*args: Any, **named: Any) -> Any:
            meanwhile()
            verdicts = apply(*args, **named)
            if not is_answered:
                raise StoreError("the connection was lost")
            return verdicts

        inner.apply = late
    return inner


def test_what_a_renamed_file_had_sent_takes_nothing_that_counts_more(house: House) -> None:
    house.edit("crm", on_removed=OnRemoved.CLEAR)
    house.put("billing", "1 pro 5", "2 pro 6")
    house.put("crm", "1 free Rome", "2 free Oslo")
    rest(house)

    house.rename("crm", "sales")
    house.rule("plan", "billing", "sales")
    house.put("sales", "1 basic Bonn")
    rest(house)

    assert house.attributes("1") == {"plan": "pro", "sum": "5", "city": "Bonn"}
    assert house.attributes("2") == {"plan": "pro", "sum": "6"}


def test_a_lost_state_folder_lets_the_value_that_counts_most_stand(house: House) -> None:
    house.put("billing", "1 pro 5")
    house.put("crm", "1 free Rome")
    rest(house)
    for path in [*house.folder.glob("*.duckdb*"), *house.folder.glob("runs.db*")]:
        path.unlink()

    house.run("crm", "billing", "crm")

    assert plan(house) == "pro"
    rest(house)


def test_a_sync_that_is_not_named_sends_nothing(house: House) -> None:
    house.sync("other", BY_ID, "id plan")
    house.rule("plan", "billing", "crm")
    house.put("other", "1 x")

    with pytest.raises(DefinitionError, match="is not among those that may: `billing` and `crm`"):
        house.run("other")
    assert house.person("1") is None


def test_values_are_read_and_spelled_as_the_rules_say(house: House) -> None:
    house.rule("plan", type=AttributeType.INTEGER)
    house.rule("city", normaliser=Normaliser.TITLE)
    house.may_reject = True
    house.put("crm", "1 007 SAN-remo", "2 seven Oslo", "3 - -")

    assert house.run("crm").counts.rejected == 1
    assert house.attributes("1") == {"plan": 7, "city": "San-Remo"}
    assert house.person("2") is None
    house.rule("city", normaliser=Normaliser.LOWER)
    assert house.run("crm").counts.changed == 1
    assert house.attributes("1") == {"plan": 7, "city": "san-remo"}
