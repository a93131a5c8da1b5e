"""The settings of `syncer serve`: who may use its page and API, and when and where it sends alerts."""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Collection, Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from syncer.model.connectors import matching
from syncer.settings.registry import Words
from syncer.settings.snapshots import SnapshotSettings

_ADDRESS = "should be an address such as `https://syncer.example.com`, without a path"
_ROOT = "should be a path such as `/syncer`"
#: Of a path below which the service is shown: no segment is empty, `.` or `..`.
ROOT_PATH = r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*/?"
_SAFE = r"https://[^/?#@\s]+(/[^?#\s]*)?|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/[^?#\s]*)?"
_ISSUER = "should be an address such as `https://login.example.com`; `http://` only on this machine"
_HEADER = "should be the name of an HTTP header, such as `X-Forwarded-User`"


#: The name of everybody who knows the password of the page, in logs.
SHARED = "password"


class Role(enum.StrEnum):
    """What a person may do; each may do what those before it may."""

    #: See names, counts and SQL, but no value of a row.
    VIEWER = "viewer"
    #: See values; plan, run, pause and cancel.
    OPERATOR = "operator"
    #: Let a run through over a limit.
    APPROVER = "approver"

    def includes(self, other: Role) -> bool:
        """Whether it allows what *other* allows."""
        return list(Role).index(self) >= list(Role).index(other)


class Scope(enum.StrEnum):
    """What a token allows."""

    READ = "read"
    RUN = "run"
    APPROVE = "approve"

    @property
    def role(self) -> Role:
        """The role of a person who may do the same."""
        return list(Role)[list(Scope).index(self)]


class Times(enum.StrEnum):
    """The zone in which pages show times."""

    #: The browser's.
    LOCAL = "local"
    UTC = "utc"


def _networks(values: list[str]) -> list[str]:
    for value in values:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError("should be addresses or networks such as `10.0.0.1` or `10.0.0.0/8`") from None
    return values


def _openid(values: list[str]) -> list[str]:
    if "openid" not in values:
        raise ValueError("should contain `openid`")
    return values


def _share(value: object) -> float:
    if isinstance(value, str) and value.strip().endswith("%"):
        number = value.strip().removesuffix("%").strip()
        value = float(number) / 100 if number.replace(".", "", 1).isdigit() else value
    try:
        share = float(str(value))
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError("should be a share such as `5%` or `0.05`")
    return share


Share = Annotated[float, BeforeValidator(_share)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TokenSettings(_Section):
    """One program that may use the API."""

    token: SecretStr = Field(min_length=16, description="the token of a program, 16 characters or more")
    scope: Scope = Field(
        default=Scope.READ, description="[what the token allows](access.md#tokens): `read`, `run` or `approve`"
    )


class PersonSettings(_Section):
    """One person who may log in on the page."""

    password: SecretStr = Field(description="[the password of a person](access.md#people): as that of the page")
    role: Role = Field(
        default=Role.VIEWER, description="[what they may do](access.md#roles): `viewer`, `operator` or `approver`"
    )


class GroupSettings(_Section):
    """The groups of people whom a proxy or a provider names, by what their members may do."""

    viewer: Words = Field(
        default=[], description="the groups, as a proxy or OpenID Connect names them, whose members are viewers"
    )
    operator: Words = Field(default=[], description="those whose members are operators")
    approver: Words = Field(default=[], description="those whose members are approvers")

    def role(self, groups: Collection[str]) -> Role | None:
        """The highest role of a member of *groups*; None if they have none."""
        named = {Role.APPROVER: self.approver, Role.OPERATOR: self.operator, Role.VIEWER: self.viewer}
        return next((role for role, its in named.items() if not set(its).isdisjoint(groups)), None)


class OidcSettings(_Section):
    """The provider through which people log in with OpenID Connect."""

    issuer: Annotated[str, matching(_SAFE, _ISSUER)] = Field(
        description="the address of the [OpenID Connect](access.md#openid-connect) provider, its issuer"
    )
    client_id: str = Field(description="the name under which the provider knows Syncer")
    client_secret: SecretStr = Field(description="the secret that the provider gave for it")
    scopes: Annotated[Words, AfterValidator(_openid)] = Field(
        default=["openid", "profile", "email"],
        description="what to ask the provider for, separated by commas: by default `openid,profile,email`. Many give "
        "groups only for the scope `groups`",
    )
    name_claim: str = Field(default="email", description="the claim that names a person")
    groups_claim: str = Field(default="groups", description="the claim that lists the groups of a person")

    @property
    def host(self) -> str:
        """Where the provider is, as people know it."""
        return urlsplit(self.issuer).netloc

    @property
    def identity(self) -> str:
        """What sessions depend on; a secret."""
        return "\n".join((self.issuer, self.client_id, self.client_secret.get_secret_value()))


class WebSettings(_Section):
    """The page and the API."""

    host: str = Field(default="127.0.0.1", description="the address that the page and the API listen on")
    port: int = Field(default=8765, ge=0, le=65535, description="their port")
    url: Annotated[str, matching(r"https?://[^/?#@\s]+/?", _ADDRESS)] | None = Field(
        default=None, description="the address that people use, if it is another, such as `https://syncer.example.com`"
    )
    root_path: Annotated[str, matching(ROOT_PATH, _ROOT), AfterValidator(lambda path: path.rstrip("/"))] = Field(
        default="", description="the path below which [a proxy](access.md#a-proxy) shows the service, such as `/syncer`"
    )
    times: Times = Field(
        default=Times.LOCAL,
        description="how pages show times: `local`, in the zone of the browser with UTC in the tooltip, or `utc`, the "
        "other way round",
    )
    password: SecretStr | None = Field(
        default=None,
        description="[the password of the page](access.md#password): 10 characters or more, or its Argon2 hash",
    )
    people: dict[str, PersonSettings] = {}
    tokens: dict[str, TokenSettings] = {}
    proxy_header: Annotated[str, matching("[A-Za-z0-9-]+", _HEADER)] | None = Field(
        default=None,
        description="the header in which [a proxy](access.md#a-proxy) names the user, such as `X-Forwarded-User`",
    )
    proxy_groups_header: Annotated[str, matching("[A-Za-z0-9-]+", _HEADER)] | None = Field(
        default=None,
        description="the header in which it names the user's groups, separated by commas; without it, everybody behind "
        "the proxy is an approver",
    )
    groups: GroupSettings = GroupSettings()
    oidc: OidcSettings | None = None
    proxy_addresses: Annotated[Words, AfterValidator(_networks)] = Field(
        default=[], description="the addresses or networks of trusted proxies"
    )

    @property
    def public_url(self) -> str:
        """The address that people use, with the root path and without a slash at its end; empty if it is not known."""
        return f"{self.url.rstrip('/')}{self.root_path}" if self.url else ""

    @property
    def passwords(self) -> dict[str, str]:
        """The password, or its hash, of each person who may log in; that of the page has the name SHARED."""
        shared = {SHARED: self.password.get_secret_value()} if self.password else {}
        return shared | {name: person.password.get_secret_value() for name, person in self.people.items()}

    @property
    def roles(self) -> dict[str, Role]:
        """The role of each of them."""
        shared = {SHARED: Role.APPROVER} if self.password else {}
        return shared | {name: person.role for name, person in self.people.items()}

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_guarded(self) -> bool:
        """Whether users have to log in."""
        by_proxy = self.proxy_header and self.proxy_addresses
        return bool(self.password or self.people or self.tokens or self.oidc or by_proxy)


def _called(url: SecretStr) -> SecretStr:
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url.get_secret_value()):
        raise ValueError("should be an address such as `https://host/path`")
    return url


def owner_key(owner: str) -> str:
    """An owner as a variable names it: `growth_team` of `Growth Team`."""
    return re.sub(r"[\W_]+", "_", owner.lower()).strip("_")


def _by_owner(given: dict[str, SecretStr]) -> dict[str, SecretStr]:
    return {owner_key(owner): urls for owner, urls in given.items()}


class AlertSettings(_Section):
    """When the service sends alerts, and where."""

    urls: SecretStr | None = Field(
        default=None, description="who receives [alerts](monitoring.md#alerts): Apprise URLs, separated by white space"
    )
    owners: Annotated[dict[str, SecretStr], AfterValidator(_by_owner)] = Field(
        default={},
        description="who receives [the alerts of syncs with this `owner`](monitoring.md#owners), in place of "
        "`SYNCER_ALERTS__URLS`",
    )
    ping_url: Annotated[SecretStr, AfterValidator(_called)] | None = Field(
        default=None, description="an address that the service calls once a minute while it works"
    )
    rejected: Share = Field(
        default=0.05, description="the share of a run's rows above which rejected rows raise an alert"
    )
    rows: Share = Field(
        default=0.5, description="how far the number of rows may differ from earlier runs before it raises an alert"
    )
    late: int = Field(default=900, ge=0, description="seconds after which a run that is due counts as late")

    @property
    def targets(self) -> list[str]:
        """The addresses, with their secrets."""
        return self.urls.get_secret_value().split() if self.urls else []

    @property
    def targets_of_owners(self) -> Mapping[str, list[str]]:
        """Those of each owner, as `owner_key` spells it."""
        return {owner: urls.get_secret_value().split() for owner, urls in self.owners.items()}


#: The settings that are groups of their own, by the name that variables begin with.
SECTIONS: Mapping[str, type[BaseModel]] = {
    "snapshots": SnapshotSettings,
    "web": WebSettings,
    "alerts": AlertSettings,
}


class LogLevel(enum.StrEnum):
    """The least severe level that the log contains."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
