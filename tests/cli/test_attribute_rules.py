"""Commands where `attributes.yml` says whose value of an attribute stands."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Folder
from tests.cli.test_cancel import ENDLESS, running
from tests.service.conftest import wait_until

PERSON = "entity: person\nperson: {id: id}"


@pytest.fixture
def ranked(folder: Folder) -> Folder:
    """A folder whose sync `customers` counts more than `crm`, and both have run."""
    folder.define("crm", "SELECT id, 'basic' AS plan, 'rome ' AS city FROM people WHERE id <> '3'")
    folder.write(
        "sync_definitions/attributes.yml", "plan: {from: [customers, crm]}\ncity: {from: crm, normalise: title}\n"
    )
    ran = folder.syncer("run", "--all", "--json")
    assert ran.code == 0, ran.err
    assert [row["sync"] for row in ran.objects] == ["customers", "crm"]
    return folder


def test_explain_shows_the_value_of_each_sync_and_which_one_stands(ranked: Folder) -> None:
    shown = ranked.syncer("explain", "person", "1")

    assert [line for line in shown.out.splitlines() if "sent " not in line] == [
        "crm 1: delivered, and the store has these values",
        '  plan: "basic", held back for `customers`, the store has "free"',
        '  city: "Rome"',
        "customers 1: delivered, and the store has these values",
        '  plan: "free"',
    ]
    crm, customers = ranked.syncer("explain", "person", "1", "--json").objects
    assert crm["attributes"][0] == {
        "attribute": "plan",
        "sent": "basic",
        "stored": "free",
        "stands": False,
        "held_back_for": ["customers"],
    }
    assert customers["attributes"][0]["held_back_for"] == []


def test_verify_finds_the_store_as_it_should_be(ranked: Folder) -> None:
    found = ranked.syncer("verify", "crm", "--all", "--json")

    assert found.code == 0, found.out
    assert found.objects[0]["different"] == 0


def test_a_forgotten_person_leaves_nothing_in_what_is_held_back(ranked: Folder) -> None:
    assert ranked.syncer("forget", "person", "--id", "1", "--allow-return").code == 0
    ranked.define("customers", "SELECT id, plan FROM people WHERE id <> '1'")
    ranked.define("crm", "SELECT id, 'basic' AS plan, 'rome ' AS city FROM people WHERE id = '2'")

    ran = ranked.syncer("run", "--all", "--json")

    assert [(row["status"], row["accepted"]) for row in ran.objects] == [("success", 0)] * 2


def test_a_sync_that_is_not_named_is_an_error_of_validate_and_of_its_runs(ranked: Folder) -> None:
    ranked.define("other", "SELECT id, plan FROM people")

    found = ranked.syncer("validate")
    assert found.code == 2
    assert "other.sql:2: error: `other` writes the attribute `plan`, and is not among those that may" in found.out
    ran = ranked.syncer("run", "other", "--json")
    assert ran.code != 0
    assert ran.objects[0]["status"] == "failed"

    ranked.define("other", "SELECT id, plan FROM people", f"{PERSON}\nexclude: [plan]")
    assert ranked.syncer("validate").code == 0


def test_a_file_with_an_error_lets_no_sync_of_people_run(ranked: Folder) -> None:
    ranked.write("sync_definitions/attributes.yml", "plan: {from: [customers, crmm]}\n")

    found = ranked.syncer("validate")
    assert found.code == 2
    assert "attributes.yml:1: error: `plan.from` names `crmm`, but there is no such sync" in found.out
    assert "Did you mean `crm`?" in found.out
    ran = ranked.syncer("run", "customers")
    assert ran.code == 2
    assert "attributes.yml:1" in ran.err


def test_a_sync_does_not_start_while_one_that_counts_more_runs(ranked: Folder) -> None:
    ranked.define("customers", ENDLESS)
    with ranked.started("run", "customers") as going_on:
        wait_until(lambda: running(ranked, "customers"))

        ran = ranked.syncer("run", "crm", "--json")
        going_on.kill()

    assert ran.code == 4
    assert "`customers` runs now, and its values of `plan` count more than those of `crm`" in ran.err
    assert ran.objects[0]["status"] == "skipped"
