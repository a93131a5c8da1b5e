"""A program for an environment that has fakesnow: `python -I fakesnow_program.py PORT` answers Snowflake's driver.

fakesnow is an emulator by others, which runs Snowflake's SQL. It answers the major version of the driver before ours.
What is here is what ours wants beside that: a master token, and results that are fetched by a query's id. Settings of a
session it has none.
"""

import gzip
import json
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from fakesnow.server import app, shared_fs
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_answers: dict[str, dict[str, Any]] = {}


async def _completed(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    path = request.url.path
    if path not in ("/session/v1/login-request", "/queries/v1/query-request"):
        return await call(request)
    body = await request.body()
    asked = json.loads(gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body)
    given = await call(request)
    answer = json.loads(b"".join([part async for part in given.body_iterator]))  # type: ignore[attr-defined]
    if path.startswith("/session"):
        answer["data"] |= {"masterToken": answer["data"]["token"], "sessionId": 1}
    elif asked.get("asyncExec"):
        answer["data"] = (answer["data"] or {"errorCode": answer["code"]}) | {"queryId": str(uuid.uuid4())}
        query = answer["data"]["queryId"]
        _answers[query] = answer
        data = {"queryId": query, "getResultUrl": f"/queries/{query}/result", "queryAbortsAfterSecs": 300}
        return JSONResponse({"success": True, "code": "333334", "message": "", "data": data})
    return JSONResponse(answer, given.status_code)


def _state(request: Request) -> Response:
    ended = "SUCCESS" if _answers[request.path_params["query"]]["success"] else "FAILED_WITH_ERROR"
    queries = [{"id": request.path_params["query"], "status": ended}]
    return JSONResponse({"success": True, "code": None, "message": None, "data": {"queries": queries}})


def _result(request: Request) -> Response:
    return JSONResponse(_answers[request.path_params["query"]])


_connect = shared_fs.connect
shared_fs.connect = lambda *given, **named: _connect(*given, **named | {"nop_regexes": ["^ALTER SESSION"]})
app.router.routes += [Route("/monitoring/queries//{query}", _state), Route("/queries/{query}/result", _result)]
app.add_middleware(BaseHTTPMiddleware, dispatch=_completed)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]))
