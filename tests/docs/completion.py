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
from syncer.model.runs import LimitKind
from syncer.model.types import Hold

WORDS = Path(str(syncer.completion.__file__)).with_name("words.json")

#: What an argument may be, by its name in usage lines.
_CHOICES = {"SHELL": [*Shell], "TOPIC": [*topics.topics()]}

#: The same of options; some go on with a number.
_OF_OPTIONS = {"WHAT[=ROWS]": [*Hold, *(kind if kind is LimitKind.EMPTY else f"{kind}=" for kind in LimitKind)]}


def words() -> str:
    """The text of `words.json`."""
    return json.dumps(_of(PARSER), indent=1, ensure_ascii=False) + "\n"


def _of(command: Any, parent: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = {"help": (command.help or "").partition("\n")[0], "options": {}}
    # The names of the option for help come from the context above.
    context = command.make_context("", [], parent=parent, resilient_parsing=True)
    for each in command.get_params(context):
        if isinstance(each, TyperArgument):
            name = each.metavar or str(each.name).upper()
            if name in ("SELECT", *_CHOICES):
                found["takes"] = _CHOICES.get(name, name)
            continue
        option = {"help": each.help or ""} | ({} if each.is_flag else {"takes": _takes(each.metavar or "")})
        # `-C` comes before the command, and is looked for apart.
        found["options"] |= {name: option for name in sorted(each.opts) if name != "-C"}
    if hasattr(command, "commands"):
        found["commands"] = {name: _of(inner, context) for name, inner in command.commands.items()}
    return found


def _takes(metavar: str) -> str | list[str]:
    return _OF_OPTIONS.get(metavar) or (metavar.split("|") if "|" in metavar else metavar)
