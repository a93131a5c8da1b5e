"""The course of it all: everything is started, faults come for a while, all comes to rest, and is checked."""

from __future__ import annotations

import random
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from tests.benchmarks.cluster import checks
from tests.benchmarks.cluster.checks import LONGEST_WAIT, Fences, Ran, Ticks, Wait
from tests.benchmarks.cluster.faults import Fault, Faults
from tests.benchmarks.cluster.machines import Machine, Machines, started, wait_until
from tests.benchmarks.cluster.shop import Shop
from tests.servers.postgresql import PostgresServer
from tests.servers.s3 import KEY_ID, SECRET, s3_server

_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to happen."""

    seed: int
    minutes: float = 10
    #: Each is due every so many seconds.
    syncs: int = 20
    every: int = 20
    workers: int = 3
    services: int = 2
    #: By how much the pauses between faults are shorter.
    haste: float = 1.0
    #: Seconds from the last fault within which what a worker left runs again.
    longest_wait: float = LONGEST_WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was found."""

    plan: Plan
    faults: Sequence[Fault]
    runs: Sequence[Ran]
    ticks: Ticks
    fences: Fences
    waits: Sequence[Wait]
    #: What does not hold besides.
    problems: Sequence[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        """Everything that should not be, one line each."""
        late = [
            f"{one.sync}: ran {one.since_last:.1f} s after the last fault; its worker was {one.kind}, {one.at:%H:%M:%S}"
            for one in self.waits
            if one.since_last > self.plan.longest_wait
        ]
        lost = [f"lost: {line}" for line in self.ticks.lost]
        return [*lost, *self.ticks.doubled, *self.fences.violations, *late, *self.problems]

    def lines(self) -> Iterator[str]:
        """The figures, as rows of Markdown, and what was violated."""
        yield "| what | figure |"
        yield "|---|---|"
        for name, figure in self._figures().items():
            yield f"| {name} | {figure} |"
        yield from (f"VIOLATED: {line}" for line in self.violations)

    def _figures(self) -> Mapping[str, str]:
        plan, kinds = self.plan, Counter((one.machine.rstrip("0123456789"), one.kind) for one in self.faults)
        waited, since = [one.seconds for one in self.waits], [one.since_last for one in self.waits]
        statuses = Counter(run.status for run in self.runs)
        return {
            "machines": f"{plan.services} services, {plan.workers} workers",
            "syncs": f"{plan.syncs}, each due every {plan.every} s for {plan.minutes:g} minutes; seed {plan.seed}",
            "faults": ", ".join(f"{kinds[key]} × {key[0]} {key[1]}" for key in sorted(kinds)),
            "runs": ", ".join(f"{number:,} {status}" for status, number in statuses.most_common()),
            "ticks answered by their run, skipped as one went on, answered by a later run": f"{self.ticks.answered:,}, "
            f"{self.ticks.skipped:,}, {self.ticks.stood_for:,}",
            "ticks lost, doubled": f"{len(self.ticks.lost)}, {len(self.ticks.doubled)}",
            "fences, and transactions, that wrote to the store": f"{self.fences.fences:,}, "
            f"{self.fences.transactions:,}, {self.fences.rows:,} rows",
            "writes behind a newer fence, or without one": f"{len(self.fences.violations)}",
            "syncs that a worker left which was killed, or stopped for long": f"{len(waited)}",
            "from the fault to their next run": _spread(waited),
            "from the last fault before that run": _spread(since),
        }


def _spread(seconds: Sequence[float]) -> str:
    return f"median {statistics.median(seconds):.1f} s, worst {max(seconds):.1f} s" if seconds else "none"


@contextmanager
def cluster(plan: Plan, server: PostgresServer, folder: Path, concurrency: int = 2) -> Iterator[tuple[Shop, Machines]]:
    """Services and workers that run, and what they run; all of it is gone afterwards."""
    with ExitStack() as stack:
        run_log, warehouse, store = (stack.enter_context(server.new_database()) for _ in range(3))
        settings = {
            "SYNCER_DEFINITIONS_DIR": f"{folder}/definitions",
            "SYNCER_DATABASE_URL": run_log,
            "SYNCER_WAREHOUSES__DEFAULT__URL": warehouse,
            "SYNCER_STORES__DEFAULT__URL": store,
            "SYNCER_RUNS": "workers",
            "SYNCER_SNAPSHOTS_URL": stack.enter_context(s3_server(folder)),
            "SYNCER_SNAPSHOTS__KEY_ID": KEY_ID,
            "SYNCER_SNAPSHOTS__SECRET": SECRET,
            "SYNCER_JITTER": "6",
            "SYNCER_WEB__PORT": "0",
        }
        shop = Shop(warehouse=warehouse, store=store, syncs=plan.syncs)
        shop.open(folder / "definitions", random.Random(f"{plan.seed} shop"))
        serve = ["tests.service.every_second", str(plan.every)]
        work = ["syncer", "worker", "--concurrency", str(concurrency)]

        def made(kind: str, number: int, words: Sequence[str]) -> list[Machine]:
            return [Machine(name=f"{kind}{n}", words=words, folder=folder, settings=settings) for n in range(number)]

        yield (
            shop,
            stack.enter_context(
                started(
                    Machines(
                        run_log=run_log,
                        services=made("service", plan.services, serve),
                        workers=made("worker", plan.workers, work),
                    )
                )
            ),
        )


def run(plan: Plan, server: PostgresServer, folder: Path) -> Outcome:
    """All of it; raises RuntimeError where it does not begin, or does not come to rest.

    Shapes:
        folder: empty; what the processes print stays there.
    """
    with cluster(plan, server, folder) as (shop, machines):
        wait_until(lambda: _have_run(machines, plan.syncs), "a first run of each sync", seconds=180)
        shop.log_writes()
        faults = _befall(plan, shop, machines)
        changed = datetime.now(UTC)
        wait_until(lambda: _have_run(machines, plan.syncs, since=changed), "a last run of each sync", seconds=180)
        ended = datetime.now(UTC)
        problems = [f"{one.name} ended by itself" for one in machines.all if not one.is_up]
        problems += _come_to_rest(machines)
        runs = checks.runs_of(machines.run_log)
        problems += [*checks.left_open(runs), *shop.differences()[:20]]
        return Outcome(
            plan=plan,
            faults=faults,
            runs=runs,
            # A tick comes up to a tenth of the interval late, and is answered within a heartbeat or two.
            ticks=checks.ticks_of(
                runs, every=timedelta(seconds=plan.every), until=ended - timedelta(seconds=plan.every * 0.1 + 5)
            ),
            fences=checks.fences_of(shop.store),
            waits=checks.waits_of(faults, runs),
            problems=problems,
        )


def _befall(plan: Plan, shop: Shop, machines: Machines) -> Sequence[Fault]:
    """Let rows change and faults come for so many minutes; afterwards all machines are there again."""
    stopped = threading.Event()
    choice = random.Random(f"{plan.seed} rows")
    changing = threading.Thread(target=shop.change, args=(choice, stopped), daemon=True)
    changing.start()
    faults = Faults(machines=machines, seed=plan.seed, haste=plan.haste)
    faults.begin(stopped)
    time.sleep(plan.minutes * 60)
    stopped.set()
    changing.join()
    faults.end()
    return sorted(faults.done, key=lambda fault: fault.at)


def _have_run(machines: Machines, syncs: int, since: datetime = _BEGIN) -> bool:
    """Whether a run of each sync that began after a moment has ended well."""
    query = "SELECT count(DISTINCT sync) FROM syncer_runs WHERE status = 'success' AND started_at > %s"
    with psycopg.connect(machines.run_log) as connection:
        if connection.execute("SELECT to_regclass('syncer_runs')").fetchall() == [(None,)]:
            return False
        return connection.execute(query, [since]).fetchall() == [(syncs,)]


def _come_to_rest(machines: Machines) -> Iterator[str]:
    """End the services, let the workers do what is ordered, and end them; tells what did not end well."""
    for service in machines.services:
        if service.is_up and (code := service.end()) != 128 + signal.SIGTERM:
            yield f"{service.name} ended with {code} at a signal"
    open_runs = "SELECT count(*) FROM syncer_runs WHERE finished_at IS NULL"
    with psycopg.connect(machines.run_log, autocommit=True) as connection:
        wait_until(lambda: connection.execute(open_runs).fetchall() == [(0,)], "the end of the last run")
    for worker in machines.workers:
        if worker.is_up and (code := worker.end()):
            yield f"{worker.name} ended with {code} at a signal"
