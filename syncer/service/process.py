"""The process of `syncer serve`: opens everything, waits for a signal, and closes everything."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import uvicorn
from fastapi import FastAPI

from syncer.model.errors import SettingsError, SyncerError
from syncer.service import following, state_folder
from syncer.service.connections import BoundedConnection, end_when_silent
from syncer.service.service import Service

log = logging.getLogger(__name__)

#: The greatest age of the schedule's last heartbeat; beyond it the process ends itself.
LONGEST_HEARTBEAT_AGE = timedelta(seconds=60)

#: Seconds that answers in progress are given when the service stops.
_ANSWERS_SECONDS = 3


class StuckError(SyncerError):
    """The schedule hangs; a supervisor should restart the process."""


def holder(at: datetime, address: str = "") -> str:
    """This process, for people; *at*: when it began, aware UTC; *address*: of its page, where that is known."""
    page = f", page {address}" if address else ""
    return f"process {os.getpid()} on {socket.gethostname()}, since {at:%Y-%m-%d %H:%M:%S}Z{page}"


@dataclass(slots=True, kw_only=True)
class Process:
    """A service with its page, in one process."""

    service: Service
    app: FastAPI
    now: Callable[[], datetime]
    #: Set at the first signal.
    asked_to_stop: threading.Event = field(default_factory=threading.Event)
    #: Set once the page answers; `address` is known then.
    answering: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def run(self, stop_reason: Callable[[], str]) -> None:
        """Serve until told to stop, then let the runs in progress end.

        Raises:
            ServiceRunningError: another service uses this state folder.
            SettingsError: the address cannot be listened on.
            StuckError: the schedule hangs.
        """
        with ExitStack() as stack:
            settings = self.service.settings
            locks = [stack.enter_context(state_folder.held(path)) for path in state_folder.paths(settings)]
            sock = self._listen()
            stack.callback(sock.close)
            self.service.leadership.holder = holder(self.now(), settings.web.public_url or self.address)
            for lock in locks:
                lock.introduce(self.service.leadership.holder)
            server = uvicorn.Server(
                uvicorn.Config(
                    self.app,
                    http=BoundedConnection,
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    proxy_headers=False,
                    timeout_graceful_shutdown=_ANSWERS_SECONDS,
                )
            )
            self.service.start()
            stack.callback(lambda: self.service.stop(stop_reason()))
            threading.Thread(target=self._follow_definitions, name="definitions", daemon=True).start()
            answering = threading.Thread(target=server.run, args=([sock],), name="page", daemon=True)
            answering.start()
            stack.callback(answering.join, _ANSWERS_SECONDS + 1)
            stack.callback(setattr, server, "should_exit", True)
            stack.callback(self.service.closing.set)
            self.answering.set()
            self._tell_the_address()
            self._wait()

    def _listen(self) -> socket.socket:
        web = self.service.settings.web
        family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
        # asyncio sets TCP_NODELAY only where the protocol is named; without it most answers wait for 40 ms.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        end_when_silent(sock)
        try:
            sock.bind((web.host, web.port))
            # From here on callers wait for an answer, where before they were refused.
            sock.listen()
        except OSError as exc:
            sock.close()
            raise SettingsError(
                f"the page cannot listen on {web.host} port {web.port}: {exc.strerror}",
                hint="Set SYNCER_WEB__PORT or --port to one that is free; 0 takes any.",
            ) from None
        host = f"[{web.host}]" if ":" in web.host else web.host
        self.address = f"http://{host}:{sock.getsockname()[1]}"
        return sock

    def _tell_the_address(self) -> None:
        number = len(self.service.catalog.current.definitions)
        syncs = f"{number} sync" if number == 1 else f"{number:,} syncs"
        role = "leads" if self.service.leads else f"stands by for {self.service.leadership.leader()}"
        log.info("Syncer serves %s, %s, %s", self.address, syncs, role, extra={"address": self.address})

    def _wait(self) -> None:
        while not self.asked_to_stop.wait(1):
            self.service.follow_clock()
            age = self.service.heartbeat_age
            if age > LONGEST_HEARTBEAT_AGE:
                raise StuckError(
                    f"the schedule has not moved for {age.total_seconds():.0f} seconds",
                    hint="Let a supervisor, such as systemd or a container's restart policy, restart the service.",
                )

    def _follow_definitions(self) -> None:
        service = self.service
        following.follow(service.settings.definitions_dir, service.reload, stopped=self.asked_to_stop)
