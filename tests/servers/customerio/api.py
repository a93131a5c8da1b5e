"""The workspace's APIs over HTTP."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.servers.customerio import definitions
from tests.servers.customerio.faults import Fault
from tests.servers.customerio.workspace import BATCH_BYTES, ITEM_BYTES, Person, RefusedError, Workspace

Handler = Callable[[Request], Awaitable[Response]]

#: Where an operation says whom or what it is about.
_NAMES = ("identifiers", "primary", "secondary")


class _Broken(Response):
    """A connection that ends without an answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def application(workspace: Workspace) -> Starlette:
    """The three APIs under one address; their paths do not meet."""
    apis, collections = _Apis(workspace), workspace.held_collections
    return Starlette(
        routes=[
            Route("/api/v1/accounts/region", apis.guarded(apis.region, apis.track_login)),
            Route("/api/v2/batch", apis.guarded(apis.writing(apis.batch), apis.track_login), methods=["POST"]),
            Route("/api/v1/events", apis.guarded(apis.writing(apis.anonymous), apis.track_login), methods=["POST"]),
            Route("/v1/batch", apis.guarded(apis.writing(apis.calls), apis.cdp_login), methods=["POST"]),
            *(
                Route(
                    f"/v1/collections{path}",
                    apis.guarded(handler if method == "GET" else apis.writing(handler), apis.app_login),
                    methods=[method],
                )
                for method, path, handler in (
                    ("GET", "", collections.listing),
                    ("POST", "", collections.put),
                    ("GET", "/{id:int}", collections.one),
                    ("PUT", "/{id:int}", collections.put),
                    ("GET", "/{id:int}/content", collections.content),
                    ("POST", "/{id:int}/writes", collections.submit),
                    ("GET", "/{id:int}/writes/{write}", collections.look_up),
                )
            ),
            Route("/v1/customers/attributes", apis.guarded(apis.people, apis.app_login), methods=["POST"]),
            Route("/v1/customers/{id:path}/attributes", apis.guarded(apis.person, apis.app_login)),
            Route("/v1/customers/{id:path}/relationships", apis.guarded(apis.relationships, apis.app_login)),
            Route("/v1/objects/{type}/{id:path}/attributes", apis.guarded(apis.one_object, apis.app_login)),
            Route("/v1/objects/{type}/{id:path}/relationships", apis.guarded(apis.related_people, apis.app_login)),
        ]
    )


class _Apis:
    def __init__(self, workspace: Workspace) -> None:
        self._w = workspace
        self._app_calls: deque[float] = deque()
        self._in_flight: Counter[tuple[Any, ...]] = Counter()

    def track_login(self, request: Request) -> bool:
        return _basic(request) == f"{self._w.site_id}:{self._w.api_key}" or self._private(request, self._w.private_as)

    def cdp_login(self, request: Request) -> bool:
        return _basic(request) == f"{self._w.cdp_api_key}:"

    def app_login(self, request: Request) -> bool:
        key = request.headers.get("authorization")
        return key == f"Bearer {self._w.app_api_key}" or self._private(request, "Bearer")

    def _private(self, request: Request, scheme: str) -> bool:
        """Whether the login is the private key, as an API takes it: as a bearer's token, or as a user's name."""
        if not self._w.private_key:
            return False
        if scheme == "Basic":
            return _basic(request) == f"{self._w.private_key}:"
        return request.headers.get("authorization") == f"Bearer {self._w.private_key}"

    def guarded(self, handler: Handler, login: Callable[[Request], bool]) -> Handler:
        async def handle(request: Request) -> Response:
            self._w.requests.append((request.method, request.url.path))
            if not login(request):
                return JSONResponse({"meta": {"error": "unauthorized"}}, 401)
            if login == self.app_login and self._over_rate():
                return JSONResponse({"errors": [{"detail": "too many", "status": "429"}]}, 429)
            if self._w.faults.reading and login == self.app_login and not _writes(request):
                return _faulty(self._w.faults.reading)
            return await handler(request)

        return handle

    def writing(self, handler: Handler) -> Handler:
        """With the faults that were ordered."""

        async def handle(request: Request) -> Response:
            fault = self._w.faults.upcoming()
            await anyio.sleep(self._w.faults.slow)
            if fault is None:
                return await handler(request)
            if fault.applied:
                await handler(request)
            await anyio.sleep(fault.seconds)
            return _faulty(fault)

        return handle

    async def region(self, request: Request) -> Response:
        if self._w.faults.region is not None:
            return _faulty(self._w.faults.region)
        url = f"https://track{'-eu' if self._w.region == 'eu' else ''}.customer.io"
        return JSONResponse({"url": url, "region": self._w.region, "environment_id": 1})

    async def batch(self, request: Request) -> Response:
        self._w.arrivals.append(time.monotonic())
        body = await request.body()
        posted = orjson.loads(body)
        items = posted["batch"]
        self._w.batches.append(len(body))
        if self._w.bodies is not None:
            self._w.bodies.append(body)
        if told := self._refused(body, items, self._faults("track", posted)):
            return told
        named = [(item["type"], item[part]) for item in items for part in _NAMES if part in item]
        entities = {(kind, *identifiers.items()) for kind, identifiers in named}
        self._enter(entities)
        # Long enough for another request to come in between, were one sent.
        await anyio.sleep(0.001)
        errors = []
        with self._w.lock:
            for place, item in enumerate(items):
                try:
                    if self._w.faults.refuses(item):
                        raise RefusedError("refused", "attributes", self._quoted(item) or "on purpose")
                    self._w.take(item)
                except RefusedError as exc:
                    errors.append({**self._w.faults.place(place), **exc.told})
        self._leave(entities)
        return JSONResponse({"errors": errors}, self._w.faults.partly) if errors else JSONResponse({})

    async def anonymous(self, request: Request) -> Response:
        self._w.arrivals.append(time.monotonic())
        posted = orjson.loads(await request.body())
        if faults := self._faults("track", posted, "/api/v1/events"):
            return _bad("invalid", "event", faults[0])
        with self._w.lock:
            try:
                self._w.take_of_visitor(posted)
            except RefusedError as exc:
                return JSONResponse({"meta": {"errors": [exc.told["reason"]]}}, 400)
        return JSONResponse({})

    async def calls(self, request: Request) -> Response:
        body = await request.body()
        posted = orjson.loads(body)
        if request.headers.get("x-strict-mode") != "1":
            return JSONResponse({})
        if told := self._refused(body, posted["batch"], self._faults("pipelines", posted)):
            return told
        with self._w.lock:
            try:
                for call in posted["batch"]:
                    self._w.take_call(call)
            except RefusedError as exc:
                return JSONResponse({"errors": [exc.told]}, 400)
        return JSONResponse({"success": True})

    def _faults(self, api: str, posted: Any, path: str = "") -> list[str]:
        return definitions.faults_of(api, posted, path) if self._w.checked else []

    def _refused(self, body: bytes, items: list[dict[str, Any]], faults: list[str]) -> Response | None:
        """The answer to a batch of which nothing is taken."""
        if faults:
            return _bad("invalid", "batch", faults[0])
        if len(body) >= BATCH_BYTES:
            return _bad("too large", "batch")
        for item in items:
            if len(orjson.dumps(item)) > ITEM_BYTES:
                return _bad("too large", "item")
            if self._w.faults.poison(item):
                return _bad("poisoned", "item", self._quoted(item))
        return None

    def _quoted(self, item: dict[str, Any]) -> str:
        """What a refusal says of an operation, whole and in parts."""
        told = item.get("attributes") or item.get("traits") or {}
        values = [str(value) for value in (*(item.get("identifiers") or {}).values(), *told.values())]
        return (
            f"not valid: {json.dumps(item)} {' '.join(values)} ({values[-1][:20]}...)" if self._w.faults.quoting else ""
        )

    def _enter(self, entities: set[tuple[Any, ...]]) -> None:
        self._w.breaches.extend(entity for entity in entities if entity in self._in_flight)
        self._in_flight.update(entities)

    def _leave(self, entities: set[tuple[Any, ...]]) -> None:
        for entity in entities:
            self._in_flight[entity] -= 1
            if not self._in_flight[entity]:
                del self._in_flight[entity]

    async def person(self, request: Request) -> Response:
        found = self._person(request)
        if found is None:
            return JSONResponse({"errors": []}, 404)
        devices = [
            {"id": token, **held, "attributes": _texts(held["attributes"])}
            for token, held in self._w.devices.items()
            if held["cio_id"] == found.cio_id
        ]
        return JSONResponse({"customer": {**_read(found), "devices": devices}})

    async def people(self, request: Request) -> Response:
        ids = (await request.json())["ids"]
        if not 1 <= len(ids) <= 100:
            return JSONResponse({"errors": []}, 400)
        kind = request.query_params.get("id_type", "id")
        found = [person for id_ in ids if (person := self._w.person(**{kind: id_}))]
        return JSONResponse({"customers": [{"customer": _read(person)} for person in found]})

    async def relationships(self, request: Request) -> Response:
        found = self._person(request)
        related = [key[1:] for key in self._w.relationships if found and key[0] == found.cio_id]
        told = [{"object_type_id": type_, "identifiers": {"object_id": id_}} for type_, id_ in related]
        return JSONResponse({"cio_relationships": told, "next": ""})

    async def one_object(self, request: Request) -> Response:
        held = self._w.objects.get((request.path_params["type"], request.path_params["id"]))
        if held is None:
            return JSONResponse({}, 404)
        return JSONResponse({"object": {"attributes": _texts(held), "object_type_id": request.path_params["type"]}})

    async def related_people(self, request: Request) -> Response:
        thing = request.path_params["type"], request.path_params["id"]
        related = [{"cio_id": key[0]} for key in self._w.relationships if key[1:] == thing]
        return JSONResponse({"cio_relationships": [{"identifiers": one} for one in related], "next": ""})

    def _person(self, request: Request) -> Person | None:
        return self._w.person(**{request.query_params.get("id_type", "id"): request.path_params["id"]})

    def _over_rate(self) -> bool:
        now = time.monotonic()
        while self._app_calls and now - self._app_calls[0] > 1:
            self._app_calls.popleft()
        self._app_calls.append(now)
        return len(self._app_calls) > self._w.app_rate


def _basic(request: Request) -> str:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return base64.b64decode(value).decode() if scheme == "Basic" else ""


def _writes(request: Request) -> bool:
    return request.method != "GET" and not request.url.path.endswith("/attributes")


def _faulty(fault: Fault) -> Response:
    if fault.status is None:
        return _Broken()
    return Response(fault.body, fault.status, headers=fault.headers)


def _bad(reason: str, field: str, message: str = "") -> Response:
    return JSONResponse({"errors": [{"reason": reason, "field": field, "message": message}]}, 400)


def _texts(attributes: dict[str, Any]) -> dict[str, str]:
    """Values as they are read: as text."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()}


def _read(person: Person) -> dict[str, Any]:
    return {"id": person.attributes.get("id"), "attributes": {**_texts(person.attributes), "cio_id": person.cio_id}}
