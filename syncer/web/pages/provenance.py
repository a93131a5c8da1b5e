"""The git commit that last changed a file, where there is one."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

#: Seconds that git may take.
_PATIENCE = 2.0

#: Seconds after which git is asked again about a file that did not change: it may have been committed.
_KEPT = 60.0

_FORMAT = "%h%x00%s%x00%aI"

#: Nothing of the repository's own settings that would start another program.
_SETTINGS = ("-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "-c", "core.pager=cat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit."""

    #: Short.
    hash: str
    subject: str
    authored_at: datetime


@dataclass(slots=True)
class Provenance:
    """Looks commits up, and remembers them while a file stays as it is; may be used by several threads."""

    #: Seconds that only grow.
    clock: Callable[[], float] = time.monotonic
    _known: dict[Path, tuple[int, float, Commit | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, path: Path) -> Commit | None:
        """The last commit that changed a file; None without git, outside of a repository, or before the first."""
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            return None
        with self._lock:
            known = self._known.get(path)
        if known is not None and known[0] == changed and self.clock() - known[1] < _KEPT:
            return known[2]
        commit = _look_up(path)
        with self._lock:
            self._known[path] = (changed, self.clock(), commit)
        return commit


def _look_up(path: Path) -> Commit | None:
    command = ["git", *_SETTINGS, "log", "-1", "--no-show-signature", f"--format={_FORMAT}", "--", path.name]
    try:
        asked = subprocess.run(
            command, cwd=path.parent, capture_output=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    parts = asked.stdout.decode(errors="replace").rstrip("\n").split("\0")
    if asked.returncode or len(parts) != 3:
        return None
    return Commit(hash=parts[0], subject=parts[1], authored_at=datetime.fromisoformat(parts[2]))
