"""Phones: a third identifier where a store's identity says so."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from syncer.model.duplicates import FindsDuplicates
from syncer.model.errors import StoreRefusesError
from syncer.model.lists import ErasesTraces
from syncer.model.protocols import IDENTIFIERS, NumbersPeople, ProfileStore, ReadsBack
from syncer.model.types import Entity, EventType, Identity, ListAction, PersonKey, Target
from tests.contracts.batches import (
    ACCEPTED,
    ACCOUNTS,
    PEOPLE,
    PEOPLE_BY_CIO_ID,
    PEOPLE_BY_EMAIL,
    PEOPLE_BY_PHONE,
    apply,
    clear,
    delete,
    person,
    put,
)
from tests.contracts.conftest import OpenStore

A, B, C, D = (f"+4915110000{number:03}" for number in range(4))
TAKEN_PHONE = ("rejected", "another person has this phone")
TAKEN_EMAIL = ("rejected", "another person has this email")
TAKEN_ID = ("rejected", "another person has this id")
TWICE_PHONE = ("rejected", "two rows have this phone")
ANOTHER_ID = ("rejected", "the person with this phone has another id")


@pytest.fixture
def store(opened: OpenStore) -> ProfileStore:
    return opened(Identity.ID_EMAIL_OR_PHONE)


@pytest.fixture
def of_sql(store_url: str) -> None:
    if store_url.startswith("customerio"):
        pytest.skip("its API takes a row and works later, row by row")


def names(store: ProfileStore, value: str, kind: str = "id") -> tuple[Any, ...] | None:
    """Id, email and phone of a person, or None."""
    shown = store.show(Entity.PERSON, kind, value)
    return None if shown is None else (shown["id"], shown["email"], shown["phone"])


def test_people_are_known_by_a_phone(store: ProfileStore) -> None:
    rows = [put(A, attributes={"a": 1}), put(B, attributes={"b": 2})]

    assert apply(store, PEOPLE_BY_PHONE, *rows) == [ACCEPTED] * 2
    assert apply(store, PEOPLE_BY_PHONE, put(A, attributes={"c": 3}), put(C)) == [ACCEPTED] * 2

    assert person(store, A, "phone")["attributes"] == {"a": 1, "c": 3}
    assert names(store, C, "phone") == (None, None, C)
    assert apply(store, PEOPLE_BY_PHONE, clear(A, cleared=("a",)), delete(B)) == [ACCEPTED] * 2
    assert person(store, A, "phone")["attributes"] == {"c": 3}
    assert names(store, B, "phone") is None


@pytest.mark.parametrize("identity", [Identity.ID, Identity.ID_OR_EMAIL])
def test_elsewhere_a_phone_is_an_attribute_and_nobody_is_known_by_it(opened: OpenStore, identity: Identity) -> None:
    store = opened(identity)

    rows = [put("ann", attributes={"phone": A}), put("bob", attributes={"phone": A})]
    assert apply(store, PEOPLE, *rows) == [ACCEPTED] * 2

    assert [person(store, id_)["attributes"] for id_ in ("ann", "bob")] == [{"phone": A}] * 2
    with pytest.raises(StoreRefusesError, match="cannot tell people apart by `phone`"):
        store.check(PEOPLE_BY_PHONE)


def test_a_phone_beside_the_key_is_set_changed_and_unset(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", phone=A), put("bob", phone=B))

    apply(store, PEOPLE, put("ann", cleared=("phone",)), put("bob", phone=C, attributes={"x": 1}))

    assert [names(store, id_) for id_ in ("ann", "bob")] == [("ann", None, None), ("bob", None, C)]
    assert person(store, "bob")["attributes"] == {"x": 1}


@pytest.mark.parametrize(
    ("known", "old_key", "new", "new_key"),
    [
        (PEOPLE_BY_PHONE, A, PEOPLE, "ann"),
        (PEOPLE, "ann", PEOPLE_BY_PHONE, A),
        (PEOPLE_BY_PHONE, A, PEOPLE_BY_EMAIL, "ann@x.com"),
        (PEOPLE_BY_EMAIL, "ann@x.com", PEOPLE_BY_PHONE, A),
    ],
)
def test_a_new_identifier_with_a_known_one_is_given_to_that_person(
    store: ProfileStore, known: Target, old_key: str, new: Target, new_key: str
) -> None:
    apply(store, known, put(old_key, attributes={"a": 1}))
    own: dict[str, Any] = {str(known.person_key): old_key}

    assert apply(store, new, put(new_key, attributes={"b": 2}, **own)) == [ACCEPTED]

    shown = person(store, new_key, str(new.person_key))
    assert (shown[str(known.person_key)], shown["attributes"]) == (old_key, {"a": 1, "b": 2})


@pytest.mark.usefixtures("of_sql")
def test_a_phone_of_somebody_else_is_a_rejection(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", phone=A), put("bob", phone=B, email="bob@x.com"))

    assert apply(store, PEOPLE, put("bob", phone=A, attributes={"x": 1}), put("cy")) == [TAKEN_PHONE, ACCEPTED]
    assert apply(store, PEOPLE, put("new", phone=A)) == [TAKEN_PHONE]
    assert apply(store, PEOPLE_BY_PHONE, put(A, id="bob")) == [ANOTHER_ID]
    assert apply(store, PEOPLE_BY_PHONE, put(A, email="bob@x.com")) == [TAKEN_EMAIL]
    assert apply(store, PEOPLE_BY_PHONE, put(C, id="bob")) == [TAKEN_ID]
    assert apply(store, PEOPLE_BY_EMAIL, put("new@x.com", phone=B)) == [TAKEN_PHONE]
    assert apply(store, PEOPLE, put("d", phone=D), put("e", phone=D)) == [TWICE_PHONE] * 2

    assert names(store, "bob") == ("bob", "bob@x.com", B)
    assert person(store, "bob")["attributes"] == {}
    assert [names(store, value, "phone") for value in (C, D)] == [None, None]


@pytest.mark.usefixtures("of_sql")
def test_people_can_swap_and_pass_on_their_phones_and_emails_in_one_batch(store: ProfileStore) -> None:
    people, phones = ["a", "b", "c"], [A, B, C]
    rows = zip(people, phones, strict=True)
    apply(store, PEOPLE, *[put(id_, email=f"{id_}@x.com", phone=phone) for id_, phone in rows])

    wanted = [("a", "c@x.com", B), ("b", "a@x.com", C), ("c", "b@x.com", D)]
    assert apply(store, PEOPLE, *[put(id_, email=email, phone=phone) for id_, email, phone in wanted]) == [ACCEPTED] * 3

    assert [names(store, id_) for id_ in people] == wanted
    assert names(store, A, "phone") is None


@pytest.mark.usefixtures("of_sql")
@pytest.mark.parametrize("target", [PEOPLE, PEOPLE_BY_EMAIL, PEOPLE_BY_PHONE, PEOPLE_BY_CIO_ID])
def test_nobody_is_left_without_an_identifier(store: ProfileStore, target: Target) -> None:
    apply(store, PEOPLE, put("ann", email="ann@x.com", phone=A))
    number = str(person(store, "ann")["person_id"])
    key = {"id": "ann", "email": "ann@x.com", "phone": A, "cio_id": number}[str(target.person_key)]

    for row in (put, clear):
        assert apply(store, target, row(key, cleared=("id", "email", "phone"))) == [ACCEPTED]
        left = {"id": ("ann", None, None), "email": (None, "ann@x.com", None), "phone": (None, None, A)}
        assert names(store, number, "cio_id") == left.get(str(target.person_key), ("ann", None, None))


@pytest.mark.usefixtures("of_sql")
@pytest.mark.parametrize(
    ("first", "cleared", "left"),
    [
        ({"email": "a@x.com", "phone": A}, ("email", "phone"), (None, "a@x.com", None)),
        ({"id": "a", "phone": A}, ("id", "phone"), ("a", None, None)),
        ({"id": "a", "email": "a@x.com", "phone": A}, ("id", "email"), (None, None, A)),
        ({"id": "a", "email": "a@x.com", "phone": A}, ("id",), (None, "a@x.com", A)),
    ],
)
def test_the_first_identifier_stays_where_all_are_unset(
    store: ProfileStore, first: dict[str, str], cleared: tuple[str, ...], left: tuple[str | None, ...]
) -> None:
    apply(store, PEOPLE_BY_EMAIL if "email" in first else PEOPLE, put(first.get("email", "a"), **_without(first)))
    number = str(person(store, A, "phone")["person_id"])

    assert apply(store, PEOPLE_BY_CIO_ID, put(number, cleared=cleared)) == [ACCEPTED]

    assert names(store, number, "cio_id") == left


def _without(first: dict[str, str]) -> dict[str, Any]:
    key = "email" if "email" in first else "id"
    return {name: value for name, value in first.items() if name != key}


@pytest.mark.usefixtures("of_sql")
@pytest.mark.parametrize("is_older", [True, False])
def test_two_people_whom_a_row_names_become_one_with_all_that_either_is_known_by(
    store: ProfileStore, is_older: bool
) -> None:
    both = [
        (PEOPLE, put("ann", attributes={"a": 1, "x": "own"})),
        (PEOPLE_BY_EMAIL, put("ann@x.com", phone=A, attributes={"b": 2, "x": "other"})),
    ]
    for target, row in both if is_older else reversed(both):
        apply(store, target, row)

    assert apply(store, PEOPLE, put("ann", email="ann@x.com")) == [ACCEPTED]

    assert names(store, "ann") == names(store, A, "phone") == ("ann", "ann@x.com", A)
    assert person(store, "ann")["attributes"] == {"a": 1, "b": 2, "x": "own" if is_older else "other"}


@pytest.mark.usefixtures("of_sql")
def test_three_people_whom_a_row_names_become_one(store: ProfileStore) -> None:
    apply(store, PEOPLE_BY_PHONE, put(A, attributes={"a": 1}))
    apply(store, PEOPLE_BY_EMAIL, put("ann@x.com", attributes={"b": 2}))
    apply(store, PEOPLE, put("ann", attributes={"c": 3}))

    assert apply(store, PEOPLE, put("ann", email="ann@x.com", phone=A), put("bob")) == [ACCEPTED] * 2

    assert names(store, "ann") == names(store, A, "phone") == ("ann", "ann@x.com", A)
    assert person(store, "ann")["attributes"] == {"a": 1, "b": 2, "c": 3}


@pytest.mark.usefixtures("of_sql")
def test_nobody_loses_an_identifier_by_becoming_one_with_another(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", phone=A))
    apply(store, PEOPLE_BY_EMAIL, put("ann@x.com", phone=B))

    assert apply(store, PEOPLE, put("ann", email="ann@x.com")) == [TAKEN_EMAIL]
    assert apply(store, PEOPLE_BY_PHONE, put(A, id="other", email="ann@x.com")) == [ANOTHER_ID]

    assert (names(store, "ann"), names(store, B, "phone")) == (("ann", None, A), (None, "ann@x.com", B))


@pytest.mark.usefixtures("of_sql")
def test_two_rows_that_name_one_person_by_different_identifiers_do_not_both_get_them(store: ProfileStore) -> None:
    apply(store, PEOPLE_BY_EMAIL, put("ann@x.com", phone=A))

    verdicts = apply(store, PEOPLE, put("one", email="ann@x.com"), put("two", phone=A))

    assert verdicts == [ACCEPTED, TAKEN_PHONE]
    assert names(store, "one") == ("one", "ann@x.com", A)
    assert names(store, "two") is None


@pytest.mark.usefixtures("of_sql")
def test_what_is_about_people_finds_them_by_phone(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", phone=A))
    apply(store, ACCOUNTS, put("acme"))
    links = {"person_key": PersonKey.PHONE, "key_columns": ("mobile", "other")}
    members = Target(entity=Entity.RELATIONSHIP, object_type="account", **links)  # type: ignore[arg-type]
    devices = Target(entity=Entity.DEVICE, **links)  # type: ignore[arg-type]

    assert apply(store, members, put(A, "acme", attributes={"role": "owner"})) == [ACCEPTED]
    assert apply(store, devices, put(A, "t1", platform="ios"), put(B, "t2", platform="ios")) == [ACCEPTED] * 2

    shown = person(store, "ann")
    assert [one["object_id"] for one in shown["relationships"]] == ["acme"]
    assert [one["token"] for one in shown["devices"]] == ["t1"]
    assert names(store, B, "phone") == (None, None, B)
    assert isinstance(store, ReadsBack)
    for target in (PEOPLE_BY_PHONE, members, devices):
        found = [row for table in store.contained(target, None) for row in table.to_pylist()]
        assert A in {row["phone"] for row in found}
    event = Target(
        entity=Entity.EVENT, person_key=PersonKey.PHONE, event=EventType(name="paid"), key_columns=("number",)
    )
    store.check(event)


@pytest.mark.usefixtures("of_sql")
def test_whoever_is_suppressed_is_refused_by_phone_too(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", email="ann@x.com", phone=A))
    listed = Target(
        entity=Entity.PERSON, person_key=PersonKey.PHONE, action=ListAction.SUPPRESS, key_columns=("mobile",)
    )

    assert apply(store, listed, ("suppress", (A,), {}, (), {})) == [ACCEPTED]

    assert names(store, "ann") is None
    for target, row in ((PEOPLE_BY_PHONE, put(A)), (PEOPLE, put("ann")), (PEOPLE, put("bob", phone=A))):
        ((verdict, reason),) = apply(store, target, row)
        assert (verdict, "is suppressed in this store" in str(reason)) == ("rejected", True)


@pytest.mark.usefixtures("of_sql")
def test_pairs_are_named_by_phone_and_who_is_kept_gets_the_phone(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann"), put("old", phone=A, email="old@x.com"), put("bob", phone=B))

    def pairs(keep: PersonKey, goes: PersonKey) -> Target:
        return Target(
            entity=Entity.MERGE,
            action=ListAction.MERGE,
            person_key=keep,
            merged_key=goes,
            key_columns=("keep", "goes"),
        )

    for _ in range(2):
        first = apply(store, pairs(PersonKey.ID, PersonKey.PHONE), ("merge", ("ann", A), {}, (), {}))
        second = apply(store, pairs(PersonKey.PHONE, PersonKey.ID), ("merge", (B, "ann"), {}, (), {}))
        assert (first, second) == ([ACCEPTED], [ACCEPTED])

    assert names(store, "bob") == ("bob", "old@x.com", B)
    assert names(store, "ann") is None


@pytest.mark.usefixtures("of_sql")
def test_a_phone_that_moves_is_told(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", phone=A), put("bob"))
    assert isinstance(store, NumbersPeople)
    assert isinstance(store, ErasesTraces)

    apply(store, PEOPLE, put("ann", phone=B), put("bob", phone=A))

    moved = store.moves_since(0).identifiers.select(["kind", "value"]).to_pylist()
    assert moved == [{"kind": "phone", "value": A}]
    traces = [{"entity": "person", "kind": "phone", "value": A}]
    store.erase_traces(pa.Table.from_pylist(traces, schema=IDENTIFIERS))
    assert store.moves_since(0).identifiers.num_rows == 0


@pytest.mark.usefixtures("of_sql")
def test_people_who_share_something_are_shown_with_their_phones(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", phone=A, attributes={"name": "Ann"}), put("old", attributes={"name": "ann"}))
    assert isinstance(store, FindsDuplicates)

    found = [pair for page in store.duplicates(("name",), None) for pair in page.to_pylist()]

    assert [(pair["keep"]["phone"], pair["merge"]["phone"]) for pair in found] == [(A, None)]
    assert not [*store.duplicates(("phone",), None)][1:]
    assert store.why_no_duplicates(("phone",)) == ["no two people of the store have one phone"]
