"""`syncer forget`: nothing of a person is left, in any file and in any table."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg
import pytest

from syncer.snapshot import file
from tests.cli.conftest import Folder

#: What is known of the person to forget, in values that nobody else has, now and before.
VALUES = ("Zanzibar-now", "Atlantis-before", "Erebus-plan", "Lethe-left")
NAMES = ("forget-me-42", "forgetme@example.com")
PEOPLE = "SELECT * FROM (VALUES {rows}) t (id, email, city)"


def people(folder: Folder, *cities: str) -> None:
    """The warehouse's people: two whom nobody forgets, and the one of whom these cities are known, if any."""
    rows = ["('1', 'one@example.com', 'Oslo')", "('2', 'two@example.com', 'Rome')"]
    rows += [f"('{NAMES[0]}', '{NAMES[1]}', '{city}')" for city in cities]
    sql = PEOPLE.format(rows=", ".join(rows))
    folder.define("customers", sql, "entity: person\nperson: {id: id}\nlimits: {removed: 100%}")
    folder.define("values", f"SELECT email, city AS town FROM ({sql})", "entity: person\nperson: {email: email}")
    folder.define(
        "members",
        f"SELECT id, 'nowhere' AS team, city AS role FROM ({sql})",
        "entity: relationship\nperson: {id: id}\nobject: {type: team, id: team}",
    )


@pytest.fixture
def lived_in(folder: Folder) -> Folder:
    """A folder in which the person is everywhere."""
    folder.write("syncer.toml", '[stores.default]\nidentity = "id_or_email"\n')
    # A row that left the result.
    folder.define("gone", f"SELECT '{NAMES[0]}' AS id, 'Lethe-left' AS city")
    people(folder, "Atlantis-before")
    folder.syncer("run", "--all")
    folder.define("gone", "SELECT '1' AS id, 'Oslo' AS city")
    folder.syncer("run", "--all")
    people(folder, "Zanzibar-now")
    # Pairs, one that was merged and one that cannot be.
    folder.define("spares", "SELECT 'spare' AS id")
    folder.define(
        "merges",
        f"SELECT '{NAMES[0]}' AS keep, unnest(['spare', 'nobody']) AS goes",
        "entity: merge\nkeep: {id: keep}\nmerge: {id: goes}",
    )
    # A snapshot that was moved aside.
    folder.define("older", "SELECT id, 'Zanzibar-now' AS place FROM (VALUES ('forget-me-42')) t (id)")
    folder.syncer("run", "--all")
    folder.define("older", "SELECT 1 AS no", "entity: object\nobject: {type: team, id: no}")
    folder.syncer("run", "older")
    people(folder, "Erebus-plan")
    folder.syncer("plan", "customers", "--save")
    people(folder, "Zanzibar-now")
    folder.syncer("run", "--all")
    return folder


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Everything in a state folder, with where it is: the bytes of each file, and the rows of each table."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        yield path.name, data.decode("latin-1")
        if b"DUCK" in data[:16]:
            with duckdb.connect(path, read_only=True) as connection:
                for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                    yield f"{path.name} {table}", str(connection.table(table).fetchall())
        elif data.startswith(b"SQLite format 3"):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                for (table,) in tables:
                    yield f"{path.name} {table}", str(connection.execute(f'SELECT * FROM "{table}"').fetchall())
        elif path.suffix == ".parquet":
            yield f"{path.name} rows", str(duckdb.read_parquet(str(path)).fetchall())


def places(folder: Folder, *sought: str) -> set[str]:
    """Where in the state folder any of these texts is."""
    return {place for place, text in texts(folder.path / ".syncer") if any(one in text for one in sought)}


def test_nothing_of_a_person_is_left_in_any_file_and_table(lived_in: Folder) -> None:
    before = places(lived_in, *VALUES, *NAMES)
    assert {"customers.duckdb snapshot", "gone.duckdb left_rows", "values.duckdb snapshot"} <= before
    assert {"runs.db syncer_rejections", "profiles.db people"} <= before
    assert any(place.endswith(".parquet rows") for place in before)
    assert any(".duckdb.previous-" in place for place in before)

    forgotten = lived_in.syncer("forget", "person", "--id", NAMES[0], "--json")

    assert forgotten.code == 0, forgotten.err
    (found,) = forgotten.objects
    assert (found["stores"], found["action"], found["plans"], found["rejections"]) == (["default"], "suppress", 1, 2)
    assert found["rows"] > 3
    assert places(lived_in, *VALUES) == set()
    # Who is refused has to be known.
    assert places(lived_in, *NAMES) == {"profiles.db", "profiles.db suppressions"}
    assert places(lived_in, "Oslo") >= {"customers.duckdb snapshot", "values.duckdb snapshot", "profiles.db people"}


def test_to_forget_twice_is_the_same_as_once_and_other_people_are_not_sent_again(lived_in: Folder) -> None:
    lived_in.syncer("forget", "person", "--email", NAMES[1].upper())
    people(lived_in)

    again = lived_in.syncer("forget", "person", "--email", NAMES[1])
    (ran,) = lived_in.syncer("run", "customers", "--json").objects

    assert again.out.splitlines() == ["Suppressed in the store `default`."]
    assert (ran["unchanged"], ran["accepted"], ran["removed"]) == (2, 0, 0)
    assert places(lived_in, *VALUES) == set()


def test_who_is_forgotten_is_refused_unless_they_may_return(folder: Folder) -> None:
    folder.syncer("run", "customers")
    folder.syncer("forget", "person", "--id", "1")
    folder.syncer("forget", "person", "--id", "2", "--allow-return")

    ran = folder.syncer("run", "customers", "--json")

    assert (ran.code, ran.objects[0]["added"], ran.objects[0]["rejected"]) == (1, 2, 1)
    assert folder.syncer("show", "person", "1").code == 1
    assert folder.syncer("show", "person", "2").code == 0


@pytest.mark.parametrize("moved_aside", [False, True])
def test_while_a_run_holds_a_snapshot_nothing_is_done(folder: Folder, *, moved_aside: bool) -> None:
    folder.syncer("run", "customers")
    path = folder.path / ".syncer/snapshots/customers.duckdb"
    if moved_aside:
        path = path.rename(path.with_name("gone.duckdb"))

    with file.locked(path, sync="customers"):
        forgotten = folder.syncer("forget", "person", "--id", "1")

    assert forgotten.code == 4
    assert folder.syncer("show", "person", "1").code == 0
    assert folder.syncer("forget", "person", "--id", "1").code == 0
    assert folder.syncer("show", "person", "1").code == 1


def test_a_damaged_snapshot_that_was_moved_aside_goes_as_a_whole(folder: Folder) -> None:
    folder.syncer("run", "customers")
    damaged = folder.write(".syncer/snapshots/customers.duckdb.damaged-20260101T000000000000", "garbage")

    (found,) = folder.syncer("forget", "person", "--id", "1", "--json").objects

    assert (found["rows"], found["damaged"]) == (1, 1)
    assert not damaged.exists()


def test_one_store_of_several_can_be_named(folder: Folder) -> None:
    folder.write("syncer.toml", f'[stores.crm]\nurl = "sqlite:///{folder.path}/crm.db"\n')
    folder.define("leads", "SELECT id, plan FROM people", "entity: person\nperson: {id: id}\nstore: crm")
    folder.syncer("run", "--all")

    forgotten = folder.syncer("forget", "person", "--id", "1", "--store", "crm")
    (customers, leads) = folder.syncer("run", "--all", "--json").objects

    assert forgotten.code == 0, forgotten.err
    assert (customers["sync"], customers["unchanged"]) == ("customers", 3)
    assert (leads["sync"], leads["unchanged"], leads["rejected"]) == ("leads", 2, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "one of --id, --email and --phone is needed"),
        (["--id", "1", "--email", "a@example.com"], "one of --id, --email and --phone is needed"),
        (["--id", " "], "one of --id, --email and --phone is needed"),
        (["--id", "1", "--store", "defualt"], "no store is called `defualt`"),
        (["--email", "a@example.com"], "cannot tell people apart by `email`: its identity is `id`"),
    ],
)
def test_what_names_nobody_is_refused(folder: Folder, words: list[str], message: str) -> None:
    folder.syncer("run", "customers")

    refused = folder.syncer("forget", "person", *words)

    assert refused.code in (1, 2)
    assert message in refused.err


def test_the_audit_log_says_that_somebody_was_forgotten_and_not_who(folder: Folder) -> None:
    folder.syncer("run", "customers")
    folder.syncer("forget", "person", "--id", "forget-me-42", "--allow-return")

    with closing(sqlite3.connect(folder.path / ".syncer/runs.db")) as connection:
        rows = connection.execute("SELECT action, options FROM syncer_audit").fetchall()

    assert rows == [("forget", "by_id allow_return")]
    assert places(folder, "forget-me-42") == set()


def test_a_plan_that_a_run_found_out_of_date_names_nobody_any_more(folder: Folder) -> None:
    folder.syncer("run", "customers")
    folder.people({"forget-me-42": "Zanzibar-now"})
    folder.define(
        "customers", "SELECT id, plan FROM people", "entity: person\nperson: {id: id}\nlimits: {removed: 100%}"
    )
    (plan,) = folder.syncer("plan", "customers", "--save", "--json").objects
    folder.people({"forget-me-42": "Erebus-plan"})
    assert folder.syncer("run", "customers", "--plan", plan["plan_id"]).code == 3
    assert any(place.endswith(".moved") for place in places(folder, "forget-me-42"))

    (found,) = folder.syncer("forget", "person", "--id", "forget-me-42", "--json").objects

    assert found["plans"] == 1
    assert places(folder, *VALUES) == set()
    assert places(folder, "forget-me-42") == {"profiles.db", "profiles.db suppressions"}


def test_with_postgresql_other_machines_hear_of_it(folder: Folder, postgres_url: str) -> None:
    variables = {"SYNCER_DATABASE_URL": postgres_url, "SYNCER_STORES__DEFAULT__URL": postgres_url}
    other = Folder(path=folder.path / "other")
    for machine in (folder, other):
        machine.people({"1": "free", "2": "pro"})
        machine.define("customers", "SELECT id, plan FROM people")
    folder.define(
        "teams",
        "SELECT id, 'nowhere' AS team FROM people",
        "entity: relationship\nperson: {id: id}\nobject: {type: team, id: team}",
    )
    folder.syncer("run", "--all", env=variables)
    other.define("others", "SELECT id, 1 AS one FROM people")
    other.syncer("run", "others", env=variables)

    forgotten = folder.syncer("forget", "person", "--id", "1", "--json", env=variables)

    assert forgotten.code == 0, forgotten.err
    assert (forgotten.objects[0]["rows"], forgotten.objects[0]["rejections"]) == (2, 1)
    assert folder.syncer("show", "person", "1", env=variables).code == 1
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT key FROM syncer_rejections").fetchall() == [('["2","nowhere"]',)]
    (again,) = other.syncer("run", "others", "--json", env=variables).objects
    assert (again["unchanged"], again["rejected"]) == (2, 1)
