"""What holds for the rows of every run, however it ended."""

from __future__ import annotations

from dataclasses import asdict

from syncer.model.types import Changes
from syncer.sync.progress import HeldError, Progress


def check_rows(progress: Progress, error: BaseException | None = None) -> None:
    """Check the equations between the counts of a run that has ended; *error*: what ended it."""
    counts, delivery = progress.counts, progress.delivery
    planned, delivered, undelivered = delivery.planned, delivery.delivered, delivery.undelivered(counts)
    assert planned.total == delivered.total + sum(asdict(undelivered).values())
    assert delivered.total == counts.accepted
    assert counts.rejected == delivery.quarantined + undelivered.rejected
    assert min(asdict(undelivered).values()) >= 0
    assert all(getattr(delivered, change) <= rows for change, rows in asdict(planned).items())
    assert not isinstance(error, HeldError) or delivered == Changes()
