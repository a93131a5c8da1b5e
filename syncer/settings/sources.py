"""Where settings are written: variables of the environment and of `.env`, files that hold secrets, `syncer.toml`.

Problems are collected as a mapping of a setting's label to what is wrong with it; the first one of a label stays.
"""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

PREFIX = "SYNCER_"

#: What Docker links and Kubernetes set in every container beside a service that is called `syncer`.
_OF_CONTAINERS = re.compile(r"SYNCER_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable with the prefix."""

    #: The name as written, and where, but for the environment.
    label: str
    #: Perhaps the text of a file that the variable names.
    value: str = field(repr=False)


def read_dotenv(path: Path, problems: dict[str, str]) -> dict[str, str]:
    """The variables that a `.env` file sets; none where there is no such file. `${X}` in a value stays as it is."""
    text = _read(path, problems)
    found = {}
    for line in parse_stream(io.StringIO(text or "")):
        if line.error:
            blank = len(line.original.string) - len(line.original.string.lstrip("\r\n"))
            problems.setdefault(f"{path.name} line {line.original.line + blank}", "expected NAME=VALUE")
        elif line.key is not None and line.value is not None:
            found[line.key] = line.value
    return found


def read_toml(path: Path, problems: dict[str, str]) -> dict[str, Any]:
    """What a TOML file holds; nothing where there is no such file."""
    try:
        return tomllib.loads(_read(path, problems) or "")
    except tomllib.TOMLDecodeError as error:
        problems.setdefault(path.name, f"is not TOML: {error}")
        return {}


def collect(
    environment: Mapping[str, str],
    folder: Path,
    may_be_file: Callable[[str], bool],
    problems: dict[str, str],
    *,
    origin: str = "",
) -> dict[str, Variable]:
    """The variables with the prefix, by their names in lower case; empty ones count as not set, but for `vars`.

    Shapes:
        may_be_file: whether a name may end in `_file` to name a file, from *folder*, with the value.
        origin: what labels say beside the name.
    """
    found: dict[str, Variable] = {}
    for written, value in environment.items():
        name, label = written.lower(), f"{written}{origin}"
        if not name.startswith(PREFIX.lower()) or _OF_CONTAINERS.fullmatch(written):
            continue
        if not value and not name.startswith(f"{PREFIX}VARS__".lower()):
            continue
        if name.endswith("_file") and may_be_file(name.removesuffix("_file")):
            name, value = name.removesuffix("_file"), _secret(folder / value, label, problems)
        if name in found:
            problems.setdefault(label, f"is set beside {found[name].label}; only one of the two may be")
        found[name] = Variable(label=label, value=value)
    return found


def _secret(path: Path, label: str, problems: dict[str, str]) -> str:
    text = _read(path, problems, label=label, required=True)
    if text is not None and not text.strip():
        problems.setdefault(label, "the file that it names is empty")
    return (text or "").rstrip("\r\n")


def _read(path: Path, problems: dict[str, str], *, label: str = "", required: bool = False) -> str | None:
    of_label = "the file that it names " if label else ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if required:
            problems.setdefault(label, f"{of_label}does not exist")
    except UnicodeDecodeError:
        problems.setdefault(label or path.name, f"{of_label}is not UTF-8 text")
    except (OSError, ValueError) as error:
        # The whole text of the error holds the path, which is the value of the setting.
        reason = error.strerror if isinstance(error, OSError) else "its name is not one"
        problems.setdefault(label or path.name, f"{of_label}cannot be read: {reason}")
    return None
