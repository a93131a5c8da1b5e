"""What `--help` shows."""

from __future__ import annotations

import io
import shlex
from contextlib import redirect_stdout
from typing import Any

import pytest

from syncer.cli import PARSER
from syncer.cli.examples import EXAMPLES

GROUP: Any = PARSER
COMMANDS = {
    f"{outer} {name}" if inner is not command else name: command
    for outer, inner in GROUP.commands.items()
    for name, command in getattr(inner, "commands", {outer: inner}).items()
}


def helped(*words: str, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    with redirect_stdout(io.StringIO()) as out:
        GROUP(["--help"] if not words else [*words, "--help"], prog_name="syncer", standalone_mode=False)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_examples_that_it_takes_and_its_exit_codes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = COMMANDS[name]

    shown = helped(*name.split(), width=80, monkeypatch=monkeypatch)

    assert "Examples:" in shown
    assert shown[shown.index("Exit codes:") + 1].split() == ["0", "success"]
    assert max(map(len, shown)) <= 80
    for example, _ in EXAMPLES[name]:
        assert f"  {example}" in shown
        words = shlex.split(example.partition(" >")[0].removeprefix(f"syncer {name}"))
        command.make_context(name, words).close()


def test_the_list_of_commands_is_whole_on_60_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = helped(width=60, monkeypatch=monkeypatch)

    assert max(map(len, shown)) <= 60
    assert "..." not in "".join(line for line in shown if "Usage" not in line)
    assert {line.split()[0] for line in shown[shown.index("Commands:") + 1 :]} >= GROUP.commands.keys()
