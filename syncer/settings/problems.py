"""What pydantic finds wrong with the settings, in words for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from syncer.model.spelling import closest
from syncer.settings.registry import GROUPS, OPTIONS, ConnectionSettings
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
    error: ValidationError, labels: Mapping[str, str], table: Mapping[str, Any], settings: type[BaseModel]
) -> Iterator[tuple[str, str]]:
    """The label of each setting that is wrong, and why; never its value.

    Shapes:
        labels: the variables that are set, in lower case, to how people see them.
        table: what the TOML file says.
        settings: every setting, and those that are groups of others.
    """
    for detail in error.errors(include_url=False, include_input=False):
        path = tuple(str(part) for part in detail["loc"] if part != "[key]")
        if path[2:3] == (OPTIONS,):
            path = path[:2] + path[3:]
        label = _label(path, labels, table)
        if label.upper().startswith(f"{_variable(path)}__") and not _names(path, settings):
            yield label, f"is not a setting; did you mean {_variable(path)}?"
        else:
            yield label, _text(detail, path, settings, is_variable=not label.startswith(TOML))


def _label(path: tuple[str, ...], labels: Mapping[str, str], table: Mapping[str, Any]) -> str:
    name = _variable(path).lower()
    for written, label in labels.items():
        if written == name or written.startswith(f"{name}__"):
            return label
    found: Any = table
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return name.upper() if found is None else f"{TOML} {'.'.join(path)}"


def _text(detail: ErrorDetails, path: tuple[str, ...], settings: type[BaseModel], *, is_variable: bool) -> str:
    match detail["type"]:
        case "missing":
            return "is not set"
        case "extra_forbidden":
            meant = closest(path[-1], _names(path[:-1], settings))
            whole = meant and (_variable((*path[:-1], meant)) if is_variable else f"`{meant}`")
            return f"is not a setting{f'; did you mean {whole}?' if whole else ''}"
        case "model_type" | "dict_type":
            example = next(iter(_names(path, settings)), "")
            return f"is a group of settings,{f' such as its `{example}`,' if example else ''} and has no value itself"
        case _:
            from syncer.model.wrong_values import in_words

            return in_words(detail)


def _variable(path: Sequence[str]) -> str:
    return (PREFIX + "__".join(path)).upper()


def _names(path: Sequence[str], kind: Any) -> Sequence[str]:
    """The settings directly below *path*, in a group of the type *kind*."""
    if get_origin(kind) is UnionType:
        return _names(path, get_args(kind)[0])
    if get_origin(kind) is dict:
        return _names(path[1:], get_args(kind)[1]) if path else ()
    if not isinstance(kind, type) or not issubclass(kind, BaseModel):
        return ()
    if not path:
        own = [*kind.model_fields]
        return [*own, *sorted(kind.names().difference(own))] if issubclass(kind, ConnectionSettings) else own
    found = kind.model_fields.get(path[0])
    return () if found is None else _names(path[1:], found.annotation)
