"""What the API tells of who did what."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Depends

from syncer.web.api.parameters import Limit, Number, TheAudit
from syncer.web.auth import guard
from syncer.web.openapi import refusals
from syncer.web.schemas import AuditAnswer, AuditPage

router = APIRouter(tags=["audit"])


@router.get("/audit", responses=refusals(), dependencies=[Depends(guard.who_may_run)])
def list_deeds(audit: TheAudit, limit: Limit = 50, cursor: Number = None) -> AuditPage:
    """List who did what on the page and through the API, newest first."""
    found = audit.page(before=int(cursor) if cursor else None, limit=limit + 1)
    shown = [AuditAnswer(**asdict(entry)) for entry in found[:limit]]
    return AuditPage(items=shown, next=str(shown[-1].id) if len(found) > limit else None)
