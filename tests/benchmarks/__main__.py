"""How fast Syncer is, as ratios to a bare COPY of the same query in the same run: `python -m tests.benchmarks`.

A machine may be twice as fast in one minute as in the next, so the bare COPY is timed right before and right after
each piece of work, and a ratio is to the mean of the two. Each work is done several times; the median ratio counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.people import bare_copy_seconds, change_customers, make_customers, write_definition
from tests.servers.postgresql import PostgresServer, postgres_server


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One whole process of `syncer run`."""

    work: str
    rows: int
    seconds: float
    #: Seconds of the bare COPY, right before and right after.
    bare: float
    peak_megabytes: int
    counts: dict[str, int]

    @property
    def ratio(self) -> float:
        """How many bare COPYs the process took."""
        return self.seconds / self.bare

    def line(self) -> str:
        """For people."""
        return (
            f"{self.work:<26}{self.rows:>12,}{self.seconds:>10.2f} s{self.bare:>8.2f} s{self.ratio:>7.1f} x"
            f"{self.peak_megabytes:>8} MB"
        )


def main() -> None:
    """Measure, and print a line for each piece of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3, help="how often to do each work; the median ratio counts")
    parser.add_argument("--large", action="store_true", help="also ten times as many rows, once")
    options = parser.parse_args()
    print(f"{'work':<26}{'rows':>12}{'time':>12}{'bare':>10}{'ratio':>9}{'peak':>11}")
    with postgres_server() as server:
        small = _measure(server, options.rows, options.times)
        if options.large:
            large = _measure(server, options.rows * 10, 1)
            print(f"ten times the rows, 1 % changed: {large.seconds / small.seconds:.1f} x the time")
            print(f"in bare COPYs of so many rows each: {large.ratio / small.ratio:.1f} x")


def _measure(server: PostgresServer, rows: int, times: int) -> Measured:
    """Print every piece of work on so many rows; returns the one with 1 % changed."""
    with server.new_database() as warehouse:
        make_customers(warehouse, rows)
        for _ in range(2):
            bare_copy_seconds(warehouse)
        first, unchanged, changed = [], [], []
        for number in range(times):
            is_last = number == times - 1
            with tempfile.TemporaryDirectory(prefix="syncer-benchmark-") as folder, server.new_database() as store:
                write_definition(Path(folder) / "sync_definitions")
                bench = _Bench(project=Path(folder), warehouse=warehouse, store=store, rows=rows)
                first.append(bench.run("first load", added=rows))
                for _ in range(times if is_last else 0):
                    unchanged.append(bench.run("nothing changed", unchanged=rows))
                    change_customers(warehouse, every=100)
                    changed.append(bench.run("1 % of the rows changed", changed=rows // 100))
        for measured in (_median(first), _median(unchanged), _median(changed)):
            print(measured.line(), flush=True)
        return _median(changed)


def _median(measured: list[Measured]) -> Measured:
    return sorted(measured, key=lambda m: m.ratio)[len(measured) // 2]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    project: Path
    warehouse: str
    store: str
    rows: int

    def run(self, work: str, **expected: int) -> Measured:
        """Measure one run, whose counts must be as *expected*."""
        before = bare_copy_seconds(self.warehouse)
        output, seconds, peak_megabytes = self._timed()
        bare = statistics.mean([before, bare_copy_seconds(self.warehouse)])
        counts = json.loads(output)
        found = {name: counts[name] for name in expected}
        assert found == expected, f"{work}: expected {expected}, found {found}"
        return Measured(
            work=work, rows=self.rows, seconds=seconds, bare=bare, peak_megabytes=peak_megabytes, counts=counts
        )

    def _timed(self) -> tuple[str, float, int]:
        environment = {
            "PATH": os.environ["PATH"],
            "SYNCER_WAREHOUSES__DEFAULT__URL": self.warehouse,
            "SYNCER_STORES__DEFAULT__URL": self.store,
        }
        command = [sys.executable, "-m", "syncer", "run", "customers", "--json"]
        begun = time.monotonic()
        process = subprocess.Popen(command, cwd=self.project, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        assert status == 0, f"the run ended with {os.waitstatus_to_exitcode(status)}"
        return output, seconds, usage.ru_maxrss // 1024


if __name__ == "__main__":
    main()
