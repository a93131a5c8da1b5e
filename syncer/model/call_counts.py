"""How many calls this process made to each store that is reached by HTTP."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls to one store."""

    #: Including retries.
    requests: int = 0
    #: Repeated: there was no answer, or the answer was to wait.
    retries: int = 0


_counts: dict[str, Calls] = {}
_lock = threading.Lock()


def add(store: str, *, requests: int = 0, retries: int = 0) -> None:
    """Count calls to a store, by its name in the settings."""
    with _lock:
        before = _counts.get(store, Calls())
        _counts[store] = replace(before, requests=before.requests + requests, retries=before.retries + retries)


def counted() -> Mapping[str, Calls]:
    """The calls since the process began, by store."""
    with _lock:
        return dict(_counts)
