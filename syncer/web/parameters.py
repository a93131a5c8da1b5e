"""What routes take from a request beside their own parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request

from syncer.definitions.values import name_fault
from syncer.model.errors import SelectionError
from syncer.model.spelling import did_you_mean, quoted
from syncer.model.types import Run, RunScope, RunStatus
from syncer.service.pool import ActiveRun
from syncer.service.service import Service
from syncer.state.audit import Audit
from syncer.web.actions import UserActions
from syncer.web.auth import access
from syncer.web.problems import ProblemError


def of_app(name: str) -> Any:
    """What `create_app` put into the application's state under that name."""

    async def found(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(found)


async def _caller(request: Request) -> access.Caller:
    return access.caller(request)


TheService = Annotated[Service, of_app("service")]
TheActions = Annotated[UserActions, of_app("actions")]
TheAudit = Annotated[Audit, of_app("audit")]
TheCaller = Annotated[access.Caller, Depends(_caller)]

Limit = Annotated[int, Query(ge=1, le=500, description="The most items of a page.")]
Cursor = Annotated[
    str | None, Query(max_length=100, pattern="^[A-Za-z0-9_-]+$", description="The `next` of the previous page.")
]
Number = Annotated[str | None, Query(max_length=15, pattern="^[0-9]+$", description="The `next` of the previous page.")]
Name = Annotated[str, Path(max_length=200, description="The sync's name.")]
RunId = Annotated[str, Path(max_length=200, description="The run's id.")]


def known_sync(service: Service, name: str) -> str:
    """*name*, if a sync has or once had that name.

    Raises:
        SelectionError: no sync had.
    """
    names = service.catalog.current.definitions
    if name in names or (not name_fault(name) and service.run_log.recent(name, 1)):
        return name
    raise SelectionError(f"there is no sync {quoted(name)}", hint=did_you_mean(name, names))


def run_of_id(service: TheService, run_id: RunId) -> Run:
    """The run of that id.

    Raises:
        ProblemError: there is none.
    """
    run = service.run_log.get(run_id) if run_id.isascii() and run_id.isprintable() else None
    if run is None:
        raise ProblemError(404, "there is no such run", hint="The run log may be a new one.")
    return run


TheRun = Annotated[Run, Depends(run_of_id)]


def current(service: Service, run: Run) -> tuple[Run, ActiveRun | None]:
    """A run as it is now, and the active run if it waits or runs in this service."""
    active_run = service.active_run(run.id) if run.finished_at is None else None
    if run.finished_at is None and active_run is None:
        # It may have ended since the run log was read.
        run = service.run_log.get(run.id) or run
    if run.scope is RunScope.PLAN and run.status is RunStatus.HELD:
        plan_id = next((word.removeprefix("plan=") for word in run.options if word.startswith("plan=")), "")
        run = replace(run, moved=tuple(service.plans.moved(plan_id, run.id)))
    return run, active_run
