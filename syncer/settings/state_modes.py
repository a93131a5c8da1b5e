"""Who may read what is in the state folder: its owner, and its group if that may write the folder; nobody else."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

#: The rights of owner and group.
_ALL = 0o770


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
