"""Three workers and two services with a run log, snapshots in S3 and a store, while they are killed and stopped.

`python -m tests.benchmarks.cluster`: rows of the warehouse change all the time, also by removals, and for ten minutes
services and workers are killed with SIGKILL and come back, some without their state folder, or are stopped with SIGSTOP
for less and for more than the 10 seconds after which they count as dead. Then all of it comes to rest, and:

- each tick has been answered once: by its run, by a later run that says so, or as skipped while a run went on,
- each write to the store had a fence, and none came after that of a newer run of its sync,
- the store equals the queries,
- what a worker left which died, or stood still for longer, ran again within 20 seconds of the last fault.

The store logs itself who writes to it, by triggers. Prints the seed and a table; exits with 1 if anything was violated.
The same seed makes the same faults at the same moments, but a process may be elsewhere in its work by then.

With --figures it measures instead how many runs one worker and two make of a warehouse that takes a while, and what a
run takes of a service with a worker, beside a service alone.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.cluster.course import Plan, run
from tests.benchmarks.cluster.figures import measure
from tests.servers.postgresql import postgres_server


def main() -> None:
    """Do it, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="how long faults come")
    parser.add_argument("--syncs", type=int, default=20)
    parser.add_argument("--every", type=int, default=20, metavar="SECONDS", help="the interval of each sync")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--services", type=int, default=2)
    parser.add_argument("--seed", type=int, help="any, if none is given")
    parser.add_argument("--folder", type=Path, help="an empty one, for what the processes print; kept")
    parser.add_argument("--figures", action="store_true", help="measure; see above")
    parser.add_argument("--times", type=int, default=3, help="with --figures: how often, of which the median counts")
    parser.add_argument("--seconds", type=float, default=30, help="with --figures: how long each measure takes")
    options = vars(parser.parse_args())
    figures = {name: options.pop(name) for name in ("times", "seconds")}
    if options.pop("figures"):
        for line in measure(**figures):
            print(line, flush=True)
        return
    folder, seed = options.pop("folder"), options.pop("seed")
    plan = Plan(seed=secrets.randbelow(10**6) if seed is None else seed, **options)
    print(f"seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="syncer-cluster-") as temporary, postgres_server() as server:
        outcome = run(plan, server, folder or Path(temporary))
    print(*outcome.lines(), sep="\n")
    sys.exit(1 if outcome.violations else 0)


if __name__ == "__main__":
    main()
