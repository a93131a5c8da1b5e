"""The JSON API."""

from __future__ import annotations

from fastapi import APIRouter

from syncer.web.api import audit, documents, runs, syncs

PREFIX = "/api/v1"

router = APIRouter(prefix=PREFIX)
for part in (syncs, runs, audit, documents):
    router.include_router(part.router)
