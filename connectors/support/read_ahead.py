"""Reading in a thread of its own, for drivers whose calls cannot be interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

_END = object()


class ReadAhead:
    """What an iterator yields, one ahead of who takes it. Its thread may be left behind in a call that hangs."""

    def __init__(self, parts: Callable[[threading.Event], Iterator[Any]]) -> None:
        """Nothing is read yet.

        Shapes:
            parts: makes the iterator; it should end soon after the event that it is given is set.
        """
        self._parts = parts
        self._changed = threading.Condition()
        self._made: list[Any] = []
        self._is_left = threading.Event()
        # It must not keep the process from ending.
        self._thread = threading.Thread(target=self._make, daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def take(self, seconds: float) -> Any:
        """The next part; None where there is no further one.

        Raises:
            TimeoutError: there is none within *seconds*.
            InterruptedError: `leave` was called.
            Exception: the iterator's own.
        """
        with self._changed:
            in_time = self._changed.wait_for(lambda: self._made or self._is_left.is_set(), max(0.0, seconds))
            if self._is_left.is_set():
                raise InterruptedError
            if not in_time:
                raise TimeoutError
            part = self._made[0]
            if part is _END or isinstance(part, Exception):
                self._thread.join()
            else:
                self._made.clear()
                self._changed.notify_all()
        if isinstance(part, Exception):
            raise part
        return None if part is _END else part

    def leave(self) -> None:
        """Take no more; who waits in `take` is woken. May be called from any thread."""
        with self._changed:
            self._is_left.set()
            self._changed.notify_all()

    def join(self, seconds: float) -> None:
        """Wait so long for the thread to end."""
        self._thread.join(seconds)

    def _make(self) -> None:
        parts = self._parts(self._is_left)
        try:
            for part in parts:
                if not self._hand_over(part):
                    return
            self._hand_over(_END)
        except Exception as exc:
            self._hand_over(exc)
        finally:
            parts.close()  # type: ignore[attr-defined]

    def _hand_over(self, part: Any) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: not self._made or self._is_left.is_set())
            self._made.append(part)
            self._changed.notify_all()
            return not self._is_left.is_set()
