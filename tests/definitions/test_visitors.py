"""Visitors in the header of a sync."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncer.definitions.columns import attribute_columns, event_columns, header_errors, visitor_column
from syncer.definitions.file import DefinitionFile, parse
from syncer.model.errors import DefinitionError
from syncer.model.types import PersonKey, SyncDefinition

EVENTS = """entity: event
person: {id: user_id, anonymous: visitor_id}
event: {name: viewed, id: view_id, time: seen_at}
start: all
"""
PEOPLE = "entity: person\nperson: {id: user_id, anonymous: visitor_id}\n"
COLUMNS = ("user_id", "visitor_id", "view_id", "seen_at", "page")


def parsed(header: str, name: str = "viewed") -> DefinitionFile:
    return parse(Path(f"{name}.sql"), f"/* sync\n{header}*/\nSELECT * FROM views\n".encode())


def definition(header: str) -> SyncDefinition:
    found = parsed(header)
    assert found.definition is not None, found.errors
    return found.definition


def test_an_event_is_of_a_person_or_of_a_visitor() -> None:
    found = definition(EVENTS)

    assert (found.target.person_key, found.target.names_visitors) == (PersonKey.ID, True)
    assert found.visitor_column == "visitor_id"
    assert found.event_rules is not None
    assert found.event_rules.person_column == "user_id"
    assert found.target.words == "events viewed of people by id or visitors"
    assert event_columns(found, COLUMNS) == {"person": "user_id", "visitor": "visitor_id", "time": "seen_at"}
    assert list(attribute_columns(found, COLUMNS)) == ["view_id", "page"]


def test_an_event_may_be_of_a_visitor_alone() -> None:
    found = definition(EVENTS.replace("id: user_id, ", ""))

    assert (found.target.person_key, found.target.names_visitors) == (None, True)
    assert found.event_rules is not None
    assert found.event_rules.person_column is None
    assert found.target.words == "events viewed of visitors"
    assert list(attribute_columns(found, COLUMNS)) == ["user_id", "view_id", "page"]


def test_a_visitor_is_no_attribute_of_a_person() -> None:
    found = definition(PEOPLE)

    assert (found.target.person_key, found.target.key_columns) == (PersonKey.ID, ("user_id",))
    assert found.target.names_visitors
    assert visitor_column(found, COLUMNS) == "visitor_id"
    assert list(attribute_columns(found, COLUMNS)) == ["view_id", "seen_at", "page"]
    assert list(attribute_columns(definition(PEOPLE + "attributes: [page]\n"), COLUMNS)) == ["page"]


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        (PEOPLE.replace("id: user_id, ", ""), 3, "`person` names a visitor and nobody who claims them"),
        (PEOPLE + "action: delete\n", 3, "`person.anonymous` does not belong to a sync with `action`, only of"),
        (
            "entity: relationship\nperson: {id: a, anonymous: b}\nobject: {type: t, id: c}\n",
            3,
            "`person.anonymous` does not belong to a sync of entity `relationship`, only of `person` and `event`",
        ),
        (PEOPLE.replace("{id:", "{email: mail, id:"), 3, "`person` has 2 parts: expected exactly one of"),
        ("entity: merge\nkeep: {id: a, anonymous: b}\nmerge: {id: c}\n", 3, "the field `keep.anonymous` is unknown"),
        (PEOPLE.replace("visitor_id", "user_id"), 3, "`user_id` is named twice, as the person and as the visitor"),
        (EVENTS.replace("visitor_id", "user_id"), 3, "`user_id` is named twice, as the person and as the visitor"),
        (
            PEOPLE + "attributes: {cookie: visitor_id}\n",
            4,
            "the column `visitor_id` is the visitor, and cannot be an attribute too",
        ),
        (PEOPLE + "attributes: {person.anonymous: page}\n", 4, "the attribute `person.anonymous` is the visitor"),
        (PEOPLE.replace("visitor_id}", "}"), 3, "`person.anonymous`"),
        (PEOPLE.replace("{id: user_id, anonymous: visitor_id}", "{}"), 3, "`person` has 0 parts"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(header: str, line: int, message: str) -> None:
    (found,) = parsed(header).errors

    assert found.line == line
    assert message in found.message


@pytest.mark.parametrize("header", [PEOPLE, EVENTS])
def test_a_result_without_the_visitor_is_refused_at_its_line(header: str) -> None:
    found = definition(header)

    assert list(header_errors(found)) == []
    with pytest.raises(DefinitionError, match="the result has no column `visitor_id`") as raised:
        attribute_columns(found, [column for column in COLUMNS if column != "visitor_id"])
    assert raised.value.line == 3
