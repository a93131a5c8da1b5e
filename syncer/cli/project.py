"""What a command works on: the settings of the working folder, the syncs that are selected, and the run log."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from syncer.cli import output
from syncer.cli.exit_codes import UNUSABLE
from syncer.model.errors import DefinitionError, SelectionError, SettingsError
from syncer.model.spelling import did_you_mean, listed, quoted
from syncer.model.types import Entity, RunStatus, SyncDefinition

if TYPE_CHECKING:
    from syncer.definitions.folder import Loaded
    from syncer.settings.settings import Settings
    from syncer.state.database import StateDatabase
    from syncer.state.runs import RunLog
    from syncer.sync.runner import Runner

_METHODS = ("tag", "entity", "warehouse", "result")


def now() -> datetime:
    """Aware UTC."""
    return datetime.now(UTC)


def user() -> str:
    """Who gives the command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # Such as in a container, for a user without a name.
        return "the command line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The syncs that the words of a command line name."""

    #: By name.
    definitions: tuple[SyncDefinition, ...]
    #: The names of syncs with broken files that the words name, or may name.
    broken: frozenset[str]
    #: What is wrong with their files.
    errors: tuple[DefinitionError, ...]

    @classmethod
    def none(cls) -> Selected:
        """Nothing at all."""
        return cls(definitions=(), broken=frozenset(), errors=())


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedNames:
    """The names of syncs that the words of a command line name, also of those whose files are broken or gone."""

    names: tuple[str, ...]
    #: The exit code if all goes well: another than 0 if a broken file may have been meant as well.
    code: int


class Project:
    """The project that the working folder is in; each part is opened on first use, from the project's folder."""

    @cached_property
    def settings(self) -> Settings:
        """Its settings; the project's folder becomes the working folder.

        Raises:
            SettingsError: they cannot be used, or there is no project.
        """
        from syncer.settings import settings
        from syncer.settings.project_folder import project_folder

        folder = project_folder(Path(), os.environ)
        if folder is None:
            raise SettingsError(
                f"{Path.cwd()} is in no project: "
                "neither it nor a folder above has `syncer.toml` or `sync_definitions/`",
                hint="`syncer init` writes a project here; `syncer -C DIR …` works on the one in another folder.",
            )
        os.chdir(folder)
        return settings.load(Path(), os.environ)

    @cached_property
    def loaded(self) -> Loaded:
        """The definitions, good and broken, as they were on first use."""
        return self.load()

    def load(self) -> Loaded:
        """Read the definitions now."""
        from syncer.definitions import folder

        stores = self.settings.stores
        return folder.load(
            self.settings.definitions_dir,
            warehouses=self.settings.warehouses,
            stores=stores,
            replacing=[name for name, store in stores.items() if store.replaces_collections],
        )

    @cached_property
    def run_log(self) -> RunLog:
        from syncer.state.runs import RunLog

        return RunLog(self.database)

    @cached_property
    def runner(self) -> Runner:
        from syncer.model import memory
        from syncer.sync.runner import Runner

        memory.PROCESS.divide(self.settings.memory_bytes, runs=1)
        return Runner(settings=self.settings, run_log=self.run_log, now=now)

    @cached_property
    def database(self) -> StateDatabase:
        from syncer.settings.state_modes import make_state_dir
        from syncer.state.database import StateDatabase

        os.umask(make_state_dir(self.settings))
        return StateDatabase(self.settings.database_url.get_secret_value())

    def select(self, words: Sequence[str], exclude: Sequence[str] = ()) -> Selected:
        """The syncs that any of *words* names and none of *exclude* does; see `select`."""
        return select(self.loaded, words, exclude, last_status=lambda: self.run_log.last_status())

    def names(self, words: Sequence[str], exclude: Sequence[str] = (), *, to: str = "") -> SelectedNames:
        """The syncs that *words* name, also if their files are broken, or gone and the run log knows them.

        Shapes:
            words: as for `select`.
            to: what is to be done with them, if the command does not do it with every sync.
        Raises:
            SelectionError: a word names nothing; or there is none, and the command needs one.
        """
        if to and not words:
            raise SelectionError(
                "nothing is selected", hint=f"Name the syncs to {to}, such as `syncer {to} customers`."
            )
        remembered = {word for word in words if self.run_log.recent(word, 1)}
        if words and not exclude and remembered.issuperset(words):
            return SelectedNames(names=tuple(sorted(remembered)), code=0)
        gone = remembered.difference((each.name for each in self.loaded.definitions), self.loaded.broken)
        others = [word for word in words if word not in gone]
        found = self.select(others, exclude) if others or not words else Selected.none()
        # A word such as `tag:x` may mean a broken file or not, as its header cannot be read.
        broken = {name for name in found.broken if not words or any(fnmatchcase(name, word) for word in words)}
        unknown = [self.loaded.broken[name] for name in sorted(found.broken - broken)]
        print_definition_errors(unknown)
        names = {definition.name for definition in found.definitions} | broken | gone
        return SelectedNames(names=tuple(sorted(names)), code=UNUSABLE if unknown else 0)


def print_definition_errors(errors: Iterable[DefinitionError]) -> None:
    """Print the errors of files, in the form by which editors find the line."""
    for error in errors:
        output.problem("error", str(error), error.hint)


def select(
    loaded: Loaded, words: Sequence[str], exclude: Sequence[str], *, last_status: Callable[[], Mapping[str, RunStatus]]
) -> Selected:
    """The syncs that any of *words* names and none of *exclude* does; without words, every sync.

    Shapes:
        words, exclude: names, globs, `tag:x`, `entity:x`, `warehouse:x`, `result:x`.
        last_status: sync to how its last run ended; those that never ran are missing.
    Raises:
        SelectionError: a word names nothing. `result:x` may name nothing.
    """
    chosen, taken_out = (_all_named(loaded, each, last_status) for each in (words, exclude))
    # The header of a broken file is not known: it may have any tag.
    broken = {
        name for name in loaded.broken if not words or any(":" in word or fnmatchcase(name, word) for word in words)
    }
    broken = {name for name in broken if not any(fnmatchcase(name, word) for word in exclude)}
    paths = {loaded.broken[name].path for name in broken}
    return Selected(
        definitions=tuple(
            sync for sync in loaded.definitions if (not words or sync.name in chosen) and sync.name not in taken_out
        ),
        broken=frozenset(broken),
        errors=tuple(error for error in loaded.errors if not words or error.path in paths),
    )


def _all_named(loaded: Loaded, words: Sequence[str], last_status: Callable[[], Mapping[str, RunStatus]]) -> set[str]:
    """The names of the syncs without errors that *words* name."""
    found: set[str] = set()
    for word in words:
        method, colon, value = word.partition(":")
        found |= _by_method(loaded, method, value, last_status) if colon else _by_name(loaded, word)
    return found


def _by_name(loaded: Loaded, word: str) -> set[str]:
    names = {sync.name for sync in loaded.definitions}
    matching = {name for name in names if fnmatchcase(name, word)}
    if not matching and not any(fnmatchcase(name, word) for name in loaded.broken):
        raise _unknown(word, names | loaded.broken.keys())
    return matching


def _by_method(loaded: Loaded, method: str, value: str, last_status: Callable[[], Mapping[str, RunStatus]]) -> set[str]:
    syncs = loaded.definitions
    match method:
        case "tag":
            values = {sync.name: sync.tags for sync in syncs}
        case "warehouse":
            values = {sync.name: (sync.warehouse,) for sync in syncs}
        case "entity":
            values = {sync.name: (str(sync.target.entity),) for sync in syncs}
        case "result":
            values = {name: (str(status),) for name, status in last_status().items()}
        case _:
            raise SelectionError(
                f"{quoted(method + ':' + value)} is not a valid selection",
                hint=did_you_mean(method, _METHODS, or_list=False)
                or f"Use a name, a glob, or {listed([f'{known}:…' for known in _METHODS])}.",
            )
    options = {"entity": set(map(str, Entity)), "result": set(map(str, RunStatus))}.get(
        method, {each for found in values.values() for each in found}
    )
    matching = {sync.name for sync in syncs if value in values.get(sync.name, ())}
    if value not in options or not (matching or method == "result"):
        raise SelectionError(f"no sync has the {method} {quoted(value)}", hint=did_you_mean(value, options))
    return matching


def _unknown(name: str, names: Collection[str]) -> SelectionError:
    text = (
        f"no sync has a name like {quoted(name)}"
        if any(sign in name for sign in "*?[")
        else f"there is no sync {quoted(name)}"
    )
    return SelectionError(text, hint=did_you_mean(name, names) or "`syncer list` shows the syncs.")
