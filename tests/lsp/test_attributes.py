"""`attributes.yml` in an editor: what is wrong with it, and what may be written there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Folder
from tests.lsp.conftest import HEADER
from tests.lsp.editor import Editor
from tests.lsp.test_answers import place_of

FIELDS = ["from: ", "type: ", "normalise: "]
SYNCS = ["billing", "customers", "web-2"]


@pytest.fixture
def rules(project: Folder) -> Path:
    """Where the file of a project with three syncs of people belongs; it is not there yet."""
    for name in ("billing", "web-2"):
        project.define(name, "SELECT user_id, total FROM orders", HEADER)
    project.define("shops", "SELECT user_id FROM orders", "entity: object\nobject: {type: shop, id: user_id}")
    return project.path / "sync_definitions/attributes.yml"


def suggested(editor: Editor, path: Path, marked: str) -> list[str]:
    written, line, column = place_of(marked)
    uri = editor.open(path, written)
    return [one["textEdit"]["newText"] for one in editor.complete(uri, line, column)]


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("plan: {|", FIELDS),
        ("plan: { fr|", FIELDS),
        ("plan:\n  |", FIELDS),
        ("# whose\nplan: {from: billing, |}", FIELDS[1:]),
        ("plan: {from: [billing, web-2], type: text, |", FIELDS[2:]),
        ("plan:\n  from:\n    - billing\n  |", FIELDS[1:]),
        ("city: {type: text}\nplan:\n  from: billing\n  ty|", FIELDS[1:]),
        ("plan: {from: |", SYNCS),
        ("plan: {from: [|", SYNCS),
        ("plan: {from: [billing, web-|], type: text}", SYNCS),
        ("plan:\n  from: [billing,\n    |", SYNCS),
        ("plan:\n  from:\n    - billing\n    - |", SYNCS),
        ('"a: b": {type: |}', ["text", "integer", "number", "boolean", "timestamp", "date"]),
        ("plan:\n  normalise: t|", ["trim", "title", "lower", "e164"]),
        ("pl|", []),
        ("plan|: {from: crm}", []),
        ("plan: |", []),
        ("plan: {from:|", []),
        ("plan: {from: crm} # |", []),
        ("plan: {from: [crm]} |", []),
        ("a:b: {type: text, |", ["from: ", "normalise: "]),
        ("", []),
    ],
)
def test_what_a_rule_may_have_is_suggested(editor: Editor, rules: Path, marked: str, expected: list[str]) -> None:
    assert suggested(editor, rules, marked if "|" in marked else "|") == expected


def test_what_is_begun_is_replaced_as_a_whole(editor: Editor, rules: Path) -> None:
    written, line, column = place_of("plan: {from: [billing, web-|")
    found = editor.complete(editor.open(rules, written), line, column)

    places = {
        (one["textEdit"]["range"]["start"]["character"], one["textEdit"]["range"]["end"]["character"]) for one in found
    }
    assert places == {(23, 27)}


def test_what_validate_finds_is_shown_at_its_line_without_saving(editor: Editor, project: Folder, rules: Path) -> None:
    uri = editor.open(rules, "plan: {from: billing}\ncity: {from: shops, type: money}\n")

    def told(found: list[Any]) -> list[tuple[int, str]]:
        return [(one["range"]["start"]["line"], one["message"].partition("\n")[0]) for one in found]

    (kind,) = told(editor.diagnostics(uri))
    assert kind[0] == 1
    assert kind[1].startswith("`city.type`: expected `text`")
    editor.change(uri, "plan: {from: [billing, bilings]}\n\ncity: {from: shops}\n")
    assert told(editor.diagnostics(uri)) == [
        (0, "`plan.from` names `bilings`, but there is no such sync"),
        (2, "`city.from` names `shops`, which writes no attributes of people"),
    ]
    assert not rules.exists()

    rules.write_text("plan: {from: [billing, bilings]}\n")
    editor.change(uri, rules.read_text())
    (printed,) = project.syncer("validate", "--json").objects
    (shown,) = editor.diagnostics(uri)
    assert (printed["line"], printed["message"]) == (1, shown["message"].partition("\n")[0])


def test_a_sync_is_checked_by_rules_that_are_not_saved(editor: Editor, project: Folder, rules: Path) -> None:
    sync = editor.open(project.path / "sync_definitions/customers.sql")
    (before,) = editor.diagnostics(sync)
    assert (before["severity"], "the last one to run wins" in before["message"]) == (2, True)

    uri = editor.open(rules, "total: {from: billing}\n")

    assert editor.diagnostics(uri) == []
    (after,) = editor.diagnostics(sync)
    assert after["severity"] == 1
    assert "`customers` writes the attribute `total`, and is not among those that may: `billing`" in after["message"]


def test_the_names_of_syncs_are_known_whatever_is_wrong(editor: Editor, rules: Path) -> None:
    rules.write_text("plan: {form: x}\n")

    assert suggested(editor, rules, "plan: {form: x}\ncity: {from: |}") == SYNCS


def test_a_field_says_what_it_is(editor: Editor, rules: Path) -> None:
    uri = editor.open(rules, "type: {from: [billing], type: text}\n")

    assert "one whose value stands first" in str(editor.hover(uri, 0, 8))
    assert "What its values are." in str(editor.hover(uri, 0, 25))
    assert editor.hover(uri, 0, 1) is None
    assert editor.hover(uri, 0, 31) is None


def test_other_files_of_yaml_are_left_alone(editor: Editor, project: Folder, rules: Path) -> None:
    project.write("sync_definitions/deeper/attributes.yml", "plan: {from: nobody}\n")

    assert suggested(editor, project.path / "compose.yml", "plan: {|") == []
    assert suggested(editor, project.path / "sync_definitions/deeper/attributes.yml", "plan: {|") == []
    assert editor.diagnostics(editor.open(project.path / "sync_definitions/deeper/attributes.yml")) == []
