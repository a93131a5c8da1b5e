"""What every profile store promises of lists of people; only an SQL store tells of whom it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.entities import PERSON_ACTIONS
from syncer.model.errors import StoreRefusesError
from syncer.model.lists import CountsPeople
from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, Identity, ListAction, Target
from tests.contracts.batches import (
    ACCEPTED,
    ACCOUNTS,
    MEMBERS,
    PEOPLE,
    PEOPLE_BY_CIO_ID,
    PEOPLE_BY_EMAIL,
    apply,
    attributes,
    person,
    put,
)
from tests.contracts.conftest import OpenStore

MEMBERS_BY_EMAIL = replace(MEMBERS, person_key=PEOPLE_BY_EMAIL.person_key, key_columns=("mail", "account_id"))

#: Stores that say which rows they refuse.
SQL = pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)


def refused(kind: str) -> tuple[str, str]:
    reason = f"the person's {kind} is suppressed in this store: leave them out of the query, or take it off with a list"
    return "rejected", f"{reason} that has `action: unsuppress`"


def listed(store: ProfileStore, action: ListAction, *keys: str, by: Target = PEOPLE) -> list[tuple[str, str | None]]:
    """Send a list of people."""
    rows: list[Any] = [(str(action), (key,), {}, (), {}) for key in keys]
    return apply(store, replace(by, action=action), *rows)


def is_there(store: ProfileStore, value: str, kind: str = "id") -> bool:
    return store.show(Entity.PERSON, kind, value) is not None


@pytest.mark.parametrize("action", [ListAction.DELETE, ListAction.SUPPRESS])
def test_a_list_takes_people_away_with_their_relationships(store: ProfileStore, action: ListAction) -> None:
    apply(store, PEOPLE, put("ann"), put("bob"))
    apply(store, ACCOUNTS, put("acme"))
    apply(store, MEMBERS, put("ann", "acme"), put("bob", "acme"))

    assert listed(store, action, "ann", "nobody") == [ACCEPTED, ACCEPTED]
    assert listed(store, action, "ann") == [ACCEPTED]

    assert (is_there(store, "ann"), is_there(store, "bob")) == (False, True)
    acme = store.show(Entity.OBJECT, "account", "acme")
    assert acme is not None
    assert [related["id"] for related in acme["people"]] == ["bob"]


def test_who_was_deleted_can_be_made_anew(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann", attributes={"plan": "pro", "city": "Oslo"}))
    listed(store, ListAction.DELETE, "ann")

    assert apply(store, PEOPLE, put("ann", attributes={"plan": "free"})) == [ACCEPTED]

    assert attributes(store, "ann") == {"plan": "free"}


def test_who_is_suppressed_cannot_be_made_until_they_are_unsuppressed(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann"), put("bob"))
    listed(store, ListAction.SUPPRESS, "ann", "cy")

    for id_ in ("ann", "cy"):
        apply(store, PEOPLE, put(id_))
        apply(store, MEMBERS, put(id_, "acme"))
        assert not is_there(store, id_)

    assert listed(store, ListAction.UNSUPPRESS, "ann", "nobody") == [ACCEPTED, ACCEPTED]
    assert not is_there(store, "ann")
    assert apply(store, PEOPLE, put("ann")) == [ACCEPTED]
    assert is_there(store, "ann")


def test_in_a_workspace_of_ids_and_emails_both_are_suppressed(opened: OpenStore) -> None:
    store = opened(Identity.ID_OR_EMAIL)
    apply(store, PEOPLE, put("ann", email="Ann@example.com"))

    listed(store, ListAction.SUPPRESS, "ann")
    apply(store, PEOPLE_BY_EMAIL, put("ann@example.com"))
    apply(store, PEOPLE, put("ann"))

    assert not is_there(store, "ann@example.com", "email")
    assert not is_there(store, "ann")


@SQL
def test_a_refusal_says_why_and_what_to_do(opened: OpenStore) -> None:
    store = opened(Identity.ID_OR_EMAIL)
    apply(store, ACCOUNTS, put("acme"))
    apply(store, PEOPLE, put("ann", email="ann@example.com"))
    listed(store, ListAction.SUPPRESS, "ANN@example.com", by=PEOPLE_BY_EMAIL)

    assert apply(store, PEOPLE, put("ann"), put("bob")) == [refused("id"), ACCEPTED]
    assert apply(store, PEOPLE, put("new", email="Ann@example.com")) == [refused("email")]
    assert apply(store, PEOPLE_BY_EMAIL, put("ann@example.com")) == [refused("email")]
    assert apply(store, MEMBERS, put("ann", "acme"), put("bob", "acme")) == [refused("id"), ACCEPTED]
    assert apply(store, MEMBERS_BY_EMAIL, put("ann@example.com", "acme")) == [refused("email")]
    number = str(person(store, "bob")["person_id"])
    assert apply(store, PEOPLE_BY_CIO_ID, put(number, email="ann@example.com")) == [refused("email")]


@SQL
def test_each_identifier_is_unsuppressed_by_itself(opened: OpenStore) -> None:
    store = opened(Identity.ID_OR_EMAIL)
    apply(store, PEOPLE, put("ann", email="ann@example.com"))
    listed(store, ListAction.SUPPRESS, "ann")
    listed(store, ListAction.UNSUPPRESS, "ann")

    assert apply(store, PEOPLE, put("ann", email="ann@example.com")) == [refused("email")]

    listed(store, ListAction.UNSUPPRESS, "Ann@example.com", by=PEOPLE_BY_EMAIL)
    assert apply(store, PEOPLE, put("ann", email="ann@example.com")) == [ACCEPTED]


@SQL
@pytest.mark.parametrize("rows", [2, 2_000], ids=["few", "many"])
@pytest.mark.parametrize("create", [True, False])
def test_every_way_to_put_people_refuses(store: ProfileStore, rows: int, *, create: bool) -> None:
    """A first load, a load of known people, and one of both."""
    listed(store, ListAction.SUPPRESS, "p1")
    people = [put(f"p{i}", attributes={"n": i}) for i in range(rows)]
    taken = ACCEPTED if create else ("absent", None)

    first = apply(store, PEOPLE, *people, create=create)
    assert [verdict for i, verdict in enumerate(first) if i != 1] == [taken] * (rows - 1)
    assert first[1] == refused("id")

    apply(store, PEOPLE, *(row for i, row in enumerate(people) if i != 1))
    again = apply(store, PEOPLE, *people, put("new"), create=create)
    assert again[1] == refused("id")
    assert again[0] == ACCEPTED


@SQL
def test_a_batch_of_which_every_row_is_refused_writes_nothing(store: ProfileStore) -> None:
    listed(store, ListAction.SUPPRESS, "ann")

    assert apply(store, PEOPLE, put("ann")) == [refused("id")]


@SQL
def test_a_plan_is_told_who_would_be_refused(store: Any) -> None:
    apply(store, ACCOUNTS, put("acme"))
    listed(store, ListAction.SUPPRESS, "ann")

    people = store.would_refuse(PEOPLE, pa.table({"k1": ["bob", "ann"]}), create=True)
    assert people.to_pylist() == [{"row": 1, "reason": refused("id")[1]}]

    apply(store, PEOPLE, put("bob"))
    keys = pa.table({"k1": ["ann", "bob", "cy"], "k2": ["acme"] * 3})
    members = store.would_refuse(MEMBERS, keys, create=True).sort_by("row").to_pylist()
    assert members == [
        {"row": 0, "reason": refused("id")[1]},
        {"row": 2, "reason": "the person does not exist yet"},
    ]
    deleted = replace(PEOPLE, action=ListAction.DELETE)
    assert store.would_refuse(deleted, pa.table({"k1": ["nobody"]}), create=True).num_rows == 0


@SQL
def test_a_store_counts_its_people(store: Any, opened: OpenStore) -> None:
    assert isinstance(opened(), CountsPeople)
    assert store.count_people() == 0

    apply(store, PEOPLE, put("ann"), put("bob"))

    assert store.count_people() == 2


@SQL
@pytest.mark.parametrize("action", PERSON_ACTIONS)
def test_by_its_own_number_a_store_can_only_delete(store: ProfileStore, action: ListAction) -> None:
    apply(store, PEOPLE, put("ann"), put("bob"))
    number = str(person(store, "ann")["person_id"])
    target = replace(PEOPLE_BY_CIO_ID, action=action)

    if action is ListAction.DELETE:
        store.check(target)
        assert listed(store, action, number, "999", by=PEOPLE_BY_CIO_ID) == [ACCEPTED, ACCEPTED]
        assert (is_there(store, "ann"), is_there(store, "bob")) == (False, True)
    else:
        with pytest.raises(StoreRefusesError, match=f"cannot {action} people by `cio_id`"):
            store.check(target)


def test_the_first_list_makes_the_store(store: ProfileStore) -> None:
    assert listed(store, ListAction.SUPPRESS, "ann") == [ACCEPTED]
    apply(store, PEOPLE, put("ann"))
    assert not is_there(store, "ann")
