"""Orders as events: to PostgreSQL, also where a hundred times as many were sent before, and to Customer.io."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg

from tests.benchmarks import orders
from tests.benchmarks.bare import copy_out
from tests.benchmarks.customerio.bench import bench as new_workspace
from tests.benchmarks.measuring import Cost, costs
from tests.benchmarks.project import Project, Ran, new_project
from tests.benchmarks.results import Result
from tests.benchmarks.works import Bench
from tests.benchmarks.works.customerio import DEFAULT_LIMIT, NO_LIMIT, measured

#: Events that were sent before, for each new one.
_BEFORE = 100


def measure(bench: Bench, wanted: Collection[str]) -> Iterator[Result]:
    """A first load, and as many new ones where many more were sent before."""
    server, rows = bench.postgres, bench.rows
    with server.new_database() as warehouse, server.new_database() as store, new_project(warehouse, store) as project:
        orders.make_orders(warehouse, rows)
        project.define(orders.definition(), "paid")
        read, ran = _run(project, orders.QUERY, rows)
        first = _result("events-first-load", rows, ran, read, change=_copy_in(store))
        if first.work in wanted:
            yield first
        if "events-remembered" in wanted:
            yield _remembered(project, warehouse, rows, first)


def _remembered(project: Project, warehouse: str, rows: int, first: Result) -> Result:
    orders.make_orders(warehouse, rows, after=rows)
    (snapshot,) = project.state.rglob("paid.duckdb")
    orders.remember(snapshot, rows * _BEFORE)
    project.define(orders.definition(orders.INCREMENTAL, "lookback: 1 second\nremember: 3000 days"), "paid")
    new = f"{orders.QUERY} WHERE paid_at >= to_timestamp({orders.BEGUN + rows})"
    read, ran = _run(project, new, rows)
    with duckdb.connect(str(snapshot), read_only=True) as connection:
        known = connection.execute("SELECT count(*) FROM sent_events").fetchall()[0][0]
    more = {"event_bytes": snapshot.stat().st_size / known, "of_first_load": ran.cost.cpu / first.cost.cpu}
    return _result("events-remembered", rows, ran, read, more=more)


def _run(project: Project, query: str, rows: int) -> tuple[Cost, Ran]:
    warehouse = project.settings["SYNCER_WAREHOUSES__DEFAULT__URL"]
    before = copy_out(warehouse, query)
    ran = project.run("paid", added=rows, accepted=rows)
    return (before + copy_out(warehouse, query)) / 2, ran


def _result(
    work: str, rows: int, ran: Ran, read: Cost, *, change: Cost | None = None, more: dict[str, float] | None = None
) -> Result:
    return Result(
        work=work, rows=rows, cost=ran.cost, read=read, disk_mb=ran.disk_mb, change=change, how="COPY", more=more or {}
    )


def _copy_in(store: str) -> Cost:
    """What a bare COPY of the store's events takes, into a table with the same indexes and reference to people."""
    with closing(psycopg.connect(store, autocommit=True)) as connection, tempfile.TemporaryFile() as file:
        connection.execute("CREATE SCHEMA bare; CREATE TABLE bare.events (LIKE events INCLUDING ALL)")
        connection.execute("ALTER TABLE bare.events ADD FOREIGN KEY (person_id) REFERENCES people ON DELETE CASCADE")
        with connection.cursor().copy("COPY (SELECT * FROM events ORDER BY ctid) TO STDOUT") as copy:
            for data in copy:
                file.write(data)
        file.seek(0)
        connection.execute("CHECKPOINT")
        with costs() as cost, connection.cursor().copy("COPY bare.events FROM STDIN") as copy:
            while data := file.read(1 << 17):
                copy.write(data)
        connection.execute("DROP SCHEMA bare CASCADE")
    return cost()


def measure_customerio(bench: Bench, wanted: Collection[str]) -> Iterator[Result]:
    """A first load of events without a limit of calls, and at the default one, each into a workspace of its own."""
    for work, limit in (("customerio-events-no-limit", NO_LIMIT), ("customerio-events-default-limit", DEFAULT_LIMIT)):
        if work not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="syncer-benchmark-") as name:
            folder = Path(name)
            orders.make_file(folder / "shop.duckdb", bench.rows)
            with new_workspace(folder, bench.rows, "paid", orders.definition(), orders.differences) as workspace:
                yield measured(work, workspace, limit)
