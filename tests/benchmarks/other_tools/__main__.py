"""dlt and drt on the same work as Syncer, from PostgreSQL to PostgreSQL: `python -m tests.benchmarks.other_tools`.

They are installed into an environment of their own. Each work is a whole process; right before and right after it the
same query is read by a bare COPY, and ratios are to the mean of the two. Processor time counts client and server
together. After each work the store must have what the query returns. What dlt and drt store are columns of a table,
without a second unique identifier, where Syncer has JSON; and dlt leaves removed rows where they are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

from tests.benchmarks.bare import copy_out
from tests.benchmarks.measuring import Cost
from tests.benchmarks.other_tools.tools import PACKAGES, Dlt, Drt, Place, Syncer, Tool
from tests.benchmarks.people import QUERY, change_customers, make_customers
from tests.servers.postgresql import PostgresServer, postgres_server

_WORKS = ("first load", "nothing changed", "1 % changed", "every row changed")
_TOOLS: tuple[Callable[..., Tool], ...] = (
    Syncer,
    partial(Dlt, name="dlt, merge", how="merge"),
    partial(Dlt, name="dlt, upsert", how="upsert"),
    partial(Dlt, name="dlt, upsert of Arrow", how="arrow"),
    Drt,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One work of one tool, several times: of each measure the median."""

    tool: str
    work: str
    rows: int
    cpu_ratio: float
    wall_ratio: float
    seconds: float
    peak_mb: float

    def as_json(self) -> str:
        """One object."""
        return json.dumps(asdict(self))

    def as_markdown(self) -> str:
        """A row of a table."""
        figures = f"{self.cpu_ratio:.1f} × | {self.wall_ratio:.1f} × | {self.seconds:.1f} s | {self.peak_mb:.0f} MB"
        return f"| {self.work} | {self.tool} | {figures} |"


def main() -> None:
    """Measure, and print a line for each work of each tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=1, help="how often to do all of it; the median counts")
    parser.add_argument("--environment", type=Path, help="keep it in this folder, or use the one that is there")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line, not a table in Markdown")
    options = parser.parse_args()
    with ExitStack() as held:
        kept = options.environment or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="syncer-tools-")))
        environment = kept.absolute()
        _install(environment)
        server = held.enter_context(postgres_server())
        if not options.json:
            print("| work | tool | CPU | wall | time | peak memory |\n|---|---|---|---|---|---|")
        found: dict[tuple[str, str], list[tuple[Cost, Cost]]] = {}
        for turn in range(1, options.times + 1):
            for tool, work, cost, read in _measure(server, environment, options.rows):
                costs = found.setdefault((tool, work), [])
                costs.append((cost, read))
                if turn == options.times:
                    measured = _middle(tool, work, options.rows, costs)
                    print(measured.as_json() if options.json else measured.as_markdown(), flush=True)


def _install(environment: Path) -> None:
    if (environment / "bin/drt").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    command = [str(environment / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    subprocess.run(command, check=True, stdout=sys.stderr)


def _measure(server: PostgresServer, environment: Path, rows: int) -> Iterator[tuple[str, str, Cost, Cost]]:
    """Each work by each tool, in turns: whatever else the machine does meets all of them alike."""
    with ExitStack() as held:
        warehouse = held.enter_context(server.new_database())
        make_customers(warehouse, rows)
        tools = []
        for make in _TOOLS:
            folder = held.enter_context(tempfile.TemporaryDirectory(prefix="syncer-tool-"))
            store = held.enter_context(server.new_database())
            tool = make(place=Place(folder=Path(folder), environment=environment, warehouse=warehouse, store=store))
            tool.prepare()
            tools.append(tool)
        for work in _WORKS:
            changed = {"1 % changed": rows // 100, "every row changed": rows}.get(work, 0)
            if changed:
                change_customers(warehouse, every=rows // changed)
            for tool in tools:
                before = copy_out(warehouse, QUERY)
                cost = tool.run()
                read = (before + copy_out(warehouse, QUERY)) / 2
                assert tool.stored() == (rows, changed), f"{tool.name}, {work}: {tool.stored()}"
                yield tool.name, work, cost, read


def _middle(tool: str, work: str, rows: int, costs: list[tuple[Cost, Cost]]) -> Measured:
    return Measured(
        tool=tool,
        work=work,
        rows=rows,
        cpu_ratio=round(median(cost.cpu / read.cpu for cost, read in costs), 2),
        wall_ratio=round(median(cost.seconds / read.seconds for cost, read in costs), 2),
        seconds=round(median(cost.seconds for cost, _ in costs), 2),
        peak_mb=median(cost.peak_mb for cost, _ in costs),
    )


if __name__ == "__main__":
    main()
