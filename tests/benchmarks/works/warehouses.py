"""Runs in which nothing has changed, from other warehouses than PostgreSQL, beside their drivers' own bulk reads."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial

from tests.benchmarks.measuring import Cost, costs
from tests.benchmarks.project import new_project
from tests.benchmarks.results import Result
from tests.benchmarks.warehouses.__main__ import resolved
from tests.benchmarks.works import Bench

_QUERY = "SELECT * FROM people"
_FIRST_QUERY = "SELECT * FROM people WHERE user_id = 1"
_DEFINITION = f"/* sync\nentity: person\nperson: {{id: user_id}}\n*/\n{_QUERY}\n"


def _measure(work: str, candidate: str, bench: Bench, wanted: Collection[str]) -> Iterator[Result]:
    with resolved(candidate).serve(bench.rows) as url, new_project(url) as project:
        project.define(_DEFINITION, "people")
        project.run("people", added=bench.rows)
        # What is imported on use does not count.
        _read(candidate, url, _FIRST_QUERY)
        before = _read(candidate, url, _QUERY)
        ran = project.run("people", unchanged=bench.rows)
        read = (before + _read(candidate, url, _QUERY)) / 2
        yield Result(
            work=work,
            rows=bench.rows,
            cost=ran.cost,
            read=read,
            disk_mb=ran.disk_mb,
            how=f"against {resolved(candidate).against}",
        )


def _read(candidate: str, url: str, query: str) -> Cost:
    with costs() as cost:
        resolved(candidate).bare(url, query)
    return cost()


measure_mysql = partial(_measure, "mysql-unchanged", "MariaDB")
measure_bigquery = partial(_measure, "bigquery-unchanged", "BigQuery")
measure_snowflake = partial(_measure, "snowflake-unchanged", "Snowflake")
measure_redshift = partial(_measure, "redshift-unchanged", "Redshift")
