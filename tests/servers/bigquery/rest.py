"""The REST API of the stand-in, version 2, as far as the client uses it.

Source: https://cloud.google.com/bigquery/docs/reference/rest.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.bigquery.dialect import Refused
from tests.servers.bigquery.jobs import Faults, Job, Jobs
from tests.servers.bigquery.values import rows_text

_PAGE_ROWS = 100_000
Parameters = dict[str, str]


def rest_server(jobs: Jobs) -> ThreadingHTTPServer:
    """A server on a free port of 127.0.0.1, which answers once it serves."""
    handler = type("Handler", (_Handler,), {"api": _Api(jobs)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    return server


class _Api:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        project = r"/bigquery/v2/projects/([^/]+)"
        self._routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("POST", r"/control/([^/]+)", self._control),
            ("DELETE", r"/control/([^/]+)", self._forget),
            ("POST", r"/token", self._token),
            ("POST", rf"{project}/jobs", self._insert),
            ("GET", rf"{project}/jobs", self._list),
            ("GET", rf"{project}/jobs/([^/]+)", self._get),
            ("POST", rf"{project}/jobs/([^/]+)/cancel", self._cancel),
            ("GET", rf"{project}/queries/([^/]+)", self._results),
            ("POST", rf"{project}/datasets", self._make_dataset),
            ("GET", rf"{project}/datasets/([^/]+)/tables", self._tables),
            ("POST", rf"{project}/datasets/([^/]+)/tables/([^/]+):testIamPermissions", self._permissions),
        ]

    def answer(self, method: str, path: str, parameters: Parameters, body: Any) -> Any:
        """What to answer; a Refused is raised."""
        for route_method, pattern, handle in self._routes:
            if method == route_method and (found := re.fullmatch(pattern, path)):
                if found.groups() and self._jobs.faults_of(found[1]).unknown_login and "control" not in path:
                    raise Refused(401, "authError", "Request had invalid authentication credentials.")
                return handle(*found.groups(), parameters=parameters, body=body)
        raise Refused(404, "notFound", "Not found: URL")

    def breaks(self, path: str) -> bool:
        """Whether the answer is to break off."""
        found = re.fullmatch(r"/bigquery/v2/projects/([^/]+)/queries/.*", path)
        return found is not None and self._jobs.faults_of(found[1]).broken

    def _control(self, project: str, *, body: Any, **_: Any) -> Any:
        self._jobs.faults[project] = Faults(**body)
        return {}

    def _forget(self, project: str, **_: Any) -> Any:
        self._jobs.forget(project)
        return {}

    def _token(self, *, body: Any, **_: Any) -> Any:
        if b"assertion" not in body or self._jobs.faults_of("token").unknown_login:
            raise Refused(400, "invalid_grant", "Invalid JWT Signature.")
        return {"access_token": "granted", "expires_in": 3600, "token_type": "Bearer"}

    def _insert(self, project: str, *, body: Any, **_: Any) -> Any:
        told = body["jobReference"]
        job = self._jobs.submit(project, told["jobId"], told.get("location"), body["configuration"])
        return _resource(job)

    def _list(self, project: str, *, parameters: Parameters, **_: Any) -> Any:
        jobs = [job for job in self._jobs.jobs.values() if job.project == project]
        if parameters.get("stateFilter") == "running":
            jobs = [job for job in jobs if not job.done.is_set()]
        return {"jobs": [{**_resource(job), "state": _state(job)} for job in reversed(jobs)]}

    def _job(self, id_: str) -> Job:
        if id_ not in self._jobs.jobs:
            raise Refused(404, "notFound", f"Not found: Job {id_}")
        return self._jobs.jobs[id_]

    def _get(self, project: str, id_: str, **_: Any) -> Any:
        return _resource(self._job(id_))

    def _cancel(self, project: str, id_: str, **_: Any) -> Any:
        self._jobs.cancel(self._job(id_))
        return {"job": _resource(self._job(id_))}

    def _results(self, project: str, id_: str, *, parameters: Parameters, **_: Any) -> Any:
        job = self._job(id_)
        if not job.done.wait(float(parameters.get("timeoutMs", 10_000)) / 1000):
            return {"jobReference": _reference(job), "jobComplete": False}
        if job.error:
            raise job.error
        told: dict[str, Any] = {"jobReference": _reference(job), "jobComplete": True}
        if job.result is None:
            return told
        told |= {"schema": _schema(job), "totalRows": str(job.result.num_rows)}
        start = int(parameters.get("pageToken") or 0)
        page = job.result.slice(start, min(int(parameters.get("maxResults", _PAGE_ROWS)), _PAGE_ROWS))
        if page.num_rows:
            told["rows"] = rows_text(page, job.types)
            is_last = start + page.num_rows >= job.result.num_rows or self._jobs.faults_of(project).cut
            told |= {} if is_last else {"pageToken": str(start + page.num_rows)}
        return told

    def _make_dataset(self, project: str, *, body: Any, **_: Any) -> Any:
        self._jobs.make_dataset(project, body["datasetReference"]["datasetId"], body.get("location", "US"))
        return body

    def _tables(self, project: str, dataset: str, **_: Any) -> Any:
        self._jobs.require_dataset(project, dataset, None)
        names = self._jobs.tables(project, dataset)
        reference = {"projectId": project, "datasetId": dataset}
        return {"tables": [{"type": "TABLE", "tableReference": {**reference, "tableId": name}} for name in names]}

    def _permissions(self, project: str, dataset: str, table: str, *, body: Any, **_: Any) -> Any:
        granted = self._jobs.faults_of(project).granted
        found = [permission for permission in body["permissions"] if permission in granted]
        return {"permissions": found} if found else {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    #: An answer in two small packets waits for an acknowledgement between them, 40 ms.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    api: _Api

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        parameters = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = re.sub(r"%3A", ":", url.path)
        try:
            body = raw if path == "/token" else json.loads(raw or b"{}")
            code, answer = 200, self.api.answer(self.command, path, parameters, body)
        except Refused as exc:
            code, answer = exc.code, {"error": _told(exc)} if path != "/token" else {"error": exc.reason}
        rows = answer.pop("rows", "")
        text = f'{json.dumps(answer)[:-1]},"rows":[{rows}]}}'.encode() if rows else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if rows and self.api.breaks(path):
            self.wfile.write(text[: len(text) // 2])
            self.wfile.flush()
            self.close_connection = True
        else:
            self.wfile.write(text)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - http.server's names


def _told(error: Refused) -> dict[str, Any]:
    reason = {"reason": error.reason, "message": error.message, "domain": "global"}
    return {"code": error.code, "message": error.message, "errors": [reason]}


def _state(job: Job) -> str:
    return "DONE" if job.done.is_set() else "RUNNING"


def _reference(job: Job) -> dict[str, Any]:
    return {"projectId": job.project, "jobId": job.id, "location": job.location}


def _schema(job: Job) -> dict[str, Any]:
    return {"fields": [type_.resource for type_ in job.types]}


def _resource(job: Job) -> dict[str, Any]:
    destination = {"projectId": job.project, "datasetId": "_anonymous", "tableId": job.table}
    query = {"destinationTable": destination, **job.configuration["query"]}
    statistics: dict[str, Any] = {"statementType": job.kind, "totalBytesProcessed": str(job.bytes)}
    if job.configuration.get("dryRun"):
        statistics["schema"] = _schema(job)
    status: dict[str, Any] = {"state": _state(job)}
    if job.done.is_set() and job.error:
        error = {"reason": job.error.reason, "message": job.error.message}
        status |= {"errorResult": error, "errors": [error]}
    return {
        "id": f"{job.project}:{job.location}.{job.id}",
        "jobReference": _reference(job),
        "configuration": {**job.configuration, "jobType": "QUERY", "query": query},
        "status": status,
        "statistics": {"totalBytesProcessed": str(job.bytes), "query": statistics},
    }
