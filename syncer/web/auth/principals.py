"""Who calls, how they proved it, and what they may do."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from syncer.settings.service import Scope


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
