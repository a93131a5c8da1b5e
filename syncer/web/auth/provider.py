"""An OpenID Connect provider: the authorization code flow with PKCE, state and nonce, and what it says of people.

The library checks the id token: signature, issuer, audience, expiry and nonce.
"""

from __future__ import annotations

import base64
import enum
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import httpx2
from authlib.integrations.starlette_client import OAuth, OAuthError
from joserfc.errors import BadSignatureError, ClaimError, ExpiredTokenError, JoseError
from starlette.concurrency import run_in_threadpool

from syncer.settings.service import GroupSettings, OidcSettings, Role
from syncer.web.auth.access import user_name

log = logging.getLogger(__name__)

#: How long the provider may take for one answer, in seconds.
_PATIENCE = 10.0
#: How long what it says of itself is kept, in seconds; its keys are read again as soon as one is unknown.
_KEPT = 3600.0
#: By how many seconds its clock may differ.
_LEEWAY = 60

#: What follows from answers of another shape.
_UNUSABLE = (LookupError, TypeError, ValueError, AttributeError)

#: What counts of the provider's description of itself.
_ADDRESSES = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_LISTS = ("id_token_signing_alg_values_supported", "token_endpoint_auth_methods_supported")
#: Signatures with a secret key of the provider: those with the client's secret, or none, prove less.
_SIGNATURES = re.compile("(RS|PS|ES)(256|384|512)|EdDSA|Ed25519")


class LoginReason(enum.StrEnum):
    """Why a login through the provider failed, for the audit log."""

    STATE = "wrong_state"
    DENIED = "denied"
    UNREACHABLE = "unreachable_provider"
    TOKEN = "invalid_token"
    SIGNATURE = "wrong_signature"
    EXPIRED = "expired_token"
    ISSUER = "wrong_issuer"
    AUDIENCE = "wrong_audience"
    NONCE = "wrong_nonce"
    NO_NAME = "no_name"
    NO_GROUP = "no_group"


#: By the claim that is wrong.
_CLAIMS = {
    "iss": LoginReason.ISSUER,
    "aud": LoginReason.AUDIENCE,
    "azp": LoginReason.AUDIENCE,
    "nonce": LoginReason.NONCE,
}


@dataclass(eq=False)
class FailedLoginError(Exception):
    """A login through the provider that failed; the fault is for the person, without a secret."""

    reason: LoginReason
    status: int
    fault: str
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingLogin:
    """What the browser keeps while somebody is at the provider."""

    state: str
    nonce: str
    code_verifier: str
    #: The URL to open after it.
    next: str

    @property
    def cookie(self) -> str:
        """Its text in a cookie."""
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")

    @classmethod
    def of(cls, cookie: str) -> PendingLogin | None:
        """Read it back; None if the text is none."""
        try:
            read = json.loads(base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4)))
            return cls(**{name: str(text) for name, text in read.items()})
        except (ValueError, TypeError, AttributeError):
            return None


class Provider:
    """The provider of the settings; it is first called when somebody logs in."""

    def __init__(self, settings: OidcSettings) -> None:
        self._settings, self._issuer = settings, settings.issuer.rstrip("/")
        self._known: Any = None
        self._known_until = 0.0

    async def begin(self, redirect: str, url: str) -> tuple[str, PendingLogin]:
        """The address at the provider to send somebody to, who then comes back to *redirect*; *url*: opened at last.

        Raises:
            FailedLoginError: it cannot be reached.
        """
        with self._calling():
            made = await (await self._client()).create_authorization_url(redirect)
        state, nonce, verifier = made["state"], made["nonce"], made["code_verifier"]
        return made["url"], PendingLogin(state=state, nonce=nonce, code_verifier=verifier, next=url)

    async def claims(self, redirect: str, code: str, pending: PendingLogin) -> Mapping[str, Any]:
        """What the provider says of who came back with a code.

        Raises:
            FailedLoginError: it cannot be reached, refuses the code, or its token is not valid.
        """
        with self._calling():
            client = await self._client()
            issuer = client.server_metadata["issuer"]
            token = await client.fetch_access_token(
                redirect_uri=redirect, code=code, code_verifier=pending.code_verifier
            )
            await client.fetch_jwk_set()
        expected = {
            "iss": {"essential": True, "value": issuer},
            "aud": {"essential": True, "value": self._settings.client_id},
        }
        with self._calling(), self._checking():
            claims = await client.parse_id_token(token, pending.nonce, claims_options=expected, leeway=_LEEWAY)
        if claims is None:
            raise self._invalid(LoginReason.TOKEN)
        found = {name: value for name, value in claims.items() if value is not None}
        wanted = {self._settings.name_claim, self._settings.groups_claim}
        if wanted <= found.keys() or "userinfo_endpoint" not in client.server_metadata:
            return found
        with self._calling():
            more = await client.userinfo(token=token)
        # Another person's would be a fault of the provider.
        return {**more, **found} if more.get("sub") == found["sub"] else found

    async def _client(self) -> Any:
        """The library's client, which knows what the provider says of itself."""
        if self._known is not None and time.monotonic() < self._known_until:
            return self._known
        settings = self._settings
        client = OAuth().register(
            "provider",
            client_id=settings.client_id,
            client_secret=settings.client_secret.get_secret_value(),
            server_metadata_url=f"{self._issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": " ".join(settings.scopes),
                "code_challenge_method": "S256",
                "timeout": _PATIENCE,
                "verify": await run_in_threadpool(httpx2.create_ssl_context),
            },
        )
        client.server_metadata = self._usable(await client.load_server_metadata())
        methods = client.server_metadata.get("token_endpoint_auth_methods_supported")
        if methods and "client_secret_basic" not in methods and "client_secret_post" in methods:
            client.client_kwargs["token_endpoint_auth_method"] = "client_secret_post"
        self._known, self._known_until = client, time.monotonic() + _KEPT
        return client

    def _usable(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """What counts of the provider's description of itself.

        Raises:
            ValueError: it is another provider's, or its addresses are not safe.
        """
        names = ("issuer", "userinfo_endpoint", "_loaded_at", *_ADDRESSES, *_LISTS)
        found = {name: metadata[name] for name in names if metadata.get(name)}
        if found["issuer"].rstrip("/") != self._issuer:
            raise ValueError("another issuer")
        # Without TLS it is on this machine.
        safe = ("https://", "http://") if self._issuer.startswith("http://") else "https://"
        if not all(found[name].startswith(safe) for name in _ADDRESSES):
            raise ValueError("an address without TLS")
        algorithms = found.pop("id_token_signing_alg_values_supported", ["RS256"])
        found["id_token_signing_alg_values_supported"] = [one for one in algorithms if _SIGNATURES.fullmatch(one)]
        return found

    @contextmanager
    def _calling(self) -> Iterator[None]:
        host = self._settings.host
        try:
            yield
        except OAuthError as exc:
            said = f": {exc.error}" if re.fullmatch("[a-z_]{1,40}", str(exc.error)) else ""
            hint = "Check SYNCER_WEB__OIDC__CLIENT_ID and SYNCER_WEB__OIDC__CLIENT_SECRET."
            log.warning("the OpenID Connect provider at %s refused a login%s", host, said)
            raise FailedLoginError(
                LoginReason.DENIED, 502, f"The provider at {host} refused the login{said}. {hint}"
            ) from None
        except (
            httpx2.HTTPError,
            httpx2.InvalidURL,
            OSError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
        ) as exc:
            hint = "Check SYNCER_WEB__OIDC__ISSUER, and the way from this machine to there."
            log.warning("the OpenID Connect provider at %s gave no usable answer: %s", host, type(exc).__name__)
            raise FailedLoginError(
                LoginReason.UNREACHABLE, 502, f"The provider at {host} gives no usable answer. {hint}"
            ) from None

    @contextmanager
    def _checking(self) -> Iterator[None]:
        try:
            yield
        except ExpiredTokenError:
            raise self._invalid(LoginReason.EXPIRED) from None
        except BadSignatureError:
            raise self._invalid(LoginReason.SIGNATURE) from None
        except ClaimError as exc:
            raise self._invalid(_CLAIMS.get(exc.claim, LoginReason.TOKEN)) from None
        except (JoseError, *_UNUSABLE):
            raise self._invalid(LoginReason.TOKEN) from None

    def _invalid(self, reason: LoginReason) -> FailedLoginError:
        fault = f"The provider at {self._settings.host} sent a token that is not valid: {reason.replace('_', ' ')}."
        return FailedLoginError(reason, 401, fault)

    def person(self, claims: Mapping[str, Any], groups: GroupSettings) -> tuple[str, Role]:
        """The name and the role of who the claims are about.

        Raises:
            FailedLoginError: they name nobody, or somebody in no group.
        """
        settings = self._settings
        name = user_name(str(claims.get(settings.name_claim) or ""))
        if name is None:
            hint = "Check SYNCER_WEB__OIDC__NAME_CLAIM and SYNCER_WEB__OIDC__SCOPES."
            fault = f"The provider at {settings.host} gives no {settings.name_claim}. {hint}"
            raise FailedLoginError(LoginReason.NO_NAME, 403, fault)
        found = claims.get(settings.groups_claim)
        listed = [found] if isinstance(found, str) else found if isinstance(found, list) else []
        role = groups.role([one for one in listed if isinstance(one, str)])
        if role is None:
            raise FailedLoginError(LoginReason.NO_GROUP, 403, f"{name} is in no group that may use Syncer.", name)
        return name, role
