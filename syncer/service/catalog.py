"""The definitions in force: the folder's newest, and of a file that is broken now, its last valid one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from syncer.definitions.folder import Loaded
from syncer.model.errors import DefinitionError, SelectionError, SyncerError
from syncer.model.spelling import did_you_mean, quoted
from syncer.model.types import SyncDefinition

log = logging.getLogger(__name__)

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionSet:
    """What was in force at one moment."""

    #: By name.
    definitions: Mapping[str, SyncDefinition] = field(default_factory=dict)
    #: What is wrong with the files now, by path and line.
    errors: tuple[DefinitionError, ...] = ()
    #: The names of syncs that are in force as they were before their file broke, each to its file's first error.
    outdated: Mapping[str, DefinitionError] = field(default_factory=dict)
    #: What is wrong with the folder as a whole; then everything is as it was before. Empty where nothing is.
    folder_error: str = ""
    #: Since when these definitions are in force, and when they were last compared with the folder, aware UTC.
    since: datetime = _NEVER
    compared_at: datetime = _NEVER


class Catalog:
    """The definitions of a folder that is edited while the service runs; may be used by several threads."""

    def __init__(self, load: Callable[[], Loaded], *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Nothing is read yet; *load* reads the folder, and *now* gives aware UTC."""
        self._load, self._now = load, now
        self._lock = threading.Lock()
        self._current = DefinitionSet()

    @property
    def current(self) -> DefinitionSet:
        """What is in force now."""
        return self._current

    def get(self, name: str) -> SyncDefinition | None:
        """The definition of that name in force."""
        return self._current.definitions.get(name)

    def find(self, name: str) -> SyncDefinition:
        """The definition of that name in force.

        Raises:
            SelectionError: there is none.
        """
        found = self.get(name)
        if found is None:
            raise SelectionError(f"there is no sync {quoted(name)}", hint=did_you_mean(name, self._current.definitions))
        return found

    def open(self) -> None:
        """Read the folder for the first time.

        Raises:
            SyncerError: it cannot be read; nothing is in force.
        """
        self._current = _definition_set(DefinitionSet(), self._load(), self._now())
        _log_errors(DefinitionSet(), self._current)

    def reload(self) -> frozenset[str]:
        """Read the folder; returns the syncs that were added, changed or removed.

        A file counts as a whole or not at all; of a broken one the last valid version stays, and so does that of each
        file in a folder that cannot be read.
        """
        with self._lock:
            before = self._current
            try:
                loaded = self._load()
            except SyncerError as exc:
                if str(exc) != before.folder_error:
                    log.error("the definitions cannot be read: %s", exc)
                self._current = replace(before, folder_error=str(exc))
                return frozenset()
            self._current = _definition_set(before, loaded, self._now())
            _log_errors(before, self._current)
            old, new = before.definitions, self._current.definitions
            return frozenset(name for name in {*old, *new} if old.get(name) != new.get(name))


def _definition_set(before: DefinitionSet, loaded: Loaded, now: datetime) -> DefinitionSet:
    definitions = {definition.name: definition for definition in loaded.definitions}
    faults: dict[Path, DefinitionError] = {}
    for error in loaded.errors:
        faults.setdefault(error.path, error)
    outdated = {}
    for name, definition in before.definitions.items():
        # A folder that cannot be listed is the fault of all files below it.
        fault = next((faults[path] for path in (definition.path, *definition.path.parents) if path in faults), None)
        # The fault may be that of the rules for its attributes.
        fault = fault or loaded.broken.get(name)
        if fault is not None and name not in definitions:
            definitions[name] = definition
            outdated[name] = fault
    return DefinitionSet(
        definitions=MappingProxyType(dict(sorted(definitions.items()))),
        errors=loaded.errors,
        outdated=MappingProxyType(outdated),
        since=now if before.since is _NEVER or definitions != before.definitions else before.since,
        compared_at=now,
    )


def _log_errors(before: DefinitionSet, now: DefinitionSet) -> None:
    known = {str(error) for error in before.errors}
    for error in now.errors:
        if str(error) not in known:
            log.error("a definition cannot be used: %s", error)
    if before.folder_error or (before.errors and not now.errors):
        log.info("the definitions can be read again", extra={"errors": len(now.errors)})
