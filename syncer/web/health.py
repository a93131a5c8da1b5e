"""Whether the service lives, and whether it can be asked: for supervisors, without content."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from starlette.responses import Response

from syncer.model.errors import SyncerError
from syncer.service.service import Service

#: How old the schedule's last sign of life may be.
_SILENCE = timedelta(seconds=30)


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.api_route("/livez", methods=["GET", "HEAD"])
    async def livez() -> Response:
        return _empty(service.silence <= _SILENCE)

    @routes.api_route("/readyz", methods=["GET", "HEAD"])
    def readyz() -> Response:
        return _empty(_is_ready(service))

    return routes


def _is_ready(service: Service) -> bool:
    edition = service.catalog.edition
    if service.closing.is_set() or (edition.folder_error and not edition.definitions):
        return False
    try:
        service.run_log.paused()
    except SyncerError:
        return False
    # Who neither leads nor knows of who does has not begun.
    return service.leads or bool(service.leadership.leader())


def _empty(is_well: bool) -> Response:
    return Response(status_code=200 if is_well else 503)
