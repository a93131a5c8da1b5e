"""What can be wrong with a sync, or with what many syncs use, judged by their runs; pure, and never about a row."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from syncer.model.types import FindingKind, Run, RunStatus, SyncDefinition
from syncer.settings.service import AlertSettings

#: How many earlier runs the rows of one are compared with, at most and at least.
COMPARED, FEWEST_COMPARED = 10, 5
#: With fewer rows than this, no comparison is made.
FEWEST_ROWS = 20

#: With so many changes between good and bad in so many runs a sync is flapping, until so many in a row are alike.
CHANGES, WINDOW, ALIKE = 3, 6, 4

_TO_BLAME = frozenset({FindingKind.UNREACHABLE, FindingKind.CLOCK})

#: Characters after which the text of an error is cut.
_SHOWN = 1000


class AlertKind(enum.StrEnum):
    """What a notice can be about."""

    FAILED = "failed"
    HELD = "held"
    REJECTED = "rejected"
    LATE = "late"
    ROWS = "rows"
    FLAPPING = "flapping"
    UNREACHABLE = "unreachable"
    SHARED = "shared"
    RESTORED = "restored"
    CLOCK = "clock"
    WORKERS = "workers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of one sync."""

    definition: SyncDefinition
    #: The newest runs whose status is one of CONCLUSIVE, newest first, at most WINDOW.
    recent: Sequence[Run]
    #: The newest runs that ended well, newest first, one more than COMPARED.
    well: Sequence[Run]
    #: Whether a run of the schedule is overdue.
    late: bool
    #: Whether it had an open alert of this kind before.
    was_flapping: bool = False
    #: Rejected rows that somebody has acknowledged: they do not count.
    acknowledged: int = 0
    #: What keeps it from succeeding now, as far as that is known beside its runs: a sentence, or empty.
    waits_for: str = ""

    @property
    def newest(self) -> Run | None:
        """The run that shows its state now."""
        return self.recent[0] if self.recent else None


def blames(run: Run, about: str = "") -> bool:
    """Whether what many syncs use, or the one thing given such as `warehouse crm`, made a run fail or held it."""
    return any(found.kind in _TO_BLAME and about in ("", found.about) for found in run.findings)


def alternates(are_bad: Sequence[bool], *, already: bool) -> bool:
    """Whether runs, newest first, go from good to bad and back too often, or *already* did and still do."""
    if already:
        return len(are_bad) < ALIKE or len(set(are_bad[:ALIKE])) > 1
    return sum(one != other for one, other in pairwise(are_bad[:WINDOW])) >= CHANGES


def conditions(record: Record, limits: AlertSettings) -> Mapping[AlertKind, str]:
    """What is wrong now, each with sentences for people."""
    flapping = _flapping(record, limits)
    rejected = _rejected(record.well[0], limits.rejected, record.acknowledged) if record.well else ""
    found = {
        AlertKind.FLAPPING: flapping,
        AlertKind.FAILED: "" if flapping else _error_of(record.newest, RunStatus.FAILED),
        AlertKind.HELD: "" if flapping else _error_of(record.newest, RunStatus.HELD),
        AlertKind.REJECTED: "" if flapping else rejected,
        AlertKind.ROWS: _far_off(record, limits.rows) if record.well else "",
        AlertKind.LATE: _late(record) if record.late else "",
    }
    return {kind: text for kind, text in found.items() if text}


def _error_of(run: Run | None, status: RunStatus) -> str:
    return error_and_hint(run) if run is not None and run.status is status else ""


def error_and_hint(run: Run) -> str:
    """What a run says went wrong."""
    error = run.error or "the reason is unknown"
    return "\n".join([error if len(error) <= _SHOWN else f"{error[:_SHOWN]}…", *([run.hint] if run.hint else [])])


def _flapping(record: Record, limits: AlertSettings) -> str:
    own = [run for run in record.recent if not blames(run)]
    are_bad = [
        run.status in (RunStatus.FAILED, RunStatus.HELD) or bool(_rejected(run, limits.rejected, record.acknowledged))
        for run in own
    ]
    if not own or not alternates(are_bad, already=record.was_flapping):
        return ""
    newest_bad = next((run for run, is_bad in zip(own, are_bad, strict=True) if is_bad and run.error), None)
    return "\n".join(
        [
            f"{sum(are_bad)} of its last {len(own)} runs went wrong, and the others between them did not. "
            f"The next notice comes once {ALIKE} runs in a row have ended alike.",
            *([f"The newest error: {error_and_hint(newest_bad)}"] if newest_bad else []),
        ]
    )


def _rejected(run: Run, limit: float, acknowledged: int) -> str:
    queried, rejected = run.counts.queried, max(run.counts.rejected - acknowledged, 0)
    if not rejected or rejected <= limit * queried:
        return ""
    share = rejected / max(queried, 1)
    return (
        f"{rejected:,} of {queried:,} rows are rejected ({share:.1%}, the limit is {limit:.1%}).\n"
        f"See them with `syncer rejected {run.sync}`."
    )


def _far_off(record: Record, limit: float) -> str:
    newest, *earlier = (run.counts.queried for run in record.well[: COMPARED + 1])
    is_queue = record.definition.incremental or record.definition.target.action is not None
    if is_queue or len(earlier) < FEWEST_COMPARED:
        return ""
    usual = median(earlier)
    if usual < FEWEST_ROWS or abs(newest - usual) <= limit * usual:
        return ""
    return f"The query returned {newest:,} rows; the median of the last {len(earlier)} successful runs is {usual:,.0f}."


def _late(record: Record) -> str:
    since = f"since {record.well[0].started_at:%Y-%m-%d %H:%M:%S} UTC" if record.well else "yet"
    return "\n".join(filter(None, [f"A run is due, and none has succeeded {since}.", _why_late(record)]))


def _why_late(record: Record) -> str:
    newest = record.newest
    if record.waits_for:
        return record.waits_for
    if newest is None:
        return "No run has ended so far."
    if newest.status in (RunStatus.FAILED, RunStatus.HELD):
        word = "failed" if newest.status is RunStatus.FAILED else "was held"
        return f"The last run {word}: {error_and_hint(newest)}"
    if newest.fruitless:
        return "The store rejected every row of the last run that was new to it."
    return "No run has begun since."
