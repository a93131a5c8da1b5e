from __future__ import annotations

from tests.cli.conftest import Folder


def test_a_plan_shows_old_and_new_of_what_changed(folder: Folder) -> None:
    folder.define(
        "customers",
        "SELECT id, plan, length(plan) AS size FROM people",
        "entity: person\nperson: {id: id}\non_removed: delete\nlimits: {removed: 100%}",
    )
    folder.syncer("run", "customers")
    folder.people({"1": "free", "2": "team", "3": "pro", "4": "free"})

    planned = folder.syncer("plan", "customers")

    assert planned.code == 0
    assert planned.out.splitlines() == [
        "customers: 4 queried, 1 added, 2 changed, 0 removed, 1 unchanged",
        "",
        "  attribute  changed in rows",
        "  plan                     2",
        "  size                     2",
        "",
        "  added",
        "    id 4",
        '      plan: "free"',
        "      size: 4",
        "",
        "  changed",
        "    id 2",
        '      plan: "pro" → "team"',
        "      size: 3 → 4",
        "    id 3",
        '      plan: "free" → "pro"',
        "      size: 4 → 3",
    ]


def test_a_plan_shows_what_happens_to_removed_rows_and_how_many_there_are(folder: Folder) -> None:
    header = "entity: person\nperson: {id: id}\non_removed: clear\nlimits: {removed: 100%, empty: allow}"
    folder.define("customers", "SELECT id, plan FROM people", header)
    folder.syncer("run", "customers")
    folder.people({"2": "pro"})

    planned = folder.syncer("plan", "customers", "--rows", "1")

    assert planned.out.splitlines()[1:] == ["", "  removed, 1 of 2: its attributes are cleared", "    id 1"]


def test_a_plan_sends_and_records_nothing(folder: Folder) -> None:
    first = folder.syncer("plan", "customers", "--json")
    second = folder.syncer("plan", "customers", "--json")

    assert first.objects == second.objects
    assert first.objects[0]["added"] == 3
    assert folder.syncer("runs", "--json").objects == []
    assert not (folder.path / ".syncer/profiles.db").exists()


def test_the_json_of_a_plan_keeps_every_digit(folder: Folder) -> None:
    sql = 'SELECT \'a"b\' AS id, {}::DECIMAL(38, 18) AS amount, \'é\' AS "na""me", NULL AS nothing'
    sql = sql.replace('"na""me"', "name")
    folder.define("customers", sql.format("0.123456789012345678"))
    folder.syncer("run", "customers")
    folder.define("customers", sql.format("12345678901234567890.100000000000000001"))

    planned = folder.syncer("plan", "customers", "--json")

    (found,) = planned.objects
    assert list(found) == [
        "sync", "queried", "added", "changed", "removed", "unchanged", "accepted", "rejected", "absent",
        "altered", "merged", "attributes", "held", "notes", "would_reject", "sample",
    ]  # fmt: skip
    assert found["attributes"] == {"amount": 1}
    (sample,) = found["sample"]
    assert list(sample) == ["change", "key", "before", "after"]
    assert (sample["change"], sample["key"]) == ("changed", 'a"b')
    assert '"amount":0.123456789012345678' in planned.out
    assert '"amount":12345678901234567890.100000000000000001' in planned.out
    assert sample["after"].keys() == {"amount", "name", "nothing"}


def test_rows_on_one_side_only_have_null_on_the_other(folder: Folder) -> None:
    folder.syncer("run", "customers")
    folder.people({"1": "free", "2": "pro", "4": "free"})

    (found,) = folder.syncer("plan", "customers", "--json").objects

    sample = {row["change"]: (row["key"], row["before"], row["after"]) for row in found["sample"]}
    assert sample == {"added": ("4", None, {"plan": "free"}), "removed": ("3", {"plan": "free"}, None)}


def test_a_plan_of_several_syncs_goes_on_after_a_failure(folder: Folder) -> None:
    folder.define("first", "SELECT id, nothing FROM people")

    planned = folder.syncer("plan", "*", "--json")

    assert planned.code == 1
    assert [plan["sync"] for plan in planned.objects] == ["customers"]
    assert planned.err.startswith("error: first: sync_definitions/first.sql:5: warehouse `default`: ")
