"""Charts of runs as numbers for SVG: one bar a run, the newest on the right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import sqrt

from markupsafe import Markup, escape

from syncer.model.types import RunStatus
from syncer.service.status import SHOWN_RUNS
from syncer.state.history import RunOutcome
from syncer.web.pages.wording import STATUS_WORDS, moment, number, seconds_of, span

#: Of the drawing; the page stretches it.
_SLOT = 10.0
_GAP = 2.0
_HEIGHT = 100.0

#: A bar that stands for something is never lower, so that it can be seen and pointed at.
_LEAST = 6.0
_NOTHING = 3.0

_FOOT = 16.0

_MARKED = (RunStatus.WARNING, RunStatus.FAILED, RunStatus.HELD, RunStatus.INTERRUPTED)

_CHANGES = ("added", "changed", "removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One rectangle."""

    y: float
    height: float
    #: The name of its colour.
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One run."""

    run: RunOutcome
    #: The left edge.
    x: float
    width: float
    parts: Sequence[Part]
    title: str

    @property
    def is_marked(self) -> bool:
        """Whether the run needs a look, which is told by more than a colour."""
        return self.run.status in _MARKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A row of bars."""

    width: float
    height: float = _HEIGHT
    #: Room below the bars for marks.
    foot: float = 0.0
    bars: Sequence[Bar]
    #: What it shows, for who cannot see it.
    label: str
    #: What the highest bar stands for.
    top: str
    #: The kinds of parts, in the order they are stacked.
    kinds: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A chart as SVG."""

    svg: Markup
    top: str


@lru_cache(maxsize=2000)
def drawn_statuses(runs: tuple[RunOutcome, ...]) -> Drawing:
    """As `of_statuses`, small; drawn again only when something has changed, as a page may show hundreds."""
    chart = of_statuses(runs)
    return Drawing(svg=svg(chart, "is-small"), top=chart.top)


def svg(chart: Chart, css_class: str = "") -> Markup:
    """The drawing, in which each bar leads to its run."""
    height = chart.height + chart.foot
    bars = "".join(_bar(bar, chart) for bar in chart.bars)
    return Markup(
        f'<svg class="chart {css_class}" viewBox="0 0 {chart.width:g} {height:g}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(chart.label)}">{bars}</svg>'
    )


def _bar(bar: Bar, chart: Chart) -> str:
    across = f'x="{bar.x:g}" width="{bar.width:g}"'
    parts = "".join(
        f'<rect class="bar is-{part.kind}" {across} y="{part.y:g}" height="{part.height:g}"/>' for part in bar.parts
    )
    if chart.foot and bar.is_marked:
        parts += f'<rect class="bar is-{bar.run.status}" {across} y="{chart.height + 6:g}" height="8"/>'
    slot = f'<rect class="slot" {across} y="0" height="{chart.height + chart.foot:g}"/>'
    return f'<a href="/runs/{escape(bar.run.id)}" tabindex="-1"><title>{escape(bar.title)}</title>{slot}{parts}</a>'


def of_statuses(runs: Sequence[RunOutcome]) -> Chart:
    """Rows changed in each run, coloured by how it ended; *runs* newest first, at most SHOWN_RUNS."""
    most = max((_changed(run) for run in runs), default=0)
    counted = Counter(STATUS_WORDS[run.status].lower() for run in runs)
    ended = ", ".join(f"{count} {word}" for word, count in counted.most_common())
    return Chart(
        width=SHOWN_RUNS * _SLOT,
        foot=_FOOT,
        bars=_bars(runs, SHOWN_RUNS, lambda run: {run.status: _changed(run)}, most),
        label=f"Rows changed in the last {len(runs)} runs: {ended}" if runs else "No run so far",
        top=number(most),
    )


def of_counts(runs: Sequence[RunOutcome], *, slots: int) -> Chart:
    """Rows added, changed and removed in each run, on top of each other; *runs* newest first."""
    parts = [{name: getattr(run, name) for name in _CHANGES} for run in runs]
    most = max((sum(part.values()) for part in parts), default=0)
    by_run = dict(zip((run.id for run in runs), parts, strict=True))
    return Chart(
        width=slots * _SLOT,
        bars=_bars(runs, slots, lambda run: by_run[run.id], most),
        label=f"Rows added, changed and removed in the last {len(runs)} runs, at most {number(most)} in one",
        top=f"{number(most)} rows",
        kinds=_CHANGES,
    )


def of_rejections(runs: Sequence[RunOutcome], *, slots: int) -> Chart:
    """Rows rejected in each run; *runs* newest first."""
    most = max((run.rejected for run in runs), default=0)
    return Chart(
        width=slots * _SLOT,
        bars=_bars(runs, slots, lambda run: {"rejected" if run.rejected else "nothing": run.rejected}, most),
        label=f"Rows rejected in the last {len(runs)} runs, at most {number(most)} in one",
        top=f"{number(most)} rows",
    )


def of_durations(runs: Sequence[RunOutcome], *, slots: int) -> Chart:
    """How long each run took; *runs* newest first."""
    longest = max((seconds_of(run) or 0.0 for run in runs), default=0.0)
    return Chart(
        width=slots * _SLOT,
        bars=_bars(runs, slots, lambda run: {"duration": seconds_of(run) or 0.0}, longest),
        label=f"Duration of the last {len(runs)} runs, at most {span(longest)}",
        top=span(longest),
    )


def of_phases(phases: Mapping[str, float]) -> list[tuple[str, float, float, float]]:
    """Each phase of a run with its seconds, and where its part of a bar of width 100 starts and how wide it is."""
    total = sum(phases.values()) or 1.0
    parts, x = [], 0.0
    for name, seconds in phases.items():
        width = 100 * seconds / total
        parts.append((name, seconds, round(x, 2), round(width, 2)))
        x += width
    return parts


def _bars(
    runs: Sequence[RunOutcome], slots: int, values: Callable[[RunOutcome], Mapping[str, float]], most: float
) -> list[Bar]:
    first = slots - len(runs)
    return [
        Bar(
            run=run,
            x=(first + place) * _SLOT + _GAP / 2,
            width=_SLOT - _GAP,
            parts=_parts(values(run), most),
            title=_title(run),
        )
        for place, run in enumerate(reversed(runs))
    ]


def _parts(values: Mapping[str, float], most: float) -> list[Part]:
    """The parts of one bar. Heights grow with the square root: a first run of all rows must not hide every other."""
    parts, y = [], _HEIGHT
    total = sum(values.values())
    scale = _HEIGHT * sqrt(total / most) / total if total else 0.0
    for kind, value in values.items():
        if value or len(values) == 1:
            height = max(scale * value, _LEAST) if value else _NOTHING
            # Parts that were made higher to be seen may not push others out.
            height = round(min(height, y), 2)
            y = round(y - height, 2)
            parts.append(Part(y=y, height=height, kind=kind))
    return parts


def _changed(run: RunOutcome) -> int:
    return run.added + run.changed + run.removed


def _title(run: RunOutcome) -> str:
    counted = (*_CHANGES, "rejected")
    counts = [f"{number(getattr(run, name))} {name}" for name in counted if getattr(run, name)]
    took = seconds_of(run)
    told = [moment(run.started_at), STATUS_WORDS[run.status], ", ".join(counts) or "no row changed"]
    return " · ".join([*told, f"{span(took)}"] if took is not None and run.status is not RunStatus.SKIPPED else told)
