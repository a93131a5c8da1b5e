"""A plan that an editor starts, and how the server ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil
import pytest

from syncer.cli.lsp import lsp
from syncer.model.errors import SettingsError
from tests.cli.conftest import Folder, environment
from tests.cli.watching import ENDLESS
from tests.lsp.conftest import HEADER
from tests.lsp.editor import SECONDS, Editor
from tests.lsp.test_answers import silent_server

Start = Callable[..., Editor]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts an editor of this test's own."""
    started: list[Editor] = []

    def begin(**more: Any) -> Editor:
        started.append(Editor(tmp_path, environment(), **more))
        return started[-1]

    yield begin
    for one in started:
        one.close()


def plan(editor: Editor, uri: str) -> None:
    """Do what the code lens says."""
    (lens,) = editor.request("textDocument/codeLens", {"textDocument": {"uri": uri}})
    assert lens["command"]["title"] == "Plan this file"
    assert lens["range"]["start"] == {"line": 0, "character": 0}
    command = {"command": lens["command"]["command"], "arguments": lens["command"]["arguments"]}
    assert editor.request("workspace/executeCommand", command) is None


def plans_of(editor: Editor) -> list[psutil.Process]:
    """The plans that the server runs."""
    children = psutil.Process(editor.process.pid).children(recursive=True)
    return [child for child in children if "plan" in child.cmdline()]


def shown_progress(editor: Editor, token: str, kind: str) -> None:
    """Wait until the server says so of the progress of a plan."""
    editor.wait_for(
        lambda message: (
            message.get("method") == "$/progress"
            and (message["params"]["token"], message["params"]["value"]["kind"]) == (token, kind)
        )
    )


def test_a_saved_file_is_planned_and_nothing_is_sent(editor: Editor, project: Folder) -> None:
    uri = editor.open(project.path / "sync_definitions/customers.sql")
    editor.change(uri, "/* sync\nentity: persn\n*/\nSELECT 1")

    plan(editor, uri)

    shown = Path(unquote(urlsplit(editor.told("window/showDocument")["uri"]).path))
    said = editor.told("window/showMessage")
    text = shown.read_text()
    assert said["type"] == 3
    assert "customers: 2 queried, 2 added" in said["message"]
    assert text.startswith("This is a plan of the file as it is saved; the editor has changes that are not.")
    assert "user_id 1" in text
    assert "total: 5\n" in text
    assert (shown.parent.stat().st_mode & 0o777, shown.name) == (0o700, "customers.plan.txt")
    assert not (project.path / ".syncer/profiles.db").exists()


def test_a_plan_can_be_cancelled_and_is_made_once_at_a_time(editor: Editor, project: Folder) -> None:
    uri = editor.open(project.define("endless", ENDLESS))
    plan(editor, uri)
    token = "syncer.plan endless"
    shown_progress(editor, token, "begin")
    editor.eventually(lambda: plans_of(editor))

    plan(editor, uri)
    assert "is being planned already" in editor.told("window/showMessage")["message"]
    editor.notify("window/workDoneProgress/cancel", {"token": token})

    shown_progress(editor, token, "end")
    editor.eventually(lambda: not plans_of(editor))


def test_what_cannot_be_planned_is_an_error_with_its_reason(editor: Editor, project: Folder) -> None:
    broken = editor.open(project.write("sync_definitions/broken.sql", '/* sync\nname: "*"\n*/\nSELECT 1'))
    missing = editor.open(project.define("missing", "SELECT user_id FROM nothing", HEADER))
    new = editor.open(project.path / "sync_definitions/new.sql", "/* sync\n")

    plan(editor, broken)
    assert "broken.sql cannot be planned: line 2: " in editor.told("window/showMessage")["message"]
    plan(editor, missing)
    said = editor.told("window/showMessage")
    assert (said["type"], "nothing" in said["message"]) == (1, True)
    plan(editor, new)
    assert "Save the file" in editor.told("window/showMessage")["message"]


def test_an_editor_that_can_show_little_gets_the_plan_as_a_message(start: Start, project: Folder) -> None:
    editor = start(capabilities={})

    plan(editor, editor.open(project.path / "sync_definitions/customers.sql"))

    said = editor.told("window/showMessage")["message"]
    assert "customers: 2 queried, 2 added" in said
    assert "total: 5\n" in said
    assert editor.unread("window/showDocument") == []
    # Without `shutdown`, that is an error of the editor.
    editor.notify("exit", None)
    assert editor.process.wait(SECONDS) == 1


def test_a_server_that_shuts_down_ends_its_plans_and_waits_for_no_warehouse(start: Start, project: Folder) -> None:
    editor = start()
    with silent_server() as port:
        url = f"postgresql://me:x@127.0.0.1:{port}/shop"
        project.write("syncer.toml", f'[warehouses.hangs]\nurl = "{url}"\n')
        editor.open(project.define("hangs", "SELECT user_id FROM orders", f"{HEADER}\nwarehouse: hangs"))
        plan(editor, editor.open(project.define("endless", ENDLESS)))
        plans = editor.eventually(lambda: plans_of(editor))

        assert editor.leave() == 0

    assert not psutil.wait_procs(plans, timeout=SECONDS)[1]


def test_a_server_whose_editor_is_gone_ends(start: Start, project: Folder) -> None:
    editor = start()
    assert editor.process.stdin is not None
    editor.open(project.path / "sync_definitions/customers.sql")

    editor.process.stdin.close()

    assert editor.process.wait(SECONDS) == 1
    assert "Error" not in editor.log.read_text()


def test_a_signal_ends_the_server_and_its_plans(start: Start, project: Folder) -> None:
    editor = start()
    plan(editor, editor.open(project.define("endless", ENDLESS)))
    plans = editor.eventually(lambda: plans_of(editor))

    editor.process.terminate()

    assert editor.process.wait(SECONDS) == 143
    assert not psutil.wait_procs(plans, timeout=SECONDS)[1]


def test_without_its_package_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("syncer.lsp")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "lsprotocol", None)

    with pytest.raises(SettingsError) as caught:
        lsp()

    assert "syncer[lsp]" in caught.value.hint


def test_no_other_command_needs_the_package() -> None:
    code = "import sys, syncer.cli; sys.exit('pygls' in sys.modules or 'lsprotocol' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == 0
