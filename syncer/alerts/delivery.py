"""Sends notices to targets: retries a few times, and remembers which of them are unreachable."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from syncer.alerts.targets import Notice, Target

log = logging.getLogger(__name__)

#: Seconds before each retry of a target that did not accept a notice.
WAITS = (1.0, 4.0)


class Delivery:
    """The targets of one service; used by one thread."""

    def __init__(self, targets: Sequence[Target], *, stopped: threading.Event, waits: Sequence[float] = WAITS) -> None:
        """*stopped* ends the waits between retries."""
        self._targets = targets
        self._stopped = stopped
        self._waits = waits
        #: The targets that did not accept the last notice: they get one attempt, so that the others need not wait.
        self._unreachable: set[Target] = set()

    def send(self, notice: Notice) -> bool:
        """Send a notice to every target; returns whether at least one accepted it."""
        failed = self._failed(notice, self._targets)
        retried = [target for target in failed if target not in self._unreachable]
        for wait in self._waits:
            if not retried or self._stopped.wait(wait):
                break
            retried = self._failed(notice, retried)
        unreachable = {target for target in failed if target in self._unreachable} | set(retried)
        self._log_changes(unreachable)
        self._unreachable = unreachable
        return len(unreachable) < len(self._targets)

    def _failed(self, notice: Notice, targets: Sequence[Target]) -> list[Target]:
        return [target for target in targets if not target.accepts(notice)]

    def _log_changes(self, unreachable: set[Target]) -> None:
        for target in unreachable - self._unreachable:
            log.warning("an alert could not be delivered to %s", target.label)
        for target in self._unreachable - unreachable:
            log.info("alerts reach %s again", target.label)
