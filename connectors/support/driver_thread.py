"""A thread for a driver that blocks, so that a deadline and Ctrl-C are heard whatever the driver does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

_Value = TypeVar("_Value")


class DriverError(Exception):
    """What the driver raised; its text may hold values."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class LeftError(Exception):
    """The caller was told to wait no longer."""


class DriverThread:
    """Runs calls one after another. A call that never returns keeps the thread, and nobody else."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, Exception | None]] = SimpleQueue()
        # A driver that hangs must not keep the process from ending.
        threading.Thread(target=self._work, name="syncer-driver", daemon=True).start()

    def call(self, action: Callable[[], _Value], *, until: float) -> _Value:
        """What *action* returns.

        Units:
            until: by the monotonic clock, in seconds.
        Raises:
            DriverError: *action* raised.
            TimeoutError: it is not done in time; it goes on.
            LeftError: `leave` was called; it goes on.
        """
        answers: SimpleQueue[tuple[Any, Exception | None]] = SimpleQueue()
        self._answers = answers

        def answer() -> None:
            try:
                answers.put((action(), None))
            except BaseException as exc:  # A driver's panic is the caller's to hear, too.
                answers.put((None, DriverError(exc)))

        self._calls.put(answer)
        try:
            value, error = answers.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            raise TimeoutError from None
        if error is not None:
            raise error from None
        found: _Value = value
        return found

    def leave(self) -> None:
        """Make who waits in `call` leave it; from any thread."""
        self._answers.put((None, LeftError()))

    def end(self, *last: Callable[[], object]) -> None:
        """Run *last* when all is done, whether they fail or not, and let the thread end; nobody waits for it."""
        for action in last:
            self._calls.put(partial(_quietly, action))
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:
        # The connection is being let go of; there is nobody to tell.
        return
