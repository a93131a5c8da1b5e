"""What goes wrong, in one shape: RFC 9457 `application/problem+json` for programs, a page for people."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from syncer.model.errors import (
    ConnectionFailedError,
    RunInProgressError,
    SelectionError,
    StateDatabaseError,
    SyncerError,
)
from syncer.web import rendering

#: What each kind of error is to a caller; the first that fits. Anything else that Syncer raises on purpose is 422.
_STATUSES: Mapping[type[SyncerError], int] = {
    SelectionError: 404,
    RunInProgressError: 409,
    StateDatabaseError: 503,
    ConnectionFailedError: 502,
}

#: Reasons of `RequestValidationError` that a caller is told of, and no more: their text may quote what was sent.
_SHOWN_FAULTS = 5


#: What is told of what the framework refuses.
HTTP_DETAILS = {
    400: "the request cannot be read",
    404: "there is nothing at this address",
    405: "this cannot be done here",
    413: "the request's body is too large",
}


class ProblemError(Exception):
    """An answer that is no success."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        hint: str = "",
        run_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        #: The run that is in the way.
        self.run_id = run_id
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The members of the JSON."""
        told = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.hint:
            told["hint"] = self.hint
        if self.run_id is not None:
            told["run_id"] = self.run_id
        return told


def problem_of(error: Exception) -> ProblemError:
    """What to tell of an error; nothing of one that nobody raised on purpose."""
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
    return ProblemError(500, "this is a defect of Syncer; its log says where")


def wants_page(request: Request) -> bool:
    """Whether a person is to read the answer."""
    return not request.scope["path"].startswith("/api/") and "text/html" in request.headers.get("accept", "")


def answer(request: Request, error: Exception) -> Response:
    """The answer that tells of an error."""
    problem = problem_of(error)
    if wants_page(request):
        return rendering.page("error.html", status=problem.status, headers=problem.headers, problem=problem.body)
    return JSONResponse(problem.body, problem.status, headers=problem.headers, media_type="application/problem+json")


def _faults(error: RequestValidationError) -> str:
    """Which parts of a request are wrong, and how; what was sent is not repeated."""
    faults = [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors()
        if fault["type"] not in ("json_invalid", "extra_forbidden")
    ]
    kinds = {fault["type"] for fault in error.errors()}
    faults += ["the body is not JSON"] * ("json_invalid" in kinds)
    faults += ["the body has a member that is not known"] * ("extra_forbidden" in kinds)
    return "; ".join(faults[:_SHOWN_FAULTS])
