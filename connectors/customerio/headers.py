"""Times in the headers of answers."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: The most seconds of a Retry-After to wait.
LONGEST_RETRY_AFTER = 300.0


def retry_after(text: str | None) -> float | None:
    """The seconds to wait by a Retry-After header, at most LONGEST_RETRY_AFTER; None if it gives none."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        found = moment(text)
        if found is None:
            return None
        seconds = (found - datetime.now(UTC)).total_seconds()
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def moment(text: str | None) -> datetime | None:
    """The time in a header, aware, in UTC; None if there is none."""
    try:
        return None if text is None else parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
