"""The API's documents: OpenAPI for programs, and a page that lists the same for people."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from syncer.web import rendering

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def show_documents(request: Request) -> Response:
    """Every request of the API, from its OpenAPI document."""
    document = request.app.openapi()
    return rendering.page("api.html", operations=_operations(document), schemas=document["components"]["schemas"])


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"method": method.upper(), "path": path, **operation}
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
