"""How long a call may take as a whole, however slowly its answer comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

#: Seconds from the begin of a call to the last byte of its answer.
CALL_SECONDS = 120.0
#: Seconds that a call has left once nothing more is to be sent.
STOPPED_SECONDS = 10.0
#: Seconds between two looks whether that is so.
_LOOK_SECONDS = 0.5


class Deadlines:
    """The deadlines of calls, each in a thread of its own, over the connections that they share."""

    def __init__(self, timeout: type[Exception]) -> None:
        """*timeout*: what a connection raises where nothing comes in time."""
        self._timeout = timeout
        self._of_thread = threading.local()
        self._stopped_until = float("inf")

    def begin(self) -> None:
        """A call of this thread begins."""
        self._of_thread.until = time.monotonic() + CALL_SECONDS

    def stop(self) -> None:
        """Let every call end soon."""
        self._stopped_until = min(self._stopped_until, time.monotonic() + STOPPED_SECONDS)

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Take httpcore's `trace`: bound what is read of every new connection."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            stream = info["return_value"]
            stream.read = partial(self._read, stream.read)

    def _read(self, read: Callable[[int, float], bytes], most: int, timeout: float | None = None) -> bytes:
        silent_until = time.monotonic() + (CALL_SECONDS if timeout is None else timeout)
        while True:
            until = min(silent_until, self._of_thread.until, self._stopped_until)
            left = until - time.monotonic()
            if left <= 0:
                raise self._timeout("the call takes too long")
            try:
                return read(most, min(left, _LOOK_SECONDS))
            except self._timeout:
                continue
