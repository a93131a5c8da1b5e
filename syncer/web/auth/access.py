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
from syncer.settings.service import ROOT_PATH, SHARED, Role, Scope, WebSettings
from syncer.web.problems import ProblemError

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

#: A person's name in the settings.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")

#: The name of everybody on this machine, where nobody has to say who they are.
_LOCAL = "local"


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
    #: None if they may do nothing.
    role: Role | None
    means: Means

    def may(self, role: Role) -> bool:
        """Whether they may do what needs a role."""
        return self.role is not None and self.role.includes(role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A caller, known or not, and their address."""

    principal: Principal | None
    address: str

    @property
    def actor(self) -> str:
        """Their name; empty if unknown."""
        return self.principal.actor if self.principal else ""

    def may(self, role: Role) -> bool:
        """Whether they may do what needs a role."""
        return self.principal is not None and self.principal.may(role)

    def require(self, role: Role) -> None:
        """Let only those pass who have a role.

        Raises:
            ProblemError: they do not have it, or nobody knows who they are.
        """
        if self.principal is None:
            raise ProblemError(
                401,
                "this needs authentication",
                hint="Log in on the page, or send a token as `Authorization: Bearer TOKEN`.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if self.principal.role is None:
            hint = "Name one of their groups in SYNCER_WEB__GROUPS__VIEWER, __OPERATOR or __APPROVER."
            raise ProblemError(403, f"{self.actor} is in no group that may use Syncer", hint=hint)
        if not self.principal.may(role):
            scope = next(scope for scope in Scope if scope.role is role)
            hint = f"It needs the role `{role}`, or a token with the scope `{scope}`."
            raise ProblemError(403, f"{self.actor} may not do this", hint=hint)


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
        self._header, self._groups_header, self._groups = web.proxy_header, web.proxy_groups_header, web.groups
        self._root_path = web.root_path
        self._networks = [ipaddress.ip_network(text, strict=False) for text in web.proxy_addresses]
        self._trusts_this_machine = web.is_loopback and not web.is_guarded
        self._tokens = {
            _digest(setting.token.get_secret_value()): Principal(
                actor=f"token {name}", role=setting.scope.role, means=Means.TOKEN
            )
            for name, setting in web.tokens.items()
        }

    def principal(self, request: HTTPConnection) -> Principal | None:
        """The principal; None if the request names nobody, or without proof. Does not know sessions."""
        user = self._forwarded_user(request)
        if user is not None:
            return Principal(actor=user, role=self._role_of_groups(request), means=Means.PROXY)
        token = bearer(request)
        if token is not None:
            return self._of_token(token)
        if self._trusts_this_machine and _is_this_machine(request):
            return Principal(actor=_LOCAL, role=Role.APPROVER, means=Means.LOCAL)
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
        return user_name(_text(names[0])) if len(names) == 1 else None

    def _role_of_groups(self, request: HTTPConnection) -> Role | None:
        if self._groups_header is None:
            return Role.APPROVER
        return self._groups.role([_text(group) for group in _listed(request, self._groups_header)])

    def _trusts(self, peer: Address | None) -> bool:
        return peer is not None and any(peer in network for network in self._networks)

    def _of_token(self, token: str) -> Principal | None:
        """Compares every token, so that the time that it takes reveals nothing."""
        digest, found = _digest(token), None
        for known, principal in self._tokens.items():
            if hmac.compare_digest(known, digest):
                found = principal
        return found


def user_name(text: str) -> str | None:
    """The name of a user that a text is; None if it is none."""
    name = text.strip()
    return name if name and name.isprintable() and len(name) <= _NAME_LENGTH else None


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
        problems += _faults_of("SYNCER_WEB__PASSWORD", web.password.get_secret_value())
    for name, person in web.people.items():
        problems += _faults_of(f"SYNCER_WEB__PEOPLE__{name.upper()}__PASSWORD", person.password.get_secret_value())
        if not _NAME.fullmatch(name) or name in (SHARED, _LOCAL):
            problems.append(f"SYNCER_WEB__PEOPLE__{name.upper()}: should be a name of letters, digits and . _ @ + -")
    if web.oidc is not None and not web.url:
        problems.append(
            "SYNCER_WEB__OIDC__ISSUER: needs SYNCER_WEB__URL, the address that the provider sends people to"
        )
    if web.oidc is not None and not (web.groups.viewer or web.groups.operator or web.groups.approver):
        problems.append(
            "SYNCER_WEB__OIDC__ISSUER: needs a group in SYNCER_WEB__GROUPS__VIEWER, __OPERATOR or __APPROVER"
        )
    if web.proxy_groups_header is not None and web.proxy_header is None:
        problems.append("SYNCER_WEB__PROXY_GROUPS_HEADER: needs SYNCER_WEB__PROXY_HEADER")
    if web.proxy_header is not None and not web.proxy_addresses:
        problems.append("SYNCER_WEB__PROXY_HEADER: needs SYNCER_WEB__PROXY_ADDRESSES")
    if not web.is_loopback and not web.is_guarded:
        problems.append(f"SYNCER_WEB__HOST: other machines could use the page and the API at {web.host}")
    if problems:
        raise SettingsError(
            "\n".join(problems),
            hint="Set SYNCER_WEB__PASSWORD, people such as SYNCER_WEB__PEOPLE__ANN__PASSWORD, tokens such as "
            "SYNCER_WEB__TOKENS__CI__TOKEN, SYNCER_WEB__OIDC__ISSUER, or a proxy's header and addresses; or listen on "
            "127.0.0.1. "
            "See `syncer docs access`.",
        )


def _faults_of(setting: str, password: str) -> list[str]:
    if password.startswith(_HASH):
        try:
            argon2.extract_parameters(password)
        except argon2.exceptions.InvalidHashError:
            return [f"{setting}: begins like an Argon2 hash, but is none"]
        return []
    if _is_sample(password):
        return [f"{setting}: is an example that everybody knows"]
    if len(password) < _PASSWORD_LENGTH:
        return [f"{setting}: must have at least {_PASSWORD_LENGTH} characters"]
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
