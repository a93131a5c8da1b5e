"""What becomes of runs that are stopped, that start at the same moment, or whose files change meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.commands import Project
from tests.acceptance.contents import Attributes, held
from tests.acceptance.test_bad_results import found, waiting

PERSON = "entity: person\nperson: {id: id}\non_removed: delete"
QUERY = "SELECT id, plan FROM people"
PEOPLE = 30

#: Ends long after every test.
ENDLESS = "SELECT a.range AS id FROM range(1000000000000) a WHERE hash(a.range) % 1000000000000 = 3"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder whose sync has never run."""
    project = Project(path=tmp_path)
    project.table("people", "id,plan", *(f"{n},free" for n in range(PEOPLE)))
    project.define("people", PERSON, QUERY)
    return project


@pytest.fixture
def connection(project: Project, postgres_url: str) -> Iterator[psycopg.Connection]:
    """The same people in a PostgreSQL warehouse, for who changes it."""
    project.environment["SYNCER_WAREHOUSES__DEFAULT__URL"] = postgres_url
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE people AS SELECT n AS id, 'free' AS plan FROM generate_series(1, {PEOPLE}) n")
        yield connection


def people(project: Project) -> dict[str, Attributes]:
    return dict(held(f"sqlite:///{project.path}/.syncer/profiles.db").people)


def runs(project: Project) -> list[dict[str, Any]]:
    """All runs, newest first."""
    return project.syncer("runs", "--json", "--limit", "100").objects


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "waits",
    [
        "pg_sleep(600) IS NOT NULL",
        f"CASE id WHEN {PEOPLE} THEN pg_sleep(600) IS NOT NULL ELSE repeat('x', 999999) <> '' END",
    ],
    ids=["before the first row", "before the last row"],
)
def test_a_signal_cancels_the_query_on_the_server(
    project: Project, connection: psycopg.Connection, number: signal.Signals, waits: str
) -> None:
    assert project.syncer("run", "people").code == 0
    before = people(project)
    project.define("people", PERSON, f"SELECT id, 'pro' AS plan FROM people WHERE id > 20 AND {waits} ORDER BY id")
    project.define("second", PERSON, QUERY)

    command = project.started("run", "people", "second", "--json")
    pid = found(connection, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
    assert command.process.pid is not None
    os.kill(command.process.pid, number)
    ended = command.result()

    assert ended.code == 128 + number
    assert [(run["sync"], run["status"]) for run in ended.objects] == [("people", "interrupted")]
    assert "stopped by a signal" in ended.err
    active = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
    assert connection.execute(active, [pid]).fetchone() == (0,)
    assert people(project) == before
    assert runs(project)[0]["status"] == "interrupted"
    project.define("people", PERSON, QUERY)
    (again,) = project.syncer("run", "people", "--json").objects
    assert (again["status"], again["unchanged"], again["accepted"]) == ("success", PEOPLE, 0)


def test_an_endless_query_is_ended_by_its_timeout(project: Project) -> None:
    assert project.syncer("run", "people").code == 0
    before = people(project)
    path = project.define("people", f"{PERSON}\ntimeout: 1", ENDLESS)

    ended = project.syncer("run", "people", "--json")

    (run,) = ended.objects
    told = "the query ran over the timeout of 1 second and was cancelled"
    assert (ended.code, run["status"]) == (1, "failed")
    assert run["error"] == f"{path.relative_to(project.path)}:7: warehouse `default`: {told}"
    assert "Raise `timeout`" in ended.err
    assert people(project) == before
    project.define("people", PERSON, QUERY)
    (again,) = project.syncer("run", "people", "--json").objects
    assert (again["status"], again["unchanged"]) == ("success", PEOPLE)


def test_of_runs_that_start_at_the_same_moment_one_runs_and_the_others_are_skipped(project: Project) -> None:
    """Even where there is no state folder, no run log and no store yet."""
    commands = [project.started("run", "people", "--json") for _ in range(5)]
    ended = [command.result() for command in commands]

    statuses = [run["status"] for each in ended for run in each.objects]
    assert {(each.code, run["status"]) for each in ended for run in each.objects} <= {(0, "success"), (4, "skipped")}
    assert len(statuses) == len(ended)
    assert "success" in statuses
    assert len(people(project)) == PEOPLE
    assert sorted(run["status"] for run in runs(project)) == sorted(statuses)
    (again,) = project.syncer("run", "people", "--json").objects
    assert (again["unchanged"], again["accepted"]) == (PEOPLE, 0)


def test_commands_beside_a_run_wait_for_nothing_and_take_nothing_from_it(
    project: Project, connection: psycopg.Connection
) -> None:
    project.define("people", PERSON, f"{QUERY} WHERE pg_advisory_xact_lock_shared(7) IS NOT NULL")
    project.define("second", PERSON, QUERY)

    with waiting(connection, project, "run", "people", "--json") as first:
        planned = project.syncer("plan", "people")
        forgotten = project.syncer("reset", "people", "--yes")
        both = project.syncer("run", "--all", "--json")
        listed, logged = project.syncer("list", "--json"), project.syncer("runs", "people", "--json")

    assert (planned.code, forgotten.code, both.code, listed.code, logged.code) == (4, 4, 4, 0, 0)
    assert {run["sync"]: run["status"] for run in both.objects} == {"people": "skipped", "second": "success"}
    assert [run["status"] for run in logged.objects] == ["skipped", "running"]
    for ended in (planned, forgotten):
        assert f"process {first.process.pid}" in ended.err
    assert first.result().objects[0]["accepted"] == PEOPLE


@pytest.mark.parametrize("how", ["edited", "broken", "removed"])
def test_syncs_that_wait_for_their_turn_run_as_they_were_when_the_command_began(
    project: Project, connection: psycopg.Connection, how: str
) -> None:
    project.define("people", PERSON, f"{QUERY} WHERE pg_advisory_xact_lock_shared(7) IS NOT NULL")
    path = project.define("second", PERSON, "SELECT id, 'as begun' AS second FROM people")

    with waiting(connection, project, "run", "people", "second", "--json") as command:
        match how:
            case "edited":
                project.define("second", PERSON, "SELECT id, 'as edited' AS second FROM people WHERE id = 1")
            case "broken":
                path.write_text("/* sync\nentity: persn\n*/\n")
            case _:
                path.unlink()
    ended = command.result()

    assert ended.code == 0, ended.err
    assert [run["status"] for run in ended.objects] == ["success", "success"]
    assert people(project) == {str(n + 1): {"plan": "free", "second": "as begun"} for n in range(PEOPLE)}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"id,plan\n1,free\n2,canary\xe9\n3,free\n", "people.csv, line 3: it is not UTF-8"),
        (b"id,plan\n1,free\n2,free,canary\n3,free\n", "people.csv, line 3: 2 columns were expected, 3 found"),
        (b'id,plan\n1,free\n2,"canary\n3,free\n', "a quote is not closed"),
        (b"", "people"),
    ],
    ids=["latin-1", "ragged", "open quote", "empty"],
)
def test_a_table_s_file_that_breaks_fails_the_run_and_changes_nothing(
    project: Project, content: bytes, told: str
) -> None:
    project.table("others", "id,team", "1,red")
    project.define("others", PERSON, "SELECT id, team FROM others")
    assert project.syncer("run", "--all").code == 0
    before = people(project)
    project.write("sync_definitions/sample_data/people.csv", content)

    ended = project.syncer("run", "--all", "--json")

    assert ended.code == 1
    broken, other = sorted(ended.objects, key=lambda run: run["sync"] == "others")
    assert (broken["sync"], broken["status"], other["status"]) == ("people", "failed", "success")
    assert told in broken["error"]
    assert "canary" not in project.told()
    assert people(project) == before
    project.table("people", "id,plan", *(f"{n},free" for n in range(PEOPLE)))
    (again,) = project.syncer("run", "people", "--json").objects
    assert (again["status"], again["unchanged"], again["accepted"]) == ("success", PEOPLE, 0)


@pytest.mark.parametrize("where", ["file", "below a file"])
def test_a_state_folder_that_cannot_be_made_is_told(project: Project, where: str) -> None:
    file = project.write("taken", "x")
    project.environment["SYNCER_STATE_DIR"] = str(file if where == "file" else file / "state")

    ended = project.syncer("run", "people")

    assert ended.code == 2
    assert "SYNCER_STATE_DIR" in ended.err
    assert str(file) in ended.err
    assert file.read_text() == "x"
