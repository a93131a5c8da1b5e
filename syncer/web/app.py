"""The application: middleware, routes, and what they share."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from syncer import __version__
from syncer.model.errors import SyncerError
from syncer.service.metrics import metrics_router
from syncer.service.service import Service
from syncer.state.audit import Audit
from syncer.state.sessions import Sessions
from syncer.web import health, problems, rendering
from syncer.web.actions import UserActions
from syncer.web.api import documents
from syncer.web.api import runs as api_runs
from syncer.web.api import syncs as api_syncs
from syncer.web.auth import login
from syncer.web.auth.access import Access
from syncer.web.auth.guard import Guard
from syncer.web.auth.login import LoginService, Password, Throttle
from syncer.web.auth.safety import AllowedHosts, Safety
from syncer.web.pages import connections, docs, entities, overview, runs, sync
from syncer.web.problems import ProblemError

#: The least bytes of an answer that is compressed; event streams never are.
_COMPRESSED_BYTES = 2_000

#: Of 9: a page of hundreds of charts takes a quarter of the time, and is a little larger.
_COMPRESSION = 3


def create_app(service: Service) -> FastAPI:
    """The application of a service; everything it knows is the service's.

    Raises:
        SettingsError: the settings would let in anybody.
    """
    web, database = service.settings.web, service.run_log.database
    password = web.password.get_secret_value() if web.password else ""
    audit, access = Audit(database=database, now=service.now), Access(web)
    sessions, hosts = Sessions(database=database, password=password, now=service.now), AllowedHosts(web, access)
    app = documents.DescribedApp(
        title="Syncer",
        version=__version__,
        openapi_url=documents.PATH,
        docs_url=None,
        redoc_url=None,
        middleware=[
            Middleware(Safety),
            Middleware(Guard, access=access, hosts=hosts, sessions=sessions, has_password=bool(password)),
            Middleware(GZipMiddleware, minimum_size=_COMPRESSED_BYTES, compresslevel=_COMPRESSION),
        ],
    )
    app.state.service, app.state.audit, app.state.actions = service, audit, UserActions(service=service, audit=audit)
    app.state.login = password and LoginService(
        password=Password(password), sessions=sessions, throttle=Throttle(now=service.now), audit=audit, hosts=hosts
    )
    for kind in (ProblemError, SyncerError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, problems.answer)
    app.mount("/static", StaticFiles(directory=rendering.PAGES / "static"), name="static")
    for part in (health, login, overview, sync, runs, entities, connections, docs):
        app.include_router(part.router)
    for part in (api_syncs, api_runs, documents):
        app.include_router(part.router, prefix=documents.PREFIX)
    app.include_router(metrics_router(service))
    return app
