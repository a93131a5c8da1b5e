"""How often one address may guess."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

#: Guesses from one address in a window.
GUESSES = 10
WINDOW = timedelta(minutes=5)

#: Addresses that are remembered, the newest.
_ADDRESSES = 10_000


@dataclass(slots=True, kw_only=True)
class Throttle:
    """Counts the guesses of each address; used by several threads."""

    #: Gives aware UTC.
    now: Callable[[], datetime]
    _windows: OrderedDict[str, tuple[datetime, int]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def guess(self, address: str) -> timedelta | None:
        """Count a guess before it is looked at; None where it may be, else how long to wait."""
        place, now = _place(address), self.now()
        with self._lock:
            began, guesses = self._windows.pop(place, (now, 0))
            if now - began >= WINDOW:
                began, guesses = now, 0
            self._windows[place] = began, min(guesses + 1, GUESSES + 1)
            while len(self._windows) > _ADDRESSES:
                self._windows.popitem(last=False)
        return None if guesses < GUESSES else began + WINDOW - now

    def forgive(self, address: str) -> None:
        """Forget the guesses of an address: one was right."""
        with self._lock:
            self._windows.pop(_place(address), None)


def _place(address: str) -> str:
    """An address, of IPv6 the network that one customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
