from __future__ import annotations

import duckdb
import pytest

from tests.cli.conftest import Folder

COUNTS = ("queried", "added", "changed", "removed", "unchanged", "accepted", "rejected", "absent", "altered", "merged")


def test_the_examples_are_synced_once_and_not_again(shop: Folder) -> None:
    first = shop.syncer("run", "--all", "--json")
    second = shop.syncer("run", "--all", "--json")

    assert (first.code, second.code) == (0, 0)
    assert first.err == second.err == ""
    assert [run["sync"] for run in first.objects] == [
        "customers",
        "accounts",
        "memberships",
        "coupons",
        "devices",
        "purchases",
    ]
    for run in first.objects:
        assert run["status"] == "success"
        assert run["queried"] == run["added"] == run["accepted"] > 50
    for before, run in zip(first.objects, second.objects, strict=True):
        assert run["unchanged"] == run["queried"] == before["queried"]
        assert not any(run[count] for count in COUNTS if count not in ("queried", "unchanged"))


def test_the_json_of_a_run_has_the_promised_fields(folder: Folder) -> None:
    (run,) = folder.syncer("run", "customers", "--json").objects

    delivery = ["planned", "delivered", "undelivered", "quarantined"]
    assert list(run) == ["sync", "run_id", "status", *COUNTS, *delivery, "seconds", "bytes_fetched", "error"]
    assert run["seconds"] > 0
    assert run["error"] is None
    assert folder.syncer("runs", "--json").objects[0]["run_id"] == run["run_id"]


def test_people_read_one_line_a_sync(folder: Folder) -> None:
    ran = folder.syncer("run", "customers")

    headings, row = ran.out.splitlines()
    assert headings.split() == ["sync", "status", *COUNTS[:-3], "seconds"]
    assert row.split()[:-1] == ["customers", "success", "3", "3", "0", "0", "0", "3", "0"]


def test_only_the_changed_rows_are_sent(folder: Folder) -> None:
    folder.syncer("run", "--all")
    folder.people({"1": "pro", "2": "pro", "4": "free"})

    (run,) = folder.syncer("run", "--all", "--json").objects

    assert [run[count] for count in COUNTS] == [3, 1, 1, 1, 1, 2, 0, 0, 0, 0]


def test_full_sends_every_row_again(folder: Folder) -> None:
    folder.syncer("run", "--all")

    (run,) = folder.syncer("run", "--all", "--full", "--json").objects

    assert (run["unchanged"], run["accepted"]) == (3, 3)


@pytest.mark.parametrize(
    ("key_column", "header", "key"),
    [
        ("id", "entity: person\nperson: {id: id}", " 2 "),
        ("email", "entity: person\nperson: {email: email}", "B@EXAMPLE.COM"),
        ("id", "entity: object\nobject: {type: account, id: id}", "2"),
        ("id", "entity: collection\ncollection: c\nkey: [id, email]", '["2", "b@example.com"]'),
        ("id", "entity: collection\ncollection: c\nkey: [id, email]", '[2, "b@example.com"]'),
    ],
)
def test_one_row_is_sent_by_its_key(folder: Folder, key_column: str, header: str, key: str) -> None:
    identity = "email" if key_column == "email" else "id"
    env = {"SYNCER_STORES__DEFAULT__IDENTITY": identity}
    folder.define(
        "customers", "SELECT * FROM (VALUES (1, 'a@example.com'), (2, 'b@example.com')) t (id, email)", header
    )

    first, again = (folder.syncer("run", "customers", "--row", key, "--json", env=env) for _ in range(2))

    assert (first.code, again.code) == (0, 0), first.err
    assert (first.objects[0]["accepted"], again.objects[0]["accepted"]) == (1, 1)
    for ran in (first, again):
        assert "note: customers: one row was sent, and the store accepted it" in ran.err
        assert "did not change" not in ran.err


def test_one_row_that_the_store_rejects_is_said_to_be_sent_and_rejected(folder: Folder) -> None:
    header = "entity: relationship\nperson: {id: id}\nobject: {type: team, id: team}"
    folder.define("members", "SELECT id, 't' AS team FROM people", header)

    ran = folder.syncer("run", "members", "--row", '["2", "t"]')

    assert ran.code == 1
    assert "note: members: one row was sent, and the store rejected it" in ran.out
    assert folder.syncer("runs", "members", "--json").objects[0]["notes"] == [
        "one row was sent, and the store rejected it"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "nothing is selected"),
        (["plan"], "nothing is selected"),
        (["run", "--all", "customers"], "do not go together"),
        (["run", "custmers"], "Did you mean `customers`?"),
        (["run", "--all", "--exclude", "*"], "no sync is left to run"),
        (["run", "tag:x"], "no sync has the tag `x`"),
        (["run", "--all", "--row", "1"], "--row takes one sync, and 2 are selected"),
        (["run", "pairs", "--row", "9"], "the key of this sync has 2 columns"),
        (["run", "--everything"], "No such option"),
        (["rejected", "custmers"], "Did you mean `customers`?"),
        (["pause", "x"], "there is no sync `x`"),
        (["run", "--all", "--allow", "clok"], "--allow does not know `clok`\n  Did you mean `clock`?"),
        (["plan", "--rows", "x"], "'--rows': should be a whole number"),
        (["serve", "--port", "99999"], "'--port': should be less than or equal to 65535"),
        (["show", "person", "1", "--store", "defualt"], "Did you mean `default`?"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_next_step(folder: Folder, arguments: list[str], message: str) -> None:
    folder.define("pairs", "SELECT 1 AS a, 2 AS b", "entity: collection\ncollection: pairs\nkey: [a, b]")

    refused = folder.syncer(*arguments)

    assert refused.code == 2
    assert message in refused.err
    assert "accepted" not in refused.out or " 0 " in refused.out


def test_a_row_that_the_query_does_not_return_cannot_be_sent(folder: Folder) -> None:
    ran = folder.syncer("run", "customers", "--row", "9")

    assert ran.code == 2
    assert "error: customers: the query's result has no row of this key" in ran.err


def test_rejected_rows_are_reported_and_end_with_1(folder: Folder) -> None:
    folder.people({"1": "free", "": "pro"})

    ran = folder.syncer("run", "customers")

    assert ran.code == 1
    assert ran.err.splitlines() == [
        "warning: customers: 1 row is rejected",
        "  See them with `syncer rejected customers`; the next run tries them again.",
    ]


def test_a_held_run_ends_with_3_and_can_be_let_through(folder: Folder) -> None:
    folder.syncer("run", "customers")
    folder.people({})

    planned = folder.syncer("plan", "customers", "--json")
    held = folder.syncer("run", "customers")
    listed = folder.syncer("list", "--json").objects
    let_through = folder.syncer("run", "customers", "--allow-limits", "--json")

    assert (planned.code, held.code, let_through.code) == (3, 3, 0)
    assert planned.objects[0]["held"] == ["the query returned no row, where the snapshot has 3"]
    assert "held: customers: the query returned no row" in held.err
    assert "syncer run customers --allow-limits" in held.err
    assert listed[0]["last_status"] == "held"
    assert let_through.objects[0]["removed"] == 3


def test_a_sync_that_is_running_ends_with_4(folder: Folder) -> None:
    folder.syncer("run", "customers")

    with duckdb.connect(str(folder.path / ".syncer/snapshots/customers.duckdb")):
        ran = folder.syncer("run", "customers", "--json")
        planned = folder.syncer("plan", "customers")
        reset = folder.syncer("reset", "customers", "--yes")
        runs = folder.syncer("runs", "--json")

    assert (ran.code, planned.code, reset.code, runs.code) == (4, 4, 4, 0)
    assert ran.objects[0]["status"] == "skipped"
    assert ran.objects[0]["run_id"] == runs.objects[0]["run_id"]
    assert "is being run or planned already" in ran.objects[0]["error"]
    assert "is being run or planned already" in planned.err


def test_a_broken_file_does_not_keep_the_others_from_running(folder: Folder) -> None:
    folder.define("broken", "SELECT 1", "entity: persn")

    everything = folder.syncer("run", "--all", "--json")
    both = folder.syncer("run", "broken", "customers", "--json")
    good_alone = folder.syncer("run", "customers", "--json")

    assert (everything.code, both.code, good_alone.code) == (2, 2, 0)
    for ran in (everything, both, good_alone):
        assert [run["sync"] for run in ran.objects] == ["customers"]
    assert everything.err == both.err
    assert "error: sync_definitions/broken.sql:2: " in everything.err
    assert "Did you mean `person`?" in everything.err
    assert good_alone.err == ""


def test_a_failed_run_tells_why_and_the_others_go_on(folder: Folder) -> None:
    folder.define("first", "SELECT id, nothing FROM people")

    ran = folder.syncer("run", "first", "customers", "--json")

    assert ran.code == 1
    statuses = {run["sync"]: run["status"] for run in ran.objects}
    assert statuses == {"customers": "success", "first": "failed"}
    assert "error: first: sync_definitions/first.sql:5: warehouse `default`: " in ran.err


def test_what_depends_on_a_failed_sync_is_not_run(folder: Folder) -> None:
    folder.define("customers", "SELECT id, nothing FROM people")
    needs = "entity: person\nperson: {id: id}\ndepends_on: "
    folder.define("after", "SELECT id, plan AS b FROM people", needs + "customers")
    folder.define("last", "SELECT id, plan AS c FROM people", needs + "after")
    folder.define("other", "SELECT id, plan AS d FROM people")

    ran = folder.syncer("run", "--all", "--json")
    alone = folder.syncer("run", "after", "--json")

    assert (ran.code, alone.code) == (1, 0)
    assert {run["sync"]: run["status"] for run in ran.objects} == {
        "customers": "failed",
        "after": "skipped",
        "last": "skipped",
        "other": "success",
    }
    assert "skipped: after: not run, as it depends on `customers`, which did not end well" in ran.err
    by_sync = {run["sync"]: run for run in ran.objects}
    assert folder.syncer("runs", "last", "--json").objects[0]["run_id"] == by_sync["last"]["run_id"]


@pytest.mark.parametrize("command", [["run", "customers"], ["plan", "customers"], ["validate", "--connect"]])
def test_a_warehouse_out_of_reach_ends_with_1_and_shows_no_password(folder: Folder, command: list[str]) -> None:
    env = {"SYNCER_WAREHOUSES__DEFAULT__URL": "postgresql://reader:hunter2@127.0.0.1:1/shop?connect_timeout=2"}

    ran = folder.syncer(*command, env=env)

    assert ran.code == 1
    assert "warehouse `default`" in ran.err
    assert "hunter2" not in ran.out + ran.err
