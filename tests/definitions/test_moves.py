"""The former email of people in the header of a sync."""

from __future__ import annotations

import pytest

from syncer.definitions.columns import attribute_columns, header_errors, previous_column
from syncer.model.errors import DefinitionError
from syncer.model.types import PersonKey
from tests.definitions.test_visitors import definition, parsed

HEADER = "entity: person\nperson: {email: mail, previous: old_mail}\n"
COLUMNS = ("mail", "old_mail", "plan")


def test_a_former_email_is_no_attribute_and_no_key() -> None:
    found = definition(HEADER)

    assert (found.target.person_key, found.target.key_columns) == (PersonKey.EMAIL, ("mail",))
    assert (found.target.names_previous, found.target.names_visitors) == (True, False)
    assert (found.previous_column, previous_column(found, ("MAIL", "OLD_MAIL"))) == ("old_mail", "OLD_MAIL")
    assert list(attribute_columns(found, COLUMNS)) == ["plan"]
    assert list(attribute_columns(definition(HEADER + "attributes: [plan]\n"), COLUMNS)) == ["plan"]
    assert not definition("entity: person\nperson: {email: mail}\n").target.names_previous


def test_a_person_may_have_a_visitor_beside_it() -> None:
    found = definition(HEADER.replace("}", ", anonymous: cookie}"))

    assert (found.previous_column, found.visitor_column) == ("old_mail", "cookie")
    assert list(attribute_columns(found, (*COLUMNS, "cookie"))) == ["plan"]


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        (HEADER.replace("email:", "id:"), 3, "`person.previous` has no use beside an `id`, which keeps the profile"),
        (HEADER.replace("email:", "phone:"), 3, "`person.previous` says by which email a person was known"),
        (HEADER.replace("email:", "cio_id:"), 3, "`person.previous` says by which email a person was known"),
        (HEADER.replace("email: mail, ", ""), 3, "`person` has 0 parts: expected exactly one of"),
        (HEADER.replace("email:", "anonymous:"), 3, "`person` has 0 parts: expected exactly one of"),
        (HEADER.replace("{email:", "{id: a, email:"), 3, "`person` has 2 parts: expected exactly one of"),
        (HEADER + "action: delete\n", 3, "`person.previous` does not belong to a sync with `action`, only of"),
        (
            "entity: relationship\nperson: {email: a, previous: b}\nobject: {type: t, id: c}\n",
            3,
            "`person.previous` does not belong to a sync of entity `relationship`, only of `person`",
        ),
        (
            "entity: event\nperson: {email: a, previous: b}\nevent: {name: n, id: c, time: d}\nstart: all\n",
            3,
            "`person.previous` does not belong to a sync of entity `event`, only of `person`",
        ),
        ("entity: merge\nkeep: {email: a, previous: b}\nmerge: {id: c}\n", 3, "the field `keep.previous` is unknown"),
        (HEADER.replace("old_mail", "mail"), 3, "`mail` is named twice, as the person and as the former email"),
        (
            HEADER.replace("}", ", anonymous: old_mail}"),
            3,
            "`old_mail` is named twice, as the visitor and as the former email",
        ),
        (
            HEADER + "attributes: {was: old_mail}\n",
            4,
            "the column `old_mail` is the former email, and cannot be an attribute too",
        ),
        (HEADER + "attributes: {person.previous: plan}\n", 4, "the attribute `person.previous` is the former email"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(header: str, line: int, message: str) -> None:
    (found,) = parsed(header).errors

    assert found.line == line
    assert message in found.message


def test_a_result_without_the_former_email_is_refused_at_its_line() -> None:
    found = definition(HEADER)

    assert list(header_errors(found)) == []
    with pytest.raises(DefinitionError, match="the result has no column `old_mail`") as raised:
        attribute_columns(found, ["mail", "plan"])
    assert raised.value.line == 3
