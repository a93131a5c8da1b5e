"""Definitions over a stand-in for Snowflake, run again and again into the SQLite store."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.acceptance.commands import Project
from tests.servers.snowflake import SnowflakeServer

ADA, BOB, EVE = ("1", "2", "3")


@pytest.fixture
def database(snowflake: SnowflakeServer) -> str:
    """A database with a table of two people."""
    name = snowflake.new_database()
    snowflake.execute(
        name,
        "CREATE TABLE people (id NUMBER(38, 0), email TEXT, ltv NUMBER(12, 2), tags VARIANT, updated_at TIMESTAMP_TZ)",
        "INSERT INTO people SELECT 1, 'ada@example.com', 12.50, PARSE_JSON('[\"a\", \"b\"]'), "
        "'2024-02-29 12:00:00+00:00'::TIMESTAMP_TZ",
        "INSERT INTO people SELECT 2, 'bob@example.com', NULL, NULL, '2024-02-29 14:00:00.5+02:00'::TIMESTAMP_TZ",
    )
    return name


@pytest.fixture
def project(tmp_path: Path, snowflake: SnowflakeServer, database: str) -> Project:
    secret = tmp_path / "secret"
    secret.write_text(snowflake.url(f"{database}/public"))
    environment = {
        "SYNCER_WAREHOUSES__DEFAULT__URL": "duckdb:///nowhere",
        "SYNCER_WAREHOUSES__SNOW__URL_FILE": str(secret),
    }
    return Project(path=tmp_path, environment=environment)


def counts(project: Project, *words: str) -> dict[str, Any]:
    ended = project.syncer("run", *words, "--json")
    assert ended.code == 0, ended.err
    (run,) = ended.objects
    return {name: run[name] for name in ("queried", "added", "changed", "removed", "unchanged") if run[name]}


def people(project: Project) -> dict[str, dict[str, Any]]:
    with closing(sqlite3.connect(project.path / ".syncer" / "profiles.db")) as connection:
        rows = connection.execute("SELECT id, email, attributes FROM people").fetchall()
    return {key: json.loads(attributes) | {"email": email} for key, email, attributes in rows}


def test_people_arrive_and_a_second_run_changes_nothing(
    project: Project, snowflake: SnowflakeServer, database: str
) -> None:
    header = "entity: person\nperson: {id: id}\nwarehouse: snow\nattributes: [email, ltv, tags, seen]"
    project.define("people", header, "SELECT id, email, ltv, tags, updated_at AS seen FROM people;  -- all")

    assert counts(project, "people") == {"queried": 2, "added": 2}
    assert people(project) == {
        ADA: {"email": "ada@example.com", "ltv": 12.5, "tags": ["a", "b"], "seen": "2024-02-29T12:00:00Z"},
        BOB: {"email": "bob@example.com", "seen": "2024-02-29T12:00:00.5Z"},
    }
    assert counts(project, "people") == {"queried": 2, "unchanged": 2}

    snowflake.execute(database, "UPDATE people SET ltv = 20 WHERE id = 1")

    assert counts(project, "people") == {"queried": 2, "changed": 1, "unchanged": 1}
    assert people(project)[ADA]["ltv"] == 20


def test_an_incremental_query_asks_for_what_changed(
    project: Project, snowflake: SnowflakeServer, database: str
) -> None:
    header = "entity: person\nperson: {id: id}\nwarehouse: snow\nattributes: [email]"
    sql = "SELECT id, email FROM people\nWHERE updated_at >= TO_TIMESTAMP({{ last_sync_time }})"
    project.define("fresh", header, sql)

    assert counts(project, "fresh") == {"queried": 2, "added": 2}
    assert counts(project, "fresh") == {}

    snowflake.execute(
        database,
        "INSERT INTO people SELECT 3, 'eve@example.com', 1, NULL, '2100-01-01 00:00:00+00:00'::TIMESTAMP_TZ",
    )

    assert counts(project, "fresh") == {"queried": 1, "added": 1}
    assert people(project).keys() == {ADA, BOB, EVE}


def test_an_attribute_that_the_header_does_not_name_is_called_as_in_the_result(project: Project) -> None:
    header = "entity: person\nperson: {id: id}\nwarehouse: snow"
    project.define("plain", header, 'SELECT id, ltv, ltv AS "credit" FROM people WHERE id = 1')

    assert counts(project, "plain") == {"queried": 1, "added": 1}
    assert people(project) == {ADA: {"ltv": 12.5, "credit": 12.5, "email": None}}


def with_case(project: Project, case: str) -> None:
    """Say in the URL which case names have."""
    secret = project.path / "secret"
    url = secret.read_text().partition("&column_case=")[0]
    secret.write_text(f"{url}&column_case={case}" if case else url)


@pytest.fixture
def of_before(project: Project) -> Project:
    """A folder with a sync that an earlier version ran, which did not make names lower case."""
    project.define("plain", "entity: person\nperson: {id: id}\nwarehouse: snow", "SELECT id, email, ltv FROM people")
    with_case(project, "as_is")
    assert counts(project, "plain") == {"queried": 2, "added": 2}
    with_case(project, "")
    with duckdb.connect(str(project.path / ".syncer" / "snapshots" / "plain.duckdb")) as connection:
        connection.execute("DELETE FROM meta WHERE name = 'column_case'")
    assert people(project)[ADA] == {"EMAIL": "ada@example.com", "LTV": 12.5, "email": None}
    return project


def notes(project: Project) -> list[str]:
    (run,) = project.syncer("runs", "plain", "--json", "--limit", "1").objects
    return list(run["notes"])


def test_a_sync_with_a_snapshot_keeps_its_names_until_its_file_changes(of_before: Project) -> None:
    for _ in range(2):
        assert counts(of_before, "plain") == {"queried": 2, "unchanged": 2}
        (note,) = notes(of_before)
        assert note.startswith("columns that the warehouse folded to upper case keep the names that were sent before")

    header = "entity: person\nperson: {id: id}\nwarehouse: snow\ndescription: new"
    of_before.define("plain", header, "SELECT id, email, ltv FROM people")

    assert counts(of_before, "plain") == {"queried": 2, "changed": 2}
    assert people(of_before)[ADA]["email"] == "ada@example.com"
    assert people(of_before)[ADA]["ltv"] == 12.5
    assert notes(of_before) == []
    assert counts(of_before, "plain") == {"queried": 2, "unchanged": 2}


@pytest.mark.parametrize("case", ["lower", "as_is"])
def test_a_sync_with_a_snapshot_has_the_names_that_the_url_asks_for(of_before: Project, case: str) -> None:
    with_case(of_before, case)
    assert counts(of_before, "plain") == {"queried": 2, "changed" if case == "lower" else "unchanged": 2}
    assert notes(of_before) == []

    with_case(of_before, "")

    assert counts(of_before, "plain") == {"queried": 2, "unchanged" if case == "lower" else "changed": 2}


def test_validate_names_columns_that_become_one_in_lower_case(project: Project) -> None:
    header = "entity: person\nperson: {id: id}\nwarehouse: snow"
    project.define("both", header, 'SELECT id, ltv, 1 AS "ltv" FROM people')

    ended = project.syncer("validate", "--connect")

    assert ended.code == 2
    assert "the result has two columns `ltv`, since `LTV` and `ltv` become one in lower case" in ended.out
    assert "?column_case=as_is" in ended.out


def test_a_mistake_is_told_before_a_run(project: Project) -> None:
    header = "entity: person\nperson: {id: id}\nwarehouse: snow"
    project.define("wrong", header, "SELECT id,\n  nmae\nFROM people")

    ended = project.syncer("validate", "--connect")

    assert ended.code == 2
    assert "wrong.sql:7: " in ended.out
    assert "warehouse `snow`: invalid identifier 'NMAE'" in ended.out


def test_a_connection_is_shown_without_its_secret_and_tested(project: Project) -> None:
    project.define("people", "entity: person\nperson: {id: id}", "SELECT 1 AS id")
    ended = project.syncer("connections", "--test", "--json")

    (shown,) = [one for one in ended.objects if one["name"] == "snow"]
    assert shown["url"].startswith("snowflake://SYNC@my_org-account1/")
    assert "pass" not in ended.out
    assert "Snowflake 9.34.2" in json.dumps(shown)
