"""What workers cost and bring: runs by one and by two of them, and what a run takes of a service and its worker.

The run log is on a server of its own, so that its processor time is known; warehouse and store share another one.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import psycopg

from tests.benchmarks.cluster.machines import Machine, Machines, started, wait_until
from tests.benchmarks.measuring import processor_seconds
from tests.servers.postgresql import PostgresServer, postgres_server

ROWS = 100

_HEADER = "/* sync\nentity: object\nobject: {{type: kind_{number:02}, id: id}}\n*/\n"
#: The newest value of the first row differs in every run, while the switch is on.
_QUERY = (
    "SELECT id, CASE WHEN id = 1 AND is_on THEN extract(epoch FROM clock_timestamp()) ELSE value END AS value\n"
    "FROM items CROSS JOIN switch CROSS JOIN (SELECT pg_sleep(seconds) FROM switch) AS waited WHERE sync = {number}\n"
)
_STATISTICS = (
    "SELECT xact_commit + xact_rollback, (SELECT coalesce(sum(octet_length(bytes)), 0) FROM syncer_snapshot_parts), "
    "(SELECT count(*) FROM syncer_runs WHERE status = 'success') "
    "FROM pg_stat_database WHERE datname = current_database()"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was spent in a while."""

    seconds: float
    runs: float
    #: Seconds of processor time.
    service: float
    worker: float
    run_log: float
    #: Of warehouse and store.
    data: float
    transactions: float
    put_bytes: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(**{one.name: getattr(self, one.name) - getattr(other, one.name) for one in fields(Spent)})

    @property
    def client_ms(self) -> float:
        """Milliseconds of processor time for each run, of service and worker."""
        return (self.service + self.worker) / self.runs * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Of the run log, and of warehouse and store."""

    run_log: PostgresServer
    data: PostgresServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A service, and workers or none."""

    servers: Servers
    machines: Machines
    folder: Path
    warehouse: str
    store: str

    def define(self, syncs: int, *, rows: int = ROWS) -> None:
        """Have so many syncs of so many rows each."""
        with psycopg.connect(self.warehouse, autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE items (sync int, id bigint, value double precision, PRIMARY KEY (sync, id))"
            )
            connection.execute(
                "INSERT INTO items SELECT s, i, i FROM generate_series(1, %s) AS s, generate_series(1, %s) AS i",
                [syncs, rows],
            )
            connection.execute("CREATE TABLE switch AS SELECT false AS is_on, 0::float8 AS seconds")
            connection.execute("VACUUM ANALYZE items")
        for number in range(1, syncs + 1):
            text = (_HEADER + _QUERY).format(number=number)
            written = self.folder / "new"
            written.write_text(text)
            written.rename(self.folder / f"definitions/kind_{number:02}.sql")

    def change_always(self) -> None:
        """Let a row of each sync have changed with each run."""
        with psycopg.connect(self.warehouse, autocommit=True) as connection:
            connection.execute("UPDATE switch SET is_on = true")

    def wait_for_rows(self, seconds: float) -> None:
        """Let each query take so long in the warehouse, which does nothing meanwhile.

        Not in the store: an SQL store takes the rows of one run at a time.
        """
        with psycopg.connect(self.warehouse, autocommit=True) as connection:
            connection.execute("UPDATE switch SET seconds = %s", [seconds])

    def runs(self) -> int:
        """How many have ended well."""
        with psycopg.connect(self.machines.run_log) as connection:
            if connection.execute("SELECT to_regclass('syncer_runs')").fetchall() == [(None,)]:
                return 0
            ((number,),) = connection.execute("SELECT count(*) FROM syncer_runs WHERE status = 'success'").fetchall()
            return int(number)

    def spent(self) -> Spent:
        """What was spent since the start."""
        with psycopg.connect(self.machines.run_log, autocommit=True) as connection:
            ((transactions, put, runs),) = connection.execute(_STATISTICS).fetchall()
        return Spent(
            seconds=time.monotonic(),
            runs=runs,
            service=sum(processor_seconds(one.pid) for one in self.machines.services),
            worker=sum(processor_seconds(one.pid) for one in self.machines.workers),
            run_log=processor_seconds(self.servers.run_log.pid),
            data=processor_seconds(self.servers.data.pid),
            transactions=float(transactions),
            put_bytes=float(put),
        )

    def spent_in(self, seconds: float) -> Spent:
        """What is spent in the seconds from now."""
        before = self.spent()
        time.sleep(seconds)
        return self.spent() - before


@contextmanager
def bench(
    servers: Servers, settings: Mapping[str, str], *, every: int, workers: int, concurrency: int = 4
) -> Iterator[Bench]:
    """A service and so many workers, without a sync; gone afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncer-cluster-")))
        (folder / "definitions").mkdir()
        run_log = stack.enter_context(servers.run_log.new_database())
        warehouse, store = (stack.enter_context(servers.data.new_database()) for _ in range(2))
        given = {
            "SYNCER_DEFINITIONS_DIR": f"{folder}/definitions",
            "SYNCER_DATABASE_URL": run_log,
            "SYNCER_WAREHOUSES__DEFAULT__URL": warehouse,
            "SYNCER_STORES__DEFAULT__URL": store,
            "SYNCER_JITTER": "60",
            "SYNCER_WEB__PORT": "0",
            **settings,
        }
        work = ["syncer", "worker", "--concurrency", str(concurrency)]
        serve = Machine(name="service", words=["tests.service.every_second", str(every)], folder=folder, settings=given)
        machines = Machines(
            run_log=run_log,
            services=[serve],
            workers=[
                Machine(name=f"worker{number}", words=work, folder=folder, settings=given) for number in range(workers)
            ],
        )
        stack.enter_context(started(machines))
        wait_until(lambda: serve.log.exists() and b"Syncer serves" in serve.log.read_bytes(), "the service's start")
        wait_until(machines.workers_ready, "the workers' start")
        yield Bench(servers=servers, machines=machines, folder=folder, warehouse=warehouse, store=store)


WORKERS = {"SYNCER_RUNS": "workers", "SYNCER_SNAPSHOTS_URL": "database"}

#: What is compared, and how many workers each has.
MODES: Mapping[str, tuple[Mapping[str, str], int]] = {
    "a service and a worker": (WORKERS, 1),
    "a service, shared snapshots": ({"SYNCER_SNAPSHOTS_URL": "database"}, 0),
    "a service, snapshots of its own": ({}, 0),
}


def throughput(servers: Servers, *, seconds: float, wait: float = 1.0, syncs: int = 30) -> tuple[float, float]:
    """Runs in so many seconds by one worker, and by two, each with one at a time, of a warehouse that takes a while."""
    with bench(servers, WORKERS, every=10, workers=2, concurrency=1) as made:
        made.define(syncs)
        wait_until(lambda: made.runs() >= syncs, "a first run of each sync", seconds=180)
        made.wait_for_rows(wait)
        time.sleep(10)
        by_two = made.spent_in(seconds).runs
        assert made.machines.workers[1].end() == 0
        time.sleep(5)
        return made.spent_in(seconds).runs, by_two


def costs(servers: Servers, mode: str, *, seconds: float, syncs: int = 30) -> dict[str, Spent]:
    """What is spent without a sync, with syncs of which nothing changed, and of which a row did, in so many seconds."""
    settings, workers = MODES[mode]
    with bench(servers, settings, every=10, workers=workers) as made:
        time.sleep(3)
        found = {"no sync": made.spent_in(8)}
        made.define(syncs)
        wait_until(lambda: made.runs() >= 2 * syncs, "two runs of each sync", seconds=180)
        found["nothing changed"] = made.spent_in(seconds)
        made.change_always()
        time.sleep(10)
        found["a row changed"] = made.spent_in(seconds)
        return found


def measure(times: int, seconds: float) -> Iterator[str]:
    """All figures, as rows of Markdown, each of which is a median."""
    with postgres_server() as run_log, postgres_server() as data:
        servers = Servers(run_log=run_log, data=data)
        pairs = list[tuple[float, float]]()
        found: dict[str, dict[str, list[Spent]]] = defaultdict(lambda: defaultdict(list))
        for _ in range(times):
            for mode in MODES:
                for case, spent in costs(servers, mode, seconds=seconds).items():
                    found[mode][case].append(spent)
                    print(f"{mode}, {case}: {spent}", file=sys.stderr, flush=True)
            pairs.append(throughput(servers, seconds=seconds))
            print(f"by one worker and by two: {pairs[-1]}", file=sys.stderr, flush=True)
    yield from _told(pairs, found)


def _told(pairs: Sequence[tuple[float, float]], found: Mapping[str, Mapping[str, Sequence[Spent]]]) -> Iterator[str]:
    one, two = (statistics.median(runs) for runs in zip(*pairs, strict=True))
    ratio = statistics.median(by_two / by_one for by_one, by_two in pairs)
    yield f"runs by one worker and by two, of a warehouse that takes a while: {one:.0f}, {two:.0f}: {ratio:.2f} ×"
    yield "| who | syncs | CPU a run, ms: service, worker | run log | warehouse and store | transactions | bytes put |"
    yield "|---|---|---|---|---|---|---|"
    for mode, cases in found.items():
        for case, all_spent in cases.items():
            yield _row(mode, case, all_spent)
    first, *others = found.values()
    for case in ("nothing changed", "a row changed"):
        for mode, other in zip([*found][1:], others, strict=True):
            ratios = [a.client_ms / b.client_ms for a, b in zip(first[case], other[case], strict=True)]
            yield f"{case}: the client's CPU with a worker is {statistics.median(ratios):.2f} × that of {mode}"


def _row(mode: str, case: str, all_spent: Sequence[Spent]) -> str:
    if case == "no sync":
        shown = [statistics.median(getattr(s, n) / s.seconds * 1000 for s in all_spent) for n in _MS]
        transactions = statistics.median(s.transactions / s.seconds for s in all_spent)
        rest = f"{transactions:.1f} a second |"
        case += ", ms a second"
    else:
        shown = [statistics.median(getattr(s, n) / s.runs * 1000 for s in all_spent) for n in _MS]
        transactions = statistics.median(s.transactions / s.runs for s in all_spent)
        rest = f"{transactions:.1f} | {statistics.median(s.put_bytes / s.runs for s in all_spent):,.0f}"
    service, worker, run_log, data = shown
    return f"| {mode} | {case} | {service:.1f}, {worker:.1f} | {run_log:.1f} | {data:.1f} | {rest} |"


_MS = ("service", "worker", "run_log", "data")
