"""Runs as JSON and as events, and the audit log."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from syncer.model.types import OPEN
from syncer.web import parameters
from syncer.web.api.documents import problems
from syncer.web.auth import guard
from syncer.web.parameters import Cursor, Limit, Number, TheActions, TheAudit, TheCaller, TheRun, TheService, of_app
from syncer.web.problems import ProblemError
from syncer.web.schemas import AuditAnswer, AuditPage, RunAnswer, RunPage
from syncer.web.serializers import run_of

#: Seconds between two looks at a run of this service, and at one of another process, which only the run log knows.
_PAUSE, _LONG_PAUSE = 0.3, 1.0

#: The most event streams of one address.
_STREAMS = 30

router = APIRouter()


@router.get("/runs", tags=["runs"], responses=problems(404))
def list_runs(
    service: TheService,
    sync: Annotated[str | None, Query(max_length=200, description="Only runs of this sync.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> RunPage:
    """List the runs of one sync or of all, newest first."""
    name = None if sync is None else parameters.known_sync(service, sync)
    found = service.run_log.recent(name, before=cursor or "", limit=limit + 1)
    shown = [run_of(run, service.active_run(run.id)) for run in found[:limit]]
    return RunPage(items=shown, next=shown[-1].run_id if len(found) > limit else None)


@router.get("/runs/{run_id}", tags=["runs"], responses=problems(404))
def show_run(service: TheService, run: TheRun) -> RunAnswer:
    """Get one run and its progress."""
    return run_of(*parameters.current(service, run))


@router.post("/runs/{run_id}/cancel", tags=["runs"], status_code=202, responses=problems(404, 409))
def cancel_run(service: TheService, actions: TheActions, caller: TheCaller, run: TheRun) -> RunAnswer:
    """Stop a run after its current batch; what it has sent is recorded."""
    active_run = actions.cancel(caller, run)
    return run_of(service.run_log.get(run.id) or run, active_run if active_run and active_run.run is None else None)


async def _one_stream(caller: TheCaller, streams: Annotated[Counter[str], of_app("streams")]) -> AsyncIterator[None]:
    """Count a stream of the caller while it goes on.

    Raises:
        ProblemError: they have too many.
    """
    if streams[caller.address] >= _STREAMS:
        raise ProblemError(429, f"one client can follow {_STREAMS} runs at a time", hint="Close some of the streams.")
    streams[caller.address] += 1
    try:
        yield
    finally:
        streams[caller.address] -= 1
        if not streams[caller.address]:
            del streams[caller.address]


@router.get(
    "/runs/{run_id}/events",
    tags=["runs"],
    response_class=EventSourceResponse,
    responses=problems(404, 429),
    dependencies=[Depends(_one_stream)],
)
async def follow_run(service: TheService, run: TheRun) -> AsyncIterator[ServerSentEvent]:
    """Stream a run as server-sent events: `progress`, and at last `end`, each with the run as JSON."""
    sent: RunAnswer | None = None
    while not service.closing.is_set():
        run, active_run = await run_in_threadpool(parameters.current, service, run)
        if run.status not in OPEN:
            yield ServerSentEvent(event="end", data=run_of(run))
            return
        answer = run_of(run, active_run)
        if answer != sent:
            sent = answer
            yield ServerSentEvent(event="progress", data=answer)
        seconds = _PAUSE if active_run else _LONG_PAUSE
        while seconds > 0 and not service.closing.is_set() and not (active_run and active_run.ended.is_set()):
            await asyncio.sleep(min(seconds, 0.1))
            seconds -= 0.1


@router.get("/audit", tags=["audit"], responses=problems(), dependencies=[Depends(guard.operators_only)])
def list_audit(audit: TheAudit, limit: Limit = 50, cursor: Number = None) -> AuditPage:
    """List who did what on the page and through the API, newest first."""
    found = audit.page(before=int(cursor) if cursor else None, limit=limit + 1)
    shown = [AuditAnswer.model_validate(entry, from_attributes=True) for entry in found[:limit]]
    return AuditPage(items=shown, next=str(shown[-1].id) if len(found) > limit else None)
