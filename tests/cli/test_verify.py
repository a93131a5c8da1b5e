"""`syncer verify` over every store: what it compares, what it leaves out, and what `--repair` makes of it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from syncer.model.types import Entity
from tests.cli.conftest import Folder
from tests.cli.forked import Result
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.servers.customerio.faults import Fault

HEADERS = {
    Entity.PERSON: "entity: person\nperson: {id: id}\non_removed: delete",
    Entity.OBJECT: "entity: object\nobject: {type: account, id: id}\non_removed: delete",
    Entity.RELATIONSHIP: "entity: relationship\nperson: {id: id}\nobject: {type: account, id: object_id}\n"
    "on_removed: delete",
    Entity.COLLECTION: "entity: collection\ncollection: plans\nkey: id",
}
#: The entities that are compared.
STATES = [*HEADERS]
LIMITS = "\nlimits: {removed: 100%, empty: allow}"
#: A value of each type, and what is spelled otherwise in stores.
VALUES = """
    42::BIGINT AS "integer", 12345678901234567890123::HUGEINT AS huge, 1.50::DECIMAL(9, 2) AS "decimal",
    0.1::FLOAT AS small, 1e20::DOUBLE AS large, true AS flag, 'x "#y" é' AS txt, 'null' AS word,
    TIMESTAMP '2024-01-02 03:04:05' AS moment, DATE '2024-01-02' AS day,
    '{"b": [1.0, "#1"], "a": {"c": null, "d~/": 1e2}}'::JSON AS doc, [1, 2] AS list, 'x'::BLOB AS bytes,
    NULL::VARCHAR AS nothing, 'A/b~c' AS "odd/na~me.é"
"""


class Shop:
    """A working folder whose store is one of the three."""

    def __init__(self, folder: Folder, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        folder.people({})

    def syncer(self, *arguments: str) -> Result:
        return self.folder.syncer(*arguments, env=self.environment)

    def run(self, *names: str) -> None:
        ran = self.syncer("run", *names, "--json")
        assert ran.code == 0, ran.err

    def verify(self, name: str, *options: str) -> dict[str, Any]:
        verified = self.syncer("verify", name, "--json", *options)
        assert verified.objects, verified.err
        (found,) = verified.objects
        wrong = found["different"] + found["missing"] + found["extra"]
        assert verified.code == (1 if wrong else 0)
        assert found.pop("sync") == name
        return {count: number for count, number in found.items() if number}

    def define(self, name: str, entity: Entity, rows: str, more: str = LIMITS) -> None:
        if entity is Entity.RELATIONSHIP:
            rows = f"SELECT *, id AS object_id FROM ({rows})"
        self.folder.define(name, rows, HEADERS[entity] + more)

    def define_all(self, rows: str) -> None:
        for entity in STATES:
            self.define(entity, entity, rows)


@contextmanager
def database(shop: Shop) -> Iterator[Callable[[str], Any]]:
    """Runs statements in an SQL store behind Syncer's back."""
    url = shop.environment["SYNCER_STORES__DEFAULT__URL"]
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as server:
            yield lambda sql: server.execute(sql.encode())
    else:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection.execute


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    url = f"sqlite:///{tmp_path}/people.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return Shop(Folder(path=tmp_path), {"SYNCER_STORES__DEFAULT__URL": url})


@pytest.fixture
def server() -> Iterator[CustomerIOServer]:
    with customerio_server(app_rate=1_000) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql", "customerio"])
def any_shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    if request.param == "customerio":
        server = request.getfixturevalue("server")
        return Shop(Folder(path=tmp_path), server.environment())
    url = f"sqlite:///{tmp_path}/people.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return Shop(Folder(path=tmp_path), {"SYNCER_STORES__DEFAULT__URL": url})


@pytest.mark.early
def test_what_was_sent_is_equal_whatever_its_type(any_shop: Shop) -> None:
    any_shop.define_all(f"SELECT 'n' || range AS id, {VALUES} FROM range(3)")
    any_shop.define(
        "named", Entity.PERSON, "SELECT 'n' || range AS id, 'Ann' || range || '@X.com' AS email FROM range(3)"
    )
    any_shop.run(*STATES, "named")

    for name in (*STATES, "named"):
        assert any_shop.verify(name, "--all") == {"checked": 3, "equal": 3}
        assert any_shop.verify(name) == {"checked": 3, "equal": 3}


def test_a_sample_is_of_so_many_rows(shop: Shop) -> None:
    shop.define("people", Entity.PERSON, "SELECT range AS id, 'x' AS plan FROM range(5000)")
    shop.run("people")

    assert shop.verify("people") == {"checked": 1000, "equal": 1000}
    assert shop.verify("people", "--sample", "7") == {"checked": 7, "equal": 7}
    assert shop.verify("people", "--all") == {"checked": 5000, "equal": 5000}


def test_manual_edits_are_found_and_repaired_by_the_next_run(shop: Shop) -> None:
    shop.define_all("SELECT 'n' || range AS id, 'free' AS plan, 1.5 AS n FROM range(4)")
    shop.run(*STATES)
    with database(shop) as execute:
        for table, column, key in (
            ("people", "attributes", "id"),
            ("objects", "attributes", "object_id"),
            ("collection_rows", "data", "key"),
        ):
            execute(f"""UPDATE {table} SET {column} = '{{"id": "n1", "plan": "gold", "n": 1.5}}' WHERE {key} = 'n1'""")
        execute("UPDATE relationships SET attributes = '{\"n\": 1.5}' WHERE object_id = 'n1'")
        execute("DELETE FROM relationships WHERE object_id = 'n2'")
        execute("DELETE FROM collection_rows WHERE key = 'n2'")
        execute("DELETE FROM people WHERE id = 'n3'")
        execute("DELETE FROM objects WHERE object_id = 'n3'")

    wrong = {"checked": 4, "equal": 2, "different": 1, "missing": 1}
    assert shop.verify("person", "--all") == wrong
    assert shop.verify("object") == wrong
    assert shop.verify("relationship") == {"checked": 4, "equal": 1, "different": 1, "missing": 2}
    assert shop.verify("collection", "--all") == wrong
    assert [shop.verify(name, "--repair")["repaired"] for name in STATES] == [2, 2, 3, 2]
    shop.run(*STATES)
    for name in STATES:
        assert shop.verify(name, "--all") == {"checked": 4, "equal": 4}


def test_people_read_which_attributes_differ(shop: Shop) -> None:
    shop.define("people", Entity.PERSON, "SELECT 'n' || range AS id, 'free' AS plan FROM range(9)")
    shop.run("people")
    with database(shop) as execute:
        execute("UPDATE people SET attributes = '{}' WHERE id < 'n7'")
        execute("DELETE FROM people WHERE id = 'n8'")

    verified = shop.syncer("verify", "people", "--repair")

    assert verified.code == 1
    assert verified.out.splitlines() == [
        "people: 9 rows checked: 1 equal, 7 different, 1 missing",
        "  different, 5 of 7",
        *(f"    id n{i}: plan" for i in range(5)),
        "  missing",
        "    id n8",
        "rows in doubt now, which the next run sends again or removes: 8; `syncer run people` does it now",
    ]
    assert "n8" not in verified.err


def test_what_another_sync_wrote_later_is_no_difference(shop: Shop) -> None:
    shop.define("first", Entity.PERSON, "SELECT range AS id, 'a' AS plan, 1 AS n FROM range(3)")
    shop.define("second", Entity.PERSON, "SELECT range AS id, 'b' AS plan, NULL AS n FROM range(1, 3)")
    shop.run("first")
    shop.run("second")

    assert shop.verify("first", "--all") == {"checked": 3, "equal": 3}
    assert shop.verify("second", "--all") == {"checked": 2, "equal": 2}
    with database(shop) as execute:
        execute("""UPDATE people SET attributes = '{"plan": "c", "n": 1}' WHERE id = '2'""")
    assert shop.verify("first") == {"checked": 3, "equal": 2, "different": 1}
    # It has cleared `n`, which the first sync may have written since.
    assert shop.verify("second") == {"checked": 2, "equal": 1, "different": 1}


def test_what_a_sync_by_another_identifier_wrote_is_no_difference(shop: Shop) -> None:
    shop.environment = {**shop.environment, "SYNCER_STORES__DEFAULT__IDENTITY": "id_or_email"}
    shop.define("first", Entity.PERSON, "SELECT range AS id, range || '@x.com' AS email, 'a' AS plan FROM range(3)")
    shop.folder.define("second", "SELECT '1@x.com' AS mail, 'b' AS plan", "entity: person\nperson: {email: mail}")
    shop.run("first")
    shop.run("second")

    assert shop.verify("first", "--all") == {"checked": 3, "equal": 3}


def test_a_device_that_another_sync_took_to_somebody_else_is_not_missing(shop: Shop) -> None:
    header = "entity: device\nperson: {id: id}\ndevice: {token: token, platform: ios}"
    shop.folder.define("first", "SELECT range AS id, 't' || range AS token FROM range(3)", header)
    shop.folder.define("second", "SELECT 9 AS id, 't1' AS token", header)
    shop.run("first")
    shop.run("second")

    for name, rows in (("first", 3), ("second", 1)):
        assert shop.verify(name, "--all") == {"checked": rows, "equal": rows}
        assert shop.verify(name) == {"checked": rows, "equal": rows}
    with database(shop) as execute:
        execute("DELETE FROM devices WHERE token = 't1'")
        execute("UPDATE devices SET person_id = (SELECT person_id FROM people WHERE id = '9') WHERE token = 't2'")
    for how in ((), ("--all",)):
        assert shop.verify("first", *how) == {"checked": 3, "equal": 1, "missing": 2}
        assert shop.verify("second", *how) == {"checked": 1, "missing": 1}


def test_what_another_sync_removed_is_not_missing(shop: Shop) -> None:
    shop.define("first", Entity.PERSON, "SELECT range AS id, 'a' AS plan FROM range(3)")
    shop.define("second", Entity.PERSON, "SELECT range AS id, 'x' AS city FROM range(3)")
    shop.run("first")
    shop.run("second")
    shop.define("second", Entity.PERSON, "SELECT range AS id, 'x' AS city FROM range(2)")
    shop.run("second")

    assert shop.verify("first", "--all") == {"checked": 3, "equal": 3}
    assert shop.verify("first", "--all") == {"checked": 3, "equal": 3}


def test_what_another_sync_unset_is_no_difference(shop: Shop) -> None:
    shop.define("first", Entity.PERSON, "SELECT range AS id, 'a' AS plan FROM range(3)")
    header = "entity: person\nperson: {id: id}\non_removed: clear" + LIMITS
    shop.folder.define("second", "SELECT range AS id, 'b' AS plan FROM range(3)", header)
    shop.run("first", "second")
    shop.folder.define("second", "SELECT range AS id, 'b' AS plan FROM range(2)", header)
    shop.run("second")

    assert shop.verify("first", "--all") == {"checked": 3, "equal": 3}
    shop.run("first")
    assert shop.verify("first", "--all") == {"checked": 3, "equal": 3}


@pytest.mark.early
def test_rows_that_a_restored_store_still_has_are_extra_and_removed_after_a_repair(tmp_path: Path) -> None:
    shop = Shop(Folder(path=tmp_path), {"SYNCER_STORES__DEFAULT__URL": f"sqlite:///{tmp_path}/people.db"})
    shop.define_all("SELECT 'n' || range AS id, 'free' AS plan FROM range(8)")
    shop.run(*STATES)
    with database(shop) as execute:
        execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(tmp_path / "people.db", tmp_path / "backup.db")
    shop.define_all("SELECT 'n' || range AS id, 'free' AS plan FROM range(7)")
    shop.run("relationship", "collection", "object", "person")
    shutil.copy(tmp_path / "backup.db", tmp_path / "people.db")

    for name in STATES:
        assert shop.verify(name, "--all", "--repair") == {"checked": 7, "equal": 7, "extra": 1, "repaired": 1}
    shop.run(*STATES)
    shop.run(*STATES)
    for name in STATES:
        assert shop.verify(name, "--all") == {"checked": 7, "equal": 7}
    with database(shop) as execute:
        counts = [
            execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("people", "objects", "relationships", "collection_rows")
        ]
    assert counts == [7, 7, 7, 7]


def test_what_was_never_sent_is_extra_but_for_people_and_where_rows_are_kept(shop: Shop) -> None:
    shop.define_all("SELECT 'n' || range AS id, 'free' AS plan FROM range(3)")
    shop.folder.define("kept", "SELECT 'k' AS id", "entity: object\nobject: {type: kept, id: id}")
    shop.run(*STATES, "kept")
    with database(shop) as execute:
        execute("INSERT INTO people (id, attributes) VALUES ('other', '{}')")
        execute("INSERT INTO objects (object_type, object_id, attributes) VALUES ('account', 'other', '{}')")
        execute("INSERT INTO objects (object_type, object_id, attributes) VALUES ('kept', 'other', '{}')")
        execute(
            "INSERT INTO relationships (person_id, object_type, object_id, attributes) "
            "SELECT person_id, 'account', 'other', '{}' FROM people WHERE id = 'n1'"
        )
        execute("INSERT INTO collection_rows (collection, key, data) VALUES ('plans', '[\"a\",\"b\"]', '{}')")

    assert shop.verify("person", "--all") == {"checked": 3, "equal": 3}
    assert shop.verify("kept", "--all") == {"checked": 1, "equal": 1}
    for name in ("object", "relationship", "collection"):
        assert shop.verify(name) == {"checked": 3, "equal": 3}
        assert shop.verify(name, "--all") == {"checked": 3, "equal": 3, "extra": 1}
    assert '    id ["a","b"]' in shop.syncer("verify", "collection", "--all").out.splitlines()


def test_what_another_sync_feeds_is_not_extra(shop: Shop) -> None:
    shop.define("first", Entity.COLLECTION, "SELECT range AS id, 'a' AS plan FROM range(3)")
    shop.define("second", Entity.COLLECTION, "SELECT range AS id, 'b' AS plan FROM range(5, 7)")
    shop.run("first", "second")

    assert shop.verify("first", "--all") == {"checked": 3, "equal": 3}
    # Its snapshot tells what is its own, also once its file is gone.
    (shop.folder.path / "sync_definitions/second.sql").unlink()
    assert shop.verify("first", "--all") == {"checked": 3, "equal": 3}


def test_nothing_is_taken_for_extra_that_another_state_folder_may_have_sent(shop: Shop) -> None:
    shop.define("first", Entity.COLLECTION, "SELECT range AS id, 'a' AS plan FROM range(3)")
    shop.define("second", Entity.COLLECTION, "SELECT range AS id, 'b' AS plan FROM range(5, 7)")
    shop.run("first")
    elsewhere = shop.environment
    shop.environment = {**elsewhere, "SYNCER_STATE_DIR": "other"}
    shop.run("second")
    shop.environment = elsewhere

    verified = shop.syncer("verify", "first", "--all")

    assert verified.code == 0
    assert "another state folder feeds this store too" in verified.out


def test_a_repair_of_extra_rows_is_held_by_the_limit(shop: Shop) -> None:
    shop.define("plans", Entity.COLLECTION, "SELECT range AS id, 'a' AS plan FROM range(6)", more="")
    shop.run("plans")
    with database(shop) as execute:
        for key in ("x", "y"):
            execute(f"INSERT INTO collection_rows (collection, key, data) VALUES ('plans', '{key}', '{{}}')")

    assert shop.verify("plans", "--all", "--repair")["repaired"] == 2
    assert shop.syncer("run", "plans").code == 3
    assert shop.syncer("run", "plans", "--allow-limits").code == 0
    assert shop.verify("plans", "--all") == {"checked": 6, "equal": 6}


def test_only_what_the_sync_writes_counts(shop: Shop) -> None:
    shop.folder.define(
        "people", "SELECT 1 AS id, NULL AS plan, 'x' AS city", HEADERS[Entity.PERSON] + "\non_null: keep"
    )
    shop.run("people")
    with database(shop) as execute:
        execute("""UPDATE people SET attributes = '{"city": "x", "plan": "gold", "score": 7}'""")

    assert shop.verify("people", "--all") == {"checked": 1, "equal": 1}


def test_a_sync_without_a_snapshot_cannot_be_verified(shop: Shop) -> None:
    shop.define("people", Entity.PERSON, "SELECT 1 AS id")

    never = shop.syncer("verify", "people", "--json")

    assert (never.code, never.out) == (1, "")
    assert never.err.splitlines() == [
        "error: `people` has no snapshot to compare the store with",
        "  Run `syncer run people` first.",
    ]


def test_a_whole_look_and_a_sample_exclude_each_other(shop: Shop) -> None:
    shop.define("people", Entity.PERSON, "SELECT 1 AS id")

    assert shop.syncer("verify", "people", "--all", "--sample", "3").code == 2
    assert shop.syncer("verify", "nobody").code == 2


@pytest.mark.early
def test_customerio_says_what_differs(server: CustomerIOServer, tmp_path: Path) -> None:
    shop = Shop(Folder(path=tmp_path), server.environment())
    shop.define_all("SELECT 'n' || range AS id, 'free' AS plan, 1.5 AS n FROM range(4)")
    shop.run(*STATES)
    held = server.workspace
    for number, attributes in (("1", {"plan": "gold"}), ("2", {"n": 1})):
        person = held.person(id=f"n{number}")
        assert person is not None
        person.attributes |= attributes
        held.objects["1", f"n{number}"] |= attributes
    held.take({"type": "person", "action": "delete", "identifiers": {"id": "n3"}})
    held.objects.pop(("1", "n3"))
    held.collections["plans"]["data"] = [{**row, "n": 2} for row in held.collections["plans"]["data"][:3]] + [
        {"id": "x"}
    ]

    assert shop.verify("person", "--all") == {"checked": 4, "equal": 1, "different": 2, "missing": 1}
    assert shop.verify("object", "--all") == {"checked": 4, "equal": 1, "different": 2, "missing": 1}
    assert shop.verify("relationship", "--all") == {"checked": 4, "equal": 3, "missing": 1}
    assert shop.verify("collection", "--all", "--repair") == {
        "checked": 4,
        "different": 3,
        "missing": 1,
        "extra": 1,
        "repaired": 5,
    }
    shop.run("collection")
    assert shop.verify("collection", "--all") == {"checked": 4, "equal": 4}
    assert held.collections["plans"]["data"][0] == {"id": "n0", "plan": "free", "n": 1.5}


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"customers": 1}'])
def test_an_answer_of_customerio_that_is_no_content_is_no_missing_row(
    server: CustomerIOServer, tmp_path: Path, body: bytes
) -> None:
    shop = Shop(Folder(path=tmp_path), server.environment())
    shop.define_all("SELECT 'n' || range AS id, 'free' AS plan FROM range(2)")
    shop.run(*STATES)
    for status in (200, 403, 400):
        server.workspace.faults.reading = Fault(status=status, body=body)
        for name in STATES if status == 200 else [Entity.PERSON]:
            verified = shop.syncer("verify", name, "--json")
            assert (verified.code, verified.out) == (1, "")
            assert "defect" not in verified.err
