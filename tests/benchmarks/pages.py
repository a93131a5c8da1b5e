"""What each page and each answer of the API takes: `python -m tests.benchmarks.pages`.

SQL statements, the median time to an answer over HTTP, and its size, of a service with many syncs and a long history;
the same for a check of every alert. With `--postgresql` the run log is in a PostgreSQL server of its own.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx2

from syncer.alerts.monitor import AlertMonitor
from tests.servers.postgresql import postgres_server
from tests.web.conftest import Served
from tests.web.many import addresses, make_many, statements


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--syncs", type=int, default=200)
    parser.add_argument("--runs", type=int, default=50_000, help="of all syncs together")
    parser.add_argument("--times", type=int, default=15, help="that each address is asked for")
    parser.add_argument("--postgresql", action="store_true", help="keep the run log in PostgreSQL")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _database(given.postgresql) as url:
        site = make_many(
            Path(folder) / "site", syncs=given.syncs, runs_of_each=given.runs // given.syncs, database_url=url
        )
        with site.served({"SYNCER_DATABASE_URL": url} if url else None, seconds=600) as served:
            _report_all(served, given.times)


def _report_all(served: Served, times: int) -> None:
    client = served.client(headers={"Accept": "text/html"})
    client.timeout = 600
    for address in addresses(served.service.run_log).values():
        _report(address, partial(_size, client, address), times)
    _report("a check of every alert", AlertMonitor(served.service, []).check, times)


def _size(client: httpx2.Client, address: str) -> int:
    return len(client.get(address).content)


@contextmanager
def _database(wanted: bool) -> Iterator[str]:
    if not wanted:
        yield ""
        return
    with postgres_server() as server, server.new_database() as url:
        yield url


def _report(what: str, ask: Callable[[], int | None], times: int) -> None:
    with statements() as seen:
        size = ask() or 0
    milliseconds = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        milliseconds.append(1000 * (time.perf_counter() - began))
    print(f"{statistics.median(milliseconds):8.1f} ms {len(seen):5} statements {size:9,} bytes  {what}", flush=True)


if __name__ == "__main__":
    main()
