"""What may be written at a place, and what stands there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from syncer.definitions.fields import FIELDS
from tests.cli.conftest import Folder
from tests.lsp.conftest import HEADER
from tests.lsp.editor import Editor


def place_of(marked: str) -> tuple[str, int, int]:
    """A text without its `|`, and the line and column of that."""
    before, _, after = marked.partition("|")
    return before + after, before.count("\n"), len(before) - before.rfind("\n") - 1


def suggested(editor: Editor, project: Folder, marked: str, **context: Any) -> list[str]:
    """What the server suggests where the mark is."""
    written, line, column = place_of(marked)
    uri = editor.open(project.path / "sync_definitions/customers.sql", written)
    return [one["textEdit"]["newText"] for one in editor.complete(uri, line, column, **context)]


def known(editor: Editor, project: Folder, marked: str) -> list[str]:
    """The same once the warehouse's tables have been read."""
    found: list[str] = editor.eventually(lambda: suggested(editor, project, marked))
    return found


def sql(marked: str, header: str = HEADER) -> str:
    return f"/* sync\n{header}\n*/\n{marked}"


def test_the_fields_that_the_entity_takes_and_that_are_not_there_are_suggested(editor: Editor, project: Folder) -> None:
    found = suggested(editor, project, sql("SELECT 1", "entity: person\nowner: me\n|"))

    fitting = [f"{name}: " for name, field in FIELDS.items() if "person" in map(str, field.entities)]
    assert found == [name for name in fitting if name not in ("entity: ", "owner: ")]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("entity: |", ["person", "object", "relationship", "collection", "device"]),
        ("ent|", ["entity: "]),
        ("entity: rel|", ["relationship"]),
        ("limits: {rem|", ["removed: ", "empty: "]),
        ("limits: {removed: 5%, empty: |}", ["hold", "allow"]),
        ("limits:\n  empty: |", ["hold", "allow"]),
        ("limits:\n  |", ["removed: ", "empty: "]),
        ("enabled: |", ["true", "false"]),
        ("prio|", ["priority: "]),
        ("priority: |", ["0"]),
        ("queue: |", ["default"]),
        ("on_removed: |", ["keep", "clear", "delete"]),
        ("warehouse: |", ["default"]),
        ("store: |", ["default"]),
        ("depends_on: [|", ["orders"]),
        ("depends_on:\n  - |", ["orders"]),
        ("timezone: |", ["Europe/Berlin"]),
        ("schedule: |", ["every 1 hour", "manual"]),
        ("person: {id: |", ["user_id", "total"]),
        ("device: {|", ["token: ", "platform: ", "last_used: "]),
        ("device: {token: |", ["user_id", "total"]),
        ("device: {token: a, platform: |", ["ios", "android"]),
        ("device: {token: a, platform: {column: |", ["user_id", "total"]),
        ("device: {token: a, platform: ios, last_used: |", ["user_id", "total"]),
        ("person: {|", ["id: ", "email: ", "cio_id: ", "anonymous: "]),
        ("person: {id: a, anonymous: |", ["user_id", "total"]),
        ("exclude: [user_id, |]", ["total"]),
        ("attributes: {ltv: |", ["total"]),
        ("attributes:\n  - |", ["total"]),
    ],
)
def test_values_are_suggested(editor: Editor, project: Folder, header: str, expected: list[str]) -> None:
    project.define("orders", "SELECT 1")

    found = suggested(editor, project, sql("SELECT user_id, total FROM orders", header))

    assert [value for value in found if value in expected] == expected


def test_a_comment_and_a_field_that_there_is_not_get_no_suggestion(editor: Editor, project: Folder) -> None:
    for header in ("entity: person # |", "colour: |", "colour: {|", "entity:|"):
        assert suggested(editor, project, sql("SELECT 1", header)) == []


def test_a_field_is_explained_as_in_the_manual(editor: Editor, project: Folder) -> None:
    written = sql("SELECT 1", "entity: person\nlookback: 1 day\nlimits: {empty: hold}\ncolour: red")
    uri = editor.open(project.path / "sync_definitions/customers.sql", written)

    hovered = {(line, column): editor.hover(uri, line, column) for line, column in ((1, 1), (2, 12), (3, 10), (4, 2))}

    assert FIELDS["entity"].description in hovered[1, 1]["contents"]["value"]
    assert hovered[1, 1]["range"] == {"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 6}}
    assert "an incremental query looks again" in hovered[2, 12]["contents"]["value"]
    assert "Default: `10 minutes`" in hovered[2, 12]["contents"]["value"]
    assert "`limits.empty`" in hovered[3, 10]["contents"]["value"]
    assert hovered[4, 2] is None


def test_tables_and_columns_are_suggested_where_they_belong(editor: Editor, project: Folder) -> None:
    assert known(editor, project, sql("SELECT * FROM |")) == ["orders", "people", "crm.accounts"]
    for marked, expected in (
        ("SELECT | FROM orders", ["user_id", "total", "placed_at", "orders"]),
        ("SELECT o.| FROM orders AS o JOIN people p ON p.id = o.user_id", ["user_id", "total", "placed_at"]),
        ("SELECT o.user_id FROM orders o JOIN people p ON p.|", ["id", '"First name"']),
        ("SELECT o.user_id FROM orders o, |", ["orders", "people", "crm.accounts"]),
        ("SELECT * FROM crm.|", ["accounts"]),
        ("SELECT a.ow| FROM crm.accounts a", ["account_id", "owner"]),
        ("WITH big AS (SELECT user_id, total * 2 AS twice FROM orders) SELECT | FROM big", ["user_id", "twice", "big"]),
        ("WITH big AS (SELECT * FROM orders) SELECT b.| FROM big b", ["user_id", "total", "placed_at"]),
        ("SELECT q.| FROM (SELECT id AS who FROM people) AS q", ["who"]),
        ("SELECT user_id FROM orders WHERE user_id IN (SELECT | FROM people", ["id", '"First name"']),
        ("SELECT extract(year FROM |) FROM orders", ["user_id"]),
        ("SELECT 'FROM | ", []),
        ("SELECT 1 -- FROM |", []),
        ("SELECT {{ var('|') }} FROM orders", []),
        ("SELECT nothing.| FROM orders", []),
    ):
        found = suggested(editor, project, sql(marked))
        assert found[: len(expected)] == expected, marked
        assert found or not expected, marked


def test_a_blank_suggests_tables_alone(editor: Editor, project: Folder) -> None:
    known(editor, project, sql("SELECT * FROM |"))
    typed = {"triggerKind": 2, "triggerCharacter": " "}

    assert suggested(editor, project, sql("SELECT * FROM |"), **typed)
    assert suggested(editor, project, sql("SELECT user_id, | FROM orders"), **typed) == []


def test_tables_and_columns_are_explained_with_their_types(editor: Editor, project: Folder) -> None:
    known(editor, project, sql("SELECT * FROM |"))
    written = sql('SELECT o.total, placed_at, p."First name"\nFROM orders AS o JOIN people AS p ON p.id = o.user_id')
    uri = editor.open(project.path / "sync_definitions/customers.sql", written)

    said = {
        place: (editor.hover(uri, *place) or {"contents": {"value": ""}})["contents"]["value"]
        for place in ((4, 10), (4, 18), (5, 6), (4, 0))
    }

    assert said[4, 10] == "**`total`** DECIMAL(9,2)\n\nColumn of `orders`"
    assert "**`placed_at`** TIMESTAMP" in said[4, 18]
    assert said[5, 6].splitlines()[0] == "**`main.orders`**"
    assert "- `user_id` INTEGER" in said[5, 6]
    assert said[4, 0] == ""


def test_types_of_files_are_those_that_a_run_would_read(editor: Editor, project: Folder) -> None:
    (project.path / "syncer.toml").unlink()
    project.people({"1": "free"})
    written = sql("SELECT id FROM people")
    uri = editor.open(project.path / "sync_definitions/customers.sql", written)

    said = editor.eventually(
        lambda: (found := editor.hover(uri, 4, 8)) and "BIGINT" in found["contents"]["value"] and found
    )

    assert said["contents"]["value"] == "**`id`** BIGINT\n\nColumn of `people`"


def test_a_warehouse_that_is_down_is_no_matter(editor: Editor, project: Folder) -> None:
    project.write("syncer.toml", '[warehouses.default]\nurl = "duckdb:///nowhere.duckdb"\n')

    assert suggested(editor, project, sql("SELECT * FROM |")) == []
    editor.eventually(lambda: "no tables of the warehouse `default` are offered" in editor.log.read_text())

    assert suggested(editor, project, sql("SELECT | FROM orders")) == ["orders"]
    uri = editor.open(project.path / "sync_definitions/customers.sql")
    assert editor.diagnostics(uri) == []
    assert "nowhere" not in str(editor.unread("window/showMessage"))


@contextmanager
def silent_server() -> Iterator[int]:
    """A port at which somebody listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in accepted:
            connection.close()


def test_a_warehouse_that_hangs_keeps_nobody_waiting(editor: Editor, project: Folder) -> None:
    with silent_server() as port:
        project.write("syncer.toml", f'[warehouses.default]\nurl = "postgresql://me:x@127.0.0.1:{port}/shop"\n')

        before = time.monotonic()
        assert suggested(editor, project, sql("SELECT | FROM orders o")) == ["o"]
        assert "entity: " in suggested(editor, project, sql("SELECT 1", "|"))
        assert suggested(editor, project, sql("SELECT | FROM orders o")) == ["o"]

        assert time.monotonic() - before < 10
