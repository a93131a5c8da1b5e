"""What a plan says of the rows that the store would not take, and what the store then says."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncer.model.types import Target
from syncer.sync.plans import Plan
from tests.sync.house import BY_ID, BY_NUMBER, MEMBERS_BY_EMAIL, TEAMS, House


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    url = f"sqlite:///{tmp_path}/people.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    made = House(folder=tmp_path, store_url=url, may_reject=True)
    made.sync("people", BY_ID, "id email")
    made.sync("teams", TEAMS, "team size")
    made.sync("members", MEMBERS_BY_EMAIL, "email team role")
    return made


def refused(house: House, name: str) -> dict[str, str]:
    """Key to reason, as a plan says; the store has taken nothing."""
    plan: Plan = house.plan(name)
    assert plan.would_reject_rows == len(plan.would_reject)
    return dict(plan.would_reject)


def test_ends_of_relationships_that_are_missing_are_known_before_a_run(house: House) -> None:
    house.put("people", "1 ann@x.com")
    house.put("teams", "red 5")
    house.put("members", "ann@x.com red lead", "ann@x.com blue lead", "Bob@x.com red lead", "- red lead")
    nobody, nothing = "the person does not exist yet", "the object does not exist yet"

    everything = refused(house, "members")
    assert everything == {
        "": "`email` is NULL",
        '["ann@x.com","blue"]': nobody,
        '["ann@x.com","red"]': nobody,
        '["bob@x.com","red"]': nobody,
    }

    house.run("people", "teams")
    expected = {"": "`email` is NULL", '["ann@x.com","blue"]': nothing, '["bob@x.com","red"]': nobody}
    assert refused(house, "members") == expected
    assert house.run("members").counts.rejected == 3
    assert refused(house, "members") == expected


@pytest.mark.parametrize(
    ("name", "target", "columns", "there", "gone"),
    [
        ("scores", BY_NUMBER, "cio_id score", "1 5", "77 5"),
        ("sizes", TEAMS, "team size", "red 7", "blue 7"),
        ("roles", MEMBERS_BY_EMAIL, "email team role", "ann@x.com red cook", "bob@x.com red cook"),
    ],
)
def test_who_is_not_there_to_be_updated_is_known_before_a_run(
    house: House, name: str, target: Target, columns: str, there: str, gone: str
) -> None:
    house.put("people", "1 ann@x.com")
    house.put("teams", "red 5")
    house.put("members", "ann@x.com red lead")
    house.run("people", "teams", "members")
    house.sync(name, target, columns, create=False)
    house.put(name, there, gone)

    (reason,) = refused(house, name).values()

    assert reason.endswith("and `create` is false")
    assert house.run(name).counts.absent == 1


def test_a_number_that_nobody_has_is_known_before_a_run(house: House) -> None:
    house.put("people", "1 ann@x.com")
    house.run("people")
    house.sync("scores", BY_NUMBER, "cio_id score")
    house.put("scores", "1 5", "77 5", "nobody 5")

    assert refused(house, "scores") == dict.fromkeys(("77", "nobody"), "no person has this cio_id")
    assert house.run("scores").counts.rejected == 2


def test_nobody_is_said_to_be_missing_who_may_be_found_by_another_identifier(house: House) -> None:
    house.put("people", "1 ann@x.com")
    house.run("people")
    house.edit("people", ["id", "email"], create=False)
    house.put("people", "1 ann@x.com", "2 ann@y.com")

    assert refused(house, "people") == {}
