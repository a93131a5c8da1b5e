"""What a sync sent under another definition is removed, or its run says what stays: never forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from syncer.snapshot import file
from tests.cli.conftest import Folder
from tests.servers.customerio import CustomerIOServer, customerio_server

PRICES = "SELECT 'c' || range AS code, 's' || range AS sku, range AS price FROM range({rows})"
#: Of each sort: the header before and after a change of the target, and what the store has of it.
CHANGES = {
    "key": ("collection: prices\nkey: code", "collection: prices\nkey: sku", "SELECT key FROM collection_rows"),
    "key of several columns": (
        "collection: prices\nkey: code",
        "collection: prices\nkey: [sku, price]",
        "SELECT key FROM collection_rows",
    ),
    "key of one column": (
        "collection: prices\nkey: [sku, price]",
        "collection: prices\nkey: code",
        "SELECT key FROM collection_rows",
    ),
    "name": (
        "collection: prices\nkey: code",
        "collection: costs\nkey: code",
        "SELECT collection || ':' || key FROM collection_rows",
    ),
    "object type": (
        "object: {type: old, id: code}\non_removed: delete",
        "object: {type: new, id: code}\non_removed: delete",
        "SELECT object_type || ':' || object_id FROM objects",
    ),
}
STORED = {
    "key": ["s0", "s1", "s2"],
    "key of several columns": ['["s0","0"]', '["s1","1"]', '["s2","2"]'],
    "key of one column": ["c0", "c1", "c2"],
    "name": ["costs:c0", "costs:c1", "costs:c2"],
    "object type": ["new:c0", "new:c1", "new:c2"],
}


class Shop:
    """A working folder with one sync, `prices`, whose header changes."""

    def __init__(self, path: Path) -> None:
        self.folder = Folder(path=path)
        self.folder.people({})

    def define(self, header: str, rows: int = 3) -> None:
        entity = "object" if header.startswith("object") else "collection"
        self.folder.define("prices", PRICES.format(rows=rows), f"entity: {entity}\n{header}")

    def run(self, *options: str, code: int = 0) -> str:
        ran = self.folder.syncer("run", "prices", *options)
        assert ran.code == code, ran.err
        return ran.out + ran.err

    def stored(self, query: str) -> list[str]:
        with closing(sqlite3.connect(self.folder.path / ".syncer/profiles.db")) as connection:
            return sorted(key for (key,) in connection.execute(query))

    def snapshots(self) -> int:
        return len(list((self.folder.path / ".syncer/snapshots").glob("*.former-*")))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.parametrize("change", list(CHANGES))
def test_rows_under_the_former_target_are_removed_in_the_run_after_the_change(shop: Shop, change: str) -> None:
    before, after, query = CHANGES[change]
    shop.define(before)
    shop.run()
    shop.define(after)

    said = shop.run()

    assert shop.stored(query) == STORED[change]
    assert "every row is sent, and what was sent before is removed" in said
    assert "rows that were sent under another definition, and are removed: 3" in said
    assert shop.snapshots() == 0
    assert "note" not in shop.run()


@pytest.mark.parametrize("change", ["key", "object type"])
def test_the_limit_holds_the_run_before_anything_is_sent(shop: Shop, change: str) -> None:
    before, after, query = CHANGES[change]
    shop.define(before, rows=30)
    shop.run()
    stored = shop.stored(query)
    shop.define(after, rows=30)

    planned = shop.folder.syncer("plan", "prices")
    assert planned.code == 3
    assert "rows that were sent under another definition, and would be removed: 30" in planned.out
    for _ in range(2):
        assert "30 of 30 rows (100.0%) of what was sent before, as" in shop.run(code=3)
        assert shop.stored(query) == stored
    shop.run("--allow-limits")

    assert len(shop.stored(query)) == 30
    assert not set(shop.stored(query)) & set(stored)
    assert shop.snapshots() == 0


def test_a_snapshot_of_which_nothing_was_sent_leaves_nothing_to_say(shop: Shop) -> None:
    shop.define("collection: prices\nkey: code\nlimits: {added: 1}")
    shop.run(code=3)
    shop.define("collection: prices\nkey: sku")

    assert "note" not in shop.run()


def test_rows_that_keep_their_key_stay(shop: Shop) -> None:
    header = "entity: collection\ncollection: prices\nkey: {}"
    shop.folder.define("prices", "SELECT 'c' || range AS code, range AS price FROM range(30)", header.format("code"))
    shop.run()
    shop.folder.define("prices", "SELECT 'c' || range AS sku, range AS price FROM range(29)", header.format("sku"))

    # One of thirty is under the limit.
    assert "rows that were sent under another definition, and are removed: 1" in shop.run()
    assert len(shop.stored("SELECT key FROM collection_rows")) == 29


def test_what_died_or_was_interrupted_in_between_is_remembered(shop: Shop) -> None:
    before, after, query = CHANGES["key"]
    shop.define(before)
    shop.run()
    shop.define(after)
    (snapshot,) = (shop.folder.path / ".syncer/snapshots").glob("prices.duckdb")
    # As if the run had died between the two.
    snapshot.rename(snapshot.with_name("prices.duckdb.former-20990101T000000000000"))

    shop.run()

    assert shop.stored(query) == STORED["key"]


def test_a_reset_forgets_what_was_to_be_removed(shop: Shop) -> None:
    before, after, query = CHANGES["key"]
    shop.define(before, rows=30)
    shop.run()
    shop.define(after, rows=30)
    shop.run(code=3)
    assert shop.folder.syncer("reset", "prices", "--yes").code == 0

    shop.run()

    assert len(shop.stored(query)) == 60


def test_a_definition_that_changes_back_finds_its_snapshot_again(shop: Shop) -> None:
    before, after, query = CHANGES["key"]
    shop.define(before, rows=30)
    shop.run()
    shop.define(after, rows=30)
    shop.run(code=3)
    shop.define(before, rows=29)

    said = shop.run()

    assert "the definition is as it was before" in said
    assert shop.stored(query) == sorted(f"c{i}" for i in range(29))
    assert shop.snapshots() == 0
    assert "note" not in shop.run()


def test_what_left_while_something_else_was_fed_is_removed_once_the_definition_changes_back(shop: Shop) -> None:
    header = "entity: object\nobject: {type: old, id: code}\non_removed: delete"
    shop.folder.define("prices", PRICES.format(rows=30), header)
    shop.run()
    shop.folder.define("prices", "SELECT 'x' AS id", "entity: person\nperson: {id: id}")
    said = shop.run()
    assert "fed objects of type old before: every row is sent, and nothing is removed; to remove what it sent" in said
    assert len(shop.stored("SELECT object_id FROM objects")) == 30
    shop.folder.define("prices", PRICES.format(rows=29), header)

    shop.run()

    assert len(shop.stored("SELECT object_id FROM objects")) == 29


def test_a_plan_of_a_definition_that_changed_back_is_what_the_run_does(shop: Shop) -> None:
    before, after, query = CHANGES["key"]
    shop.define(before, rows=30)
    shop.run()
    shop.define(after, rows=30)
    shop.run(code=3)
    shop.define(before, rows=29)

    for _ in range(2):
        (plan,) = shop.folder.syncer("plan", "prices", "--json").objects
        assert "the definition is as it was before" in " ".join(plan["notes"])
        assert (plan["added"], plan["removed"], plan["unchanged"]) == (0, 1, 29)
    said = shop.run()

    assert "the definition is as it was before" in said
    assert shop.stored(query) == sorted(f"c{i}" for i in range(29))
    assert "note" not in shop.run()


def test_a_run_leaves_a_former_snapshot_alone_that_a_plan_uses(shop: Shop) -> None:
    before, after, query = CHANGES["key"]
    shop.define(before, rows=30)
    shop.run()
    shop.define(after, rows=30)
    shop.run(code=3)
    shop.define(before, rows=29)
    (former,) = (shop.folder.path / ".syncer/snapshots").glob("*.former-*")

    with file.locked(former, sync="prices"):
        shop.run(code=4)

    assert "the definition is as it was before" in shop.run()
    assert shop.stored(query) == sorted(f"c{i}" for i in range(29))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("entity: object\nobject: {type: new, id: code}", "and nothing is removed, as `on_removed` is `keep`"),
        ("entity: person\nperson: {id: code}\non_removed: delete", "nothing is removed; to remove what it sent"),
    ],
)
def test_what_stays_is_said(shop: Shop, header: str, said: str) -> None:
    shop.define(CHANGES["object type"][0])
    shop.run()
    shop.folder.define("prices", PRICES.format(rows=3), header)

    assert said in shop.run()
    assert len(shop.stored("SELECT object_id FROM objects WHERE object_type = 'old'")) == 3


def test_another_store_is_said(shop: Shop) -> None:
    shop.define("collection: prices\nkey: code")
    shop.run()
    environment = {"SYNCER_STORES__DEFAULT__URL": f"sqlite:///{shop.folder.path}/other.db"}

    ran = shop.folder.syncer("run", "prices", env=environment)

    assert ran.code == 0
    assert "what the former store has of this sync stays there" in ran.out
    assert len(shop.stored("SELECT key FROM collection_rows")) == 3


@pytest.fixture
def server() -> Iterator[CustomerIOServer]:
    with customerio_server(app_rate=1_000) as running:
        yield running


def test_customerio_replaces_a_collection_under_another_key_and_empties_one_of_another_name(
    shop: Shop, server: CustomerIOServer
) -> None:
    environment = server.environment()
    headers = ("collection: prices\nkey: code", "collection: prices\nkey: sku", "collection: costs\nkey: sku")
    for header in headers:
        shop.define(header, rows=30)
        shop.folder.define("prices", PRICES.format(rows=30), f"entity: collection\n{header}\nlimits: {{removed: 100%}}")
        ran = shop.folder.syncer("run", "prices", env=environment)
        assert ran.code == 0, ran.err

    sizes = {name: len(held["data"]) for name, held in server.workspace.collections.items()}
    assert sizes == {"prices": 0, "costs": 30}
    assert shop.snapshots() == 0
