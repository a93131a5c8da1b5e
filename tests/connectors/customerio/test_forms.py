"""What the suite over every store asks for, in the form that Customer.io can be held to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from syncer.model.types import Entity, Identity, PersonKey, Target
from syncer.settings.registry import open_store
from tests.contracts.batches import (
    ACCEPTED,
    ACCOUNTS,
    MEMBERS,
    PEOPLE,
    PEOPLE_BY_CIO_ID,
    PEOPLE_BY_EMAIL,
    apply,
    clear,
    delete,
    put,
)
from tests.servers.customerio import CustomerIOServer, customerio_server


@pytest.fixture
def server() -> Iterator[CustomerIOServer]:
    with customerio_server() as running:
        yield running
        assert running.workspace.breaches == []


def opened(server: CustomerIOServer, identity: Identity = Identity.ID) -> Any:
    server.workspace.unique = identity.unique
    return closing(open_store("crm", "customerio://us", identity=identity, options=server.options()))


def people(server: CustomerIOServer) -> list[dict[str, Any]]:
    """What is known of whom, in the order they came."""
    return [person.attributes for person in server.workspace.people]


@pytest.mark.parametrize(
    "value",
    [
        2**53,
        -(2**53),
        1.5,
        0,
        True,
        False,
        'quotes " \\ / \n \t',
        "Zoë 🐘 \u2028",
        "-0.10",
        {"deep": [{"null": None, "number": 10}]},
        ["a", ["b"], {}],
    ],
    ids=repr,
)
@pytest.mark.parametrize("target", [PEOPLE, ACCOUNTS, MEMBERS], ids=lambda target: target.entity)
def test_a_value_arrives_as_it_is(server: CustomerIOServer, target: Target, value: Any) -> None:
    key = ("k",) if target is not MEMBERS else ("k", "a")
    with opened(server) as store:
        assert apply(store, target, put(*key, attributes={"value": value, "unset": 1})) == [ACCEPTED]
        assert apply(store, target, put(*key, attributes={"after": 1}, cleared=("unset",))) == [ACCEPTED]

    workspace = server.workspace
    held: dict[Entity, Any] = {
        Entity.PERSON: workspace.attributes("k") if target is PEOPLE else None,
        Entity.OBJECT: workspace.objects.get(("1", "k")),
        Entity.RELATIONSHIP: next(iter(workspace.relationships.values()), None),
    }
    assert held[target.entity] == {"value": value, "after": 1}


@pytest.mark.parametrize(("target", "key"), [(PEOPLE, ["ann"]), (PEOPLE_BY_CIO_ID, ["c0ffee"])])
def test_without_create_nobody_is_made(server: CustomerIOServer, target: Target, key: list[str]) -> None:
    with opened(server) as store:
        rows = [put(*key, attributes={"a": 1}), clear(*key, cleared=("a",)), delete(*key)]
        assert [apply(store, target, row, create=False) for row in rows] == [[ACCEPTED]] * 3

    assert people(server) == []


def test_without_create_who_exists_is_updated(server: CustomerIOServer) -> None:
    with opened(server) as store:
        apply(store, PEOPLE, put("ann", attributes={"a": 1}))
        assert apply(store, PEOPLE, put("ann", attributes={"b": 2}), put("bob"), create=False) == [ACCEPTED] * 2

    assert people(server) == [{"id": "ann", "a": 1, "b": 2}]


def test_a_relationship_is_told_of_once_whatever_becomes_of_its_ends(server: CustomerIOServer) -> None:
    with opened(server) as store:
        apply(store, PEOPLE, put("ann"))
        rows = [put("ann", "acme", attributes={"role": "owner"}), put("bob", "acme"), delete("cy", "acme")]
        for _ in range(2):
            assert apply(store, MEMBERS, *rows) == [ACCEPTED] * 3

    cio_ids = {p.attributes["id"]: p.cio_id for p in server.workspace.people}
    assert server.workspace.relationships == {
        (cio_ids["ann"], "1", "acme"): {"role": "owner"},
        (cio_ids["bob"], "1", "acme"): {},
    }


def test_relationships_find_people_by_email(server: CustomerIOServer) -> None:
    members = Target(entity=Entity.RELATIONSHIP, person_key=PersonKey.EMAIL, object_type="account")
    with opened(server, Identity.ID_OR_EMAIL) as store:
        apply(store, PEOPLE, put("ann", email="ann@x.com"))
        assert apply(store, members, put("Ann@x.com", "acme", attributes={"role": "owner"})) == [ACCEPTED]

    (ann,) = server.workspace.people
    assert server.workspace.relationships == {(ann.cio_id, "1", "acme"): {"role": "owner"}}


def test_a_person_can_be_known_by_cio_id(server: CustomerIOServer) -> None:
    with opened(server) as store:
        apply(store, PEOPLE, put("ann", attributes={"a": 1}))
        cio_id = server.workspace.people[0].cio_id

        assert apply(store, PEOPLE_BY_CIO_ID, put(cio_id, attributes={"b": 2}), put("none")) == [ACCEPTED] * 2
        assert people(server) == [{"id": "ann", "a": 1, "b": 2}]

        assert apply(store, PEOPLE_BY_CIO_ID, delete(cio_id), delete("none")) == [ACCEPTED] * 2
    assert people(server) == []


@pytest.mark.parametrize("identity", list(Identity))
def test_by_cio_id_every_identifier_can_change(server: CustomerIOServer, identity: Identity) -> None:
    target, key = (PEOPLE_BY_EMAIL, "a@x.com") if identity is Identity.EMAIL else (PEOPLE, "a")
    with opened(server, identity) as store:
        apply(store, target, put(key))
        cio_id = server.workspace.people[0].cio_id
        assert apply(store, PEOPLE_BY_CIO_ID, put(cio_id, id="new", email="new@x.com")) == [ACCEPTED]

    assert people(server) == [{"id": "new", "email": "new@x.com"}]


def test_where_id_is_the_identity_an_email_may_repeat_and_keeps_its_letters(server: CustomerIOServer) -> None:
    with opened(server) as store:
        assert apply(store, PEOPLE, put("ann", email="Info@x.com"), put("bob", email="Info@x.com")) == [ACCEPTED] * 2

    assert sorted(held["id"] for held in people(server) if held["email"] == "Info@x.com") == ["ann", "bob"]


def test_an_email_of_somebody_else_stays_with_them_and_stops_nobody(server: CustomerIOServer) -> None:
    with opened(server, Identity.ID_OR_EMAIL) as store:
        apply(store, PEOPLE, put("ann", email="ann@x.com"))
        rows = [put("bob", attributes={"a": 1}, email="ann@x.com"), put("cy", email="cy@x.com"), put("ann")]
        # It is in the activity log alone that an attribute of Bob was not updated.
        assert apply(store, PEOPLE, put("bob"), put("cy")) == [ACCEPTED] * 2
        assert apply(store, PEOPLE, *rows) == [ACCEPTED] * 3

    assert sorted(people(server), key=lambda held: held["id"]) == [
        {"id": "ann", "email": "ann@x.com"},
        {"id": "bob", "a": 1},
        {"id": "cy", "email": "cy@x.com"},
    ]


def test_a_big_batch_of_every_sort_of_row_is_answered_in_full(server: CustomerIOServer) -> None:
    actions = [
        lambda i: put(f"p{i}", attributes={"n": -i}),
        lambda i: put(f"p{i}", attributes={"n": -i}, cleared=("old",)),
        lambda i: clear(f"p{i}", cleared=("old",)),
        lambda i: delete(f"p{i}"),
    ]
    with opened(server) as store:
        half = [put(f"p{i}", attributes={"n": i, "old": True}) for i in range(0, 4_000, 2)]
        assert set(apply(store, PEOPLE, *half)) == {ACCEPTED}
        rows = [actions[i // 2 % 4](i) for i in range(4_000)]
        assert set(apply(store, PEOPLE, *rows, create=False)) == {ACCEPTED}

    left = {held["id"]: held for held in people(server)}
    assert len(left) == 1_500
    assert [left.get(f"p{i}") for i in (0, 1, 2, 4, 6)] == [
        {"id": "p0", "n": 0, "old": True},
        None,
        {"id": "p2", "n": -2},
        {"id": "p4", "n": 4},
        None,
    ]


def test_a_shown_object_names_a_hundred_people(server: CustomerIOServer) -> None:
    with opened(server) as store:
        apply(store, MEMBERS, *[put(str(i), "acme") for i in range(120)])
        shown = store.show(Entity.OBJECT, "account", "acme")

    assert len(shown["people"]) == 100


def test_the_app_api_is_called_ten_times_a_second_at_the_most(server: CustomerIOServer) -> None:
    with opened(server) as store:
        apply(store, PEOPLE, put("ann"))
        # Two calls each; the server answers 429 to more than ten in any second.
        assert all(store.show(Entity.PERSON, "id", "ann") for _ in range(8))

    assert len([path for _, path in server.workspace.requests if "/customers/" in path]) == 16


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (put("ann", " "), "the identifier is blank"),
        (put("ann", "é" * 76), "the identifier is longer than 150 bytes"),
        (delete("ann", "x" * 151), "the identifier is longer than 150 bytes"),
        (put("ann", "acme", attributes={"é" * 76: 1}), "an attribute's name is longer than 150 bytes"),
        (put("ann", "acme", attributes={"a": "é" * 501}), "attribute `a` is longer than 1000 bytes"),
        (put("ann", "acme", attributes={f"a{i}": i for i in range(301)}), "the row has 301 attributes, over 300"),
    ],
)
def test_a_relationship_has_the_same_limits(server: CustomerIOServer, row: Any, reason: str) -> None:
    with opened(server) as store:
        assert apply(store, MEMBERS, put("bob", "acme"), row) == [ACCEPTED, ("rejected", reason)]

    assert [held["id"] for held in people(server)] == ["bob"]
