"""The snapshot of one run, which puts what it writes down where the next run finds it, on whatever machine."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from syncer.model.errors import PlaceError, overtaken
from syncer.model.temporary_folders import temporary_folder
from syncer.shared import patches
from syncer.shared.copies import BASE, Copy, Known
from syncer.shared.patches import Image, image_of
from syncer.shared.places import Place
from syncer.snapshot import former
from syncer.snapshot.facts import facts_of
from syncer.state.pointers import INTENT, Pointer, Pointers, PutObject

log = logging.getLogger(__name__)

#: So many deltas, or as many bytes of them as the base has, and the next settled run puts a new base.
_MOST_DELTAS = 100


@dataclass(slots=True, kw_only=True)
class SharedSnapshot:
    """What one run of a sync shares; see `snapshot.ledger.Sharing`.

    Before a run sends anything, what it is about to send has to be in its place; of its answers, those that were put
    count, should its machine be lost. Once it has settled, one delta stands for all that it put.
    """

    sync: str
    place: Place
    pointers: Pointers
    path: Path
    #: As taken.
    pointer: Pointer
    #: Gives aware UTC.
    now: Callable[[], datetime]
    _copy: Copy = field(init=False)
    #: What the copy was made of when the run began; None where nothing had been put.
    _begun: Known | None = None
    #: The copy as it was put last.
    _shared: Image | None = None
    _local: Image | None = None
    _begun_with: tuple[PutObject, ...] = ()
    _files: dict[str, tuple[str, int]] = field(default_factory=dict)
    #: Of the database, under all the files it had: to close one of them would take DuckDB's lock from this process.
    _descriptors: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._copy = Copy(self.path, self.sync)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Bring this machine's copy up to date, for the file to be opened within the block.

        Raises:
            RunInProgressError, PlaceError, SnapshotError: as `Copy.follow`.
        """
        if self.pointer.objects:
            self._begun = self._copy.follow(self.pointer, self.place)
            self._shared, self._local = self._begun.shared, self._begun.local
            self._files = dict(self._begun.files)
            self._begun_with = tuple(self.pointer.objects)
        else:
            self._copy.leave(self.pointers.database.log_id)
            self._files = self._copy.fetched_files({}, self.pointer, self.place)
        with self.putting():
            yield
            self._remember_what_is_its_own()

    @contextmanager
    def putting(self) -> Iterator[None]:
        """Put this machine's file within the block as it is, whatever was put before."""
        try:
            yield
        finally:
            for descriptor in self._descriptors:
                os.close(descriptor)
            self._descriptors.clear()

    @property
    def is_current(self) -> bool:
        """Whether the copy is what was put, so that no claim makes it out of date."""
        return self._begun is not None

    @property
    def take(self) -> int:
        """See `Sharing.take`."""
        return self.pointer.fence

    @property
    def was_settled(self) -> bool:
        """See `Sharing.was_settled`."""
        return self.pointer.is_settled

    def take_after(self, take: int) -> None:
        """See `Sharing.take_after`."""
        if not self.pointers.raise_fence(self.sync, self.pointer.fence, after=take):
            raise overtaken(self.sync)
        self.pointer = replace(self.pointer, fence=take + 1)

    def intended(self) -> None:
        """Put what is about to be sent."""
        is_changed = self._put_files()
        if not self._put() and is_changed:
            self._move(self.pointer)

    def recorded(self) -> None:
        """Put the answers so far; where that fails, they go with the next ones."""
        try:
            self._put()
        except PlaceError as exc:
            log.warning("answers of the store are shared later: %s", exc, extra={"sync": self.sync})

    def settled(self, *, rows: int, is_changed: bool) -> None:
        """Put the settled snapshot, in place of what the run has put before."""
        self.pointer = replace(self.pointer, rows=rows)
        if is_changed or not self.pointer.objects:
            is_any_changed, before = self._put_files(), self.pointer.names
            if not self._put(is_settled=True) and is_any_changed:
                self._move(self.pointer)
            # Who reads the pointer from now on needs no more of what this run put on its way here.
            with suppress(PlaceError):
                self.place.delete(before - self.pointer.names - {one.name for one in self._begun_with})

    def put_files(self) -> None:
        """Put what else the sync remembers, where it has changed since, and nothing else."""
        if self._put_files():
            self._move(replace(self.pointer, place=self.place.name))
            self._remember()

    def changed(self) -> None:
        """Put what was written by somebody who sends nothing."""
        self._put()

    def put_anew(self) -> None:
        """Put the file as it is, whatever was put before, of which nothing stays."""
        before = self.pointer
        self._begun, self._begun_with, self._files = None, (), {}
        self.pointer = replace(before, objects=(), previous=(), files={})
        self.settled(rows=facts_of(self.path, self.sync).rows, is_changed=True)
        prefix = f"{self.pointers.database.log_id}/{self.sync}/"
        self.place.delete([one.name for one in self.place.objects(prefix) if one.name not in self.pointer.names])

    def _put(self, *, is_settled: bool = False) -> bool:
        """Put what has changed; returns whether anything has."""
        image = image_of(self._database(), self._copy.log, self._local or self._shared)
        begun = self._begun.shared if self._begun else None
        before = begun if is_settled else self._shared
        is_base = before is None or (is_settled and self._is_to_be_put_anew(image, before))
        if not is_base and before is not None and before.has_same_database(image) and before.log == image.log:
            return False
        with patches.disk_explained(self.path.parent), temporary_folder(self.path.parent) as folder:
            made = folder / "object"
            objects = self._begun_with if is_settled else tuple(self.pointer.objects)
            if before is None or is_base:
                patches.write_base(self._database(), made)
                objects = (self._put_object(made, f".{image.digest}{BASE}"),)
                before = replace(image, log=0)
            if image.log or not is_base or not is_settled:
                patches.write_delta(self._database(), self._copy.log, before, image, made)
                objects = (*objects, self._put_object(made, ".delta.parquet" if is_settled else INTENT))
        previous = [one.name for one in self._begun_with] if is_base and self._begun_with else self.pointer.previous
        format_ = patches.FORMAT
        self._move(replace(self.pointer, objects=objects, previous=previous, format=format_, place=self.place.name))
        self._shared, self._local = image, None
        self._remember()
        return True

    def _is_to_be_put_anew(self, image: Image, before: Image) -> bool:
        base, *deltas = self._begun_with
        expected = patches.changed_share(before, image) * base.bytes
        return len(deltas) >= _MOST_DELTAS or sum(one.bytes for one in deltas) + expected > base.bytes

    def _put_object(self, content: Path, kind: str) -> PutObject:
        unique = f"{self.now():%Y%m%dT%H%M%S}-{secrets.token_hex(6)}{kind}"
        name = f"{self.pointers.database.log_id}/{self.sync}/{unique}"
        self.place.put(name, content)
        return PutObject(name=name, bytes=content.stat().st_size)

    def _put_files(self) -> bool:
        """Put the other files of the sync that are new, or have changed; returns whether any has, or is gone."""
        files, names = dict[str, tuple[str, int]](), dict[str, str]()
        for path in (*former.beside(self.path, "former"), *former.beside(self.path, "previous")):
            known, changed_at = self._files.get(path.name), path.stat().st_mtime_ns
            if known is None or known[1] != changed_at:
                known = self._put_object(path, f".{path.suffix.lstrip('.')}").name, changed_at
            files[path.name], names[path.name] = known, known[0]
        is_changed = names != dict(self.pointer.files)
        self._files, self.pointer = files, replace(self.pointer, files=names)
        return is_changed

    def _move(self, pointer: Pointer) -> None:
        """Make the pointer what it is to be.

        Raises:
            RunInProgressError: another run has taken the sync.
        """
        if not self.pointers.move(self.sync, pointer):
            raise overtaken(self.sync)
        self.pointer = pointer

    def _database(self) -> int:
        """A descriptor of the file that is there now; kept until DuckDB has closed it."""
        here = self.path.stat()
        for descriptor in self._descriptors:
            if os.path.samestat(os.fstat(descriptor), here):
                return descriptor
        self._descriptors.append(os.open(self.path, os.O_RDONLY))
        return self._descriptors[-1]

    def _remember(self) -> None:
        if self._shared is not None:
            objects = tuple(one.name for one in self.pointer.objects)
            self._copy.remember(
                Known(place=self.place.name, objects=objects, shared=self._shared, local=self._local, files=self._files)
            )

    def _remember_what_is_its_own(self) -> None:
        """Let the next run of this machine go on from what could not be put."""
        if self._shared is None or not self.path.exists():
            return
        image = image_of(self._database(), self._copy.log, self._local or self._shared)
        if not image.has_same_database(self._shared):
            self._local = image
            self._remember()
