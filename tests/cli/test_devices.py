"""Devices by the commands, in a store of SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.cli.conftest import Folder

HEADER = (
    "entity: device\nperson: {id: person}\ndevice: {token: token, platform: {column: os}, last_used: seen}\n"
    "on_removed: delete\nlimits: {empty: allow}"
)


def execute(folder: Folder, statement: str) -> None:
    """Change the store behind Syncer's back."""
    with closing(sqlite3.connect(folder.path / ".syncer/profiles.db")) as database:
        database.execute(statement)
        database.commit()


@pytest.fixture
def phones(folder: Folder) -> Folder:
    """A sync of devices, one of them of somebody whom no other sync sends."""
    folder.write(
        "sync_definitions/sample_data/phones.csv",
        "person,token,os,seen,app\n"
        "1,t1,iOS,2026-03-01 10:00:00,5.1\n1,t2,android,,4.0\n9,t9,ios,2026-01-01 00:00:00,5.0\n",
    )
    folder.define("phones", "SELECT * FROM phones", HEADER)
    assert folder.syncer("run", "--all").code == 0
    return folder


def test_show_person_has_devices_and_the_sync_that_sends_them(phones: Folder) -> None:
    (found,) = phones.syncer("show", "person", "1", "--json").objects

    assert found["content"]["devices"] == [
        {"token": "t1", "platform": "ios", "last_used": "2026-03-01T10:00:00+00:00", "attributes": {"app": 5.1}},
        {"token": "t2", "platform": "android", "last_used": None, "attributes": {"app": 4}},
    ]
    assert found["syncs"] == ["customers", "phones"]
    (made,) = phones.syncer("show", "person", "9", "--json").objects
    assert [one["token"] for one in made["content"]["devices"]] == ["t9"]


def test_plan_shows_a_token_that_moves_and_a_run_sends_one_row(phones: Folder) -> None:
    data = phones.path / "sync_definitions/sample_data/phones.csv"
    data.write_text(data.read_text().replace("1,t2,android", "2,t2,android"))

    (plan,) = phones.syncer("plan", "phones", "--json").objects
    assert (plan["added"], plan["removed"], plan["unchanged"]) == (1, 1, 2)
    assert {(row["change"], row["key"]) for row in plan["sample"]} == {
        ("added", '["2","t2"]'),
        ("removed", '["1","t2"]'),
    }
    assert plan["sample"][0]["after"] == {"app": 4, "platform": "android", "last_used": None}

    assert phones.syncer("run", "phones", "--row", '["9","t9"]').code == 0
    assert phones.syncer("run", "phones").code == 0
    (found,) = phones.syncer("show", "person", "2", "--json").objects
    assert [one["token"] for one in found["content"]["devices"]] == ["t2"]


def test_verify_finds_devices_that_were_changed_elsewhere_and_mends_them(phones: Folder) -> None:
    assert phones.syncer("verify", "phones").code == 0
    execute(phones, "UPDATE devices SET platform = 'android' WHERE token = 't1'")
    execute(phones, "UPDATE devices SET last_used = NULL WHERE token = 't9'")
    execute(phones, "DELETE FROM devices WHERE token = 't2'")

    (found,) = phones.syncer("verify", "phones", "--all", "--repair", "--json").objects

    assert [found[name] for name in ("checked", "equal", "different", "missing", "extra")] == [3, 0, 2, 1, 0]
    assert phones.syncer("run", "phones").code == 0
    assert phones.syncer("verify", "phones", "--all").code == 0


def test_explain_says_what_became_of_a_device(phones: Folder) -> None:
    execute(phones, "UPDATE devices SET platform = 'android' WHERE token = 't1'")

    (device,) = phones.syncer("explain", "device", "1", "t1", "--json", "--now").objects
    states = {one["attribute"]: one["stands"] for one in device["attributes"]}
    assert (device["sync"], device["key"]) == ("phones", '["1","t1"]')
    assert states == {"app": True, "last_used": True, "platform": False}
    assert device["now"]["in_result"]
    assert device["now"]["differs"] == []
    person = phones.syncer("explain", "person", "1", "--json").objects
    assert {row["key"] for row in person if row["sync"] == "phones"} == {'["1","t1"]', '["1","t2"]'}
    assert phones.syncer("explain", "device", "1", "t9").code == 1


def test_tokens_of_two_people_are_rejected_with_a_reason(phones: Folder) -> None:
    data = phones.path / "sync_definitions/sample_data/phones.csv"
    data.write_text(data.read_text() + "2,t1,ios,,5.2\n3,t3,phone,,5.2\n4,t4,ios,,5.2\n")

    assert phones.syncer("run", "phones").code == 1
    rejected = {row["key"]: row["reason"] for row in phones.syncer("rejected", "phones", "--json").objects}

    assert rejected == {
        '["1","t1"]': "rows of several people have this token",
        '["2","t1"]': "rows of several people have this token",
        '["3","t3"]': "`os` is neither `ios` nor `android`",
    }
    (found,) = phones.syncer("show", "person", "4", "--json").objects
    assert [one["token"] for one in found["content"]["devices"]] == ["t4"]


def test_a_deleted_person_comes_back_with_their_devices(phones: Folder) -> None:
    phones.define("customers", "SELECT id, plan FROM people", "entity: person\nperson: {id: id}\non_removed: delete")
    phones.people({"2": "pro", "3": "free"})
    assert phones.syncer("run", "customers", "--allow-limits").code == 0
    assert phones.syncer("show", "person", "1").code == 1

    (again,) = phones.syncer("run", "phones", "--json").objects
    assert again["unchanged"] == 3

    (found,) = phones.syncer("show", "person", "1", "--json").objects
    assert {one["token"] for one in found["content"]["devices"]} == {"t1", "t2"}
