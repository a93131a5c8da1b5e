"""What every store promises of devices."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, Identity, ListAction, PersonKey, Target, ValueForm
from tests.contracts.batches import (
    ABSENT,
    ACCEPTED,
    DEVICES,
    PEOPLE,
    PEOPLE_BY_EMAIL,
    apply,
    delete,
    person,
    put,
)
from tests.contracts.conftest import OpenStore

BY_EMAIL = Target(entity=Entity.DEVICE, person_key=PersonKey.EMAIL, key_columns=("mail", "token"))
BY_CIO_ID = Target(entity=Entity.DEVICE, person_key=PersonKey.CIO_ID, key_columns=("cio_id", "token"))

DAY = datetime(2026, 3, 1, tzinfo=UTC)
NEXT_DAY = datetime(2026, 3, 2, 10, 30, 0, 500_000, tzinfo=UTC)


def at(store: ProfileStore, moment: datetime) -> str:
    """A time as a batch has it."""
    is_seconds = store.value_form is ValueForm.UNIX_SECONDS
    return str(int(moment.timestamp())) if is_seconds else moment.isoformat()


def devices(store: ProfileStore, id_: str, kind: str = "id") -> dict[str, dict[str, Any]]:
    """A person's devices by token, each with what else the store shows of it."""
    shown = person(store, id_, kind)["devices"]
    assert all(one.keys() == {"token", "platform", "last_used", "attributes"} for one in shown)
    return {one["token"]: {name: one[name] for name in one if name != "token"} for one in shown}


def test_a_person_has_several_devices_with_attributes(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", attributes={"plan": "pro"}))

    verdicts = apply(
        store,
        DEVICES,
        put("ann", "t1", attributes={"model": "Pixel"}, platform="android", last_used=at(store, DAY)),
        put("ann", "t2", platform="ios", last_used=at(store, NEXT_DAY)),
    )

    assert verdicts == [ACCEPTED, ACCEPTED]
    found = devices(store, "ann")
    assert {token: (one["platform"], one["attributes"]) for token, one in found.items()} == {
        "t1": ("android", {"model": "Pixel"}),
        "t2": ("ios", {}),
    }
    assert [str(found[token]["last_used"]) for token in ("t1", "t2")] == [at(store, DAY), at(store, NEXT_DAY)]
    assert person(store, "ann")["attributes"] == {"plan": "pro"}


def test_a_device_makes_its_person(store: ProfileStore) -> None:
    assert apply(store, DEVICES, put("ann", "t1", platform="ios"), put("ann", "t2", platform="ios")) == [ACCEPTED] * 2

    assert {*devices(store, "ann")} == {"t1", "t2"}


def test_without_create_a_device_of_nobody_is_absent(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("bob"))

    rows = [put("ann", "t1", platform="ios"), put("bob", "t2", platform="ios")]
    assert apply(store, DEVICES, *rows, create=False) == [ABSENT, ACCEPTED]

    assert store.show(Entity.PERSON, "id", "ann") is None
    assert {*devices(store, "bob")} == {"t2"}


def test_devices_find_people_by_email_and_by_cio_id(opened: OpenStore) -> None:
    store = opened(Identity.EMAIL)
    apply(store, PEOPLE_BY_EMAIL, put("ann@example.com"))
    number = str(person(store, "ann@example.com", "email")["person_id"])

    rows = [put("ann@example.com", "t1", platform="ios"), put("bob@example.com", "t2", platform="ios")]
    assert apply(store, BY_EMAIL, *rows) == [ACCEPTED] * 2
    rows = [put(number, "t3", platform="ios"), put("999999", "t4", platform="ios")]
    assert apply(store, BY_CIO_ID, *rows) == [ACCEPTED, ("rejected", "no person has this cio_id")]

    assert {*devices(store, "ann@example.com", "email")} == {"t1", "t3"}
    assert {*devices(store, "bob@example.com", "email")} == {"t2"}


def test_attributes_of_a_device_merge_and_are_unset(store: ProfileStore) -> None:
    apply(store, DEVICES, put("ann", "t1", attributes={"a": "1", "b": "2"}, platform="ios", last_used=at(store, DAY)))

    apply(store, DEVICES, put("ann", "t1", attributes={"c": "3"}, cleared=("a",), platform="android"))

    found = devices(store, "ann")["t1"]
    assert (found["platform"], found["attributes"]) == ("android", {"b": "2", "c": "3"})


def test_a_time_that_a_row_unsets_is_gone(store: ProfileStore) -> None:
    apply(store, DEVICES, put("ann", "t1", platform="ios", last_used=at(store, DAY)))

    apply(store, DEVICES, put("ann", "t1", platform="ios", last_used=None))
    assert devices(store, "ann")["t1"]["last_used"] == at(store, DAY)

    apply(store, DEVICES, put("ann", "t1", platform="ios", last_used=None, cleared=("last_used",)))
    assert devices(store, "ann")["t1"]["last_used"] is None


def test_a_token_belongs_to_one_person_and_moves_with_a_later_row(store: ProfileStore) -> None:
    apply(store, DEVICES, put("ann", "t1", attributes={"model": "Pixel"}, platform="android"))

    assert apply(store, DEVICES, put("bob", "t1", attributes={"app": "2"}, platform="android")) == [ACCEPTED]

    assert devices(store, "ann") == {}
    assert devices(store, "bob")["t1"]["attributes"] == {"app": "2"}


def test_what_somebody_else_has_by_now_is_not_deleted_with_the_former_person(store: ProfileStore) -> None:
    apply(store, DEVICES, put("ann", "t1", platform="ios"), put("ann", "t2", platform="ios"))
    apply(store, DEVICES, put("bob", "t1", platform="ios"))

    assert apply(store, DEVICES, delete("ann", "t1"), delete("ann", "t2"), delete("cy", "t1")) == [ACCEPTED] * 3

    assert devices(store, "ann") == {}
    assert {*devices(store, "bob")} == {"t1"}


def test_a_batch_of_devices_applied_twice_is_the_same_as_once(store: ProfileStore) -> None:
    apply(store, DEVICES, put("ann", "t1", attributes={"a": "1"}, platform="ios", last_used=at(store, DAY)))
    batches: list[list[Any]] = [
        [put("ann", "t1", attributes={"b": "2"}, cleared=("a",), platform="ios"), put("bob", "t2", platform="ios")],
        [delete("ann", "t1"), delete("bob", "t9")],
        [put("bob", "t1", platform="android", last_used=at(store, NEXT_DAY)), put("ann", "t2", platform="ios")],
    ]
    for rows in batches:
        for _ in range(2):
            assert apply(store, DEVICES, *rows) == [ACCEPTED] * len(rows)
            found = [devices(store, id_) for id_ in ("ann", "bob")]
            if _ == 0:
                after_once = found
        assert [{t: one["attributes"] for t, one in held.items()} for held in found] == [
            {t: one["attributes"] for t, one in held.items()} for held in after_once
        ]


def test_a_deleted_person_takes_their_devices_along(store: ProfileStore) -> None:
    apply(store, DEVICES, put("ann", "t1", platform="ios"), put("bob", "t2", platform="ios"))

    apply(store, PEOPLE, delete("ann"))
    apply(store, PEOPLE, put("ann"))

    assert devices(store, "ann") == {}
    assert {*devices(store, "bob")} == {"t2"}


def test_tokens_are_text_and_compared_exactly(store: ProfileStore) -> None:
    tokens = ["1", "01", "a", "A", "é", "e\u0301", "a,b", 'say "hi"', "🐘", "'; --", "x" * 1_000]

    apply(store, DEVICES, *(put("ann", token, platform="ios") for token in tokens))

    assert {*devices(store, "ann")} == {*tokens}


@pytest.mark.parametrize("is_listed", [True, False])
def test_devices_are_read_back_as_they_were_sent(store: ProfileStore, is_listed: bool) -> None:
    apply(store, DEVICES, put("ann", "t1", attributes={"a": "1"}, platform="ios", last_used=at(store, NEXT_DAY)))
    apply(store, DEVICES, put("bob", "t2", platform="android"), put("bob", "t3", platform="android"))
    reader: Any = store
    if is_listed and not reader.can_list(DEVICES):
        pytest.skip("it cannot list devices")
    keys = None if is_listed else pa.table({"k1": ["ann", "bob"], "k2": ["t1", "t2"]})
    found = {row["token"]: row for table in reader.contained(DEVICES, keys) for row in table.to_pylist()}

    assert {"t1", "t2"} <= found.keys()
    told = [found["t1"][name] for name in ("id", "platform", "last_used", "attributes")]
    assert [*told[:3], told[3].replace(" ", "")] == ["ann", "ios", at(store, NEXT_DAY), '{"a":"1"}']
    assert found["t2"]["platform"] == "android"


def test_who_is_kept_of_two_gets_the_devices_of_who_goes(store: ProfileStore) -> None:
    apply(store, DEVICES, put("ann", "t1", platform="ios"), put("old", "t2", attributes={"a": "1"}, platform="android"))
    pairs = Target(
        entity=Entity.MERGE,
        action=ListAction.MERGE,
        person_key=PersonKey.ID,
        merged_key=PersonKey.ID,
        key_columns=("keep", "merge"),
    )

    assert apply(store, pairs, ("merge", ("ann", "old"), {}, (), {})) == [ACCEPTED]

    found = devices(store, "ann")
    assert {*found} == {"t1", "t2"}
    assert found["t2"]["attributes"] == {"a": "1"}


def test_a_device_of_who_is_suppressed_is_refused(store: ProfileStore) -> None:
    apply(store, DEVICES, put("ann", "t1", platform="ios"))
    suppressed = replace(PEOPLE, action=ListAction.SUPPRESS)
    assert apply(store, suppressed, ("suppress", ("ann",), {}, (), {})) == [ACCEPTED]

    rows = [put("ann", "t1", platform="ios"), put("bob", "t2", platform="ios")]
    (refused, _), taken = apply(store, DEVICES, *rows)

    assert (refused, taken) == ("rejected", ACCEPTED)
    assert store.show(Entity.PERSON, "id", "ann") is None
    assert {*devices(store, "bob")} == {"t2"}
