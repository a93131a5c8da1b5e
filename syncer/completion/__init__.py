"""What a shell shows when somebody presses Tab, found with next to no imports.

`words.json` has every command with its options; `python -m tests.docs` makes it from the real ones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from syncer.settings.project_folder import DEFINITIONS, project_folder

Words = Mapping[str, Any]

#: Bytes of a file in which its header is looked for.
_HEADER_BYTES = 4096

#: Of a command line, with its quotes, the last of which may not be closed yet.
_WORD = r"""(?:\\.|"[^"]*"?|'[^']*'?|[^\s"'])+"""

#: Where the folder of definitions may be set.
_NAMED = {
    ".env": r"(?im)^\s*(?:export\s+)?SYNCER_DEFINITIONS_DIR\s*=\s*(\S+)",
    "syncer.toml": r"(?m)^\s*definitions_dir\s*=\s*(\S+)",
}

_STATUSES = ("success", "warning", "failed", "held", "skipped", "interrupted")
_ENTITIES = ("person", "object", "relationship", "collection", "device")
_METHODS = ("tag:", "entity:", "warehouse:", "result:")


def completions(line: str) -> Iterator[tuple[str, str]]:
    """What the last word of a command line may become, and what each means.

    Shapes:
        line: up to the cursor, with the name of the program; the word to complete is empty after a blank.
    """
    words, current = _split(line)
    words, folder = _after_folder(words[1:])
    if folder is None:
        return
    known = _known()
    command, rest = _command(known, words)
    for value, does in _candidates(command, rest, current, folder):
        if value.startswith(current):
            yield value, does


def _known() -> Words:
    import json

    found: Words = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))
    return found


def _split(line: str) -> tuple[list[str], str]:
    """The words before the last one, and the last one, both without quotes."""
    words = [re.sub(r"""\\(.)|["']""", r"\1", word) for word in re.findall(_WORD, line)]
    return (words, "") if line[-1:].isspace() else (words[:-1], words[-1] if words else "")


def _after_folder(words: list[str]) -> tuple[list[str], Path | None]:
    """The words without `-C DIR`, and the folder to start in; None where that folder is being typed."""
    folder = Path()
    while words[:1] == ["-C"]:
        if len(words) == 1:
            return [], None
        folder, words = folder / words[1], words[2:]
    return words, folder


def _command(known: Words, words: list[str]) -> tuple[Words, list[str]]:
    """The command, or group of them, that the words name, and what follows its name."""
    words = [word for word in words if word not in known["options"]]
    while words and "commands" in known:
        known, words = known["commands"].get(words[0], {}), words[1:]
    return known, words


def _candidates(command: Words, words: list[str], current: str, folder: Path) -> Iterator[tuple[str, str]]:
    options = command.get("options", {})
    takes = options.get(words[-1], {}).get("takes") if words else None
    if takes is None and current.startswith("-"):
        yield from ((name, option["help"]) for name, option in options.items())
        return
    if takes is None:
        yield from ((name, each["help"]) for name, each in command.get("commands", {}).items())
        takes = command.get("takes")
    if takes == "SELECT":
        yield from _selectors(current, folder)
    elif takes == "SYNC":
        yield from _names(_syncs(folder))
    elif isinstance(takes, list):
        yield from ((choice, "") for choice in takes)


def _selectors(current: str, folder: Path) -> Iterator[tuple[str, str]]:
    method, colon, _ = current.partition(":")
    syncs = list(_syncs(folder))
    values: Mapping[str, Sequence[str]] = {
        "entity": _ENTITIES,
        "result": _STATUSES,
        "tag": sorted({tag for _, header in syncs for tag in _listed(header, "tags")}),
        "warehouse": sorted({name for _, header in syncs for name in _listed(header, "warehouse") or ["default"]}),
    }
    if colon:
        yield from ((f"{method}:{value}", "") for value in values.get(method, ()))
        return
    yield from _names(syncs)
    if current:
        yield from ((word, "") for word in _METHODS)


def _names(syncs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, header in sorted(syncs):
        yield name, next(iter(re.findall(r"(?m)^description:[ \t]*(.*)$", header)), "").strip("\"' ")


def _syncs(folder: Path) -> Iterator[tuple[str, str]]:
    """The name and the header of each sync, as far as they can be seen without reading YAML."""
    project = project_folder(folder, os.environ)
    if project is None:
        return
    for path in _definitions(project).rglob("*.sql"):
        try:
            with path.open("rb") as file:
                text = file.read(_HEADER_BYTES).decode("utf-8", "replace").lstrip("\ufeff")
        except OSError:
            continue
        header = text.partition("*/")[0] if text.startswith("/* sync") else ""
        names = _listed(header, "name")
        yield (names[0] if names else path.stem), header


def _definitions(project: Path) -> Path:
    """The folder of definitions, from the environment, `.env`, `syncer.toml` or the default."""
    if named := os.environ.get("SYNCER_DEFINITIONS_DIR"):
        return project / named
    for name, pattern in _NAMED.items():
        try:
            found = re.search(pattern, (project / name).read_text(encoding="utf-8-sig"))
        except (OSError, ValueError):
            continue
        if found:
            return project / found[1].strip("\"'")
    return project / DEFINITIONS


def _listed(header: str, field: str) -> list[str]:
    found = re.search(rf"(?m)^{field}:[ \t]*(.*)$", header)
    return [word.strip("\"' ") for word in found[1].strip("[] ").split(",") if word.strip("\"' ")] if found else []


def print_completions(line: str) -> None:
    """Print them, one a line: the word, a tab, and what it means."""
    print("".join(f"{value}\t{does}\n" for value, does in completions(line)), end="")
