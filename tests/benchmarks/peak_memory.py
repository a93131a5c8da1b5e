"""How much memory a process has needed at most."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_megabytes(process: int | None = None) -> int:
    """The largest resident size so far, of this process or of another one; 0 if that has ended.

    Source: on Linux getrusage counts what the parent had at fork, so the kernel's own number is read; `man 5 proc`.
    """
    status = Path("/proc", str(process or "self"), "status")
    if status.exists() and (peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(peak[1]) // 1024
    if process is not None:
        return 0
    units = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // units
