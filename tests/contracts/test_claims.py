"""What every SQL store promises of claims: whose a visitor is, and with them what they did."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.event_stores import KnowsVisitors
from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, Identity
from tests.contracts.batches import (
    ABSENT,
    ACCEPTED,
    PEOPLE,
    PEOPLE_BY_CIO_ID,
    PEOPLE_BY_EMAIL,
    PEOPLE_BY_PHONE,
    apply,
    attributes,
    clear,
    delete,
    person,
    put,
)
from tests.contracts.conftest import OpenStore
from tests.contracts.test_events import PAIRS, SUPPRESSED
from tests.contracts.test_visitors import PAID, SEEN, Tables, event, sent

CLAIMS = replace(PEOPLE, names_visitors=True)
CLAIMS_BY_EMAIL = replace(PEOPLE_BY_EMAIL, names_visitors=True)
CLAIMS_BY_NUMBER = replace(PEOPLE_BY_CIO_ID, names_visitors=True)
TAKEN = ("rejected", "another person has this visitor")


@pytest.fixture
def tables(store_url: str) -> Tables:
    if store_url == "customerio://us":
        pytest.skip("it tells of no visitors; its own form is in tests/connectors/customerio/test_visitors.py")
    return Tables(store_url)


@pytest.fixture
def store(tables: Tables, opened: OpenStore) -> ProfileStore:
    """An empty store that knows people by `id`."""
    return opened()


def claim(who: str, visitor: str | None, **own: Any) -> Any:
    """A row of somebody who claims a visitor."""
    return put(who, anonymous=visitor, **own)


def visitors(tables: Tables) -> dict[str, str]:
    """Each visitor's person."""
    found = tables.execute("SELECT v.anonymous_id, p.id FROM visitors v JOIN people p ON p.person_id = v.person_id")
    return dict(found)


def test_a_store_says_whose_visitors_are(store: ProfileStore, tables: Tables) -> None:
    assert isinstance(store, KnowsVisitors)
    asked = pa.table({"anonymous": ["v1", "v2", 'v"é\\', "v9"]})
    assert [*store.holders(asked)] == []
    apply(store, CLAIMS, claim("ann", "v1"), claim("bob", 'v"é\\'), claim("cleo", None))

    found = pa.concat_tables(store.holders(asked)).to_pylist()

    numbers = {who: str(person(store, who)["person_id"]) for who in ("ann", "bob")}
    expected = [("v1", numbers["ann"]), ('v"é\\', numbers["bob"])]
    assert sorted((row["anonymous"], row["cio_id"]) for row in found) == sorted(expected)


def test_a_claim_takes_what_the_visitor_did_before_and_does_later(store: ProfileStore, tables: Tables) -> None:
    sent(store, SEEN, event("a", visitor="v1"), event("b", visitor="v2"))

    assert apply(store, CLAIMS, claim("ann", "v1", attributes={"plan": "pro"})) == [ACCEPTED]

    assert tables.events() == [("a", "ann", "v1"), ("b", None, "v2")]
    sent(store, PAID, event("c", visitor="v1"), event("d", "bob"), event("e", visitor="v2"))
    assert tables.events()[2:] == [("c", "ann", "v1"), ("d", "bob", None), ("e", None, "v2")]
    shown = person(store, "ann")
    assert (shown["anonymous_ids"], shown["attributes"]) == (["v1"], {"plan": "pro"})
    assert [(one["event_id"][-1].lower(), one["anonymous_id"]) for one in shown["events"]] == [("c", "v1"), ("a", "v1")]
    assert person(store, "bob")["anonymous_ids"] == []


def test_a_claim_may_come_before_the_visitor_did_anything(store: ProfileStore, tables: Tables) -> None:
    assert apply(store, CLAIMS, claim("ann", "v1"), claim("bob", None)) == [ACCEPTED] * 2

    sent(store, SEEN, event("a", visitor="v1"))

    assert tables.events() == [("a", "ann", "v1")]
    assert visitors(tables) == {"v1": "ann"}


def test_a_person_may_claim_several_visitors_one_after_the_other(store: ProfileStore, tables: Tables) -> None:
    sent(store, SEEN, event("a", visitor="v1"), event("b", visitor="v2"), event("c", visitor="v3"))

    for visitor in ("v2", None, "v1", "v2"):
        assert apply(store, CLAIMS, claim("ann", visitor)) == [ACCEPTED]

    assert visitors(tables) == {"v1": "ann", "v2": "ann"}
    assert tables.events() == [("a", "ann", "v1"), ("b", "ann", "v2"), ("c", None, "v3")]
    assert sorted(person(store, "ann")["anonymous_ids"]) == ["v1", "v2"]


def test_a_visitor_cannot_be_claimed_again_by_another(store: ProfileStore, tables: Tables) -> None:
    apply(store, CLAIMS, claim("ann", "v1"))
    sent(store, SEEN, event("a", visitor="v1"))

    found = apply(
        store,
        CLAIMS,
        claim("bob", "v1", attributes={"n": 1}),
        claim("cleo", "v2"),
        claim("ann", "v1", attributes={"n": 2}),
    )

    assert found == [TAKEN, ACCEPTED, ACCEPTED]
    assert visitors(tables) == {"v1": "ann", "v2": "cleo"}
    # As where somebody else has an email: nothing of the row is stored.
    assert store.show(Entity.PERSON, "id", "bob") is None
    assert attributes(store, "ann") == {"n": 2}
    assert tables.events() == [("a", "ann", "v1")]


def test_of_two_rows_that_claim_one_visitor_the_first_one_has_them(store: ProfileStore, tables: Tables) -> None:
    assert apply(store, CLAIMS, claim("ann", "v1"), claim("bob", "v1"), claim("cleo", "v1")) == [ACCEPTED, TAKEN, TAKEN]

    assert visitors(tables) == {"v1": "ann"}
    assert apply(store, CLAIMS, claim("cleo", "v1"), claim("ann", "v1")) == [TAKEN, ACCEPTED]


def test_who_is_rejected_claims_nobody(tables: Tables, opened: OpenStore) -> None:
    store = opened(Identity.ID_OR_EMAIL)
    apply(store, PEOPLE, put("ann", email="ann@example.com"), put("bob", email="bob@example.com"))
    sent(store, SEEN, event("a", visitor="v1"))

    found = apply(
        store,
        CLAIMS,
        claim("bob", "v1", email="ann@example.com"),
        claim("cleo", None, email="cleo@example.com"),
    )

    assert found == [("rejected", "another person has this email"), ACCEPTED]
    assert (visitors(tables), tables.events()) == ({}, [("a", None, "v1")])


def test_who_is_rejected_for_a_visitor_keeps_the_email_that_another_row_wants(
    tables: Tables, opened: OpenStore
) -> None:
    store = opened(Identity.ID_OR_EMAIL)
    apply(store, CLAIMS, claim("ann", "v1", email="ann@example.com"), claim("bob", "v2", email="bob@example.com"))

    found = apply(
        store,
        CLAIMS,
        claim("ann", "v2", email="new@example.com"),
        claim("cleo", None, email="ann@example.com"),
        claim("bob", None, email="bob2@example.com"),
    )

    assert found == [TAKEN, ("rejected", "another person has this email"), ACCEPTED]
    assert person(store, "ann")["email"] == "ann@example.com"
    assert person(store, "bob")["email"] == "bob2@example.com"


def test_people_by_email_and_by_number_claim_visitors_too(tables: Tables, opened: OpenStore) -> None:
    store = opened(Identity.ID_OR_EMAIL)
    sent(store, SEEN, event("a", visitor="v1"), event("b", visitor="v2"))
    assert apply(store, CLAIMS_BY_EMAIL, put("ann@example.com", id="ann", anonymous="v1")) == [ACCEPTED]
    number = str(person(store, "ann")["person_id"])

    assert apply(store, CLAIMS_BY_NUMBER, put(number, anonymous="v2"), put("999", anonymous="v3")) == [
        ACCEPTED,
        ("rejected", "no person has this cio_id"),
    ]

    assert visitors(tables) == {"v1": "ann", "v2": "ann"}
    assert tables.events() == [("a", "ann", "v1"), ("b", "ann", "v2")]


def test_people_by_phone_claim_visitors_too(tables: Tables, opened: OpenStore) -> None:
    store = opened(Identity.ID_EMAIL_OR_PHONE)
    sent(store, SEEN, event("a", visitor="v1"))
    claims, phone = replace(PEOPLE_BY_PHONE, names_visitors=True), "+4915110000001"

    assert apply(store, claims, put(phone, id="ann", anonymous="v1")) == [ACCEPTED]
    assert apply(store, claims, put(phone, anonymous="v1"), put("+4915110000002", anonymous="v1")) == [ACCEPTED, TAKEN]

    assert (visitors(tables), tables.events()) == ({"v1": "ann"}, [("a", "ann", "v1")])


def test_without_create_only_who_exists_claims_visitors(store: ProfileStore, tables: Tables) -> None:
    apply(store, PEOPLE, put("ann"))

    assert apply(store, CLAIMS, claim("ann", "v1"), claim("bob", "v2"), create=False) == [ACCEPTED, ABSENT]

    assert visitors(tables) == {"v1": "ann"}


def test_what_clears_and_deletes_claims_nothing_and_frees_what_was_claimed(store: ProfileStore, tables: Tables) -> None:
    apply(store, CLAIMS, claim("ann", "v1", attributes={"a": 1}), claim("bob", "v2"))
    sent(store, SEEN, event("a", visitor="v1"), event("b", visitor="v2"))

    found = apply(store, CLAIMS, delete("ann"), clear("bob", cleared=("a",)), claim("cleo", "v1"))

    assert found == [ACCEPTED] * 3
    assert visitors(tables) == {"v1": "cleo", "v2": "bob"}
    assert tables.events() == [("b", "bob", "v2")]


def test_a_deleted_or_suppressed_person_takes_their_visitors_along(store: ProfileStore, tables: Tables) -> None:
    apply(store, CLAIMS, claim("ann", "v1"), claim("bob", "v2"))
    sent(store, SEEN, event("a", visitor="v1"), event("b", visitor="v2"))

    apply(store, PEOPLE, delete("ann"))
    apply(store, SUPPRESSED, ("suppress", ("bob",), {}, (), {}))

    assert (visitors(tables), tables.events()) == ({}, [])
    # Whoever they are now, it is nobody's.
    sent(store, SEEN, event("c", visitor="v1"))
    assert tables.events() == [("c", None, "v1")]
    (refused,) = apply(store, CLAIMS, claim("bob", "v1"))
    assert "is suppressed in this store" in str(refused[1])
    assert apply(store, CLAIMS, claim("cleo", "v1")) == [ACCEPTED]
    assert tables.events() == [("c", "cleo", "v1")]


def test_who_is_kept_of_two_has_the_visitors_of_both(store: ProfileStore, tables: Tables) -> None:
    apply(store, CLAIMS, claim("ann", "v1"), claim("bob", "v2"))
    sent(store, SEEN, event("a", visitor="v1"), event("b", visitor="v2"))

    assert apply(store, PAIRS, ("merge", ("ann", "bob"), {}, (), {})) == [ACCEPTED]
    sent(store, SEEN, event("c", visitor="v2"))

    assert visitors(tables) == {"v1": "ann", "v2": "ann"}
    assert tables.events() == [("a", "ann", "v1"), ("b", "ann", "v2"), ("c", "ann", "v2")]


def test_two_people_who_become_one_have_the_visitors_of_both(tables: Tables, opened: OpenStore) -> None:
    store = opened(Identity.ID_OR_EMAIL)
    apply(store, CLAIMS, claim("ann", "v1"))
    apply(store, CLAIMS_BY_EMAIL, put("ann@example.com", anonymous="v2"))
    sent(store, SEEN, event("a", visitor="v2"))

    assert apply(store, CLAIMS, claim("ann", "v2", email="ann@example.com")) == [ACCEPTED]

    assert visitors(tables) == {"v1": "ann", "v2": "ann"}
    assert tables.events() == [("a", "ann", "v2")]


def test_what_was_removed_in_time_is_not_claimed_and_what_is_claimed_stays(store: ProfileStore, tables: Tables) -> None:
    sent(store, SEEN, event("a", visitor="v1"), event("b", visitor="v2"))
    apply(store, CLAIMS, claim("ann", "v1"))
    tables.age(31)
    sent(store, SEEN, event("c", visitor="v2"))

    apply(store, CLAIMS, claim("bob", "v2"))

    assert tables.events() == [("a", "ann", "v1"), ("c", "bob", "v2")]


def test_a_full_batch_of_claims_takes_no_longer_where_many_are_unclaimed(store: ProfileStore, tables: Tables) -> None:
    """A batch of contested rows, over as many visitors who are not asked about."""
    rows = 5_000
    sent(store, SEEN, *(event(f"x{i}", visitor=f"other{i}") for i in range(rows)))
    sent(store, SEEN, *(event(f"{i}", visitor=f"v{i}") for i in range(rows)))
    begun = time.monotonic()

    found = apply(store, CLAIMS, *(claim(f"p{i}", f"v{i // 2 * 2}") for i in range(rows)))

    assert found == [ACCEPTED, TAKEN] * (rows // 2)
    assert tables.execute("SELECT count(*) FROM events WHERE person_id IS NOT NULL") == [(rows // 2,)]
    # Over all pairs of claims and events it would take many times as long.
    assert time.monotonic() - begun < 20
