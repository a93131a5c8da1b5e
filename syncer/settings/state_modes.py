"""The state folder: made if it is missing, and read by its owner, its group if that may write it, and nobody else.

The folder may be another user's, as orchestrators mount it; its own mode then stays as it is.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from syncer.model.errors import SettingsError
from syncer.settings.problems import PREFIX

if TYPE_CHECKING:
    from syncer.settings.settings import Settings

#: The rights of owner and group.
_ALL = 0o770


def make_state_dir(settings: Settings) -> int:
    """Create the state folder, or correct the modes of one that exists.

    Returns the umask for a process that makes files in it.

    Raises:
        SettingsError: it is not a folder, cannot be written, or holds another user's file that everybody may read.
    """
    path, name = settings.state_dir, f"{PREFIX}STATE_DIR"
    found = made(path, name)
    if os.name == "posix" and found.st_mode & 0o777 != 0o700:
        restrict(path)
        if readable := _readable_by_everybody(path):
            raise SettingsError(
                f"{name}: everybody may read {readable}, and only its owner can change that",
                hint=f"Run `chmod -R o-rwx {path}` as its owner, or as root.",
            )
    return mask(path)


def made(path: Path, name: str) -> os.stat_result:
    """Create a folder, for this user alone, unless there is one; what it is like.

    Shapes:
        name: of the setting that names it.
    Raises:
        SettingsError: it is not a folder, or cannot be written.
    """
    own = f"Set {name} to a folder that this user may create or write."
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except (FileExistsError, NotADirectoryError):
        raise SettingsError(f"{name}: {path} is not a folder", hint=f"Move it away, or set {name}.") from None
    except OSError as error:
        raise SettingsError(f"{name}: {path} cannot be created: {error.strerror}", hint=own) from error
    if not _may_write(path, found):
        raise SettingsError(f"{name}: {path} {_why_not(found)}", hint=own)
    return found


def restrict(folder: Path) -> None:
    """Correct the modes of the folder and of what is in it, as far as this user owns them."""
    if os.name != "posix":
        return
    rights = ~mask(folder) & _ALL
    for path in (folder, *folder.rglob("*")):
        # What another process deletes meanwhile needs no mode.
        with suppress(FileNotFoundError):
            found = path.lstat()
            wanted = rights if stat.S_ISDIR(found.st_mode) else rights & 0o660
            is_ours = found.st_uid == os.geteuid() and (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode))
            if is_ours and found.st_mode & 0o777 != wanted:
                path.chmod(stat.S_IMODE(found.st_mode) & ~0o777 | wanted)


def mask(folder: Path) -> int:
    """The umask of a process that makes files in the folder."""
    return 0o007 if folder.stat().st_mode & stat.S_IWGRP else 0o077


def _may_write(folder: Path, found: os.stat_result) -> bool:
    if os.name != "posix" or os.geteuid() != 0:
        return os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    # Root can always: it must not leave files that the folder's owner cannot open.
    is_in_group = found.st_gid in (os.getegid(), *os.getgroups())
    return found.st_uid == 0 or (is_in_group and found.st_mode & 0o070 == 0o070) or found.st_mode & 0o007 == 0o007


def _why_not(found: os.stat_result) -> str:
    if os.name != "posix" or found.st_uid == os.geteuid():
        return "cannot be written"
    groups = ", ".join(map(str, sorted({os.getegid(), *os.getgroups()})))
    return (
        "belongs to another user, and this one may not write it: "
        f"owner {found.st_uid}, group {found.st_gid}, mode {stat.S_IMODE(found.st_mode):04o}; "
        f"this is user {os.geteuid()} of group {groups}"
    )


def _readable_by_everybody(folder: Path) -> Path | None:
    """A file that users other than its owner and its group can get at."""
    for place, folders, names in os.walk(folder):
        # What another process deletes meanwhile nobody reads.
        with suppress(FileNotFoundError):
            if not Path(place).stat().st_mode & stat.S_IXOTH:
                folders.clear()
                continue
        for path in (Path(place, name) for name in names):
            with suppress(FileNotFoundError):
                mode = path.lstat().st_mode
                if stat.S_ISREG(mode) and mode & stat.S_IROTH:
                    return path
    return None
