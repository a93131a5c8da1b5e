"""A limit on how often one address may try a password."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

#: Attempts of one address in a window.
GUESSES = 10
WINDOW = timedelta(minutes=5)

#: The most addresses to remember; older ones are forgotten.
_ADDRESSES = 10_000


@dataclass(slots=True, kw_only=True)
class Throttle:
    """Counts the attempts of each address; several threads may use it."""

    #: Gives aware UTC.
    now: Callable[[], datetime]
    _windows: OrderedDict[str, tuple[datetime, int]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def guess(self, address: str) -> timedelta | None:
        """Count an attempt before it is checked; returns how long to wait, or None if it is allowed."""
        network, now = _network(address), self.now()
        with self._lock:
            began, guesses = self._windows.pop(network, (now, 0))
            if now - began >= WINDOW:
                began, guesses = now, 0
            self._windows[network] = began, min(guesses + 1, GUESSES + 1)
            while len(self._windows) > _ADDRESSES:
                self._windows.popitem(last=False)
        return None if guesses < GUESSES else began + WINDOW - now

    def forgive(self, address: str) -> None:
        """Forget the attempts of an address after a right one."""
        with self._lock:
            self._windows.pop(_network(address), None)


def _network(address: str) -> str:
    """An IPv4 address, or the IPv6 network that a provider gives one customer."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))
