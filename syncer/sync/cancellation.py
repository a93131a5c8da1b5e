"""How a run is stopped: its query is cut off, or it ends after the batch in hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds that a run which has sent nothing may take to end by itself, before its query is cut off.
PATIENCE = 1.0


class StoppedError(Exception):
    """The run was asked to stop; what was sent is settled. Its text is for the run log."""


class CancelToken:
    """Asks one run to stop; any thread may use it.

    A run that has sent nothing gets a moment to end by itself; then its query is cut off. A run that may have sent
    rows ends after the batch in hand.
    """

    def __init__(self, watch: Callable[[], str] = lambda: "") -> None:
        #: Polled by `is_cancelled`: a reason to stop, or nothing.
        self.watch = watch
        #: Why the run stops, for the run log, such as `stopped by ann`.
        self.reason = ""
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._interrupt: Callable[[], object] | None = None
        self._spared = threading.Event()

    @property
    def is_cancelled(self) -> bool:
        """Whether the run is to stop."""
        if not self._cancelled.is_set() and (reason := self.watch()):
            self.cancel(reason)
        return self._cancelled.is_set()

    def cancel(self, reason: str) -> None:
        """Ask the run to stop; the first reason counts."""
        with self._lock:
            if self._cancelled.is_set():
                return
            self.reason = reason
            self._cancelled.set()
        threading.Thread(target=self._cut_off, name="cut off", daemon=True).start()

    def check(self) -> None:
        """Go on only if nobody asked to stop.

        Raises:
            StoppedError: somebody did.
        """
        if self.is_cancelled:
            raise StoppedError(self.reason)

    @contextmanager
    def interruptible(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Let *interrupt* cut off what runs inside, from another thread, until `spare` is called."""
        self._interrupt = interrupt
        try:
            yield
        finally:
            self.spare()

    def spare(self) -> None:
        """Cut off nothing from now on."""
        self._interrupt = None
        self._spared.set()

    def _cut_off(self) -> None:
        if not self._spared.wait(PATIENCE) and (interrupt := self._interrupt) is not None:
            interrupt()
