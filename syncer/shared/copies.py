"""A machine's own copy of a shared snapshot: the file that runs work in, and which of the objects it is made of.

Beside the file of a snapshot lies `NAME.duckdb.shared`: the objects that the copy has, and what both files were like
then. What this machine wrote later is its own: it counts while these objects are the current ones, and is undone where
another machine has put others since.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from syncer.model.errors import SnapshotError
from syncer.model.temporary_folders import temporary_folder
from syncer.shared import patches
from syncer.shared.patches import Image, image_of
from syncer.shared.places import Place
from syncer.snapshot.file import delete, shared_mark
from syncer.snapshot.reservations import reserved
from syncer.state.pointers import Pointer

#: Between the digest of a base and what its name ends with.
BASE = ".base.zst"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a copy is made of."""

    place: str
    #: The names of base and deltas.
    objects: tuple[str, ...]
    #: The copy with these objects, and nothing later.
    shared: Image
    #: As this machine left it, where its database has changed since.
    local: Image | None = None
    #: The object of each other file of the sync that was fetched or put, and when the file was written last.
    files: Mapping[str, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Copy:
    """The copy of one sync's snapshot."""

    path: Path
    sync: str

    @property
    def log(self) -> Path:
        """DuckDB's write-ahead log."""
        return self.path.with_name(f"{self.path.name}.wal")

    @property
    def _memory(self) -> Path:
        return shared_mark(self.path)

    def known(self) -> Known | None:
        """What it is made of; None where that is not known."""
        try:
            first, _, digests = self._memory.read_bytes().partition(b"\n")
            found: dict[str, Any] = json.loads(first)
            length = found["shared"].pop("digests")
            images = {"shared": Image(**found["shared"], digests=digests[:length])}
            if found["local"]:
                images["local"] = Image(**{**found["local"], "digests": digests[length:]})
            files = {name: (object_name, at) for name, (object_name, at) in found["files"].items()}
            return Known(place=found["place"], objects=tuple(found["objects"]), files=files, **images)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, known: Known) -> None:
        """Write down what it is made of."""
        shared, local = asdict(known.shared), known.local and asdict(known.local)
        digests = shared["digests"] + (local["digests"] if local else b"")
        described = {
            "place": known.place,
            "objects": known.objects,
            "files": dict(known.files),
            "shared": shared | {"digests": len(shared["digests"])},
            "local": local and local | {"digests": None},
        }
        new = self._memory.with_name(f"{self._memory.name}.new")
        new.write_bytes(json.dumps(described).encode() + b"\n" + digests)
        new.replace(self._memory)

    def forget(self) -> None:
        """Let it be a file of this machine alone."""
        self._memory.unlink(missing_ok=True)

    def leave(self, log_id: str) -> None:
        """Delete the copy, as there is nothing any more of which it is one; a file of this machine's own stays.

        So does one whose objects another run log had: it is all that is left of them.

        Raises:
            RunInProgressError: this machine has the file open.
        """
        if (known := self.known()) is None:
            return
        if known.objects and known.objects[0].startswith(f"{log_id}/"):
            delete(self.path, self.sync)
        else:
            self.forget()

    def follow(self, pointer: Pointer, place: Place) -> Known:
        """Make the copy what is current; what this machine wrote stays if nothing was put since.

        Raises:
            RunInProgressError: this machine has the file open.
            PlaceError: an object cannot be fetched; the next call begins anew.
            SnapshotError: an object is damaged.
        """
        patches.refuse_newer(pointer.format)
        with reserved(self.path, sync=self.sync) as database:
            known = self._usable(pointer, database)
            objects = tuple(one.name for one in pointer.objects)
            if known is None or known.objects != objects:
                known = self._fetched(known, objects, place, database)
            files = self.fetched_files(known.files, pointer, place)
            self.remember(replace(known, files=files))
            return replace(known, files=files)

    def _usable(self, pointer: Pointer, database: int) -> Known | None:
        """What the copy is made of, where the current objects begin with that, and its files are as they were left."""
        known, names = self.known(), [one.name for one in pointer.objects]
        if known is None or known.place != pointer.place or [*known.objects] != names[: len(known.objects)]:
            return None
        now = image_of(database, self.log, known.local or known.shared)
        is_current = len(known.objects) == len(names)
        if now.has_same_database(known.shared) and now.log >= known.shared.log:
            if not is_current:
                self._cut_log(known.shared.log)
            return replace(known, shared=replace(now, log=known.shared.log), local=None)
        is_own = known.local is not None and now.has_same_database(known.local)
        return known if is_current and is_own else None

    def _cut_log(self, length: int) -> None:
        if length:
            os.truncate(self.log, length)
        else:
            self.log.unlink(missing_ok=True)

    def _fetched(self, known: Known | None, objects: tuple[str, ...], place: Place, database: int) -> Known:
        """Fetch the objects that the copy lacks, or all of them."""
        self.forget()
        had, files = (known.objects, known.files) if known else ((), {})
        with temporary_folder(self.path.parent) as folder:
            digest = ""
            for number, name in enumerate(objects[len(had) :]):
                place.get(name, fetched := folder / str(number))
                if name.endswith(BASE):
                    self.log.unlink(missing_ok=True)
                    patches.read_base(fetched, database)
                    digest = name.removesuffix(BASE).rpartition(".")[2]
                else:
                    digest = patches.apply_delta(fetched, database, self.log)
                fetched.unlink()
        image = image_of(database, self.log)
        if digest != image.digest:
            if had:
                # Whatever changed the copy, its objects are whole.
                return self._fetched(None, objects, place, database)
            raise SnapshotError(
                f"the shared snapshot of `{self.sync}` is damaged in {place.name}",
                hint=f"`syncer reset {self.sync}` starts from scratch: the next run sends every row.",
            )
        return Known(place=place.name, objects=objects, shared=image, files=files)

    def fetched_files(
        self, known: Mapping[str, tuple[str, int]], pointer: Pointer, place: Place
    ) -> dict[str, tuple[str, int]]:
        """Fetch the sync's other files that another machine has put; what it is done with goes.

        Shapes:
            known, returns: as `Known.files`.
        Raises:
            PlaceError: one cannot be fetched.
        """
        found = dict[str, tuple[str, int]]()
        for name, object_name in pointer.files.items():
            path = self.path.with_name(name)
            if known.get(name, ("", 0))[0] != object_name or not path.exists():
                with temporary_folder(self.path.parent) as folder:
                    place.get(object_name, fetched := folder / name)
                    fetched.replace(path)
            found[name] = (object_name, path.stat().st_mtime_ns)
        for name in known.keys() - found.keys():
            # Another machine is done with it.
            with suppress(OSError):
                self.path.with_name(name).unlink()
        return found
