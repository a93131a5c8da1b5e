"""Logging in through an OpenID Connect provider: the way there, and back."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from syncer.settings.service import GroupSettings, Role
from syncer.state.audit import AuditAction
from syncer.web import rendering, root_path
from syncer.web.auth import login
from syncer.web.auth.access import caller
from syncer.web.auth.guard import CALLBACK, PROVIDER
from syncer.web.auth.login import ContinueContext, LoginService
from syncer.web.auth.provider import FailedLoginError, LoginReason, PendingLogin, Provider

#: How long somebody may take to log in there.
_LOGIN = timedelta(minutes=10)

_COOKIE = "syncer_login"
#: Browsers drop larger cookies.
_LONGEST_COOKIE = 3500

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderLogin:
    """Logs people in through the provider."""

    provider: Provider
    groups: GroupSettings
    #: The address that people use, without the root path.
    url: str
    login: LoginService

    @property
    def _redirect(self) -> str:
        return f"{self.url}{root_path.current()}{CALLBACK}"

    async def begin(self, request: Request, url: str) -> Response:
        """Send somebody to the provider, or show the login with the reason."""
        try:
            address, pending = await self.provider.begin(self._redirect, url)
        except FailedLoginError as exc:
            return rendering.page(self.login.form(url, fault=exc.fault), status=exc.status)
        cookie = pending.cookie
        if len(cookie) > _LONGEST_COOKIE:
            cookie = PendingLogin(**asdict(pending) | {"next": "/"}).cookie
        response = RedirectResponse(address, 303)
        response.set_cookie(
            self._cookie_name(request, pending.state),
            cookie,
            max_age=int(_LOGIN.total_seconds()),
            path=login.cookie_path(),
            secure=self.login.hosts.is_secure(request),
            httponly=True,
            # The provider is another site.
            samesite="lax",
        )
        return response

    async def finish(self, request: Request, *, state: str, code: str, error: str) -> Response:
        """Start the session of who comes back from the provider, or show the login with the reason."""
        address = caller(request).address
        if (refusal := self.login.too_often(address, "/")) is not None:
            return refusal
        cookie_name = self._cookie_name(request, state)
        pending = PendingLogin.of(request.cookies.get(cookie_name, ""))
        url = login.own(pending.next) if pending else "/"
        try:
            name, role = await self._person(pending, state=state, code=code, error=error)
        except FailedLoginError as exc:
            failed = AuditAction.FAILED_LOGIN
            await run_in_threadpool(
                self.login.audit.record, failed, actor=exc.actor, address=address, options=[exc.reason]
            )
            return rendering.page(self.login.form(url, fault=exc.fault), status=exc.status)
        response = rendering.page(ContinueContext(name=name, role=role, root=root_path.current(), next=url))
        await self.login.begin(request, response, name, role)
        secure = self.login.hosts.is_secure(request)
        response.delete_cookie(cookie_name, path=login.cookie_path(), secure=secure, httponly=True, samesite="lax")
        return response

    async def _person(self, pending: PendingLogin | None, *, state: str, code: str, error: str) -> tuple[str, Role]:
        if pending is None or pending.state != state:
            fault = "This login did not begin in this browser, or took longer than 10 minutes. Log in again."
            raise FailedLoginError(LoginReason.STATE, 400, f"{fault} Syncer's address is {self.url}.")
        if error or not code:
            said = f": {error.replace('_', ' ')}" if re.fullmatch("[a-z_]{1,40}", error) else ""
            raise FailedLoginError(LoginReason.DENIED, 403, f"The provider did not log you in{said}.")
        return self.provider.person(await self.provider.claims(self._redirect, code, pending), self.groups)

    def _cookie_name(self, request: Request, state: str) -> str:
        """One for each login, as several windows may be open."""
        return login.cookie_name(f"{_COOKIE}_{state[:8]}", secure=self.login.hosts.is_secure(request))


async def _through_provider(request: Request) -> ProviderLogin:
    found = request.app.state.oidc
    assert isinstance(found, ProviderLogin)
    return found


TheProviderLogin = Annotated[ProviderLogin, Depends(_through_provider)]
_Text = Annotated[str, Query(max_length=4000)]


@router.get(PROVIDER)
async def go_to_provider(
    request: Request, through: TheProviderLogin, url: Annotated[str, Query(alias="next")] = "/"
) -> Response:
    return await through.begin(request, login.own(url))


@router.get(CALLBACK)
async def come_back(
    request: Request, through: TheProviderLogin, state: _Text = "", code: _Text = "", error: _Text = ""
) -> Response:
    return await through.finish(request, state=state, code=code, error=error)
