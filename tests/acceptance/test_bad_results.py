"""What becomes of a run whose query fails, ends early, or returns what it never did; and of one whose file changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from tests.acceptance.commands import Project
from tests.acceptance.contents import Attributes, held, number
from tests.cli.forked import Command

PERSON = "entity: person\nperson: {id: id}"
DELETING = f"{PERSON}\non_removed: delete"
QUERY = "SELECT id, plan FROM people"
PEOPLE = 50

#: Makes the query wait until nobody else holds the lock.
_WAITING = "pg_advisory_xact_lock_shared(7) IS NOT NULL"


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection]:
    """The warehouse, for who changes it: a table of people."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE TABLE people AS SELECT n AS id, 'canary-' || n AS plan FROM generate_series(1, {PEOPLE}) n"
        )
        yield connection


@pytest.fixture
def project(tmp_path: Path, postgres_url: str, connection: psycopg.Connection) -> Iterator[Project]:
    """A folder whose sync has run once; no test may make a command tell of what is in a row, or of a password."""
    url = postgres_url.replace("postgres@", "postgres:canary-password@")
    project = Project(path=tmp_path, environment={"SYNCER_WAREHOUSES__DEFAULT__URL": url})
    project.define("people", DELETING, QUERY)
    assert project.syncer("run", "people").code == 0
    yield project
    assert "canary" not in project.told()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"canary-password" in path.read_bytes()]


def people(project: Project) -> dict[str, Attributes]:
    return dict(held(f"sqlite:///{project.path}/.syncer/profiles.db").people)


def newest(project: Project) -> dict[str, Any]:
    """The newest run of the run log."""
    return project.syncer("runs", "--json", "--limit", "1").objects[0]


def assert_unchanged(project: Project) -> None:
    """The snapshot is what it was after the first run."""
    project.define("people", DELETING, QUERY)
    (run,) = project.syncer("run", "people", "--json").objects
    assert (run["unchanged"], run["accepted"]) == (PEOPLE, 0)


@contextmanager
def waiting(connection: psycopg.Connection, project: Project, *words: str) -> Iterator[Command]:
    """A command whose query waits until this ends."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(7)")
        command = project.started(*words)
        found(connection, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        yield command


def found(connection: psycopg.Connection, sql: LiteralString) -> int:
    """The first value of a query, once it has a row."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        row = connection.execute(sql).fetchone()
        if row:
            return int(row[0])
        time.sleep(0.02)
    raise AssertionError(sql)


@pytest.mark.parametrize(
    ("how", "told"),
    [("terminate", "the connection was lost"), ("cancel", "canceling statement due to user request")],
)
def test_a_read_that_is_cut_off_is_no_result(
    project: Project, connection: psycopg.Connection, how: LiteralString, told: str
) -> None:
    """Many rows have arrived already, and the rest never does."""
    before = people(project)
    broken_off = "CASE id WHEN 45 THEN pg_sleep(600)::text ELSE plan || repeat('x', 200000) END AS plan"
    project.define("people", DELETING, f"SELECT id, {broken_off} FROM people WHERE id > 5 ORDER BY id")

    command = project.started("run", "people", "--json")
    pid = found(connection, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
    connection.execute(f"SELECT pg_{how}_backend(%s)", [pid])
    ended = command.result()

    assert ended.code == 1
    (run,) = ended.objects
    assert run["status"] == "failed"
    assert run["error"] == f"sync_definitions/people.sql:6: warehouse `default`: {told}"
    assert "run the sync again" in ended.err
    assert newest(project)["error"] == run["error"]
    assert people(project) == before
    assert_unchanged(project)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS id, pg_sleep(600)::text AS plan",
        "WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n) SELECT id FROM n",
        "SELECT a.id FROM people a, people b, people c, people d, people e, people f, people g ORDER BY random()",
    ],
    ids=["silent", "flooding", "cross join"],
)
def test_an_endless_query_is_cancelled_on_the_server(
    project: Project, connection: psycopg.Connection, query: str
) -> None:
    project.define("people", f"{DELETING}\ntimeout: 1", query)

    ended = project.syncer("run", "people", "--json")

    assert ended.code == 1
    assert "ran over the timeout of 1 second and was cancelled" in ended.objects[0]["error"]
    assert "Raise `timeout`" in ended.err
    running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'syncer' AND state = 'active'"
    assert connection.execute(running).fetchone() == (0,)
    assert_unchanged(project)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT id, count_up() AS plan FROM people", "nextval() in a read-only transaction"),
        ("SELECT id, keep(id) AS plan FROM people", "INSERT in a read-only transaction"),
        ("SELECT id, plan::int FROM people", "SQLSTATE 22P02"),
        ("SELECT id, 1 / (id - 40) AS plan FROM people", "division by zero"),
        ("SELECT id, (SELECT plan FROM people) AS plan FROM people", "cardinality violation"),
        ("SELECT id, shout(plan) AS plan FROM people", "SQLSTATE P0001"),
    ],
)
def test_a_query_that_fails_half_way_changes_nothing_and_tells_no_value(
    project: Project, connection: psycopg.Connection, query: str, told: str
) -> None:
    connection.execute("""
        CREATE SEQUENCE counter; CREATE TABLE kept (id int);
        CREATE FUNCTION count_up() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('counter') $$;
        CREATE FUNCTION keep(int) RETURNS int LANGUAGE sql VOLATILE AS $$ INSERT INTO kept VALUES ($1) RETURNING id $$;
        CREATE FUNCTION shout(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE '%', $1; END $$;
    """)
    project.define("people", DELETING, query)

    ended = project.syncer("run", "people", "--json")

    assert (ended.code, ended.objects[0]["status"]) == (1, "failed")
    assert told in ended.objects[0]["error"]
    assert connection.execute("SELECT is_called, (SELECT count(*) FROM kept) FROM counter").fetchone() == (False, 0)
    assert_unchanged(project)


@pytest.mark.parametrize("how", ["edited", "removed", "renamed"])
def test_a_run_ends_with_the_definition_that_it_began_with(
    project: Project, connection: psycopg.Connection, how: str
) -> None:
    path = project.define("people", DELETING, f"SELECT id, 'as begun' AS plan FROM people WHERE {_WAITING}")
    hash_ = project.syncer("runs", "--json").objects[0]["definition_hash"]
    with waiting(connection, project, "run", "people", "--json") as command:
        if how == "edited":
            project.define("people", DELETING, "SELECT id, 'as edited' AS plan FROM people WHERE id = 1")
        elif how == "removed":
            path.unlink()
        else:
            path.rename(path.with_name("clients.sql"))
    ended = command.result()

    assert ended.code == 0, ended.err
    assert people(project) == {str(n + 1): {"plan": "as begun"} for n in range(PEOPLE)}
    run = newest(project)
    assert (run["sync"], run["status"], run["accepted"]) == ("people", "success", PEOPLE)
    assert run["definition_hash"] != hash_
    listed = {sync["sync"] for sync in project.syncer("list", "--json").objects}
    assert listed == {"edited": {"people"}, "removed": set(), "renamed": {"clients"}}[how]
    after = project.syncer("run", "--all", "--json")
    assert after.code == {"edited": 3, "removed": 2, "renamed": 0}[how]
    assert len(people(project)) == PEOPLE


def test_a_second_run_of_a_sync_is_skipped_and_named(project: Project, connection: psycopg.Connection) -> None:
    project.define("people", DELETING, f"{QUERY} WHERE {_WAITING}")

    with waiting(connection, project, "run", "people", "--json") as first:
        second = project.syncer("run", "people", "--json")

    assert (second.code, second.objects[0]["status"]) == (4, "skipped")
    assert f"process {first.process.pid}" in second.err
    assert first.result().code == 0


def test_an_empty_result_is_held_until_it_is_let_through(project: Project, connection: psycopg.Connection) -> None:
    before = people(project)
    connection.execute("DELETE FROM people")

    planned, ended = project.syncer("plan", "people"), project.syncer("run", "people", "--json")

    assert (planned.code, ended.code) == (3, 3)
    (run,) = ended.objects
    told = (
        f"the query returned no row, where the snapshot has {PEOPLE}; "
        f"{PEOPLE} of {PEOPLE} rows (100.0%) would be removed, over the limit of 15%"
    )
    assert (run["status"], run["error"], run["removed"], run["accepted"]) == ("held", told, PEOPLE, 0)
    assert "--allow-limits" in ended.err
    assert people(project) == before
    assert newest(project)["status"] == "held"
    allowed = project.syncer("run", "people", "--allow-limits", "--json")
    assert (allowed.code, allowed.objects[0]["accepted"]) == (0, PEOPLE)
    assert people(project) == {}
    assert project.syncer("run", "people").code == 0


def test_a_result_that_lost_many_rows_is_held(project: Project, connection: psycopg.Connection) -> None:
    connection.execute("DELETE FROM people WHERE id > 42")

    ended = project.syncer("run", "people")

    assert ended.code == 3
    assert "8 of 50 rows (16.0%) would be removed, over the limit of 15%" in ended.err
    assert len(people(project)) == PEOPLE
    connection.execute("INSERT INTO people VALUES (43, 'canary-43')")
    assert project.syncer("run", "people").code == 0
    assert len(people(project)) == 43


def test_a_column_that_changes_in_every_row_is_held_and_a_plan_names_it(project: Project) -> None:
    before = people(project)
    limited = f"{DELETING}\nlimits: {{changed: 50%}}"
    project.define("people", limited, f"SELECT *, now() AS seen_at, 'canary' AS plan_again FROM ({QUERY}) q")
    assert project.syncer("run", "people", "--allow-limits").code == 0

    ended = project.syncer("run", "people")
    (plan,) = project.syncer("plan", "people", "--json", "--rows", "1").objects

    assert ended.code == 3
    assert f"{PEOPLE} of {PEOPLE} rows (100.0%) would be changed, over the limit of 50%" in ended.err
    assert plan["attributes"] == {"seen_at": PEOPLE}
    assert before.keys() == people(project).keys()


def test_columns_come_and_go_and_change_their_type(project: Project, connection: psycopg.Connection) -> None:
    """Only what differs is sent, and an attribute whose column left stays as it is."""
    project.define("people", DELETING, "SELECT * FROM people")
    steps: list[tuple[LiteralString, int, Attributes]] = [
        ("ALTER TABLE people ADD visits int", 0, {"plan": "canary-7"}),
        ("UPDATE people SET visits = 1 WHERE id = 7", 1, {"plan": "canary-7", "visits": number(1)}),
        ("ALTER TABLE people ALTER visits TYPE bigint", 0, {"plan": "canary-7", "visits": number(1)}),
        ("ALTER TABLE people ALTER visits TYPE numeric(9, 3)", 0, {"plan": "canary-7", "visits": number(1)}),
        ("ALTER TABLE people ALTER visits TYPE float8", 0, {"plan": "canary-7", "visits": number(1)}),
        ("UPDATE people SET visits = 1.5 WHERE id = 7", 1, {"plan": "canary-7", "visits": number("1.5")}),
        ("ALTER TABLE people ALTER visits TYPE text", 1, {"plan": "canary-7", "visits": "1.5"}),
        ("ALTER TABLE people ALTER visits TYPE jsonb USING to_jsonb(visits)", 0, {"plan": "canary-7", "visits": "1.5"}),
        ("ALTER TABLE people RENAME visits TO stays", 1, {"plan": "canary-7", "visits": "1.5", "stays": "1.5"}),
        ("ALTER TABLE people DROP stays", 0, {"plan": "canary-7", "visits": "1.5", "stays": "1.5"}),
        ("ALTER TABLE people ALTER id TYPE text", 0, {"plan": "canary-7", "visits": "1.5", "stays": "1.5"}),
        ("ALTER TABLE people ALTER plan TYPE char(20)", 0, {"plan": "canary-7", "visits": "1.5", "stays": "1.5"}),
    ]
    for step, accepted, attributes in steps:
        connection.execute(step)

        ended = project.syncer("run", "people", "--json")

        assert (ended.code, ended.objects[0]["accepted"]) == (0, accepted), step
        assert people(project)["7"] == attributes, step
    connection.execute("ALTER TABLE people RENAME id TO person_id")
    ended = project.syncer("run", "people")
    assert ended.code == 2
    assert "error: people: sync_definitions/people.sql:3: the result has no column `id`" in ended.err
    assert len(people(project)) == PEOPLE


@pytest.mark.parametrize(
    ("setting", "url", "code", "told"),
    [
        ("WAREHOUSES", "postgresql://user:canary-password@127.0.0.1:1/db", 1, "cannot connect"),
        ("WAREHOUSES", "postgresql://user:canary-p@ssword/db@127.0.0.1/db", 2, "cannot be read"),
        ("WAREHOUSES", "postgresql://user:canary-password@127.0.0.1:port/db", 2, "cannot be read"),
        ("WAREHOUSES", "canary-password", 2, "is not a URL"),
        ("WAREHOUSES", "duckdb:///nowhere", 1, "there is no file or folder"),
        ("STORES", "postgresql://user:canary-password@127.0.0.1:1/db", 1, "cannot connect"),
        ("STORES", "sqlite:////etc/passwd/profiles.db", 1, "no file can be made in the folder"),
    ],
)
def test_a_connection_that_cannot_be_used_is_told_without_its_secret(
    project: Project, setting: str, url: str, code: int, told: str
) -> None:
    kind, variable = setting.removesuffix("S").lower(), f"SYNCER_{setting}__DEFAULT__URL"
    good, project.environment[variable] = dict(project.environment), url

    ran, planned = project.syncer("run", "people", "--json"), project.syncer("plan", "people")
    tested = project.syncer("connections", "--test")

    assert (ran.code, planned.code, tested.code > 0) == (code, code, True)
    for ended in (ran, planned, tested):
        assert told in ended.out + ended.err
        assert f"{kind} `default`" in ended.out + ended.err or variable in ended.out + ended.err
    project.environment.clear()
    project.environment.update(good)
    assert_unchanged(project)
