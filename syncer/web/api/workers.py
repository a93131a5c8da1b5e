"""Workers as JSON."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from syncer.web.api.documents import problems
from syncer.web.parameters import TheService
from syncer.web.worker_schemas import WorkerAnswer, WorkerPage

router = APIRouter(tags=["workers"])


@router.get("/workers", responses=problems())
def list_workers(
    service: TheService,
    queue: Annotated[str | None, Query(max_length=50, description="Only workers that take this queue.")] = None,
) -> WorkerPage:
    """List the workers of the last day and what they run, by name; none where the service runs syncs itself."""
    remote = service.remote_runs
    found = remote.leases.workers() if remote else []
    return WorkerPage(items=[WorkerAnswer.model_validate(one) for one in found if queue is None or one.takes(queue)])
