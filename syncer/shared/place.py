"""What every place can do where the objects of shared snapshots are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Protocol
from uuid import uuid4

from syncer.model.errors import ObjectGoneError, PlaceError, SyncerError
from syncer.model.temporary_folders import temporary_folder

#: What messages begin with.
SETTING = "SYNCER_SNAPSHOTS_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An object of a place."""

    name: str
    bytes: int
    #: When it was written, by the place's clock; aware UTC.
    at: datetime


class Place(Protocol):
    """Where the objects of snapshots are kept: immutable, each with a name of its own.

    A name is one or more words with slashes between them, such as `people/20261130T215544411-fafdeb.base.zst`. One
    object may serve several threads. The methods raise PlaceError; those of `database` may raise StateDatabaseError.
    """

    @property
    def name(self) -> str:
        """The place for people, and for `places.open_place`: `database`, or its URL, which holds no secret."""

    def put(self, name: str, content: Path) -> None:
        """Keep the content of a file, durably when this returns; it takes the place of an object of the same name.

        If it fails, there is no object of this name, the earlier one, or all of the new one.
        """

    def get(self, name: str, target: Path) -> None:
        """Write an object to a file, which is not there if this fails.

        Raises:
            ObjectGoneError: there is no such object.
        """

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are not there are fine."""

    def objects(self, prefix: str = "") -> Iterator[Placed]:
        """The objects whose names begin with *prefix*, in no order; also what was left of a `put` that died."""

    def try_out(self) -> None:
        """Write, read, replace, list and delete an object; PlaceError says what cannot be done. Leaves nothing."""


@contextmanager
def writing(target: Path) -> Iterator[IO[bytes]]:
    """A file for the block to write, which is deleted if the block fails.

    Raises:
        PlaceError: the file cannot be written, as where the disk is full.
    """
    try:
        try:
            with target.open("wb") as file:
                yield file
        except BaseException:
            with suppress(OSError):
                target.unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise PlaceError(
            f"a shared snapshot cannot be copied to this machine: {exc.strerror}: {target}",
            hint="Free some space there, or correct the folder's mode; it is in SYNCER_STATE_DIR by default.",
        ) from None


def tried_out(place: Place) -> None:
    """See `Place.try_out`."""
    name = f"tried-out-{uuid4().hex}"
    with temporary_folder() as folder:
        sent, got = folder / "sent", folder / "got"
        try:
            for content in (b"first", b"second"):
                sent.write_bytes(content)
                place.put(name, sent)
                place.get(name, got)
                if got.read_bytes() != content:
                    raise _unfit(place, "an object that was replaced still has its first content")
            if not [*place.objects(name)]:
                raise _unfit(place, "an object that was written is not listed")
            place.delete([name])
        except BaseException:
            with suppress(SyncerError):
                place.delete([name])
            raise
        with suppress(ObjectGoneError):
            place.get(name, got)
            raise _unfit(place, "an object that was deleted is still there")


def _unfit(place: Place, what: str) -> PlaceError:
    return PlaceError(f"{SETTING}: {place.name}: {what}", hint="Is a cache in between, or a rule that keeps objects?")
