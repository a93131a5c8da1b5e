"""Phones as identifiers: what is none, phones that move, and a store that comes to know people by them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.customerio import connection
from syncer.model.types import Entity, Identity, ListAction, OnRemoved, PersonKey, Target
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.sync.house import BY_EMAIL, BY_ID, BY_PHONE, House

A, B, C, D = (f"+4915110000{number:03}" for number in range(4))
NO_PHONE = (
    "`phone` is no phone number in E.164, which is + and 8 to 15 digits, the first of them not 0, and nothing between"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    url = f"sqlite:///{tmp_path}/people.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    return House(folder=tmp_path, store_url=url, identity=Identity.ID_EMAIL_OR_PHONE, may_reject=True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerIOServer]:
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.002)
    with customerio_server() as running:
        running.workspace.unique = Identity.ID_EMAIL_OR_PHONE.unique
        yield running


@pytest.fixture
def workspace_house(server: CustomerIOServer, tmp_path: Path) -> House:
    made = House(
        folder=tmp_path,
        store_url="customerio://us",
        identity=Identity.ID_EMAIL_OR_PHONE,
        options=server.options(),
        may_reject=True,
    )
    made.sync("people", BY_ID, "id phone")
    return made


def rejected(house: House, name: str) -> dict[str, str]:
    """Key to reason."""
    with closing(house.store()) as store, house.opened(name, store) as snapshot:
        return {row.key: row.reason for row in snapshot.rejections(100)[0]}


def phone(house: House, id_: str) -> str | None:
    found = house.person(id_)
    assert found is not None
    held: str | None = found["phone"]
    return held


#: Texts to whether they are phone numbers.
SPELLED = {
    A: True,
    "+12345678": True,
    "+123456789012345": True,
    "+1234567": False,
    "+1234567890123456": False,
    "+0151100000": False,
    "4915110000000": False,
    "0151100000": False,
    "+49 151 100000": False,
    "+49151-100000": False,
    "+49151100000x": False,
    "+٤٩١٥١١٠٠٠٠": False,
    "++4915110000": False,
    "phone": False,
}


def test_what_is_no_phone_is_rejected_and_nothing_else_is_lost(house: House) -> None:
    house.sync("people", BY_ID, "id phone plan")
    house.rows["people"] = [
        {"id": str(number), "phone": text, "plan": "x"} for number, text in enumerate(SPELLED, start=1)
    ]
    house.rows["people"] += [
        {"id": "blank", "phone": "  ", "plan": "x"},
        {"id": "null", "phone": None, "plan": "x"},
        {"id": "around", "phone": f"\t{B} ", "plan": "x"},
    ]

    counts = house.run("people").counts

    wrong = {str(number) for number, is_one in enumerate(SPELLED.values(), start=1) if not is_one}
    assert rejected(house, "people") == dict.fromkeys(wrong, NO_PHONE)
    assert (counts.accepted, counts.rejected) == (len(SPELLED) + 3 - len(wrong), len(wrong))
    assert phone(house, "1") == A
    assert [phone(house, id_) for id_ in ("blank", "null", "around")] == [None, None, B]
    assert house.person("5") is None


@pytest.mark.parametrize(
    ("target", "columns"),
    [
        (BY_PHONE, "phone plan"),
        (replace(BY_PHONE, action=ListAction.DELETE), "phone"),
        (Target(entity=Entity.DEVICE, person_key=PersonKey.PHONE, key_columns=("phone", "token")), "phone token"),
        (
            Target(
                entity=Entity.MERGE,
                action=ListAction.MERGE,
                person_key=PersonKey.PHONE,
                merged_key=PersonKey.PHONE,
                key_columns=("phone", "phone2"),
            ),
            "phone phone2",
        ),
    ],
)
def test_a_key_that_is_no_phone_is_rejected(house: House, target: Target, columns: str) -> None:
    if target.entity is Entity.DEVICE:
        from syncer.model.types import DeviceFields, Platform

        house.sync("rows", target, columns, device=DeviceFields(platform=Platform.IOS))
    else:
        house.sync("rows", target, columns)
    others = "x" if "phone2" not in columns else B
    house.put("rows", *[f"{text} {others}" if " " in columns else text for text in (A, "0151", "+49-151")])

    house.run("rows")

    found = rejected(house, "rows")
    assert {key for key, reason in found.items() if reason == NO_PHONE} == {
        text if " " not in columns or target is BY_PHONE else f'["{text}","{others}"]' for text in ("0151", "+49-151")
    }


def test_a_number_in_place_of_a_text_has_lost_its_sign(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.sync("people", BY_PHONE, "phone plan")
    numbers = pa.table({"phone": pa.array([4915110000000], pa.int64()), "plan": ["x"]})
    monkeypatch.setattr(house, "result", lambda name: numbers)

    house.run("people")

    assert rejected(house, "people") == {"4915110000000": NO_PHONE}


def test_rows_that_share_a_phone_are_rejected(house: House) -> None:
    house.sync("people", BY_ID, "id email phone")
    house.put("people", f"1 a@x.com {A}", f"2 b@x.com {A}", f"3 c@x.com {B}", f"4 c@x.com {C}", f"5 e@x.com {D}")

    house.run("people")

    assert rejected(house, "people") == dict.fromkeys("12", "several rows have this `phone`") | dict.fromkeys(
        "34", "several rows have this `email`"
    )
    assert phone(house, "5") == D


def test_a_row_follows_its_phone_to_another_person(house: House) -> None:
    house.sync("people", BY_ID, "id phone")
    house.sync("tiers", BY_PHONE, "phone tier", OnRemoved.CLEAR)
    house.put("people", f"1 {A}", f"2 {B}")
    house.put("tiers", f"{A} gold", f"{B} tin")
    house.run()

    house.put("people", f"1 {B}", f"2 {A}")
    house.run()

    assert (house.attributes("1"), house.attributes("2")) == ({"tier": "tin"}, {"tier": "gold"})
    assert house.run("tiers").counts.accepted == 0
    house.put("tiers")
    house.run("tiers")
    assert (house.attributes("1"), house.attributes("2")) == ({}, {})


@pytest.mark.parametrize("kind", ["sqlite", "customerio"])
def test_phones_and_emails_go_round_within_one_run(
    kind: str, workspace_house: House, server: CustomerIOServer, tmp_path: Path
) -> None:
    house = workspace_house
    if kind == "sqlite":
        house = House(folder=tmp_path, store_url=f"sqlite:///{tmp_path}/people.db", identity=Identity.ID_EMAIL_OR_PHONE)
    house.sync("people", BY_ID, "id email phone")
    house.put("people", f"1 a@x.com {A}", f"2 b@x.com {B}", f"3 c@x.com {C}")
    house.run()

    house.put("people", f"1 b@x.com {C}", f"2 c@x.com {A}", f"3 a@x.com {B}")
    house.run()

    def names(id_: str) -> tuple[Any, Any]:
        if kind == "customerio":
            held = server.workspace.attributes(id_)
            return held.get("email"), held.get("phone")
        found = house.person(id_)
        assert found is not None
        return found["email"], found["phone"]

    assert {id_: names(id_) for id_ in "123"} == {"1": ("b@x.com", C), "2": ("c@x.com", A), "3": ("a@x.com", B)}
    assert house.run("people").counts.accepted == 0


def test_customerio_gets_a_phone_as_the_identifier(workspace_house: House, server: CustomerIOServer) -> None:
    house = workspace_house
    house.sync("tiers", BY_PHONE, "phone tier", OnRemoved.DELETE)
    house.put("people", f"1 {A}", f"2 {B}", "3 0151")
    house.put("tiers", f"{A} gold", f"{C} tin")

    house.run()

    assert {
        (p.attributes.get("id"), p.attributes["phone"]): p.attributes.get("tier") for p in server.workspace.people
    } == {
        ("1", A): "gold",
        ("2", B): None,
        (None, C): "tin",
    }
    assert rejected(house, "people") == {"3": NO_PHONE}
    assert ("identify", f'["person", {{"phone": "{C}"}}]') in server.workspace.taken
    shown = house.person(A)
    assert shown is not None
    assert (shown["id"], shown["phone"], shown["attributes"]) == ("1", A, {"tier": "gold"})
    house.put("tiers", f"{A} gold")
    house.run("tiers")
    assert server.workspace.person(phone=C) is None


@pytest.fixture
def narrow(house: House) -> House:
    """A house whose store knows people by ids and emails so far, and has phones as attributes."""
    house.identity = Identity.ID_OR_EMAIL
    house.sync("people", BY_ID, "id email phone")
    house.sync("others", BY_EMAIL, "email phone")
    house.put("people", f"1 - {A}", "2 - 0151", "3 - -", f"4 d@x.com {B}")
    house.put("others", f"e@x.com {B}", "f@x.com -")
    house.run()
    return house


def test_a_store_that_comes_to_know_phones_gets_each_row_that_has_one_again(narrow: House) -> None:
    house = narrow
    assert [house.attributes(id_) for id_ in "1234"] == [{"phone": A}, {"phone": "0151"}, {}, {"phone": B}]
    assert sum(house.run(name).counts.accepted for name in house.syncs) == 0

    house.identity = Identity.ID_EMAIL_OR_PHONE
    progress = house.run("people")

    assert progress.notes == [
        "the store knows people by more than before: rows with such an identifier go again",
        "rows that are sent again though they did not change: 2",
    ]
    assert (progress.counts.accepted, rejected(house, "people")) == (2, {"2": NO_PHONE})
    assert [phone(house, id_) for id_ in "1234"] == [A, None, None, B]
    assert [house.attributes(id_) for id_ in "1234"] == [{}, {"phone": "0151"}, {}, {}]
    assert house.run("others").counts.rejected == 1
    assert rejected(house, "others") == {"e@x.com": "another person has this phone"}
    assert house.attributes("e@x.com") == {"phone": B}
    assert house.run("people").counts.accepted == 0
    house.put("people", f"1 - {A}", f"2 - {C}", "3 - -", "4 d@x.com -")
    house.run()
    assert rejected(house, "people") == rejected(house, "others") == {}
    assert [phone(house, name) for name in ("1", "2", "4", "e@x.com")] == [A, C, None, B]
    assert [house.attributes(name) for name in ("2", "4", "e@x.com")] == [{}, {}, {}]


def test_a_store_that_comes_to_know_phones_may_get_a_sync_by_phone_first(narrow: House) -> None:
    house = narrow
    house.identity = Identity.ID_EMAIL_OR_PHONE
    house.sync("tiers", BY_PHONE, "phone tier")
    house.put("tiers", f"{A} gold", f"{D} tin")

    house.run("tiers")

    assert (house.attributes("1"), phone(house, "1")) == ({"tier": "gold"}, A)
    assert house.attributes(D) == {"tier": "tin"}
