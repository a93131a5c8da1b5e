"""People from PostgreSQL to PostgreSQL where the warehouse compares, beside the same with a snapshot in a file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from tests.benchmarks.bare import copy_out
from tests.benchmarks.people import DEFINITION, QUERY, change_customers, make_customers
from tests.benchmarks.project import Project, new_project
from tests.benchmarks.results import Result
from tests.benchmarks.works import Bench
from tests.servers.kept_rows import keeping_warehouse


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Two projects that do the same."""

    compared: Project
    in_file: Project
    warehouse: str
    rows: int

    def work(self, name: str, **expected: int) -> Result:
        """Run both."""
        before = copy_out(self.warehouse, QUERY)
        ran, beside = self.compared.run(**expected), self.in_file.run(**expected)
        after = copy_out(self.warehouse, QUERY)
        fetched, whole = self._fetched(self.compared), self._fetched(self.in_file)
        more = {
            "of_file": ran.cost.cpu / beside.cost.cpu,
            "seconds_of_file": ran.cost.seconds / beside.cost.seconds,
            "fetched_percent": 100 * fetched / whole,
        }
        return Result(
            work=name, rows=self.rows, cost=ran.cost, read=(before + after) / 2, disk_mb=ran.disk_mb, more=more
        )

    def _fetched(self, project: Project) -> int:
        (newest, *_) = project.command("runs", "customers", "--json").output.splitlines()
        return int(json.loads(newest)["bytes_fetched"])


def measure(bench: Bench, wanted: Collection[str]) -> Iterator[Result]:
    """A first load, a run without changes, and one with some."""
    with ExitStack() as stack:
        warehouse, store, other_store = (stack.enter_context(bench.postgres.new_database()) for _ in range(3))
        make_customers(warehouse, bench.rows)
        kept = stack.enter_context(keeping_warehouse(warehouse))

        def project(store: str, text: str, **settings: str) -> Project:
            made = stack.enter_context(new_project(kept.reader_url, store))
            made.define(text)
            return replace(made, settings={**made.settings, **settings})

        text = DEFINITION.replace("*/", "snapshot: warehouse\n*/", 1)
        keeper = {"SYNCER_WAREHOUSES__DEFAULT__KEEPER_URL": kept.keeper_url}
        pair = _Pair(
            compared=project(store, text, **keeper),
            in_file=project(other_store, DEFINITION),
            warehouse=warehouse,
            rows=bench.rows,
        )
        found = [pair.work("compared-first-load", added=bench.rows)]
        found.append(pair.work("compared-unchanged", unchanged=bench.rows))
        change_customers(warehouse, 100)
        found.append(pair.work("compared-one-percent", changed=bench.rows // 100))
        yield from (result for result in found if result.work in wanted)
