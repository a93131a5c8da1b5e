"""How fast Syncer is, as ratios to a bare COPY of the same query in the same run: `python -m tests.benchmarks`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.people import bare_copy_seconds, change_customers, make_customers, write_definition
from tests.postgres_server import PostgresServer, postgres_server


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One whole process of `syncer run`."""

    work: str
    rows: int
    seconds: float
    #: Seconds of the bare COPY beside it.
    bare: float
    peak_megabytes: int
    counts: dict[str, int]

    def line(self) -> str:
        """For people: times as ratios to the bare COPY."""
        ratio = f"{self.seconds / self.bare:.1f} x"
        return f"{self.work:<34}{self.rows:>12,}{self.seconds:>9.2f} s{ratio:>9}{self.peak_megabytes:>8} MB"


def main() -> None:
    """Measure, and print a line for each piece of work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3, help="how often to run what changes nothing; the best counts")
    parser.add_argument("--large", action="store_true", help="also ten times as many rows")
    options = parser.parse_args()
    print(f"{'work':<34}{'rows':>12}{'time':>11}{'ratio':>9}{'peak':>11}")
    with postgres_server() as server:
        small = _measure(server, options.rows, options.times)
        if options.large:
            large = _measure(server, options.rows * 10, 1)
            print(f"ten times the rows, 1 % changed: {large / small:.1f} x the time")


def _measure(server: PostgresServer, rows: int, times: int) -> float:
    """Print every piece of work on so many rows; returns the seconds of the run with 1 % changed."""
    with (
        tempfile.TemporaryDirectory(prefix="syncer-benchmark-") as folder,
        server.new_database() as warehouse,
        server.new_database() as store,
    ):
        project = Path(folder)
        write_definition(project / "sync_definitions")
        make_customers(warehouse, rows)
        bare = min(bare_copy_seconds(warehouse) for _ in range(times + 1))
        print(f"{'bare COPY, thrown away':<34}{rows:>12,}{bare:>9.2f} s{'1.0 x':>9}")
        bench = _Bench(project=project, warehouse=warehouse, store=store, rows=rows, bare=bare)
        _show(bench.run("first load"), added=rows)
        unchanged = min((bench.run("nothing changed") for _ in range(times)), key=lambda m: m.seconds)
        _show(unchanged, unchanged=rows)
        changed = []
        for _ in range(times):
            change_customers(warehouse, every=100)
            changed.append(bench.run("1 % of the rows changed"))
        best = min(changed, key=lambda m: m.seconds)
        _show(best, changed=rows // 100)
        return best.seconds


def _show(measured: Measured, **expected: int) -> None:
    found = {name: measured.counts[name] for name in expected}
    assert found == expected, f"{measured.work}: expected {expected}, found {found}"
    print(measured.line(), flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    project: Path
    warehouse: str
    store: str
    rows: int
    bare: float

    def run(self, work: str) -> Measured:
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
        assert status == 0, f"{work} ended with {os.waitstatus_to_exitcode(status)}"
        return Measured(
            work=work,
            rows=self.rows,
            seconds=seconds,
            bare=self.bare,
            peak_megabytes=usage.ru_maxrss // 1024,
            counts=json.loads(output),
        )


if __name__ == "__main__":
    main()
