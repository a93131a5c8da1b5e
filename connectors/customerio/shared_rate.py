"""One rate for a workspace over many processes: each call goes at a turn that was reserved for its process alone."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from itertools import takewhile

from connectors.customerio.rate import SPREAD, WINDOW, RateLimiter
from syncer.model.call_rates import Reserved, Turns
from syncer.model.errors import StateDatabaseError

#: Seconds by which a call may be late for its turn. So the turns themselves keep the window, whoever has which.
_LATE = SPREAD - WINDOW
#: Seconds that the turns of one reservation take, about; more where the run log is slow.
_BLOCK = 0.1
#: Seconds before the last turn that more are reserved.
_AHEAD = 0.03
#: Seconds; what answers so late, as where the process stood still meanwhile, tells no time.
_TOO_SLOW = 1.0
#: Seconds before a turn that is too far ahead to be reserved that it is asked for again.
_NEAR = 1.0
#: By how much two clocks may drift apart, and how much of the longest time that a reservation took counts at the next.
_DRIFT, _EASED = 0.001, 0.9
#: Seconds after which a clock that failed is asked again, and after which no call waits for it any more.
_AGAIN, PATIENCE = 0.5, 10.0
#: Seconds between two looks whether there is an answer.
_FIRST_LOOK, _LAST_LOOK = 0.002, 0.05


class NoTurnsError(Exception):
    """The run log, which gives the turns, does not answer."""


class SharedRateLimiter(RateLimiter):
    """Limits the calls of this process to one workspace together with those of all who share *turns*.

    A turn that this process is late for is lost, as others may call by then. So any calls that exceed the rate by one
    lie a second apart, whichever processes make them, also where one of them stood still.
    """

    def __init__(self, per_second: int, turns: Turns, workspace: str) -> None:
        super().__init__(per_second)
        self._per_second, self._turns, self._workspace = per_second, turns, workspace
        #: In seconds of the common clock, the first one first.
        self._held: deque[float] = deque()
        self._clock = _Clock()
        #: The threads that wait here, and since when.
        self._waiting: dict[int, float] = {}
        self._is_asking = False
        #: When turns were last asked for, and when more may be.
        self._asked = self._ask_from = 0.0
        #: When a call last looked for an answer, and since when there is none.
        self._looked = self._silent_since = 0.0
        #: Seconds that a reservation takes, and those after which it is known here, about, at most.
        self._takes = self._lead = 0.0

    def pass_through(self, stopped: threading.Event) -> bool:
        """See `RateLimiter`.

        Raises:
            NoTurnsError: the run log has not answered for PATIENCE seconds.
        """
        with self._lock:
            self._waiting[threading.get_ident()] = time.monotonic()
        try:
            return super().pass_through(stopped)
        finally:
            with self._lock:
                del self._waiting[threading.get_ident()]

    def pause(self, seconds: float) -> None:
        """Let no call go for so long, in any process but for the turns that it has."""
        is_longer = time.monotonic() + seconds > self._paused_until + _AGAIN
        super().pause(seconds)
        if is_longer:
            threading.Thread(target=self._pause_all, args=(seconds,), name="customerio-rate", daemon=True).start()

    def _pause_all(self, seconds: float) -> None:
        # This process waits in any case, and others learn it as it did.
        with suppress(StateDatabaseError):
            self._turns.pause(self._workspace, seconds)

    def _seconds(self) -> float | None:
        with self._lock:
            now = time.monotonic()
            if now < self._closed_until:
                return None
            allowed = self._allowed_from()
            if allowed > now + _AHEAD:
                return allowed - now
            while self._held and self._clock.here(self._held[0]) + _LATE < now:
                self._held.popleft()
            self._ask_where_few(now)
            if not self._held:
                return self._until_next_look(now)
            turn = max(self._clock.here(self._held[0]), allowed)
            if turn <= now:
                self._held.popleft()
                self._gone.append(now)
            return max(turn - now, 0.0)

    def _until_next_look(self, now: float) -> float:
        if now - self._looked > _TOO_SLOW:
            # Nobody waited, or the process stood still.
            self._silent_since = now
        self._looked = now
        if now - max(self._silent_since, self._waiting[threading.get_ident()]) > PATIENCE:
            raise NoTurnsError
        if self._is_asking:
            return min(max((now - self._asked) / 4, _FIRST_LOOK), _LAST_LOOK)
        return max(self._ask_from - now, _FIRST_LOOK)

    def _ask_where_few(self, now: float) -> None:
        is_enough = self._held and self._clock.here(self._held[-1]) > now + _AHEAD + self._takes
        if self._is_asking or is_enough or now < self._ask_from:
            return
        seconds = max(_BLOCK, 4 * self._takes)
        just_gone = sum(1 for _ in takewhile(lambda at: at > now - seconds, reversed(self._gone)))
        most = max(1, round(seconds * self._per_second))
        turns = min(most, len(self._waiting) + just_gone) - len(self._held)
        if turns > 0:
            # In a thread of its own, whose wait for the run log delays nobody's end.
            threading.Thread(target=self._ask, args=(turns,), name="customerio-rate", daemon=True).start()
            self._is_asking, self._asked = True, now

    def _ask(self, turns: int) -> None:
        found, began = None, time.monotonic()
        try:
            with suppress(StateDatabaseError):
                found = self._turns.reserve(self._workspace, turns, apart=self._apart, lead=self._lead)
        finally:
            with self._lock:
                now = time.monotonic()
                self._is_asking = False
                if found is None:
                    self._ask_from = now + _AGAIN
                elif found.told - found.asked < _TOO_SLOW:
                    self._takes = min(max(now - began, self._takes * _EASED), _TOO_SLOW)
                    self._take(found, now)

    def _take(self, found: Reserved, now: float) -> None:
        self._clock.set(found)
        self._lead = min(max(now - self._clock.here(found.clock), self._lead * _EASED), _TOO_SLOW)
        self._silent_since = now
        if self._held and found.first < self._held[-1]:
            # By a clock that was set back since.
            self._held.clear()
        self._held.extend(found.first + place * self._apart for place in range(found.turns))
        if not found.turns:
            self._ask_from = self._silent_since = self._clock.here(found.first) - _NEAR


class _Clock:
    """What the common clock says, by this process's own: as exactly as the fastest of the last answers tells."""

    def __init__(self) -> None:
        #: By how many seconds this process's clock is ahead, at least and at most, and when that was found out.
        self._least, self._most, self._at = float("-inf"), float("inf"), 0.0

    def set(self, found: Reserved) -> None:
        """Learn from an answer."""
        drift = _DRIFT * (found.told - self._at)
        least, most = found.asked - found.clock, found.told - found.clock
        self._least, self._most = max(self._least - drift, least), min(self._most + drift, most)
        if self._least > self._most:
            # One of the clocks was set.
            self._least, self._most = least, most
        self._at = found.told

    def here(self, moment: float) -> float:
        """When a moment of the common clock is."""
        return moment + (self._least + self._most) / 2
