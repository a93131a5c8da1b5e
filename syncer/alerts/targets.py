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

#: Seconds after which a service that does not answer counts as failed.
_SERVICE_SECONDS = 30.0


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """One address; its text holds no secret."""

    #: For people: the scheme, the host where it is no secret, and which of the addresses it is.
    label: str
    _service: Apprise

    def accepts(self, notice: Notice) -> bool:
        """Send a notice; returns whether the service accepted it."""
        try:
            accepted = self._service.notify(
                body=notice.body, title=notice.title, notify_type=notice.tone.value, body_format="text"
            )
        except Exception as exc:
            # Its text may hold the address.
            log.warning("%s: %s", self.label, type(exc).__name__)
            return False
        return bool(accepted)


def opened(urls: list[str]) -> list[Target]:
    """A target for each address.

    Raises:
        SettingsError: Apprise does not know some of them; it names their positions, not the addresses.
    """
    _silence()
    with warnings.catch_warnings():
        # Plugins import modules that Python deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        found = {number: _opened(number, url) for number, url in enumerate(urls, start=1)}
    unknown = [str(number) for number, target in found.items() if target is None]
    if unknown:
        raise SettingsError(
            f"SYNCER_ALERTS__URLS: Apprise does not support address number {', '.join(unknown)}",
            hint="https://github.com/caronc/apprise/wiki lists the address format of each service.",
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
    """The scheme, and the host if it is one; some services have a token in its place."""
    scheme = url.partition("://")[0].lower()
    token = getattr(plugin, "template_tokens", {}).get("host")
    host = getattr(plugin, "smtp_host", None) or getattr(plugin, "host", None)
    if scheme in ("http", "https") or not token or token.get("private") or not host:
        return scheme
    return f"{scheme}://{host}"


def _silence() -> None:
    """Keep Apprise and its HTTP client from logging addresses; what matters is logged here."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    logging.getLogger("urllib3").setLevel(logging.ERROR)
