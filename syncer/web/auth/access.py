"""Who calls, how they prove it, and what they may do: by default, nobody beyond this machine gets in."""

from __future__ import annotations

import enum
import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass

import argon2
from starlette.requests import HTTPConnection

from syncer.model.errors import SettingsError
from syncer.settings.service import ROOT_PATH, Scope, WebSettings

#: Headers that show that a request came through a proxy.
FORWARDED = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-real-ip",
)

#: The most characters of a user's name.
_NAME_LENGTH = 200
#: The most characters of a prefix.
_PREFIX_LENGTH = 200

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: The fewest characters of a password.
_PASSWORD_LENGTH = 10

#: What examples have in place of a secret, and people forget to replace.
_SAMPLES = ("changeme", "change-me", "change_me", "example", "password", "secret", "syncer")

_HASH = "$argon2"


class Means(enum.StrEnum):
    """How a caller proved who they are."""

    #: Not at all: only this machine reaches the service.
    LOCAL = "local"
    TOKEN = "token"
    #: By logging in on the page.
    SESSION = "session"
    #: A trusted proxy vouches for them.
    PROXY = "proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A known caller."""

    #: Their name in the run log and the audit log.
    actor: str
    scope: Scope
    means: Means

    def may(self, scope: Scope) -> bool:
        """Whether they may do what needs a scope; `run` includes `read`."""
        return scope is Scope.READ or self.scope is Scope.RUN


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A caller, known or not, and their address."""

    principal: Principal | None
    address: str

    @property
    def actor(self) -> str:
        """Their name; empty if unknown."""
        return self.principal.actor if self.principal else ""


def caller(request: HTTPConnection) -> Caller:
    """The caller that the guard found."""
    found = request.state.caller
    assert isinstance(found, Caller)
    return found


class Access:
    """Finds the principal of a request by its token, or by the user that a trusted proxy names."""

    def __init__(self, web: WebSettings) -> None:
        """Check the settings.

        Raises:
            SettingsError: as `check`.
        """
        check(web)
        self._header = web.proxy_header
        self._root_path = web.root_path
        self._networks = [ipaddress.ip_network(text, strict=False) for text in web.proxy_addresses]
        self._trusts_this_machine = web.is_loopback and not web.is_guarded
        self._tokens = {
            _digest(setting.token.get_secret_value()): Principal(
                actor=f"token {name}", scope=setting.scope, means=Means.TOKEN
            )
            for name, setting in web.tokens.items()
        }

    def principal(self, request: HTTPConnection) -> Principal | None:
        """The principal; None if the request names nobody, or without proof. Does not know sessions."""
        user = self._forwarded_user(request)
        if user is not None:
            return Principal(actor=user, scope=Scope.RUN, means=Means.PROXY)
        token = bearer(request)
        if token is not None:
            return self._of_token(token)
        if self._trusts_this_machine and _is_this_machine(request):
            return Principal(actor="local", scope=Scope.RUN, means=Means.LOCAL)
        return None

    def address(self, request: HTTPConnection) -> str:
        """The caller's address, for people; behind trusted proxies, the address that the outermost of them names."""
        found = _peer(request)
        for named in reversed(_listed(request, "x-forwarded-for")):
            # What the first one that is not trusted wrote, or its caller, is anybody's word.
            if not self._trusts(found) or (address := _without_port(named)) is None:
                break
            found = address
        return str(found) if found else "unknown"

    def forwarded_schemes(self, request: HTTPConnection) -> list[str]:
        """The schemes that trusted proxies were called by, the outermost first; empty if they do not say."""
        if not self._trusts(_peer(request)):
            return []
        return [scheme.lower() for scheme in _listed(request, "x-forwarded-proto")]

    def root_path(self, request: HTTPConnection) -> str:
        """The path below which a proxy shows the service: by a trusted proxy's header, else by the settings."""
        prefixes = request.headers.getlist("x-forwarded-prefix") if self._trusts(_peer(request)) else []
        if len(prefixes) == 1 and re.fullmatch(ROOT_PATH, prefixes[0]) and len(prefixes[0]) <= _PREFIX_LENGTH:
            return prefixes[0].rstrip("/")
        return self._root_path

    def _forwarded_user(self, request: HTTPConnection) -> str | None:
        if self._header is None or not self._trusts(_peer(request)):
            return None
        names = request.headers.getlist(self._header)
        # Two may be the caller's own and the proxy's.
        name = _text(names[0]).strip() if len(names) == 1 else ""
        return name if name and name.isprintable() and len(name) <= _NAME_LENGTH else None

    def _trusts(self, peer: Address | None) -> bool:
        return peer is not None and any(peer in network for network in self._networks)

    def _of_token(self, token: str) -> Principal | None:
        """Compares every token, so that the time that it takes reveals nothing."""
        digest, found = _digest(token), None
        for known, principal in self._tokens.items():
            if hmac.compare_digest(known, digest):
                found = principal
        return found


def check(web: WebSettings) -> None:
    """Reject settings that would let in anybody, or that contradict each other.

    Raises:
        SettingsError: with every problem, a line each.
    """
    problems = [
        f"SYNCER_WEB__TOKENS__{name.upper()}__TOKEN: is an example that everybody knows"
        for name, setting in web.tokens.items()
        if _is_sample(setting.token.get_secret_value())
    ]
    problems += [
        f"SYNCER_WEB__TOKENS__{name.upper()}__TOKEN: has a character that no header can have, or a blank at an end"
        for name, setting in web.tokens.items()
        if not _fits_header(setting.token.get_secret_value())
    ]
    if web.password is not None:
        problems += _faults_of(web.password.get_secret_value())
    if web.proxy_header is not None and not web.proxy_addresses:
        problems.append("SYNCER_WEB__PROXY_HEADER: needs SYNCER_WEB__PROXY_ADDRESSES")
    if not web.is_loopback and not web.is_guarded:
        problems.append(f"SYNCER_WEB__HOST: other machines could use the page and the API at {web.host}")
    if problems:
        raise SettingsError(
            "\n".join(problems),
            hint="Set SYNCER_WEB__PASSWORD, tokens such as SYNCER_WEB__TOKENS__CI__TOKEN, or a proxy's header and "
            "addresses; or listen on 127.0.0.1. See `syncer docs access`.",
        )


def _faults_of(password: str) -> list[str]:
    if password.startswith(_HASH):
        try:
            argon2.extract_parameters(password)
        except argon2.exceptions.InvalidHashError:
            return ["SYNCER_WEB__PASSWORD: begins like an Argon2 hash, but is none"]
        return []
    if _is_sample(password):
        return ["SYNCER_WEB__PASSWORD: is an example that everybody knows"]
    if len(password) < _PASSWORD_LENGTH:
        return [f"SYNCER_WEB__PASSWORD: must have at least {_PASSWORD_LENGTH} characters"]
    return []


def _fits_header(token: str) -> bool:
    return token.isascii() and token.isprintable() and token == token.strip()


def _is_sample(secret: str) -> bool:
    return not secret.lower().strip("0123456789!-_. ") or any(
        secret.lower().replace(sample, "").strip("0123456789!-_. ") == "" for sample in _SAMPLES
    )


def bearer(request: HTTPConnection) -> str | None:
    """The token in a request."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _is_this_machine(request: HTTPConnection) -> bool:
    """Whether the caller is on this machine, and not behind a proxy that the settings do not name."""
    peer = _peer(request)
    return peer is not None and peer.is_loopback and not any(name in request.headers for name in FORWARDED)


def _listed(request: HTTPConnection, header: str) -> list[str]:
    """What a header lists, over all its lines: each proxy adds to the end, some of them a line."""
    return [part.strip() for line in request.headers.getlist(header) for part in line.split(",") if part.strip()]


def _without_port(text: str) -> Address | None:
    """The address in `10.0.0.1`, `10.0.0.1:443`, `2001:db8::1` or `[2001:db8::1]:443`; None if it is none."""
    in_brackets = re.fullmatch(r"\[([^]]*)\](?::\d+)?", text)
    with_port = re.fullmatch(r"([^:]+):\d+", text)
    found = in_brackets or with_port
    return ip_address(found[1] if found else text)


def _text(header: str) -> str:
    """A header's text: Starlette reads it as Latin 1, but many proxies write UTF-8."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header


def _peer(request: HTTPConnection) -> Address | None:
    return ip_address(request.client.host) if request.client else None


def ip_address(text: str) -> Address | None:
    """The address that a text is, IPv4 if it is one in an IPv6 address; None if it is none."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
