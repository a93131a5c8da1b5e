from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Folder

EMAIL = {"SYNCER_STORES__DEFAULT__IDENTITY": "email"}


@pytest.fixture
def teams(folder: Folder) -> Folder:
    """People, a team, who is in it, and a collection; one membership is refused."""
    folder.define(
        "teams",
        "SELECT 't1' AS id, 12345678901234567890.123456789 AS fee",
        "entity: object\nobject: {type: team, id: id}",
    )
    folder.define(
        "members",
        "SELECT * FROM (VALUES (1, 't1', 'admin'), (9, 't1', 'guest')) t (person, team, role)",
        "entity: relationship\nperson: {id: person}\nobject: {type: team, id: team}",
    )
    folder.define(
        "prices",
        "SELECT * FROM (VALUES ('a', 1, 0.10), ('b', 2, 0.20)) t (code, level, price)",
        "entity: collection\ncollection: prices\nkey: [code, level]",
    )
    assert folder.syncer("run", "--all").code == 1
    return folder


def test_show_person_gives_attributes_relationships_and_syncs(teams: Folder) -> None:
    as_json = teams.syncer("show", "person", " 1 ", "--json")
    shown = teams.syncer("show", "person", "1")

    (found,) = as_json.objects
    assert (as_json.code, shown.code) == (0, 0)
    assert list(found) == ["store", "entity", "content", "held", "syncs", "rejections"]
    assert found["content"] == found["held"]
    assert found["held"]["attributes"] == {"plan": "free"}
    assert found["held"]["relationships"] == [
        {"object_type": "team", "object_id": "t1", "attributes": {"role": "admin"}}
    ]
    assert (found["syncs"], found["rejections"]) == (["customers", "members"], [])
    body, _, fed = shown.out.rpartition("\nFed by: ")
    assert json.loads(body) == found["held"]
    assert fed == "customers (success), members (warning)\n"


def test_show_tells_why_a_row_is_not_there(teams: Folder) -> None:
    person = teams.syncer("show", "person", "9")
    thing = teams.syncer("show", "object", "team", "t1", "--json")

    assert person.code == 1
    assert "The store `default` has no such person." in person.out
    assert "Rejected by members, once, last 20" in person.out
    (found,) = thing.objects
    assert [row["key"] for row in found["rejections"]] == ['["9","t1"]']


def test_show_object_and_collection_keep_every_digit(teams: Folder) -> None:
    thing = teams.syncer("show", "object", "team", "t1")
    row = teams.syncer("show", "collection", "prices", '["a","1"]', "--json")
    rows = teams.syncer("show", "collection", "prices", "--json")

    assert '"fee": 12345678901234567890.123456789' in thing.out
    assert [found["key"] for found in row.objects[0]["held"]["rows"]] == ['["a","1"]']
    assert len(rows.objects[0]["held"]["rows"]) == 2
    assert rows.objects[0]["syncs"] == ["prices"]


def test_show_person_asks_by_what_the_store_tells_people_apart_by(folder: Folder) -> None:
    folder.define("customers", "SELECT 'Ada@Example.com' AS email", "entity: person\nperson: {email: email}")
    assert folder.syncer("run", "customers", env=EMAIL).code == 0

    by_email = folder.syncer("show", "person", "ADA@example.com", "--json", env=EMAIL)
    by_cio_id = folder.syncer("show", "person", "1", "--by", "cio_id", "--json", env=EMAIL)

    assert by_email.objects[0]["held"]["email"] == "ada@example.com"
    assert by_email.objects == by_cio_id.objects


def test_show_person_tells_of_rows_refused_by_their_other_identifier(folder: Folder) -> None:
    both = {"SYNCER_STORES__DEFAULT__IDENTITY": "id_or_email"}
    folder.define("customers", "SELECT 1 AS id, 'ada@example.com' AS email")
    folder.define(
        "scores",
        "SELECT * FROM (VALUES ('ada@example.com', 1), ('ada@example.com', 2)) t (email, score)",
        "entity: person\nperson: {email: email}",
    )
    assert folder.syncer("run", "--all", env=both).code == 1

    (found,) = folder.syncer("show", "person", "1", "--json", env=both).objects

    assert [(row["sync"], row["key"]) for row in found["rejections"]] == [("scores", "ada@example.com")] * 2


def test_connections_shows_no_secret_and_tests_on_wish(folder: Folder) -> None:
    folder.write(
        "syncer.toml", '[warehouses.billing]\nurl = "postgresql://reader:hunter2@127.0.0.1:1/shop?connect_timeout=2"\n'
    )

    shown = folder.syncer("connections")
    tested = folder.syncer("connections", "--test", "--json")
    people = folder.syncer("connections", "--test")

    assert (shown.code, tested.code, people.code) == (0, 1, 1)
    assert "postgresql://reader@127.0.0.1:1/shop" in shown.out
    assert "hunter2" not in shown.out + tested.out + tested.err + people.out + people.err
    found = {(c["kind"], c["name"]): c for c in tested.objects}
    assert list(found["store", "default"]) == [
        "kind", "name", "url", "reachable", "version", "can_write", "note", "error"
    ]  # fmt: skip
    assert found["warehouse", "default"]["reachable"]
    assert found["warehouse", "default"]["can_write"] is False
    assert found["warehouse", "default"]["version"].startswith("DuckDB ")
    assert not found["warehouse", "billing"]["reachable"]
    assert found["warehouse", "billing"]["error"].startswith("warehouse `billing`")


def test_connections_tells_of_a_warehouse_that_could_be_written(folder: Folder, postgres_url: str) -> None:
    tested = folder.syncer("connections", "--test", "--json", env={"SYNCER_WAREHOUSES__DEFAULT__URL": postgres_url})

    warehouse = tested.objects[0]
    assert (tested.code, warehouse["can_write"]) == (0, True)
    assert "superuser" in warehouse["note"]


def test_any_json_is_shown_as_it_is_stored(folder: Folder) -> None:
    deep, long = "[" * 450 + "]" * 450, "7" * 5_000
    folder.define("odd", f"SELECT 'odd' AS id, '{deep}'::JSON AS deep, '{long}'::JSON AS long")
    assert folder.syncer("run", "odd").code == 0

    as_json = folder.syncer("show", "person", "odd", "--json")
    shown = folder.syncer("show", "person", "odd")

    assert f'"attributes": {{"deep": {deep}, "long": {long}}}' in as_json.out
    assert "".join(shown.out.split()).count(deep) == 1
    assert long in shown.out
