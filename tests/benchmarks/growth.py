"""How time and memory grow with the rows: `python -m tests.benchmarks.growth > growth.json`.

Printed is one JSON object per line, as by `python -m tests.benchmarks --json`. `--draw growth.json` makes of them the
picture that the manual's page about speed shows.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from syncer.docs.topics import FOLDER
from tests.benchmarks.results import line_of
from tests.benchmarks.works import Bench
from tests.benchmarks.works.people import measure_usual

_ROWS = (100_000, 1_000_000, 3_000_000, 10_000_000)
#: The works: how each is called in the picture, and in which colour.
_WORKS = {
    "first-load": ("first load", "#b45309"),
    "one-percent": ("1 % changed", "#0f766e"),
    "unchanged": ("nothing changed", "#1d4ed8"),
}
_READ, _READ_COLOUR = "a bare COPY", "#6b7280"

_WIDTH, _HEIGHT = 970, 400
_TOP, _BOTTOM, _PLOT_WIDTH = 50, 340, 300
_LETTERS = 'font-family="system-ui, sans-serif" font-size="13" fill="#1f2937"'


def main() -> None:
    """Measure and print, or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=_ROWS)
    parser.add_argument("--draw", type=Path, metavar="FILE", help="draw what was printed into FILE before")
    options = parser.parse_args()
    if options.draw:
        measured = [json.loads(line) for line in options.draw.read_text().splitlines()]
        (FOLDER / "growth.svg").write_text(drawn(measured))
        return
    for rows in options.rows:
        bench = Bench(rows=rows, syncs=0)
        with bench.held:
            for result in measure_usual(bench, _WORKS, rows):
                print(line_of([result]).as_json(), flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """From the least to the most value, along so many points of the picture."""

    marks: Sequence[float]
    begin: float
    end: float
    is_logarithmic: bool = True

    def place(self, value: float) -> float:
        """Where a value is."""
        scale: Callable[[float], float] = math.log10 if self.is_logarithmic else float
        least, most = scale(self.marks[0]), scale(self.marks[-1])
        return round(self.begin + (scale(value) - least) / (most - least) * (self.end - self.begin), 1)


def drawn(measured: Sequence[dict[str, Any]]) -> str:
    """The picture as SVG: seconds on the left, both axes logarithmic, and memory on the right."""
    rows = sorted({found["rows"] for found in measured})
    by_work = {work: sorted((f for f in measured if f["work"] == work), key=lambda f: f["rows"]) for work in _WORKS}
    seconds = {name: (colour, _points(by_work[work], "seconds")) for work, (name, colour) in _WORKS.items()}
    memory = {name: (colour, _points(by_work[work], "peak_mb")) for work, (name, colour) in _WORKS.items()}
    seconds[_READ] = (_READ_COLOUR, _points(by_work["unchanged"], "read_seconds"))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" {_LETTERS}>',
        "<title>Seconds and memory of a run, by the rows of its query</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        *_plot("seconds", 60, rows, _decades(seconds), seconds, is_logarithmic=True),
        *_plot("memory, MB", 530, rows, _hundreds(memory), memory, is_logarithmic=False),
        "</svg>\n",
    ]
    return "\n".join(parts)


#: By the name of a line: its colour, and its points as rows and value.
_Lines = dict[str, tuple[str, list[tuple[float, float]]]]


def _points(found: Sequence[dict[str, Any]], measure: str) -> list[tuple[float, float]]:
    return [(one["rows"], one[measure]) for one in found]


def _decades(named: _Lines) -> list[float]:
    values = [value for _, points in named.values() for _, value in points]
    return [10.0**power for power in range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)]


def _hundreds(named: _Lines) -> list[float]:
    most = math.ceil(max(value for _, points in named.values() for _, value in points) / 100)
    return [100.0 * number for number in range(most + 1)]


def _plot(
    title: str, left: int, rows: Sequence[int], marks: Sequence[float], named: _Lines, *, is_logarithmic: bool
) -> Iterator[str]:
    across = _Axis(marks=rows, begin=left, end=left + _PLOT_WIDTH)
    up = _Axis(marks=marks, begin=_BOTTOM, end=_TOP, is_logarithmic=is_logarithmic)
    right = left + _PLOT_WIDTH
    yield f'<text x="{left}" y="{_TOP - 22}" font-weight="bold">{escape(title)}</text>'
    for mark in marks:
        y = up.place(mark)
        yield f'<line x1="{left}" y1="{y}" x2="{right}" y2="{y}" stroke="#e5e7eb"/>'
        yield f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{mark:g}</text>'
    for count in rows:
        x = across.place(count)
        yield f'<line x1="{x}" y1="{_BOTTOM}" x2="{x}" y2="{_BOTTOM + 5}" stroke="#6b7280"/>'
        yield f'<text x="{x}" y="{_BOTTOM + 21}" text-anchor="middle">{count / 1e6:g} M</text>'
    yield f'<text x="{left + _PLOT_WIDTH / 2}" y="{_BOTTOM + 44}" text-anchor="middle">rows</text>'
    for colour, points in named.values():
        places = [(across.place(count), up.place(value)) for count, value in points]
        path = " ".join(f"{x},{y}" for x, y in places)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in places)
    yield from _names(right + 8, {name: (colour, up.place(points[-1][1])) for name, (colour, points) in named.items()})


def _names(x: float, ends: dict[str, tuple[str, float]]) -> Iterator[str]:
    """The names of lines beside their ends, one below the other."""
    lowest = 0.0
    for name, (colour, end) in sorted(ends.items(), key=lambda item: item[1][1]):
        lowest = max(end + 4, lowest + 17)
        yield f'<text x="{x}" y="{lowest}" fill="{colour}">{escape(name)}</text>'


if __name__ == "__main__":
    main()
