"""What a command works on: the settings of the working folder, its definitions and its run log."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from syncer.cli import output
from syncer.model.errors import DefinitionError, SelectionError

if TYPE_CHECKING:
    from syncer.definitions.folder import Loaded
    from syncer.model.types import SyncDefinition
    from syncer.settings.settings import Settings
    from syncer.state.database import StateDatabase
    from syncer.state.runs import RunLog
    from syncer.sync.runner import Runner


def now() -> datetime:
    """Aware UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """What the words of a command line name."""

    #: By name.
    definitions: tuple[SyncDefinition, ...]
    #: The names of syncs whose files cannot be used; also those that may be meant.
    broken: frozenset[str]
    #: What is wrong with their files.
    errors: tuple[DefinitionError, ...]


class Project:
    """The working folder; every part is opened when it is first asked for."""

    @cached_property
    def settings(self) -> Settings:
        """The settings, checked."""
        from syncer.settings import settings

        return settings.load(Path(), os.environ)

    @cached_property
    def loaded(self) -> Loaded:
        """The definitions, good and broken."""
        from syncer.definitions import folder

        return folder.load(
            self.settings.definitions_dir, warehouses=self.settings.warehouses, stores=self.settings.stores
        )

    @cached_property
    def run_log(self) -> RunLog:
        """The run log."""
        from syncer.state.runs import RunLog

        return RunLog(self.database)

    @cached_property
    def runner(self) -> Runner:
        """What runs and plans syncs."""
        from syncer.sync.runner import Runner

        return Runner(settings=self.settings, run_log=self.run_log, now=now)

    @cached_property
    def database(self) -> StateDatabase:
        """Where the run log is kept."""
        from syncer.settings.settings import make_state_dir
        from syncer.state.database import StateDatabase

        make_state_dir(self.settings)
        return StateDatabase(self.settings.database_url.get_secret_value())

    def select(self, words: Sequence[str], exclude: Sequence[str] = ()) -> Selected:
        """The syncs that *words* name and *exclude* does not; no word names every sync.

        Raises:
            SelectionError: a word names nothing.
        """
        from syncer.definitions import selection

        loaded = self.loaded
        broken = {name for name in loaded.broken if not words or any(_may_mean(word, name) for word in words)}
        broken -= {name for name in broken if any(fnmatchcase(name, word) for word in exclude)}
        paths = {loaded.broken[name].path for name in broken}
        usable = [word for word in words if not _only_broken(word, loaded)]
        asks_results = any(word.startswith("result:") for word in (*words, *exclude))
        chosen = (
            selection.select(
                usable,
                [word for word in exclude if not _only_broken(word, loaded)],
                loaded.definitions,
                last_status=self.run_log.last_status() if asks_results else {},
                broken=loaded.broken,
            )
            if usable or not words
            else []
        )
        return Selected(
            definitions=tuple(chosen),
            broken=frozenset(broken),
            errors=tuple(error for error in loaded.errors if not words or error.path in paths),
        )

    def known_name(self, name: str) -> str:
        """*name*, where a sync is or once was called so.

        Raises:
            SelectionError: none was.
        """
        from syncer.model.spelling import did_you_mean, quoted

        if self.run_log.recent(name, 1):
            return name
        names = {definition.name for definition in self.loaded.definitions} | self.loaded.broken.keys()
        if name in names:
            return name
        raise SelectionError(
            f"there is no sync {quoted(name)}", hint=did_you_mean(name, names) or "`syncer list` shows the syncs."
        )


def print_definition_errors(errors: Iterable[DefinitionError]) -> None:
    """Tell of errors in files, in the form that editors find the line by."""
    for error in errors:
        output.problem("error", str(error), error.hint)


def _may_mean(word: str, name: str) -> bool:
    """Whether *word* selects a sync called *name*, or cannot be asked, as its file cannot be read."""
    return ":" in word or fnmatchcase(name, word)


def _only_broken(word: str, loaded: Loaded) -> bool:
    if ":" in word:
        return False
    return any(fnmatchcase(name, word) for name in loaded.broken) and not any(
        fnmatchcase(definition.name, word) for definition in loaded.definitions
    )
