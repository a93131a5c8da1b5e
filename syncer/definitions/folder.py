"""The folder of sync definitions: what it holds, what is wrong with it, and the order in which its syncs run."""

from __future__ import annotations

import heapq
import os
import stat
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from syncer.definitions import file as definition_file
from syncer.definitions.columns import error_at
from syncer.definitions.file import DefinitionFile
from syncer.definitions.yaml_header import FILE_LIMIT
from syncer.model.attribute_rules import FILE_NAME, MISNAMED
from syncer.model.errors import DefinitionError, SettingsError
from syncer.model.spelling import did_you_mean, listed, quoted
from syncer.model.types import SyncDefinition

if TYPE_CHECKING:
    from syncer.definitions.attribute_rules import AttributeRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a folder holds."""

    #: By name; those whose file has no error.
    definitions: tuple[SyncDefinition, ...]
    #: By path and line; a file may have several.
    errors: tuple[DefinitionError, ...]
    #: The names of syncs that are left out, each to its file's first error.
    broken: Mapping[str, DefinitionError]


def load(
    folder: Path,
    *,
    warehouses: Collection[str],
    stores: Collection[str],
    replacing: Collection[str] = (),
    unsaved: Mapping[Path, bytes] = MappingProxyType({}),
    parse: Callable[[Path, bytes], DefinitionFile] = definition_file.parse,
) -> Loaded:
    """Read every `.sql` file in *folder* and below; a broken file does not affect the others.

    Hidden files and folders are ignored, and so are links to folders inside *folder*.

    Shapes:
        warehouses, stores: the names of the connections that a definition may use.
        replacing: those of stores that replace a collection as a whole.
        unsaved: what counts in the place of a file's bytes, or as a file that is not there yet; paths as *folder* has
            them.
        parse: `file.parse`, or one that remembers what it read.
    Raises:
        SettingsError: there is no such folder, or it cannot be read.
    """
    if not _is_folder(folder):
        raise SettingsError(
            f"there is no folder of sync definitions at {folder}",
            hint="Create one with `syncer init`, or set SYNCER_DEFINITIONS_DIR to yours.",
        )
    errors: list[DefinitionError] = []
    files = [parse(path, unsaved.get(path, data)) for path, data in _contents(folder, errors)]
    saved = {file.path for file in files}
    files += [parse(path, data) for path, data in unsaved.items() if path not in saved and path.name != FILE_NAME]
    rules = _attribute_rules(folder, files, unsaved.get(folder / FILE_NAME))
    errors += [error for file in files for error in file.errors]
    errors += _name_clashes(files)
    errors += _unknown_connections(files, warehouses, stores)
    errors += _shared_collections(files, replacing)
    errors += _unknown_dependencies(files)
    errors += _cycles(files)
    errors += rules.errors if rules else ()
    errors.sort(key=lambda error: (error.path, error.line))
    faults: dict[Path, DefinitionError] = {}
    for error in errors:
        faults.setdefault(error.path, error)
    good = [file.definition for file in files if file.definition is not None and file.path not in faults]
    good.sort(key=lambda definition: definition.name)
    broken = {file.name: faults[file.path] for file in files if file.path in faults}
    if rules is not None and rules.errors:
        # Without its rules a sync might write over what counts more.
        broken |= {one.name: rules.errors[0] for one in good if rules.concern(one)}
        good = [one for one in good if one.name not in broken]
    elif rules is not None:
        good = [rules.applied(one) for one in good]
    return Loaded(definitions=tuple(good), errors=tuple(errors), broken=broken)


def _attribute_rules(folder: Path, files: Sequence[DefinitionFile], unsaved: bytes | None) -> AttributeRules | None:
    """What the folder's `attributes.yml` says, or what is not saved in its place; None where there is none."""
    path, misnamed = folder / FILE_NAME, folder / MISNAMED
    if unsaved is None and not (os.path.lexists(path) or misnamed.exists()):
        return None
    from syncer.definitions import attribute_rules

    errors: list[DefinitionError] = []
    if misnamed.exists():
        message = f"this file does nothing: its name is `{MISNAMED}`, and not `{FILE_NAME}`"
        errors.append(DefinitionError(message, path=misnamed, hint="Rename it."))
        path = misnamed
    if _is_link_outside(path, folder.resolve()):
        errors.append(_outside(path))
    data = unsaved
    if data is None or errors:
        data = next((data for _, data in _read_files([path], errors)), b"")
    found = attribute_rules.read(path, data, files)
    return replace(found, rules={}, errors=tuple(errors)) if errors else found


class DefinitionFiles:
    """The files of a folder, to look for single syncs; each file is read once while it does not change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> DefinitionFile | None:
        """The file of one sync, with its errors; None if there is none.

        Raises:
            SettingsError: the folder cannot be read.
        """
        # A file is seldom called otherwise than its sync.
        paths = sorted(self._paths, key=lambda path: path.stem != name)
        return next((file for path in paths if (file := _read(path)) is not None and file.name == name), None)

    @cached_property
    def _paths(self) -> list[Path]:
        return list(_paths(self._folder, []))


def _read(path: Path) -> DefinitionFile | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return _parsed(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4096)
def _parsed(path: Path, changed_at: int, size: int) -> DefinitionFile | None:
    try:
        return definition_file.parse(path, path.read_bytes()) if 0 < size <= FILE_LIMIT else None
    except OSError:
        return None


def in_dependency_order(selected: Sequence[SyncDefinition]) -> list[SyncDefinition]:
    """The same definitions in the order in which one `run` takes them.

    What a definition depends on goes first, as far as it is selected; else people, objects, relationships,
    collections, each by name; and of syncs that write one attribute, the one whose value counts most. Definitions that
    depend on each other are left out: `load` accepts none, but a service may still use an older form of a broken file.
    """
    by_name = {definition.name: definition for definition in selected}
    sorter = TopologicalSorter(
        {
            name: by_name.keys() & {*one.depends_on, *(one.yields_to if one.rules else ())}
            for name, one in by_name.items()
        }
    )
    try:
        sorter.prepare()
    except CycleError:
        # Each may count more of some attribute.
        sorter = TopologicalSorter({name: by_name.keys() & one.depends_on for name, one in by_name.items()})
        with suppress(CycleError):
            sorter.prepare()
    ready: list[tuple[int, str]] = []
    ordered: list[SyncDefinition] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, (by_name[name].target.order, name))
        _, first = heapq.heappop(ready)
        ordered.append(by_name[first])
        sorter.done(first)
    return ordered


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as exc:
        raise _unreadable(path, exc) from None


def _unreadable(folder: Path, exc: OSError) -> SettingsError:
    return SettingsError(
        f"the folder of sync definitions at {folder} cannot be read: {exc.strerror}",
        hint="Check that this user may read it, and how many files this process may open.",
    )


def _contents(folder: Path, errors: list[DefinitionError]) -> Iterator[tuple[Path, bytes]]:
    """Each definition's path and bytes, at most one byte more than may be read."""
    yield from _read_files(_paths(folder, errors), errors)


def _read_files(paths: Iterable[Path], errors: list[DefinitionError]) -> Iterator[tuple[Path, bytes]]:
    for path in paths:
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise OSError("it is not a regular file")
            with path.open("rb") as file:
                yield path, file.read(FILE_LIMIT + 1)
        except OSError as exc:
            errors.append(DefinitionError(f"the file cannot be read: {exc.strerror or exc}", path=path))


def _paths(folder: Path, errors: list[DefinitionError]) -> Iterator[Path]:
    root = folder.resolve()

    def unreadable(exc: OSError) -> None:
        if Path(str(exc.filename)) == folder:
            raise _unreadable(folder, exc)
        errors.append(DefinitionError(f"the folder cannot be read: {exc.strerror}", path=Path(str(exc.filename))))

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = sorted(name for name in names if name.lower().endswith(".sql") and not name.startswith("."))
        for path in (Path(parent, name) for name in (*folders, *files)):
            if _is_link_outside(path, root):
                errors.append(_outside(path))
            elif path.name in files:
                yield path


def _is_link_outside(path: Path, root: Path) -> bool:
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root)


def _outside(path: Path) -> DefinitionError:
    message = "this link points outside the folder of sync definitions"
    return DefinitionError(message, path=path, hint="Put a copy of the file here.")


def _name_clashes(files: Sequence[DefinitionFile]) -> Iterator[DefinitionError]:
    by_name: dict[str, list[DefinitionFile]] = defaultdict(list)
    for file in files:
        by_name[file.name.casefold()].append(file)
    for same in by_name.values():
        for file in same if len(same) > 1 else ():
            others = " and ".join(f"`{other.path}`" for other in same if other is not file)
            yield DefinitionError(
                f"the name {quoted(file.name)} is used twice, also by {others}",
                path=file.path,
                line=file.name_line,
                hint="Give each sync its own `name`; names that differ only by case are the same.",
            )


def _unknown_connections(
    files: Sequence[DefinitionFile], warehouses: Collection[str], stores: Collection[str]
) -> Iterator[DefinitionError]:
    for definition in _definitions(files):
        for kind, name, known in (("warehouse", definition.warehouse, warehouses), ("store", definition.store, stores)):
            if name not in known:
                setting = f"Set {quoted(f'SYNCER_{kind.upper()}S__{name.upper()}__URL')} to add one."
                hint = did_you_mean(name, known) or setting
                yield error_at(definition, kind, f"no {kind} is called {quoted(name)}", hint)


def _shared_collections(files: Sequence[DefinitionFile], replacing: Collection[str]) -> Iterator[DefinitionError]:
    feeding: dict[tuple[str, str], list[SyncDefinition]] = defaultdict(list)
    for definition in _definitions(files):
        if definition.target.collection is not None and definition.enabled and definition.store in replacing:
            feeding[definition.store, definition.target.collection].append(definition)
    for (store, collection), same in feeding.items():
        for definition in same if len(same) > 1 else ():
            others = listed([other.name for other in same if other is not definition], last="and")
            message = (
                f"the collection {quoted(collection)} is fed by {others} too, and the store {quoted(store)} replaces a "
                "collection as a whole: each sync would remove the rows of the other"
            )
            hint = "Let one query return the rows of both, with UNION ALL, or give each sync a collection of its own."
            yield error_at(definition, "collection", message, hint)


def _unknown_dependencies(files: Sequence[DefinitionFile]) -> Iterator[DefinitionError]:
    names = {file.name for file in files}
    for definition in _definitions(files):
        for name in definition.depends_on:
            if name not in names:
                message = f"`depends_on` names {quoted(name)}, but there is no such sync"
                hint = did_you_mean(name, names - {definition.name})
                yield error_at(definition, f"depends_on.{name}", message, hint)


def _cycles(files: Sequence[DefinitionFile]) -> Iterator[DefinitionError]:
    definitions = {definition.name: definition for definition in _definitions(files)}
    for name, definition in definitions.items():
        cycle = _way_back(name, definitions)
        if cycle:
            message = f"the dependencies form a circle: {' → '.join(cycle)}"
            yield error_at(definition, f"depends_on.{cycle[1]}", message, "Remove one of these dependencies.")


def _way_back(start: str, definitions: Mapping[str, SyncDefinition]) -> list[str]:
    """The shortest way along `depends_on` from *start* to itself; empty if there is none."""
    ways, seen = deque([[start]]), set[str]()
    while ways:
        way = ways.popleft()
        for following in definitions[way[-1]].depends_on if way[-1] in definitions else ():
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []


def _definitions(files: Iterable[DefinitionFile]) -> Iterator[SyncDefinition]:
    return (file.definition for file in files if file.definition is not None)
