"""Syncs that know people by different identifiers, while the identifiers move from one person to another."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from syncer.model.protocols import NumbersPeople
from syncer.model.types import Identity, OnRemoved
from tests.sync.house import BY_EMAIL, BY_ID, BY_NUMBER, MEMBERS_BY_EMAIL, TEAMS, House


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    url = f"sqlite:///{tmp_path}/people.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    made = House(folder=tmp_path, store_url=url)
    made.sync("people", BY_ID, "id email")
    return made


def swap(house: House) -> None:
    house.put("people", "1 bob@x.com", "2 ann@x.com")


@pytest.mark.parametrize("on_removed", [OnRemoved.CLEAR, OnRemoved.DELETE])
def test_a_row_follows_its_identifier_to_another_person(house: House, on_removed: OnRemoved) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", on_removed)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold", "bob@x.com tin")
    house.run()

    swap(house)
    house.run()

    assert house.attributes("1") == {"tier": "tin"}
    assert house.attributes("2") == {"tier": "gold"}
    house.put("tiers")
    house.run("tiers")
    nothing: dict[str, Any] | None = None if on_removed is OnRemoved.DELETE else {}
    assert (house.attributes("1"), house.attributes("2")) == (nothing, nothing)


@pytest.mark.parametrize("on_removed", [OnRemoved.CLEAR, OnRemoved.DELETE])
def test_who_lost_one_row_and_then_another_is_removed_once(house: House, on_removed: OnRemoved) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", on_removed)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold", "bob@x.com tin")
    house.run()
    swap(house)
    house.run()

    house.put("tiers")
    counts = house.run("tiers").counts

    assert (counts.removed, counts.accepted) == (2, 2)
    again = house.run("tiers").counts
    assert (again.removed, again.accepted) == (0, 0)


def test_who_had_the_identifier_when_the_row_went_out_loses_what_it_gave(house: House) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.CLEAR)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold")
    house.run()

    swap(house)
    house.run("people")
    plan = house.plan("tiers")
    assert (plan.counts.removed, [row[0] for row in plan.sample]) == (1, ["removed"])
    assert "people who lost the identifier of a row, and count as removed with what it gave them: 1" in plan.notes
    house.run("tiers")

    assert house.attributes("1") == {}
    assert house.attributes("2") == {"tier": "gold"}
    assert house.run("tiers").counts.accepted == 0


@pytest.mark.parametrize("result_is_empty_at_once", [True, False])
def test_a_removal_reaches_who_got_the_row_and_nobody_else(house: House, result_is_empty_at_once: bool) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.DELETE)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold")
    house.run()

    swap(house)
    house.run("people")
    house.put("tiers")
    if not result_is_empty_at_once:
        house.put("people", "1 new@x.com", "2 ann@x.com")
        house.run("people")
    house.run("tiers")

    assert house.person("1") is None
    assert house.attributes("2") == {}
    house.run()
    assert house.attributes("1") == {}


@pytest.mark.parametrize("how", ["becomes NULL", "is cleared with its row", "is a new one"])
def test_an_identifier_that_is_taken_from_a_person_takes_the_row_along(house: House, how: str) -> None:
    house.sync("people", BY_ID, "id email", OnRemoved.CLEAR)
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.CLEAR, create=False)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold", "bob@x.com tin")
    house.run()

    rest = {"becomes NULL": ["1 -"], "is cleared with its row": [], "is a new one": ["1 new@x.com"]}[how]
    house.put("people", "2 bob@x.com", *rest)
    house.run()

    assert house.attributes("1") == {}
    assert house.attributes("2") == {"tier": "tin"}
    house.put("people", "2 bob@x.com", "3 ann@x.com", *[row for row in rest if "new" in row])
    house.run()
    assert house.attributes("3") == {"tier": "gold"}


def test_a_person_whose_new_identifier_has_the_same_row_keeps_it(house: House) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.DELETE)
    house.put("people", "1 ann@x.com")
    house.put("tiers", "ann@x.com gold")
    house.run()

    house.put("people", "1 ann@new.com")
    house.put("tiers", "ann@new.com gold")
    house.run()

    assert house.attributes("1") == {"tier": "gold"}
    assert house.person("ann@x.com") is None
    house.put("tiers")
    house.run("tiers")
    assert house.person("1") is None


def test_relationships_follow_the_identifier(house: House) -> None:
    house.sync("teams", TEAMS, "team")
    house.sync("members", MEMBERS_BY_EMAIL, "email team role", OnRemoved.DELETE)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("teams", "red", "blue")
    house.put("members", "ann@x.com red boss")
    house.run()

    swap(house)
    house.run()
    assert (house.teams("1"), house.teams("2")) == ([], ["red"])

    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.run("people")
    house.put("members")
    house.run("members")
    assert (house.teams("1"), house.teams("2")) == ([], [])


def test_a_row_that_goes_out_while_the_identifier_moves_leaves_nobody_behind(house: House) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.CLEAR)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold")
    house.run()
    house.put("tiers", "ann@x.com silver")

    def move() -> None:
        swap(house)
        house.run("people")

    # Once the sync has looked for moves, and before it sends.
    house.at_query = move
    house.run("tiers")
    house.run("tiers")

    assert house.attributes("1") == {}
    assert house.attributes("2") == {"tier": "silver"}


@pytest.mark.parametrize("lead_is_older", [True, False])
def test_a_lead_who_becomes_a_customer_is_one_person(house: House, lead_is_older: bool) -> None:
    house.sync("leads", BY_EMAIL, "email plan source", OnRemoved.DELETE)
    house.sync("teams", TEAMS, "team")
    house.sync("members", MEMBERS_BY_EMAIL, "email team", OnRemoved.DELETE)
    house.sync("plans", BY_ID, "id plan")
    house.put("leads", "ann@x.com trial ad")
    house.put("teams", "red")
    house.put("members", "ann@x.com red")
    house.put("plans", "1 free")
    order = ["leads", "plans"] if lead_is_older else ["plans", "leads"]
    house.run(*order, "teams", "members")

    house.put("people", "1 ann@x.com")
    house.run("people")

    person = house.person("1")
    assert person is not None
    assert (person["id"], person["email"]) == ("1", "ann@x.com")
    assert person["attributes"] == {"plan": "trial" if lead_is_older else "free", "source": "ad"}
    assert house.teams("1") == ["red"]
    house.run()
    house.put("members")
    house.run("members")
    assert house.teams("1") == []
    house.put("leads")
    house.run("leads")
    assert house.person("1") is None


def test_where_the_email_is_the_identity_a_sync_by_number_may_move_it(house: House) -> None:
    house.identity = Identity.EMAIL
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.CLEAR)
    house.sync("people", BY_NUMBER, "cio_id email", OnRemoved.KEEP)
    house.put("tiers", "ann@x.com gold", "bob@x.com tin")
    house.run("tiers")
    ann, bob = ((house.person(email) or {})["person_id"] for email in ("ann@x.com", "bob@x.com"))
    house.put("people", f"{ann} ann@x.com", f"{bob} bob@x.com")
    house.run()

    house.put("people", f"{ann} bob@x.com", f"{bob} ann@x.com")
    house.put("tiers", "ann@x.com gold")
    house.run("people", "tiers")

    assert (house.person("ann@x.com") or {})["person_id"] == bob
    assert (house.attributes("ann@x.com"), house.attributes("bob@x.com")) == ({"tier": "gold"}, {})


def test_an_upgraded_snapshot_takes_its_people_from_what_the_keys_name(house: House) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.DELETE)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold")
    house.run()
    with _ledger(house, "tiers") as connection:
        connection.execute("UPDATE snapshot SET person = NULL")
        connection.execute("DELETE FROM meta WHERE name = 'moves_seen'")
    assert house.run("tiers").counts.accepted == 0

    swap(house)
    house.run("people")
    house.put("tiers")
    house.run("tiers")

    assert house.person("1") is None
    assert house.person("2") is not None


def _ledger(house: House, name: str) -> Any:
    return duckdb.connect(str(house.folder / f"{name}.duckdb"))


@pytest.mark.parametrize("how", ["becomes NULL", "leaves the result", "leaves the query", "is NULL from the start"])
def test_a_value_that_one_sync_unsets_comes_back_from_the_other(house: House, how: str) -> None:
    house.sync("plans", BY_ID, "id plan", OnRemoved.CLEAR)
    house.sync("trials", BY_EMAIL, "email plan city", OnRemoved.CLEAR)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("plans", "1 pro", "2 pro")
    house.put("trials", "bob@x.com trial Rome" if how == "is NULL from the start" else "ann@x.com trial Rome")
    house.run()
    house.run("plans")

    if how == "leaves the query":
        house.columns["trials"] = ["email", "city"]
    left = {
        "becomes NULL": ["ann@x.com - Rome"],
        "leaves the result": [],
        "leaves the query": ["ann@x.com Rome"],
        "is NULL from the start": ["bob@x.com trial Rome", "ann@x.com - Oslo"],
    }
    house.put("trials", *left[how])
    house.run("trials")
    house.run("plans")

    assert (house.attributes("1") or {})["plan"] == "pro"
    assert house.run("trials").counts.accepted == 0
    assert house.run("plans").counts.accepted == 0


def test_what_no_other_sync_writes_is_unset_without_a_word(house: House) -> None:
    house.sync("plans", BY_ID, "id plan", OnRemoved.CLEAR)
    house.sync("cities", BY_EMAIL, "email city", OnRemoved.CLEAR)
    house.put("people", "1 ann@x.com")
    house.put("plans", "1 pro")
    house.put("cities", "ann@x.com Rome")
    house.run()

    house.put("cities", "ann@x.com -")
    house.run("cities")

    assert house.run("plans").counts.accepted == 0


def test_moves_are_forgotten_after_a_month_and_then_every_row_is_in_doubt(house: House) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.CLEAR)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold", "bob@x.com tin")
    house.run()
    swap(house)
    house.run("people")

    with closing(house.store()) as store:
        assert isinstance(store, NumbersPeople)
        seen = store.moves_since(0)
        assert sorted(seen.identifiers["value"].to_pylist()) == ["ann@x.com", "bob@x.com"]
        store.forget_moves(datetime.now(UTC) - timedelta(days=1))
        assert store.moves_since(0) == seen
        store.forget_moves(datetime.now(UTC) + timedelta(days=1))
        assert store.moves_since(0).identifiers.num_rows == 0
        assert store.moves_since(seen.newest).is_incomplete is False
    progress = house.run("tiers")

    assert "what became of identifiers since the last run is not known: every row is sent again" in progress.notes
    assert (house.attributes("1"), house.attributes("2")) == ({"tier": "tin"}, {"tier": "gold"})
