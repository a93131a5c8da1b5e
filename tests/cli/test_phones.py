"""Phones as identifiers, by commands."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Folder
from tests.cli.test_forget import places

PHONE, OTHER = "+4915110000001", "+4915110000002"


@pytest.fixture
def known(folder: Folder) -> Folder:
    """Two people with phones, of whom one is known by phone too, and a row that has none."""
    folder.write("syncer.toml", '[stores.default]\nidentity = "id_email_or_phone"\n')
    rows = f"('1', '{PHONE}'), ('2', '{OTHER}'), ('3', '0151 / 3')"
    folder.define("customers", f"SELECT * FROM (VALUES {rows}) t (id, phone)")
    folder.define("tiers", f"SELECT '{PHONE}' AS phone, 'gold' AS tier", "entity: person\nperson: {phone: phone}")
    folder.define(
        "tokens",
        f"SELECT '{PHONE}' AS mobile, 't1' AS token",
        "entity: device\nperson: {phone: mobile}\ndevice: {token: token, platform: ios}",
    )
    folder.define(
        "calls",
        f"SELECT '{PHONE}' AS phone, 7 AS number, TIMESTAMP '2026-01-02 03:04:05' AS at",
        "entity: event\nperson: {phone: phone}\nevent: {name: call, id: number, time: at}\nstart: all",
    )
    ran = folder.syncer("run", "--all", "--json")
    assert {run["sync"]: (run["accepted"], run["rejected"]) for run in ran.objects} == {
        "customers": (2, 1),
        "tiers": (1, 0),
        "tokens": (1, 0),
        "calls": (1, 0),
    }
    return folder


@pytest.mark.parametrize("words", [[PHONE], [f" {PHONE}"], [PHONE, "--by", "phone"], ["1"]])
def test_a_person_is_shown_by_phone(known: Folder, words: list[str]) -> None:
    (shown,) = known.syncer("show", "person", *words, "--json").objects

    content = shown["content"]
    assert (content["id"], content["email"], content["phone"]) == ("1", None, PHONE)
    assert content["attributes"] == {"tier": "gold"}
    assert [one["token"] for one in content["devices"]] == ["t1"]
    assert [one["name"] for one in content["events"]] == ["call"]


def test_a_phone_of_nobody_is_nobody_and_a_store_without_phones_knows_none(known: Folder) -> None:
    assert known.syncer("show", "person", "+4915110000009").code == 1
    known.write("syncer.toml", "")
    shown = known.syncer("show", "person", PHONE, "--by", "phone")
    assert shown.code == 1
    assert "has the identity `id_email_or_phone`, but `id` is configured" in shown.err


def test_what_each_sync_did_is_explained_by_phone(known: Folder) -> None:
    explained = known.syncer("explain", "person", PHONE, "--json")

    found = {row["sync"]: row for row in explained.objects}
    assert found.keys() == {"customers", "tiers", "tokens"}
    (attribute,) = found["customers"]["attributes"]
    assert (attribute["attribute"], attribute["sent"], attribute["stands"]) == ("phone", PHONE, True)


def test_a_row_is_rejected_with_its_reason_and_checked_again(known: Folder) -> None:
    (rejected,) = known.syncer("rejected", "customers", "--json").objects
    assert rejected["key"] == "3"
    assert rejected["reason"].startswith("`phone` is no phone number in E.164")
    assert "0151" not in rejected["reason"]

    (verified,) = known.syncer("verify", "customers", "--json").objects
    assert (verified["checked"], verified["equal"]) == (2, 2)
    known.define("customers", f"SELECT * FROM (VALUES ('1', '{OTHER}'), ('2', '{PHONE}')) t (id, phone)")
    (ran,) = known.syncer("run", "customers", "--json").objects
    assert (ran["changed"], ran["accepted"], ran["rejected"]) == (2, 2, 0)
    assert [row["content"]["id"] for row in known.syncer("show", "person", PHONE, "--json").objects] == ["2"]


def test_nothing_is_left_of_a_person_who_is_forgotten_by_phone(known: Folder) -> None:
    assert "customers.duckdb snapshot" in places(known, PHONE)

    forgotten = known.syncer("forget", "person", "--phone", PHONE, "--json")

    assert forgotten.code == 0, forgotten.err
    assert places(known, PHONE) == {"profiles.db", "profiles.db suppressions"}
    (ran,) = known.syncer("run", "tiers", "--json").objects
    assert (ran["accepted"], ran["rejected"]) == (0, 1)
    refused = known.syncer("rejected", "tiers").out
    assert "the person's phone is suppressed in this store" in refused


def test_one_way_to_name_the_person_is_enough(known: Folder) -> None:
    refused = known.syncer("forget", "person", "--phone", PHONE, "--id", "1")

    assert refused.code == 2
    assert "one of --id, --email and --phone is needed" in refused.err


def test_a_store_that_does_not_know_phones_refuses_a_sync_by_phone(folder: Folder) -> None:
    folder.define("tiers", "SELECT '+4915110000001' AS phone", "entity: person\nperson: {phone: phone}")

    checked = folder.syncer("validate", "tiers")

    assert checked.code == 2
    assert "tiers.sql:3: error: store `default` cannot tell people apart by `phone`" in checked.out
    forgotten = folder.syncer("forget", "person", "--phone", "+4915110000001")
    assert forgotten.code == 1


def test_a_sync_by_phone_is_written(known: Folder) -> None:
    made = known.syncer("new", "spent", "--entity", "person", "--person", "phone=mobile", "--from", "people")

    assert made.code == 0, made.err
    assert "person: {phone: mobile}" in (known.path / "sync_definitions/spent.sql").read_text()


def test_a_store_is_widened_by_the_next_run_and_not_narrowed(folder: Folder) -> None:
    folder.write("syncer.toml", '[stores.default]\nidentity = "id_or_email"\n')
    folder.define("customers", f"SELECT * FROM (VALUES ('1', '{PHONE}'), ('2', 'none')) t (id, phone)")
    assert folder.syncer("run", "customers").code == 0
    folder.write("syncer.toml", '[stores.default]\nidentity = "id_email_or_phone"\n')

    (verified,) = folder.syncer("verify", "customers", "--json").objects
    assert (verified["checked"], verified["equal"]) == (2, 2)
    (plan,) = folder.syncer("plan", "customers", "--json").objects
    assert plan["changed"] == 0
    (ran,) = folder.syncer("run", "customers", "--json").objects

    assert (ran["accepted"], ran["rejected"]) == (1, 1)
    (shown,) = folder.syncer("show", "person", PHONE, "--json").objects
    assert (shown["content"]["id"], shown["content"]["attributes"]) == ("1", {})
    (ran,) = folder.syncer("run", "customers", "--json").objects
    assert (ran["accepted"], ran["rejected"]) == (0, 1)
    folder.write("syncer.toml", '[stores.default]\nidentity = "id_or_email"\n')
    (ran,) = folder.syncer("run", "customers", "--json").objects
    assert ran["status"] == "failed"
    assert "has the identity `id_email_or_phone`, but `id_or_email` is configured" in ran["error"]
