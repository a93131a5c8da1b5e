"""A thread for a driver that blocks, so that a deadline and Ctrl-C work whatever the driver does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

_Value = TypeVar("_Value")
_Answers = SimpleQueue[tuple[Any, Exception | None]]


class DriverError(Exception):
    """What the driver raised; its text may hold values."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class LeftError(Exception):
    """`leave` ended the wait."""


class DriverThread:
    """Runs calls one after another. A call that never returns keeps this thread, and nothing else."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._answers: _Answers = SimpleQueue()
        # A driver that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="syncer-driver", daemon=True)
        self._thread.start()

    def start(self, action: Callable[[], object]) -> None:
        """Run *action* after the calls before it; `result` gives what it returns."""
        answers = self._answers = SimpleQueue()

        def answer() -> None:
            try:
                answers.put((action(), None))
            except BaseException as exc:  # A panic of the driver too is the caller's.
                answers.put((None, DriverError(exc)))

        self._calls.put(answer)

    def result(self, *, until: float) -> Any:
        """What the call that was started last returns.

        Units:
            until: by the monotonic clock, in seconds.
        Raises:
            DriverError: the call raised.
            TimeoutError: the call still runs, and goes on.
            LeftError: `leave` was called; the call goes on.
        """
        try:
            value, error = self._answers.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            raise TimeoutError from None
        if error is not None:
            raise error from None
        return value

    def call(self, action: Callable[[], _Value], *, until: float) -> _Value:
        """`start` and `result` in one."""
        self.start(action)
        value: _Value = self.result(until=until)
        return value

    def leave(self) -> None:
        """End the wait in `result`; from any thread."""
        self._answers.put((None, LeftError()))

    def end(self, *last: Callable[[], object], wait: float = 0.0) -> None:
        """Run *last* after all other calls, whether they fail or not, and let the thread end.

        Units:
            wait: seconds to wait for that at most.
        """
        for call in (*last, None):
            self._calls.put(call)
        if wait:
            self._thread.join(wait)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            # Only one of the last calls fails here: the connection is closing, and nobody can use the error.
            with suppress(Exception):
                call()
