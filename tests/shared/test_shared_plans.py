"""A plan that one machine saved is every machine's, works once, and is gone for all once it expires or is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncer.definitions import folder
from syncer.model.errors import PlaceError, RunInProgressError, SelectionError
from syncer.model.runs import Moved
from syncer.shared.snapshots import PLANS
from syncer.state.runs import RunLog
from syncer.sync.kept_plans import KeptPlans
from syncer.sync.retention import prune
from syncer.sync.runner import Runner
from tests.shared.conftest import KEY_ID, SECRET
from tests.shared.machines import Machines
from tests.shared.test_machines import machines, objects, shared

__all__ = ["machines"]


def saved(machines: Machines, name: str, **variables: str) -> str:
    """The id of a plan that a machine saves."""
    planned = machines[name].run("plan", "people", "--save", "--json", **variables)
    assert planned.code == 0, planned.out + planned.err
    return str(planned.objects[0]["plan_id"])


def listed(machines: Machines, name: str) -> list[dict[str, Any]]:
    found = machines[name].run("plans", "--json")
    assert found.code == 0, found.err
    return found.objects


def of_plans(machines: Machines) -> set[str]:
    """The names of the objects of plans."""
    return {name for name in objects(machines) if f"/{PLANS}/" in name}


@contextmanager
def plans_of(machines: Machines, name: str) -> Iterator[KeptPlans]:
    (machines[name].path / ".syncer").mkdir(exist_ok=True)
    with shared(machines, name) as found:
        yield KeptPlans.of(found.settings, found.now, lambda: found.database)


def test_a_plan_of_one_machine_is_run_by_another_and_works_once(machines: Machines) -> None:
    machines["a"].ran("people")
    machines.common.people({"1": "pro", "2": "pro"})
    plan_id = saved(machines, "a")
    (before,) = listed(machines, "b")
    machines.common.people({"1": "pro", "2": "pro", "4": "free"})

    ran = machines["b"].ran("people", "--plan", plan_id)
    again = [machines[name].run("run", "people", "--plan", plan_id) for name in ("a", "b")]

    assert (before["plan_id"], before["planned"]["removed"], before["used_by"]) == (plan_id, 1, None)
    assert (ran["added"], ran["changed"], ran["removed"], ran["accepted"]) == (0, 1, 1, 2)
    assert machines.stored() == {"1", "2"}
    assert [one["used_by"] for one in (*listed(machines, "a"), *listed(machines, "b"))] == [ran["run_id"]] * 2
    assert [one.code for one in again] == [2, 2]
    assert all(f"was used by the run {ran['run_id']}: a plan works once" in one.err for one in again)
    assert not any((machines[name].path / ".syncer/plans").exists() for name in ("a", "b"))


def test_of_two_machines_that_begin_with_one_plan_one_uses_it(machines: Machines) -> None:
    plan_id = saved(machines, "a")
    with plans_of(machines, "a") as ours, plans_of(machines, "b") as theirs:
        both = ours.find(plan_id, "people"), theirs.find(plan_id, "people")
        theirs.use(both[1], "b")

        with pytest.raises(SelectionError, match="was used by another run"):
            ours.use(both[0], "a")

        assert [one.used_by for one in ours.all()] == ["b"]


def test_plans_go_once_they_expire_and_not_before(machines: Machines) -> None:
    plan_id = saved(machines, "a", SYNCER_KEEP_PLANS="5")
    now = datetime.now(UTC)
    with shared(machines, "a") as found:
        run_log = RunLog(found.database)
        prune(found.settings, run_log, now + timedelta(days=3))
        kept = of_plans(machines)
        prune(found.settings, run_log, now + timedelta(days=6))

    assert {name.rpartition("/")[2] for name in kept} == {f"{plan_id}.json", f"{plan_id}.parquet"}
    assert of_plans(machines) == set()
    refused = machines["a"].run("run", "people", "--plan", plan_id)
    assert refused.code == 2
    assert "there is no plan" in refused.err


def test_plans_that_cannot_be_read_are_not_taken_for_expired(machines: Machines) -> None:
    saved(machines, "a", SYNCER_KEEP_PLANS="5")
    kept = of_plans(machines)
    with shared(machines, "b", ahead=timedelta(days=3)) as found:
        assert not found.settings.state_dir.exists()
        with pytest.raises(PlaceError, match="a plan cannot be copied from or to this machine"):
            KeptPlans.of(found.settings, found.now, lambda: found.database).delete_expired()

    assert of_plans(machines) == kept


def test_who_is_forgotten_is_in_no_plan_any_more(machines: Machines) -> None:
    machines["a"].ran("people")
    machines.common.people({"1": "free", "2": "pro", "3": "free", "mallory-42": "free"})
    of_mallory = saved(machines, "a")
    machines.common.people({"1": "free", "2": "pro", "3": "free", "mallory-42": "pro"})
    held = machines["a"].run("run", "people", "--plan", of_mallory)
    machines.common.people({"1": "free", "2": "pro", "3": "pro"})
    of_others = saved(machines, "b")
    with plans_of(machines, "b") as theirs:
        (run,) = [one for one in machines["b"].run("runs", "--json").objects if one["status"] == "held"]
        moved = theirs.moved(of_mallory, run["run_id"])

    forgotten = machines["b"].run("forget", "person", "--id", "mallory-42", "--json")

    assert held.code == 3
    assert moved == [Moved("mallory-42", "warehouse")]
    assert forgotten.code == 0, forgotten.err
    assert forgotten.objects[0]["plans"] == 1
    assert [one["plan_id"] for one in listed(machines, "a")] == [of_others]
    assert {name.rpartition("/")[2].partition(".")[0] for name in of_plans(machines)} == {of_others}


def test_a_plan_is_not_kept_of_a_sync_that_another_machine_took_meanwhile(machines: Machines) -> None:
    machines["a"].ran("people")
    with shared(machines, "a") as ours, shared(machines, "b") as theirs:
        plans = KeptPlans.of(ours.settings, ours.now, lambda: ours.database)
        runner = Runner(settings=ours.settings, run_log=RunLog(ours.database), now=ours.now)
        where, settings = ours.settings.definitions_dir, ours.settings
        (definition,) = folder.load(where, warehouses=settings.warehouses, stores=settings.stores).definitions

        with pytest.raises(RunInProgressError, match="the plan is not kept: another machine"):
            runner.plan(definition, also=lambda run, plan: (theirs.take("people"), plans.keep(run, plan))[1])

    assert of_plans(machines) == set()


def test_where_the_place_cannot_be_reached_no_plan_is_kept_and_that_is_said(machines: Machines) -> None:
    machines["a"].ran("people")
    machines.common.people({"1": "pro"})
    plan_id = saved(machines, "a")
    login = {"SYNCER_SNAPSHOTS__KEY_ID": KEY_ID, "SYNCER_SNAPSHOTS__SECRET": SECRET}
    away = {"SYNCER_SNAPSHOTS_URL": "s3://bucket/x?endpoint=http://127.0.0.1:9&region=x", **login}

    kept = machines["b"].run("plan", "people", "--save", **away)
    shown = machines["b"].run("plans", **away)
    ran = machines["b"].run("run", "people", "--plan", plan_id, **away)

    assert [one.code for one in (kept, shown, ran)] == [1, 1, 1]
    assert "the plan cannot be kept: SYNCER_SNAPSHOTS_URL: s3://bucket/x" in kept.err
    assert "Saved as" not in kept.out
    assert all("127.0.0.1:9" in one.err for one in (kept, shown, ran))
    assert not any(SECRET in one.out + one.err for one in (kept, shown, ran))
    assert not (machines["b"].path / ".syncer/plans").exists()
    assert [one["used_by"] for one in listed(machines, "b")] == [None]
    assert machines.stored() == {"1", "2", "3"}
