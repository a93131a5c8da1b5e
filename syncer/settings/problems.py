"""What pydantic finds wrong with the settings, in words for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from syncer.model.spelling import closest
from syncer.settings.registry import GROUPS, OPTIONS
from syncer.settings.service import SECTIONS

#: The prefix of variables.
PREFIX = "SYNCER_"
TOML = "syncer.toml"

#: The settings that have no value, but settings of their own.
NESTED = (*GROUPS, *SECTIONS, "vars")


def no_setting(path: Sequence[str], fields: Collection[str]) -> str:
    """Why no variable has the name that is *path* in parts.

    Shapes:
        fields: the settings, by the first part of their names.
    """
    head, *rest = path
    if head in SECTIONS and not rest:
        return "is a group of settings, and has no value itself"
    if head in fields and not rest:
        return f"has no value itself; set {PREFIX}{head.upper()}__<NAME>{'__URL' if head in GROUPS else ''}"
    meant = closest(head, fields)
    if meant is None:
        return "is not a setting"
    whole = "__".join([meant, *rest]) if meant in NESTED else meant
    return f"is not a setting; did you mean {PREFIX}{whole.upper()}?"


def explained(
    error: ValidationError, labels: Mapping[str, str], table: Mapping[str, Any], fields: Collection[str]
) -> Iterator[tuple[str, str]]:
    """The label of each setting that is wrong, and why; never its value.

    Shapes:
        labels: the variables that are set, in lower case, to how people see them.
        table: what the TOML file says.
        fields: the settings, by the first part of their names.
    """
    for detail in error.errors(include_url=False, include_input=False):
        path = tuple(str(part) for part in detail["loc"] if part != "[key]")
        if path[2:3] == (OPTIONS,):
            path = path[:2] + path[3:]
        yield _label(path, labels, table), _text(detail, path, fields)


def _label(path: tuple[str, ...], labels: Mapping[str, str], table: Mapping[str, Any]) -> str:
    name = (PREFIX + "__".join(path)).lower()
    for written, label in labels.items():
        if written == name or written.startswith(f"{name}__"):
            return label
    found: Any = table
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return name.upper() if found is None else f"{TOML} {'.'.join(path)}"


def _text(detail: ErrorDetails, path: tuple[str, ...], fields: Collection[str]) -> str:
    match detail["type"]:
        case "missing":
            return "is not set"
        case "extra_forbidden":
            section, group = SECTIONS.get(path[0]), GROUPS.get(path[0])
            meant = closest(path[-1], group.names() if group else section.model_fields if section else fields)
            return f"is not a setting{f'; did you mean `{meant}`?' if meant else ''}"
        case "model_type" | "dict_type":
            return "is a group of settings, such as its `url`, and has no value itself"
        case _:
            from syncer.model.wrong_values import in_words

            return in_words(detail)
