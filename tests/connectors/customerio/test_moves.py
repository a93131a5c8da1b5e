"""Syncs of one workspace that know people by different identifiers, while emails move from one person to another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.customerio import connection
from syncer.model.types import Identity, OnRemoved
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.sync.house import BY_EMAIL, BY_ID, House


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerIOServer]:
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.002)
    with customerio_server() as running:
        running.workspace.unique = ("id", "email")
        yield running


@pytest.fixture
def house(server: CustomerIOServer, tmp_path: Path) -> House:
    made = House(folder=tmp_path, store_url="customerio://us", identity=Identity.ID_OR_EMAIL, options=server.options())
    made.sync("people", BY_ID, "id email")
    made.sync("tiers", BY_EMAIL, "email tier", OnRemoved.DELETE)
    made.put("people", "1 ann@x.com", "2 bob@x.com")
    return made


def tiers(server: CustomerIOServer) -> dict[str, Any]:
    return {person.attributes["id"]: person.attributes.get("tier") for person in server.workspace.people}


def test_rows_are_sent_again_to_who_has_the_email_now(house: House, server: CustomerIOServer) -> None:
    house.put("tiers", "ann@x.com gold", "bob@x.com tin")
    house.run()

    house.put("people", "1 bob@x.com", "2 ann@x.com")
    house.run()

    assert tiers(server) == {"1": "tin", "2": "gold"}
    assert house.run("tiers").counts.accepted == 0


@pytest.mark.parametrize("email", ["bob@x.com", "-", "new@x.com"])
def test_a_removal_by_an_email_that_moved_reaches_nobody(house: House, server: CustomerIOServer, email: str) -> None:
    house.put("tiers", "ann@x.com gold")
    house.run()

    house.put("people", f"1 {email}", "2 ann@x.com")
    house.run("people")
    house.put("tiers")
    progress = house.run("tiers")

    assert tiers(server) == {"1": "gold", "2": None}
    assert progress.counts.removed == 0
    assert progress.notes[-1] == (
        "rows that left the result after their identifier moved to another person, so that nothing is removed: 1"
    )
    assert house.run("tiers").notes == []


def test_a_removal_by_an_email_that_moved_before_the_row_was_sent_again_reaches_who_got_it(
    house: House, server: CustomerIOServer
) -> None:
    house.put("tiers", "ann@x.com gold")
    house.run()
    house.put("people", "1 new@x.com", "2 ann@x.com")
    house.run()
    assert tiers(server)["2"] == "gold"

    house.put("tiers")
    house.run("tiers")

    assert list(tiers(server)) == ["1"]


def test_a_value_that_one_sync_unsets_comes_back_from_the_other(house: House, server: CustomerIOServer) -> None:
    house.sync("gold", BY_EMAIL, "email tier", OnRemoved.CLEAR)
    house.put("tiers", "ann@x.com gold")
    house.put("gold", "ann@x.com gold")
    house.run()
    house.run("tiers")

    house.put("gold", "ann@x.com -")
    house.run("gold")
    assert tiers(server)["1"] is None
    house.run("tiers")

    assert tiers(server)["1"] == "gold"
