"""The API's documents: OpenAPI for programs, and a page for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from syncer.web import rendering, root_path
from syncer.web.rendering import Context
from syncer.web.schemas import ProblemAnswer

PREFIX = "/api/v1"
PATH = f"{PREFIX}/openapi.json"

#: Any request may fail so: by its own fault, its caller's, or the service's.
_ALWAYS = (400, 401, 403, 421, 422, 500, 503)

router = APIRouter(include_in_schema=False)


class ApiContext(Context, template="api.html"):
    """Every request and every answer of the API, as OpenAPI describes them."""

    operations: Sequence[Mapping[str, Any]]
    schemas: Mapping[str, Any]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: the problems it may answer with."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({*_ALWAYS, *statuses})
    }


class DescribedApp(FastAPI):
    """An application whose OpenAPI document also describes problems and authentication."""

    def openapi(self) -> dict[str, Any]:
        """See FastAPI; made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            components = document.setdefault("components", {})
            components.setdefault("schemas", {})["ProblemAnswer"] = ProblemAnswer.model_json_schema()
            components["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "syncer_session"},
            }
            document["security"] = [{"token": []}, {"session": []}]
            self.openapi_schema = document
        root = root_path.current()
        return {**self.openapi_schema, "servers": [{"url": root}]} if root else self.openapi_schema


@router.get("/docs")
def show_documents(request: Request) -> Response:
    document = request.app.openapi()
    operations = [
        {"method": method.upper(), "path": f"{root_path.current()}{path}", **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return rendering.page(ApiContext(operations=operations, schemas=document["components"]["schemas"]))
