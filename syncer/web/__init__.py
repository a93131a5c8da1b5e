"""The page and the API of the service."""

from __future__ import annotations

from fastapi import FastAPI, Response

from syncer import __version__
from syncer.metrics import metrics_router
from syncer.service import Service


def create_app(service: Service) -> FastAPI:
    """The application that answers for a service; it holds nothing but what it is asked for."""
    app = FastAPI(title="Syncer", version=__version__, docs_url=None, redoc_url=None)
    app.state.service = service
    app.include_router(metrics_router(service))

    @app.get("/livez", include_in_schema=False)
    def livez() -> Response:
        return Response()

    return app
