"""Attributes that several syncs may write, at Customer.io, which gives no numbers and does not say who is who."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.customerio.options import Via
from syncer.model.errors import DefinitionError
from syncer.model.types import Identity, OnRemoved
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.sync.house import BY_EMAIL, BY_ID, House


@pytest.fixture
def server() -> Iterator[CustomerIOServer]:
    with customerio_server() as running:
        running.workspace.unique = ("id", "email")
        yield running
        assert running.workspace.breaches == []


def house_of(server: CustomerIOServer, folder: Path, via: Via = Via.TRACK) -> House:
    options = server.options(via=via)
    return House(folder=folder, store_url="customerio://us", identity=Identity.ID_OR_EMAIL, options=options)


def attributes(server: CustomerIOServer) -> dict[str, Any]:
    """The plan and the city of each person, by id."""
    return {
        person.attributes["id"]: (person.attributes.get("plan"), person.attributes.get("city"))
        for person in server.workspace.people
    }


@pytest.mark.parametrize("via", list(Via))
def test_the_value_that_counts_most_stands_and_then_the_next_one(
    server: CustomerIOServer, tmp_path: Path, via: Via
) -> None:
    house = house_of(server, tmp_path, via)
    house.sync("billing", BY_ID, "id plan", OnRemoved.CLEAR)
    house.sync("crm", BY_ID, "id plan city", OnRemoved.CLEAR)
    house.rule("plan", "billing", "crm")
    house.put("billing", "1 pro", "2 -")
    house.put("crm", "1 free Rome", "2 free Oslo")
    house.run("billing", "crm")
    assert attributes(server) == {"1": ("pro", "Rome"), "2": ("free", "Oslo")}

    house.put("crm", "1 - Bonn", "2 basic Oslo")
    assert house.run("crm").counts.accepted == 2
    assert attributes(server) == {"1": ("pro", "Bonn"), "2": ("basic", "Oslo")}

    house.put("crm", "1 free Bonn", "2 basic Oslo")
    assert house.run("crm").counts.accepted == 0
    house.put("billing", "2 team")
    house.run("billing", "crm")
    assert attributes(server) == {"1": ("free", "Bonn"), "2": ("team", "Oslo")}


@pytest.mark.parametrize("told_by", ["billing", "news"])
def test_one_of_two_queries_tells_who_is_who(server: CustomerIOServer, tmp_path: Path, told_by: str) -> None:
    house = house_of(server, tmp_path)
    tells = told_by == "billing"
    house.sync("people", BY_ID, "id email")
    house.sync("billing", BY_ID, "id plan email" if tells else "id plan")
    house.sync("news", BY_EMAIL, "email plan" if tells else "email plan id")
    house.rule("plan", "billing", "news")
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("billing", "1 pro Ann@x.com" if tells else "1 pro")
    house.put("news", *(("ann@x.com free", "bob@x.com free") if tells else ("ann@x.com free 1", "bob@x.com free 2")))

    house.run("people", "billing", "news")

    assert {id_: plan for id_, (plan, _) in attributes(server).items()} == {"1": "pro", "2": "free"}


def test_a_sync_is_refused_where_nothing_tells_who_is_who(server: CustomerIOServer, tmp_path: Path) -> None:
    house = house_of(server, tmp_path)
    house.sync("billing", BY_ID, "id plan")
    house.sync("news", BY_EMAIL, "email plan")
    house.rule("plan", "billing", "news")
    house.put("billing", "1 pro")
    house.put("news", "ann@x.com free")
    house.run("billing")

    with pytest.raises(DefinitionError, match="nothing tells which of their rows are about the same person"):
        house.run("news")
    assert len(server.workspace.people) == 1
