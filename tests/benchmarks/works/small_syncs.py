"""Many small syncs in one `syncer run --all`, of which nothing has changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import psycopg

from tests.benchmarks.bare import copy_out
from tests.benchmarks.measuring import megabytes_below
from tests.benchmarks.project import Project, new_project
from tests.benchmarks.results import Result
from tests.benchmarks.works import Bench

_ROWS = 100
#: One alone takes less than can be measured.
_QUERIES = 200
_MAKE = f"""
CREATE TABLE scores AS
SELECT s AS model, i AS customer_id, i * s % 97 AS score, 'segment ' || i % 7 AS segment
FROM generate_series(1, {{syncs}}) AS s, generate_series(1, {_ROWS}) AS i
"""
_QUERY = "SELECT customer_id, score AS score_{0}, segment AS segment_{0} FROM scores WHERE model = {0}"
_STATISTICS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"


def measure(bench: Bench, wanted: Collection[str]) -> Iterator[Result]:
    """What each of the syncs costs, with all that is done once for all of them."""
    server = bench.postgres
    with server.new_database() as warehouse, server.new_database() as store, new_project(warehouse, store) as project:
        with psycopg.connect(warehouse, autocommit=True) as connection:
            connection.execute(_MAKE.format(syncs=bench.syncs))
            connection.execute("CREATE INDEX ON scores (model)")
            connection.execute("VACUUM ANALYZE scores")
        for number in range(1, bench.syncs + 1):
            header = "/* sync\nentity: person\nperson: {id: customer_id}\n*/\n"
            project.define(f"{header}{_QUERY.format(number)}\n", f"scores_{number:03}")
        project.command("run", "--all")
        read = copy_out(warehouse, _QUERY.format(bench.syncs // 2 + 1), times=_QUERIES)
        cost = project.command("run", "--all").cost / bench.syncs
        disk_mb = megabytes_below(project.state)
        more = {
            "cpu_ms": cost.cpu * 1000,
            "disk_kb": disk_mb * 1000 / bench.syncs,
            "transactions": _transactions(bench, warehouse, store, project) / bench.syncs,
        }
        yield Result(work="small-syncs", rows=_ROWS, cost=cost, read=read, disk_mb=disk_mb, more=more)


def _transactions(bench: Bench, warehouse: str, store: str, project: Project) -> int:
    """How many the same run makes in a run log in PostgreSQL, which counts them."""
    with bench.postgres.new_database() as run_log, new_project(warehouse, store) as counted:
        (project.folder / "sync_definitions").rename(counted.folder / "sync_definitions")
        counted = replace(counted, settings={**counted.settings, "SYNCER_DATABASE_URL": run_log})
        counted.command("run", "--all")
        with psycopg.connect(run_log, autocommit=True) as connection:
            before = int(connection.execute(_STATISTICS).fetchall()[0][0])
            counted.command("run", "--all")
            connection.execute("SELECT pg_stat_clear_snapshot()")
            return int(connection.execute(_STATISTICS).fetchall()[0][0]) - before
