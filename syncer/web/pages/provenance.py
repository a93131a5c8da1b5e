"""The git commit that last changed a file."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

#: Seconds that git may take.
_TIMEOUT = 2.0

#: Seconds after which Syncer asks git again about a file that did not change: somebody may have committed it.
_KEPT = 60.0

#: Turn off settings of the repository that would start another program.
_SETTINGS = ("-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "-c", "core.pager=cat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit."""

    #: Short.
    hash: str
    subject: str
    authored_at: datetime


def commit_of(path: Path, *, at: float | None = None) -> Commit | None:
    """The last commit that changed a file; None without git, outside of a repository, or before the first commit.

    Units:
        at: seconds of a clock that only moves forward; by default `time.monotonic`.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        return None
    return _looked_up(path, changed, (time.monotonic() if at is None else at) // _KEPT)


@lru_cache(maxsize=1000)
def _looked_up(path: Path, _changed: int, _period: float) -> Commit | None:
    command = ["git", *_SETTINGS, "log", "-1", "--no-show-signature", "--format=%h%x00%s%x00%aI", "--", path.name]
    try:
        ran = subprocess.run(command, cwd=path.parent, capture_output=True, timeout=_TIMEOUT, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    parts = ran.stdout.decode(errors="replace").rstrip("\n").split("\0")
    if ran.returncode or len(parts) != 3:
        return None
    return Commit(hash=parts[0], subject=parts[1], authored_at=datetime.fromisoformat(parts[2]))
