"""Where notices go: the services that Apprise knows, each by its address."""

from __future__ import annotations

import enum
import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncer.model.errors import SettingsError

if TYPE_CHECKING:
    from apprise import Apprise

log = logging.getLogger(__name__)

#: Seconds after which a service that does not answer counts as one that took nothing.
_SERVICE_SECONDS = 30.0


class Tone(enum.StrEnum):
    """How a notice is shown, in Apprise's words."""

    BAD = "failure"
    DOUBTFUL = "warning"
    GOOD = "success"
    NEUTRAL = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is told; never about a row, and without a secret."""

    title: str
    body: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """One address; its text holds no secret."""

    #: For people: the scheme, the host where it is no secret, and which of the addresses it is.
    label: str
    _service: Apprise

    def take(self, notice: Notice) -> bool:
        """Hand a notice over; returns whether the service took it."""
        try:
            taken = self._service.notify(
                body=notice.body, title=notice.title, notify_type=notice.tone.value, body_format="text"
            )
        except Exception as exc:
            # Its text may hold the address.
            log.warning("%s: %s", self.label, type(exc).__name__)
            return False
        return bool(taken)


def opened(urls: list[str]) -> list[Target]:
    """A target for each address.

    Raises:
        SettingsError: with all that Apprise does not know; it names their numbers, not the addresses.
    """
    _silence()
    with warnings.catch_warnings():
        # Plugins import modules that Python is going to drop.
        warnings.simplefilter("ignore", DeprecationWarning)
        found = {number: _opened(number, url) for number, url in enumerate(urls, start=1)}
    unknown = [str(number) for number, target in found.items() if target is None]
    if unknown:
        raise SettingsError(
            f"SYNCER_ALERTS__URLS: Apprise knows no service with an address such as number {', '.join(unknown)}",
            hint="How the addresses of each service are written is at https://github.com/caronc/apprise/wiki.",
        )
    return [target for target in found.values() if target is not None]


def _opened(number: int, url: str) -> Target | None:
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
    return Target(label=f"target {number} ({_shown(url, plugin)})", _service=service)


def _shown(url: str, plugin: object) -> str:
    """The scheme, and the host where it is one: where another thing stands in its place, that may be a token."""
    scheme = url.partition("://")[0].lower()
    token = getattr(plugin, "template_tokens", {}).get("host")
    host = getattr(plugin, "smtp_host", None) or getattr(plugin, "host", None)
    if scheme in ("http", "https") or not token or token.get("private") or not host:
        return scheme
    return f"{scheme}://{host}"


def _silence() -> None:
    """Keep Apprise and its HTTP client from writing addresses to the log; what matters of it is logged here."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    logging.getLogger("urllib3").setLevel(logging.ERROR)
