"""Merges at Customer.io, which takes one pair after the other and forgets those that it cannot merge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from typing import Any

import pytest

from syncer.model.errors import StoreRefusesError
from syncer.model.types import Identity, PersonKey
from syncer.settings.registry import open_store
from tests.contracts.batches import ACCEPTED, ACCOUNTS, MEMBERS, PEOPLE, apply, put
from tests.contracts.test_merges import CHAIN, RING, merge, pairs
from tests.servers.customerio import CustomerIOServer, customerio_server


@pytest.fixture
def server() -> Iterator[CustomerIOServer]:
    """Each request is checked against the vendor's definitions."""
    with customerio_server() as running:
        running.workspace.unique = ("id", "email")
        yield running
        assert running.workspace.breaches == []


@pytest.fixture
def store(server: CustomerIOServer) -> Iterator[Any]:
    options = server.options()
    with closing(open_store("crm", "customerio://us", identity=Identity.ID_OR_EMAIL, options=options)) as store:
        yield store


def test_two_people_become_one(server: CustomerIOServer, store: Any) -> None:
    apply(store, PEOPLE, put("ann", attributes={"plan": "pro"}))
    apply(store, PEOPLE, put("old", attributes={"plan": "free", "city": "Oslo"}, email="ann@example.com"))
    apply(store, ACCOUNTS, put("acme"))
    apply(store, MEMBERS, put("old", "acme", attributes={"role": "owner"}))

    for _ in range(2):
        assert apply(store, pairs(goes=PersonKey.EMAIL), merge("ann", "ann@example.com")) == [ACCEPTED]

    (ann,) = server.workspace.people
    assert ann.attributes == {"id": "ann", "plan": "pro", "city": "Oslo", "email": "ann@example.com"}
    assert server.workspace.relationships == {(ann.cio_id, "1", "acme"): {"role": "owner"}}


@pytest.mark.parametrize("order", [CHAIN, CHAIN[::-1]], ids=["down", "up"])
def test_a_chain_in_one_batch_may_come_in_any_order(
    server: CustomerIOServer, store: Any, order: list[tuple[str, str]]
) -> None:
    apply(store, PEOPLE, *(put(name, attributes={name: 1}) for name in "abcde"))

    assert apply(store, pairs(), *(merge(*pair) for pair in order)) == [ACCEPTED] * 4

    (one,) = server.workspace.people
    assert one.attributes == {"id": "a", **dict.fromkeys("abcde", 1)}


@pytest.mark.parametrize("order", [CHAIN, CHAIN[::-1]], ids=["down", "up"])
@pytest.mark.parametrize("taken", range(1, 4))
def test_a_chain_of_which_some_pairs_were_sent_is_merged_by_the_others(
    server: CustomerIOServer, store: Any, order: list[tuple[str, str]], taken: int
) -> None:
    apply(store, PEOPLE, *(put(name, attributes={name: 1}) for name in "abcde"))
    places = count()
    server.workspace.faults.refuses = lambda item: next(places) >= taken
    verdicts = apply(store, pairs(), *(merge(*pair) for pair in order))
    server.workspace.faults.refuses = lambda item: False
    left = [pair for pair, verdict in zip(order, verdicts, strict=True) if verdict != ACCEPTED]

    assert len(left) == 4 - taken
    assert apply(store, pairs(), *(merge(*pair) for pair in left)) == [ACCEPTED] * len(left)

    (one,) = server.workspace.people
    assert one.attributes == {"id": "a", **dict.fromkeys("abcde", 1)}


def test_pairs_in_a_ring_are_rejected_and_no_others(server: CustomerIOServer, store: Any) -> None:
    apply(store, PEOPLE, *(put(name) for name in "abcdef"))

    verdicts = apply(
        store, pairs(), merge("a", "b"), merge("b", "c"), merge("c", "a"), merge("d", "a"), merge("e", "f")
    )

    # Of the two who would get `a`, one is in the ring.
    assert verdicts == [RING, RING, RING, ACCEPTED, ACCEPTED]
    assert [person.attributes["id"] for person in server.workspace.people] == ["b", "c", "d", "e"]


def test_an_identifier_that_the_workspace_does_not_have_is_refused_at_the_field(server: CustomerIOServer) -> None:
    options = server.options()
    with (
        closing(open_store("crm", "customerio://us", identity=Identity.ID, options=options)) as store,
        pytest.raises(StoreRefusesError, match="cannot tell people apart by `email`") as caught,
    ):
        store.check(pairs(goes=PersonKey.EMAIL))
    assert caught.value.field == "merge"
