"""`syncer explain-error`: where a run's query failed, and a query that finds the row."""

from __future__ import annotations

import duckdb
import pytest

from tests.cli.conftest import Folder

CANARY = "canary7"


@pytest.fixture
def failed(folder: Folder) -> str:
    """The id of a run that failed for the plan of person 2."""
    folder.people({"1": "7", "2": CANARY})
    folder.define("customers", "SELECT id,\n  plan::int AS plan\nFROM people")
    ran = folder.syncer("run", "customers", "--json")
    assert ran.code == 1
    return str(ran.objects[0]["run_id"])


def test_it_shows_the_line_and_a_query_that_finds_the_row_and_runs_nothing(folder: Folder, failed: str) -> None:
    shown = folder.syncer("explain-error", failed)

    assert shown.code == 0
    assert ">    6 |   plan::int AS plan\n" in shown.out
    assert "`CAST(plan AS INT)` (line 6, column 3)" in shown.out
    assert CANARY not in shown.out + shown.err
    (found,) = folder.syncer("explain-error", failed, "--json").objects
    assert (found["sync"], found["status"], found["line"], found["file_changed"]) == ("customers", "failed", 6, False)
    (suspect,) = found["suspects"]
    assert (suspect["expression"], suspect["line"], suspect["column"]) == ("CAST(plan AS INT)", 6, 3)
    table = folder.path / "sync_definitions/sample_data/people.csv"
    rows = duckdb.execute(suspect["query"].replace("people", f"'{table}'")).fetchall()
    assert rows == [(2, CANARY)]


def test_a_file_that_changed_is_said_to_be_another_than_the_run_s(folder: Folder, failed: str) -> None:
    folder.define("customers", "SELECT id,\n  plan\nFROM people")

    shown = folder.syncer("explain-error", failed)

    assert "The file is another than it was then" in shown.out
    assert folder.syncer("explain-error", failed, "--json").objects[0]["suspects"] == []


def test_values_of_variables_are_not_shown(folder: Folder) -> None:
    secret = "hunter2secret"
    folder.people({"1": "7", "2": CANARY})
    folder.define("customers", "SELECT id, plan::int AS plan FROM people WHERE plan <> '{{ var('word') }}'")
    environment = {"SYNCER_VARS__WORD": secret}
    run_id = folder.syncer("run", "customers", "--json", env=environment).objects[0]["run_id"]

    shown = folder.syncer("explain-error", run_id, env=environment)

    assert "TRY_CAST(plan AS INT)" in shown.out
    assert secret not in shown.out + shown.err


def test_a_run_that_is_not_there_is_a_mistake(folder: Folder) -> None:
    shown = folder.syncer("explain-error", "01ABC")

    assert shown.code == 2
    assert "there is no run `01ABC`" in shown.err
