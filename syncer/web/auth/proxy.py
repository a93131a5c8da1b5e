"""From where a request comes, and which proxies are believed."""

from __future__ import annotations

import ipaddress

from starlette.requests import HTTPConnection

from syncer.settings.service import WebSettings

#: Headers that show that a request came by way of a proxy.
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")

#: The most characters of a user's name that a proxy may tell.
_NAME_LENGTH = 200

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Peers:
    """Who is at the other end of a connection, and who stands behind a proxy that is believed."""

    def __init__(self, web: WebSettings) -> None:
        """*web*: which proxies are believed, and in which header they tell who a user is."""
        self._header = web.proxy_header
        self._networks = [ipaddress.ip_network(text, strict=False) for text in web.proxy_addresses]

    def address(self, request: HTTPConnection) -> str:
        """Where a request comes from, for people; behind a believed proxy, what the proxy says."""
        peer = _peer(request)
        if self._is_believed(peer):
            told = _parsed(request.headers.get("x-forwarded-for", "").split(",")[-1].strip())
            peer = told or peer
        return str(peer) if peer else "unknown"

    def forwarded_user(self, request: HTTPConnection) -> str | None:
        """Who a believed proxy says asks; None where it says nothing."""
        if self._header is None or not self._is_believed(_peer(request)):
            return None
        told = request.headers.getlist(self._header)
        # Two may be the caller's own and the proxy's.
        name = _text(told[0]).strip() if len(told) == 1 else ""
        return name if name and name.isprintable() and len(name) <= _NAME_LENGTH else None

    def forwarded_scheme(self, request: HTTPConnection) -> str | None:
        """By which scheme a believed proxy was asked."""
        return request.headers.get("x-forwarded-proto") if self._is_believed(_peer(request)) else None

    def is_this_machine(self, request: HTTPConnection) -> bool:
        """Whether the caller is on this machine, and not behind a proxy that nobody told us of."""
        peer = _peer(request)
        return peer is not None and peer.is_loopback and not any(name in request.headers for name in FORWARDED)

    def _is_believed(self, peer: Address | None) -> bool:
        return peer is not None and any(peer in network for network in self._networks)


def _text(header: str) -> str:
    """What a header says, whose bytes are read as Latin 1 by default though many write UTF-8."""
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
