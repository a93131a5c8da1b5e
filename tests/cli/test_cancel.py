"""A run is ended from another process."""

from __future__ import annotations

import time

import pytest

from tests.cli.conftest import Folder

ENDLESS = "SELECT a.range AS id FROM range(1000000000000) a WHERE hash(a.range) % 1000000000000 = 3"


def running(folder: Folder, sync: str) -> bool:
    runs = folder.syncer("runs", sync, "--json")
    return runs.code == 0 and any(run["status"] == "running" for run in runs.objects)


def test_a_run_of_another_process_is_cancelled_in_the_middle_of_its_query(folder: Folder) -> None:
    folder.define("endless", ENDLESS)
    with folder.started("run", "endless", "--json") as going_on:
        deadline = time.monotonic() + 60
        while not running(folder, "endless"):
            assert time.monotonic() < deadline
        cancelled = folder.syncer("cancel", "endless", "--json")
        out, err = going_on.communicate()

    (found,) = cancelled.objects
    assert cancelled.code == 0
    assert list(found) == ["sync", "run_id", "status"]
    assert (found["sync"], found["status"]) == ("endless", "interrupted")
    assert found["run_id"] in out
    assert "interrupted: endless: stopped by " in err
    (run,) = folder.syncer("runs", "endless", "--json").objects
    assert (run["run_id"], run["ended_by"]) == (found["run_id"], "person")


def test_what_does_not_run_needs_no_cancelling(folder: Folder) -> None:
    nothing = folder.syncer("cancel", "customers", "--json")
    shown = folder.syncer("cancel", "*")

    assert (nothing.code, nothing.objects) == (0, [{"sync": "customers", "run_id": None, "status": None}])
    assert (shown.code, shown.out) == (0, "customers: nothing to cancel, as it does not run.\n")


@pytest.mark.parametrize("command", ["cancel", "reset"])
def test_what_changes_syncs_or_reads_the_store_needs_a_selection(folder: Folder, command: str) -> None:
    nothing = folder.syncer(command)
    unknown = folder.syncer(command, "custmers")

    assert (nothing.code, unknown.code) == (2, 2)
    assert f"nothing is selected\n  Name the syncs to {command}, such as `syncer {command} customers`." in nothing.err
    assert "Did you mean `customers`?" in unknown.err
