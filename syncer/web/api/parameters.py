"""What requests of the API have in common."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query, Request

from syncer.definitions.values import name_fault
from syncer.model.errors import SelectionError
from syncer.model.spelling import did_you_mean, quoted
from syncer.model.types import Run
from syncer.service.service import Service
from syncer.state.audit import Audit
from syncer.web.actions import Orders
from syncer.web.auth.principals import Caller, caller
from syncer.web.problems import ProblemError


async def _service(request: Request) -> Service:
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


async def _orders(request: Request) -> Orders:
    found = request.app.state.orders
    assert isinstance(found, Orders)
    return found


async def _audit(request: Request) -> Audit:
    found = request.app.state.audit
    assert isinstance(found, Audit)
    return found


async def _caller(request: Request) -> Caller:
    return caller(request)


TheService = Annotated[Service, Depends(_service)]
TheOrders = Annotated[Orders, Depends(_orders)]
TheAudit = Annotated[Audit, Depends(_audit)]
Who = Annotated[Caller, Depends(_caller)]

Limit = Annotated[int, Query(ge=1, le=500, description="The most items of a page.")]
Cursor = Annotated[
    str | None, Query(max_length=100, pattern="^[A-Za-z0-9_-]+$", description="The `next` of the page before.")
]
Number = Annotated[str | None, Query(max_length=15, pattern="^[0-9]+$", description="The `next` of the page before.")]
Name = Annotated[str, Path(max_length=200, description="The sync's name.")]
RunId = Annotated[str, Path(max_length=200, description="The run's id.")]


def known_sync(service: Service, name: str) -> str:
    """*name*, where a sync is or once was called so.

    Raises:
        SelectionError: none was.
    """
    names = service.catalog.edition.definitions
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
        raise ProblemError(404, "there is no such run")
    return run


TheRun = Annotated[Run, Depends(run_of_id)]
