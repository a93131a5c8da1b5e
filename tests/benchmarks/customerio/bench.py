"""Whole processes of `syncer plan` and `syncer run` against a workspace in a process of its own."""

from __future__ import annotations

import json
import math
import re
import sqlite3
import subprocess
import sys
from base64 import b64encode
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from tests.benchmarks import measuring
from tests.benchmarks.customerio.shop import change_everybody, differences
from tests.benchmarks.measuring import Cost, Program, costs
from tests.benchmarks.people import DEFINITION, write_definition

#: The sync of people.
_PEOPLE = "customers"
_REPOSITORY = Path(__file__).parents[3]
_FORECAST = re.compile(r"Customer\.io: (?:about )?([\d,]+) calls?, (?:under a|at least ([\d,.]+)) (second|minute)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of everybody."""

    rows: int
    cost: Cost
    #: Seconds of the run's phase `send`.
    sending: float
    #: Of posting the same bodies through one plain socket, right after.
    bare: Cost | None
    #: Seconds, as the server saw its calls come.
    arrivals: Sequence[float]
    #: What `syncer plan` said before: calls, and seconds at least; zeros where it was not asked.
    forecast: tuple[int, float]

    @property
    def rows_per_second(self) -> float:
        """Of the whole process."""
        return self.rows / self.cost.seconds

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
    sync: str
    #: Rows of the shop that the workspace has not got, and the other way round: from both files.
    differences: Callable[[Path, Path], int]

    @property
    def shop(self) -> Path:
        """The warehouse."""
        return self.folder / "shop.duckdb"

    def measure(self, *, per_second: int, bare: bool = True, plan: bool = True) -> Measured:
        """Run the sync, of which every row is to be sent, and check what the workspace holds then."""
        environment = self.environment | {"SYNCER_STORES__DEFAULT__REQUESTS_PER_SECOND": str(per_second)}
        forecast = _forecast(self._syncer(["plan", self.sync], environment).output) if plan else (0, 0.0)
        ran = self._syncer(["run", self.sync, "--json"], environment)
        run = json.loads(ran.output)
        assert (run["status"], run["accepted"]) == ("success", self.rows), run
        told = self._ask()
        assert told["breaches"] == 0
        assert self.differences(self.shop, self.folder / "held.jsonl") == 0
        return Measured(
            rows=self.rows,
            cost=ran.cost,
            sending=self._sending(),
            bare=self._post_again() if bare else None,
            arrivals=told["arrivals"],
            forecast=forecast,
        )

    def change(self) -> None:
        """Change everybody."""
        change_everybody(self.shop)

    def _syncer(self, arguments: list[str], environment: dict[str, str]) -> Program:
        return measuring.run(["-m", "syncer", *arguments], folder=self.folder, settings=environment)

    def _sending(self) -> float:
        """Seconds of the last run's phase `send`, from the run log."""
        with closing(sqlite3.connect(self.folder / ".syncer/runs.db")) as connection:
            last = connection.execute("SELECT phases FROM syncer_runs ORDER BY started_at DESC LIMIT 1").fetchone()
        return float(json.loads(last[0])["send"])

    def _ask(self) -> Any:
        what = "people" if self.sync == _PEOPLE else "events"
        print(f"{what} {self.folder}", file=_stream(self.server.stdin), flush=True)
        return json.loads(_stream(self.server.stdout).readline())

    def _post_again(self) -> Cost:
        """Through one connection, one after the other, by a client that does nothing else."""
        login = ":".join(self.environment[f"SYNCER_STORES__DEFAULT__{name}"] for name in ("SITE_ID", "API_KEY"))
        basic = b64encode(login.encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {basic}"}
        bodies = (self.folder / "bodies.jsonl").read_bytes().splitlines()
        with closing(HTTPConnection(urlsplit(self.address).netloc, timeout=60)) as connection, costs() as cost:
            for body in bodies:
                connection.request("POST", "/api/v2/batch", body, headers)
                response = connection.getresponse()
                response.read()
                assert response.status == 200, response.status
        self._ask()
        return cost()


@contextmanager
def bench(
    folder: Path,
    rows: int,
    sync: str = _PEOPLE,
    definition: str = DEFINITION,
    differences: Callable[[Path, Path], int] = differences,
) -> Iterator[Bench]:
    """A new workspace, and a project in *folder* that feeds it from a shop there."""
    write_definition(folder / "sync_definitions", definition, sync)
    command = [sys.executable, "-m", "tests.servers.customerio"]
    with subprocess.Popen(command, cwd=_REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        told = json.loads(_stream(server.stdout).readline())
        environment = {
            "SYNCER_WAREHOUSES__DEFAULT__URL": f"duckdb:///{folder}/shop.duckdb",
            **told["environment"],
        }
        yield Bench(
            folder=folder,
            rows=rows,
            address=told["address"],
            environment=environment,
            server=server,
            sync=sync,
            differences=differences,
        )


def _forecast(planned: str) -> tuple[int, float]:
    found = _FORECAST.search(planned)
    assert found, planned
    calls, number, unit = found.groups()
    return int(calls.replace(",", "")), float((number or "0").replace(",", "")) * (60 if unit == "minute" else 1)


def _stream(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
