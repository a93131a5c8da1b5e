"""People from a DuckDB file to a stand-in for Customer.io."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.benchmarks.customerio.bench import Bench as Workspace
from tests.benchmarks.customerio.bench import bench as new_workspace
from tests.benchmarks.customerio.shop import make_shop
from tests.benchmarks.measuring import megabytes_below
from tests.benchmarks.results import Result
from tests.benchmarks.works import Bench

NO_LIMIT, DEFAULT_LIMIT = 1_000_000, 100


def measure(bench: Bench, wanted: Collection[str]) -> Iterator[Result]:
    """A first load without a limit of calls, and a change of everybody at the default one."""
    with tempfile.TemporaryDirectory(prefix="syncer-benchmark-") as folder:
        make_shop(Path(folder) / "shop.duckdb", bench.rows)
        with new_workspace(Path(folder), bench.rows) as workspace:
            first = measured("customerio-no-limit", workspace, NO_LIMIT)
            if first.work in wanted:
                yield first
            if "customerio-default-limit" in wanted:
                workspace.change()
                yield measured("customerio-default-limit", workspace, DEFAULT_LIMIT)


def measured(work: str, workspace: Workspace, per_second: int) -> Result:
    """Run the sync of a workspace with so many calls a second at most."""
    found = workspace.measure(per_second=per_second, plan=False)
    assert found.bare is not None
    return Result(
        work=work,
        rows=found.rows,
        cost=found.cost,
        read=found.bare,
        disk_mb=megabytes_below(workspace.folder / ".syncer"),
        more={"sending_seconds": found.sending, "of_allowed_time": found.sending * per_second / len(found.arrivals)},
    )
