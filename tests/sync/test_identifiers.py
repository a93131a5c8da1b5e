"""How a sync spells the identifiers that it sends, over a real store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from connectors.sqlite.store import SQLiteStore
from syncer.model.spelling import identifier
from syncer.model.types import Entity, Identity, PersonKey, Target
from tests.workbench import Workbench, definition, table

BY_EMAIL = Target(entity=Entity.PERSON, person_key=PersonKey.EMAIL, key_columns=("email",))
#: At the ends of an identifier these say nothing.
BLANKS = [" ", "\t", "\u00a0", "\u2003", "\u3000", "\u200b", "\ufeff", "\u2060", "\u0085"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    url = f"sqlite:///{tmp_path}/people.db"
    with closing(SQLiteStore("default", url, identity=Identity.ID_OR_EMAIL)) as store:
        yield store


def bench(folder: Path, store: Any, **fields: Any) -> Workbench:
    return Workbench(folder=folder, store=store, definition=definition(**fields))


def emails(store: SQLiteStore) -> dict[str, Any]:
    found = {key: store.show(Entity.PERSON, "id", key) for key in ("1", "2", "3")}
    return {key: person["email"] for key, person in found.items() if person is not None}


@pytest.mark.parametrize("blank", BLANKS)
def test_an_email_beside_an_id_is_spelled_as_the_key_of_another_sync(
    tmp_path: Path, store: SQLiteStore, blank: str
) -> None:
    people = bench(tmp_path, store, name="people")
    tiers = bench(tmp_path, store, name="tiers", target=BY_EMAIL)

    people.run(table({"id": ["1"], "email": [f"{blank}Ann@X.com{blank}"]}))
    tiers.run(table({"email": [f"ANN@x.com{blank}"], "tier": ["gold"]}))

    person = store.show(Entity.PERSON, "id", "1")
    assert person is not None
    assert (person["email"], person["attributes"]) == ("ann@x.com", {"tier": "gold"})
    assert identifier(f"{blank}1{blank}") == "1"


def test_a_blank_email_neither_sets_nor_clears_it_and_null_does(tmp_path: Path, store: SQLiteStore) -> None:
    people = bench(tmp_path, store, name="people")
    people.run(table({"id": ["1", "2", "3"], "email": ["ann@x.com", "", "\u2003"]}))
    assert emails(store) == {"1": "ann@x.com", "2": None, "3": None}
    assert people.rejections() == {}

    people.run(table({"id": ["1", "2", "3"], "email": [" ", "", "\u2003"]}))
    assert emails(store)["1"] == "ann@x.com"

    people.run(table({"id": ["1", "2", "3"], "email": [None, "", ""]}))
    assert emails(store)["1"] is None


def test_the_same_email_in_two_spellings_is_one_that_two_people_have(tmp_path: Path, store: SQLiteStore) -> None:
    people = bench(tmp_path, store, name="people")

    people.run(table({"id": ["1", "2"], "email": ["ann@x.com", "ANN@x.com\u3000"]}))

    assert people.rejections() == dict.fromkeys(["1", "2"], "several rows have this `email`")


@pytest.mark.parametrize("rows_at_once", [1, 2, 5_000])
def test_emails_that_change_owner_arrive_in_one_run_in_whatever_batches(
    tmp_path: Path, store: SQLiteStore, rows_at_once: int
) -> None:
    store.batch_rows = rows_at_once
    people = bench(tmp_path, store, name="people")
    ids, before = [f"{place}" for place in range(8)], [f"{place}@x.com" for place in range(8)]
    # A circle, a pair, one that gets a new email, and one that gets that one's old email.
    after = [before[place] for place in (1, 2, 0, 4, 3)] + ["new@x.com", before[5], before[7]]
    people.run(table({"id": ids, "email": before}))

    counts = people.run(table({"id": ids, "email": after})).counts

    assert (counts.changed, counts.accepted, counts.rejected) == (7, 7, 0)
    found = [store.show(Entity.PERSON, "id", id_) for id_ in ids]
    assert [person and person["email"] for person in found] == after
    assert people.run(table({"id": ids, "email": after})).counts.unchanged == 8


def test_an_id_beside_an_email_stays_with_its_person(tmp_path: Path, store: SQLiteStore) -> None:
    people = bench(tmp_path, store, name="people", target=BY_EMAIL)
    people.run(table({"email": ["ann@x.com", "bob@x.com"], "id": ["1", "2"]}))

    people.run(table({"email": ["ann@x.com", "bob@x.com"], "id": ["2", "1"]}))

    assert emails(store) == {"1": "ann@x.com", "2": "bob@x.com"}
    assert len(people.rejections()) == 2
