"""The application: middleware, the routes of pages and API, and what they share."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from syncer import __version__
from syncer.model.errors import SyncerError
from syncer.service.metrics import metrics_router
from syncer.service.service import Service
from syncer.state.audit import Audit
from syncer.state.sessions import Sessions
from syncer.web import api, health, openapi, pages, problems, rendering
from syncer.web.actions import Orders
from syncer.web.auth import login
from syncer.web.auth.access import Access
from syncer.web.auth.guard import Guard, Rules
from syncer.web.auth.login import LoginService, Password
from syncer.web.auth.proxy import Peers
from syncer.web.auth.safety import Names, Safety
from syncer.web.auth.throttle import Throttle
from syncer.web.openapi import DescribedApp
from syncer.web.problems import ProblemError

#: Bytes of an answer from which on it is sent smaller. Streams of events never are.
_WORTH_IT = 2_000

#: Of 9: a page of hundreds of charts takes a quarter of the time, and is a little larger.
_COMPRESSION = 3


def create_app(service: Service) -> FastAPI:
    """The application that answers for a service; it holds nothing but what it is asked for.

    Raises:
        SettingsError: the settings would let in anybody.
    """
    rules = _rules(service)
    audit = Audit(database=service.run_log.database, now=service.now)
    app = DescribedApp(
        title="Syncer",
        version=__version__,
        openapi_url=openapi.PATH,
        docs_url=None,
        redoc_url=None,
        middleware=[
            Middleware(Safety),
            Middleware(Guard, rules=rules),
            Middleware(GZipMiddleware, minimum_size=_WORTH_IT, compresslevel=_COMPRESSION),
        ],
    )
    app.state.service, app.state.audit, app.state.orders = service, audit, Orders(service=service, audit=audit)
    for kind in (ProblemError, SyncerError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _problem)
    app.include_router(health.router(service))
    app.include_router(login.router(_door(service, rules, audit)))
    app.mount("/static", StaticFiles(directory=rendering.PAGES / "static"), name="static")
    app.include_router(api.router)
    app.include_router(metrics_router(service))
    # Here come the pages: the guard lets nobody at what is below but who may read, and at no change
    # but who may run.
    app.include_router(pages.router(app.state.orders))
    return app


def _rules(service: Service) -> Rules:
    web = service.settings.web
    peers = Peers(web)
    return Rules(
        access=Access(web, peers),
        peers=peers,
        names=Names(web, peers),
        sessions=Sessions(
            database=service.run_log.database,
            password=web.password.get_secret_value() if web.password else "",
            now=service.now,
        ),
        has_password=login.has_password(web),
    )


def _door(service: Service, rules: Rules, audit: Audit) -> LoginService | None:
    password = service.settings.web.password
    if not password:
        return None
    return LoginService(
        password=Password(password.get_secret_value()),
        sessions=rules.sessions,
        throttle=Throttle(now=service.now),
        audit=audit,
        names=rules.names,
    )


async def _problem(request: Request, error: Exception) -> Response:
    return problems.answer(request, error)
