"""Snapshots whose rows the warehouse keeps, with the real commands and a real PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import Project
from tests.servers.kept_rows import KeepingWarehouse, keeping_warehouse

HEADER = "entity: person\nperson: {id: id}\non_removed: delete\nlimits: {removed: 100%}\nsnapshot: warehouse\n"


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A project over such a warehouse."""

    project: Project
    warehouse: KeepingWarehouse

    def run(self, *words: str, code: int = 0) -> dict[str, Any]:
        found = self.project.syncer("run", "people", "--json", *words)
        assert found.code == code, found.err + found.out
        return dict(found.objects[0])

    def stored(self) -> dict[str, dict[str, Any]]:
        with closing(sqlite3.connect(self.project.path / "profiles.db")) as store:
            return {
                id_: json.loads(attributes) for id_, attributes in store.execute("SELECT id, attributes FROM people")
            }

    def listed(self) -> tuple[str, int]:
        (one,) = self.project.syncer("snapshot", "list", "--json").objects
        return one["where"], one["rows"]

    def moved(self, to: str) -> int:
        found = self.project.syncer("snapshot", "move", "people", "--to", to)
        assert found.code == 0, found.err
        return found.code

    def counts(self, *words: str) -> tuple[int, ...]:
        run = self.run(*words)
        return tuple(run[name] for name in ("queried", "added", "changed", "removed", "unchanged", "accepted"))


@pytest.fixture
def shop(tmp_path: Path, postgres_url: str) -> Iterator[Shop]:
    with keeping_warehouse(postgres_url) as warehouse:
        warehouse.execute(
            "CREATE TABLE people (id text, plan text, age integer, spent numeric, since timestamptz)",
            "INSERT INTO people SELECT i::text, 'free', i, i * 1.5, '2026-01-01' FROM generate_series(1, 100) i",
        )
        environment = {
            "SYNCER_WAREHOUSES__DEFAULT__URL": warehouse.reader_url,
            "SYNCER_WAREHOUSES__DEFAULT__KEEPER_URL": warehouse.keeper_url,
            "SYNCER_STORES__DEFAULT__URL": "sqlite:///profiles.db",
        }
        project = Project(path=tmp_path, environment=environment)
        project.define("people", HEADER, "SELECT id, plan, age, spent, since FROM people")
        yield Shop(project=project, warehouse=warehouse)


def test_only_what_differs_is_fetched_and_sent(shop: Shop) -> None:
    assert shop.counts() == (100, 100, 0, 0, 0, 100)
    assert shop.warehouse.kept() == 100
    first = shop.run()
    assert (first["queried"], first["accepted"]) == (100, 0)
    shop.warehouse.execute(
        "UPDATE people SET plan = 'pro' WHERE id = '7'",
        "DELETE FROM people WHERE id = '8'",
        "INSERT INTO people VALUES ('new', 'free', NULL, NULL, NULL)",
    )
    assert shop.counts() == (100, 1, 1, 1, 98, 3)
    assert shop.warehouse.kept() == 100
    assert shop.stored()["7"]["plan"] == "pro"
    assert "8" not in shop.stored()
    assert shop.counts() == (100, 0, 0, 0, 100, 0)


@pytest.mark.parametrize(
    "end", [";", " ; ;\n", "; -- all of them\n", " -- all; of them", "/* ; */;", " WHERE plan <> ';'"]
)
def test_a_query_may_end_as_people_write_it(shop: Shop, end: str) -> None:
    shop.project.define("people", HEADER, f"SELECT id, plan FROM people{end}")
    assert shop.counts() == (100, 100, 0, 0, 0, 100)
    shop.warehouse.execute("UPDATE people SET plan = 'pro' WHERE id = '7'")
    assert shop.counts() == (100, 0, 1, 0, 99, 1)


def test_a_plan_shows_what_a_run_would_send_and_changes_nothing(shop: Shop) -> None:
    shop.run()
    shop.warehouse.execute("UPDATE people SET plan = 'pro' WHERE id = '7'", "DELETE FROM people WHERE id = '8'")
    for _ in range(2):
        found = shop.project.syncer("plan", "people", "--json")
        assert found.code == 0, found.err
        plan = found.objects[0]
        assert (plan["changed"], plan["removed"], plan["unchanged"]) == (1, 1, 98)
        assert shop.warehouse.kept() == 100
    shown = shop.project.syncer("plan", "people").out
    assert "free" in shown
    assert "pro" in shown
    assert shop.counts() == (99, 0, 1, 1, 98, 2)


def test_limits_count_the_rows_that_the_warehouse_keeps(shop: Shop) -> None:
    shop.project.define("people", HEADER.replace("100%", "5%"), "SELECT id, plan FROM people")
    shop.run()
    shop.warehouse.execute("DELETE FROM people WHERE id::int <= 5")
    assert shop.run()["removed"] == 5
    shop.warehouse.execute("DELETE FROM people WHERE id::int <= 10")
    assert shop.run(code=3)["status"] == "held"
    shop.warehouse.execute("DELETE FROM people")
    assert shop.run(code=3)["status"] == "held"
    assert len(shop.stored()) == 95


def test_a_limit_of_cleared_values_counts_all_that_there_are(shop: Shop) -> None:
    header = HEADER.replace("{removed: 100%}", "{removed: 100%, cleared: 5%}")
    shop.project.define("people", header, "SELECT id, plan FROM people")
    shop.run()
    shop.warehouse.execute("UPDATE people SET plan = NULL WHERE id::int <= 5")
    assert shop.run()["changed"] == 5
    # Of the 95 that are left, that is more.
    shop.warehouse.execute("UPDATE people SET plan = NULL WHERE id::int <= 10")
    assert shop.run(code=3)["status"] == "held"


def test_snapshots_move_both_ways_and_nothing_is_sent_again(shop: Shop) -> None:
    shop.project.define("people", HEADER.replace("snapshot: warehouse\n", ""), "SELECT * FROM people")
    shop.run()
    assert shop.listed() == ("local", 100)
    assert shop.warehouse.kept() is None

    assert shop.moved("warehouse") == 0
    assert shop.listed() == ("warehouse", 100)
    assert shop.warehouse.kept() == 100
    shop.warehouse.execute("DELETE FROM people WHERE id = '8'")
    assert shop.counts() == (99, 0, 0, 1, 99, 1)
    assert shop.counts() == (99, 0, 0, 0, 99, 0)
    assert shop.project.syncer("snapshot", "check", "people").code == 0

    assert shop.moved("local") == 0
    assert shop.listed() == ("local", 99)
    assert shop.warehouse.kept() is None
    shop.warehouse.execute("DELETE FROM people WHERE id = '9'")
    assert shop.counts() == (98, 0, 0, 1, 98, 1)


def test_a_move_that_cannot_be_is_refused(shop: Shop) -> None:
    shop.run()
    found = shop.project.syncer("snapshot", "move", "people", "--to", "local")
    assert found.code == 2
    assert "says `snapshot: warehouse`" in found.err
    del shop.project.environment["SYNCER_WAREHOUSES__DEFAULT__KEEPER_URL"]
    found = shop.project.syncer("run", "people")
    assert found.code == 1
    assert "SYNCER_WAREHOUSES__DEFAULT__KEEPER_URL" in found.err
    found = shop.project.syncer("validate")
    assert found.code == 2
    assert "sync_definitions/people.sql:6" in found.out + found.err


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("entity: collection\ncollection: plans\nkey: plan", "`snapshot`"),
        ("entity: event\nperson: {id: id}\nevent: {name: paid, id: id, time: since}\nstart: all", "`snapshot`"),
        ("entity: person\nperson: {id: id}\naction: delete", "`snapshot`"),
        ("entity: person\nperson: {id: id, anonymous: plan}", "keeps its snapshot itself"),
    ],
)
def test_what_needs_a_snapshot_of_its_own_is_refused(shop: Shop, header: str, said: str) -> None:
    shop.project.define("people", f"{header}\nsnapshot: warehouse", "SELECT * FROM people")
    found = shop.project.syncer("validate")
    assert found.code == 2
    assert said in found.err + found.out


def test_what_looks_at_a_snapshot_finds_the_rows(shop: Shop) -> None:
    shop.run()
    explained = shop.project.syncer("explain", "person", "7", "--json")
    assert explained.code == 0, explained.err
    (row,) = explained.objects
    assert (row["sync"], row["key"]) == ("people", "7")
    assert '"free"' in explained.out
    verified = shop.project.syncer("verify", "people", "--json").objects[0]
    assert (verified["checked"], verified["equal"], verified["missing"]) == (100, 100, 0)
    assert shop.listed() == ("warehouse", 100)
    assert shop.counts() == (100, 0, 0, 0, 100, 0)


def test_who_is_forgotten_is_in_no_table(shop: Shop) -> None:
    shop.run()
    shop.warehouse.execute("DELETE FROM people WHERE id = '77'")
    found = shop.project.syncer("forget", "person", "--id", "77")
    assert found.code == 0, found.err
    assert shop.warehouse.kept() == 99
    texts = [
        str(shop.warehouse.rows(f'SELECT * FROM kept."{name}"'))
        for (name,) in shop.warehouse.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'kept'")
    ]
    assert not any("'77'" in text for text in texts)
    assert b"77" not in b"".join(path.read_bytes() for path in shop.project.path.glob(".syncer/snapshots/*.wal"))
    assert shop.counts() == (99, 0, 0, 0, 99, 0)


def test_a_reset_forgets_what_is_kept(shop: Shop) -> None:
    shop.run()
    assert shop.project.syncer("reset", "people", "--yes").code == 0
    assert shop.warehouse.kept() is None
    shop.warehouse.execute("DELETE FROM people WHERE id = '8'")
    assert shop.counts() == (99, 99, 0, 0, 0, 99)
    assert "8" in shop.stored()


def test_a_lost_state_folder_loses_no_removal(shop: Shop) -> None:
    shop.run()
    shop.warehouse.execute("DELETE FROM people WHERE id = '8'")
    for path in sorted((shop.project.path / ".syncer").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    run = shop.run()
    assert run["accepted"] >= 99
    shop.run()
    assert "8" not in shop.stored()
    assert shop.warehouse.kept() == 99


def test_another_target_or_another_name_leaves_nothing_behind(shop: Shop) -> None:
    shop.run()
    sql = "SELECT id, plan, age, spent, since FROM people"
    shop.project.define("people", HEADER.replace("person: {id: id}", "person: {email: id}"), sql)
    shop.project.environment["SYNCER_STORES__DEFAULT__IDENTITY"] = "id"
    found = shop.project.syncer("run", "people")
    assert found.code != 0
    shop.project.define("people", HEADER, sql)
    assert shop.run()["status"] == "success"
    (shop.project.path / "sync_definitions/people.sql").rename(shop.project.path / "sync_definitions/persons.sql")
    shop.warehouse.execute("DELETE FROM people WHERE id = '8'")
    found = shop.project.syncer("run", "persons", "--json")
    assert found.code == 0, found.err
    assert shop.stored().keys() == {str(i) for i in range(1, 101)} - {"8"}
    assert shop.project.syncer("run", "persons", "--json").objects[0]["accepted"] == 0


def test_a_keeper_that_is_refused_fails_the_run_before_anything_is_sent(shop: Shop) -> None:
    shop.run()
    shop.warehouse.execute("UPDATE people SET plan = 'pro'", f"ALTER SCHEMA kept OWNER TO {_user(shop)}")
    run = shop.run(code=1)
    assert "KEEPER_URL" in run["error"]
    assert "pass-" not in run["error"]
    assert shop.stored()["7"]["plan"] == "free"


def _user(shop: Shop) -> str:
    return "postgres"


def test_killed_runs_lose_nothing_and_the_tables_follow(shop: Shop) -> None:
    """Whenever the process dies: also between the end of a run and what the warehouse keeps of it."""
    shop.warehouse.execute("INSERT INTO people SELECT i::text, 'free', i, 1, NULL FROM generate_series(101, 5000) i")
    begun = time.monotonic()
    shop.run()
    seconds = time.monotonic() - begun
    for number in range(1, 9):
        shop.warehouse.execute(
            f"UPDATE people SET plan = 'p{number}' WHERE id::int % 3 = {number % 3}",
            f"DELETE FROM people WHERE id::int % 97 = {number}",
        )
        running = shop.project.started("run", "people")
        running.process.join(seconds * number / 8)
        running.process.kill()
        running.process.join()
    shop.run()
    expected = {str(id_): plan for id_, plan in shop.warehouse.rows("SELECT id, plan FROM people")}
    assert {id_: attributes["plan"] for id_, attributes in shop.stored().items()} == expected
    assert shop.run()["accepted"] == 0
    assert shop.warehouse.kept() == len(expected)


def test_a_fetch_of_what_differs_is_small(shop: Shop) -> None:
    shop.warehouse.execute("INSERT INTO people SELECT i::text, 'free', i, 1, NULL FROM generate_series(101, 5000) i")
    whole = shop.run()["bytes_fetched"]
    shop.warehouse.execute("UPDATE people SET plan = 'pro' WHERE id::int <= 50")
    assert shop.run()["changed"] == 50
    (newest, *_) = shop.project.syncer("runs", "people", "--json").objects
    assert newest["bytes_fetched"] < 0.05 * whole
