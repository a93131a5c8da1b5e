"""Calls to one of Customer.io's APIs: limited in their rate, retried, never redirected."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from connectors.customerio import rate, shared_rate
from connectors.customerio.deadlines import Deadlines
from connectors.customerio.headers import moment, retry_after
from connectors.support.connection import ConnectionName, driver
from syncer.model import call_counts, network_faults
from syncer.model.call_rates import Turns
from syncer.model.errors import StoreError
from syncer.model.json_text import json_value

#: The most calls for one request.
ATTEMPTS = 7
#: Seconds; a wait is half to all of a time that doubles from the first to the longest.
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
#: Seconds without a byte until an answer counts as lost.
TIMEOUT_SECONDS = 60.0
_CONNECT_SECONDS = 10.0
#: Bytes.
LARGEST_ANSWER = 100_000_000
_RETRIED = frozenset({408, 425, 429})
#: The hint of a failure.
AGAIN = "The next run sends again what Customer.io did not answer for."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer to a request."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether Customer.io took the request; the body says what of it."""
        return 200 <= self.status < 300

    def json(self, *, exact: bool = False) -> Any:
        """The body's JSON, with *exact* by `json_value`; None if it is no JSON, or too deep to be an answer."""
        try:
            return json_value(self.body.decode()) if exact else json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class _UnavailableError(Exception):
    """No answer, or one that says to try later."""

    def __init__(self, what: str, *, refused: bool = False, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.what = what
        #: Whether Customer.io certainly took nothing.
        self.refused = refused
        self.retry_after = retry_after


#: They log addresses and headers, of which some hold identifiers.
_LOGGERS = ("httpx2", *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))


def _silence() -> None:
    """Let the HTTP client log only warnings, whatever its level."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_warning)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


#: Of each address and login, and of who gives its turns, the limiter that every sync of this process shares; its first
#: rate stays.
_limiters: dict[tuple[str, str, Turns | None], rate.RateLimiter] = {}


@cache
def _certificates(http: Any) -> Any:
    """The trusted authorities; reading them takes longer than a call."""
    return http.create_ssl_context()


def _client(http: Any, label: str, **given: Any) -> Any:
    """A client for HTTP, which takes proxies and certificates from the environment.

    Raises:
        StoreError: what the environment names cannot be used.
    """
    try:
        return http.Client(verify=_certificates(http), **given)
    except OSError:
        raise StoreError(
            f"{label}: the certificates to trust cannot be read",
            hint="Look at SSL_CERT_FILE: it should name a file of certificates.",
        ) from None
    except ImportError:
        raise StoreError(
            f"{label}: the environment names a SOCKS proxy, which needs the package `socksio`",
            hint="Install it with `pip install socksio`, or let ALL_PROXY and HTTPS_PROXY name an HTTP proxy.",
        ) from None
    except (ValueError, http.InvalidURL):
        raise StoreError(
            f"{label}: the proxy that the environment names is no URL such as `http://HOST:3128`",
            hint="Look at ALL_PROXY, HTTPS_PROXY and HTTP_PROXY.",
        ) from None


class Api:
    """One API with its login; several threads may use it at once."""

    def __init__(
        self,
        named: ConnectionName,
        address: str,
        *,
        login: tuple[str, str] | str,
        or_login: tuple[str, str] | None = None,
        key_setting: str,
        per_second: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is sent yet.

        Shapes:
            login: user and password, or a bearer's token.
            or_login: user and password for an API that refuses *login*.
            key_setting: the setting to check if the API refuses the login.
        """
        self._store, self.label = named.name, named.label
        self._http = driver("httpx2", extra="customerio", label=self.label)
        self._tenacity = driver("tenacity", extra="customerio", label=self.label)
        _silence()
        self._key_setting = key_setting
        self._stopped = threading.Event()
        self._deadlines = Deadlines(driver("httpcore2", extra="customerio", label=self.label).ReadTimeout)
        #: The time that the first answer bore, and when it came, by the monotonic clock.
        self._dated: tuple[datetime, float] | None = None
        own = {"User-Agent": "syncer", "Content-Type": "application/json", **(headers or {})}
        self._or_login = or_login
        self._workspace = (address, login if isinstance(login, str) else login[0])
        self._per_second = per_second
        self._limiter = _limiters.setdefault((*self._workspace, None), rate.RateLimiter(per_second))
        self._client = _client(
            self._http,
            self.label,
            base_url=address,
            headers=own,
            timeout=self._http.Timeout(TIMEOUT_SECONDS, connect=_CONNECT_SECONDS),
            follow_redirects=False,
        )
        self._log_in(login)

    def _log_in(self, login: tuple[str, str] | str) -> None:
        if isinstance(login, str):
            self._client.headers["Authorization"] = f"Bearer {login}"
        else:
            self._client.auth = login

    def share_rate(self, turns: Turns) -> None:
        """Make each call at a turn of *turns*, which other processes share, from now on."""
        # A login may be secret.
        named = hashlib.sha256("\n".join(self._workspace).encode()).hexdigest()[:32]
        shared = shared_rate.SharedRateLimiter(self._per_second, turns, named)
        self._limiter = _limiters.setdefault((*self._workspace, turns), shared)

    def call(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        query: Mapping[str, str] | None = None,
        idempotent: bool = True,
    ) -> Answer:
        """Call until an answer is about the request itself.

        Without *idempotent*, only a call of which Customer.io certainly took nothing is repeated.

        Raises:
            StoreError: no answer in time, a refused login, or an answer from elsewhere. Customer.io may have taken what
                was sent.
        """
        tenacity = self._tenacity

        def again(exc: BaseException) -> bool:
            return isinstance(exc, _UnavailableError) and (idempotent or exc.refused) and not self._stopped.is_set()

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(again),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=self._wait,
            sleep=self._stopped.wait,
            before_sleep=lambda _: call_counts.add(self._store, retries=1),
            reraise=True,
        )
        try:
            answer: Answer = retrying(self._once, method, path, content, query)
        except _UnavailableError as exc:
            raise StoreError(f"{self.label}: Customer.io {exc.what}", hint=AGAIN) from None
        return answer

    def clock(self) -> datetime | None:
        """The time by Customer.io's clock; None if no answer said so."""
        if self._dated is None:
            return None
        date, at = self._dated
        return date + timedelta(seconds=time.monotonic() - at)

    def pause(self, seconds: float) -> None:
        """Wait so long, or until nothing more is to be sent."""
        self._stopped.wait(seconds)

    def stop(self) -> None:
        """Send nothing more, and wake every thread that waits; answers on their way have some seconds left."""
        self._stopped.set()
        self._deadlines.stop()

    def close(self) -> None:
        """Close every connection."""
        self.stop()
        self._client.close()

    def _wait(self, state: Any) -> float:
        half = {"multiplier": FIRST_WAIT / 2, "max": LONGEST_WAIT / 2}
        back_off = self._tenacity.wait_exponential(**half) + self._tenacity.wait_random_exponential(**half)
        # Retry-After only lengthens it: a server that says 0 may go on to say so.
        return max(float(back_off(state)), state.outcome.exception().retry_after or 0.0)

    def _wait_for_turn(self) -> None:
        try:
            open_ = self._limiter.pass_through(self._stopped)
        except shared_rate.NoTurnsError:
            raise StoreError(
                f"{self.label}: the run log has not answered for {shared_rate.PATIENCE:.0f} seconds; it says when this "
                "process may call, so nothing is sent",
                hint=f"Look at SYNCER_DATABASE_URL. {AGAIN}",
            ) from None
        if self._stopped.is_set():
            raise StoreError(f"{self.label}: the run stops, so nothing more is sent", hint=AGAIN)
        if not open_:
            raise StoreError(
                f"{self.label}: Customer.io failed {rate.FAILURES_IN_A_ROW} times in a row; Syncer sends nothing for "
                f"{rate.PAUSE_SECONDS:.0f} seconds",
                hint=AGAIN,
            )

    def _once(self, method: str, path: str, content: bytes | None, query: Mapping[str, str] | None) -> Answer:
        self._wait_for_turn()
        call_counts.add(self._store, requests=1)
        self._deadlines.begin()
        asked = {"content": content, "params": query, "extensions": {"trace": self._deadlines.watch}}
        try:
            with self._client.stream(method, path, **asked) as response:
                answer = Answer(status=response.status_code, body=self._body(response))
        except (self._http.HTTPError, RuntimeError) as exc:
            # Their texts may hold addresses with identifiers.
            self._limiter.record(failed=True)
            raise _UnavailableError(f"did not answer: {network_faults.cause(exc)}") from None
        self._limiter.record(failed=answer.status >= 500)
        if self._dated is None and (date := moment(response.headers.get("Date"))):
            self._dated = date, time.monotonic()
        if answer.status == 401 and self._or_login is not None:
            self._log_in(self._or_login)
            self._or_login = None
            return self._once(method, path, content, query)
        self._refuse_unusable(answer, response.headers)
        return answer

    def _body(self, response: Any) -> bytes:
        parts, size = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > LARGEST_ANSWER:
                raise StoreError(
                    f"{self.label}: an answer has more than {LARGEST_ANSWER:,} bytes",
                    hint=f"Does a proxy answer in Customer.io's place? {AGAIN}",
                )
        return b"".join(parts)

    def _refuse_unusable(self, answer: Answer, headers: Mapping[str, str]) -> None:
        status = answer.status
        if status in _RETRIED or status >= 500:
            seconds = retry_after(headers.get("Retry-After"))
            if status == 429 and seconds is not None:
                self._limiter.pause(seconds)
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
