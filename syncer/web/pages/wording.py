"""How pages say times, spans, numbers and what a run was: in words that are the same everywhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from markupsafe import Markup, escape

from syncer.definitions.schedules import words as schedule_words
from syncer.model.types import Limit, OnRemoved, Run, RunStatus, SyncDefinition, Target, Trigger
from syncer.state.history import RunOutcome

#: Seconds, and what so many of them are called.
_UNITS = ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"))

_CODE = re.compile("`([^`]+)`")
_DOCS = re.compile("`syncer docs ([a-z-]+)`")

_DATE_FROM = timedelta(days=30)

STATUS_WORDS = {
    RunStatus.RUNNING: "Running",
    RunStatus.SUCCESS: "Success",
    RunStatus.WARNING: "Rows rejected",
    RunStatus.FAILED: "Failed",
    RunStatus.HELD: "Held",
    RunStatus.SKIPPED: "Skipped",
    RunStatus.INTERRUPTED: "Interrupted",
}

_REMOVED = {
    OnRemoved.KEEP: "stay in the store as they are",
    OnRemoved.CLEAR: "have their attributes cleared",
    OnRemoved.DELETE: "are deleted from the store",
}

__all__ = [
    "STATUS_WORDS",
    "ago",
    "fed",
    "limit",
    "moment",
    "number",
    "prose",
    "removal",
    "schedule_words",
    "seconds_of",
    "span",
    "started_by",
]


def moment(at: datetime) -> str:
    """Such as `2026-11-23 16:05:09 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(at: datetime, now: datetime) -> str:
    """`3 min ago`, `in 2 h`, `just now`; a date where that is long ago or far away."""
    distance = abs(now - at)
    if distance < timedelta(seconds=5):
        return "just now"
    if distance >= _DATE_FROM:
        return f"{at.astimezone(UTC):%d %b %Y}"
    size, unit = next(pair for pair in _UNITS if distance.total_seconds() >= pair[0])
    count = int(distance.total_seconds() // size)
    told = f"{count} {unit.removesuffix('s') if unit == 'days' and count == 1 else unit}"
    return f"in {told}" if at > now else f"{told} ago"


def span(seconds: float) -> str:
    """A length of time: `40 ms`, `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `30 min`."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts = [(whole // 3600, "h"), (whole % 3600 // 60, "min"), (whole % 60 if whole < 3600 else 0, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def seconds_of(run: Run | RunOutcome) -> float | None:
    """How long a run took; None while it goes on."""
    return None if run.finished_at is None else (run.finished_at - run.started_at).total_seconds()


def number(value: int) -> str:
    """With a comma between thousands."""
    return f"{value:,}"


def started_by(run: Run) -> str:
    """Who started a run."""
    match run.trigger:
        case Trigger.SCHEDULE:
            return "the schedule"
        case Trigger.MANUAL:
            return run.actor or "the command line"
        case Trigger.API:
            return run.actor or "the API"


def fed(target: Target) -> str:
    """What a sync feeds: `people by id`, `objects of type account`."""
    return target.words


def removal(definition: SyncDefinition) -> str:
    """What becomes of rows that left the result, as the end of a sentence."""
    if definition.incremental:
        return "stay in the store, as the query only returns what changed"
    if not definition.target.entity.traits.merges:
        return "are dropped from the collection"
    return _REMOVED[definition.on_removed]


def prose(text: str) -> Markup:
    """A message, in which what stands between backticks is code or a link to the manual; all of it is escaped."""
    linked = _DOCS.sub(r'<a href="/docs/\1"><code>syncer docs \1</code></a>', str(escape(text)))
    return Markup(_CODE.sub(r"<code>\1</code>", linked))


def limit(value: Limit) -> str:
    """`15%` or `200 rows`."""
    return f"{value.count:,} rows" if value.count is not None else f"{value.share or 0.0:.0%}"
