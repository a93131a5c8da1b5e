"""Problems in one shape: RFC 9457 `application/problem+json` for programs, a page for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from syncer.model.errors import (
    ConnectionFailedError,
    PlaceError,
    RunInProgressError,
    SelectionError,
    StateDatabaseError,
    SyncerError,
    UnusableValueError,
)
from syncer.model.wrong_values import in_words
from syncer.web import rendering
from syncer.web.rendering import Context

#: The HTTP status of each error; the first that fits. Every other SyncerError is 422.
_STATUSES: Mapping[type[SyncerError], int] = {
    SelectionError: 404,
    RunInProgressError: 409,
    UnusableValueError: 422,
    StateDatabaseError: 503,
    ConnectionFailedError: 502,
    PlaceError: 502,
}

#: The most faults of a `RequestValidationError` in an answer.
_SHOWN_FAULTS = 5

#: The details of what the framework refuses.
HTTP_DETAILS = {
    400: "the request cannot be read",
    404: "there is nothing at this address",
    405: "this address does not accept that method",
    413: "the request's body is too large",
}


@dataclass(eq=False)
class ProblemError(Exception):
    """An answer that is no success."""

    status: int
    detail: str
    hint: str = ""
    #: The run that is in the way.
    run_id: str | None = None
    headers: Mapping[str, str] | None = None

    @property
    def title(self) -> str:
        """The name of the status."""
        return HTTPStatus(self.status).phrase

    @property
    def body(self) -> dict[str, Any]:
        """The members of the JSON."""
        always = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}
        return always | {name: value for name, value in (("hint", self.hint), ("run_id", self.run_id)) if value}


class ErrorContext(Context, template="error.html"):
    """Any problem."""

    problem: ProblemError


def problem_of(error: Exception) -> ProblemError:
    """The problem of an error; nothing of the text of one that nobody raised on purpose."""
    match error:
        case ProblemError():
            return error
        case SyncerError():
            status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 422)
            return ProblemError(status, str(error), hint=error.hint)
        case RequestValidationError():
            return ProblemError(422, _faults(error))
        case HTTPException():
            return ProblemError(error.status_code, HTTP_DETAILS.get(error.status_code, ""), headers=error.headers)
    return ProblemError(500, "this is a bug in Syncer; its log says where")


def wants_page(request: Request) -> bool:
    """Whether a person is going to read the answer."""
    return not request.scope["path"].startswith("/api/") and "text/html" in request.headers.get("accept", "")


def answer(request: Request, error: Exception) -> Response:
    """The answer to a request that ended with an error."""
    problem = problem_of(error)
    if wants_page(request):
        return rendering.page(ErrorContext(problem=problem), status=problem.status, headers=problem.headers)
    return JSONResponse(problem.body, problem.status, headers=problem.headers, media_type="application/problem+json")


def _faults(error: RequestValidationError) -> str:
    """Which parts of a request are wrong, and how, without repeating what was sent."""
    found = error.errors()
    kinds = {fault["type"] for fault in found}
    faults = [
        f"{'.'.join(str(part) for part in fault['loc'])}: {in_words(fault)}"
        for fault in found
        if fault["type"] not in ("json_invalid", "extra_forbidden")
    ]
    faults += ["the body is not JSON"] * ("json_invalid" in kinds)
    faults += ["the body has an unknown member"] * ("extra_forbidden" in kinds)
    return "; ".join(faults[:_SHOWN_FAULTS])
