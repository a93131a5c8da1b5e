from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncer.definitions import folder as definitions
from syncer.definitions.conflicts import (
    different_person_keys,
    missing_limits,
    shared_attributes,
    written_attributes,
)
from syncer.definitions.folder import Loaded, in_dependency_order
from syncer.model.errors import SettingsError
from syncer.model.types import Entity, SyncDefinition, Target

PERSON = "entity: person\nperson: {id: user_id}\n"
OBJECT = "entity: object\nobject: {type: account, id: account_id}\n"
COLLECTION = "entity: collection\ncollection: coupons\nkey: code\n"


def write(folder: Path, name: str, header: str = PERSON, query: str = "SELECT * FROM t") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"/* sync\n{header}*/\n{query}\n")
    return path


def load(folder: Path) -> Loaded:
    return definitions.load(folder, warehouses=["default", "lake"], stores=["default", "crm"])


def names(loaded: Loaded) -> list[str]:
    return [definition.name for definition in loaded.definitions]


def texts_of(loaded: Loaded) -> list[tuple[str, int, str]]:
    return [(error.path.name, error.line, f"{error.message}. {error.hint}") for error in loaded.errors]


def test_a_folder_is_read_with_its_subfolders(tmp_path: Path) -> None:
    write(tmp_path, "b.sql")
    write(tmp_path, "deep/er/a.sql")
    write(tmp_path, "C.SQL", PERSON + "name: c\n")
    write(tmp_path, ".hidden.sql", "nonsense")
    write(tmp_path, ".git/d.sql", "nonsense")
    (tmp_path / "notes.txt").write_text("nonsense")

    loaded = load(tmp_path)

    assert names(loaded) == ["a", "b", "c"]
    assert loaded.definitions[0].path == tmp_path / "deep/er/a.sql"
    assert (loaded.errors, loaded.broken) == ((), {})


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert load(tmp_path) == Loaded(definitions=(), errors=(), broken={})


@pytest.mark.parametrize("name", ["missing", "file.sql"])
def test_a_missing_folder_is_reported_how_to_make_one(tmp_path: Path, name: str) -> None:
    write(tmp_path, "file.sql")

    with pytest.raises(SettingsError, match="no folder") as caught:
        load(tmp_path / name)

    assert "syncer init" in caught.value.hint


def test_a_bad_file_does_not_keep_the_others_out(tmp_path: Path) -> None:
    write(tmp_path, "good.sql")
    write(tmp_path, "needs_bad.sql", PERSON + "depends_on: bad\n")
    write(tmp_path, "bad.sql", PERSON + "nmae: x\ncreate: maybe\n")
    (tmp_path / "latin.sql").write_bytes(b"/* sync\n# \xe9\n*/")

    loaded = load(tmp_path)

    assert names(loaded) == ["good", "needs_bad"]
    assert [(path, line) for path, line, _ in texts_of(loaded)] == [("bad.sql", 4), ("bad.sql", 5), ("latin.sql", 2)]
    assert {name: error.line for name, error in loaded.broken.items()} == {"bad": 4, "latin": 2}


@pytest.mark.parametrize(("first", "second"), [("a.sql", "sub/a.sql"), ("a.sql", "sub/A.sql")])
def test_a_name_used_twice_leaves_both_out_and_names_both(tmp_path: Path, first: str, second: str) -> None:
    write(tmp_path, first)
    write(tmp_path, second)
    write(tmp_path, "other.sql")

    loaded = load(tmp_path)

    clashes = [(str(error.path), error.message) for error in loaded.errors if "used twice" in error.message]
    assert names(loaded) == ["other"]
    assert [path for path, _ in clashes] == sorted([str(tmp_path / first), str(tmp_path / second)])
    assert str(tmp_path / first) in clashes[-1][1] or str(tmp_path / first) in clashes[0][1]
    assert all(str(tmp_path) in message for _, message in clashes)


def test_a_name_in_the_header_clashes_at_its_line(tmp_path: Path) -> None:
    write(tmp_path, "a.sql")
    write(tmp_path, "b.sql", PERSON + "name: a\n")

    assert [(path, line) for path, line, _ in texts_of(load(tmp_path))] == [("a.sql", 1), ("b.sql", 4)]


def test_a_file_s_name_that_makes_no_sync_name_asks_for_one(tmp_path: Path) -> None:
    write(tmp_path, "My Sync.sql")
    write(tmp_path, "Other Sync.sql", PERSON + "name: other\n")

    loaded = load(tmp_path)

    assert names(loaded) == ["other"]
    assert "`My Sync` is not a valid sync name" in texts_of(loaded)[0][2]


def test_an_unknown_connection_is_reported_with_what_exists(tmp_path: Path) -> None:
    write(tmp_path, "a.sql", PERSON + "warehouse: lak\nstore: elsewhere\n")

    assert texts_of(load(tmp_path)) == [
        ("a.sql", 4, "no warehouse is called `lak`. Did you mean `lake`?"),
        ("a.sql", 5, "no store is called `elsewhere`. Use `crm` or `default`."),
    ]


def test_a_connection_without_any_settings_is_reported_the_setting(tmp_path: Path) -> None:
    write(tmp_path, "a.sql")

    [error] = definitions.load(tmp_path, warehouses=[], stores=["default"]).errors

    assert error.hint == "Set `SYNCER_WAREHOUSES__DEFAULT__URL` to add one."


def test_a_dependency_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "people.sql")
    write(tmp_path, "orders.sql", PERSON + "depends_on:\n- people\n- poeple\n")

    loaded = load(tmp_path)

    assert names(loaded) == ["people"]
    assert texts_of(loaded) == [
        ("orders.sql", 6, "`depends_on` names `poeple`, but there is no such sync. Did you mean `people`?")
    ]


def test_a_circle_of_dependencies_is_named_and_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a.sql", PERSON + "depends_on: b\n")
    write(tmp_path, "b.sql", PERSON + "depends_on: [d, c]\n")
    write(tmp_path, "c.sql", PERSON + "depends_on: a\n")
    write(tmp_path, "d.sql", PERSON + "depends_on: []\n")
    write(tmp_path, "e.sql", PERSON + "depends_on: [a, e]\n")
    write(tmp_path, "f.sql", PERSON + "depends_on: a\n")

    loaded = load(tmp_path)

    assert names(loaded) == ["d", "f"]
    assert [message.split(". ")[0] for _, _, message in texts_of(loaded)] == [
        "the dependencies form a circle: a → b → c → a",
        "the dependencies form a circle: b → c → a → b",
        "the dependencies form a circle: c → a → b → c",
        "the dependencies form a circle: e → e",
    ]


def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    outside = write(tmp_path, "outside/secret.sql")
    folder = tmp_path / "syncs"
    inside = write(folder, "deep/a.sql")
    (folder / "out.sql").symlink_to(outside)
    (folder / "away").symlink_to(outside.parent)
    (folder / "b.sql").symlink_to(inside)
    (folder / "same").symlink_to(folder)

    loaded = load(folder)

    assert names(loaded) == ["a", "b"]
    assert [(path, "outside the folder" in message) for path, _, message in texts_of(loaded)] == [
        ("away", True),
        ("out.sql", True),
    ]


def test_what_cannot_be_read_is_an_error_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "good.sql")
    os.mkfifo(tmp_path / "pipe.sql")
    (tmp_path / "loop.sql").symlink_to("loop.sql")
    (tmp_path / "nowhere.sql").symlink_to("gone.sql")

    loaded = load(tmp_path)

    assert names(loaded) == ["good"]
    assert [(path, "cannot be read" in message) for path, _, message in texts_of(loaded)] == [
        ("loop.sql", True),
        ("nowhere.sql", True),
        ("pipe.sql", True),
    ]


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path / "real", "a.sql")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert names(load(tmp_path / "link")) == ["a"]


def sync(name: str, entity: Entity, *depends_on: str) -> SyncDefinition:
    return SyncDefinition(
        name=name, path=Path(f"{name}.sql"), sql="", sql_line=1, target=Target(entity=entity), depends_on=depends_on
    )


def test_syncs_run_by_entity_and_name_where_nothing_else_is_said() -> None:
    syncs = [
        sync("a", Entity.COLLECTION),
        sync("b", Entity.RELATIONSHIP),
        sync("c", Entity.OBJECT),
        sync("e", Entity.PERSON),
        sync("d", Entity.PERSON),
    ]

    assert [definition.name for definition in in_dependency_order(syncs)] == ["d", "e", "c", "b", "a"]


def test_a_dependency_goes_first_where_it_is_selected() -> None:
    syncs = [sync("a", Entity.PERSON, "c", "gone"), sync("b", Entity.PERSON), sync("c", Entity.COLLECTION, "d")]

    assert [definition.name for definition in in_dependency_order(syncs)] == ["b", "c", "a"]


def test_syncs_that_wait_for_each_other_are_left_out_of_the_order() -> None:
    syncs = [sync("a", Entity.PERSON, "b"), sync("b", Entity.PERSON, "a"), sync("c", Entity.COLLECTION)]

    assert [definition.name for definition in in_dependency_order(syncs)] == ["c"]


@pytest.mark.parametrize(
    ("first", "second", "things"),
    [
        (PERSON, PERSON.replace("{id:", "{email:"), "people"),
        (OBJECT, OBJECT, "objects `account`"),
        (COLLECTION, COLLECTION, "the collection `coupons`"),
        (
            PERSON.replace("person\n", "relationship\n") + OBJECT.partition("\n")[2],
            PERSON.replace("person\n", "relationship\n") + OBJECT.partition("\n")[2],
            "relationships to objects `account`",
        ),
    ],
)
def test_two_syncs_that_write_the_same_attribute_are_named(
    tmp_path: Path, first: str, second: str, things: str
) -> None:
    write(tmp_path, "a.sql", first + "attributes: [plan, age]\n")
    write(tmp_path, "b.sql", second + "attributes: {plan: tier}\n")

    [warning] = shared_attributes(load(tmp_path).definitions, {})

    assert warning.path == tmp_path / "b.sql"
    assert warning.line == 2 + second.count("\n")
    assert warning.message.startswith(f"`a` and `b` write the same attributes of {things} in the store `default`: ")
    assert "`plan`" in warning.message
    assert "`age`" not in warning.message


@pytest.mark.parametrize(
    "second",
    [
        PERSON + "store: crm\nattributes: [plan]\n",
        PERSON + "attributes: [plan2]\n",
        OBJECT + "attributes: [plan]\n",
        PERSON,
    ],
)
def test_syncs_that_cannot_be_seen_to_overlap_give_no_warning(tmp_path: Path, second: str) -> None:
    write(tmp_path, "a.sql", PERSON + "attributes: [plan]\n")
    write(tmp_path, "b.sql", second)

    assert shared_attributes(load(tmp_path).definitions, {}) == ()


def test_attributes_are_read_from_the_query_where_it_names_its_columns(tmp_path: Path) -> None:
    write(tmp_path, "a.sql", query="SELECT user_id, plan, x AS age FROM t")
    write(tmp_path, "b.sql", query="SELECT user_id, p.plan FROM p {% if last_sync_time %}WHERE true{% endif %}")
    write(tmp_path, "c.sql", PERSON + "exclude: plan\n", query="SELECT user_id, plan FROM t")

    [warning] = shared_attributes(load(tmp_path).definitions, {})

    assert (warning.path.name, warning.line) == ("b.sql", 2)
    assert warning.message.startswith("`a` and `b` write the same attributes of people")


def test_columns_from_the_warehouse_complete_the_warnings(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path, f"{name}.sql")
    loaded = load(tmp_path)

    warnings = shared_attributes(
        loaded.definitions,
        {"a": ["user_id", "plan", "age"], "b": ["user_id", "plan"], "c": ["user_id", "plan", "age"]},
    )

    assert shared_attributes(loaded.definitions, {}) == ()
    assert [str(warning).partition(": ")[2] for warning in warnings] == [
        "`a` and `c` write the same attributes of people in the store `default`: `age`; the last one to run wins, "
        "unless `attributes.yml` says whose value stands",
        "`a`, `b` and `c` write the same attributes of people in the store `default`: `plan`; the last one to run wins"
        ", unless `attributes.yml` says whose value stands",
    ]


def test_syncs_that_know_people_by_another_identifier_than_most_are_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, f"{name}.sql", PERSON)
    write(tmp_path, "tiers.sql", "entity: person\nperson: {email: email}\n")
    write(tmp_path, "elsewhere.sql", "entity: person\nperson: {email: email}\nstore: crm\n")

    [warning] = different_person_keys(load(tmp_path).definitions)

    assert (warning.path.name, warning.line) == ("tiers.sql", 3)
    assert warning.message.startswith("`tiers` knows people by email, most syncs of the store `default` by id: ")


def test_two_syncs_of_a_collection_are_an_error_where_the_store_replaces_it(tmp_path: Path) -> None:
    write(tmp_path, "a.sql", COLLECTION)
    write(tmp_path, "b.sql", COLLECTION)
    write(tmp_path, "c.sql", COLLECTION + "enabled: false\n")
    write(tmp_path, "d.sql", COLLECTION.replace("coupons", "prices"))
    write(tmp_path, "e.sql", COLLECTION + "store: crm\n")

    assert load(tmp_path).errors == ()
    loaded = definitions.load(tmp_path, warehouses=["default"], stores=["default", "crm"], replacing=["default"])

    assert names(loaded) == ["c", "d", "e"]
    assert [(name, line) for name, line, _ in texts_of(loaded)] == [("a.sql", 3), ("b.sql", 3)]
    assert texts_of(loaded)[0][2].startswith(
        "the collection `coupons` is fed by `b` too, and the store `default` replaces a collection as a whole: each "
        "sync would remove the rows of the other. Let one query"
    )


def test_a_limit_of_added_people_is_missing_where_each_costs_money(tmp_path: Path) -> None:
    write(tmp_path, "a.sql", PERSON)
    write(tmp_path, "limited.sql", PERSON + "limits: {added: 10%}\n")
    write(tmp_path, "updates.sql", PERSON + "create: false\n")
    write(tmp_path, "objects.sql", OBJECT)
    write(tmp_path, "free.sql", PERSON + "store: crm\n")

    found = missing_limits(load(tmp_path).definitions, ["default"])

    assert [(warning.path.name, warning.line) for warning in found] == [("a.sql", 2)]
    assert "limits: {added: 10%}" in found[0].message


def test_what_a_sync_writes_is_known_or_said_to_be_unknown(tmp_path: Path) -> None:
    write(tmp_path, "star.sql")
    write(tmp_path, "var.sql", query="SELECT user_id, {{ var('column') }} FROM t")
    write(tmp_path, "named.sql", COLLECTION + "attributes: [percent]\n")
    star, var, named = (
        next(sync for sync in load(tmp_path).definitions if sync.name == name) for name in ("star", "var", "named")
    )

    assert written_attributes(star, None) is None
    assert written_attributes(star, ["user_id", "plan"]) == ("plan",)
    assert written_attributes(star, ["plan"]) is None
    assert written_attributes(var, None) is None
    assert written_attributes(named, None) == ("code", "percent")


def test_what_an_editor_has_not_saved_counts_in_the_place_of_the_file(tmp_path: Path) -> None:
    path, other = write(tmp_path, "a.sql"), write(tmp_path, "b.sql")
    text = path.read_bytes()

    loaded = definitions.load(
        tmp_path,
        warehouses=["default"],
        stores=["default"],
        unsaved={path: text.replace(b"person\n", b"persn\n", 1), tmp_path / "new.sql": text + b"-- not saved"},
    )

    assert names(loaded) == ["b", "new"]
    assert [(error.path, error.line) for error in loaded.errors] == [(path, 2)]
    assert path.read_bytes() == other.read_bytes() == text
