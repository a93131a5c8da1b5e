"""Objects as files of a folder that the machines share, such as one of NFS."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from uuid import uuid4

from syncer.model.errors import ObjectGoneError, PlaceError, SettingsError
from syncer.settings import state_modes
from syncer.settings.snapshots import PlaceUrl
from syncer.shared.place import SETTING, Placed, tried_out, writing

#: Bytes that are copied at a time.
_PART = 1 << 20
#: How the name of a file ends that is being written, or that was when its process died.
_UNFINISHED = ".unfinished"


class FolderPlace:
    """A Place that is a folder.

    What it makes there has the modes of the state folder: only its owner may read it, and its group if that may write
    the folder. What else is in the folder stays as it is.
    """

    def __init__(self, url: PlaceUrl) -> None:
        """Make the folder if it is missing.

        Raises:
            PlaceError: it cannot be made or written.
        """
        self.name = url.text
        self._folder = Path(url.path)
        try:
            state_modes.made(self._folder, SETTING)
        except SettingsError as exc:
            raise PlaceError(exc.message, hint=exc.hint) from None

    def put(self, name: str, content: Path) -> None:
        """See Place."""
        path = self._path(name)
        unfinished = path.with_name(f"{path.name}.{uuid4().hex[:8]}{_UNFINISHED}")
        with content.open("rb") as source, self._explained("written"):
            rights = self._make(path.parent) & 0o660
            try:
                with unfinished.open("xb") as file:
                    if os.name == "posix":
                        os.fchmod(file.fileno(), rights)
                    shutil.copyfileobj(source, file, _PART)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
            _sync(path.parent)

    def get(self, name: str, target: Path) -> None:
        """See Place."""
        with writing(target) as file:
            for part in self._parts(name):
                file.write(part)

    def _parts(self, name: str) -> Iterator[bytes]:
        with self._explained("read"):
            try:
                source = self._path(name).open("rb")
            except FileNotFoundError:
                # An object is not gone while its folder is not there, as where it is not mounted.
                self._folder.stat()
                raise ObjectGoneError(f"{SETTING}: {self.name} has no object `{name}`") from None
        with source:
            while part := self._read(source):
                yield part

    def _read(self, source: IO[bytes]) -> bytes:
        with self._explained("read"):
            return source.read(_PART)

    def delete(self, names: Iterable[str]) -> None:
        """See Place."""
        with self._explained("written"):
            for name in names:
                self._path(name).unlink(missing_ok=True)

    def objects(self, prefix: str = "") -> Iterator[Placed]:
        """See Place."""
        with self._explained("read"):
            found = [*self._files(prefix)]
        yield from found

    def _files(self, prefix: str) -> Iterator[Placed]:
        for place, _, names in os.walk(self._folder, onerror=_raised):
            for path in (Path(place, name) for name in names):
                name = path.relative_to(self._folder).as_posix()
                if not name.startswith(prefix):
                    continue
                try:
                    found = path.stat()
                except FileNotFoundError:
                    # Another machine deleted it meanwhile.
                    continue
                yield Placed(name=name, bytes=found.st_size, at=datetime.fromtimestamp(found.st_mtime, UTC))

    def try_out(self) -> None:
        """See Place."""
        tried_out(self)

    def _path(self, name: str) -> Path:
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise ValueError("no object has this name")
        return self._folder / name

    def _make(self, folder: Path) -> int:
        """Make a folder in this one, durably; the rights that this place gives."""
        rights = 0o770 & ~state_modes.mask(self._folder)
        missing = [one for one in (folder, *folder.parents) if self._folder in one.parents and not one.exists()]
        for one in reversed(missing):
            # Another machine may have made it meanwhile.
            with suppress(FileExistsError):
                one.mkdir()
                one.chmod(rights)
            _sync(one.parent)
        return rights

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Raise PlaceError for the errors of the system: *what* cannot be done."""
        try:
            yield
        except OSError as exc:
            where = f": {exc.filename}" if exc.filename else ""
            raise PlaceError(
                f"{SETTING}: {self.name} cannot be {what}: {exc.strerror}{where}",
                hint="Free some space there, or let this user read and write the folder. Is it mounted?",
            ) from None


def _raised(error: OSError) -> None:
    # `os.walk` takes a folder that cannot be read for an empty one.
    raise error


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
