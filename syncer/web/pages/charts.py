"""Charts of runs as SVG: one bar a run, the newest on the right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

from markupsafe import Markup, escape

from syncer.model.types import RunOutcome, RunStatus
from syncer.web.pages.wording import STATUS_WORDS, moment, number, seconds_of, span

#: Runs of each sync in the overview.
SHOWN_RUNS = 30

#: Of the drawing; the page stretches it. The style sheet has the width of a bar and the height of a slot.
_SLOT, _GAP, _HEIGHT = 10, 2, 100

#: The room below the bars for a second mark of runs that need a look: colour alone does not tell everybody.
_FOOT = 16
_MARKED = (RunStatus.WARNING, RunStatus.FAILED, RunStatus.HELD, RunStatus.INTERRUPTED)

#: The least heights of a bar with rows and of one without, so that everybody can see and click it.
_LEAST, _NOTHING = 6.0, 3.0

_CHANGES = ("added", "changed", "removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing, and the value of its highest bar."""

    svg: Markup
    top: str


@lru_cache(maxsize=2000)
def status_chart(runs: tuple[RunOutcome, ...]) -> Chart:
    """Rows changed in each run, coloured by its status; *runs* newest first, at most SHOWN_RUNS.

    A list has many of them: bars of one colour are one shape, and no bar is a link.
    """
    counted = Counter(STATUS_WORDS[run.status].lower() for run in runs)
    statuses = ", ".join(f"{count} {word}" for word, count in counted.most_common())
    label = f"Rows changed in the last {len(runs)} runs: {statuses}" if runs else "No run so far"
    each = [(run, run.added + run.changed + run.removed) for run in reversed(runs)]
    most = max((rows for _, rows in each), default=0)
    shapes: dict[RunStatus, str] = {}
    for place, (run, rows) in enumerate(each, start=SHOWN_RUNS - len(runs)):
        parts = bar_parts({run.status: rows}, most) + ([("", _HEIGHT + 6, 8.0)] if run.status in _MARKED else [])
        x = place * _SLOT + _GAP // 2
        drawn = "".join(f"M{x} {y:g}h{_SLOT - _GAP}v{height:g}h-{_SLOT - _GAP}z" for _, y, height in parts)
        shapes[run.status] = shapes.get(run.status, "") + drawn
    bars = "".join(f'<path class="bar is-{status}" d="{drawn}"/>' for status, drawn in shapes.items())
    return Chart(svg=_drawing(bars, label, SHOWN_RUNS, foot=_FOOT), top=_rows(most))


def counts_chart(runs: Sequence[RunOutcome], slots: int) -> Chart:
    """Rows added, changed and removed in each run, on top of each other; *runs* newest first."""
    label = f"Rows added, changed and removed in the last {len(runs)} runs"
    return _chart(runs, lambda run: {name: getattr(run, name) for name in _CHANGES}, slots, label=label)


def rejections_chart(runs: Sequence[RunOutcome], slots: int) -> Chart:
    """Rows rejected in each run; *runs* newest first."""
    label = f"Rows rejected in the last {len(runs)} runs"
    return _chart(runs, lambda run: {"rejected" if run.rejected else "nothing": run.rejected}, slots, label=label)


def durations_chart(runs: Sequence[RunOutcome], slots: int) -> Chart:
    """How long each run took; *runs* newest first."""
    label = f"Duration of the last {len(runs)} runs"
    return _chart(runs, lambda run: {"duration": seconds_of(run) or 0.0}, slots, label=label, worded=span)


def phase_parts(phases: Mapping[str, float]) -> list[tuple[str, float, float, float]]:
    """Each phase of a run with its seconds, and the left edge and width of its part in a bar of width 100."""
    total = sum(phases.values()) or 1.0
    parts, x = [], 0.0
    for name, seconds in phases.items():
        width = 100 * seconds / total
        parts.append((name, seconds, round(x, 2), round(width, 2)))
        x += width
    return parts


def bar_parts(values: Mapping[str, float], most: float) -> list[tuple[str, float, float]]:
    """The parts of one bar as class, top and height, from below.

    Heights grow with the square root: a first run of all rows must not hide every other run.
    """
    parts, y, total = [], float(_HEIGHT), sum(values.values())
    scale = _HEIGHT * sqrt(total / most) / total if total else 0.0
    for kind, value in values.items():
        if value or len(values) == 1:
            # A part that grew to be seen must not push others out.
            height = round(min(max(scale * value, _LEAST) if value else _NOTHING, y), 1)
            y = round(y - height, 1)
            parts.append((kind, y, height))
    return parts


def _chart(
    runs: Sequence[RunOutcome],
    values_of: Callable[[RunOutcome], Mapping[str, float]],
    slots: int,
    *,
    label: str,
    worded: Callable[[float], str] = lambda rows: _rows(rows),
) -> Chart:
    each = [(run, values_of(run)) for run in reversed(runs)]
    most = max((sum(values.values()) for _, values in each), default=0)
    bars = "".join(
        _bar(run, bar_parts(values, most), place * _SLOT + _GAP // 2)
        for place, (run, values) in enumerate(each, start=slots - len(runs))
    )
    return Chart(svg=_drawing(bars, f"{label}, at most {worded(most)} in one", slots), top=worded(most))


def _drawing(bars: str, label: str, slots: int, *, foot: int = 0) -> Markup:
    return Markup(
        f'<svg class="chart{" is-small" if foot else ""}" viewBox="0 0 {slots * _SLOT} {_HEIGHT + foot}"'
        f' preserveAspectRatio="none" role="{"img" if foot else "group"}" aria-label="{escape(label)}">{bars}</svg>'
    )


def _bar(run: RunOutcome, parts: Sequence[tuple[str, float, float]], x: int) -> str:
    """A bar that leads to its run from its whole slot."""
    rects = (f'<rect class="bar is-{kind}" x="{x}" y="{y:g}" height="{height:g}"/>' for kind, y, height in parts)
    return (
        f'<a href="/runs/{escape(run.id)}" tabindex="-1">'
        f'<title data-at="{run.started_at.isoformat()}">{escape(_title(run))}</title>'
        f'<rect class="slot" x="{x}"/>{"".join(rects)}</a>'
    )


def _rows(count: float) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _title(run: RunOutcome) -> str:
    counts = [f"{number(count)} {name}" for name in (*_CHANGES, "rejected") if (count := getattr(run, name))]
    parts = [moment(run.started_at), STATUS_WORDS[run.status], ", ".join(counts) or "no row changed"]
    seconds = seconds_of(run)
    if seconds is not None and run.status is not RunStatus.SKIPPED:
        parts.append(span(seconds))
    return " · ".join(parts)
