"""What an incremental query must not miss, between runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.commands import Project
from tests.acceptance.contents import held

HEADER = "entity: person\nperson: {id: id}\n"
QUERY = "SELECT id, plan{more} FROM people WHERE updated_at >= to_timestamp({{{{ last_sync_time }}}})"

Execute = Callable[[str], object]


@pytest.fixture
def execute(postgres_url: str) -> Execute:
    def run(sql: str) -> object:
        with psycopg.connect(postgres_url) as connection:
            return connection.execute(sql)

    return run


@pytest.fixture
def project(tmp_path: Path, postgres_url: str, execute: Execute) -> Project:
    """A folder with a sync whose query is incremental, that has run once; its two rows are of last year."""
    execute(
        "CREATE TABLE people AS SELECT id, 'free' AS plan, 'Rome' AS city, now() - interval '1 year' AS updated_at "
        "FROM generate_series(1, 2) AS t (id)"
    )
    project = Project(path=tmp_path, environment={"SYNCER_WAREHOUSES__DEFAULT__URL": postgres_url})
    project.define("people", HEADER, QUERY.format(more=""))
    assert ran(project)["added"] == 2
    return project


def ran(project: Project, *words: str) -> dict[str, Any]:
    ended = project.syncer("run", "people", "--json", *words)
    assert ended.code == 0, ended.err
    (run,) = ended.objects
    return run


def people(project: Project) -> dict[str, Any]:
    return dict(held(f"sqlite:///{project.path}/.syncer/profiles.db").people)


def notes(project: Project) -> str:
    (run, *_) = project.syncer("runs", "people", "--json", "--limit", "1").objects
    return " ".join(run["notes"])


def test_a_row_that_became_visible_late_arrives(project: Project, execute: Execute) -> None:
    execute("INSERT INTO people VALUES (3, 'late', 'Oslo', now() - interval '9 minutes')")

    assert ran(project)["added"] == 1

    execute("INSERT INTO people VALUES (4, 'too late', 'Oslo', now() - interval '2 hours')")
    assert ran(project)["added"] == 0
    assert set(people(project)) == {"1", "2", "3"}


def test_a_column_that_a_changed_query_adds_reaches_every_row(project: Project, execute: Execute) -> None:
    execute("DELETE FROM people WHERE id = 2; INSERT INTO people VALUES (3, 'free', NULL, now() - interval '1 year')")
    project.define("people", HEADER, QUERY.format(more=", city"))

    whole = ran(project)

    assert (whole["queried"], whole["added"], whole["changed"], whole["removed"]) == (2, 1, 1, 0)
    assert "the definition changed: this run asks for the whole result" in notes(project)
    assert set(people(project)) == {"1", "2", "3"}
    assert ran(project)["queried"] == 0
    assert "whole result" not in notes(project)


def test_another_value_of_a_variable_asks_for_the_whole_result(project: Project) -> None:
    project.define("people", HEADER, QUERY.format(more=", '{{ var('city') }}' AS city"))
    project.environment["SYNCER_VARS__CITY"] = "Rome"
    assert ran(project)["changed"] == 2
    assert ran(project)["queried"] == 0

    project.environment["SYNCER_VARS__CITY"] = "Oslo"

    assert ran(project)["changed"] == 2
    assert "a variable of the query, or the warehouse's URL, changed" in notes(project)


def test_the_whole_result_comes_as_often_as_the_header_says(project: Project, execute: Execute) -> None:
    project.define("people", f"{HEADER}full_every: 1 day", QUERY.format(more=""))
    assert ran(project)["queried"] == 2
    execute("INSERT INTO people VALUES (3, 'free', 'Rome', now() - interval '1 year')")
    assert ran(project)["queried"] == 0

    # The clock of PostgreSQL that a query sees can be another one, and so the warehouse's.
    execute(_CLOCK.format(ahead="1 day"))
    execute(f"ALTER DATABASE {_database(project)} SET search_path = ahead, pg_catalog, public")
    later = ran(project, "--allow", "clock")

    assert (later["queried"], later["added"], later["unchanged"], later["removed"]) == (3, 1, 2, 0)


def test_the_time_is_the_warehouses(project: Project, execute: Execute) -> None:
    """A database clock an hour behind ours: what is written by that clock after a run comes with the next one."""
    execute(_CLOCK.format(ahead="-1 hour"))
    execute(f"ALTER DATABASE {_database(project)} SET search_path = ahead, pg_catalog, public")
    assert project.syncer("run", "people").code == 3
    # Its time is before that of the last run now, so it begins anew.
    assert ran(project, "--allow", "clock")["queried"] == 2
    assert "the warehouse's clock is behind that of the last run" in notes(project)
    time.sleep(1)

    execute("INSERT INTO people VALUES (3, 'free', 'Rome', now())")

    assert ran(project, "--allow", "clock")["added"] == 1


@pytest.mark.parametrize(
    ("type_", "condition", "is_warned"),
    [
        ("timestamp", "changed >= to_timestamp({{ last_sync_time }})", True),
        ("timestamp", "changed >= to_timestamp({{ last_sync_time - 60 }})", True),
        ("timestamp", "changed AT TIME ZONE 'America/New_York' >= to_timestamp({{ last_sync_time }})", False),
        ("timestamptz", "changed >= to_timestamp({{ last_sync_time }})", False),
        ("bigint", "changed >= {{ last_sync_time }}", False),
    ],
)
def test_validate_warns_of_a_cursor_without_a_zone(
    tmp_path: Path, postgres_url: str, execute: Execute, type_: str, condition: str, is_warned: bool
) -> None:
    execute(f"CREATE TABLE events (id int, changed {type_})")
    project = Project(path=tmp_path, environment={"SYNCER_WAREHOUSES__DEFAULT__URL": postgres_url})
    project.define("events", HEADER, f"SELECT id\nFROM events\nWHERE {condition}")

    ended = project.syncer("validate", "--connect", "--json")

    assert ended.code == 0
    found = [(one["line"], one["level"]) for one in ended.objects if "message" in one]
    assert found == [(7, "warning")] * is_warned
    if is_warned:
        assert "the column `changed` has no time zone (timestamp without time zone)" in ended.out
        assert "AT TIME ZONE" in ended.out
    assert "has no time zone" not in project.syncer("validate").out


_CLOCK = """
CREATE SCHEMA ahead;
CREATE FUNCTION ahead.now() RETURNS timestamptz LANGUAGE sql STABLE
AS 'SELECT pg_catalog.now() + interval ''{ahead}'''
"""


def _database(project: Project) -> str:
    return project.environment["SYNCER_WAREHOUSES__DEFAULT__URL"].rpartition("/")[2].partition("?")[0]
