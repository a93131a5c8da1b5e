"""`/connections`: the warehouses, the stores and the place of shared snapshots, and on request whether they answer."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.responses import Response

from syncer.sync.connections import Connection, Tested, connections, tested_side_by_side
from syncer.web.pages.viewing import TheView
from syncer.web.rendering import Context

#: Seconds after which no answer of a connection counts.
_TIMEOUT = 15.0

router = APIRouter(include_in_schema=False)


class ConnectionsContext(Context, template="connections.html"):
    """Every connection."""

    #: Each with the names of the syncs that use it; of snapshots, which all of them do, without.
    connections: Sequence[tuple[Tested, Sequence[str]]]
    is_tested: bool


@router.get("/connections")
def show_connections(view: TheView, test: bool = False) -> Response:
    known = connections(view.service.settings)
    found = tested_side_by_side(known, seconds=_TIMEOUT) if test else [Tested(connection=one) for one in known]
    definitions = view.service.catalog.current.definitions.values()

    def users(connection: Connection) -> list[str]:
        return [sync.name for sync in definitions if getattr(sync, connection.kind, None) == connection.name]

    return view.page(ConnectionsContext(connections=[(one, users(one.connection)) for one in found], is_tested=test))
