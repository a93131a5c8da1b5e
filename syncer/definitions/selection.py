"""SELECT: the words of a command line that choose syncs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from syncer.model.errors import DefinitionError, SelectionError
from syncer.model.spelling import did_you_mean, listed, quoted
from syncer.model.types import Entity, RunStatus, SyncDefinition

_METHODS = ("tag", "entity", "warehouse", "result")


def select(
    words: Sequence[str],
    exclude: Sequence[str],
    definitions: Sequence[SyncDefinition],
    *,
    last_status: Mapping[str, RunStatus],
    broken: Mapping[str, DefinitionError],
) -> list[SyncDefinition]:
    """The definitions that any of *words* names and none of *exclude* does, by name.

    Shapes:
        words, exclude: names, globs, `tag:x`, `entity:x`, `warehouse:x`, `result:x`; no word names every definition.
        last_status: sync to how its last run ended; those that never ran are missing.
        broken: sync to what is wrong with its file.
    Raises:
        SelectionError: a word names nothing. `result:x` may name nothing, and so may a broken sync in *exclude*.
    """
    chosen = set() if words else {definition.name for definition in definitions}
    for word in words:
        if word in broken:
            raise SelectionError(
                f"the sync {quoted(word)} cannot be used: {broken[word]}", hint=broken[word].hint or "Mend its file."
            )
        chosen |= _named(word, definitions, last_status, broken)
    for word in exclude:
        chosen -= set() if word in broken else _named(word, definitions, last_status, broken)
    return sorted((definition for definition in definitions if definition.name in chosen), key=lambda sync: sync.name)


def _named(
    word: str,
    definitions: Sequence[SyncDefinition],
    last_status: Mapping[str, RunStatus],
    broken: Mapping[str, DefinitionError],
) -> set[str]:
    method, colon, value = word.partition(":")
    if colon:
        return _by_method(method, value, definitions, last_status)
    names = {definition.name for definition in definitions}
    if any(sign in word for sign in "*?["):
        matching = {name for name in names if fnmatchcase(name, word)}
        if not matching:
            raise SelectionError(f"no sync has a name like {quoted(word)}", hint="`syncer list` shows the syncs.")
        return matching
    if word not in names:
        raise SelectionError(
            f"there is no sync {quoted(word)}",
            hint=did_you_mean(word, names | broken.keys()) or "`syncer list` shows the syncs.",
        )
    return {word}


def _by_method(
    method: str, value: str, definitions: Sequence[SyncDefinition], last_status: Mapping[str, RunStatus]
) -> set[str]:
    values: Callable[[SyncDefinition], Sequence[str]]
    match method:
        case "tag":
            values, options = (lambda sync: sync.tags), {tag for sync in definitions for tag in sync.tags}
        case "warehouse":
            values, options = (lambda sync: (sync.warehouse,)), {sync.warehouse for sync in definitions}
        case "entity":
            values, options = (lambda sync: (sync.target.entity,)), set(Entity)
        case "result":
            values, options = (lambda sync: (last_status.get(sync.name, ""),)), set(RunStatus)
        case _:
            guess = did_you_mean(method, _METHODS, or_list=False)
            raise SelectionError(
                f"{quoted(method + ':' + value)} is not a way to select",
                hint=guess or f"Use a name, a glob, or {listed([f'{known}:…' for known in _METHODS])}.",
            )
    matching = {sync.name for sync in definitions if value in values(sync)}
    if value not in options or not (matching or method == "result"):
        raise SelectionError(f"no sync has the {method} {quoted(value)}", hint=did_you_mean(value, options))
    return matching
