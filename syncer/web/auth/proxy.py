"""Where a request comes from, and what a trusted proxy says about it."""

from __future__ import annotations

import ipaddress

from starlette.requests import HTTPConnection

from syncer.settings.service import WebSettings

#: Headers that show that a request came through a proxy.
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")

#: The most characters of a user's name.
_NAME_LENGTH = 200

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxy:
    """The proxy of the settings, if any: only its addresses may name users in the header."""

    def __init__(self, web: WebSettings) -> None:
        self._header = web.proxy_header
        self._networks = [ipaddress.ip_network(text, strict=False) for text in web.proxy_addresses]

    def address(self, request: HTTPConnection) -> str:
        """The caller's address, for people; behind the proxy, the address that the proxy names."""
        peer = _peer(request)
        if self._trusts(peer):
            peer = _parsed(request.headers.get("x-forwarded-for", "").split(",")[-1].strip()) or peer
        return str(peer) if peer else "unknown"

    def forwarded_user(self, request: HTTPConnection) -> str | None:
        """The user that the proxy names; None if it names none."""
        if self._header is None or not self._trusts(_peer(request)):
            return None
        names = request.headers.getlist(self._header)
        # Two may be the caller's own and the proxy's.
        name = _text(names[0]).strip() if len(names) == 1 else ""
        return name if name and name.isprintable() and len(name) <= _NAME_LENGTH else None

    def forwarded_scheme(self, request: HTTPConnection) -> str | None:
        """The scheme of the request to the proxy."""
        return request.headers.get("x-forwarded-proto") if self._trusts(_peer(request)) else None

    def _trusts(self, peer: Address | None) -> bool:
        return peer is not None and any(peer in network for network in self._networks)


def is_this_machine(request: HTTPConnection) -> bool:
    """Whether the caller is on this machine, and not behind a proxy that the settings do not name."""
    peer = _peer(request)
    return peer is not None and peer.is_loopback and not any(name in request.headers for name in FORWARDED)


def _text(header: str) -> str:
    """A header's text: Starlette reads it as Latin 1, but many proxies write UTF-8."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header


def _peer(request: HTTPConnection) -> Address | None:
    return _parsed(request.client.host) if request.client else None


def _parsed(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
