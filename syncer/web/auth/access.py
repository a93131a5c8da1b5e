"""Whom the settings let in: by default, nobody beyond this machine."""

from __future__ import annotations

import hashlib
import hmac

import argon2
from starlette.requests import HTTPConnection

from syncer.model.errors import SettingsError
from syncer.settings.service import Scope, WebSettings
from syncer.web.auth.principals import Means, Principal
from syncer.web.auth.proxy import TrustedProxy, is_this_machine

#: The fewest characters of a password.
_PASSWORD_LENGTH = 10

#: What examples have in place of a secret, and people forget to replace.
_SAMPLES = ("changeme", "change-me", "change_me", "example", "password", "secret", "syncer")

_HASH = "$argon2"


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
    if web.password is not None:
        problems += _faults_of(web.password.get_secret_value())
    if (web.proxy_header is None) != (not web.proxy_addresses):
        problems.append("SYNCER_WEB__PROXY_HEADER and SYNCER_WEB__PROXY_ADDRESSES: each needs the other")
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


def _is_sample(secret: str) -> bool:
    return not secret.lower().strip("0123456789!-_. ") or any(
        secret.lower().replace(sample, "").strip("0123456789!-_. ") == "" for sample in _SAMPLES
    )


class Access:
    """Finds the principal of a request without the run log, so without sessions."""

    def __init__(self, web: WebSettings, proxy: TrustedProxy) -> None:
        """Check the settings.

        Raises:
            SettingsError: as `check`.
        """
        check(web)
        self._proxy = proxy
        self._trusts_this_machine = web.is_loopback and not web.is_guarded
        self._tokens = {
            _digest(setting.token.get_secret_value()): Principal(
                actor=f"token {name}", scope=setting.scope, means=Means.TOKEN
            )
            for name, setting in web.tokens.items()
        }

    def principal(self, request: HTTPConnection) -> Principal | None:
        """The principal; None if the request names nobody, or without proof."""
        user = self._proxy.forwarded_user(request)
        if user is not None:
            return Principal(actor=user, scope=Scope.RUN, means=Means.PROXY)
        token = bearer(request)
        if token is not None:
            return self._of_token(token)
        if self._trusts_this_machine and is_this_machine(request):
            return Principal(actor="local", scope=Scope.RUN, means=Means.LOCAL)
        return None

    def _of_token(self, token: str) -> Principal | None:
        """Compares every token, so that the time that it takes reveals nothing."""
        digest, found = _digest(token), None
        for known, principal in self._tokens.items():
            if hmac.compare_digest(known, digest):
                found = principal
        return found


def bearer(request: HTTPConnection) -> str | None:
    """The token in a request."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
