"""A store that comes to know people by their phones, which were attributes until then."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from syncer.model.errors import StoreError
from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, Identity
from syncer.settings.registry import open_store
from tests.connectors.test_store_upgrades import engine, structure, url
from tests.contracts.batches import ACCEPTED, PEOPLE, PEOPLE_BY_PHONE, apply, made, person, put
from tests.fixtures.earlier_versions import unpack

__all__ = ["url"]

A, B, C = (f"+4915110000{number:03}" for number in range(3))
ATTRIBUTES: dict[str, Any] = {
    "valid": {"phone": f" {A} ", "n": 1.50},
    "none": {"phone": "0171 / 23", "n": 2},
    "digits": {"phone": 4915110000009},
    "shared 1": {"phone": B},
    "shared 2": {"phone": B, "plan": "pro"},
    "without": {"plan": "free"},
}


def opened(url: str, identity: Identity) -> Any:
    return closing(open_store("default", url, identity=identity))


def known(store: ProfileStore) -> dict[str, tuple[Any, ...]]:
    """Phone and attributes of each of them, by id."""
    people = {id_: person(store, id_) for id_ in ATTRIBUTES}
    return {id_: (one.get("phone"), one["attributes"]) for id_, one in people.items()}


@pytest.fixture
def narrow(url: str) -> str:
    """A store of people whose phones are attributes."""
    with opened(url, Identity.ID_OR_EMAIL) as store:
        rows = [put(id_, attributes=attributes, email=f"{id_[-1]}@x.com") for id_, attributes in ATTRIBUTES.items()]
        assert apply(store, PEOPLE, *rows[:3], *rows[4:]) == [ACCEPTED] * 5
        assert apply(store, PEOPLE, put("shared 1", attributes=ATTRIBUTES["shared 1"])) == [ACCEPTED]
    return url


def test_nothing_changes_before_something_is_stored(narrow: str) -> None:
    before = structure(narrow)
    with opened(narrow, Identity.ID_EMAIL_OR_PHONE) as store:
        store.check(PEOPLE_BY_PHONE)
        assert known(store)["valid"] == (None, ATTRIBUTES["valid"])
        assert store.show(Entity.PERSON, "phone", A) is None

    assert structure(narrow) == before
    with opened(narrow, Identity.ID_OR_EMAIL) as store:
        assert known(store) == {id_: (None, attributes) for id_, attributes in ATTRIBUTES.items()}


def test_a_phone_that_is_one_and_nobody_elses_becomes_an_identifier_and_every_other_one_stays(narrow: str) -> None:
    with opened(narrow, Identity.ID_EMAIL_OR_PHONE) as store:
        made(store)

        assert known(store) == {id_: (None, attributes) for id_, attributes in ATTRIBUTES.items()} | {
            "valid": (A, {"n": 1.5})
        }
        assert person(store, A, "phone")["id"] == "valid"
        verdicts = apply(store, PEOPLE, put("none", phone=C), put("shared 1", phone=B), put("new", phone=A))
        assert verdicts == [ACCEPTED, ACCEPTED, ("rejected", "another person has this phone")]
        assert known(store)["none"] == (C, {"n": 2})
        assert known(store)["shared 1"] == (B, {})
        assert known(store)["shared 2"] == (None, ATTRIBUTES["shared 2"])
        assert apply(store, PEOPLE, put("shared 2", cleared=("phone",))) == [ACCEPTED]
        assert known(store)["shared 2"] == (None, {"plan": "pro"})


def test_a_widened_store_is_like_one_that_was_made_so(narrow: str) -> None:
    with opened(narrow, Identity.ID_EMAIL_OR_PHONE) as store:
        made(store)
    widened = structure(narrow)
    with engine(narrow).begin() as connection:
        from connectors.sql_store import schema

        schema.metadata.drop_all(connection)
    with opened(narrow, Identity.ID_EMAIL_OR_PHONE) as store:
        made(store)

    assert structure(narrow) == widened


def test_there_is_no_way_back_and_no_other_way(narrow: str) -> None:
    with opened(narrow, Identity.ID_EMAIL_OR_PHONE) as store:
        made(store)

    for identity in (Identity.ID, Identity.EMAIL, Identity.ID_OR_EMAIL):
        with pytest.raises(StoreError, match=f"has the identity `id_email_or_phone`, but `{identity}`") as raised:
            opened(narrow, identity)
        assert "which may become `id_email_or_phone`" in raised.value.hint


@pytest.mark.parametrize("identity", [Identity.ID, Identity.EMAIL])
def test_only_a_store_of_ids_and_emails_can_be_widened(url: str, identity: Identity) -> None:
    with opened(url, identity) as store:
        made(store)

    with pytest.raises(StoreError, match=f"has the identity `{identity}`, but `id_email_or_phone`"):
        opened(url, Identity.ID_EMAIL_OR_PHONE)


def test_a_store_of_an_earlier_version_is_upgraded_and_widened_at_once(url: str, tmp_path: Path) -> None:
    folder = unpack("format_11", tmp_path, url if url.startswith("postgresql:") else "")
    with engine(folder.store).begin() as connection:
        # As the version before made one.
        for statement in (
            "UPDATE workspace SET identity = 'id_or_email'",
            "DROP INDEX people_email",
            "CREATE UNIQUE INDEX people_email ON people (email) WHERE email IS NOT NULL",
        ):
            connection.execute(sa.text(statement))

    with opened(folder.store, Identity.ID_EMAIL_OR_PHONE) as store:
        assert person(store, "1")["attributes"]["phone"] == "+4915110000001"
        assert store.show(Entity.PERSON, "phone", "+4915110000001") is None
        made(store)
        assert person(store, "+4915110000001", "phone")["id"] == "1"
        assert "phone" not in person(store, "1")["attributes"]
        assert person(store, "2")["attributes"]["phone"] == "0171 / 2"
