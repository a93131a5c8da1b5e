"""What shells complete."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from syncer.completion import completions
from tests.cli.conftest import Folder, environment
from tests.docs.completion import WORDS, words


@pytest.fixture
def tagged(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A project with a sync that has a name of its own, a description and tags; it is the working folder."""
    header = "name: orders_daily\ndescription: What was ordered\nentity: person\nperson: {id: id}\ntags: [crm, daily]"
    folder.define("orders", "SELECT id, plan FROM people", header)
    folder.define("broken", "SELECT 1", "entity: [")
    monkeypatch.chdir(folder.path)
    return folder


def completed(line: str) -> list[str]:
    return [value for value, _ in completions(line)]


def test_the_words_are_those_of_the_commands() -> None:
    assert WORDS.read_text() == words(), "run `python -m tests.docs`"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("syncer re", ["rejected", "resume", "reset"]),
        ("syncer run ", ["broken", "customers", "orders_daily"]),
        ("syncer run customers o", ["orders_daily"]),
        ("syncer cancel 'cus", ["customers"]),
        ("syncer verify --sample ", []),
        ("syncer run t", ["tag:"]),
        ("syncer run --exclude tag:", ["tag:crm", "tag:daily"]),
        ("syncer run entity:p", ["entity:person"]),
        ("syncer list warehouse:", ["warehouse:default"]),
        ("syncer run --allow", ["--allow-limits", "--allow"]),
        (
            "syncer run --allow ",
            [
                "limits",
                "clock",
                "removed=",
                "changed=",
                "cleared=",
                "added=",
                "deleted=",
                "merged=",
                "empty",
                "events=",
            ],
        ),
        ("syncer show person 1 --by e", ["email"]),
        ("syncer explain person 1 --sync c", ["customers"]),
        ("syncer duplicates person --by ", ["email", "phone", "name+birthday"]),
        ("syncer docs first", ["first-steps"]),
        ("syncer -C sync_definitions/sample_data pause c", ["customers"]),
        ("syncer -C nowhere pause c", ["customers"]),
        ("syncer nonsense ", []),
    ],
)
def test_the_last_word_is_completed(tagged: Folder, line: str, expected: list[str]) -> None:
    assert completed(line) == expected


def test_what_words_mean_is_said_beside_them(tagged: Folder) -> None:
    assert dict(completions("syncer run o")) == {"orders_daily": "What was ordered"}
    assert dict(completions("syncer pau")) == {"pause": "Stop scheduling syncs; `syncer run` still runs them."}


def test_without_a_project_no_names_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert completed("syncer run ") == []


def test_completion_imports_nothing_that_takes_time(tagged: Folder) -> None:
    program = (
        "import sys; sys.argv = ['syncer', '--complete', 'syncer run c']; from syncer.__main__ import main; main();"
        "print(sorted(sys.modules.keys() & {'typer', 'pydantic', 'yaml', 'rich', 'sqlalchemy', 'syncer.cli'}))"
    )
    ran = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True)

    assert ran.stdout.splitlines() == ["customers\t", "[]"]


def test_bash_completes_words_of_which_a_colon_is_part(tagged: Folder, tmp_path: Path) -> None:
    (tmp_path / "syncer").write_text(f'#!/bin/sh\nexec {sys.executable} -m syncer "$@"\n')
    (tmp_path / "syncer").chmod(0o755)
    script = """
        eval "$(syncer completion bash)"
        complete() {
            COMP_LINE="$1" COMP_POINT=${#1} COMP_WORDS=(syncer); _syncer; printf '%s|' "${COMPREPLY[@]}"; echo
        }
        compopt() { echo "$@"; }
        complete "syncer run cus"; complete "syncer run tag:d"; complete "syncer run ta"
    """
    variables = environment()
    ran = subprocess.run(
        ["bash", "-c", script],
        env=variables | {"PATH": f"{tmp_path}:{variables['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout.splitlines() == ["customers|", "daily|", "-o nospace", "tag:|"], ran.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_one(folder: Folder, shell: str) -> None:
    printed = folder.syncer("completion", shell)

    assert "--complete" in printed.out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=printed.out, text=True, check=True)
