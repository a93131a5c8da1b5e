"""What was measured of a work, beside what is to be reached: as JSON, as text, and as rows of Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from tests.benchmarks.measuring import Cost

#: By work, the most that each measure may be; the first one is what the work is about.
TARGETS: Mapping[str, Mapping[str, float]] = {
    "unchanged": {"cpu_ratio": 1.2, "wall_ratio": 1.3, "peak_mb": 200},
    "one-percent": {"cpu_ratio": 1.4, "wall_ratio": 1.6, "peak_mb": 200},
    "first-load": {"cpu_ratio": 5.2, "wall_ratio": 7, "peak_mb": 300},
    "every-row": {"cpu_ratio": 9, "peak_mb": 300},
    "half-removed": {"cpu_ratio": 5, "peak_mb": 300, "run_log_mb": 10},
    "small-after-removal": {"seconds": 0.5, "then_seconds": 0.5, "peak_mb": 150},
    "small-syncs": {"cpu_ms": 100, "transactions": 8, "disk_kb": 100},
    "wide-first-load": {"cpu_ratio": 6, "peak_mb": 400},
    "wide-every-row": {"cpu_ratio": 12, "peak_mb": 400},
    "large-first-load": {"cpu_ratio": 5.2, "wall_ratio": 7, "peak_mb": 500},
    "large-unchanged": {"cpu_ratio": 1.2, "wall_ratio": 1.3, "peak_mb": 500},
    "large-one-percent": {"cpu_ratio": 1.4, "wall_ratio": 1.6, "peak_mb": 500},
    "shared-first-load": {"of_unshared": 1.2},
    "shared-unchanged": {"of_unshared": 1.1},
    "shared-one-percent": {"of_unshared": 1.2, "put_mb": 1},
    "shared-other-machine": {"of_unshared": 1.5},
    "compared-first-load": {"of_file": 1.5},
    "compared-unchanged": {"of_file": 1.5, "seconds_of_file": 1.5, "fetched_percent": 1},
    "compared-one-percent": {"of_file": 1.5, "seconds_of_file": 1.5, "fetched_percent": 3},
    "collection": {"cpu_ratio": 4},
    "sqlite-first-load": {"bare_ratio": 1.5, "peak_mb": 300},
    "sqlite-every-row": {"bare_ratio": 1.5, "peak_mb": 300},
    "sqlite-half-removed": {"bare_ratio": 1.5, "peak_mb": 300},
    "customerio-no-limit": {"seconds": 15},
    "customerio-default-limit": {"of_allowed_time": 1.05},
    "events-first-load": {"bare_ratio": 1.5},
    "events-remembered": {"of_first_load": 1.2, "event_bytes": 20, "peak_mb": 600},
    "customerio-events-no-limit": {"seconds": 50},
    "customerio-events-default-limit": {"of_allowed_time": 1.05},
    "mysql-unchanged": {"cpu_ratio": 1.5},
    "bigquery-unchanged": {"cpu_ratio": 1.5},
    "snowflake-unchanged": {"cpu_ratio": 1.5},
    "redshift-unchanged": {"cpu_ratio": 1.5},
}

#: What works are called in the manual.
TITLES: Mapping[str, str] = {
    "unchanged": "nothing changed",
    "one-percent": "1 % changed",
    "first-load": "first load",
    "every-row": "every row changed",
    "half-removed": "half of the rows removed, `delete`",
    "small-after-removal": "a sync of 100 rows after that",
    "small-syncs": "each of 200 syncs of 100 rows, nothing changed, in `run --all`",
    "wide-first-load": "100 columns, first load",
    "wide-every-row": "100 columns, every row changed",
    "large-first-load": "ten times the rows, first load",
    "large-unchanged": "ten times the rows, nothing changed",
    "large-one-percent": "ten times the rows, 1 % changed",
    "shared-first-load": "a shared snapshot, first load",
    "shared-unchanged": "a shared snapshot, nothing changed",
    "shared-one-percent": "a shared snapshot, 1 % changed",
    "shared-other-machine": "a shared snapshot, nothing changed, on a machine without a copy of it",
    "compared-first-load": "the warehouse compares, first load",
    "compared-unchanged": "the warehouse compares, nothing changed",
    "compared-one-percent": "the warehouse compares, 1 % changed",
    "collection": "a collection, first load",
    "sqlite-first-load": "SQLite store, first load",
    "sqlite-every-row": "SQLite store, every row changed",
    "sqlite-half-removed": "SQLite store, half of the rows removed",
    "customerio-no-limit": "Customer.io without a limit, first load",
    "customerio-default-limit": "Customer.io at the default limit, every row changed",
    "events-first-load": "events, first load",
    "events-remembered": "as many new events, where 100 times as many were sent before",
    "customerio-events-no-limit": "Customer.io without a limit, first load of events",
    "customerio-events-default-limit": "Customer.io at the default limit, first load of events",
    "mysql-unchanged": "MariaDB, nothing changed",
    "bigquery-unchanged": "BigQuery, nothing changed",
    "snowflake-unchanged": "Snowflake, nothing changed",
    "redshift-unchanged": "Redshift, nothing changed",
}

#: Of processor time: the machine's own clock of it counts no less.
_LEAST_SECONDS = 0.0001

#: How a measure is written for people.
_UNITS = {
    "cpu_ratio": "{} × CPU",
    "wall_ratio": "{} × wall",
    "bare_ratio": "{} × bare",
    "peak_mb": "{} MB",
    "run_log_mb": "run log + {} MB",
    "seconds": "{} s",
    "then_seconds": "then {} s",
    "cpu_ms": "{} ms CPU",
    "transactions": "{} transactions",
    "disk_kb": "{} kB on disk",
    "put_mb": "{} MB put",
    "of_unshared": "{} × the CPU of one that is not shared",
    "of_file": "{} × the CPU of a snapshot in a file",
    "seconds_of_file": "{} × its time",
    "fetched_percent": "{} % of its bytes fetched",
    "of_first_load": "{} × the CPU of the first load",
    "event_bytes": "{} bytes for each event that was sent",
    "of_allowed_time": "{} × the time that the limit allows",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One work, measured once."""

    work: str
    rows: int
    #: Of Syncer.
    cost: Cost
    #: Of reading alone, right before and right after, the mean: what ratios are to.
    read: Cost
    disk_mb: float
    #: Of changing the store by its database alone, and how.
    change: Cost | None = None
    how: str = ""
    #: Measures that only this work has.
    more: Mapping[str, float] = field(default_factory=dict)

    @property
    def measures(self) -> dict[str, float]:
        """By name; ratios are to the reading, and `bare_ratio` is to the reading with the change."""
        read = max(self.read.cpu, _LEAST_SECONDS)
        found = {
            "cpu_ratio": self.cost.cpu / read,
            "wall_ratio": self.cost.seconds / self.read.seconds,
            "peak_mb": self.cost.peak_mb,
            "disk_mb": self.disk_mb,
            "seconds": self.cost.seconds,
            "cpu_seconds": self.cost.cpu,
            "read_seconds": self.read.seconds,
            "read_cpu_seconds": self.read.cpu,
            "own_cpu_seconds": self.cost.own_cpu,
            "own_cpu_ratio": self.cost.own_cpu / read,
        }
        if self.change:
            found["least_cpu_ratio"] = (read + self.change.cpu) / read
            found["bare_ratio"] = self.cost.cpu / (read + self.change.cpu)
        return found | dict(self.more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One work, measured several times: of each measure the median."""

    work: str
    rows: int
    times: int
    measures: Mapping[str, float]
    how: str

    @property
    def targets(self) -> Mapping[str, float]:
        """The most that each measure may be."""
        return TARGETS[self.work]

    @property
    def missed(self) -> list[str]:
        """The measures that are over their targets."""
        return [name for name, most in self.targets.items() if self.measures[name] > most]

    def as_json(self) -> str:
        """The first target, whether all are met, and all measures with three digits after the point."""
        main = next(iter(self.targets))
        known: dict[str, Any] = {"work": self.work, "rows": self.rows}
        known |= {name: round(value, 3) for name, value in self.measures.items()}
        known |= {"target": self.targets[main], "met": not self.missed, "target_of": main}
        known |= {"targets": dict(self.targets), "missed": self.missed, "times": self.times, "how": self.how}
        return json.dumps(known)

    def as_text(self) -> str:
        """For people, on a terminal."""
        verdict = "met" if not self.missed else f"over: {', '.join(self.missed)}"
        return f"{self.work:<26}{self.rows:>11,}   {self.measured()}   ({self._wanted()}) {verdict}"

    def as_markdown(self, before: Line | None = None) -> str:
        """A row of the table in the manual's page about speed."""
        least = f"{self.measures['least_cpu_ratio']:.1f} ×" if "least_cpu_ratio" in self.measures else ""
        wanted = self._wanted() if not self.missed else f"{self._wanted()}: **not met**"
        measured = f"{before.measured() if before else ''} | {self.measured()}"
        own = f"{_figure(self.measures['own_cpu_ratio'])} ×" if self.measures.get("own_cpu_ratio") else ""
        return f"| {TITLES[self.work]} | {self.rows:,} | {measured} | {own} | {least} | {wanted} |"

    def measured(self) -> str:
        """What the targets are about, and what each run takes."""
        more = ["cpu_ratio", "peak_mb"] if any(name.endswith("_ratio") for name in self.targets) else ["peak_mb"]
        names = dict.fromkeys([*self.targets, *more])
        return ", ".join(_UNITS[name].format(_figure(self.measures[name])) for name in names)

    def _wanted(self) -> str:
        return ", ".join(_UNITS[name].format(f"{most:g}") for name, most in self.targets.items())


def _figure(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.0f}"


MARKDOWN_HEADER = "| work | rows | before | now | its own process | bare | to reach |\n|---|---|---|---|---|---|---|"


def from_json(text: str) -> Line:
    """What `Line.as_json` wrote."""
    found = json.loads(text)
    others = ("rows", "target", "met", "times")
    measures = {name: value for name, value in found.items() if isinstance(value, int | float) and name not in others}
    return Line(work=found["work"], rows=found["rows"], times=found["times"], measures=measures, how=found["how"])


def line_of(measured: Sequence[Result]) -> Line:
    """The line of one work, measured several times."""
    first = measured[0]
    return Line(
        work=first.work,
        rows=first.rows,
        times=len(measured),
        measures=_medians([one.measures for one in measured]),
        how=first.how,
    )


def joined(lines: Iterable[Line]) -> list[Line]:
    """A line for each work, in the order in which they come, of all the times that it was measured."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(line.work, []).append(line)
    return [
        replace(same[0], times=sum(line.times for line in same), measures=_medians([line.measures for line in same]))
        for same in found.values()
    ]


def _medians(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: median(one[name] for one in measured) for name in measured[0]}
