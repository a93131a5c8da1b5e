"""`/connections`: the warehouses and stores, and on wish whether they answer."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from syncer.model.errors import SyncerError
from syncer.model.types import Probe, SyncDefinition
from syncer.sync.connections import Connection, Tested, connections, tested_side_by_side
from syncer.web.pages.viewing import Pages

#: Seconds that all connections together are given to answer.
_PATIENCE = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One connection of the list."""

    connection: Connection
    probe: Probe | None
    error: SyncerError | None
    #: The names of the syncs that use it.
    syncs: list[str]


def add(routes: APIRouter, pages: Pages) -> None:
    """Add the route."""

    @routes.get("/connections")
    def index(request: Request, test: bool = False) -> Response:
        known = connections(pages.service.settings)
        found = (
            tested_side_by_side(known, seconds=_PATIENCE)
            if test
            else [Tested(connection=connection) for connection in known]
        )
        definitions = list(pages.service.catalog.edition.definitions.values())
        return pages.page(request, "connections.html", rows=[_row(each, definitions) for each in found], is_tested=test)


def _row(found: Tested, definitions: list[SyncDefinition]) -> Row:
    connection = found.connection
    used = [
        sync.name
        for sync in definitions
        if (sync.warehouse if connection.kind == "warehouse" else sync.store) == connection.name
    ]
    return Row(connection=connection, probe=found.probe, error=found.error, syncs=used)
