from __future__ import annotations

from pathlib import Path

import pytest

from syncer.definitions import file as definition_file
from syncer.definitions.columns import attribute_columns, check_columns, match_column
from syncer.model.errors import DefinitionError
from syncer.model.types import SyncDefinition

PERSON = "entity: person\nperson: {id: user_id}\n"
DEVICE = "entity: device\nperson: {id: user_id}\ndevice: {token: token, platform: {column: os}, last_used: seen}\n"
RELATIONSHIP = "entity: relationship\nperson: {id: user_id}\nobject: {type: account, id: account_id}\n"
COLLECTION = "entity: collection\ncollection: coupons\nkey: [shop, code]\n"


def definition_of(header: str) -> SyncDefinition:
    file = definition_file.parse(Path("x.sql"), f"/* sync\n{header}*/\nSELECT 1".encode())
    assert file.definition is not None, file.errors
    return file.definition


@pytest.mark.parametrize(
    ("name", "columns", "expected"),
    [
        ("id", ["ID", "id"], "id"),
        ("id", ["x", "ID"], "ID"),
        ("Id", ["ID", "id"], None),
        ("id", ["x"], None),
    ],
)
def test_a_column_is_matched_exactly_first_and_else_by_letter_case(
    name: str, columns: list[str], expected: str | None
) -> None:
    assert match_column(name, columns) == expected


@pytest.mark.parametrize(
    ("header", "columns", "expected"),
    [
        (PERSON, ["plan", "user_id", "email"], {"plan": "plan", "email": "email"}),
        (PERSON, ["USER_ID"], {}),
        (PERSON + "attributes: []\n", ["user_id", "plan"], {}),
        (PERSON + "attributes: [plan, age]\n", ["user_id", "AGE", "plan"], {"plan": "plan", "age": "AGE"}),
        (PERSON + "attributes: {tier: plan, level: plan}\n", ["user_id", "plan"], {"tier": "plan", "level": "plan"}),
        (PERSON + "exclude: [Age]\n", ["user_id", "age", "plan"], {"plan": "plan"}),
        (RELATIONSHIP, ["account_id", "user_id", "role"], {"role": "role"}),
        (DEVICE, ["OS", "user_id", "token", "app", "seen"], {"app": "app", "platform": "OS", "last_used": "seen"}),
        (DEVICE.replace("{column: os}", "ios"), ["user_id", "token", "os", "seen"], {"os": "os", "last_used": "seen"}),
        (
            DEVICE + "attributes: [os]\n",
            ["user_id", "token", "os", "seen"],
            {"os": "os", "platform": "os", "last_used": "seen"},
        ),
        (COLLECTION, ["code", "percent", "shop"], {"code": "code", "percent": "percent", "shop": "shop"}),
        (
            COLLECTION + "attributes: {off: percent, code: code}\n",
            ["code", "percent", "shop"],
            {"shop": "shop", "off": "percent", "code": "code"},
        ),
    ],
)
def test_attributes_come_from_the_header_or_else_from_the_result(
    header: str, columns: list[str], expected: dict[str, str]
) -> None:
    definition = definition_of(header)

    check_columns(definition, columns)
    assert list(attribute_columns(definition, columns).items()) == list(expected.items())


@pytest.mark.parametrize(
    ("header", "columns", "line", "message"),
    [
        (PERSON, ["userid", "plan"], 3, "no column `user_id`. Did you mean `userid`"),
        (PERSON, ["a", "b"], 3, "Use `a` or `b`"),
        (PERSON, ["USER_ID", "User_id"], 3, "no column `user_id`"),
        (PERSON, [], 3, "no column `user_id`"),
        (PERSON, ["user_id", "plan", "plan"], 5, "two columns `plan`"),
        (PERSON, ["user_id", "id"], 2, "`id` is the identifier itself"),
        (PERSON, ["user_id", "cio_id"], 2, "the store's own"),
        (PERSON, ["user_id", 'a"b'], 2, "is not a valid attribute name"),
        (PERSON, ["user_id", "é" * 76], 2, "1 to 150 bytes"),
        (PERSON, ["user_id", ""], 2, "1 to 150 bytes"),
        (PERSON + "attributes:\n  a: plan\n  b: pln\n", ["user_id", "plan"], 6, "Did you mean `plan`"),
        (PERSON + "attributes: [USER_ID]\n", ["user_id"], 4, "`user_id` is the identifier"),
        (PERSON + "exclude:\n- plan\n- aeg\n", ["user_id", "plan", "age"], 6, "Did you mean `age`"),
        (PERSON + "exclude: USER_ID\n", ["user_id"], 4, "`USER_ID` is the identifier"),
        (RELATIONSHIP, ["user_id", "account"], 4, "no column `account_id`"),
        (RELATIONSHIP.replace("account_id", "USER_ID"), ["user_id"], 4, "`user_id` is named twice"),
        (DEVICE, ["user_id", "os", "seen"], 4, "no column `token`"),
        (DEVICE, ["user_id", "token", "os", "sen"], 4, "Did you mean `sen`"),
        (DEVICE, ["user_id", "token", "system", "seen"], 4, "no column `os`"),
        (DEVICE, ["user_id", "token", "os", "seen", "platform"], 2, "`platform` is what `device` says"),
        (COLLECTION, ["shop", "cod"], 4, "Did you mean `cod`"),
    ],
)
def test_a_result_that_does_not_fit_is_reported_at_the_header_s_line(
    header: str, columns: list[str], line: int, message: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_columns(definition_of(header), columns)

    assert caught.value.line == line
    assert message in f"{caught.value.message}. {caught.value.hint}"


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (PERSON, ["user_id"]),
        (PERSON, ["user_id", "email"]),
        (PERSON.replace("id:", "email:"), ["user_id", "id"]),
        (RELATIONSHIP, ["user_id", "account_id"]),
        (RELATIONSHIP, ["user_id", "account_id", "id"]),
        (COLLECTION, ["shop", "code"]),
    ],
)
def test_identifiers_alone_are_enough(header: str, columns: list[str]) -> None:
    check_columns(definition_of(header), columns)
