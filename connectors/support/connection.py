"""What every connection needs: a name in messages, its URL's parameters, and a driver."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from syncer.model.errors import SettingsError
from syncer.model.importing import importing
from syncer.model.spelling import did_you_mean


@dataclass(frozen=True, slots=True)
class ConnectionName:
    """How messages name a connection and its settings."""

    kind: Literal["warehouse", "store"]
    name: str

    @property
    def label(self) -> str:
        """Such as "warehouse `crm`"."""
        return f"{self.kind} `{self.name}`"

    @property
    def setting(self) -> str:
        """What its settings begin with, such as `SYNCER_WAREHOUSES__CRM`; hints refer to it as `{setting}`."""
        return f"SYNCER_{self.kind.upper()}S__{self.name.upper()}"

    def hint(self, text: str) -> str:
        """*text* with the settings' name in place of `{setting}`."""
        return text.replace("{setting}", self.setting)

    def unusable(self, fault: str, hint: str) -> SettingsError:
        """The error for settings that cannot be used.

        Shapes:
            fault: goes after "its".
            hint: may refer to `{setting}`.
        """
        return SettingsError(f"{self.label}: its {fault}", hint=self.hint(hint))

    def unreadable(self, example: str, more: str = "") -> SettingsError:
        """The error for a URL that cannot be parsed; *more* goes after the *example* of one that can."""
        rule = "in a user or password `@` is `%40`, `/` is `%2F`, `%` is `%25`."
        return self.unusable("URL cannot be read", f"Write {{setting}}__URL as {example}{more}; {rule}")


def is_loopback(url: str) -> bool:
    """Whether a URL, or a host with its port, is of this machine."""
    host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def url_parameters(
    named: ConnectionName, query: str, known: Collection[str], *, strict: bool = False
) -> dict[str, str]:
    """The parameters after the `?` of a URL, by their *known* names; of a repeated one the last value.

    Raises:
        SettingsError: one is unknown or, if *strict*, repeated or empty.
    """
    found: dict[str, str] = {}
    for written, value in parse_qsl(query, keep_blank_values=True):
        name = written.replace("-", "_").lower()
        if name not in known:
            # A password that is not encoded may be part of what looks like a parameter.
            shown = f" `{written}`" if re.fullmatch(r"[\w-]{1,30}", written) else ""
            raise named.unusable(f"URL has an unknown parameter{shown}", did_you_mean(name, known))
        if strict and (name in found or not value):
            fault = "twice" if value else "without a value"
            raise named.unusable(f"URL has the parameter `{name}` {fault}", "Correct {setting}__URL.")
        found[name] = value
    return found


def driver(module: str, *, extra: str, label: str) -> Any:
    """The module of a driver, which an extra of this package installs.

    Shapes:
        extra: of `pip install 'syncer[…]'`.
        label: the connection that needs it, such as "warehouse `crm`".
    Raises:
        SettingsError: it is not installed.
    """
    try:
        with importing:
            return import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise
        raise SettingsError(
            f"{label}: its driver is not installed", hint=f"Install it with `pip install 'syncer[{extra}]'`."
        ) from None
