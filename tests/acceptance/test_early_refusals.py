"""What a run refuses before it sends anything, `validate` refuses too, in the same words."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.commands import Project
from tests.servers.mariadb import MariaDBServer
from tests.servers.postgresql import PostgresServer

PERSON = "entity: person\nperson: {id: id}"
QUERY = "SELECT id, plan FROM people"

CUSTOMERIO = {
    "SYNCER_STORES__DEFAULT__URL": "customerio://us",
    "SYNCER_STORES__DEFAULT__SITE_ID": "site",
    "SYNCER_STORES__DEFAULT__API_KEY": "key",
}
PIPELINES = {"SYNCER_STORES__DEFAULT__VIA": "pipelines", "SYNCER_STORES__DEFAULT__CDP_API_KEY": "cdp"}

#: What is refused to the header, the query, the settings, a part of the message, and its line. The warehouse and the
#: store are not asked.
UNASKED = {
    "identity": ("entity: person\nperson: {email: id}", QUERY, {}, "cannot tell people apart by `email`", 3),
    "identity_of_a_relationship": (
        "entity: relationship\nperson: {email: id}\nobject: {type: plan, id: plan}", QUERY, {}, "by `email`", 3,
    ),
    "identity_of_customerio": ("entity: person\nperson: {email: id}", QUERY, CUSTOMERIO, "its identity is `id`", 3),
    "app_key": ("entity: collection\ncollection: plans\nkey: id", QUERY, CUSTOMERIO, "need the App API", 2),
    "object_type": ("entity: object\nobject: {type: plan, id: id}", QUERY, CUSTOMERIO, "the number of the object", 3),
    "update_only": (
        "entity: object\nobject: {type: '1', id: id}\ncreate: false", QUERY, CUSTOMERIO, "is only for people", 4,
    ),
    "pipelines": (
        "entity: person\nperson: {cio_id: id}", QUERY, CUSTOMERIO | PIPELINES, "takes people by their `id` alone", 3,
    ),
    "two_statements": (PERSON, f"{QUERY};\nSELECT 1", {}, "second statement", 6),
    "writes": (PERSON, "DELETE FROM people", {}, "does not begin with `DELETE`", 5),
    "no_value": (PERSON, QUERY + "\nWHERE plan = {{ var('plan') }}", {}, "`var('plan')` has no value", 6),
    "no_variable": (PERSON, QUERY + " WHERE plan = '{{ env_var('HOME') }}'", {}, "HOME", 5),
    "later_run": (
        PERSON,
        QUERY + " WHERE id > {{ last_sync_time }}\n{% if last_sync_time %}; SELECT 1{% endif %}", {}, "second", 5,
    ),
    "connection": (f"{PERSON}\nstore: crm", QUERY, {}, "no store is called `crm`", 4),
}  # fmt: skip

#: The same of what only the warehouse knows.
ASKED = {
    "no_table": (PERSON, "SELECT id FROM nobody", "nobody", 5),
    "no_column": (PERSON, "SELECT id, plam FROM people", "plam", 5),
    "no_identifier": (PERSON, "SELECT plan FROM people", "no column `id`", 3),
    "twice": (PERSON, "SELECT id, plan, plan FROM people", "two columns `plan`", 5),
    "own": (PERSON, "SELECT id, plan AS cio_id FROM people", "the store's own", 2),
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(path=tmp_path)
    made.table("people", "id,plan", "1,free", "2,pro")
    return made


def refused(project: Project, *options: str) -> tuple[str, int, str]:
    """What `validate` says is wrong with the one definition, its line, and what its run says."""
    checked = project.syncer("validate", *options, "--json")
    assert checked.code in (1, 2), checked
    ran = project.syncer("run", "--all", "--json")
    assert ran.code in (1, 2), ran
    if "later_run" in ran.out:
        ran = project.syncer("run", "--all", "--json")
    run_error = " ".join([run["error"] or "" for run in ran.objects]) + ran.err
    errors = [one for one in checked.objects if one["level"] == "error"]
    if not errors:
        return checked.err, 0, run_error
    return errors[0]["message"], errors[0]["line"], run_error


@pytest.mark.parametrize("kind", UNASKED)
def test_what_needs_no_connection_is_refused_by_validate(project: Project, kind: str) -> None:
    header, query, settings, message, line = UNASKED[kind]
    project.environment.update(settings)
    if kind == "later_run":
        # The first run is fine, and so is its store.
        project.define(kind, header, query)
        assert project.syncer("run", "--all").code == 0
    project.define(kind, header, query)

    said, at, by_run = refused(project)

    assert message in said
    assert at == line
    assert said in by_run
    store = project.path / ".syncer/profiles.db"
    assert kind == "later_run" or not store.exists()


@pytest.mark.parametrize("kind", ASKED)
def test_what_the_warehouse_knows_is_refused_by_validate(project: Project, kind: str) -> None:
    header, query, message, line = ASKED[kind]
    project.define(kind, header, query)

    said, at, by_run = refused(project, "--connect")

    assert message in said
    assert at == line
    assert said in by_run


def test_the_identity_that_a_store_recorded_is_refused_by_validate(project: Project) -> None:
    project.define("people", PERSON, QUERY)
    assert project.syncer("run", "people").code == 0
    project.environment["SYNCER_STORES__DEFAULT__IDENTITY"] = "id_or_email"

    said, _, by_run = refused(project, "--connect")

    assert "has the identity `id`, but `id_or_email` is configured" in said
    assert "has the identity `id`, but `id_or_email` is configured" in by_run


def test_a_store_of_a_newer_program_is_refused_by_validate(project: Project) -> None:
    project.define("people", PERSON, QUERY)
    assert project.syncer("run", "people").code == 0
    with closing(sqlite3.connect(project.path / ".syncer/profiles.db")) as store:
        store.execute("UPDATE workspace_version SET version_num = '0999'")
        store.commit()

    said, _, by_run = refused(project, "--connect")

    assert "was written by a newer Syncer" in said
    assert "was written by a newer Syncer" in by_run


def test_a_store_that_cannot_be_made_is_refused_by_validate(project: Project, postgres_url: str) -> None:
    project.define("people", PERSON, QUERY)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (name text)")
    for url in (f"sqlite:///{project.path}/sync_definitions/people.sql/profiles.db", postgres_url):
        project.environment["SYNCER_STORES__DEFAULT__URL"] = url

        said, _, by_run = refused(project, "--connect")

        assert "store `default`: " in said
        assert said.partition("store `default`: ")[2].splitlines()[0] in by_run


Reader = Callable[[str], str]


@pytest.fixture(params=["postgresql", "mariadb"])
def reader(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a login that may read the columns `id` and `plan` of `people`, and neither `secret` nor `others`."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url: str = request.getfixturevalue("postgres_url")
        with psycopg.connect(url, autocommit=True) as owner:
            name = f"reader_{owner.info.dbname}"
            owner.execute("CREATE TABLE people (id int, plan text, secret text)")
            owner.execute("CREATE TABLE others (id int)")
            owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'pw'")
            owner.execute(f"GRANT SELECT (id, plan) ON people TO {name}")
            yield server.url(owner.info.dbname, user=name, password="pw")
            owner.execute(f"DROP OWNED BY {name}")
            owner.execute(f"DROP ROLE {name}")
        return
    mariadb: MariaDBServer = request.getfixturevalue("mariadb")
    database: str = request.getfixturevalue("mariadb_database")
    name = f"reader_{database}"
    mariadb.execute("CREATE TABLE people (id int, plan text, secret text)", database)
    mariadb.execute("CREATE TABLE others (id int)", database)
    mariadb.execute(f"CREATE USER {name} IDENTIFIED BY 'pw'")
    mariadb.execute(f"GRANT SELECT (id, plan) ON {database}.people TO {name}")
    yield mariadb.url(database, user=name, password="pw")
    mariadb.execute(f"DROP USER {name}")


@pytest.mark.parametrize("query", ["SELECT id, secret FROM people", "SELECT id FROM others"])
def test_a_column_that_may_not_be_read_is_refused_by_validate(project: Project, reader: str, query: str) -> None:
    project.environment["SYNCER_WAREHOUSES__DEFAULT__URL"] = reader
    project.define("allowed", PERSON, "SELECT id, plan FROM people;")
    assert project.syncer("validate", "--connect").code == 0
    (project.path / "sync_definitions/allowed.sql").unlink()
    project.define("refused", PERSON, query)

    said, at, by_run = refused(project, "--connect")

    assert "denied" in said
    assert at == 5
    assert said in by_run


def test_attributes_that_a_sync_outside_of_the_selection_writes_too_are_found(project: Project) -> None:
    project.define("first", PERSON, "SELECT id, plan FROM people")
    project.define("second", PERSON, "SELECT id, upper(plan) AS plan FROM people")
    project.define("third", PERSON, "SELECT * FROM people")

    for chosen, options, others in (
        ("first", (), "first and second write"),
        ("second", (), "first and second write"),
        ("first", ("--connect",), "first, second and third write"),
        ("third", ("--connect",), "first, second and third write"),
    ):
        found = project.syncer("validate", chosen, *options, "--json").objects
        (warning,) = [one for one in found if "same attributes" in one["message"]]
        assert others in warning["message"].replace("`", "")
        assert Path(warning["file"]).stem == chosen
