"""The snapshots of all syncs: which of them are shared, where, and how this machine's copies follow them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from syncer.model.errors import ObjectGoneError, RunInProgressError, overtaken
from syncer.model.importing import importing
from syncer.settings.settings import Settings
from syncer.snapshot.file import shared_mark
from syncer.state.database import StateDatabase
from syncer.state.pointers import LOCAL, Pointer, Pointers

if TYPE_CHECKING:
    from syncer.shared.copies import Copy
    from syncer.shared.places import Place
    from syncer.shared.snapshot import SharedSnapshot


#: How long an object is kept that no pointer names.
_KEPT = timedelta(days=1)
#: Where saved plans are, which are kept by their own rule; no sync can have this name.
PLANS = "_plans"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSnapshots:
    """The snapshots of one run log's syncs."""

    settings: Settings
    database: StateDatabase
    #: Gives aware UTC.
    now: Callable[[], datetime]

    @property
    def pointers(self) -> Pointers:
        """What is current of each."""
        return Pointers(self.database)

    def path(self, sync: str) -> Path:
        """The file of a sync's snapshot on this machine."""
        return self.settings.snapshots_dir / f"{sync}.duckdb"

    def pointer(self, sync: str) -> Pointer:
        """What is current of a sync's snapshot, with the place where it is, or is to be; empty for this machine's."""
        if not self.database.is_shared:
            return Pointer()
        return self.pointers.of(sync)

    def is_shared(self, pointer: Pointer) -> bool:
        """Whether a snapshot is, or is to be, where several machines reach it."""
        if pointer.place:
            return pointer.is_shared
        return self.database.is_shared and bool(self.settings.snapshots_url)

    def take(self, sync: str) -> SharedSnapshot:
        """The snapshot of a sync for one run, which nobody else changes before another run takes it.

        Raises:
            SettingsError, PlaceError: its place cannot be used; nothing has changed.
        """
        with importing:
            from syncer.shared.snapshot import SharedSnapshot

        place = self.place(self.pointers.of(sync))
        pointer = self.pointers.take(sync)
        return SharedSnapshot(
            sync=sync, place=place, pointers=self.pointers, path=self.path(sync), pointer=pointer, now=self.now
        )

    def place(self, pointer: Pointer) -> Place:
        """Where a snapshot is, or is to be.

        Raises:
            SettingsError, PlaceError: it cannot be used.
        """
        with importing:
            from syncer.shared.places import open_place

        return open_place(pointer.place or self.settings.snapshots_url or "", self.settings, self.database)

    def follow(self, syncs: Iterable[str] | None = None) -> None:
        """Bring this machine's copies of some syncs, or of all, up to date, for somebody to look into their files.

        A file that this machine has open stays: whoever did that has brought it up to date.

        Raises:
            SettingsError, PlaceError, SnapshotError: one cannot be fetched.
        """
        if not self.database.is_shared or syncs == []:
            return
        for sync, pointer in self.pointers.all(None if syncs is None else [*syncs]).items():
            if pointer.is_shared and not self._is_current(sync, pointer):
                with suppress(RunInProgressError):
                    self._follow(sync, pointer)

    def syncs(self) -> list[str]:
        """The syncs whose snapshots are shared, also those without a definition, by name."""
        if not self.database.is_shared:
            return []
        return [sync for sync, pointer in self.pointers.all().items() if pointer.objects]

    def has(self, sync: str) -> bool:
        """Whether a sync has a snapshot, here or where several machines reach it."""
        return bool(self.pointer(sync).objects) or self.path(sync).exists()

    def where(self, sync: str) -> str:
        """The place of a sync's snapshot, for people: `local`, `database` or a URL."""
        return self.pointer(sync).place or LOCAL

    def _follow(self, sync: str, pointer: Pointer) -> None:
        if pointer.objects:
            try:
                self._copy(sync).follow(pointer, self.place(pointer))
            except ObjectGoneError:
                # A run may have put a new base, and somebody deleted what was before.
                newer = self.pointers.of(sync)
                if newer == pointer:
                    raise
                self._follow(sync, newer)
        else:
            self._copy(sync).leave(self.database.log_id)

    def forget(self, sync: str) -> None:
        """Let a sync have no snapshot, here or elsewhere; a run that has it open puts nothing more.

        Raises:
            RunInProgressError: a run has taken it meanwhile; its objects stay.
            SettingsError, PlaceError: its place cannot be used.
        """
        shared_mark(self.path(sync)).unlink(missing_ok=True)
        if self.database.is_shared and (pointer := self.pointers.of(sync)).is_shared:
            taken, place = self.pointers.take(sync), self.place(pointer)
            if not self.pointers.move(sync, Pointer(fence=taken.fence, place=taken.place)):
                raise overtaken(sync)
            place.delete([*taken.names])

    def places(self) -> list[str]:
        """Every place where objects of the run log may be: `database` or URLs."""
        if not self.database.is_shared:
            return []
        return sorted({*self.pointers.places().values(), self.settings.snapshots_url or ""} - {""})

    def places_of(self, syncs: Collection[str]) -> dict[str, str]:
        """Where the snapshots of syncs are, or are to be, by name: `database` or a URL; empty for this machine's."""
        if not self.database.is_shared:
            return dict.fromkeys(syncs, "")
        known, default = self.pointers.places(), self.settings.snapshots_url or ""
        return {sync: known.get(sync, default) for sync in syncs}

    def delete_orphans(self) -> int:
        """Delete what no pointer names and is a day old, such as objects of runs that died; returns how many.

        Raises:
            SettingsError, PlaceError, StateDatabaseError: a place cannot be used.
        """
        prefix, deleted = f"{self.database.log_id}/", 0
        for where in self.places():
            place = self.place(Pointer(place=where))
            old = [one.name for one in place.objects(prefix) if one.at < self.now() - _KEPT]
            # Read after that: an object is put before a pointer has it.
            kept = {name for pointer in self.pointers.all().values() for name in pointer.names}
            orphans = [name for name in old if name not in kept and not name.startswith(f"{prefix}{PLANS}/")]
            place.delete(orphans)
            deleted += len(orphans)
        return deleted

    def _is_current(self, sync: str, pointer: Pointer) -> bool:
        """Whether the copy of a sync is made of the current objects, as far as it says itself."""
        known = self._copy(sync).known()
        objects = tuple(one.name for one in pointer.objects)
        return known is not None and known.objects == objects and self.path(sync).exists()

    def _copy(self, sync: str) -> Copy:
        with importing:
            from syncer.shared.copies import Copy

        return Copy(self.path(sync), sync)
