"""How fast Syncer is, as ratios to the least that the databases themselves need: `python -m tests.benchmarks`.

Each work is a whole process of `syncer run`. Right before and right after it the same query is read by a bare COPY, and
ratios are to the mean of the two: a machine may be twice as fast in one minute as in the next. After it the databases
alone make the same change to people beside those of the store. Processor time counts client and server together. Each
work is done several times; of each measure the median counts.

With PYTHONPATH=FOLDER it measures the Syncer of another checkout. To compare two, let --json append to a file for each
in turn, and read the medians with --measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.people import make_customers
from tests.benchmarks.project import new_project
from tests.benchmarks.results import MARKDOWN_HEADER, Line, Result, from_json, joined, line_of
from tests.benchmarks.works import GROUPS, LARGE, Bench, Group

_ROWS, _SYNCS, _TIMES = 1_000_000, 200, 3
_QUICK_ROWS, _QUICK_SYNCS = 2_000, 2
_NAMES = [work for group in (*GROUPS, LARGE) for work in group.works]


def main() -> None:
    """Measure, and print a line for each work."""
    options = _options()
    before = {line.work: line for line in _read(options.before)}
    if options.markdown:
        print(MARKDOWN_HEADER)
    for line in _read(options.measured) if options.measured else _all(options):
        if options.json:
            print(line.as_json(), flush=True)
        else:
            print(line.as_markdown(before.get(line.work)) if options.markdown else line.as_text(), flush=True)


def _read(file: Path | None) -> list[Line]:
    return joined(map(from_json, file.read_text().splitlines())) if file else []


def _all(options: argparse.Namespace) -> Iterator[Line]:
    rows = options.rows or (_QUICK_ROWS if options.quick else _ROWS)
    times = options.times or (1 if options.quick else _TIMES)
    wanted = set(options.work or _NAMES)
    groups = [group for group in GROUPS if wanted & set(group.works)]
    if options.large or options.work:
        groups += [LARGE] if wanted & set(LARGE.works) else []
    bench = Bench(rows=rows, syncs=options.syncs or (_QUICK_SYNCS if options.quick else _SYNCS))
    with bench.held:
        _warm_up(bench)
        for group in groups:
            yield from _measured(bench, group, wanted, 1 if group is LARGE else times)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help=f"of the works with the most, {_ROWS:,} where nothing else is said")
    parser.add_argument("--syncs", type=int, help=f"of `small-syncs`, {_SYNCS} where nothing else is said")
    parser.add_argument("--times", type=int, help=f"how often to do each work, {_TIMES} where nothing else is said")
    parser.add_argument("--work", nargs="+", choices=_NAMES, metavar="NAME", help=f"only these: {', '.join(_NAMES)}")
    parser.add_argument("--large", action="store_true", help="also ten times as many rows, once")
    parser.add_argument("--quick", action="store_true", help="few rows, once: whether all of it runs")
    parser.add_argument(
        "--measured", type=Path, metavar="FILE", help="print what --json printed into FILE, medians of each work"
    )
    parser.add_argument("--before", type=Path, metavar="FILE", help="with --markdown: put what is in FILE beside it")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print one JSON object per line")
    shown.add_argument("--markdown", action="store_true", help="print the table of the manual's page about speed")
    return parser.parse_args()


def _measured(bench: Bench, group: Group, wanted: set[str], times: int) -> Iterator[Line]:
    """A line for each work, once it has been done so often; none where a program that they need is not there."""
    found: dict[str, list[Result]] = {}
    try:
        for turn in range(1, times + 1):
            for result in group.measure(bench, wanted):
                measured = found.setdefault(result.work, [])
                measured.append(result)
                if turn == times:
                    yield line_of(measured)
    except pytest.skip.Exception as exc:
        print(f"left out: {', '.join(group.works)}: {exc}", file=sys.stderr)


def _warm_up(bench: Bench) -> None:
    """Run everything once with few rows: Python compiles what it imports for the first time."""
    with bench.postgres.new_database() as warehouse, bench.postgres.new_database() as store:
        make_customers(warehouse, 10)
        with new_project(warehouse, store) as project:
            project.define()
            project.run(added=10)


if __name__ == "__main__":
    main()
