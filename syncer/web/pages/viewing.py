"""A request for a page: who looks, at which service, and what they just did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Request
from starlette.responses import RedirectResponse, Response

from syncer.definitions import schedules
from syncer.service.service import Service
from syncer.settings.service import Role
from syncer.web import rendering
from syncer.web.actions import UserActions
from syncer.web.auth.access import Caller, Means
from syncer.web.pages import wording
from syncer.web.parameters import TheActions, TheCaller, TheService
from syncer.web.rendering import Context, Layout, Viewer

#: What a page says after a change; a URL only names the message.
MESSAGES: Mapping[str, str] = {
    "started": "You started a run.",
    "already": "This run of the sync was already waiting or running.",
    "paused": "You paused the schedule. A run that has begun continues.",
    "resumed": "You resumed the schedule.",
    "muted": "Nobody gets a notice of this sync until the time that you chose.",
    "unmuted": "Alerts of this sync are sent again.",
    "acknowledged": "These rows do not count until they change, or the time is over.",
    "unacknowledged": "The row counts again.",
    "stopping": "The run stops after its current batch.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the route of a page works with."""

    request: Request
    service: Service
    actions: UserActions
    caller: Caller

    def page(self, context: Context, *, status: int = 200) -> Response:
        """The page of a context, with the layout that this viewer sees."""
        principal, service = self.caller.principal, self.service
        viewer = Viewer(
            actor=self.caller.actor,
            role=principal.role if principal else None,
            may_run=self.caller.may(Role.OPERATOR),
            may_approve=self.caller.may(Role.APPROVER),
            can_log_out=principal is not None and principal.means is Means.SESSION,
            leads=service.leads,
            leader="" if service.leads or service.is_about_to_lead else service.leadership.leader(),
            now=service.now(),
        )
        message = MESSAGES.get(self.request.query_params.get("said", ""), "")
        times = service.settings.web.times
        layout = Layout(viewer=viewer, message=message, path=self.request.url.path, times=times)
        return rendering.page(context, layout, status=status)

    def relative(self, path: Path) -> str:
        """A definition's file, relative to the parent of the folder of definitions."""
        folder = self.service.settings.definitions_dir.parent
        return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


async def _view(request: Request, service: TheService, actions: TheActions, caller: TheCaller) -> View:
    return View(request=request, service=service, actions=actions, caller=caller)


TheView = Annotated[View, Depends(_view)]


def back_to(path: str, message: str) -> Response:
    """Redirect a browser to a page after a change, with one of MESSAGES."""
    return RedirectResponse(f"{path}?{urlencode({'said': message})}", 303)


_FILTERS = (
    "clock done_differently limits_of moment number plain prose read_time removal seconds_of span started_by when "
    "when_exactly who_ended"
)

rendering.environment.filters |= {name: getattr(wording, name) for name in _FILTERS.split()}
rendering.environment.filters["schedule"] = lru_cache(maxsize=1000)(schedules.words)
rendering.environment.globals |= {
    "entity_url": wording.entity_url,
    "events_url": wording.events_url,
    "key_links": wording.key_links,
    "status_words": wording.STATUS_WORDS,
    "sql": wording.sql,
}
