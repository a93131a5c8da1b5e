"""What every SQL store promises of people who are known by another email than before."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.forecasts import ForecastsRefusals
from syncer.model.protocols import NumbersPeople, ProfileStore
from syncer.model.types import Entity, Identity, ListAction, PersonKey, Target
from tests.contracts.batches import (
    ABSENT,
    ACCEPTED,
    ACCOUNTS,
    PEOPLE,
    PEOPLE_BY_EMAIL,
    apply,
    person,
    put,
)
from tests.contracts.conftest import OpenStore
from tests.contracts.test_claims import TAKEN
from tests.contracts.test_visitors import SEEN, Tables, event, sent

MOVES = replace(PEOPLE_BY_EMAIL, names_previous=True)
CLAIMS = replace(MOVES, names_visitors=True)
MEMBERS = Target(
    entity=Entity.RELATIONSHIP, person_key=PersonKey.EMAIL, object_type="account", key_columns=("mail", "account_id")
)
DEVICES = Target(entity=Entity.DEVICE, person_key=PersonKey.EMAIL, key_columns=("mail", "token"))
SUPPRESSED = replace(PEOPLE_BY_EMAIL, action=ListAction.SUPPRESS)


@pytest.fixture
def tables(store_url: str) -> Tables:
    if store_url == "customerio://us":
        pytest.skip("it moves nobody, and refuses such syncs: tests/cli/test_moves.py")
    return Tables(store_url)


@pytest.fixture(params=[Identity.EMAIL, Identity.ID_OR_EMAIL, Identity.ID_EMAIL_OR_PHONE])
def store(request: pytest.FixtureRequest, tables: Tables, opened: OpenStore) -> ProfileStore:
    """An empty store that knows people by `email`."""
    return opened(request.param)


def known(store: ProfileStore, email: str) -> dict[str, Any] | None:
    return store.show(Entity.PERSON, "email", email)


def moves(store: ProfileStore) -> list[str]:
    """The identifiers that people have lost."""
    assert isinstance(store, NumbersPeople)
    found: list[str] = store.moves_since(0).identifiers["value"].to_pylist()
    return found


def test_who_moves_keeps_all_that_the_store_has_of_them(store: ProfileStore, tables: Tables) -> None:
    apply(store, ACCOUNTS, put("a1"))
    apply(store, CLAIMS, put("ann@x.com", attributes={"plan": "pro", "tier": "gold"}, anonymous="v1"))
    apply(store, MEMBERS, put("ann@x.com", "a1", attributes={"role": "owner"}))
    apply(store, DEVICES, put("ann@x.com", "t1", platform="ios"))
    sent(store, SEEN, event("e", visitor="v1"))
    before = person(store, "ann@x.com", "email")

    found = apply(store, MOVES, put("anna@x.com", attributes={"plan": "max"}, cleared=("tier",), previous="ann@x.com"))

    assert (found, known(store, "ann@x.com")) == ([ACCEPTED], None)
    after = person(store, "anna@x.com", "email")
    changed = {"email": "anna@x.com", "attributes": {"plan": "max"}, "updated_at": after["updated_at"]}
    assert after == before | changed
    assert [len(after[name]) for name in ("relationships", "devices", "events", "anonymous_ids")] == [1, 1, 1, 1]
    assert moves(store) == ["ann@x.com"]


def test_a_move_is_made_once_and_then_changes_nothing(store: ProfileStore, tables: Tables) -> None:
    apply(store, PEOPLE_BY_EMAIL, put("ann@x.com", attributes={"plan": "pro"}))
    moving = put("anna@x.com", attributes={"a": 1}, previous="ann@x.com")
    apply(store, MOVES, moving)
    apply(store, PEOPLE_BY_EMAIL, put("ann@x.com", attributes={"plan": "other"}))

    assert apply(store, MOVES, moving) == [ACCEPTED]

    assert person(store, "anna@x.com", "email")["attributes"] == {"plan": "pro", "a": 1}
    assert person(store, "ann@x.com", "email")["attributes"] == {"plan": "other"}
    assert moves(store) == ["ann@x.com"]


def test_nobody_moves_where_both_exist_or_neither(store: ProfileStore, tables: Tables) -> None:
    apply(store, PEOPLE_BY_EMAIL, put("ann@x.com", attributes={"n": 1}), put("bob@x.com", attributes={"n": 2}))

    found = apply(
        store,
        MOVES,
        put("bob@x.com", attributes={"m": 3}, previous="ann@x.com"),
        put("cyd@x.com", attributes={"m": 4}, previous="nobody@x.com"),
        put("dee@x.com", attributes={"m": 5}),
    )

    assert found == [ACCEPTED] * 3
    held = [person(store, f"{name}@x.com", "email")["attributes"] for name in ("ann", "bob", "cyd", "dee")]
    assert held == [{"n": 1}, {"n": 2, "m": 3}, {"m": 4}, {"m": 5}]
    assert moves(store) == []


def test_who_is_rejected_is_known_as_before(store: ProfileStore, tables: Tables) -> None:
    apply(store, CLAIMS, put("ann@x.com", attributes={"n": 1}), put("bob@x.com", anonymous="v1"), put("cyd@x.com"))
    before = person(store, "ann@x.com", "email")

    found = apply(
        store,
        CLAIMS,
        put("anna@x.com", attributes={"n": 2}, previous="ann@x.com", anonymous="v1"),
        put("cydney@x.com", previous="cyd@x.com"),
    )

    assert found == [TAKEN, ACCEPTED]
    assert (known(store, "anna@x.com"), known(store, "cyd@x.com")) == (None, None)
    after = person(store, "ann@x.com", "email")
    assert after == before | {"updated_at": after["updated_at"]}
    assert moves(store) == ["cyd@x.com"]


def test_who_would_get_somebody_elses_id_does_not_move(tables: Tables, opened: OpenStore) -> None:
    store = opened(Identity.ID_OR_EMAIL)
    apply(store, PEOPLE, put("1", email="ann@x.com"), put("2", email="bob@x.com"))

    found = apply(
        store,
        MOVES,
        put("anna@x.com", id="2", previous="ann@x.com"),
        put("bobby@x.com", id="2", previous="bob@x.com"),
    )

    assert found[0][0] == "rejected"
    assert (person(store, "1")["email"], person(store, "2")["email"]) == ("ann@x.com", "bobby@x.com")


def test_nobody_moves_to_an_email_that_is_suppressed(store: ProfileStore, tables: Tables) -> None:
    apply(store, PEOPLE_BY_EMAIL, put("ann@x.com"))
    apply(store, SUPPRESSED, ("suppress", ("anna@x.com",), {}, (), {}))

    ((verdict, reason),) = apply(store, MOVES, put("anna@x.com", previous="ann@x.com"))

    assert (verdict, "is suppressed in this store" in str(reason)) == ("rejected", True)
    assert known(store, "ann@x.com") is not None


def test_without_create_only_who_is_there_by_either_email_is_put(store: ProfileStore, tables: Tables) -> None:
    apply(store, PEOPLE_BY_EMAIL, put("ann@x.com"), put("cyd@x.com"))

    found = apply(
        store,
        MOVES,
        put("anna@x.com", previous="ann@x.com"),
        put("bobby@x.com", previous="bob@x.com"),
        put("cyd@x.com"),
        create=False,
    )

    assert found == [ACCEPTED, ABSENT, ACCEPTED]
    assert known(store, "anna@x.com") is not None


def test_a_forecast_takes_who_moves_for_who_is_there(store: ProfileStore, tables: Tables) -> None:
    apply(store, PEOPLE_BY_EMAIL, put("ann@x.com"))
    apply(store, SUPPRESSED, ("suppress", ("max@x.com",), {}, (), {}))
    assert isinstance(store, ForecastsRefusals)
    keys = pa.table({
        "k1": ["anna@x.com", "bob@x.com", "max@x.com"],
        "previous": pa.array(["ann@x.com", None, "ann@x.com"], pa.string()),
    })  # fmt: skip

    found = store.would_refuse(MOVES, keys, create=True)
    assert found["row"].to_pylist() == [2]
    if len(store.identity.unique) == 1:
        assert store.would_refuse(MOVES, keys, create=False)["row"].to_pylist() == [1, 2]


def test_a_full_batch_of_moves_takes_little_longer_than_one_of_changes(store: ProfileStore, tables: Tables) -> None:
    rows = 5_000
    apply(store, PEOPLE_BY_EMAIL, *(put(f"p{i}@x.com", attributes={"n": i}) for i in range(rows)))
    begun = time.monotonic()

    found = apply(store, MOVES, *(put(f"q{i}@x.com", previous=f"p{i}@x.com") for i in range(rows)))

    assert found == [ACCEPTED] * rows
    assert tables.execute("SELECT count(*) FROM people WHERE email LIKE 'q%'") == [(rows,)]
    assert person(store, "q17@x.com", "email")["attributes"] == {"n": 17}
    # Over all pairs of people it would take many times as long.
    assert time.monotonic() - begun < 20
