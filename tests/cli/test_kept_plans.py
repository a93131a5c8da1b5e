"""`plan --save` and its like, `plans`, `run --plan` and `--allow`."""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Mapping

import pytest

from tests.cli.conftest import Folder

HEADER = "entity: person\nperson: {id: id}\non_removed: delete"


@pytest.fixture
def many(folder: Folder) -> Folder:
    """30 people in the store, of whom the warehouse has lost 10."""
    folder.define("customers", "SELECT id, plan FROM people", HEADER)
    folder.people(people(30))
    assert folder.syncer("run", "customers").code == 0
    folder.people(people(20))
    return folder


def people(number: int, **others: str) -> Mapping[str, str]:
    return {str(n): "free" for n in range(100, 100 + number)} | others


def test_a_plan_is_saved_and_its_run_sends_it(many: Folder) -> None:
    saved = many.syncer("plan", "customers", "--save", "--json")
    (plan,) = saved.objects
    assert saved.code == 3
    assert list(plan)[:3] == ["sync", "plan_id", "expires_at"]
    (listed,) = many.syncer("plans", "--json").objects
    assert (listed["plan_id"], listed["sync"], listed["used_by"]) == (plan["plan_id"], "customers", None)
    assert listed["planned"] == {"added": 0, "changed": 0, "removed": 10, "resent": 0}
    assert listed["held"] == ["10 of 30 rows (33.3%) would be removed, over the limit of 15%"]
    many.people(people(20, new="pro"))

    ran = many.syncer("run", "customers", "--plan", plan["plan_id"], "--json")

    (run,) = ran.objects
    assert (ran.code, run["status"], run["removed"], run["added"], run["moved"]) == (0, "success", 10, 0, [])
    assert "not in the plan, and are left to a later run: 1" in ran.err
    assert many.syncer("plans", "--json").objects[0]["used_by"] == run["run_id"]
    assert many.syncer("runs", "--json").objects[0]["options"] == [f"plan={plan['plan_id']}"]
    assert many.syncer("plan", "customers", "--json").objects[0]["added"] == 1


def test_the_files_of_plans_are_private(many: Folder) -> None:
    many.syncer("plan", "customers", "--save")

    plans = many.path / ".syncer/plans"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (*plans.iterdir(), *plans.parent.glob("snapshots/*"))}
    assert modes == {0o600}
    assert stat.S_IMODE(plans.stat().st_mode) == 0o700


def test_a_plan_that_is_out_of_date_is_held(many: Folder) -> None:
    (plan,) = many.syncer("plan", "customers", "--save", "--json").objects
    many.people(people(21))

    held = many.syncer("run", "customers", "--plan", plan["plan_id"], "--json")

    assert held.code == 3
    assert held.objects[0]["status"] == "held"
    assert held.objects[0]["moved"] == [{"key": "120", "why": "warehouse"}]
    assert held.objects[0]["delivered"] == {"added": 0, "changed": 0, "removed": 0, "resent": 0}
    assert "Plan again with `syncer plan customers --save`." in held.err


def test_a_plan_that_cannot_be_run_is_refused_and_nothing_is_recorded(many: Folder) -> None:
    (plan,) = many.syncer("plan", "customers", "--save", "--json").objects
    many.syncer("run", "customers", "--plan", plan["plan_id"])
    many.define("others", "SELECT id, plan FROM people", HEADER)
    runs = many.syncer("runs", "--json").objects

    refused = [
        many.syncer("run", *arguments, "--plan", plan["plan_id"])
        for arguments in (["customers"], ["others"], ["--all"], ["customers", "--full"], ["customers", "--row", "1"])
    ]
    refused.append(many.syncer("run", "customers", "--plan", "nothing"))

    assert {each.code for each in refused} == {2}
    assert "a plan works once" in refused[0].err
    assert "--plan takes one sync, and 2 are selected" in refused[2].err
    assert "'nothing' is not the id of a plan" in refused[-1].err.replace("`", "'")
    assert many.syncer("runs", "--json").objects == runs


@pytest.mark.parametrize(
    ("allowed", "code"),
    [
        (["removed=10"], 0),
        (["removed=9"], 3),
        (["changed=100", "added=100", "cleared=100", "empty", "clock"], 3),
        (["changed=1", "removed=10000"], 0),
        (["limits"], 0),
        (["removed"], 2),
        (["removed=many"], 2),
        (["remove=1"], 2),
    ],
)
def test_allow_lifts_a_limit_up_to_a_ceiling(many: Folder, allowed: list[str], code: int) -> None:
    ran = many.syncer("run", "customers", *(f"--allow={word}" for word in allowed))

    assert ran.code == code
    if allowed == ["removed=9"]:
        assert "over the limit of 15%, and more than the 9 that are allowed" in ran.err


def test_an_empty_result_is_let_through_with_what_it_removes(many: Folder) -> None:
    many.people({})

    assert many.syncer("run", "customers", "--allow", "empty").code == 3
    assert many.syncer("run", "customers", "--allow", "empty", "--allow", "removed=29").code == 3
    ran = many.syncer("run", "customers", "--allow", "empty=30", "--allow", "removed=30", "--json")
    assert (ran.code, ran.objects[0]["removed"]) == (0, 30)
    assert many.syncer("runs", "--json").objects[0]["options"] == ["allow_empty=30", "allow_removed=30"]


def test_all_rows_of_a_plan_can_be_seen_searched_and_exported(many: Folder) -> None:
    many.people(people(10, x="50%_Off", y="tin"))

    (everything,) = many.syncer("plan", "customers", "--all", "--json").objects
    assert len(everything["sample"]) == 22
    (found,) = many.syncer("plan", "customers", "--search", "%_off", "--json").objects
    assert [(row["key"], row["after"]) for row in found["sample"]] == [("x", {"plan": "50%_Off"})]
    assert many.syncer("plan", "customers", "--search", "TIN").out.count("    id ") == 1

    for name in ("all.csv", "all.jsonl"):
        assert many.syncer("plan", "customers", "--export", name).code == 3
    with (many.path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (many.path / "all.jsonl").read_text().splitlines()]
    assert lines == everything["sample"]
    assert [(row["change"], row["key"]) for row in rows] == [(row["change"], row["key"]) for row in lines]
    assert json.loads(rows[0]["after"]) == {"plan": "50%_Off"}
    assert many.syncer("plan", "customers", "--export", "all.xlsx").code == 2
    assert many.syncer("plan", "*", "--export", "gone/all.csv").code == 2
