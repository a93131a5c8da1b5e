"""Phones as identifiers at Customer.io: what each operation says, which the stand-in checks against the definitions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from connectors.customerio.errors import kept
from connectors.customerio.options import Via
from syncer.model.errors import StoreRefusesError
from syncer.model.types import Entity, Identity, ListAction, PersonKey, Target
from syncer.settings.registry import open_store
from tests.contracts.batches import ACCEPTED, ACCOUNTS, PEOPLE, PEOPLE_BY_PHONE, apply, clear, delete, put
from tests.contracts.test_events import PAID, event, sent
from tests.contracts.test_merges import pairs
from tests.servers.customerio import CustomerIOServer, customerio_server

A, B = "+4915110000001", "+4915110000002"
DEVICES = Target(entity=Entity.DEVICE, person_key=PersonKey.PHONE, key_columns=("mobile", "token"))
MEMBERS = Target(
    entity=Entity.RELATIONSHIP, person_key=PersonKey.PHONE, object_type="account", key_columns=("mobile", "account_id")
)
LISTED = Target(entity=Entity.PERSON, person_key=PersonKey.PHONE, action=ListAction.SUPPRESS, key_columns=("mobile",))


@pytest.fixture
def server() -> Iterator[CustomerIOServer]:
    with customerio_server(bodies=[]) as running:
        running.workspace.unique = Identity.ID_EMAIL_OR_PHONE.unique
        yield running
        assert running.workspace.breaches == []


@pytest.fixture
def store(server: CustomerIOServer) -> Iterator[Any]:
    with closing(_opened(server)) as store:
        yield store


def _opened(server: CustomerIOServer, identity: Identity = Identity.ID_EMAIL_OR_PHONE, **options: Any) -> Any:
    return open_store("crm", "customerio://us", identity=identity, options=server.options(**options))


def named(server: CustomerIOServer) -> list[dict[str, Any]]:
    """Whom each operation names."""
    assert server.workspace.bodies is not None
    items = [item for body in server.workspace.bodies for item in json.loads(body)["batch"]]
    return [item.get("identifiers") or {"primary": item["primary"], "secondary": item["secondary"]} for item in items]


def test_every_operation_about_people_names_them_by_phone(server: CustomerIOServer, store: Any) -> None:
    apply(store, ACCOUNTS, put("acme"))
    assert server.workspace.bodies is not None
    server.workspace.bodies.clear()
    by_phone = replace(PAID, person_key=PersonKey.PHONE)
    for target in (PEOPLE_BY_PHONE, DEVICES, MEMBERS, LISTED, by_phone):
        store.check(target)

    assert apply(store, PEOPLE_BY_PHONE, put(A, attributes={"plan": "pro"}, email="a@x.com")) == [ACCEPTED]
    assert apply(store, DEVICES, put(A, "t1", platform="ios")) == [ACCEPTED]
    assert apply(store, MEMBERS, put(A, "acme", attributes={"role": "owner"})) == [ACCEPTED]
    assert sent(store, by_phone, event("a", A)) == [ACCEPTED]
    (person,) = server.workspace.people
    assert person.attributes == {"phone": A, "email": "a@x.com", "plan": "pro"}
    assert [held["cio_id"] for held in server.workspace.devices.values()] == [person.cio_id]
    assert server.workspace.relationships == {(person.cio_id, "1", "acme"): {"role": "owner"}}
    assert apply(store, PEOPLE_BY_PHONE, clear(A, cleared=("plan",))) == [ACCEPTED]
    assert person.attributes == {"phone": A, "email": "a@x.com"}
    assert apply(store, LISTED, ("suppress", (A,), {}, (), {})) == [ACCEPTED]
    assert apply(store, PEOPLE_BY_PHONE, delete(A)) == [ACCEPTED]

    whom = {"phone": A}
    assert named(server) == [whom] * 7
    assert server.workspace.people == []


@pytest.mark.parametrize(
    ("keep", "goes", "field"),
    [(PersonKey.PHONE, PersonKey.ID, "keep"), (PersonKey.ID, PersonKey.PHONE, "merge")],
)
def test_no_operation_merges_people_by_phone(store: Any, keep: PersonKey, goes: PersonKey, field: str) -> None:
    with pytest.raises(StoreRefusesError, match="merges nobody by `phone`") as raised:
        store.check(pairs(keep, goes))

    assert raised.value.field == field


def test_a_phone_beside_another_identifier_is_an_attribute_of_the_operation(
    server: CustomerIOServer, store: Any
) -> None:
    assert apply(store, PEOPLE, put("ann", phone=A), put("bob", phone=B)) == [ACCEPTED] * 2
    assert apply(store, PEOPLE, put("bob", cleared=("phone",))) == [ACCEPTED]

    assert [person.attributes for person in server.workspace.people] == [{"id": "ann", "phone": A}, {"id": "bob"}]


def test_two_rows_of_one_batch_that_have_one_phone_are_rejected(store: Any) -> None:
    twice = ("rejected", "two rows have this phone")

    rows = [put("ann", phone=A, email="a@x.com"), put("bob", phone=A, email="b@x.com"), put("cy", phone=B)]

    assert apply(store, PEOPLE, *rows) == [twice, twice, ACCEPTED]


def test_a_number_that_the_workspace_does_not_take_is_rejected_without_being_told(store: Any) -> None:
    ((verdict, reason),) = apply(store, PEOPLE_BY_PHONE, put("0151-wrong"))

    assert verdict == "rejected"
    assert "0151" not in str(reason)


def test_a_reason_hides_the_phone_of_somebody_else() -> None:
    assert kept(f"already taken by {B}, see the log", item='{"identifiers":{"id":"ann"}}') == (
        "already taken by [hidden], see the log"
    )


def test_a_person_is_read_back_by_phone(server: CustomerIOServer, store: Any) -> None:
    apply(store, PEOPLE, put("ann", phone=A, attributes={"plan": "pro"}))

    shown = store.show(Entity.PERSON, "phone", A)
    assert (shown["id"], shown["email"], shown["phone"], shown["attributes"]) == ("ann", None, A, {"plan": "pro"})
    assert store.show(Entity.PERSON, "phone", B) is None
    (found,) = store.contained(PEOPLE_BY_PHONE, pa.table({"k1": [A, B]}))
    assert [(row["id"], row["phone"], row["attributes"]) for row in found.to_pylist()] == [
        ("ann", A, '{"plan": "pro"}')
    ]
    names = store.identifiers(PEOPLE_BY_PHONE, pa.table({"k1": [A]})).to_pylist()
    assert {(one["kind"], one["value"]) for one in names} >= {("id", "ann"), ("phone", A)}


@pytest.mark.parametrize("identity", [Identity.ID, Identity.EMAIL, Identity.ID_OR_EMAIL])
def test_a_workspace_without_phones_has_them_as_attributes(server: CustomerIOServer, identity: Identity) -> None:
    server.workspace.unique = identity.unique
    with closing(_opened(server, identity)) as store:
        with pytest.raises(StoreRefusesError, match="cannot tell people apart by `phone`"):
            store.check(PEOPLE_BY_PHONE)
        if identity is Identity.ID_OR_EMAIL:
            apply(store, PEOPLE, put("ann", attributes={"phone": A}), put("bob", attributes={"phone": A}))
            shown = store.show(Entity.PERSON, "id", "ann")
            assert shown["attributes"] == {"phone": A}
            assert "phone" not in shown


def test_the_pipelines_api_takes_no_phone_as_the_identifier(server: CustomerIOServer) -> None:
    with (
        closing(_opened(server, via=Via.PIPELINES)) as store,
        pytest.raises(StoreRefusesError, match="the Pipelines API takes people by their `id` alone"),
    ):
        store.check(PEOPLE_BY_PHONE)
