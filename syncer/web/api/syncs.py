"""What the API tells of syncs, and how it orders runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from syncer.service.service import Service
from syncer.web import serializers
from syncer.web.actions import until_ended
from syncer.web.api.parameters import Cursor, Limit, Name, Number, TheOrders, TheService, Who, known_sync
from syncer.web.openapi import refusals
from syncer.web.schemas import PlanAnswer, RejectionPage, RunAnswer, RunRequest, SyncAnswer, SyncDetailAnswer, SyncPage

#: Seconds that an answer may be put off until a run is over.
_LONGEST_WAIT = 300

#: Rows of each sort of change that a plan shows at the most.
_SAMPLE_ROWS = 100

router = APIRouter(tags=["syncs"])


@router.get("/syncs", responses=refusals())
def list_syncs(service: TheService, limit: Limit = 100, cursor: Cursor = None) -> SyncPage:
    """List the syncs with their status, by name."""
    found = [name for name in service.catalog.edition.definitions if name > (cursor or "")]
    shown = [serializers.sync_of(status) for status in service.statuses(found[:limit])]
    return SyncPage(items=shown, next=shown[-1].name if len(found) > limit else None)


@router.get("/syncs/{name}", responses=refusals(404))
def show_sync(service: TheService, name: Name) -> SyncDetailAnswer:
    """Get one sync with its status and its definition."""
    return serializers.sync_detail_of(service.status(name), service.settings.definitions_dir)


@router.post("/syncs/{name}/runs", status_code=202, responses={200: {"model": RunAnswer}, **refusals(404, 409, 413)})
async def order_run(
    request: Request,
    response: Response,
    service: TheService,
    orders: TheOrders,
    who: Who,
    name: Name,
    asked: RunRequest | None = None,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=200, description="The same order again gives the same run.")
    ] = None,
    wait: Annotated[int, Query(ge=0, le=_LONGEST_WAIT, description="Seconds to wait for the run's end.")] = 0,
) -> RunAnswer:
    """Start a run as soon as the pool has room: 202, or 200 if `wait` is set and the run has ended."""
    run_id = await run_in_threadpool(orders.run, who, name, asked or RunRequest(), idempotency_key)

    async def gives_up() -> bool:
        return service.closing.is_set() or await request.is_disconnected()

    await until_ended(service.live(run_id), wait, gives_up)
    run = await run_in_threadpool(_run, service, run_id)
    if run.finished_at is not None:
        response.status_code = 200
    return run


@router.get("/syncs/{name}/rejected", responses=refusals(404))
def list_rejected(service: TheService, name: Name, limit: Limit = 100, cursor: Number = None) -> RejectionPage:
    """List the rejected rows of a sync, with reasons."""
    first = int(cursor or 0)
    rows, total = service.run_log.rejections(known_sync(service, name), first=first, limit=limit + 1)
    following = str(first + limit) if len(rows) > limit else None
    return serializers.rejections_of(rows[:limit], total, following)


@router.post("/syncs/{name}/pause", responses=refusals(404))
def pause_sync(service: TheService, orders: TheOrders, who: Who, name: Name) -> SyncAnswer:
    """Pause the schedule of a sync; a run that has begun continues."""
    orders.pause(who, name)
    return serializers.sync_of(service.status(name))


@router.post("/syncs/{name}/resume", responses=refusals(404))
def resume_sync(service: TheService, orders: TheOrders, who: Who, name: Name) -> SyncAnswer:
    """Resume the schedule of a sync."""
    orders.resume(who, name)
    return serializers.sync_of(service.status(name))


@router.post(
    "/syncs/{name}/plan", response_model=PlanAnswer, response_class=Response, responses=refusals(404, 409, 502)
)
async def plan_sync(
    orders: TheOrders,
    who: Who,
    name: Name,
    rows: Annotated[int, Query(ge=0, le=_SAMPLE_ROWS, description="Sample rows of each sort of change.")] = 5,
) -> Response:
    """Show what a run would send, with sample rows before and after, without sending it."""
    plan = await orders.plan(who, name, rows)
    text = await run_in_threadpool(serializers.plan_json, name, plan)
    return Response(text, media_type="application/json")


def _run(service: Service, run_id: str) -> RunAnswer:
    live = service.live(run_id)
    run = service.run_log.get(run_id)
    assert run is not None
    return serializers.run_of(run, live if run.finished_at is None else None)
