"""The project of a definition: its settings, and what `syncer validate` finds in texts that are not saved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from syncer.definitions import file as definition_file
from syncer.definitions import folder
from syncer.definitions.attribute_rules import AttributeRules
from syncer.definitions.folder import Loaded
from syncer.definitions.validation import Diagnostic, check_definitions, warnings
from syncer.model.attribute_rules import FILE_NAME
from syncer.model.errors import SettingsError
from syncer.model.importing import importing
from syncer.model.select_statement import dialect_of
from syncer.settings import registry
from syncer.settings import settings as all_settings
from syncer.settings.project_folder import project_folder
from syncer.settings.settings import Settings

#: What the settings are read from, beside the environment.
_SOURCES = ("syncer.toml", ".env")

#: Reads a file once while its text stays the same.
_parse = lru_cache(maxsize=2048)(definition_file.parse)


def folder_of(path: Path) -> Path | None:
    """The nearest folder above a definition that is a project, or else that of the working folder; None without one."""
    return project_folder(path.parent, {}) or project_folder(Path.cwd(), os.environ)


class EditedProject:
    """A project whose definitions an editor has open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamps: tuple[object, ...] = ()
        self._settings: Settings | SettingsError | None = None

    @property
    def settings(self) -> Settings:
        """The settings as they are now.

        Raises:
            SettingsError: they cannot be used.
        """
        stamps = tuple(_stamp(self.path / name) for name in _SOURCES)
        if self._settings is None or stamps != self._stamps:
            self._stamps = stamps
            try:
                self._settings = _load(self.path)
            except SettingsError as exc:
                self._settings = exc
        if isinstance(self._settings, SettingsError):
            raise self._settings.with_traceback(None)
        return self._settings

    def definition_path(self, path: Path) -> Path | None:
        """*path* as the definitions' folder has it; None if it is not in there.

        Raises:
            SettingsError: the settings cannot be used.
        """
        root = self.settings.definitions_dir
        real = Path(os.path.realpath(path.parent), path.name)
        try:
            inside = real.relative_to(os.path.realpath(root))
        except ValueError:
            return None
        is_hidden = any(part.startswith(".") for part in inside.parts)
        return None if is_hidden or path.suffix.lower() != ".sql" else root / inside

    def rules_path(self, path: Path) -> Path | None:
        """*path* as the definitions' folder has it, if it is `attributes.yml`; else None.

        Raises:
            SettingsError: the settings cannot be used.
        """
        root = self.settings.definitions_dir
        is_ours = path.name == FILE_NAME and os.path.realpath(path.parent) == os.path.realpath(root)
        return root / FILE_NAME if is_ours else None

    def writers(self) -> list[str]:
        """The syncs that may be named there, whatever is wrong with that file.

        Raises:
            SettingsError: the settings, or the folder, cannot be used.
        """
        loaded = self.load({self.settings.definitions_dir / FILE_NAME: b"{}"})
        return [one.name for one in loaded.definitions if AttributeRules.concern(one)]

    def load(self, unsaved: Mapping[Path, bytes]) -> Loaded:
        """The definitions, with what is not saved in the place of its files.

        Raises:
            SettingsError: the settings, or the folder, cannot be used.
        """
        settings = self.settings
        stores = settings.stores
        return folder.load(
            settings.definitions_dir,
            warehouses=settings.warehouses,
            stores=stores,
            replacing=[name for name, store in stores.items() if store.replaces_collections],
            unsaved=unsaved,
            parse=_parse,
        )

    def check(self, unsaved: Mapping[Path, bytes]) -> dict[Path, list[Diagnostic]]:
        """What `syncer validate` finds in each of these files.

        Raises:
            SettingsError: the settings, or the folder, cannot be used.
        """
        loaded = self.load(unsaved)
        chosen = [definition for definition in loaded.definitions if definition.path in unsaved]
        _, found = check_definitions(self.settings, chosen)
        diagnostics = {
            *found,
            *(Diagnostic.of_error(error) for error in loaded.errors),
            *warnings(self.settings, loaded.definitions, paths=unsaved, columns={}),
        }
        return {path: sorted(one for one in diagnostics if one.file == str(path)) for path in unsaved}


def check_alone(path: Path, data: bytes) -> list[Diagnostic]:
    """What is wrong with one file, whatever its project is."""
    return [Diagnostic.of_error(error) for error in _parse(path, data).errors]


def _load(path: Path) -> Settings:
    """The settings of a project, with what parses the SQL of its warehouses ready for any thread."""
    with importing:
        settings = all_settings.load(path, os.environ)
        for warehouse in settings.warehouses.values():
            dialect_of(registry.dialect(warehouse.url.get_secret_value()))
    return settings


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
