"""How fast Customer.io is fed, whole processes of `syncer run`: `python -m tests.benchmarks.customerio`.

The warehouse is a DuckDB file. The workspace is the stand-in of the tests in a process of its own, which applies what
it takes; after each run it must hold exactly what the query returns. A machine may be twice as fast in one minute as in
the next, so right after each run the same bodies go there through one plain socket; a ratio is to its time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.customerio.bench import Bench, Measured, bench
from tests.benchmarks.customerio.shop import make_shop

_NO_LIMIT = 1_000_000
_DEFAULT_LIMIT = 100


def main() -> None:
    """Measure, and print a line for each piece of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=3, help="how often to do what is not limited; each has its line")
    parser.add_argument("--limit", type=int, default=5, help="requests a second, where they are limited")
    parser.add_argument("--large", type=int, default=0, help="also a first load of so many rows, at the default limit")
    options = parser.parse_args()
    print(f"{'work':<24}{'rows':>10}{'time':>10}{'rows/s':>9}{'bare':>10}{'ratio':>8}{'peak':>8}   calls, forecast")
    _measure_small(options.rows, options.times, options.limit)
    if options.large:
        with _new_bench(options.large) as large:
            _print("first load, default limit", large.measure(per_second=_DEFAULT_LIMIT, bare=False))


def _measure_small(rows: int, times: int, limit: int) -> None:
    with _new_bench(rows) as small:
        _print("first load", small.measure(per_second=_NO_LIMIT))
        for _ in range(times):
            small.change()
            _print("everybody changed", small.measure(per_second=_NO_LIMIT))
        small.change()
        limited = small.measure(per_second=limit, bare=False)
        _print(f"the same, {limit} a second", limited)
        _print_limited(limited, limit)


def _print_limited(limited: Measured, limit: int) -> None:
    calls, seconds = limited.forecast
    print(
        f"  of the calls allowed while sending {limited.used(limit):.1%} were made; at most "
        f"{limited.most_in_a_second()} came within a second, and {limit + 1} within {limited.shortest(limit):.3f} s\n"
        f"  calls: forecast {calls:,}, measured {len(limited.arrivals):,}; "
        f"seconds of sending: forecast {seconds:.0f}, measured {limited.sending:.1f}"
    )


@contextmanager
def _new_bench(rows: int) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="syncer-benchmark-") as folder:
        make_shop(Path(folder) / "shop.duckdb", rows)
        with bench(Path(folder), rows) as made:
            yield made


def _print(work: str, measured: Measured) -> None:
    bare, taken = f"{'':>18}", measured.cost
    if measured.bare:
        bare = f"{measured.bare.seconds:>8.2f} s{taken.seconds / measured.bare.seconds:>6.1f} x"
    print(
        f"{work:<24}{measured.rows:>10,}{taken.seconds:>8.2f} s{measured.rows_per_second:>9,.0f}{bare}"
        f"{taken.peak_mb:>5} MB   {len(measured.arrivals):,}, {measured.forecast[0]:,}",
        flush=True,
    )


if __name__ == "__main__":
    main()
