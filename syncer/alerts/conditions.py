"""What can be wrong with a sync, judged by its runs; pure, and never about a row."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from syncer.model.types import Run, RunStatus, SyncDefinition
from syncer.settings.service import AlertSettings

#: Runs that show the state of a sync; a skipped or interrupted run does not.
CONCLUSIVE = (RunStatus.SUCCESS, RunStatus.WARNING, RunStatus.FAILED, RunStatus.HELD)

#: How many earlier runs the rows of one are compared with, at most and at least.
COMPARED, FEWEST_COMPARED = 10, 5
#: With fewer rows than this, no comparison is made.
FEWEST_ROWS = 20

#: Characters after which the text of an error is cut.
_SHOWN = 1000


class AlertKind(enum.StrEnum):
    """What a notice can be about."""

    FAILED = "failed"
    HELD = "held"
    REJECTED = "rejected"
    LATE = "late"
    ROWS = "rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of one sync."""

    definition: SyncDefinition
    #: The newest run whose status is one of CONCLUSIVE.
    newest: Run | None
    #: The newest runs that ended well, newest first, one more than COMPARED.
    well: Sequence[Run]
    #: Whether a run of the schedule is overdue.
    late: bool


def conditions(record: Record, limits: AlertSettings) -> Mapping[AlertKind, str]:
    """What is wrong now, each with sentences for people."""
    found = {
        AlertKind.FAILED: _error_of(record.newest, RunStatus.FAILED),
        AlertKind.HELD: _error_of(record.newest, RunStatus.HELD),
        AlertKind.REJECTED: _rejected(record.well[0], limits.rejected) if record.well else "",
        AlertKind.ROWS: _far_off(record, limits.rows) if record.well else "",
        AlertKind.LATE: _late(record) if record.late else "",
    }
    return {kind: text for kind, text in found.items() if text}


def _error_of(run: Run | None, status: RunStatus) -> str:
    if run is None or run.status is not status:
        return ""
    error = run.error or "the reason is unknown"
    return "\n".join([error if len(error) <= _SHOWN else f"{error[:_SHOWN]}…", *([run.hint] if run.hint else [])])


def _rejected(run: Run, limit: float) -> str:
    counts = run.counts
    if not counts.rejected or counts.rejected <= limit * counts.queried:
        return ""
    share = counts.rejected / max(counts.queried, 1)
    return (
        f"{counts.rejected:,} of {counts.queried:,} rows are rejected ({share:.1%}, the limit is {limit:.1%}).\n"
        f"See them with `syncer rejected {run.sync}`."
    )


def _far_off(record: Record, limit: float) -> str:
    newest, *earlier = (run.counts.queried for run in record.well[: COMPARED + 1])
    if record.definition.incremental or len(earlier) < FEWEST_COMPARED:
        return ""
    usual = median(earlier)
    if usual < FEWEST_ROWS or abs(newest - usual) <= limit * usual:
        return ""
    return f"The query returned {newest:,} rows; the median of the last {len(earlier)} successful runs is {usual:,.0f}."


def _late(record: Record) -> str:
    if not record.well:
        return "A run is due, and none has succeeded yet."
    return f"A run is due, and none has succeeded since {record.well[0].started_at:%Y-%m-%d %H:%M:%S} UTC."
