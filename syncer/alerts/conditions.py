"""What can be wrong with a sync, as its runs tell it; pure, and never about a row."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from syncer.model.types import Run, RunStatus, SyncDefinition
from syncer.settings.service import AlertSettings

#: The runs that tell how a sync is; one that was skipped or cut off says nothing of it.
TELLING = (RunStatus.SUCCESS, RunStatus.WARNING, RunStatus.FAILED, RunStatus.HELD)

#: Earlier runs that the rows of one are compared with, at the most and at the least.
COMPARED, FEWEST_COMPARED = 10, 5
#: Fewer rows than these say nothing.
FEWEST_ROWS = 20

#: An error's text is cut there.
_SHOWN = 1000


class AlertKind(enum.StrEnum):
    """What somebody is told of."""

    FAILED = "failed"
    HELD = "held"
    REJECTED = "rejected"
    LATE = "late"
    ROWS = "rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of one sync."""

    definition: SyncDefinition
    #: The newest run whose status is one of TELLING.
    newest: Run | None
    #: The newest runs that ended well, newest first, one more than COMPARED.
    well: Sequence[Run]
    #: Whether what the schedule promises did not come in time.
    late: bool

    @property
    def ended_well_at(self) -> datetime | None:
        """When the newest run that ended well ended."""
        return self.well[0].finished_at if self.well else None


def conditions(record: Record, limits: AlertSettings) -> Mapping[AlertKind, str]:
    """What is wrong now, each with sentences for people."""
    found: dict[AlertKind, str] = {}
    if record.newest is not None and record.newest.status is RunStatus.FAILED:
        found[AlertKind.FAILED] = _error_of(record.newest)
    if record.newest is not None and record.newest.status is RunStatus.HELD:
        found[AlertKind.HELD] = _error_of(record.newest)
    if record.well:
        if text := _rejected(record.well[0], limits.rejected):
            found[AlertKind.REJECTED] = text
        if text := _far_off(record, limits.rows):
            found[AlertKind.ROWS] = text
    if record.late:
        found[AlertKind.LATE] = _late(record)
    return found


def _error_of(run: Run) -> str:
    error = run.error or "it is not known why"
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
    return (
        f"The query returned {newest:,} rows; the {len(earlier)} runs before it that ended well returned "
        f"{usual:,.0f} at the median."
    )


def _late(record: Record) -> str:
    if not record.well:
        return "It was due, and no run has ended well so far."
    return f"It was due, and no run that ended well has begun since {record.well[0].started_at:%Y-%m-%d %H:%M:%S} UTC."
