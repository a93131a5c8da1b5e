"""What every profile store promises."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.errors import StoreError, StoreRefusesError
from syncer.model.json_text import json_text
from syncer.model.protocols import IDENTIFIERS, ProfileStore
from syncer.model.types import Entity, Identity, Target
from syncer.settings.registry import open_store
from tests.contracts.batches import (
    ABSENT,
    ACCEPTED,
    ACCOUNTS,
    COUPONS,
    MEMBERS,
    PEOPLE,
    PEOPLE_BY_CIO_ID,
    PEOPLE_BY_EMAIL,
    PRICES,
    apply,
    attributes,
    batch_of,
    clear,
    delete,
    made,
    person,
    put,
)
from tests.contracts.conftest import OpenStore
from tests.contracts.probing import probed

NO_PERSON = ("rejected", "the person does not exist yet")
NO_OBJECT = ("rejected", "the object does not exist yet")


def everything(store: ProfileStore) -> list[dict[str, Any] | None]:
    """All that the tests put into a store, without its times."""
    shown = [
        *(store.show(Entity.PERSON, "id", key) for key in ("ann", "bob", "cy")),
        *(store.show(Entity.OBJECT, "account", key) for key in ("acme", "zeta")),
        *(store.show(Entity.COLLECTION, name, "") for name in ("coupons", "prices")),
    ]
    return [thing and {name: thing[name] for name in thing if not name.endswith("_at")} for thing in shown]


def people_of(store: ProfileStore, account: str) -> dict[str, Any]:
    """Who is related to an account, and how."""
    shown = store.show(Entity.OBJECT, "account", account)
    assert shown is not None
    return {related["id"]: related["attributes"] for related in shown["people"]}


def test_a_new_person_has_what_was_put(store: ProfileStore) -> None:
    verdicts = apply(store, PEOPLE, put("ann", attributes={"city": "Oslo"}, email="Ann@example.com"), put("bob"))

    assert verdicts == [ACCEPTED, ACCEPTED]
    ann = person(store, "ann")
    assert (ann["id"], ann["email"], ann["attributes"]) == ("ann", "Ann@example.com", {"city": "Oslo"})
    assert attributes(store, "bob") == {}


def test_what_a_put_does_not_name_stays(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", attributes={"city": "Oslo", "age": 40, "plan": "pro"}, email="ann@example.com"))

    apply(store, PEOPLE, put("ann", attributes={"age": 41, "ltv": 9.5}, cleared=("plan", "never_set")))

    assert attributes(store, "ann") == {"city": "Oslo", "age": 41, "ltv": Decimal("9.5")}
    assert person(store, "ann")["email"] == "ann@example.com"


@pytest.mark.parametrize(
    ("target", "key", "read"),
    [
        (PEOPLE, ("ann",), lambda store: attributes(store, "ann")),
        (ACCOUNTS, ("acme",), lambda store: store.show(Entity.OBJECT, "account", "acme")["attributes"]),
        (MEMBERS, ("ann", "acme"), lambda store: people_of(store, "acme")["ann"]),
    ],
    ids=["person", "object", "relationship"],
)
def test_attributes_merge_and_are_unset(store: ProfileStore, target: Target, key: tuple[str, ...], read: Any) -> None:
    apply(store, PEOPLE, put("ann"))
    apply(store, ACCOUNTS, put("acme"))
    apply(store, target, put(*key, attributes={"a": 1, "b": {"x": 1, "y": None}, "c": 3, "d": 4}))

    apply(store, target, put(*key, attributes={"b": {"z": [1, None]}, "e": "5"}, cleared=("c",)))
    assert read(store) == {"a": 1, "b": {"z": [1, None]}, "d": 4, "e": "5"}

    assert apply(store, target, clear(*key, cleared=("a", "d", "nothing"))) == [ACCEPTED]
    assert read(store) == {"b": {"z": [1, None]}, "e": "5"}

    apply(store, target, clear(*key, cleared=("b", "e")))
    assert read(store) == {}


VALUES = [
    "123456789012345678901234567890.123456789012345678901",
    "18446744073709551616",
    "-0.10",
    '{"deep":[{"null":null,"number":10.00}]}',
    '"quotes \\" \\\\ / \\n \\t"',
    '"Zoë 🐘 \u2028"',
    '""',
    "true",
]


def test_any_json_is_shown_as_it_is_stored(store: ProfileStore) -> None:
    """Deeper than Python's stack, and with more digits than it reads."""
    deep, long = "[" * 900 + "1" + "]" * 900, "7" * 5_000
    apply(store, PEOPLE, put("ann", attributes=f'{{"deep":{deep},"long":{long}}}'))
    apply(store, COUPONS, put("ten", attributes=f'{{"deep":{deep}}}'))

    assert json_text(attributes(store, "ann")) == f'{{"deep": {deep}, "long": {long}}}'
    shown = store.show(Entity.COLLECTION, "coupons", "ten")
    assert shown is not None
    assert json_text(shown["rows"][0]["data"]) == f'{{"deep": {deep}}}'


NAMES = ["a.b", "with space", "größe", "$dollar", "$", "a[0]", "email's", "x:y", "%s", "{}", ""]


@pytest.mark.parametrize("target", [PEOPLE, ACCOUNTS, COUPONS], ids=lambda target: target.entity)
def test_values_come_back_exactly(store: ProfileStore, target: Target) -> None:
    members = ", ".join(f'"v{i}": {text}' for i, text in enumerate(VALUES))
    apply(store, target, put("k", attributes=f'{{"unset": 1, {members}}}'))
    if target is not COUPONS:
        apply(store, target, put("k", attributes={"after": 1}, cleared=("unset",)))

    kind = {Entity.PERSON: "id", Entity.OBJECT: "account", Entity.COLLECTION: "coupons"}[target.entity]
    shown = store.show(target.entity, kind, "k")
    assert shown is not None
    held = shown["rows"][0]["data"] if target is COUPONS else shown["attributes"]
    expected = [json.loads(text, parse_float=Decimal) for text in VALUES]
    assert [repr(held[f"v{i}"]) for i in range(len(VALUES))] == [repr(value) for value in expected]


def test_any_attribute_name_can_be_set_kept_and_unset(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", attributes={name: {"n": 1} for name in NAMES}))
    apply(store, PEOPLE, put("ann", attributes={"other": 2}))
    assert attributes(store, "ann") == {name: {"n": 1} for name in NAMES} | {"other": 2}

    apply(store, PEOPLE, put("ann", attributes=dict.fromkeys(NAMES[:5], 3), cleared=tuple(NAMES[5:])))
    assert attributes(store, "ann") == dict.fromkeys(NAMES[:5], 3) | {"other": 2}

    apply(store, PEOPLE, clear("ann", cleared=tuple(NAMES)))
    assert attributes(store, "ann") == {"other": 2}


def test_keys_are_text_and_compared_exactly(store: ProfileStore) -> None:
    keys = ["1", "01", "a", "A", "é", "e\u0301", "a,b", 'say "hi"', "two\nlines", "tab\t", "\\N", "\\.", "🐘", "'; --"]

    apply(store, PEOPLE, *[put(key, attributes={"key": key}) for key in keys])

    assert [attributes(store, key) for key in keys] == [{"key": key} for key in keys]


BATCHES: list[tuple[Target, list[Any]]] = [
    (PEOPLE, [put("ann", attributes={"a": 1}, email="ann@example.com"), put("bob", attributes={"b": 1})]),
    (PEOPLE, [put("ann", attributes={"a": 2}, cleared=("b", "email")), put("cy"), delete("bob"), delete("dan")]),
    (ACCOUNTS, [put("acme", attributes={"a": 1}), put("zeta"), delete("none")]),
    (MEMBERS, [put("ann", "acme", attributes={"role": "owner"}), put("ann", "zeta"), put("bob", "acme")]),
    (MEMBERS, [clear("ann", "acme", cleared=("role",)), delete("ann", "zeta"), delete("bob", "zeta")]),
]
COLLECTION_BATCHES: list[tuple[Target, list[Any]]] = [
    (COUPONS, [put("ten", attributes={"code": "ten", "off": 10}), put("old"), delete("none")]),
    (COUPONS, [put("ten", attributes={"code": "ten"}), delete("old")]),
    (PRICES, [put("a", "no", attributes={"price": 1.50}), delete("b", "no")]),
]


def assert_twice_is_once(store: ProfileStore, batches: list[tuple[Target, list[Any]]]) -> None:
    for target, rows in batches:
        first, after_once = apply(store, target, *rows), everything(store)

        assert apply(store, target, *rows) == first
        assert everything(store) == after_once


def test_a_batch_applied_twice_is_the_same_as_once(store: ProfileStore) -> None:
    assert_twice_is_once(store, BATCHES)


def test_a_collections_batch_applied_twice_is_the_same_as_once(store: ProfileStore) -> None:
    assert_twice_is_once(store, COLLECTION_BATCHES)


def test_a_store_gives_the_whole_of_a_history_back(store: ProfileStore) -> None:
    for target, rows in BATCHES + COLLECTION_BATCHES:
        apply(store, target, *rows)

    ann, bob, cy, acme, zeta, coupons, prices = everything(store)
    related = [{"object_type": "account", "object_id": "acme", "attributes": {}}]
    expected = {"person_id": 1, "id": "ann", "email": None, "attributes": {"a": 2}}
    assert ann == {**expected, "relationships": related, "devices": [], "events": [], "anonymous_ids": []}
    assert bob is None
    assert cy is not None
    assert (cy["id"], cy["attributes"], cy["relationships"]) == ("cy", {}, [])
    assert acme == {
        "object_type": "account",
        "object_id": "acme",
        "attributes": {"a": 1},
        "people_count": 1,
        "people": [{"person_id": 1, "id": "ann", "email": None, "attributes": {}}],
    }
    assert zeta is not None
    assert zeta["people"] == []
    rows = [{"key": "ten", "data": {"code": "ten"}}]
    assert coupons == {"collection": "coupons", "row_count": 1, "rows": rows}
    rows = [{"key": '["a","no"]', "data": {"price": Decimal("1.5")}}]
    assert prices == {"collection": "prices", "row_count": 1, "rows": rows}


@pytest.mark.parametrize(("target", "key"), [(PEOPLE, ["ann"]), (ACCOUNTS, ["acme"]), (MEMBERS, ["ann", "acme"])])
def test_without_create_nothing_is_made(store: ProfileStore, target: Target, key: list[str]) -> None:
    assert apply(store, target, put(*key, attributes={"a": 1}), create=False) == [ABSENT]
    assert apply(store, target, delete(*key), create=False) == [ACCEPTED]
    assert apply(store, target, clear(*key, cleared=("a",)), create=False) == [ACCEPTED]

    assert everything(store) == [None] * 7


def test_without_create_what_exists_is_updated_and_related(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", attributes={"a": 1}))
    apply(store, ACCOUNTS, put("acme"))

    assert apply(store, PEOPLE, put("ann", attributes={"b": 2}), put("bob"), create=False) == [ACCEPTED, ABSENT]
    assert apply(store, ACCOUNTS, put("acme", attributes={"b": 2}), create=False) == [ACCEPTED]
    verdicts = apply(store, MEMBERS, put("ann", "acme"), put("ann", "zeta"), put("bob", "acme"), create=False)

    assert verdicts == [ACCEPTED, ABSENT, ABSENT]
    assert attributes(store, "ann") == {"a": 1, "b": 2}
    assert people_of(store, "acme") == {"ann": {}}


def test_a_collection_is_made_without_create(store: ProfileStore) -> None:
    assert apply(store, COUPONS, put("ten", attributes={"off": 10}), create=False) == [ACCEPTED]


def test_a_relationship_waits_for_both_ends(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann"))
    rows = [put("ann", "acme", attributes={"role": "owner"}), put("bob", "acme"), put("bob", "none")]
    assert apply(store, MEMBERS, *rows) == [NO_OBJECT, NO_PERSON, NO_PERSON]

    apply(store, ACCOUNTS, put("acme"))

    assert apply(store, MEMBERS, *rows) == [ACCEPTED, NO_PERSON, NO_PERSON]
    assert people_of(store, "acme") == {"ann": {"role": "owner"}}


def test_objects_of_other_types_are_other_objects(store: ProfileStore) -> None:
    courses = Target(entity=Entity.OBJECT, object_type="course", key_columns=("id",))
    apply(store, ACCOUNTS, put("1", attributes={"a": 1}))
    apply(store, courses, put("1", attributes={"c": 1}))
    apply(store, PEOPLE, put("ann"))
    apply(store, MEMBERS, put("ann", "1"))

    apply(store, courses, delete("1"))

    assert people_of(store, "1") == {"ann": {}}
    assert store.show(Entity.OBJECT, "course", "1") is None


@pytest.mark.parametrize("gone", [(PEOPLE, "ann"), (ACCOUNTS, "acme")], ids=["person", "object"])
def test_a_deletion_takes_the_relationships_with_it(store: ProfileStore, gone: tuple[Target, str]) -> None:
    apply(store, PEOPLE, put("ann", attributes={"a": 1}), put("bob"))
    apply(store, ACCOUNTS, put("acme"), put("zeta"))
    apply(store, MEMBERS, put("ann", "acme"), put("ann", "zeta"), put("bob", "acme"), put("bob", "zeta"))

    target, key = gone
    apply(store, target, delete(key))
    apply(store, target, put(key))

    left = {account: set(people_of(store, account)) for account in ("acme", "zeta")}
    assert left == ({"acme": {"bob"}, "zeta": {"bob"}} if key == "ann" else {"acme": set(), "zeta": {"ann", "bob"}})
    assert attributes(store, "ann") == ({} if key == "ann" else {"a": 1})


def test_a_person_id_is_never_used_again(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann"), put("bob"))
    used = {person(store, id_)["person_id"] for id_ in ("ann", "bob")}
    apply(store, PEOPLE, delete("ann"), delete("bob"))

    apply(store, PEOPLE, put("ann"))

    assert person(store, "ann")["person_id"] not in used


def test_a_person_can_be_known_by_cio_id(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", attributes={"a": 1}))
    apply(store, ACCOUNTS, put("acme"))
    cio_id = str(person(store, "ann")["person_id"])
    unknown = ["999", "0" + cio_id, "+" + cio_id, "-1", "1.0", "ann", "9" * 30, " "]

    verdicts = apply(store, PEOPLE_BY_CIO_ID, *[put(key, attributes={"b": 2}) for key in (cio_id, *unknown)])
    assert verdicts == [ACCEPTED] + [("rejected", "no person has this cio_id")] * len(unknown)
    assert attributes(store, "ann") == {"a": 1, "b": 2}

    verdicts = apply(store, PEOPLE_BY_CIO_ID, *[put(key) for key in (cio_id, *unknown)], create=False)
    assert verdicts == [ACCEPTED] + [ABSENT] * len(unknown)

    members = Target(entity=Entity.RELATIONSHIP, person_key=PEOPLE_BY_CIO_ID.person_key, object_type="account")
    assert apply(store, members, put(cio_id, "acme"), put("999", "acme")) == [ACCEPTED, NO_PERSON]

    assert apply(store, PEOPLE_BY_CIO_ID, *[delete(key) for key in (cio_id, *unknown)]) == [ACCEPTED] * 9
    assert store.show(Entity.PERSON, "id", "ann") is None


def test_a_collections_row_is_replaced_and_not_merged(store: ProfileStore) -> None:
    apply(store, COUPONS, put("ten", attributes={"code": "ten", "off": 10, "until": None}), put("two"))

    apply(store, COUPONS, put("ten", attributes={"code": "ten", "off": 12}), delete("two"))

    shown = store.show(Entity.COLLECTION, "coupons", "ten")
    assert shown is not None
    assert (shown["row_count"], shown["rows"]) == (1, [{"key": "ten", "data": {"code": "ten", "off": 12}}])
    assert store.show(Entity.COLLECTION, "coupons", "two") is None


def test_a_collections_key_of_several_columns_is_a_json_array(store: ProfileStore) -> None:
    apply(store, PRICES, put('a"b', "no", attributes={"price": 1}), put("a", "b,c", attributes={"price": 2}))
    apply(store, PRICES, put('a"b', "no", attributes={"price": 3}), delete("a", "b,c"))

    shown = store.show(Entity.COLLECTION, "prices", '["a\\"b","no"]')
    assert shown is not None
    assert (shown["row_count"], shown["rows"][0]["data"]) == (1, {"price": 3})


def test_a_collection_is_made_by_its_first_row_and_outlives_its_last(store: ProfileStore) -> None:
    apply(store, COUPONS, delete("ten"))
    assert store.show(Entity.COLLECTION, "coupons", "") is None

    apply(store, COUPONS, put("ten"))
    apply(store, COUPONS, delete("ten"))

    shown = store.show(Entity.COLLECTION, "coupons", "")
    assert shown is not None
    assert (shown["row_count"], shown["rows"]) == (0, [])


def test_a_big_batch_of_every_sort_of_row_is_answered_in_full(store: ProfileStore) -> None:
    rows = store.batch_rows
    half = [put(f"p{i}", attributes={"n": i, "old": True}) for i in range(0, rows, 2)]
    assert apply(store, PEOPLE, *half) == [ACCEPTED] * len(half)

    actions = [
        lambda i: put(f"p{i}", attributes={"n": -i}),
        lambda i: put(f"p{i}", attributes={"n": -i}, cleared=("old",)),
        lambda i: clear(f"p{i}", cleared=("old",)),
        lambda i: delete(f"p{i}"),
    ]
    verdicts = apply(store, PEOPLE, *[actions[i // 2 % 4](i) for i in range(rows)], create=False)

    expected = [ACCEPTED if i % 2 == 0 or i // 2 % 4 > 1 else ABSENT for i in range(rows)]
    assert verdicts == expected
    left = [store.show(Entity.PERSON, "id", f"p{i}") for i in (0, 1, 2, 4, 6)]
    expected_attributes: list[Any] = [{"n": 0, "old": True}, None, {"n": -2}, {"n": 4}, None]
    assert [shown and shown["attributes"] for shown in left] == expected_attributes


def test_known_and_new_people_can_come_in_any_mixture(store: ProfileStore) -> None:
    apply(store, PEOPLE, *[put(f"p{i}", attributes={"a": i}) for i in range(200, 220)])

    apply(store, PEOPLE, *[put(f"p{i}", attributes={"b": i}) for i in range(300)])

    assert attributes(store, "p199") == {"b": 199}
    assert attributes(store, "p200") == {"a": 200, "b": 200}
    assert attributes(store, "p299") == {"b": 299}


def test_known_and_new_rows_of_a_collection_can_come_in_any_mixture(store: ProfileStore) -> None:
    apply(store, COUPONS, *[put(f"c{i}", attributes={"old": i, "tab": "\t\\"}) for i in range(200, 220)])

    assert apply(store, COUPONS, *[put(f"c{i}", attributes={"new": i}) for i in range(300)]) == [ACCEPTED] * 300
    apply(store, COUPONS, *[put(f"c{i}", attributes={"tab": "\t\\", "e": "é"}) for i in range(300, 310)])

    found = [store.show(Entity.COLLECTION, "coupons", f"c{i}") for i in (199, 200, 309)]
    assert [shown and (shown["row_count"], shown["rows"][0]["data"]) for shown in found] == [
        (310, {"new": 199}),
        (310, {"new": 200}),
        (310, {"tab": "\t\\", "e": "é"}),
    ]


def test_identifiers_are_all_names_of_what_exists(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", email="ann@example.com"), put("bob"), put("cy"))
    apply(store, ACCOUNTS, put("acme"), put("zeta"))
    numbers = {id_: str(person(store, id_)["person_id"]) for id_ in ("ann", "bob")}

    people = store.identifiers(PEOPLE, pa.table({"k1": ["ann", "bob", "none"]}))
    accounts = store.identifiers(ACCOUNTS, pa.table({"k1": ["acme", "none"]}))

    assert people.schema == accounts.schema == IDENTIFIERS
    assert sorted(tuple(row.values()) for row in people.to_pylist()) == [
        *sorted(("person", "cio_id", number) for number in numbers.values()),
        ("person", "email", "ann@example.com"),
        ("person", "id", "ann"),
        ("person", "id", "bob"),
    ]
    assert accounts.to_pylist() == [{"entity": "object", "kind": "account", "value": "acme"}]
    by_number = store.identifiers(PEOPLE_BY_CIO_ID, pa.table({"k1": [numbers["bob"], "none"]}))
    assert {row["value"] for row in by_number.to_pylist()} == {"bob", numbers["bob"]}


def test_nothing_is_shown_where_nothing_is(store: ProfileStore) -> None:
    assert everything(store) == [None] * 7
    assert store.show(Entity.PERSON, "cio_id", "1") is None
    assert store.show(Entity.PERSON, "cio_id", "ann") is None


def test_a_shown_object_names_a_hundred_people_and_counts_all(store: ProfileStore) -> None:
    apply(store, ACCOUNTS, put("acme"))
    apply(store, PEOPLE, *[put(str(i)) for i in range(120)])
    apply(store, MEMBERS, *[put(str(i), "acme") for i in range(120)])

    shown = store.show(Entity.OBJECT, "account", "acme")

    assert shown is not None
    assert (shown["people_count"], len(shown["people"])) == (120, 100)


def test_updated_at_moves_and_created_at_stays(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann"))
    made = person(store, "ann")
    apply(store, PEOPLE, put("ann", attributes={"a": 1}))
    changed = person(store, "ann")

    assert made["created_at"] == made["updated_at"] == changed["created_at"]
    assert datetime.fromisoformat(changed["updated_at"]) >= datetime.fromisoformat(made["updated_at"])
    assert changed["updated_at"] != made["updated_at"]
    assert datetime.fromisoformat(made["created_at"]).utcoffset() == timedelta(0)


def test_a_store_is_itself_when_it_is_opened_again(opened: OpenStore) -> None:
    first = opened()
    apply(first, PEOPLE, put("ann"))
    first.close()
    first.close()

    again = opened()

    assert again.store_id == first.store_id != ""
    assert person(again, "ann")["id"] == "ann"


def test_an_identity_is_for_ever(opened: OpenStore) -> None:
    looking = opened(Identity.ID)
    made(opened(Identity.EMAIL))

    with pytest.raises(StoreError, match="has the identity `email`, but `id` is configured") as raised:
        opened(Identity.ID)
    with pytest.raises(StoreError, match="has the identity `email`, but `id` is configured"):
        made(looking)

    assert "SYNCER_STORES__DEFAULT__IDENTITY to `email`" in raised.value.hint
    assert opened(Identity.EMAIL).identity is Identity.EMAIL


@pytest.mark.parametrize(
    ("identity", "known"),
    [
        (Identity.ID, [PEOPLE, PEOPLE_BY_CIO_ID]),
        (Identity.EMAIL, [PEOPLE_BY_EMAIL, PEOPLE_BY_CIO_ID]),
        (Identity.ID_OR_EMAIL, [PEOPLE, PEOPLE_BY_EMAIL, PEOPLE_BY_CIO_ID]),
    ],
)
def test_a_sync_that_the_store_cannot_tell_people_apart_by_is_refused(
    opened: OpenStore, identity: Identity, known: list[Target]
) -> None:
    store = opened(identity)

    for target in (PEOPLE, PEOPLE_BY_EMAIL, PEOPLE_BY_CIO_ID):
        if target in known:
            store.check(target)
        else:
            with pytest.raises(StoreRefusesError, match=f"its identity is `{identity}`"):
                store.check(target)
    store.check(ACCOUNTS)
    store.check(COUPONS)


def test_a_probe_tells_product_version_and_identity(store: ProfileStore) -> None:
    probe = probed(store)

    assert probe.version.split()[0] in ("SQLite", "PostgreSQL")
    assert probe.version.split()[1][0].isdigit()
    assert "`id`" in probe.note
    assert probe.can_write is True


def test_syncs_side_by_side_lose_nothing_of_each_other(opened: OpenStore) -> None:
    stores = [opened() for _ in range(4)]
    keys = [f"p{i}" for i in range(200)]

    def feed(number: int) -> None:
        store, name = stores[number], f"from_{number}"
        # Each in another order, as two queries would give them.
        order = keys[number * 50 :] + keys[: number * 50]
        for round_ in range(5):
            rows = [put(key, attributes={name: round_}) for key in (order if number % 2 else reversed(order))]
            assert apply(store, PEOPLE, *rows) == [ACCEPTED] * len(keys)

    with ThreadPoolExecutor(len(stores)) as pool:
        for fed in [pool.submit(feed, number) for number in range(len(stores))]:
            fed.result()

    assert [attributes(stores[0], key) for key in keys] == [{f"from_{number}": 4 for number in range(4)}] * len(keys)


def test_a_row_that_cannot_be_stored_is_rejected_and_the_others_are_stored(store: ProfileStore) -> None:
    deep = "[" * 20_000 + "]" * 20_000
    rows = [put(f"p{i}", attributes={"n": i}) for i in range(50)]
    rows[17] = put("p17", attributes=f'{{"deep":{deep},"secret":"hunter2"}}')
    rows[40] = put("p40", attributes=f'{{"deep":{deep}}}')

    verdicts = apply(store, PEOPLE, *rows)

    refused = [i for i, verdict in enumerate(verdicts) if verdict != ACCEPTED]
    assert refused == [17, 40]
    assert {verdicts[i][0] for i in refused} == {"rejected"}
    assert not any("hunter2" in str(verdicts[i]) or "[[" in str(verdicts[i]) for i in refused)
    assert attributes(store, "p16") == {"n": 16}
    assert store.show(Entity.PERSON, "id", "p17") is None


def test_after_close_a_store_fails_as_a_store(store: ProfileStore) -> None:
    store.close()

    with pytest.raises(StoreError):
        store.apply(PEOPLE, batch_of(put("ann")), create=True)


FEEDING = """
import sys
from itertools import count
from syncer.settings.registry import open_store
from syncer.model.types import Identity
from tests.contracts.batches import PEOPLE, apply, put
store = open_store("default", sys.argv[1], identity=Identity.ID)
for round in count(1):
    apply(store, PEOPLE, *[put(f"p{i}", attributes={"round": round}) for i in range(2000)])
    print(round, flush=True)
"""


def test_a_process_that_is_killed_leaves_whole_batches_and_every_answered_one(
    store: ProfileStore, store_url: str
) -> None:
    command = [sys.executable, "-c", FEEDING, store_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        answered = [int(process.stdout.readline()) for _ in range(3)][-1]
        process.kill()
        answered = max([answered, *map(int, process.stdout)])

    # The process has made it.
    store.close()
    with closing(open_store("default", store_url, identity=Identity.ID)) as made:
        rounds = {attributes(made, f"p{i}")["round"] for i in range(0, 2000, 10)}
        assert rounds in ({answered}, {answered + 1})
        assert apply(made, PEOPLE, put("p0", attributes={"round": 0})) == [ACCEPTED]
