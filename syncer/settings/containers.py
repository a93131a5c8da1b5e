"""What a container gives a process: the variables for a service called `syncer` or `syncer-…`, and its memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_NAMES = re.compile(
    r"SYNCER_PORT|SYNCER(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
#: Also the name of a setting in which an underscore was forgotten; the value tells.
_PORT, _PORT_VALUE = re.compile(r"SYNCER(_[A-Z0-9]+)+_PORT"), re.compile(r"(tcp|udp|sctp)://.*")


def set_by_cluster(variables: Mapping[str, str]) -> list[str]:
    """The names of such variables, sorted; none of them is a setting."""
    return sorted(name for name, value in variables.items() if is_set_by_cluster(name, value))


def is_set_by_cluster(name: str, value: str) -> bool:
    """Whether a variable is one of them."""
    return bool(_NAMES.fullmatch(name) or (_PORT.fullmatch(name) and _PORT_VALUE.fullmatch(value)))


def memory_size(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that the machine has, or a control group around this process, if that is less.

    Shapes:
        proc, cgroups: where the kernel shows itself, and its control groups of either version.
    """
    return min(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_limits_of_groups(proc, cgroups), 1 << 62)


def _limits_of_groups(proc: Path, cgroups: Path) -> Iterator[int]:
    groups = ""
    with suppress(OSError):
        groups = (proc / "self/cgroup").read_text()
    for _, controllers, path in (line.split(":", 2) for line in groups.splitlines() if line.count(":") > 1):
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = (cgroups / "memory", "memory.limit_in_bytes") if controllers else (cgroups, "memory.max")
        # In a container the path may be that outside of it, where the root is the container's own group.
        own = root / path.strip("/")
        for folder in (own, *own.parents[: len(own.relative_to(root).parts)]):
            with suppress(OSError, ValueError):
                yield int((folder / name).read_text())
