"""Syncs whose people have another email than before, on the command line."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import time
from contextlib import closing, suppress

import pytest

from tests.cli.conftest import Folder

HEADER = "entity: person\nperson: {email: email, previous: old_email}\non_removed: delete"
STORE = """[stores.default]
url = "sqlite:///people.db"
identity = "email"
"""


def define(folder: Folder, *rows: str, more: str = "") -> None:
    """The query returns these rows: email, former one or nothing, plan."""
    lines = ["email,old_email,plan", *(row.replace(" ", ",") for row in rows)]
    folder.write("sync_definitions/sample_data/accounts.csv", "\n".join(lines) + "\n")
    folder.define("people", "SELECT email, old_email, plan FROM accounts", HEADER + more)


def people(folder: Folder) -> dict[str, int]:
    """The number of each email's person."""
    with closing(sqlite3.connect(folder.path / "people.db")) as connection:
        return dict(connection.execute("SELECT email, person_id FROM people"))


@pytest.fixture
def moving(folder: Folder) -> Folder:
    """A folder with two people in the store, of whom one has another email by now."""
    folder.write("syncer.toml", STORE)
    define(folder, "ann@x.com  free", "bob@x.com  pro")
    assert folder.syncer("run", "people").code == 0
    define(folder, "anna@x.com ann@x.com pro", "bob@x.com  pro")
    return folder


def test_a_plan_shows_who_moves_and_its_run_moves_them(moving: Folder) -> None:
    before = people(moving)
    shown, saved = moving.syncer("plan", "people"), moving.syncer("plan", "people", "--save", "--json")

    assert shown.out.splitlines() == [
        "people: 2 queried, 1 added, 0 changed, 0 removed, 1 unchanged",
        "  note: people who have another email, count as added, and keep what the store has of them: 1",
        "",
        "  added",
        "    email anna@x.com",
        '      plan: "pro"',
        '      moves from "ann@x.com"',
    ]
    (plan,) = saved.objects
    assert [one["after"] for one in plan["sample"]] == [{"plan": "pro", "person.previous": "ann@x.com"}]
    found = moving.syncer("plan", "people", "--search", "ann@", "--json").objects[0]["sample"]
    assert [one["key"] for one in found] == ["anna@x.com"]

    (run,) = moving.syncer("run", "people", "--plan", plan["plan_id"], "--json").objects

    assert (run["status"], run["added"], run["removed"], run["accepted"]) == ("success", 1, 0, 1)
    assert people(moving) == {"anna@x.com": before["ann@x.com"], "bob@x.com": before["bob@x.com"]}
    (again,) = moving.syncer("run", "people", "--json").objects
    assert (again["accepted"], again["unchanged"]) == (0, 2)


def test_a_plan_is_out_of_date_once_somebody_has_the_new_email(moving: Folder) -> None:
    plan_id = moving.syncer("plan", "people", "--save", "--json").objects[0]["plan_id"]
    moving.define("others", "SELECT 'anna@x.com' AS email", "entity: person\nperson: {email: email}")
    moving.syncer("run", "others")

    held = moving.syncer("run", "people", "--plan", plan_id, "--json")

    assert (held.code, held.objects[0]["status"]) == (3, "held")
    assert sorted(people(moving)) == ["ann@x.com", "anna@x.com", "bob@x.com"]


@pytest.mark.parametrize("email", ["ann@x.com", "anna@x.com"])
def test_a_saved_plan_that_names_a_forgotten_person_is_deleted(moving: Folder, email: str) -> None:
    moving.syncer("plan", "people", "--save")

    forgotten = moving.syncer("forget", "person", "--email", email, "--json")

    assert forgotten.objects[0]["plans"] == 1
    assert moving.syncer("plans", "--json").objects == []


def test_one_row_moves_and_both_emails_are_explained(moving: Folder) -> None:
    before = people(moving)

    assert moving.syncer("run", "people", "--row", "anna@x.com").code == 0

    assert people(moving) == {"anna@x.com": before["ann@x.com"], "bob@x.com": before["bob@x.com"]}
    (new,) = moving.syncer("explain", "person", "anna@x.com", "--json").objects
    (old,) = moving.syncer("explain", "person", "ann@x.com", "--json").objects
    assert (new["in_result"], old["in_result"]) == (True, False)
    assert moving.syncer("verify", "people").code == 0


def test_several_rows_that_name_one_former_email_are_rejected(moving: Folder) -> None:
    define(moving, "anna@x.com ann@x.com pro", "hanna@x.com ann@x.com pro", "bob@x.com  pro")

    ran, rejected = moving.syncer("run", "people"), moving.syncer("rejected", "people", "--json")

    assert ran.code == 1
    assert {one["key"]: one["reason"] for one in rejected.objects} == dict.fromkeys(
        ["anna@x.com", "hanna@x.com"], "several rows have this `old_email`"
    )
    assert sorted(people(moving)) == ["ann@x.com", "bob@x.com"]


def test_a_store_that_moves_nobody_refuses_the_definition(moving: Folder) -> None:
    moving.write(
        "syncer.toml",
        STORE + '[stores.crm]\nurl = "customerio://us"\nsite_id = "s"\napi_key = "k"\nidentity = "email"\n',
    )
    define(moving, "anna@x.com ann@x.com pro", more="\nstore: crm")

    checked, planned = moving.syncer("validate", "people", "--json"), moving.syncer("plan", "people")

    (problem,) = (one for one in checked.objects if one["level"] == "error")
    assert (checked.code, planned.code, problem["line"]) == (2, 1, 3)
    assert problem["message"] == "store `crm` cannot change the email by which it knows a person"
    assert "`entity: merge`" in problem["hint"]


def test_a_new_file_may_name_the_former_email(moving: Folder) -> None:
    made = moving.syncer("new", "more", "--person", "email=email,previous=old_email", "--entity", "person",
                         "--from", "accounts")  # fmt: skip

    assert made.code == 0
    assert "person: {email: email, previous: old_email}" in (moving.path / "sync_definitions/more.sql").read_text()
    assert moving.syncer("validate", "more", "--connect").code == 0


def test_after_kills_everybody_has_moved_once(moving: Folder) -> None:
    """More than one batch of people; each kill is at another moment."""
    chance, rows = random.Random(0), 30_000
    define(moving, *(f"p{i}@x.com  free" for i in range(rows)), more="\nlimits: {removed: 100%}")
    begun = time.monotonic()
    assert moving.syncer("run", "people").code == 0
    seconds = time.monotonic() - begun
    before = people(moving)
    define(moving, *(f"q{i}@x.com p{i}@x.com pro" for i in range(rows)), more="\nlimits: {removed: 0}")

    killed = 0
    for _ in range(3):
        with moving.started("run", "people") as running:
            with suppress(subprocess.TimeoutExpired):
                running.wait(chance.uniform(0.2, 1.0) * seconds)
            killed += running.poll() is None

    assert moving.syncer("run", "people").code == 0
    assert killed
    assert people(moving) == {email.replace("p", "q", 1): number for email, number in before.items()}
    (again,) = moving.syncer("run", "people", "--json").objects
    assert (again["accepted"], again["unchanged"]) == (0, rows)
