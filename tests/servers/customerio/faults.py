"""Misbehaviour on demand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one request."""

    #: What of it is applied all the same: nothing, or everything.
    applied: bool = False
    #: The answer; None for a connection that breaks.
    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    #: Seconds until the answer.
    seconds: float = 0.0


LOST_BEFORE = Fault()
LOST_AFTER = Fault(applied=True)


@dataclass
class Faults:
    """What the next writing requests meet, in order, None for no fault; then all is well again."""

    next: deque[Fault | None] = field(default_factory=deque)
    #: For every writing request, where nothing is in `next`.
    always: Fault | None = None
    #: For every request for the workspace's region.
    region: Fault | None = None
    #: For every request that reads from the App API.
    reading: Fault | None = None
    #: Operations that are refused among others.
    refuses: Callable[[dict[str, Any]], bool] = lambda item: False
    #: The status of the answer that tells of them.
    partly: int = 207
    #: How an error names its operation, by the operation's place.
    place: Callable[[int], dict[str, Any]] = lambda place: {"batch_index": place}
    #: Whether refusals quote what they refuse.
    quoting: bool = False
    #: Operations for which the whole request is refused, with 400.
    poison: Callable[[dict[str, Any]], bool] = lambda item: False
    #: Seconds that every writing request takes.
    slow: float = 0.0

    def upcoming(self) -> Fault | None:
        """What happens to the request in hand."""
        return self.next.popleft() if self.next else self.always
