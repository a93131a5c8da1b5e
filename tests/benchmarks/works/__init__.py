"""What is measured. A further work is its function here, its entry below, and its targets in `results`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pkgutil import resolve_name

from tests.benchmarks.results import Result
from tests.servers.postgresql import PostgresServer, postgres_server


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What works are measured with."""

    #: Of the works with the most; others have their share.
    rows: int
    #: Of the work with small syncs.
    syncs: int
    #: What lives as long as the benchmark.
    held: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def postgres(self) -> PostgresServer:
        """The server for warehouses and stores, started by its first use."""
        return self.held.enter_context(postgres_server())


#: Measures those works of its group that are wanted, once.
Measure = Callable[[Bench, Collection[str]], Iterator[Result]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Works that follow one another in the same project."""

    works: Sequence[str]
    #: The function, as `module:name`, imported on use.
    measured_by: str

    @property
    def measure(self) -> Measure:
        """The function."""
        found: Measure = resolve_name(f"tests.benchmarks.works.{self.measured_by}")
        return found


GROUPS = (
    Group(
        works=("first-load", "unchanged", "one-percent", "every-row", "half-removed", "small-after-removal"),
        measured_by="people:measure",
    ),
    Group(works=("small-syncs",), measured_by="small_syncs:measure"),
    Group(works=("wide-first-load", "wide-every-row"), measured_by="people:measure_wide"),
    Group(
        works=("shared-first-load", "shared-unchanged", "shared-one-percent", "shared-other-machine"),
        measured_by="shared:measure",
    ),
    Group(
        works=("compared-first-load", "compared-unchanged", "compared-one-percent"),
        measured_by="compared:measure",
    ),
    Group(works=("collection",), measured_by="collection:measure"),
    Group(works=("sqlite-first-load", "sqlite-every-row", "sqlite-half-removed"), measured_by="people:measure_sqlite"),
    Group(works=("events-first-load", "events-remembered"), measured_by="events:measure"),
    Group(works=("customerio-no-limit", "customerio-default-limit"), measured_by="customerio:measure"),
    Group(
        works=("customerio-events-no-limit", "customerio-events-default-limit"),
        measured_by="events:measure_customerio",
    ),
    Group(works=("mysql-unchanged",), measured_by="warehouses:measure_mysql"),
    Group(works=("bigquery-unchanged",), measured_by="warehouses:measure_bigquery"),
    Group(works=("snowflake-unchanged",), measured_by="warehouses:measure_snowflake"),
    Group(works=("redshift-unchanged",), measured_by="warehouses:measure_redshift"),
)
#: Only where it is said.
LARGE = Group(works=("large-first-load", "large-unchanged", "large-one-percent"), measured_by="people:measure_large")
