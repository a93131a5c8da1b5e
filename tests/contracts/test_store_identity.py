"""Who is who: what each identity of a store makes of `id` and `email`."""

from __future__ import annotations

from typing import Any

import pytest

from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, Identity, PersonKey, Target
from tests.contracts.batches import (
    ABSENT,
    ACCEPTED,
    ACCOUNTS,
    PEOPLE,
    PEOPLE_BY_CIO_ID,
    PEOPLE_BY_EMAIL,
    apply,
    clear,
    delete,
    person,
    put,
)
from tests.contracts.conftest import OpenStore

TAKEN_ID = ("rejected", "another person has this id")
TAKEN_EMAIL = ("rejected", "another person has this email")
TWICE_EMAIL = ("rejected", "two rows have this email")
ANOTHER_ID = ("rejected", "the person with this email has another id")


def names(store: ProfileStore, value: str, kind: str = "id") -> tuple[Any, Any] | None:
    """Id and email of a person, or None."""
    shown = store.show(Entity.PERSON, kind, value)
    return None if shown is None else (shown["id"], shown["email"])


@pytest.fixture
def by_id(opened: OpenStore) -> ProfileStore:
    return opened(Identity.ID)


@pytest.fixture
def by_email(opened: OpenStore) -> ProfileStore:
    return opened(Identity.EMAIL)


@pytest.fixture
def by_both(opened: OpenStore) -> ProfileStore:
    return opened(Identity.ID_OR_EMAIL)


def test_where_id_is_the_identity_an_email_may_repeat_and_keeps_its_letters(by_id: ProfileStore) -> None:
    rows = [put("ann", email="Info@x.com"), put("bob", email="Info@x.com")]

    assert apply(by_id, PEOPLE, *rows) == [ACCEPTED, ACCEPTED]
    assert names(by_id, "bob") == ("bob", "Info@x.com")
    assert names(by_id, "Info@x.com", "email") == ("ann", "Info@x.com")
    assert names(by_id, "info@x.com", "email") is None


def test_where_email_is_the_identity_an_id_may_repeat(by_email: ProfileStore) -> None:
    rows = [put("ann@x.com", id="1"), put("bob@x.com", id="1")]

    assert apply(by_email, PEOPLE_BY_EMAIL, *rows) == [ACCEPTED, ACCEPTED]
    assert names(by_email, "bob@x.com", "email") == ("1", "bob@x.com")


@pytest.mark.parametrize("identity", [Identity.EMAIL, Identity.ID_OR_EMAIL])
def test_a_unique_email_is_compared_and_kept_in_lower_case(opened: OpenStore, identity: Identity) -> None:
    store = opened(identity)
    apply(store, PEOPLE_BY_EMAIL, put("ZOË@X.com", attributes={"a": 1}))

    apply(store, PEOPLE_BY_EMAIL, put("zoë@x.COM", attributes={"b": 2}))

    shown = person(store, "Zoë@x.com", "email")
    assert (shown["email"], shown["attributes"]) == ("zoë@x.com", {"a": 1, "b": 2})
    number = str(shown["person_id"])
    apply(store, PEOPLE_BY_CIO_ID, put(number, email="ANN@x.com"))
    assert names(store, number, "cio_id") == (None, "ann@x.com")


def test_an_email_that_is_null_is_unset_only_where_cleared_names_it(by_id: ProfileStore) -> None:
    apply(by_id, PEOPLE, put("ann", email="ann@x.com"), put("bob", email="bob@x.com"), put("cy", email="cy@x.com"))

    apply(by_id, PEOPLE, put("ann", cleared=("email",)), put("bob"), put("cy", email="new@x.com"))

    assert [names(by_id, id_) for id_ in ("ann", "bob", "cy")] == [
        ("ann", None),
        ("bob", "bob@x.com"),
        ("cy", "new@x.com"),
    ]


@pytest.mark.parametrize("row", [put, clear])
@pytest.mark.parametrize(
    ("identity", "target", "left"),
    [
        (Identity.ID, PEOPLE, ("1", None)),
        (Identity.ID, PEOPLE_BY_CIO_ID, ("1", None)),
        (Identity.EMAIL, PEOPLE_BY_EMAIL, (None, "ann@x.com")),
        (Identity.EMAIL, PEOPLE_BY_CIO_ID, (None, "ann@x.com")),
        (Identity.ID_OR_EMAIL, PEOPLE, ("1", None)),
        (Identity.ID_OR_EMAIL, PEOPLE_BY_EMAIL, (None, "ann@x.com")),
        (Identity.ID_OR_EMAIL, PEOPLE_BY_CIO_ID, ("1", None)),
    ],
)
def test_nobody_is_left_without_a_unique_identifier(
    opened: OpenStore, row: Any, identity: Identity, target: Target, left: tuple[str | None, str | None]
) -> None:
    store = opened(identity)
    if identity is Identity.EMAIL:
        apply(store, PEOPLE_BY_EMAIL, put("ann@x.com", id="1"))
    else:
        apply(store, PEOPLE, put("1", email="ann@x.com"))
    number = str(person(store, "1")["person_id"])
    key = {PersonKey.ID: "1", PersonKey.EMAIL: "ann@x.com", PersonKey.CIO_ID: number}[target.person_key or PersonKey.ID]

    for _ in range(2):
        assert apply(store, target, row(key, cleared=("id", "email"))) == [ACCEPTED]
        assert names(store, number, "cio_id") == left


@pytest.mark.parametrize("target", [PEOPLE, PEOPLE_BY_EMAIL], ids=["by id", "by email"])
def test_a_new_identifier_with_a_known_one_is_given_to_that_person(by_both: ProfileStore, target: Target) -> None:
    known, new = (PEOPLE_BY_EMAIL, PEOPLE) if target is PEOPLE else (PEOPLE, PEOPLE_BY_EMAIL)
    old_key, new_key = ("ann@x.com", "ann") if target is PEOPLE else ("ann", "ann@x.com")
    apply(by_both, known, put(old_key, attributes={"a": 1}))
    number = person(by_both, old_key, str(known.person_key))["person_id"]

    own: dict[str, Any] = {str(known.person_key): old_key}
    verdicts = apply(by_both, new, put(new_key, attributes={"b": 2}, **own), create=False)

    assert verdicts == [ACCEPTED]
    ann = person(by_both, "ann")
    assert (ann["person_id"], ann["email"], ann["attributes"]) == (number, "ann@x.com", {"a": 1, "b": 2})


def test_an_id_and_an_email_of_two_people_are_a_rejection(by_both: ProfileStore) -> None:
    apply(by_both, PEOPLE, put("ann", email="ann@x.com"), put("bob", email="bob@x.com"))
    apply(by_both, PEOPLE_BY_EMAIL, put("cy@x.com"))

    assert apply(by_both, PEOPLE, put("bob", attributes={"a": 1}, email="ann@x.com")) == [TAKEN_EMAIL]
    assert apply(by_both, PEOPLE, put("bob", email="cy@x.com")) == [TAKEN_EMAIL]
    assert apply(by_both, PEOPLE, put("new", email="ann@x.com")) == [TAKEN_EMAIL]
    assert apply(by_both, PEOPLE_BY_EMAIL, put("ann@x.com", id="bob")) == [ANOTHER_ID]
    assert apply(by_both, PEOPLE_BY_EMAIL, put("ann@x.com", id="new")) == [ANOTHER_ID]
    assert apply(by_both, PEOPLE_BY_EMAIL, put("cy@x.com", id="bob")) == [TAKEN_ID]
    assert apply(by_both, PEOPLE_BY_EMAIL, put("new@x.com", id="ann")) == [TAKEN_ID]

    assert person(by_both, "bob")["attributes"] == {}
    assert names(by_both, "cy@x.com", "email") == (None, "cy@x.com")
    assert names(by_both, "new") is None
    assert names(by_both, "new@x.com", "email") is None


def test_a_rejected_row_leaves_its_neighbours_alone(by_both: ProfileStore) -> None:
    apply(by_both, PEOPLE, put("ann", email="ann@x.com"))

    verdicts = apply(by_both, PEOPLE, put("bob", email="ann@x.com"), put("cy", email="cy@x.com"), put("ann"))

    assert verdicts == [TAKEN_EMAIL, ACCEPTED, ACCEPTED]
    assert names(by_both, "cy") == ("cy", "cy@x.com")


@pytest.mark.parametrize("target", [PEOPLE, PEOPLE_BY_CIO_ID], ids=["by id", "by cio_id"])
def test_people_can_swap_and_pass_on_their_emails_in_one_batch(by_both: ProfileStore, target: Target) -> None:
    people = ["a", "b", "c", "d"]
    apply(by_both, PEOPLE, *[put(id_, email=f"{id_}@x.com") for id_ in people])
    numbers = [id_ if target is PEOPLE else str(person(by_both, id_)["person_id"]) for id_ in people]

    wanted = ["b@x.com", "a@x.com", "d@x.com", "new@x.com"]
    verdicts = apply(by_both, target, *[put(key, email=email) for key, email in zip(numbers, wanted, strict=True)])

    assert verdicts == [ACCEPTED] * 4
    assert [names(by_both, id_) for id_ in people] == list(zip(people, wanted, strict=True))


def test_who_waits_for_an_email_that_is_not_let_go_is_refused_too(by_both: ProfileStore) -> None:
    apply(by_both, PEOPLE, *[put(id_, email=f"{id_}@x.com") for id_ in "abcde"])

    verdicts = apply(
        by_both, PEOPLE, put("d", email="c@x.com"), put("c", email="b@x.com"), put("b", email="a@x.com"), put("e")
    )

    assert verdicts == [TAKEN_EMAIL, TAKEN_EMAIL, TAKEN_EMAIL, ACCEPTED]
    assert [names(by_both, id_) for id_ in "abcde"] == [(id_, f"{id_}@x.com") for id_ in "abcde"]


def test_what_a_deleted_or_cleared_person_had_is_free_in_the_same_batch(by_both: ProfileStore) -> None:
    apply(by_both, PEOPLE, put("a", email="a@x.com"), put("b", email="b@x.com"), put("c"))

    verdicts = apply(
        by_both,
        PEOPLE,
        put("new", email="a@x.com"),
        put("c", email="b@x.com"),
        delete("a"),
        clear("b", cleared=("email",)),
    )

    assert verdicts == [ACCEPTED] * 4
    assert names(by_both, "new") == ("new", "a@x.com")
    assert [names(by_both, id_) for id_ in "abc"] == [None, ("b", None), ("c", "b@x.com")]


def test_of_two_rows_that_want_one_email_none_gets_it(by_both: ProfileStore) -> None:
    apply(by_both, PEOPLE, put("a", email="a@x.com"), put("b"))
    apply(by_both, PEOPLE_BY_EMAIL, put("known@x.com"))

    assert apply(by_both, PEOPLE, put("b", email="x@x.com"), put("c", email="X@x.com")) == [TWICE_EMAIL] * 2
    assert apply(by_both, PEOPLE, put("c", email="known@x.com"), put("d", email="known@x.com")) == [TWICE_EMAIL] * 2
    assert apply(by_both, PEOPLE, put("a", email="a@x.com"), put("b", email="a@x.com")) == [ACCEPTED, TAKEN_EMAIL]

    assert names(by_both, "known@x.com", "email") == (None, "known@x.com")
    assert [names(by_both, id_) for id_ in "abcd"] == [("a", "a@x.com"), ("b", None), None, None]


@pytest.mark.parametrize("identity", list(Identity))
def test_by_cio_id_every_identifier_can_change(opened: OpenStore, identity: Identity) -> None:
    store = opened(identity)
    key, target = ("a@x.com", PEOPLE_BY_EMAIL) if identity is Identity.EMAIL else ("a", PEOPLE)
    apply(store, target, put(key), put("other@x.com"))
    number = str(person(store, key, str(target.person_key))["person_id"])

    assert apply(store, PEOPLE_BY_CIO_ID, put(number, id="new", email="new@x.com")) == [ACCEPTED]
    assert names(store, number, "cio_id") == ("new", "new@x.com")

    taken: dict[str, Any] = {"id": "other@x.com"} if identity is not Identity.EMAIL else {"email": "Other@x.com"}
    refused = TAKEN_EMAIL if identity is Identity.EMAIL else TAKEN_ID
    assert apply(store, PEOPLE_BY_CIO_ID, put(number, **taken)) == [refused]
    assert names(store, number, "cio_id") == ("new", "new@x.com")


def test_without_create_a_row_that_names_nobody_is_absent(by_both: ProfileStore) -> None:
    apply(by_both, PEOPLE, put("a", email="a@x.com"))

    verdicts = apply(by_both, PEOPLE, put("b", email="b@x.com"), put("c", email="a@x.com"), put("a"), create=False)

    assert verdicts == [ABSENT, ABSENT, ACCEPTED]
    assert names(by_both, "b@x.com", "email") is None


def test_relationships_find_people_by_email(by_both: ProfileStore) -> None:
    members = Target(entity=Entity.RELATIONSHIP, person_key=PersonKey.EMAIL, object_type="account")
    apply(by_both, PEOPLE, put("ann", email="ann@x.com"))
    apply(by_both, ACCOUNTS, put("acme"))

    verdicts = apply(by_both, members, put("Ann@x.com", "acme", attributes={"role": "owner"}), put("bob@x.com", "acme"))

    assert verdicts == [ACCEPTED, ("rejected", "the person does not exist yet")]
    related = [{"object_type": "account", "object_id": "acme", "attributes": {"role": "owner"}}]
    assert person(by_both, "ann")["relationships"] == related


def test_identity_rules_are_idempotent(by_both: ProfileStore) -> None:
    apply(by_both, PEOPLE_BY_EMAIL, put("ann@x.com"), put("bob@x.com"))
    rows = [put("ann", email="ann@x.com"), put("bob", email="bob@x.com"), put("cy", email="cy@x.com")]
    swapped = [put("ann", email="bob@x.com"), put("bob", email="ann@x.com"), put("cy", cleared=("email",))]

    for batch in (rows, rows, swapped, swapped):
        assert apply(by_both, PEOPLE, *batch) == [ACCEPTED] * 3

    assert [names(by_both, id_) for id_ in ("ann", "bob", "cy")] == [
        ("ann", "bob@x.com"),
        ("bob", "ann@x.com"),
        ("cy", None),
    ]
