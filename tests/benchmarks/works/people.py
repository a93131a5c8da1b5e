"""People from PostgreSQL to a store: loaded, left as they are, changed, removed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import psycopg

from tests.benchmarks.bare import Bare, PostgreSQLBare, SQLiteBare, copy_out
from tests.benchmarks.people import DELETING, change_customers, definition, make_customers, query, remove_customers
from tests.benchmarks.project import Project, new_project
from tests.benchmarks.results import Result
from tests.benchmarks.works import Bench

_FEW = 100
_FEW_QUERY = "SELECT customer_id, 'gold' AS tier FROM few_customers"
_FEW_DEFINITION = f"/* sync\nentity: person\nperson: {{id: customer_id}}\n*/\n{_FEW_QUERY}\n"
#: A bare one alone takes less than can be measured.
_COPIES_OF_FEW = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shop:
    """A project that feeds people to a store, and the works that are wanted of it."""

    project: Project
    warehouse: str
    rows: int
    wanted: Collection[str]
    #: Before the names of its works.
    kind: str = ""
    #: What ratios are to: a query for all rows.
    reading: str

    def work(self, name: str, bare: Bare | None = None, **expected: int) -> Iterator[Result]:
        """Run the sync, and let *bare* follow; measure both if the work is wanted."""
        if f"{self.kind}{name}" not in self.wanted:
            self.project.run(**expected)
            if bare:
                bare.follow()
            return
        before = copy_out(self.warehouse, self.reading)
        ran = self.project.run(**expected)
        after = copy_out(self.warehouse, self.reading)
        change = bare.follow() if bare else None
        yield Result(
            work=f"{self.kind}{name}",
            rows=self.rows,
            cost=ran.cost,
            read=(before + after) / 2,
            disk_mb=ran.disk_mb,
            change=change.cost if change else None,
            how=change.how if change else "",
            more={"run_log_mb": ran.run_log_mb},
        )

    def wants(self, *names: str) -> bool:
        """Whether one of the works is wanted."""
        return any(f"{self.kind}{name}" in self.wanted for name in names)

    def change(self, every: int) -> int:
        """Change every so manieth row; returns how many."""
        change_customers(self.warehouse, every)
        return self.rows // every


@contextmanager
def _shop(bench: Bench, wanted: Collection[str], rows: int, kind: str = "", columns: int = 10) -> Iterator[_Shop]:
    server = bench.postgres
    with server.new_database() as warehouse, server.new_database() as store:
        make_customers(warehouse, rows, columns)
        with new_project(warehouse, "" if kind == "sqlite-" else store) as project:
            project.define(definition(columns))
            yield _Shop(
                project=project, warehouse=warehouse, rows=rows, wanted=wanted, kind=kind, reading=query(columns)
            )


def measure(bench: Bench, wanted: Collection[str]) -> Iterator[Result]:
    """Every shape of work, to a PostgreSQL store."""
    with _shop(bench, wanted, bench.rows) as shop:
        bare = PostgreSQLBare(shop.project.store)
        with closing(bare):
            yield from shop.work("first-load", bare, added=shop.rows)
            if shop.wants("unchanged"):
                yield from shop.work("unchanged", unchanged=shop.rows)
            if shop.wants("one-percent"):
                yield from shop.work("one-percent", bare, changed=shop.change(every=100))
            if shop.wants("every-row"):
                yield from shop.work("every-row", bare, changed=shop.change(every=1))
            if shop.wants("half-removed", "small-after-removal"):
                _make_few(shop)
                bare.follow()
                yield from _remove(shop, bare)
            if shop.wants("small-after-removal"):
                yield _small(shop)


def measure_sqlite(bench: Bench, wanted: Collection[str]) -> Iterator[Result]:
    """The works that write most, to an SQLite store."""
    with _shop(bench, wanted, bench.rows, "sqlite-") as shop:
        bare = SQLiteBare(shop.project.folder / "store.db", shop.project.folder)
        with closing(bare):
            yield from shop.work("first-load", bare, added=shop.rows)
            if shop.wants("every-row"):
                yield from shop.work("every-row", bare, changed=shop.change(every=1))
            if shop.wants("half-removed"):
                yield from _remove(shop, bare)


def measure_wide(bench: Bench, wanted: Collection[str]) -> Iterator[Result]:
    """A fifth of the rows, with ten times as many columns."""
    with _shop(bench, wanted, bench.rows // 5, "wide-", columns=100) as shop:
        bare = PostgreSQLBare(shop.project.store)
        with closing(bare):
            yield from shop.work("first-load", bare, added=shop.rows)
            if shop.wants("every-row"):
                yield from shop.work("every-row", bare, changed=shop.change(every=1))


def measure_large(bench: Bench, wanted: Collection[str]) -> Iterator[Result]:
    """Ten times the rows."""
    return measure_usual(bench, wanted, bench.rows * 10, "large-")


def measure_usual(bench: Bench, wanted: Collection[str], rows: int, kind: str = "") -> Iterator[Result]:
    """What happens every hour, after a first load of so many rows; without what the database alone would need."""
    with _shop(bench, wanted, rows, kind) as shop:
        yield from shop.work("first-load", added=shop.rows)
        if shop.wants("unchanged"):
            yield from shop.work("unchanged", unchanged=shop.rows)
        if shop.wants("one-percent"):
            yield from shop.work("one-percent", changed=shop.change(every=100))


def _remove(shop: _Shop, bare: Bare) -> Iterator[Result]:
    """Take half of the people away; the query returns the other half then, but ratios are to reading all, as before."""
    remove_customers(shop.warehouse, every=2)
    shop.project.define(DELETING)
    shop = replace(shop, reading=shop.reading.replace("FROM customers", "FROM former_customers"))
    yield from shop.work("half-removed", bare, removed=shop.rows - shop.rows // 2)


def _make_few(shop: _Shop) -> None:
    """A second sync of a few of the people, half of whom are among those to be removed; its store has them."""
    with psycopg.connect(shop.warehouse, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE few_customers AS "
            f"SELECT i * {shop.rows // _FEW} - i % 2 AS customer_id FROM generate_series(1, {_FEW}) AS i"
        )
    shop.project.define(_FEW_DEFINITION, "few")
    shop.project.run("few")


def _small(shop: _Shop) -> Result:
    """The second sync learns of the removals, and then once more what it knows by now."""
    reading = copy_out(shop.warehouse, _FEW_QUERY, times=_COPIES_OF_FEW)
    first, then = shop.project.run("few"), shop.project.run("few")
    return Result(
        work="small-after-removal",
        rows=_FEW,
        cost=first.cost,
        read=reading,
        disk_mb=then.disk_mb,
        more={"then_seconds": then.cost.seconds, "then_cpu_seconds": then.cost.cpu},
    )
