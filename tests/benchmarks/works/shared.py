"""People from PostgreSQL to PostgreSQL where the snapshot is shared, beside the same with one of this machine alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import psycopg

from tests.benchmarks.bare import copy_out
from tests.benchmarks.people import QUERY, change_customers, make_customers
from tests.benchmarks.project import Project, new_project
from tests.benchmarks.results import Result
from tests.benchmarks.works import Bench

_PUT = "SELECT coalesce(sum(octet_length(bytes)), 0) FROM syncer_snapshot_parts"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Two projects that do the same."""

    shared: Project
    alone: Project
    warehouse: str
    run_log: str
    rows: int

    def work(self, name: str, project: Project | None = None, **expected: int) -> Result:
        """Run both; *project* in place of the one that shares its snapshot."""
        before, put = copy_out(self.warehouse, QUERY), self._put()
        ran = (project or self.shared).run(**expected)
        after, put = copy_out(self.warehouse, QUERY), self._put() - put
        alone = self.alone.run(**expected)
        return Result(
            work=name,
            rows=self.rows,
            cost=ran.cost,
            read=(before + after) / 2,
            disk_mb=ran.disk_mb,
            more={"put_mb": put / 1e6, "of_unshared": ran.cost.cpu / alone.cost.cpu},
        )

    def _put(self) -> int:
        with psycopg.connect(self.run_log) as connection:
            return int(connection.execute(_PUT).fetchall()[0][0])


def measure(bench: Bench, wanted: Collection[str]) -> Iterator[Result]:
    """A first load, runs without changes and with some, and one of a machine that never saw the sync."""
    with ExitStack() as stack:
        warehouse, run_log, other_log, store, other_store = (
            stack.enter_context(bench.postgres.new_database()) for _ in range(5)
        )
        make_customers(warehouse, bench.rows)

        def project(run_log: str, store: str, **settings: str) -> Project:
            made = stack.enter_context(new_project(warehouse, store))
            made.define()
            return replace(made, settings={**made.settings, "SYNCER_DATABASE_URL": run_log, **settings})

        shared, anew = (project(run_log, store, SYNCER_SNAPSHOTS_URL="database") for _ in range(2))
        alone, rows = project(other_log, other_store), bench.rows
        for made in (shared, alone):
            made.command("runs")
        pair = _Pair(shared=shared, alone=alone, warehouse=warehouse, run_log=run_log, rows=rows)
        found = [pair.work("shared-first-load", added=rows), pair.work("shared-unchanged", unchanged=rows)]
        change_customers(warehouse, 100)
        found.append(pair.work("shared-one-percent", changed=rows // 100))
        found.append(pair.work("shared-other-machine", anew, unchanged=rows))
        yield from (result for result in found if result.work in wanted)
