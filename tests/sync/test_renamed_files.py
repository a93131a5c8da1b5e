"""What a sync sent does not count any more where another one, whose file is gone, has written over it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from syncer.model.types import Entity
from tests.cli.conftest import Folder

HEADERS = {
    Entity.PERSON: "entity: person\nperson: {id: id}",
    Entity.OBJECT: "entity: object\nobject: {type: account, id: id}",
    Entity.RELATIONSHIP: "entity: relationship\nperson: {id: id}\nobject: {type: account, id: account}",
    Entity.COLLECTION: "entity: collection\ncollection: plans\nkey: id",
}
STORED = {
    Entity.PERSON: "SELECT id, attributes FROM people",
    Entity.OBJECT: "SELECT object_id, attributes FROM objects WHERE object_type = 'account'",
    Entity.RELATIONSHIP: "SELECT object_id, attributes FROM relationships WHERE attributes LIKE '%plan%'",
    Entity.COLLECTION: "SELECT key, data FROM collection_rows",
}


class Shop:
    """A working folder, whose definitions come and go."""

    def __init__(self, folder: Folder, entity: Entity) -> None:
        self.folder, self.entity = folder, entity
        folder.people({})
        if entity is Entity.RELATIONSHIP:
            for end in (Entity.PERSON, Entity.OBJECT):
                folder.define(end, "SELECT 'n' || range AS id FROM range(9)", HEADERS[end])
            assert folder.syncer("run", "--all").code == 0

    def write(self, name: str, *plans: str, column: str = "plan", header: str = "") -> None:
        """Rows n0, n1, … with these plans."""
        rows = ", ".join(f"('n{i}', 'n{i}', '{plan}')" for i, plan in enumerate(plans))
        columns = "id, account" if self.entity is Entity.RELATIONSHIP else "id"
        sql = f"SELECT {columns}, {column} FROM (VALUES {rows}) AS t (id, account, {column})"
        self.folder.define(name, sql, HEADERS[self.entity] + header)

    def rename(self, old: str, new: str) -> None:
        folder = self.folder.path / "sync_definitions"
        (folder / f"{old}.sql").rename(folder / f"{new}.sql")

    def run(self, name: str) -> dict[str, Any]:
        ran = self.folder.syncer("run", name, "--json")
        assert ran.code == 0, ran.err
        return ran.objects[0]

    def stored(self, column: str = "plan") -> list[str]:
        with closing(sqlite3.connect(self.folder.path / ".syncer/profiles.db")) as connection:
            rows = sorted(connection.execute(STORED[self.entity]).fetchall())
        return [json.loads(text).get(column) for _, text in rows]


@pytest.fixture(params=list(HEADERS))
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    return Shop(Folder(path=tmp_path), request.param)


@pytest.fixture
def people(tmp_path: Path) -> Shop:
    return Shop(Folder(path=tmp_path), Entity.PERSON)


def test_a_value_goes_back_with_the_name_of_its_file(shop: Shop) -> None:
    shop.write("people", "a", "a", "a")
    shop.run("people")
    shop.rename("people", "people2")
    shop.write("people2", "a", "b", "a")
    shop.run("people2")
    assert shop.stored() == ["a", "b", "a"]

    for old, new, value in (("people2", "people", "a"), ("people", "people2", "b"), ("people2", "people", "a")):
        shop.rename(old, new)
        shop.write(new, "a", value, "a")
        assert shop.run(new)["accepted"] == 1
        assert shop.stored() == ["a", value, "a"]
        assert shop.run(new)["accepted"] == 0


def test_syncs_side_by_side_do_not_send_for_each_other(people: Shop) -> None:
    people.write("first", "a", "b")
    people.write("second", "x", "y", column="city")
    for turn in range(2):
        assert [people.run(name)["accepted"] for name in ("first", "second")] == [0 if turn else 2] * 2
    people.write("first", "a", "c")
    assert [people.run(name)["accepted"] for name in ("first", "second", "first")] == [1, 0, 0]
    people.write("third", "a", "z")
    assert [people.run(name)["accepted"] for name in ("third", "first", "second", "third")] == [2, 0, 0, 0]
    assert (people.stored(), people.stored("city")) == (["a", "z"], ["x", "y"])


@pytest.mark.parametrize("is_deleted", [True, False])
def test_the_value_of_a_sync_that_is_gone_gives_way(people: Shop, is_deleted: bool) -> None:
    people.write("first", "a", "b", "c")
    people.write("second", "a", "z")
    people.run("first")
    people.run("second")
    if is_deleted:
        (people.folder.path / "sync_definitions/second.sql").unlink()
    else:
        people.write("second", "a", "z", header="\nenabled: false")

    ran = people.folder.syncer("run", "first", "--json")

    # The third row too: what the other sync had before, nobody knows.
    assert ran.objects[0]["accepted"] == 2
    assert "`second` fed the same until it was removed, renamed or disabled" in ran.err
    assert people.stored() == ["a", "b", "c"]
    assert people.run("first")["accepted"] == 0


def test_a_sync_that_feeds_something_else_now_gives_way(people: Shop) -> None:
    people.write("first", "a", "b")
    people.write("second", "a", "z")
    people.run("first")
    people.run("second")
    people.folder.define("second", "SELECT 'x' AS id, 'z' AS plan", HEADERS[Entity.OBJECT])
    people.run("second")

    assert people.run("first")["accepted"] == 2
    assert people.stored() == ["a", "b"]
    people.run("second")
    assert people.run("first")["accepted"] == 0


def test_without_the_other_snapshot_every_row_is_sent(people: Shop) -> None:
    people.write("first", "a", "b")
    people.write("second", "a", "z")
    people.run("first")
    people.run("second")
    (people.folder.path / "sync_definitions/second.sql").unlink()
    assert people.folder.syncer("reset", "second", "--yes").code == 0

    assert people.run("first")["accepted"] == 2
    assert people.stored() == ["a", "b"]


def test_a_name_in_the_header_is_no_missing_file(people: Shop) -> None:
    people.write("first", "a", "b")
    people.write("other", "a", "z", header="\nname: second")
    people.run("first")
    people.run("second")

    assert people.run("first")["accepted"] == 0


@pytest.mark.parametrize("entity", [Entity.PERSON, Entity.COLLECTION])
def test_what_left_while_a_file_was_renamed_is_removed(tmp_path: Path, entity: Entity) -> None:
    shop = Shop(Folder(path=tmp_path), entity)
    header = HEADERS[entity] + ("\non_removed: delete" if entity is Entity.PERSON else "")
    shop.folder.people({f"n{i}": "a" for i in range(20)})
    shop.folder.define("people", "SELECT id, plan FROM people", header)
    shop.run("people")
    shop.rename("people", "people2")
    shop.folder.people({f"n{i}": "a" for i in range(19)})

    ran = shop.folder.syncer("run", "people2")

    assert ran.code == 0
    assert "`people` has this name now; what it sent, and this sync does not, is removed" in ran.out
    assert shop.stored() == ["a"] * 19
    shop.rename("people2", "people")
    shop.folder.people({"n1": "a"})
    held = shop.folder.syncer("run", "people")
    assert held.code == 3
    assert "18 of 19 rows (94.7%) of what was sent before" in held.err
    assert shop.folder.syncer("run", "people", "--allow-limits").code == 0
    assert shop.stored() == ["a"]
    assert "note" not in shop.folder.syncer("run", "people").out


def test_a_copy_takes_nothing_over(people: Shop) -> None:
    people.write("people", "a", "b", header="\non_removed: delete")
    people.run("people")
    text = (people.folder.path / "sync_definitions/people.sql").read_text()
    people.folder.write("sync_definitions/copy.sql", text)

    assert people.run("copy")["removed"] == 0
    assert people.stored() == ["a", "b"]
    assert people.run("people")["accepted"] == 0
