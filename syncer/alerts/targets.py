"""Where notices go: the services that Apprise knows, each by its address, with retries."""

from __future__ import annotations

import enum
import logging
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncer.model import network_faults
from syncer.model.errors import SettingsError
from syncer.model.importing import importing

if TYPE_CHECKING:
    from apprise import Apprise

log = logging.getLogger(__name__)

#: Seconds after which a service that does not answer counts as failed.
_SERVICE_SECONDS = 30.0

#: Seconds before each retry of a target that did not accept a notice.
WAITS = (1.0, 4.0)


#: Seconds until the next attempt when no target accepts anything, at first and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 600.0


class Tone(enum.StrEnum):
    """How a notice is shown, in Apprise's words."""

    BAD = "failure"
    DOUBTFUL = "warning"
    GOOD = "success"
    NEUTRAL = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message to people; never about a row, and without a secret."""

    title: str
    body: str
    tone: Tone


@dataclass(slots=True, kw_only=True, eq=False)
class AlertTarget:
    """One address; its text holds no secret."""

    #: For people: the scheme, the host where it is no secret, and which of the addresses it is.
    label: str
    #: Why the last notice did not reach the service, in words; empty if it did, or if that is not known.
    fault: str = ""
    _service: Apprise
    _faults: _Faults

    def accepts(self, notice: Notice) -> bool:
        """Send a notice; returns whether the service accepted it."""
        self._faults.last = ""
        try:
            accepted = bool(
                self._service.notify(
                    body=notice.body, title=notice.title, notify_type=notice.tone.value, body_format="text"
                )
            )
        except Exception as exc:
            accepted = False
            # Its text may hold the address.
            self._faults.last = network_faults.cause(exc)
        self.fault = "" if accepted else self._faults.last
        return accepted


class _Faults(logging.Handler):
    """Keeps what Apprise logs of an error: its `notify` only returns that there was one."""

    last = ""

    def emit(self, _: logging.LogRecord) -> None:
        """Look at the error that is being handled."""
        error = sys.exception()
        if error is not None:
            self.last = network_faults.cause(error)


class AlertDelivery:
    """The targets of one service; used by one thread."""

    def __init__(
        self, targets: Sequence[AlertTarget], *, stopped: threading.Event, waits: Sequence[float] = WAITS
    ) -> None:
        """*stopped* ends the waits between retries."""
        self._targets = targets
        self._stopped = stopped
        self._waits = waits
        #: The targets that did not accept the last notice get one attempt, so that the others need not wait.
        self._unreachable: set[AlertTarget] = set()

    def send(self, notice: Notice) -> bool:
        """Send a notice to every target; returns whether at least one accepted it."""
        failed = [target for target in self._targets if not target.accepts(notice)]
        retried = [target for target in failed if target not in self._unreachable]
        for wait in self._waits:
            if not retried or self._stopped.wait(wait):
                break
            retried = [target for target in retried if not target.accepts(notice)]
        unreachable = {target for target in failed if target in self._unreachable} | set(retried)
        for target in unreachable - self._unreachable:
            fault = f": {target.fault}" if target.fault else ""
            log.warning("an alert could not be delivered to %s%s", target.label, fault)
        for target in self._unreachable - unreachable:
            log.info("alerts reach %s again", target.label)
        self._unreachable = unreachable
        return len(unreachable) < len(self._targets)


@dataclass(slots=True, kw_only=True, eq=False)
class AlertRoute:
    """Targets that get the same notices, and the pause that they are given once none accepts anything."""

    delivery: AlertDelivery
    _pause: float = 0.0
    _paused_until: float = 0.0

    @property
    def is_paused(self) -> bool:
        return time.monotonic() < self._paused_until

    def accepts(self, notice: Notice, *, stopped: threading.Event) -> bool:
        """Send a notice; returns whether at least one target accepted it."""
        if self.delivery.send(notice):
            self._pause = 0.0
            return True
        if not stopped.is_set():
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._paused_until = time.monotonic() + self._pause
            log.error("no target accepts alerts; next attempt in %.0f seconds", self._pause)
        return False


def opened(urls: list[str], *, owner: str = "") -> list[AlertTarget]:
    """A target for each address, of one owner or for all.

    Raises:
        SettingsError: Apprise does not know some of them; it names their positions, not the addresses.
    """
    faults = _keep_quiet()
    with warnings.catch_warnings():
        # Plugins import modules that Python deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        found = {
            number: _opened(f"{number}{owner and f' of {owner}'}", url, faults)
            for number, url in enumerate(urls, start=1)
        }
    unknown = [str(number) for number, target in found.items() if target is None]
    if unknown:
        setting = f"OWNERS__{owner.upper()}" if owner else "URLS"
        raise SettingsError(
            f"SYNCER_ALERTS__{setting}: Apprise does not support address number {', '.join(unknown)}",
            hint="https://github.com/caronc/apprise/wiki lists the address format of each service.",
        )
    return [target for target in found.values() if target is not None]


def opened_of_owners(urls: Mapping[str, list[str]]) -> dict[str, list[AlertTarget]]:
    """The targets of each owner; see `opened`."""
    return {owner: opened(its, owner=owner) for owner, its in urls.items()}


def _opened(number: str, url: str, faults: _Faults) -> AlertTarget | None:
    with importing:
        from apprise import Apprise, AppriseAsset

    asset = AppriseAsset(
        app_id="Syncer",
        app_desc="Syncer",
        app_url="",
        async_mode=False,
        http_redirects=False,
        storage_mode="memory",
        service_timeout=_SERVICE_SECONDS,
    )
    plugin = Apprise.instantiate(url, asset=asset)
    if plugin is None:
        return None
    service = Apprise(asset=asset)
    service.add(plugin)
    return AlertTarget(label=f"target {number} ({_shown(url, plugin)})", _service=service, _faults=faults)


def _shown(url: str, plugin: object) -> str:
    """The scheme, and the host if it is one; some services have a token in its place."""
    scheme = url.partition("://")[0].lower()
    token = getattr(plugin, "template_tokens", {}).get("host")
    host = getattr(plugin, "smtp_host", None) or getattr(plugin, "host", None)
    if scheme in ("http", "https") or not token or token.get("private") or not host:
        return scheme
    return f"{scheme}://{host}"


def _keep_quiet() -> _Faults:
    """Keep Apprise and its HTTP client from logging addresses; returns where its errors are kept."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    faults = _Faults()
    logger.handlers[:] = [faults]
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return faults
