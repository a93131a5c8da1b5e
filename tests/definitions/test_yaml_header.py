from __future__ import annotations

import re
from pathlib import Path

import pytest

from syncer.definitions import file as definition_file
from syncer.definitions.file import DefinitionFile
from syncer.model.errors import DefinitionError
from syncer.model.types import Entity, OnRemoved

PATH = Path("customers.sql")
PERSON = "entity: person\nperson: {id: user_id}\n"
OBJECT = "entity: object\nobject: {type: account, id: account_id}\n"
DEVICE = "entity: device\nperson: {id: a}\ndevice: {token: t, platform: ios}\n"
RELATIONSHIP = "entity: relationship\nperson: {id: user_id}\nobject: {type: account, id: account_id}\n"
COLLECTION = "entity: collection\ncollection: coupons\nkey: code\n"
QUERY = "SELECT user_id, plan FROM users"


def parsed(header: str, query: str = QUERY) -> DefinitionFile:
    return definition_file.parse(PATH, f"/* sync\n{header}*/\n{query}\n".encode())


def only_error(file: DefinitionFile) -> DefinitionError:
    assert file.definition is None
    assert len(file.errors) == 1, [str(error) for error in file.errors]
    return file.errors[0]


def text_of(error: DefinitionError) -> str:
    return f"{error.message}. {error.hint}"


def test_the_smallest_header_gives_the_defaults() -> None:
    definition = parsed(PERSON).definition

    assert definition is not None
    assert definition.name == "customers"
    assert definition.target.key_columns == ("user_id",)
    assert (definition.attributes, definition.on_removed, definition.warehouse) == (None, OnRemoved.KEEP, "default")
    assert (definition.sql, definition.sql_line) == (QUERY, 5)
    assert re.fullmatch("[0-9a-f]{64}", definition.hash)


@pytest.mark.parametrize(
    ("header", "line", "expected"),
    [
        ("nmae: a\n", 4, "`nmae` is unknown. Did you mean `name`"),
        ("limits: {remvoed: 5}\n", 4, "`limits.remvoed` is unknown. Did you mean `removed`"),
        ("owner: a\ntags: b\nowner: c\n", 6, "`owner` is repeated; it is on line 4 too"),
        ("attributes: {a: b, a: c}\n", 4, "`attributes.a` is repeated"),
        ("tolerate: {rejected: 1,5%}\n", 4, "`tolerate.rejected` is `1,5%`: a comma is no decimal point. Write `1.5%`"),
        ("tolerate:\n  rejected: 1,5%\n", 5, "`1,5%` has a comma, which is no decimal point. Write `1.5%`"),
        ("limits: {empty: hold, changed: 0,25 %}\n", 4, "`limits.changed` is `0,25 %`: a comma is no decimal point"),
        ("limits: {removed: 1,000}\n", 4, "Write `1000`"),
        ("owner: &a x\ntags: *a\n", 4, "aliases"),
        ("owner: !!python/name:os.system x\n", 4, "tags"),
        ("owner:\n", 4, "`owner` has no value"),
        ("owner: 'a\n", 4, "not valid YAML"),
        ("owner: a: b\n", 4, "colon in quotes"),
        ("\towner: a\n", 4, "not with tabs"),
        ("owner: @team\n", 4, "in quotes"),
        ("schedule: {cron: * * * * *}\n", 4, "in quotes"),
        ('schedule:\n  cron: "*/15 * * * *"\n', 5, "`*/` ends the header here, in the middle of a line"),
        ("owner: '\u2028'\nnmae: a\n", 5, "Did you mean `name`"),
        ("? [a]\n: b\n", 4, "a field's name is not plain text"),
        ('owner: "\\u0007"\n', 4, "control character"),
        ('owner: "\\ud800"\n', 4, "control character"),
        ("owner: \x07\n", 4, "control character"),
        ('owner: "\\UFFFFFFFF"\n', 2, "not a character"),
        (f"tags: {'[' * 5000}\n", 4, "nested too deeply"),
        (f"tags: {'{a: ' * 5000}\n", 4, "nested too deeply"),
        (f"description: {'x' * 70_000}\n", 1, "over 64 KB"),
        ("name: Customers\n", 4, "expected 1 to 63 of `a-z`"),
        ("name: [a]\n", 4, "`name` is a list"),
        ("warehouse: ' '\n", 4, "expected a text on one line"),
        ("person: user_id\n", 4, "`person` is repeated"),
        ("limits: [15%]\n", 4, "`limits` is not a mapping"),
        ("create: yes\n", 4, "expected `true` or `false`"),
        ("enabled: fasle\n", 4, "Did you mean `false`"),
        ("on_removed: clean\n", 4, "expected `keep`, `clear` or `delete`, not `clean`. Did you mean `clear`"),
        ("on_null: [clear]\n", 4, "`on_null` is a list"),
        ("tags: {a: b}\n", 4, "`tags` is a mapping"),
        ("tags:\n- a\n- b\n- a\n", 7, "`tags` names `a` twice"),
        ("limits: 15%\n", 4, "{removed: 15%, changed: 100%, cleared: 20%, empty: hold}"),
        ("limits: {removed: 101%}\n", 4, "`101%` is neither a share from 0% to 100%"),
        ("limits: {changed: -1}\n", 4, "`-1` is neither a share"),
        ("limits: {empty: allwo}\n", 4, "Did you mean `allow`"),
        ("timeout: 0\n", 4, "not a time from 1 second to 24 hours"),
        ("timeout: 25h\n", 4, "not a time from 1 second to 24 hours"),
        ("timeout: soon\n", 4, "`45s`, `10 minutes`, `2h` or `1 day`"),
        ("lookback: 367 days\n", 4, "not a time from 0 seconds to 366 days"),
        ("full_every: 59 seconds\n", 4, "not a time from 1 minute to 366 days"),
        ("queue: back office\n", 4, "expected 1 to 50 letters, digits, `_` and `-`"),
        (f"queue: {'q' * 51}\n", 4, "expected 1 to 50 letters"),
        ("queue: [a]\n", 4, "`queue` is a list"),
        ("priority: 1001\n", 4, "not a whole number from -1000 to 1000"),
        ("priority: 1.5\n", 4, "not a whole number from -1000 to 1000"),
        ("priority: 007\n", 4, "not a whole number from -1000 to 1000"),
        ("priority: high\n", 4, "A higher one goes first"),
        ("priority: {a: 1}\n", 4, "`priority` is a mapping"),
        ("schedule: every 30 seconds\n", 4, "the shortest is 1 minute"),
        ("schedule: 0 6 * * *\n", 4, 'Write `{cron: "0 6 * * *"}`'),
        ("schedule: {corn: 0 6 * * *}\n", 4, "Did you mean `cron`"),
        ("schedule: {cron: 0 6 * *}\n", 4, "five fields, this one has 4"),
        ("timezone: Europe/Berln\n", 4, "Did you mean `Europe/Berlin`"),
        ("collection: coupons\n", 4, "`collection` does not belong to a sync of entity `person`"),
        ("attributes: {a: user_id}\n", 4, "`user_id` is the identifier"),
        ("attributes:\n  a: b\n  id: c\n", 6, "`id` is the identifier itself"),
        ("attributes: [plan, cio_id]\n", 4, "the store's own"),
        ("attributes: [plan, plan]\n", 4, "`plan` twice"),
        ("attributes: {'a\"': plan}\n", 4, 'expected no `"`'),
        (f"attributes: {{{'é' * 76}: plan}}\n", 4, "1 to 150 bytes"),
        ("attributes: [plan]\nexclude: [plan]\n", 5, "Keep one of the two"),
        ("exclude: user_id\n", 4, "`user_id` is the identifier"),
    ],
)
def test_a_mistake_in_the_header_is_reported_with_its_line(header: str, line: int, expected: str) -> None:
    error = only_error(parsed(PERSON + header))

    assert error.line == line
    assert expected in text_of(error)


@pytest.mark.parametrize(
    ("header", "line", "expected"),
    [
        ("person: {id: a}\n", 1, "`entity` is missing"),
        ("entity: peson\n", 2, "Did you mean `person`"),
        ("entity: person\n", 2, "needs `person`. Add `person: {id: column}`"),
        ("entity: person\nperson: user_id\n", 3, "Write it as `{id: column}`"),
        ("entity: person\nperson: {id: a, email: b}\n", 3, "exactly one of `id`, `email`, `phone` or `cio_id`"),
        ("entity: person\nperson: {}\n", 3, "exactly one of"),
        ("entity: person\nperson: {uid: a}\n", 3, "Did you mean `id`"),
        ("entity: object\nobject: {type: account}\n", 3, "`object` lacks `id`"),
        ("entity: collection\ncollection: coupons\n", 2, "needs `key`"),
        ("entity: collection\ncollection: coupons\nkey: []\n", 4, "`key` is empty"),
        ("entity: relationship\nperson: {id: a}\nobject: {type: x, id: a}\n", 4, "`a` is named twice as an identifier"),
        ("entity: device\nperson: {id: a}\n", 2, "needs `device`. Add `device: {token: column, platform: ios}`"),
        ("entity: device\nperson: {id: a}\ndevice: {token: t}\n", 4, "`device` lacks `platform`"),
        (DEVICE.replace("ios", "windows"), 4, "expected `ios` or `android`, not `windows`"),
        (DEVICE.replace("ios", "{colum: os}"), 4, "Did you mean `column`"),
        (DEVICE.replace("ios", "[ios]"), 4, "is a list"),
        (DEVICE.replace("token: t", "token: a"), 4, "`a` is named twice as an identifier"),
        (DEVICE.replace("ios", "ios, last_used: t"), 4, "`t` is the identifier"),
        (DEVICE + "on_removed: clear\n", 5, "a device cannot be cleared"),
        (DEVICE + "attributes: [platform]\n", 5, "`platform` is what `device` says"),
        (DEVICE + "object: {type: x, id: o}\n", 5, "`object` does not belong to a sync of entity `device`"),
        (COLLECTION + "person: {id: a}\n", 5, "`person` does not belong to a sync of entity `collection`"),
        (COLLECTION + "on_removed: keep\n", 5, "always drops the rows"),
        (COLLECTION + "create: false\n", 5, "`create` does not belong"),
        (COLLECTION + "attributes: {code: percent}\n", 5, "`code` is a column of the key"),
        (OBJECT + "key: a\n", 4, "`key` does not belong to a sync of entity `object`"),
        ("- entity: person\n", 2, "not a list of fields"),
        ("# nothing\n", 2, "the header is empty"),
    ],
)
def test_a_header_that_does_not_fit_its_entity_is_refused(header: str, line: int, expected: str) -> None:
    error = only_error(parsed(header))

    assert error.line == line
    assert expected in text_of(error)


@pytest.mark.parametrize(
    ("header", "query", "line", "expected"),
    [
        (PERSON + "on_removed: clear\n", "SELECT {{ last_sync_time }}", 4, "`on_removed` must be `keep`"),
        (PERSON + "limits: {empty: allow}\n", "SELECT {{ last_sync_time }}", 4, "`limits.empty` has no effect"),
        (COLLECTION, "SELECT 1\nWHERE\n{% if last_sync_time %}{% endif %}", 8, "a collection drops all others"),
    ],
)
def test_an_incremental_query_allows_no_removal(header: str, query: str, line: int, expected: str) -> None:
    error = only_error(parsed(header, query))

    assert error.line == line
    assert expected in text_of(error)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("0", 0), ("90", 90), ("45s", 45), ("10 minutes", 600), ("1 minute", 60), ("2h", 7200), ("1 day", 86_400)],
)
def test_a_time_is_seconds_or_has_a_unit(written: str, seconds: int) -> None:
    definition = parsed(f"{PERSON}lookback: {written}\n", "SELECT {{ last_sync_time }}").definition

    assert definition is not None
    assert definition.lookback.total_seconds() == seconds
    assert definition.full_every is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ("default", 0)),
        ("queue: Back-office_2\npriority: 1000\n", ("Back-office_2", 1000)),
        (f"queue: {'q' * 50}\npriority: -1000\n", ("q" * 50, -1000)),
        ("queue: 7\npriority: '7'\n", ("7", 7)),
    ],
)
def test_runs_have_a_queue_and_a_priority(header: str, expected: tuple[str, int]) -> None:
    definition = parsed(PERSON + header).definition

    assert definition is not None
    assert (definition.queue, definition.priority) == expected


def test_every_mistake_of_a_header_is_reported_at_once() -> None:
    file = parsed(
        "entity: person\nnmae: a\nlimits: {removed: x, y: 1}\ncreate: no\ncollection: c\n", "SELECT {{ nope }}"
    )

    assert sorted(error.line for error in file.errors) == [2, 3, 4, 4, 5, 6, 8]


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "the file is empty"),
        (" \n\n", 1, "the file is empty"),
        ("SELECT 1", 1, "the first line is `SELECT 1`, not exactly `/* sync`"),
        ("\n/* sync\n*/", 1, "the header is missing"),
        ("/*sync\n*/", 1, "the header is missing"),
        ("/* sync */ SELECT 1", 1, "the header is missing"),
        ("/* sync", 1, "not closed"),
        (f"/* sync\n{PERSON}SELECT 1", 1, "not closed"),
        (f"/* sync\n{PERSON}SELECT 1 /* one */", 4, "another comment opens"),
        (f"/* sync\n{PERSON}*/", 4, "no query after the header"),
        (f"/* sync\n{PERSON}*/\n-- a\n/* b\n */ ;\n{{# c #}}", 4, "no query after the header"),
    ],
)
def test_a_file_without_header_or_query_is_reported_with_what_it_lacks(text: str, line: int, expected: str) -> None:
    error = only_error(definition_file.parse(PATH, text.encode()))

    assert error.line == line
    assert expected in text_of(error)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (f"/* sync\n{PERSON}*/\n{QUERY}\n-- ".encode() + b"\xff", 6),
        (f"/* sync\n{PERSON}*/\n{QUERY}\n".encode() + b"\0", 6),
        ("/* sync".encode("utf-16"), 1),
        (f"/* sync\r\n{PERSON}*/".encode() + b"\r\n\xc3", 5),
    ],
)
def test_a_file_that_is_not_utf_8_is_refused_at_the_byte_s_line(data: bytes, line: int) -> None:
    error = only_error(definition_file.parse(PATH, data))

    assert error.line == line
    assert "UTF-8" in error.message


def test_a_file_over_1_mb_is_refused_before_it_is_read() -> None:
    data = f"/* sync\n{PERSON}*/\nSELECT 1 -- ".encode()
    data += b"x" * (1_000_000 - len(data))

    assert definition_file.parse(PATH, data).definition is not None
    assert "over 1 MB" in only_error(definition_file.parse(PATH, data + b"\xff")).message


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff/* sync\n{PERSON}*/\n{QUERY}\n",
        f"/* sync  \n{PERSON}*/\n{QUERY}",
        f"/* sync\n{PERSON}*/\n{QUERY}\n".replace("\n", "\r\n"),
        f"/* sync\n{PERSON}*/\n{QUERY}\n".replace("\n", "\r"),
    ],
)
def test_marks_and_line_ends_of_other_systems_do_not_matter(text: str) -> None:
    definition = definition_file.parse(PATH, text.encode()).definition

    assert definition is not None
    assert (definition.sql, definition.sql_line, definition.lines["person.id"]) == (QUERY, 5, 3)


@pytest.mark.parametrize(("end", "line"), [("\n*/ ", 4), ("\n*/\n", 5), ("\n*/  \n\n \n", 7), (" # end */\n", 4)])
def test_the_query_s_first_line_is_known(end: str, line: int) -> None:
    definition = definition_file.parse(PATH, f"/* sync\n{PERSON.rstrip()}{end}{QUERY}".encode()).definition

    assert definition is not None
    assert (definition.sql, definition.sql_line) == (QUERY, line)


@pytest.mark.parametrize("text", ["no", "012", "1e3", "off", "null", "0x1f", "1_000", "2024-01-01"])
def test_text_stays_as_it_was_written(text: str) -> None:
    definition = parsed(f"{PERSON}name: {text}\ntags: [{text}, '22:22']\nexclude: {text}\n").definition

    assert definition is not None
    assert (definition.name, definition.tags, definition.exclude) == (text, (text, "22:22"), (text,))


def test_every_field_s_line_is_known() -> None:
    definition = parsed(
        "entity: relationship\n"
        "object:\n  type: account\n  id: account_id\n"
        "person: {email: mail}\n"
        "attributes:\n- role\n- since\n"
        "limits:\n  removed: 5%\n"
    ).definition

    assert definition is not None
    assert definition.lines == {
        "entity": 2,
        "object": 3,
        "object.type": 4,
        "object.id": 5,
        "person": 6,
        "person.email": 6,
        "attributes": 7,
        "attributes.role": 8,
        "attributes.since": 9,
        "limits": 10,
        "limits.removed": 11,
    }
    assert definition.target.key_columns == ("mail", "account_id")


def test_a_collection_drops_rows_without_being_told() -> None:
    definition = parsed(COLLECTION).definition

    assert definition is not None
    assert (definition.target.entity, definition.target.collection) == (Entity.COLLECTION, "coupons")
    assert definition.on_removed is OnRemoved.DELETE
