"""What work costs: seconds, processor time of client and server together, memory, disk.

A server that this process started is below it, so the processor time of this process and of all below it counts both.
"""

from __future__ import annotations

import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peak_memory import peak_megabytes

_TICKS = os.sysconf("SC_CLK_TCK")
#: Between two looks at how much memory a process has needed.
_LOOK_MILLISECONDS = 20
#: After which what ends with the work, such as the backend of a closed connection, has ended.
_SETTLED_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a piece of work took."""

    #: By the clock.
    seconds: float
    #: Seconds of processor time, of client and server together.
    cpu: float
    #: The most memory of the program, in MB; 0 where it was no program of its own.
    peak_mb: int = 0
    #: Of the processor time, that of the program and of what it started; 0 where it was no program of its own.
    own_cpu: float = 0

    def __add__(self, other: Cost) -> Cost:
        """One after the other."""
        return Cost(
            seconds=self.seconds + other.seconds,
            cpu=self.cpu + other.cpu,
            peak_mb=max(self.peak_mb, other.peak_mb),
            own_cpu=self.own_cpu + other.own_cpu,
        )

    def __truediv__(self, parts: int) -> Cost:
        """One of so many equal parts."""
        return Cost(
            seconds=self.seconds / parts, cpu=self.cpu / parts, peak_mb=self.peak_mb, own_cpu=self.own_cpu / parts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that ran to its end, with success."""

    output: str
    cost: Cost


def processor_seconds(process: int = 0) -> float:
    """Processor time of a process, or of this one, and of all below it, ended ones too.

    Those of which nobody knows the end are left out.
    Source: `man 5 proc_pid_stat`; what has ended counts with the process that waited for it.
    """
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                ticks[int(entry.name)] = sum(map(int, fields[11:15]))
                children[int(fields[1])].append(int(entry.name))
    found, below = 0, [process or os.getpid()]
    while below:
        one = below.pop()
        found += ticks.get(one, 0)
        below += children[one]
    return found / _TICKS


@contextmanager
def costs() -> Iterator[Callable[[], Cost]]:
    """What the body takes; to be called after it."""
    found: list[Cost] = []
    cpu, begun = processor_seconds(), time.monotonic()
    yield found.pop
    seconds = time.monotonic() - begun
    time.sleep(_SETTLED_SECONDS)
    found.append(Cost(seconds=seconds, cpu=processor_seconds() - cpu))


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """What a program sees: *settings*, and of this process's own where programs and, with PYTHONPATH, modules are."""
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ} | dict(settings)


def run(command: Sequence[str], *, folder: Path, settings: Mapping[str, str], python: str = sys.executable) -> Program:
    """Run a program of *python*, by its arguments, to its end; in its environment are *settings*.

    Raises:
        RuntimeError: it did not end with success; says what it wrote last.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        with costs() as cost:
            started, before = [python, *command], _ended_seconds()
            process = subprocess.Popen(started, cwd=folder, env=environment(settings), stdout=output, stderr=errors)
            peak = _watched(process)
            own = _ended_seconds() - before
        output.seek(0)
        written = output.read().decode()
        if process.returncode:
            errors.seek(0)
            said = errors.read().decode()[-3000:]
            raise RuntimeError(f"`{' '.join(command)}` ended with {process.returncode}:\n{written[-1000:]}\n{said}")
    taken = cost()
    return Program(output=written, cost=Cost(seconds=taken.seconds, cpu=taken.cpu, peak_mb=peak, own_cpu=own))


def _ended_seconds() -> float:
    """Processor time of all processes that this one started, and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watched(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end; returns the most megabytes that it needed.

    What `wait4` says would begin with the size of this process, at the moment when it forked.
    """
    peak, ended = 0, select.poll()
    descriptor = os.pidfd_open(process.pid)
    try:
        ended.register(descriptor, select.POLLIN)
        while not ended.poll(_LOOK_MILLISECONDS):
            # It may end in this moment.
            with suppress(OSError):
                peak = max(peak, peak_megabytes(process.pid))
    finally:
        os.close(descriptor)
    process.wait()
    return peak


def megabytes_below(folder: Path) -> float:
    """The size of all files in *folder*."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
