"""The dead man's switch: calls an address while the schedule works, so that a monitor notices when it stops."""

from __future__ import annotations

import logging
import threading
import time
import urllib.error
import urllib.request
from typing import Any

from syncer import __version__
from syncer.model import network_faults
from syncer.service.service import Service

log = logging.getLogger(__name__)

#: Seconds between two calls.
PING_SECONDS = 60.0
_TIMEOUT_SECONDS = 10.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Follow no redirect: it counts as a failure."""


class Ping:
    """Calls an address about once a minute, while the schedule's heartbeat goes on and this service leads."""

    def __init__(self, service: Service, url: str, *, seconds: float = PING_SECONDS) -> None:
        """Calls nothing yet; *url* may hold a secret."""
        self._service = service
        self._url = url
        self._seconds = seconds
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._due = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ping", daemon=True)
        self._called_at = float("-inf")
        self._fails = False

    def start(self) -> None:
        """Begin to call, with the heartbeat."""
        self._service.heartbeats.append(self.heartbeat)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._due.set()

    def heartbeat(self) -> None:
        """Wake the thread that calls, if it is time."""
        if self._service.leads and time.monotonic() - self._called_at >= self._seconds:
            self._due.set()

    def _work(self) -> None:
        while True:
            self._due.wait()
            if self._stopped.is_set():
                return
            self._called_at = time.monotonic()
            self._due.clear()
            self._log_change(self._failure())

    def _failure(self) -> str:
        """Call once; returns why it failed, without the address, or an empty text."""
        try:
            request = urllib.request.Request(self._url, headers={"User-Agent": f"syncer/{__version__}"})
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS):
                return ""
        except urllib.error.HTTPError as exc:
            exc.close()
            return f"it answered {exc.code}"
        except Exception as exc:
            # The text of the error may hold the address.
            return f"it did not answer: {network_faults.cause(exc)}"

    def _log_change(self, failure: str) -> None:
        if failure and not self._fails:
            log.warning("the address of SYNCER_ALERTS__PING_URL cannot be called: %s", failure)
        elif self._fails and not failure:
            log.info("the address of SYNCER_ALERTS__PING_URL can be called again")
        self._fails = bool(failure)
