"""Whole processes of `syncer plan` and `syncer run` against a workspace in a process of its own."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.benchmarks.customerio.shop import change_everybody, differences
from tests.benchmarks.people import write_definition

_REPOSITORY = Path(__file__).parents[3]
_FORECAST = re.compile(r"Customer\.io: (?:about )?([\d,]+) calls?, (?:under a|at least ([\d,.]+)) (second|minute)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of everybody."""

    rows: int
    seconds: float
    #: Of the run's phase `send`.
    sending: float
    #: Seconds of the bare poster with the same bodies, right after.
    bare: float
    peak_megabytes: int
    #: Seconds, as the server saw its calls come.
    arrivals: Sequence[float]
    #: What `syncer plan` said before: calls, and seconds at least.
    forecast: tuple[int, float]

    @property
    def rows_per_second(self) -> float:
        """Of the whole process."""
        return self.rows / self.seconds

    def most_in_a_second(self) -> int:
        """The most calls that came within any second, its end left out."""
        return max(bisect_left(self.arrivals, begin + 1) - at for at, begin in enumerate(self.arrivals))

    def shortest(self, calls: int) -> float:
        """The fewest seconds between a call and the last of so many after it; infinite where there were not so many."""
        spans = (later - begin for begin, later in zip(self.arrivals, self.arrivals[calls:], strict=False))
        return min(spans, default=math.inf)

    def used(self, per_second: int) -> float:
        """What part of the calls that are allowed in the time of sending was made."""
        return len(self.arrivals) / (per_second * self.sending)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A project with its warehouse, and the workspace that it feeds."""

    folder: Path
    rows: int
    address: str
    environment: dict[str, str]
    server: subprocess.Popen[str]

    @property
    def shop(self) -> Path:
        """The warehouse."""
        return self.folder / "shop.duckdb"

    def measure(self, *, per_second: int, bare: bool = True) -> Measured:
        """Run the sync, of which every row is to be sent, and check what the workspace holds then."""
        environment = self.environment | {"SYNCER_STORES__DEFAULT__REQUESTS_PER_SECOND": str(per_second)}
        planned, _, _ = self._syncer(["plan", "customers"], environment)
        output, seconds, peak_megabytes = self._syncer(["run", "customers", "--json"], environment)
        run = json.loads(output)
        assert (run["status"], run["accepted"]) == ("success", self.rows), run
        runs, _, _ = self._syncer(["runs", "--json"], environment)
        told = self._ask()
        assert told["breaches"] == 0
        assert differences(self.shop, self.folder / "people.jsonl") == 0
        return Measured(
            rows=self.rows,
            seconds=seconds,
            sending=json.loads(runs.splitlines()[0])["phases"]["send"],
            bare=self._post_again() if bare else 0.0,
            peak_megabytes=peak_megabytes,
            arrivals=told["arrivals"],
            forecast=_forecast(planned),
        )

    def change(self) -> None:
        """Change everybody."""
        change_everybody(self.shop)

    def _syncer(self, arguments: list[str], environment: dict[str, str]) -> tuple[str, float, int]:
        command = [sys.executable, "-m", "syncer", *arguments]
        begun = time.monotonic()
        process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, text=True)
        output = _stream(process.stdout).read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        assert status == 0, f"`syncer {arguments[0]}` ended with {os.waitstatus_to_exitcode(status)}"
        return output, seconds, usage.ru_maxrss // 1024

    def _ask(self) -> Any:
        print(self.folder, file=_stream(self.server.stdin), flush=True)
        return json.loads(_stream(self.server.stdout).readline())

    def _post_again(self) -> float:
        login = [self.environment[f"SYNCER_STORES__DEFAULT__{name}"] for name in ("SITE_ID", "API_KEY")]
        poster = [sys.executable, "-m", "tests.benchmarks.customerio.poster"]
        command = [*poster, str(self.folder / "bodies.jsonl"), self.address, *login]
        told = subprocess.run(command, cwd=_REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
        self._ask()
        return float(json.loads(told)["seconds"])


@contextmanager
def bench(folder: Path, rows: int) -> Iterator[Bench]:
    """A new workspace, and a project in *folder* that feeds it from a shop there."""
    write_definition(folder / "sync_definitions")
    command = [sys.executable, "-m", "tests.servers.customerio"]
    with subprocess.Popen(command, cwd=_REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        told = json.loads(_stream(server.stdout).readline())
        environment = {
            "PATH": os.environ["PATH"],
            "SYNCER_WAREHOUSES__DEFAULT__URL": f"duckdb:///{folder}/shop.duckdb",
            **told["environment"],
        }
        yield Bench(folder=folder, rows=rows, address=told["address"], environment=environment, server=server)


def _forecast(planned: str) -> tuple[int, float]:
    found = _FORECAST.search(planned)
    assert found, planned
    calls, number, unit = found.groups()
    return int(calls.replace(",", "")), float((number or "0").replace(",", "")) * (60 if unit == "minute" else 1)


def _stream(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
