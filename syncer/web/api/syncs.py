"""Syncs as JSON, and how to run, plan and pause them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from syncer.model.types import Run
from syncer.service.service import Service
from syncer.state.rejections import RejectionFilter, Rejections
from syncer.web import parameters, serializers
from syncer.web.actions import until_ended
from syncer.web.api.documents import problems
from syncer.web.auth import guard
from syncer.web.parameters import Cursor, Limit, Name, Number, TheActions, TheCaller, TheService
from syncer.web.requests import AcknowledgeRequest, RejectionChoice, RunRequest
from syncer.web.schemas import (
    PlanAnswer,
    RejectionPage,
    RowsAnswer,
    RunAnswer,
    SyncAnswer,
    SyncDetailAnswer,
    SyncPage,
)

#: Seconds that a request may wait for the end of a run.
_LONGEST_WAIT = 300

#: The most rows of each kind of change in a plan.
_SAMPLE_ROWS = 100

router = APIRouter(tags=["syncs"])


@router.get("/syncs", responses=problems())
def list_syncs(service: TheService, limit: Limit = 100, cursor: Cursor = None) -> SyncPage:
    """List the syncs with their status, by name."""
    found = [name for name in service.catalog.current.definitions if name > (cursor or "")]
    last = service.run_log.last_runs(found[:limit])
    shown = [
        serializers.sync_of(status, last.get(status.definition.name)) for status in service.statuses(found[:limit])
    ]
    return SyncPage(items=shown, next=shown[-1].name if len(found) > limit else None)


@router.get("/syncs/{name}", responses=problems(404))
def show_sync(service: TheService, name: Name) -> SyncDetailAnswer:
    """Get one sync with its status and its definition."""
    return serializers.sync_detail_of(service.status(name), _last_run(service, name), service.settings.definitions_dir)


@router.post("/syncs/{name}/runs", status_code=202, responses={200: {"model": RunAnswer}, **problems(404, 409, 413)})
async def order_run(
    request: Request,
    response: Response,
    service: TheService,
    actions: TheActions,
    caller: TheCaller,
    name: Name,
    options: RunRequest | None = None,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=200, description="A request with the same key returns the same run."),
    ] = None,
    wait: Annotated[int, Query(ge=0, le=_LONGEST_WAIT, description="Seconds to wait for the run's end.")] = 0,
) -> RunAnswer:
    """Start a run as soon as the pool has room: 202, or 200 if `wait` is set and the run has ended."""
    run_id = await run_in_threadpool(actions.run, caller, name, options or RunRequest(), idempotency_key)

    async def is_unwanted() -> bool:
        return service.closing.is_set() or await request.is_disconnected()

    await until_ended(service.active_run(run_id), wait, is_unwanted)
    run = await run_in_threadpool(_run, service, run_id)
    if run.finished_at is not None:
        response.status_code = 200
    return run


@router.get("/syncs/{name}/rejected", responses=problems(404))
def list_rejected(
    service: TheService,
    caller: TheCaller,
    name: Name,
    reason: Annotated[str, Query(max_length=2_000, description="Only rows with this reason.")] = "",
    acknowledged: Annotated[bool | None, Query(description="Only rows that are acknowledged, or that are not.")] = None,
    limit: Limit = 100,
    cursor: Number = None,
) -> RejectionPage:
    """List the rejected rows of a sync, with reasons."""
    name, first, now = parameters.known_sync(service, name), int(cursor or 0), service.now()
    rejections, wanted = Rejections(service.run_log.database), RejectionFilter(reason=reason, acknowledged=acknowledged)
    rows, matching = rejections.of(name, wanted, now=now, first=first, limit=limit)
    with_values = guard.may_see_values(caller)
    return RejectionPage(
        items=[serializers.rejection_of(row, with_values=with_values) for row in rows],
        total=rejections.total(name),
        matching=matching,
        next=str(first + limit) if matching > first + limit else None,
    )


@router.post("/syncs/{name}/rejected/acknowledge", responses=problems(404))
def acknowledge_rejected(
    service: TheService, actions: TheActions, caller: TheCaller, name: Name, request: AcknowledgeRequest
) -> RowsAnswer:
    """Acknowledge rejected rows: they do not count until they change, or until a time."""
    sync = parameters.known_sync(service, name)
    return RowsAnswer(rows=actions.acknowledge(caller, sync, _chosen(request), request.why, request.until))


@router.post("/syncs/{name}/rejected/unacknowledge", responses=problems(404))
def unacknowledge_rejected(
    service: TheService, actions: TheActions, caller: TheCaller, name: Name, choice: RejectionChoice
) -> RowsAnswer:
    """Let acknowledged rows count again."""
    return RowsAnswer(rows=actions.unacknowledge(caller, parameters.known_sync(service, name), _chosen(choice)))


@router.post("/syncs/{name}/pause", responses=problems(404))
def pause_sync(service: TheService, actions: TheActions, caller: TheCaller, name: Name) -> SyncAnswer:
    """Pause the schedule of a sync; a run that has begun continues."""
    actions.pause(caller, name)
    return serializers.sync_of(service.status(name), _last_run(service, name))


@router.post("/syncs/{name}/resume", responses=problems(404))
def resume_sync(service: TheService, actions: TheActions, caller: TheCaller, name: Name) -> SyncAnswer:
    """Resume the schedule of a sync."""
    actions.resume(caller, name)
    return serializers.sync_of(service.status(name), _last_run(service, name))


@router.post(
    "/syncs/{name}/plan", response_model=PlanAnswer, response_class=Response, responses=problems(404, 409, 502)
)
async def plan_sync(
    actions: TheActions,
    caller: TheCaller,
    name: Name,
    rows: Annotated[int, Query(ge=0, le=_SAMPLE_ROWS, description="Sample rows of each kind of change.")] = 5,
    save: Annotated[bool, Query(description="Keep the plan, for a run that sends exactly this.")] = False,
) -> Response:
    """Show what a run would send, with sample rows before and after, without sending it."""
    plan = await actions.plan(caller, name, rows, keep=save)
    text = await run_in_threadpool(serializers.plan_json, name, plan)
    return Response(text, media_type="application/json")


def _chosen(choice: RejectionChoice) -> RejectionFilter:
    return RejectionFilter(reason=choice.reason, key=choice.key, digest=choice.digest)


def _run(service: Service, run_id: str) -> RunAnswer:
    return serializers.run_of(*parameters.current(service, parameters.run_of_id(service, run_id)))


def _last_run(service: Service, name: str) -> Run | None:
    return service.run_log.last_runs([name]).get(name)
