"""`/audit`: who did what on the page and through the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from syncer.state.audit import AuditEntry
from syncer.web.auth import guard
from syncer.web.pages.viewing import TheView
from syncer.web.parameters import TheAudit
from syncer.web.rendering import Context

_LISTED_ENTRIES = 50

router = APIRouter(include_in_schema=False, dependencies=[Depends(guard.operators_only)])


class AuditContext(Context, template="audit.html"):
    """Entries of the audit log, newest first."""

    entries: Sequence[AuditEntry]
    #: The entry to show older ones of; None if there are none.
    older: int | None
    is_newest: bool


@router.get("/audit")
def show_audit(view: TheView, audit: TheAudit, before: Annotated[int | None, Query(ge=1, le=2**62)] = None) -> Response:
    found = audit.page(before=before, limit=_LISTED_ENTRIES + 1)
    shown = found[:_LISTED_ENTRIES]
    older = shown[-1].id if len(found) > _LISTED_ENTRIES else None
    return view.page(AuditContext(entries=shown, older=older, is_newest=before is None))
