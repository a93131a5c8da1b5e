"""Who asks, by what means they showed it, and what they may do."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from syncer.settings.service import Scope


class Means(enum.StrEnum):
    """How somebody showed who they are."""

    #: Nobody is asked: only this machine reaches the service.
    LOCAL = "local"
    TOKEN = "token"
    #: Logged in on the page.
    SESSION = "session"
    #: A proxy says so.
    PROXY = "proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody who asks."""

    #: For people: the run log and the audit.
    actor: str
    scope: Scope
    means: Means

    def may(self, scope: Scope) -> bool:
        """Whether they may do what needs that scope; who may run may read."""
        return scope is Scope.READ or self.scope is Scope.RUN


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and from which address."""

    principal: Principal | None
    address: str

    @property
    def actor(self) -> str:
        """For people; empty where nobody has said who they are."""
        return self.principal.actor if self.principal else ""


def caller(request: HTTPConnection) -> Caller:
    """Who asks, as the guard found."""
    found = request.state.caller
    assert isinstance(found, Caller)
    return found
