"""Devices at Customer.io: by the Track API and by the Pipelines API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.customerio.options import Via
from syncer.model.errors import StoreRefusesError
from syncer.model.types import Entity, Identity, PersonKey, Target
from syncer.settings.registry import open_store
from tests.contracts.batches import ACCEPTED, DEVICES, PEOPLE, apply, delete, put
from tests.servers.customerio import CustomerIOServer, customerio_server

STARTED = datetime(2026, 11, 24, 6, 0, 0, tzinfo=UTC)
USED = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())


@pytest.fixture
def server() -> Iterator[CustomerIOServer]:
    with customerio_server(bodies=[]) as running:
        yield running
        assert running.workspace.breaches == []


def opened(server: CustomerIOServer, via: Via = Via.TRACK, identity: Identity = Identity.ID) -> Any:
    options = server.options(via=via)
    return closing(open_store("crm", "customerio://us", identity=identity, options=options, started_at=STARTED))


def held(server: CustomerIOServer) -> dict[str, tuple[str, str, int, dict[str, Any]]]:
    """By token: the person's id, the platform, the last use, and the attributes."""
    ids = {person.cio_id: person.attributes["id"] for person in server.workspace.people}
    return {
        token: (ids[one["cio_id"]], one["platform"], one["last_used"], one["attributes"])
        for token, one in server.workspace.devices.items()
    }


def test_a_device_is_an_operation_of_the_documented_form(server: CustomerIOServer) -> None:
    with opened(server) as store:
        rows = [
            put("ann", "t1", attributes={"app": 5.1, "beta": True}, platform="android", last_used=str(USED)),
            put("ann", "t2", platform="ios"),
        ]
        assert apply(store, DEVICES, *rows) == [ACCEPTED] * 2
        assert apply(store, DEVICES, delete("ann", "t2")) == [ACCEPTED]

    assert server.workspace.bodies is not None
    items = [item for body in server.workspace.bodies for item in json.loads(body)["batch"]]
    common = {"type": "person", "identifiers": {"id": "ann"}}
    attributes = {"app": "5.1", "beta": "true"}
    first = {"token": "t1", "platform": "android", "last_used": USED, "attributes": attributes}
    assert items == [
        common | {"action": "add_device", "device": first},
        common | {"action": "add_device", "device": {"token": "t2", "platform": "ios"}},
        common | {"action": "delete_device", "device": {"token": "t2"}},
    ]
    assert held(server) == {"t1": ("ann", "android", USED, attributes)}


@pytest.mark.parametrize("via", list(Via))
def test_a_device_is_added_changed_and_deleted_either_way(server: CustomerIOServer, via: Via) -> None:
    with opened(server, via) as store:
        row = put("ann", "t1", attributes={"a": "1", "b": "2"}, platform="ios", last_used=str(USED))
        assert apply(store, DEVICES, row) == [ACCEPTED]
        assert held(server) == {"t1": ("ann", "ios", USED, {"a": "1", "b": "2"})}

        row = put("ann", "t1", attributes={"c": "3"}, cleared=("a", "last_used"), platform="android", last_used=None)
        assert apply(store, DEVICES, row) == [ACCEPTED]
        (person, platform, _, attributes) = held(server)["t1"]
        assert (person, platform, attributes) == ("ann", "android", {"b": "2", "c": "3"})

        assert apply(store, DEVICES, put("bob", "t1", platform="android")) == [ACCEPTED]
        assert apply(store, DEVICES, delete("ann", "t1")) == [ACCEPTED]
        assert [*held(server)] == ["t1"]
        assert apply(store, DEVICES, delete("bob", "t1")) == [ACCEPTED]
        assert held(server) == {}


def test_values_of_any_kind_are_texts(server: CustomerIOServer) -> None:
    values = {"n": 2**53, "f": -0.5, "b": False, "j": {"deep": [1, None]}, "t": 'say "hi" \\ 🐘', "e": ""}
    with opened(server) as store:
        apply(store, DEVICES, put("ann", "t1", attributes=values, platform="ios"))

    (_, _, _, attributes) = held(server)["t1"]
    assert {name: attributes[name] for name in "nfbt"} == {
        "n": str(2**53), "f": "-0.5", "b": "false", "t": 'say "hi" \\ 🐘',
    }  # fmt: skip
    assert json.loads(attributes["j"]) == {"deep": [1, None]}
    assert "e" not in attributes


def test_rows_that_cannot_be_taken_are_rejected_before_they_are_sent(server: CustomerIOServer) -> None:
    rows = [
        put("ann", "x" * 1_001, platform="ios"),
        put("y" * 151, "t2", platform="ios"),
        put("ann", "t3", attributes={"_last_status": "sent"}, platform="ios"),
        put("ann", "t4", attributes={"long": "v" * 1_001}, platform="ios"),
        put("ann", "t5", platform="ios"),
    ]
    with opened(server) as store:
        verdicts = apply(store, DEVICES, *rows)

    assert verdicts == [
        ("rejected", "the token is longer than 1000 bytes"),
        ("rejected", "the identifier is longer than 150 bytes"),
        ("rejected", "the name `_last_status` is reserved"),
        ("rejected", "attribute `long` is longer than 1000 bytes"),
        ACCEPTED,
    ]
    assert [*held(server)] == ["t5"]


def test_what_the_api_says_of_a_token_is_hidden(server: CustomerIOServer) -> None:
    server.workspace.faults.refuses = lambda item: True
    server.workspace.faults.quoting = True
    with opened(server) as store:
        ((verdict, reason),) = apply(store, DEVICES, put("ann-sophie", "secret-token", platform="ios"))

    assert verdict == "rejected"
    assert reason is not None
    assert "secret" not in reason
    assert "sophie" not in reason


@pytest.mark.parametrize(
    ("via", "target", "create"),
    [
        (Via.TRACK, DEVICES, False),
        (Via.PIPELINES, DEVICES, False),
        (Via.PIPELINES, Target(entity=Entity.DEVICE, person_key=PersonKey.CIO_ID), True),
    ],
)
def test_what_no_api_can_do_is_refused_at_once(
    server: CustomerIOServer, via: Via, target: Target, create: bool
) -> None:
    with opened(server, via) as store, pytest.raises(StoreRefusesError, match=r"only for people|by their `id` alone"):
        store.check(target, create=create)


def test_a_shown_person_has_devices(server: CustomerIOServer) -> None:
    with opened(server) as store:
        apply(store, PEOPLE, put("ann", attributes={"plan": "pro"}))
        apply(store, DEVICES, put("ann", "t1", attributes={"app": 5}, platform="ios", last_used=str(USED)))
        shown = store.show(Entity.PERSON, "id", "ann")

    assert shown is not None
    assert shown["devices"] == [{"token": "t1", "platform": "ios", "last_used": USED, "attributes": {"app": "5"}}]
