"""A reference table."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tests.benchmarks.bare import copy_out
from tests.benchmarks.people import make_customers
from tests.benchmarks.project import new_project
from tests.benchmarks.results import Result
from tests.benchmarks.works import Bench

#: A store takes 10 MB of JSON.
_QUERY = "SELECT customer_id, plan, lifetime_value FROM customers"
_DEFINITION = f"/* sync\nentity: collection\ncollection: customers\nkey: customer_id\n*/\n{_QUERY}\n"


def measure(bench: Bench, wanted: Collection[str]) -> Iterator[Result]:
    """Twelve of a hundred rows, as a collection that the store does not have yet."""
    rows = bench.rows * 12 // 100
    server = bench.postgres
    with server.new_database() as warehouse, server.new_database() as store, new_project(warehouse, store) as project:
        make_customers(warehouse, rows)
        project.define(_DEFINITION)
        before = copy_out(warehouse, _QUERY)
        ran = project.run(added=rows)
        read = (before + copy_out(warehouse, _QUERY)) / 2
        yield Result(work="collection", rows=rows, cost=ran.cost, read=read, disk_mb=ran.disk_mb)
