"""The API's OpenAPI document: what FastAPI finds out by itself, and how it is asked and how it refuses."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from syncer.web.schemas import ProblemAnswer

PATH = "/api/v1/openapi.json"

#: What every request may be answered with: what is wrong with it, with who asks, and with the service.
_ALWAYS = (400, 401, 403, 421, 422, 500, 503)

_REFERENCE = {"$ref": "#/components/schemas/ProblemAnswer"}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: how it may refuse."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": _REFERENCE}},
        }
        for status in sorted({*_ALWAYS, *statuses})
    }


class DescribedApp(FastAPI):
    """An application whose OpenAPI document also tells of refusals and of who may ask."""

    def openapi(self) -> dict[str, Any]:
        """See FastAPI; made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            components = document.setdefault("components", {})
            schema = ProblemAnswer.model_json_schema()
            components.setdefault("schemas", {})["ProblemAnswer"] = schema
            components["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "syncer_session"},
            }
            document["security"] = [{"token": []}, {"session": []}]
            self.openapi_schema = document
        return self.openapi_schema
