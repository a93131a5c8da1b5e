"""Which of several services leads: only one keeps the schedule and runs syncs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from syncer.model.errors import StateDatabaseError
from syncer.service.session_lock import SessionLock
from syncer.state.database import StateDatabase
from syncer.state.run_ends import presence_of
from syncer.state.runs import RunLog

log = logging.getLogger(__name__)

#: Seconds for which `holds` reuses its answer: batches may come faster than a query is worth.
_FRESH_SECONDS = 0.2

#: Seconds between a leader's statements; the server ends the session of one that sends none.
_SIGN_SECONDS = 2.0


class Leadership(Protocol):
    """One service's claim to lead over one run log; used by several threads."""

    #: The number of this service's term, greater than every earlier one's; None while it does not lead.
    term: int | None
    #: This service, for people.
    holder: str

    def acquire(self) -> bool:
        """Begin to lead, with a new term, unless another service does; returns whether this one leads now."""

    def holds(self) -> bool:
        """Whether this service still leads; called before each run and each batch, it takes at most one query."""

    def leader(self) -> str:
        """The service that leads, for people; empty where none ever did."""

    def release(self) -> None:
        """Lead no longer; calling it twice is fine."""


class SingleNode:
    """The Leadership of the only service that there can be: it holds the state folder, in which the run log is."""

    def __init__(self, run_log: RunLog, *, holder: str, now: Callable[[], datetime]) -> None:
        """*holder*: this service, for people."""
        self._run_log = run_log
        self.holder = holder
        self._now = now
        self.term: int | None = None

    def acquire(self) -> bool:
        if self.term is None:
            self.term = self._run_log.begin_term(self.holder, self._now())
        return True

    def holds(self) -> bool:
        return self.term is not None

    def leader(self) -> str:
        return self._run_log.leader()

    def release(self) -> None:
        self.term = None


class LeaderElection:
    """The Leadership of one of several services, on one machine or many, that share a run log in PostgreSQL."""

    def __init__(self, database: StateDatabase, run_log: RunLog, *, holder: str, now: Callable[[], datetime]) -> None:
        """Nothing is connected yet. *holder*: this service, for people."""
        self._database = database
        self._session = SessionLock(database)
        self._run_log = run_log
        self.holder = holder
        self._now = now
        self.term: int | None = None
        self._asked_at = 0.0
        self._lock = threading.RLock()
        #: Shows that this process lives, also once it leads no longer.
        self._presence: SessionLock | None = None
        self._released = threading.Event()
        self._signs: threading.Thread | None = None

    def acquire(self) -> bool:
        with self._lock:
            if self.holds():
                return True
            if self._released.is_set() or not self._session.take():
                return False
            try:
                self.term = self._run_log.begin_term(self.holder, self._now())
            except BaseException:
                self._session.release()
                raise
            self._show_presence(self.term)
            if self._signs is None:
                self._signs = threading.Thread(target=self._give_signs, name="leadership", daemon=True)
                self._signs.start()
            return True

    def holds(self) -> bool:
        with self._lock:
            if self.term is None:
                return False
            now = time.monotonic()
            if now - self._asked_at < _FRESH_SECONDS:
                return True
            if self._session.ask("SELECT max(term) FROM syncer_terms") != self.term:
                log.warning("this service leads no longer", extra={"term": self.term})
                self.term = None
                self._session.release()
                return False
            self._asked_at = now
            return True

    def leader(self) -> str:
        return self._run_log.leader()

    def release(self) -> None:
        self._released.set()
        with self._lock:
            self.term = None
            self._session.release()
            if self._presence is not None:
                self._presence.release()

    def _show_presence(self, term: int) -> None:
        """Let others know that this process lives, which may have begun runs of that term."""
        if self._presence is not None:
            self._presence.release()
        self._presence = SessionLock(self._database, self._database.lock_of(presence_of(term)))
        with suppress(StateDatabaseError):
            self._presence.take()

    def _stay_present(self) -> None:
        with self._lock:
            if self._presence is not None and self._presence.ask("SELECT 1") is None and not self._released.is_set():
                self._presence.release()
                self._presence.take()

    def _give_signs(self) -> None:
        while not self._released.wait(_SIGN_SECONDS):
            try:
                self.holds()
                self._stay_present()
            except StateDatabaseError as exc:
                log.warning("that this service lives cannot be shown: %s", exc)
            except Exception:
                log.exception("whether this service leads could not be found out")
