"""Headers of lists of people, and what `validate` says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncer.definitions import file as definition_file
from syncer.definitions import folder
from syncer.definitions.conflicts import (
    columns_not_sent,
    different_person_keys,
    missing_limits,
    people_made_anew,
    shared_attributes,
)
from syncer.definitions.folder import in_dependency_order
from syncer.model.entities import PERSON_ACTIONS
from syncer.model.types import Limit, ListAction

LIST = "entity: person\nperson: {id: id}\n"


def parsed(header: str, sql: str = "SELECT id FROM requests") -> definition_file.DefinitionFile:
    return definition_file.parse(Path("x.sql"), f"/* sync\n{header}*/\n{sql}".encode())


def load(path: Path) -> folder.Loaded:
    return folder.load(path, warehouses=["default"], stores=["default", "other"])


def write(folder: Path, name: str, header: str, sql: str = "SELECT id FROM t") -> None:
    (folder / f"{name}.sql").write_text(f"/* sync\n{header}*/\n{sql}\n")


@pytest.mark.parametrize("action", PERSON_ACTIONS)
def test_an_action_makes_a_list(action: ListAction) -> None:
    definition = parsed(f"{LIST}action: {action}\n").definition

    assert definition is not None
    assert definition.target.action is action
    assert definition.target.words == f"people to {action}, by id"


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        (f"{LIST}action: remove\n", 4, "`action`: expected `delete`, `suppress` or `unsuppress`, not `remove`"),
        (f"{LIST}action: delete\non_removed: delete\n", 5, "`on_removed` does not belong to a sync with `action`"),
        (f"{LIST}action: delete\nattributes: [plan]\n", 5, "`attributes` does not belong to a sync with `action`"),
        (f"{LIST}action: suppress\nexclude: [plan]\n", 5, "`exclude` does not belong to a sync with `action`"),
        (f"{LIST}action: suppress\ncreate: false\n", 5, "`create` does not belong to a sync with `action`"),
        (f"{LIST}action: delete\non_null: keep\n", 5, "`on_null` does not belong to a sync with `action`"),
        (f"{LIST}action: delete\nlimits: {{removed: 5}}\n", 5, "`limits.removed` has no effect with `action: delete`"),
        (
            f"{LIST}action: unsuppress\nlimits: {{deleted: 5}}\n",
            5,
            "`limits.deleted` has no effect with `action: unsuppress`",
        ),
        (
            f"{LIST}limits: {{deleted: 5}}\n",
            4,
            "`limits.deleted` has no effect without an `action` that deletes people",
        ),
        (
            "entity: object\nobject: {type: a, id: id}\naction: delete\n",
            4,
            "`action` does not belong to a sync of entity `object`, only of `person`",
        ),
    ],
)
def test_what_does_not_belong_to_a_list_is_an_error(header: str, line: int, message: str) -> None:
    errors = parsed(header).errors

    assert [(error.line, error.message[: len(message)]) for error in errors] == [(line, message)]


def test_a_list_may_have_its_limit() -> None:
    found = [parsed(f"{LIST}action: delete\nlimits: {{deleted: {text}}}\n").definition for text in ("25", "2%")]

    assert [one and one.limits.deleted for one in found] == [Limit(count=25), Limit(share=0.02)]


def test_lists_go_first_and_what_accepts_people_again_goes_last_of_them(tmp_path: Path) -> None:
    write(tmp_path, "a_people", LIST)
    write(tmp_path, "b_forgiven", f"{LIST}action: unsuppress\n")
    write(tmp_path, "c_refused", f"{LIST}action: suppress\n")
    write(tmp_path, "d_forgotten", f"{LIST}action: delete\n")

    ordered = in_dependency_order(load(tmp_path).definitions)

    assert [one.name for one in ordered] == ["c_refused", "d_forgotten", "b_forgiven", "a_people"]


def test_a_list_that_deletes_names_the_syncs_that_may_make_people_anew(tmp_path: Path) -> None:
    write(tmp_path, "billing", LIST)
    write(tmp_path, "crm", LIST)
    write(tmp_path, "updates", f"{LIST}create: false\n")
    write(tmp_path, "disabled", f"{LIST}enabled: false\n")
    write(tmp_path, "elsewhere", f"{LIST}store: other\n")
    write(tmp_path, "forgotten", f"{LIST}action: delete\n")
    write(tmp_path, "refused", f"{LIST}action: suppress\n")

    (found,) = people_made_anew(load(tmp_path).definitions)

    assert (found.path.name, found.line) == ("forgotten.sql", 4)
    assert found.message == (
        "`billing` and `crm` make a deleted person anew where the query still returns them: leave them out of it, or "
        "write `action: suppress`"
    )


def test_columns_that_a_list_leaves_out_are_named(tmp_path: Path) -> None:
    write(tmp_path, "forgotten", f"{LIST}action: delete\n", "SELECT ID, requested_at, reason FROM requests")
    write(tmp_path, "refused", f"{LIST}action: suppress\n", "SELECT * FROM requests")
    write(tmp_path, "people", LIST, "SELECT id, plan FROM people")
    definitions = load(tmp_path).definitions

    assert [(one.path.name, one.message) for one in columns_not_sent(definitions, {})] == [
        ("forgotten.sql", "a list sends no attributes, and leaves out `requested_at` and `reason`")
    ]
    (_, asked) = columns_not_sent(definitions, {"refused": ["id", "email"]})
    assert asked.message == "a list sends no attributes, and leaves out `email`"


def test_other_warnings_do_not_concern_lists(tmp_path: Path) -> None:
    write(tmp_path, "people", LIST, "SELECT id, email FROM people")
    write(tmp_path, "forgotten", "entity: person\nperson: {email: email}\naction: delete\n", "SELECT id, email FROM t")
    definitions = load(tmp_path).definitions

    assert shared_attributes(definitions, {}) == ()
    assert different_person_keys(definitions) == []
    assert [one.path.name for one in missing_limits(definitions, ["default"])] == ["people.sql"]
