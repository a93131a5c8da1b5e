"""What is wrong with a text, while somebody types."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Folder
from tests.lsp.conftest import HEADER
from tests.lsp.editor import Editor


def text(sql: str, header: str = HEADER) -> str:
    return f"/* sync\n{header}\n*/\n{sql}\n"


def test_an_unsaved_text_is_checked_at_its_line_and_the_file_is_left_alone(editor: Editor, project: Folder) -> None:
    path = project.path / "sync_definitions/customers.sql"
    saved = path.read_text()
    uri = editor.open(path)
    assert editor.diagnostics(uri) == []

    editor.change(uri, text("SELECT user_id FROM orders", f"{HEADER}\n  # 😀\nonwer: 😀 me  "))

    (found,) = editor.diagnostics(uri)
    assert found["message"] == "the field `onwer` is unknown\nDid you mean `owner`?"
    assert (found["severity"], found["source"]) == (1, "syncer")
    # An editor counts a sign beyond 16 bits as two.
    assert found["range"] == {"start": {"line": 4, "character": 0}, "end": {"line": 4, "character": 12}}
    assert path.read_text() == saved

    editor.change(uri, saved)
    assert editor.diagnostics(uri) == []


def test_the_editor_shows_what_validate_prints(editor: Editor, project: Folder) -> None:
    project.define("twice", "SELECT user_id, total FROM orders", HEADER)
    broken = project.define("broken", "DELETE FROM orders", f"{HEADER}\nwarehouse: nowhere\nlimits: {{empty: maybe}}")

    shown = {}
    for path in sorted((project.path / "sync_definitions").glob("*.sql")):
        uri = editor.open(path)
        for one in editor.diagnostics(uri):
            shown[path.name, one["range"]["start"]["line"] + 1, one["message"]] = one["severity"]

    printed = project.syncer("validate", "--json").objects
    said = {
        (Path(one["file"]).name, one["line"], "\n".join(filter(None, (one["message"], one["hint"])))): one["level"]
        for one in printed
    }
    assert {place: {1: "error", 2: "warning"}[severity] for place, severity in shown.items()} == said
    assert set(said.values()) == {"error", "warning"}
    assert broken.name in {name for name, *_ in said}


def test_a_change_of_one_file_is_seen_in_the_others(editor: Editor, project: Folder) -> None:
    first = editor.open(project.path / "sync_definitions/customers.sql")
    assert editor.diagnostics(first) == []

    second = editor.open(
        project.path / "sync_definitions/new.sql", text("SELECT user_id FROM orders", f"{HEADER}\nname: customers")
    )

    assert "is used twice" in editor.diagnostics(second)[0]["message"]
    assert "is used twice" in editor.diagnostics(first)[0]["message"]
    editor.notify("textDocument/didClose", {"textDocument": {"uri": second}})
    gone = editor.wait_for(lambda message: message.get("params") == {"uri": second, "diagnostics": []})
    assert gone["method"] == "textDocument/publishDiagnostics"
    # What is saved counts again.
    assert editor.diagnostics(first) == []


def test_what_cannot_be_read_as_yaml_or_sql_is_an_error_and_not_the_end(editor: Editor, project: Folder) -> None:
    uri = editor.open(project.path / "sync_definitions/customers.sql", "")
    assert "the file is empty" in editor.diagnostics(uri)[0]["message"]
    for broken, said in (
        ("SELECT 1", "the header is missing"),
        ("/* sync\nentity: person", "the header is not closed"),
        ("/* sync\nentity: {\n*/\nSELECT 1", "not valid YAML"),
        (text("SELECT 'x"), "not closed"),
        (text("SELECT {{ 'x' "), "template"),
        (text("SELECT user_id FROM orders; DROP TABLE orders"), "second statement"),
    ):
        editor.change(uri, broken)
        assert said in " ".join(one["message"] for one in editor.diagnostics(uri)), broken


def test_a_file_of_no_project_is_checked_alone(editor: Editor, tmp_path: Path) -> None:
    draft = editor.open(
        tmp_path / "draft.sql", text("SELECT user_id FROM orders", f"{HEADER}\nschedule: every 2 parsecs")
    )
    other = editor.open(tmp_path / "other.sql", "SELECT 1")

    assert "parsecs" in editor.diagnostics(draft)[0]["message"]
    assert editor.diagnostics(other) == []
    assert editor.complete(other, 0, 8) == []
    assert "owner: " in [one["textEdit"]["newText"] for one in editor.complete(draft, 3, 0)]
    assert editor.request("textDocument/codeLens", {"textDocument": {"uri": draft}}) == []


def test_settings_that_cannot_be_used_are_named_once_and_the_file_is_checked_without_them(
    editor: Editor, project: Folder
) -> None:
    project.write("syncer.toml", "pool_size = 1000\n")
    uri = editor.open(project.path / "sync_definitions/customers.sql", text("SELECT 1", "entity: persn"))

    assert "persn" in editor.diagnostics(uri)[0]["message"]
    said = editor.told("window/showMessage")
    assert (said["type"], "pool_size" in said["message"]) == (2, True)

    editor.change(uri, text("SELECT 1", "entity: perso"))
    assert "perso" in editor.diagnostics(uri)[0]["message"]
    assert editor.unread("window/showMessage") == []

    project.write("syncer.toml", "pool_size = 3\n")
    editor.change(uri, text("SELECT user_id FROM orders", f"{HEADER}\nwarehouse: nowhere"))
    assert "no warehouse is called `nowhere`" in editor.diagnostics(uri)[0]["message"]


def test_nothing_of_a_text_goes_to_the_log(editor: Editor, project: Folder) -> None:
    uri = editor.open(project.path / "sync_definitions/customers.sql", text("SELECT 'tell nobody' FROM"))
    editor.diagnostics(uri)
    editor.complete(uri, 4, 10)

    assert "tell nobody" not in editor.log.read_text()
    assert json.dumps(editor.capabilities)
