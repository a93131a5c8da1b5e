"""What the API tells of runs, and how it ends them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from syncer.web import serializers
from syncer.web.api.parameters import Cursor, Limit, TheOrders, TheRun, TheService, Who, known_sync
from syncer.web.events import events
from syncer.web.openapi import refusals
from syncer.web.schemas import RunAnswer, RunPage

router = APIRouter(tags=["runs"])


@router.get("/runs", responses=refusals(404))
def list_runs(
    service: TheService,
    sync: Annotated[str | None, Query(max_length=200, description="Of this sync only.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> RunPage:
    """List the runs of one sync or of all, newest first."""
    name = None if sync is None else known_sync(service, sync)
    found = service.run_log.page(name, before=cursor or "", limit=limit + 1)
    shown = [serializers.run_of(run, service.live(run.id)) for run in found[:limit]]
    return RunPage(items=shown, next=shown[-1].run_id if len(found) > limit else None)


@router.get("/runs/{run_id}", responses=refusals(404))
def show_run(service: TheService, run: TheRun) -> RunAnswer:
    """Get one run and its progress."""
    live = service.live(run.id) if run.finished_at is None else None
    # Where it goes on no more, it may have ended since it was looked up.
    return serializers.run_of(run if live else service.run_log.get(run.id) or run, live)


@router.post("/runs/{run_id}/cancel", status_code=202, responses=refusals(404, 409))
def cancel_run(service: TheService, orders: TheOrders, who: Who, run: TheRun) -> RunAnswer:
    """Stop a run after its current batch; what it has sent is recorded."""
    live = orders.cancel(who, run)
    return serializers.run_of(service.run_log.get(run.id) or run, live if live.run is None else None)


@router.get("/runs/{run_id}/events", response_class=EventSourceResponse, responses=refusals(404))
async def follow_run(service: TheService, run: TheRun) -> AsyncIterator[ServerSentEvent]:
    """Stream a run as server-sent events: `progress`, and at last `end`, each with the run as JSON."""
    async for event in events(service, run):
        yield event
