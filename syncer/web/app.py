"""The application: middleware, routes, what they share, and the probes of supervisors."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from syncer import __version__
from syncer.model.errors import SettingsError, SyncerError
from syncer.model.importing import importing
from syncer.service.metrics import metrics_router
from syncer.service.service import Service
from syncer.settings.service import OidcSettings, WebSettings
from syncer.state.audit import Audit
from syncer.state.sessions import Sessions
from syncer.web import problems, rendering
from syncer.web.actions import UserActions
from syncer.web.api import documents, explanations
from syncer.web.api import runs as api_runs
from syncer.web.api import syncs as api_syncs
from syncer.web.api import workers as api_workers
from syncer.web.auth import guard, login
from syncer.web.auth.access import Access
from syncer.web.auth.guard import Guard
from syncer.web.auth.login import LoginService, Password, Throttle
from syncer.web.auth.safety import AllowedHosts, Safety
from syncer.web.pages import audit as audit_page
from syncer.web.pages import connections, docs, entities, events, lineage, overview, rejected, runs, sync
from syncer.web.parameters import TheService
from syncer.web.problems import ProblemError
from syncer.web.root_path import RootPath

#: The least bytes of an answer that is compressed; event streams never are.
_COMPRESSED_BYTES = 2_000

#: Of 9: a page of hundreds of charts takes a quarter of the time, and is a little larger.
_COMPRESSION = 3

#: How old the schedule's last heartbeat may be.
_LONGEST_HEARTBEAT_AGE = timedelta(seconds=45)

#: `/livez` and `/readyz`, which answer without content.
probes = APIRouter(include_in_schema=False)


def create_app(service: Service) -> FastAPI:
    """The application of a service; everything it knows is the service's.

    Raises:
        SettingsError: the settings would let in anybody.
    """
    web, database = service.settings.web, service.run_log.database
    audit, access, passwords = Audit(database=database, now=service.now), Access(web), web.passwords
    hosts, provider = AllowedHosts(web, access), web.oidc.identity if web.oidc else ""
    sessions = Sessions(database=database, passwords=passwords, now=service.now, provider=provider)
    login_path = guard.LOGIN if passwords else guard.PROVIDER if web.oidc else ""
    app = documents.DescribedApp(
        title="Syncer",
        version=__version__,
        openapi_url=documents.PATH,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        middleware=[
            Middleware(RootPath, root_of=access.root_path),
            Middleware(Safety),
            Middleware(Guard, access=access, hosts=hosts, sessions=sessions, roles=web.roles, login=login_path),
            Middleware(GZipMiddleware, minimum_size=_COMPRESSED_BYTES, compresslevel=_COMPRESSION),
        ],
    )
    app.state.service, app.state.audit, app.state.actions = service, audit, UserActions(service=service, audit=audit)
    #: How many event streams each address has open.
    app.state.streams = Counter[str]()
    app.state.login = login_path and LoginService(
        passwords={actor: Password(password) for actor, password in passwords.items()},
        sessions=sessions,
        throttle=Throttle(now=service.now),
        audit=audit,
        hosts=hosts,
        provider=web.oidc.host if web.oidc else "",
    )
    if web.oidc:
        _log_in_through(web.oidc, app, web)
    for kind in (ProblemError, SyncerError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, problems.answer)
    app.mount("/static", StaticFiles(directory=rendering.PAGES / "static"), name="static")
    for part in (login, overview, sync, rejected, runs, entities, events, connections, lineage, audit_page, docs):
        app.include_router(part.router)
    for part in (api_syncs, api_runs, api_workers, explanations, documents):
        app.include_router(part.router, prefix=documents.PREFIX)
    app.include_router(metrics_router(service))
    app.include_router(probes)
    return app


def _log_in_through(settings: OidcSettings, app: FastAPI, web: WebSettings) -> None:
    """Add the login through an OpenID Connect provider, whose library is an extra.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        with importing:
            from syncer.web.auth import oidc
            from syncer.web.auth.provider import Provider
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in ("authlib", "httpx2", "joserfc"):
            raise
        hint = "Install it with `pip install 'syncer[oidc]'`."
        raise SettingsError("SYNCER_WEB__OIDC__ISSUER: OpenID Connect is not installed", hint=hint) from None
    app.state.oidc = oidc.ProviderLogin(
        provider=Provider(settings), groups=web.groups, url=str(web.url).rstrip("/"), login=app.state.login
    )
    app.include_router(oidc.router)


@probes.api_route("/livez", methods=["GET", "HEAD"])
async def livez(service: TheService) -> Response:
    is_well = service.is_alive and service.heartbeat_age <= _LONGEST_HEARTBEAT_AGE
    return Response(status_code=200 if is_well else 503)


@probes.api_route("/readyz", methods=["GET", "HEAD"])
def readyz(service: TheService) -> Response:
    return Response(status_code=200 if _is_ready(service) else 503)


def _is_ready(service: Service) -> bool:
    definitions = service.catalog.current
    if service.closing.is_set() or (definitions.folder_error and not definitions.definitions):
        return False
    try:
        service.run_log.paused()
        return service.is_ready
    except SyncerError:
        return False
