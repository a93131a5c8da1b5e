"""The pages of the service: made on the server, and usable without JavaScript."""

from __future__ import annotations

from fastapi import APIRouter

from syncer.service import Service
from syncer.web.audit import Audit
from syncer.web.pages import connections, overview, runs, sync, things
from syncer.web.pages.viewing import Pages


def router(service: Service, audit: Audit) -> APIRouter:
    """The routes of all pages; who may use which of them is the guard's to say."""
    routes = APIRouter(include_in_schema=False)
    pages = Pages(service=service, audit=audit)
    for part in (overview, sync, runs, things, connections):
        part.add(routes, pages)
    return routes
