"""Hands notices to targets: tries a few times, and remembers which of them are away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from syncer.alerts.targets import Notice, Target

log = logging.getLogger(__name__)

#: Seconds before a target that did not take a notice is tried again, each time.
WAITS = (1.0, 4.0)


class Delivery:
    """The targets of one service; used by one thread."""

    def __init__(self, targets: Sequence[Target], *, stopped: threading.Event, waits: Sequence[float] = WAITS) -> None:
        """*stopped* ends waiting."""
        self._targets = targets
        self._stopped = stopped
        self._waits = waits
        #: The targets that did not take the last notice: they get one try, so that the others need not wait for them.
        self._away: set[Target] = set()

    def hand_over(self, notice: Notice) -> bool:
        """Hand a notice to every target; returns whether at least one took it."""
        left = self._refusing(notice, self._targets)
        tried_again = [target for target in left if target not in self._away]
        for wait in self._waits:
            if not tried_again or self._stopped.wait(wait):
                break
            tried_again = self._refusing(notice, tried_again)
        away = {target for target in left if target in self._away} | set(tried_again)
        self._tell(away)
        return len(away) < len(self._targets)

    def _refusing(self, notice: Notice, targets: Sequence[Target]) -> list[Target]:
        return [target for target in targets if not target.take(notice)]

    def _tell(self, away: set[Target]) -> None:
        for target in away - self._away:
            log.warning("an alert could not be delivered to %s", target.label)
        for target in self._away - away:
            log.info("alerts reach %s again", target.label)
        self._away = away
