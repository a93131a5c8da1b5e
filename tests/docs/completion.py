"""The words that a shell completes, from the commands as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.core import TyperArgument

import syncer.completion
from syncer.cli import PARSER
from syncer.cli.completion import Shell
from syncer.docs import topics

WORDS = Path(str(syncer.completion.__file__)).with_name("words.json")

#: What an argument may be, by its name in usage lines.
_CHOICES = {"SHELL": [*Shell], "TOPIC": [*topics.topics()]}


def words() -> str:
    """The text of `words.json`."""
    return json.dumps(_of(PARSER), indent=1, ensure_ascii=False) + "\n"


def _of(command: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"help": (command.help or "").partition("\n")[0], "options": {}}
    for each in command.get_params(command.make_context("", [], resilient_parsing=True)):
        if isinstance(each, TyperArgument):
            name = each.metavar or str(each.name).upper()
            if name in ("SELECT", *_CHOICES):
                found["takes"] = _CHOICES.get(name, name)
            continue
        option = {"help": each.help or ""} | ({} if each.is_flag else {"takes": _takes(each.metavar or "")})
        # `-C` comes before the command, and is looked for apart.
        found["options"] |= {name: option for name in sorted(each.opts) if name != "-C"}
    if hasattr(command, "commands"):
        found["commands"] = {name: _of(inner) for name, inner in command.commands.items()}
    return found


def _takes(metavar: str) -> str | list[str]:
    return metavar.split("|") if "|" in metavar else metavar
