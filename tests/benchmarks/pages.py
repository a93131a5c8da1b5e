"""What each page and each answer of the API takes: `python -m tests.benchmarks.pages`.

SQL statements, and the median time to an answer over HTTP, of a service with many syncs and a long history.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import httpx2

from tests.web.many import addresses, make_many, statements


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--syncs", type=int, default=200)
    parser.add_argument("--runs", type=int, default=50_000, help="of all syncs together")
    parser.add_argument("--times", type=int, default=15, help="that each address is asked for")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = make_many(Path(folder) / "site", syncs=given.syncs, runs_of_each=given.runs // given.syncs)
        with site.served() as served:
            for address in addresses(site).values():
                _report(served.client(headers={"Accept": "text/html"}), address, given.times)


def _report(client: httpx2.Client, address: str, times: int) -> None:
    with statements() as seen:
        size = len(client.get(address).content)
    milliseconds = []
    for _ in range(times):
        began = time.perf_counter()
        client.get(address)
        milliseconds.append(1000 * (time.perf_counter() - began))
    print(f"{statistics.median(milliseconds):8.1f} ms {len(seen):5} statements {size:9,} bytes  {address}", flush=True)


if __name__ == "__main__":
    main()
