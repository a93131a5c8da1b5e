"""The pages of the service: made on the server, and usable without JavaScript."""

from __future__ import annotations

from fastapi import APIRouter

from syncer.web.actions import Orders
from syncer.web.pages import connections, docs, entities, overview, runs, sync
from syncer.web.pages.viewing import Pages


def router(orders: Orders) -> APIRouter:
    """The routes of all pages; who may use which of them is the guard's to say."""
    routes = APIRouter(include_in_schema=False)
    pages = Pages(orders=orders)
    for part in (overview, sync, runs, entities, connections, docs):
        part.add(routes, pages)
    return routes
