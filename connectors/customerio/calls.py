"""Calls to one of Customer.io's APIs: never redirected, limited, retried, and given up where it is of no use."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

from connectors.support.connection import driver
from syncer.model import call_counts
from syncer.model.errors import StoreError

#: Calls for one request before it is given up, the first one counted.
ATTEMPTS = 7
#: Seconds; a wait is a random part of what doubles from the first to the longest.
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
#: Seconds of a Retry-After that are waited at the most.
LONGEST_RETRY_AFTER = 300.0
#: Failures in a row, of all syncs together, after which nothing is sent for some seconds.
FAILURES_IN_A_ROW = 30
PAUSE_SECONDS = 30.0

#: Seconds without a byte after which an answer counts as lost.
TIMEOUT_SECONDS = 60.0
_CONNECT_SECONDS = 10.0
_RETRIED = frozenset({408, 425, 429})
#: What a failure means for what was sent.
AGAIN = "What Customer.io did not answer for is sent again at the next run."


#: Calls are spread over so much more than a second, so that one that comes late makes no other wait; and at least so
#: long lies between a call and the one that would be too many, which may be quicker on its way.
_SPREAD, _WINDOW = 1.035, 1.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether it was taken; what of it is in the body."""
        return 200 <= self.status < 300


class _UnavailableError(Exception):
    """No answer, or one that asks for patience."""

    def __init__(self, what: str, *, refused: bool = False, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.what = what
        #: Whether it is sure that nothing was taken.
        self.refused = refused
        self.retry_after = retry_after


def kept_rate(per_second: int) -> float:
    """The calls that are made in a second where so many are allowed."""
    return per_second / _SPREAD


class RateLimiter:
    """What all calls of this process to one workspace pass: its rate, and a stop while it fails."""

    def __init__(self, per_second: int) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_until = 0.0
        self._patient_until = 0.0
        self._apart = 1 / kept_rate(per_second)
        self._next = 0.0
        #: When the last calls went, as many as are allowed in a second.
        self._gone: deque[float] = deque([0.0], maxlen=per_second)

    def pass_through(self, stopped: threading.Event) -> bool:
        """Wait for one's turn, or until *stopped*; False where nothing may be sent for now."""
        while (patience := self._patience()) is not None:
            if patience == 0 or stopped.wait(patience):
                return True
        return False

    def _patience(self) -> float | None:
        """Seconds until a call may go, 0 where this one goes now; None where nothing may be sent."""
        with self._lock:
            now = time.monotonic()
            if now < self._closed_until:
                return None
            is_full = len(self._gone) == self._gone.maxlen
            turn = max(self._next, self._patient_until, self._gone[0] + _WINDOW if is_full else 0.0)
            if turn <= now:
                # Being late by less than a turn moves no later one.
                self._next = max(self._next, now - self._apart) + self._apart
                self._gone.append(now)
            return max(turn - now, 0.0)

    def be_patient(self, seconds: float) -> None:
        """Let nobody through for so long."""
        with self._lock:
            self._patient_until = max(self._patient_until, time.monotonic() + seconds)

    def tell(self, *, failed: bool) -> None:
        """Count how a call ended."""
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            if self._failures >= FAILURES_IN_A_ROW:
                self._closed_until = time.monotonic() + PAUSE_SECONDS


#: They tell of addresses and of headers, and identifiers are part of some.
_TALKATIVE = ("httpx2", *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))


def _quieten() -> None:
    """Let only warnings of the HTTP client be logged, whatever levels are set."""
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_is_warning)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


_gates: dict[tuple[str, str], RateLimiter] = {}
_gates_lock = threading.Lock()


def shared_gate(address: str, login: str, *, per_second: int) -> RateLimiter:
    """The gate of a workspace's API, the same for every sync of this process; its first rate stays."""
    with _gates_lock:
        return _gates.setdefault((address, login), RateLimiter(per_second))


@cache
def _certificates(http: Any) -> Any:
    """The authorities to trust; reading them takes longer than a call."""
    return http.create_ssl_context()


class Api:
    """One API with its login; may be used by several threads at once."""

    def __init__(
        self,
        store: str,
        address: str,
        *,
        login: tuple[str, str] | str,
        key_setting: str,
        per_second: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is sent yet.

        Shapes:
            store: as the settings call it.
            login: user and password, or a bearer's token.
            key_setting: the setting to look at where the login is refused.
        """
        label = f"store `{store}`"
        self._http = driver("httpx2", extra="customerio", label=label)
        self._tenacity = driver("tenacity", extra="customerio", label=label)
        _quieten()
        self.store, self.label = store, label
        self._key_setting = key_setting
        self._stopped = threading.Event()
        own = {"User-Agent": "syncer", "Content-Type": "application/json", **(headers or {})}
        if isinstance(login, str):
            own["Authorization"] = f"Bearer {login}"
        user = login if isinstance(login, str) else login[0]
        self._gate = shared_gate(address, user, per_second=per_second)
        self._client = self._http.Client(
            base_url=address,
            auth=login if isinstance(login, tuple) else None,
            headers=own,
            verify=_certificates(self._http),
            timeout=self._http.Timeout(TIMEOUT_SECONDS, connect=_CONNECT_SECONDS),
            follow_redirects=False,
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        query: Mapping[str, str] | None = None,
        idempotent: bool = True,
    ) -> Answer:
        """Call until there is an answer that says something of the request itself.

        Without *idempotent* a call is only repeated where it is sure that nothing was taken.

        Raises:
            StoreError: none came in time, the login was refused, or the address is another's. What was sent may have
                been taken.
        """
        tenacity = self._tenacity

        def again(exc: BaseException) -> bool:
            return isinstance(exc, _UnavailableError) and (idempotent or exc.refused) and not self._stopped.is_set()

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(again),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=self._wait,
            sleep=self._stopped.wait,
            before_sleep=lambda _: call_counts.add(self.store, retries=1),
            reraise=True,
        )
        try:
            answer: Answer = retrying(self._once, method, path, content, query)
        except _UnavailableError as exc:
            raise StoreError(f"{self.label}: Customer.io {exc.what}", hint=AGAIN) from None
        return answer

    def stop(self) -> None:
        """Let no thread wait any longer, and nothing more be sent."""
        self._stopped.set()

    def close(self) -> None:
        """Let go of every connection."""
        self.stop()
        self._client.close()

    def _wait(self, state: Any) -> float:
        told = state.outcome.exception().retry_after
        if told is not None:
            return float(told)
        jittered: float = self._tenacity.wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)(state)
        return jittered

    def _once(self, method: str, path: str, content: bytes | None, query: Mapping[str, str] | None) -> Answer:
        open_ = self._gate.pass_through(self._stopped)
        if self._stopped.is_set():
            raise StoreError(f"{self.label}: nothing more is sent after a failure", hint=AGAIN)
        if not open_:
            raise StoreError(
                f"{self.label}: Customer.io failed {FAILURES_IN_A_ROW} times in a row; nothing is sent for "
                f"{PAUSE_SECONDS:.0f} seconds",
                hint=AGAIN,
            )
        call_counts.add(self.store, requests=1)
        try:
            response = self._client.request(method, path, content=content, params=query)
            answer = Answer(status=response.status_code, body=response.content)
        except (self._http.HTTPError, RuntimeError) as exc:
            # Their texts may hold addresses with identifiers.
            self._gate.tell(failed=True)
            raise _UnavailableError(f"did not answer: {type(exc).__name__}") from None
        self._gate.tell(failed=answer.status >= 500)
        self._refuse_unusable(answer, response.headers)
        return answer

    def _refuse_unusable(self, answer: Answer, headers: Mapping[str, str]) -> None:
        status = answer.status
        if status in _RETRIED or status >= 500:
            seconds = retry_after(headers.get("Retry-After"))
            if status == 429 and seconds is not None:
                self._gate.be_patient(seconds)
            raise _UnavailableError(f"answered {status}", refused=status == 429, retry_after=seconds)
        if status in (401, 403):
            raise StoreError(
                f"{self.label}: Customer.io refuses the login: {status}",
                hint=f"Check {self._key_setting}, and that the key belongs to this workspace and region.",
            )
        if 300 <= status < 400:
            raise StoreError(
                f"{self.label}: Customer.io answers from elsewhere: {status}",
                hint="Is the workspace in the other region? Write the store's URL as customerio://us or customerio://eu.",
            )


def retry_after(text: str | None) -> float | None:
    """The seconds to wait that a header asks for, at most LONGEST_RETRY_AFTER; None where it asks for nothing."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
            seconds = (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
