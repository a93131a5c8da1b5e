"""How fast each warehouse is read into Arrow: `python -m tests.benchmarks.warehouses [NAME…]`.

Every reading, and the bare one of its driver beside it, is a fresh process. A machine may be twice as fast in one
minute as in the next, so the bare one is timed right before and right after each of ours, and a ratio is to the mean of
the two; the median ratio of several rounds counts. What does not run on this machine is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pkgutil import resolve_name
from statistics import mean

import pytest

from syncer.model.protocols import Warehouse
from tests.benchmarks.peak_memory import peak_megabytes
from tests.benchmarks.warehouses import CANDIDATES
from tests.benchmarks.warehouses.candidate import Candidate

_QUERY = "SELECT * FROM people"
_FIRST_QUERY = "SELECT * FROM people WHERE user_id = 1"
_TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One reading in a process of its own; connecting counts, starting Python does not."""

    seconds: float
    megabytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One reading of ours between two bare ones."""

    ours: Measured
    #: Seconds, of both.
    bare: float

    @property
    def ratio(self) -> float:
        """How many bare readings ours took."""
        return self.ours.seconds / self.bare


def measure(name: str, url: str, *, is_bare: bool) -> Measured:
    """Read the candidate called *name* at *url* in this process."""
    candidate = resolved(name)
    read = candidate.bare if is_bare else partial(_read, candidate)
    # What is imported on use does not count.
    read(url, _FIRST_QUERY)
    started = time.perf_counter()
    read(url, _QUERY)
    return Measured(seconds=time.perf_counter() - started, megabytes=peak_megabytes())


def _read(candidate: Candidate, url: str, query: str) -> None:
    warehouse: Warehouse = resolve_name(candidate.opened_by)("benchmark", url)
    for _ in warehouse.query(query, timeout=_TIMEOUT):
        pass
    warehouse.close()


def resolved(name: str) -> Candidate:
    """The candidate called *name*."""
    found: Candidate = resolve_name(f"tests.benchmarks.warehouses.{CANDIDATES[name]}")
    return found


def _in_own_process(name: str, url: str, *, is_bare: bool) -> Measured:
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.warehouses",
        "--measure",
        "bare" if is_bare else "ours",
        url,
        name,
    ]
    return Measured(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def _compare(name: str, rows: int, rounds: int) -> str:
    candidate = resolved(name)
    bare, ours = [], []
    with candidate.serve(rows) as url:
        bare.append(_in_own_process(name, url, is_bare=True))
        for _ in range(rounds):
            ours.append(_in_own_process(name, url, is_bare=False))
            bare.append(_in_own_process(name, url, is_bare=True))
    around = [mean(run.seconds for run in both) for both in pairwise(bare)]
    found = sorted(
        (Round(ours=run, bare=seconds) for run, seconds in zip(ours, around, strict=True)), key=lambda r: r.ratio
    )
    middle = found[len(found) // 2]
    figures = f"{rows / middle.ours.seconds:>12,.0f}{middle.ours.megabytes:>8} MB{middle.ratio:>9.2f} x"
    return f"{name:<14}{figures}  of {middle.bare:.2f} s, {candidate.against}"


def main() -> None:
    """Print a row for each warehouse."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*CANDIDATES, []], default=[])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5, help="the median ratio counts")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        kind, url = given.measure
        measured = measure(given.names[0], url, is_bare=kind == "bare")
        print(json.dumps({"seconds": measured.seconds, "megabytes": measured.megabytes}))
        return
    print(f"{'warehouse':<14}{'rows/s':>12}{'peak':>11}{'time':>11}  of the driver's own")
    for name in given.names or CANDIDATES:
        try:
            print(_compare(name, given.rows, given.rounds), flush=True)
        except pytest.skip.Exception as exc:
            print(f"{name:<14}left out: {exc}", flush=True)


if __name__ == "__main__":
    main()
