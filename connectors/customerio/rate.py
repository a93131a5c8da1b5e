"""How many calls go to a workspace in a second, and a pause while it fails."""

from __future__ import annotations

import threading
import time
from collections import deque

#: Failures in a row, of all syncs together, after which the process sends nothing for some seconds.
FAILURES_IN_A_ROW = 30
PAUSE_SECONDS = 30.0

#: A second's calls spread over so many seconds, so that a late call delays no other; and so many seconds lie at least
#: between a call and the one that would exceed the rate, whose way may be shorter.
SPREAD, WINDOW = 1.035, 1.02
#: Seconds by which calls may be late, for want of a processor, and still be made up for by closer ones.
_MADE_UP = 0.1


def kept_rate(per_second: int) -> float:
    """The calls that a limiter makes in a second if so many are allowed."""
    return per_second / SPREAD


class RateLimiter:
    """Limits all calls of this process to one workspace: their rate, and a pause while the workspace fails."""

    def __init__(self, per_second: int) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_until = 0.0
        self._paused_until = 0.0
        self._apart = 1 / kept_rate(per_second)
        self._next = 0.0
        #: The times of the last calls, as many as are allowed in a second.
        self._gone: deque[float] = deque([0.0], maxlen=per_second)

    def pass_through(self, stopped: threading.Event) -> bool:
        """Wait until a call may go, or until *stopped*; False while the workspace fails."""
        while (seconds := self._seconds()) is not None:
            if seconds == 0 or stopped.wait(seconds):
                return True
        return False

    def _seconds(self) -> float | None:
        """Seconds until a call may go, 0 if this one goes now; None if none may."""
        with self._lock:
            now = time.monotonic()
            if now < self._closed_until:
                return None
            turn = max(self._next, self._allowed_from())
            if turn <= now:
                # A delay of less than a turn moves no later call.
                self._next = max(self._next, now - max(self._apart, _MADE_UP)) + self._apart
                self._gone.append(now)
            return max(turn - now, 0.0)

    def _allowed_from(self) -> float:
        """When another call exceeds the rate no more, and no pause goes on."""
        is_full = len(self._gone) == self._gone.maxlen
        return max(self._paused_until, self._gone[0] + WINDOW if is_full else 0.0)

    def pause(self, seconds: float) -> None:
        """Let no call go for so long."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def record(self, *, failed: bool) -> None:
        """Count the end of a call."""
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            if self._failures >= FAILURES_IN_A_ROW:
                self._closed_until = time.monotonic() + PAUSE_SECONDS
