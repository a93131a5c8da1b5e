"""Merges in SQL stores: two people become one, in whatever order the pairs come."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, ListAction, PersonKey, Target
from tests.contracts.batches import ACCEPTED, ACCOUNTS, DEVICES, MEMBERS, PEOPLE, apply, attributes, person, put

NOBODY_KEPT = ("rejected", "the person to keep does not exist")
NOBODY_MERGED = ("rejected", "the person to merge does not exist")
ELSEWHERE = ("rejected", "the person to merge has been merged into somebody else")
RING = ("rejected", "these merges go round in a ring: nobody would be kept")


def pairs(keep: PersonKey = PersonKey.ID, goes: PersonKey = PersonKey.ID) -> Target:
    return Target(
        entity=Entity.MERGE,
        action=ListAction.MERGE,
        person_key=keep,
        merged_key=goes,
        key_columns=("keep", "merge"),
    )


def merge(keep: str, goes: str) -> Any:
    return "merge", (keep, goes), {}, (), {}


@pytest.fixture(autouse=True)
def of_sql(store_url: str) -> None:
    if store_url.startswith("customerio"):
        pytest.skip("it merges later, and tells nothing of it")


def test_who_is_kept_keeps_what_they_have_and_gets_what_they_lack(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", attributes={"plan": "pro", "age": 40}))
    apply(store, PEOPLE, put("old", attributes={"plan": "free", "city": "Oslo"}, email="ann@example.com"))
    apply(store, ACCOUNTS, put("acme"), put("zeta"))
    apply(store, MEMBERS, put("ann", "acme", attributes={"role": "owner"}))
    apply(store, MEMBERS, put("old", "acme", attributes={"role": "guest"}), put("old", "zeta", attributes={"x": 1}))

    apply(store, DEVICES, put("old", "token-1", attributes={"model": "x"}, platform="ios"))

    assert apply(store, pairs(), merge("ann", "old")) == [ACCEPTED]

    ann = person(store, "ann")
    assert (ann["email"], ann["attributes"]) == ("ann@example.com", {"plan": "pro", "age": 40, "city": "Oslo"})
    held = {one["object_id"]: one["attributes"] for one in ann["relationships"]}
    assert held == {"acme": {"role": "owner"}, "zeta": {"x": 1}}
    assert [one["token"] for one in ann["devices"]] == ["token-1"]
    assert store.show(Entity.PERSON, "id", "old") is None


def test_a_merge_that_comes_again_is_done(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", email="ann@example.com"), put("old", email="old@example.com"))

    for _ in range(3):
        assert apply(store, pairs(goes=PersonKey.EMAIL), merge("ann", "old@example.com")) == [ACCEPTED]

    assert person(store, "ann")["email"] == "ann@example.com"


def test_people_are_named_by_any_identifier(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", email="ann@example.com"), put("old"), put("older"))
    number = str(person(store, "older")["person_id"])

    assert apply(store, pairs(PersonKey.EMAIL, PersonKey.ID), merge("ann@example.com", "old")) == [ACCEPTED]
    assert apply(store, pairs(PersonKey.ID, PersonKey.CIO_ID), merge("ann", number), merge("ann", "none")) == [
        ACCEPTED,
        NOBODY_MERGED,
    ]
    assert apply(store, pairs(PersonKey.ID, PersonKey.CIO_ID), merge("ann", number)) == [ACCEPTED]
    assert store.show(Entity.PERSON, "id", "older") is None


CHAIN = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "e")]


@pytest.mark.parametrize("order", list(permutations(CHAIN))[::5])
@pytest.mark.parametrize("at_once", [True, False], ids=["in one batch", "one by one"])
def test_merges_in_a_chain_may_come_in_any_order(
    store: ProfileStore, order: tuple[tuple[str, str], ...], at_once: bool
) -> None:
    apply(store, PEOPLE, *(put(name, attributes={"first": name, name: 1}) for name in "abcde"))

    batches = [order] if at_once else [(one,) for one in order]
    verdicts = [apply(store, pairs(), *(merge(*pair) for pair in batch)) for batch in batches]

    assert {verdict for batch in verdicts for verdict in batch} == {ACCEPTED}
    assert attributes(store, "a") == {"first": "a", **dict.fromkeys("abcde", 1)}
    assert all(store.show(Entity.PERSON, "id", name) is None for name in "bcde")


def test_each_pair_that_cannot_be_merged_has_its_reason_and_the_others_are(store: ProfileStore) -> None:
    apply(store, PEOPLE, *(put(name) for name in ("a", "b", "c", "d", "e", "f", "g")))

    verdicts = apply(
        store,
        pairs(),
        merge("nobody", "a"),
        merge("a", "nobody"),
        merge("b", "c"),
        merge("d", "c"),
        merge("e", "f"),
        merge("f", "e"),
        merge("d", "g"),
    )

    assert verdicts == [NOBODY_KEPT, NOBODY_MERGED, ACCEPTED, ELSEWHERE, RING, RING, ACCEPTED]
    left = [name for name in "abcdefg" if store.show(Entity.PERSON, "id", name)]
    assert left == ["a", "b", "d", "e", "f"]


def test_pairs_beside_a_ring_are_merged(store: ProfileStore) -> None:
    apply(store, PEOPLE, *(put(name, attributes={name: 1}) for name in "abcdef"))
    given = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d"), ("e", "c"), ("f", "e")]

    verdicts = apply(store, pairs(), *(merge(*pair) for pair in given))

    assert verdicts == [RING, RING, RING, ACCEPTED, ACCEPTED, ACCEPTED]
    assert attributes(store, "f") == {"f": 1, "e": 1, "c": 1}
    assert (attributes(store, "a"), attributes(store, "b")) == ({"a": 1, "d": 1}, {"b": 1})


def test_pairs_that_wait_for_one_another_only_by_their_order_are_no_ring(store: ProfileStore) -> None:
    apply(store, PEOPLE, *(put(name, attributes={name: 1}) for name in "abcd"))
    given = [("a", "b"), ("a", "d"), ("b", "c"), ("c", "d")]

    for verdicts in (apply(store, pairs(), *(merge(*pair) for pair in given)) for _ in range(2)):
        assert RING not in verdicts

    assert verdicts == [ACCEPTED] * 4
    assert attributes(store, "a") == dict.fromkeys("abcd", 1)


def test_two_names_of_one_person_are_one_person(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", attributes={"x": 1}, email="ann@example.com"))

    assert apply(store, pairs(goes=PersonKey.EMAIL), merge("ann", "ann@example.com")) == [ACCEPTED]
    assert attributes(store, "ann") == {"x": 1}


def test_who_is_made_anew_can_be_merged_anew(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann"), put("old", attributes={"x": 1}))
    apply(store, pairs(), merge("ann", "old"))
    apply(store, PEOPLE, put("old", attributes={"y": 2}), put("bob"))

    assert apply(store, pairs(), merge("bob", "old")) == [ACCEPTED]
    assert (attributes(store, "ann"), attributes(store, "bob")) == ({"x": 1}, {"y": 2})
