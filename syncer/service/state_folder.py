"""The lock of a state folder, and of a run log in a file elsewhere: one service at a time uses them.

The operating system holds the lock for the process, and frees it however that ends; the file's text is for people.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from syncer.model.errors import ServiceRunningError, SettingsError
from syncer.settings.settings import Settings

#: Of the file, that a message may quote.
_LONGEST = 500


class Lock:
    """Held by a service; made by `held`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def introduce(self, holder: str) -> None:
        """Write down who holds the folder, for the error that a second service shows."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{holder}\n".encode(), 0)


def paths(settings: Settings) -> list[Path]:
    """The files that a service with these settings locks."""
    found = [settings.state_dir / "service.lock"]
    url = sa.make_url(settings.database_url.get_secret_value())
    if url.drivername == "sqlite" and url.database:
        run_log = Path(url.database)
        if run_log.parent.resolve() != settings.state_dir.resolve():
            found.append(run_log.with_name(f"{run_log.name}.service.lock"))
    return found


@contextmanager
def held(path: Path) -> Iterator[Lock]:
    """Hold a lock's file, in a folder that exists.

    Raises:
        ServiceRunningError: another service does; the message names it.
        SettingsError: files cannot be locked there.
    """
    try:
        import fcntl
    except ImportError:
        raise SettingsError("`syncer serve` runs on Linux and macOS", hint="Use WSL or the container.") from None
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    except OSError as exc:
        raise SettingsError(f"SYNCER_STATE_DIR: {path} cannot be opened: {exc.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _running(path) from None
        except OSError as exc:
            raise SettingsError(
                f"SYNCER_STATE_DIR: files cannot be locked in {path.parent}: {exc.strerror}",
                hint="Set it to a folder on a disk of this machine.",
            ) from None
        yield Lock(descriptor)
    finally:
        os.close(descriptor)


def _running(path: Path) -> ServiceRunningError:
    holder = path.read_bytes()[:_LONGEST].decode(errors="replace").strip()
    return ServiceRunningError(
        f"another service uses {path.parent}: {holder or 'it is just starting'}",
        hint="Stop it first, or give this service its own SYNCER_STATE_DIR and SYNCER_DATABASE_URL. "
        "See `syncer docs production`.",
    )
