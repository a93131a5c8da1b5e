"""`/livez` and `/readyz`: whether the service lives, and whether it is ready; without content, for supervisors."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from starlette.responses import Response

from syncer.model.errors import SyncerError
from syncer.service.service import Service
from syncer.web.parameters import TheService

#: How old the schedule's last heartbeat may be.
_LONGEST_SILENCE = timedelta(seconds=30)

router = APIRouter(include_in_schema=False)


@router.api_route("/livez", methods=["GET", "HEAD"])
async def livez(service: TheService) -> Response:
    return Response(status_code=200 if service.silence <= _LONGEST_SILENCE else 503)


@router.api_route("/readyz", methods=["GET", "HEAD"])
def readyz(service: TheService) -> Response:
    return Response(status_code=200 if _is_ready(service) else 503)


def _is_ready(service: Service) -> bool:
    definitions = service.catalog.edition
    if service.closing.is_set() or (definitions.folder_error and not definitions.definitions):
        return False
    try:
        service.run_log.paused()
    except SyncerError:
        return False
    # A service that neither leads nor knows a leader has not started yet.
    return service.leads or bool(service.leadership.leader())
