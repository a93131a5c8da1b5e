"""`syncer serve`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import signals
from syncer.cli.project import Project, now

if TYPE_CHECKING:
    from syncer.definitions import Loaded
    from syncer.settings import Settings


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on, in place of SYNCER_WEB__HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port, in place of SYNCER_WEB__PORT; 0 takes any.")
    ] = None,
) -> None:
    """Keep the schedule, and show and take orders on a page and an API, until a signal comes."""
    from syncer.service import Service
    from syncer.service.catalog import Catalog
    from syncer.service.leadership import Sole
    from syncer.service.process import Process, holder
    from syncer.web import access, create_app

    project = Project()
    settings = _listening(project.settings, host, port)
    access.check(settings.web)
    service = Service(
        settings=settings,
        catalog=Catalog(lambda: _loaded(settings)),
        runner=project.runner,
        run_log=project.run_log,
        leadership=Sole(project.run_log, holder=holder(), now=now),
        now=now,
    )
    process = Process(service=service, app=create_app(service), now=now)
    with signals.heard(process.asked_to_stop.set):
        process.run(lambda: "the service was stopped")
    raise typer.Exit(signals.exit_code() or 0)


def _listening(settings: Settings, host: str | None, port: int | None) -> Settings:
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    return dataclasses.replace(settings, web=settings.web.model_copy(update=given))


def _loaded(settings: Settings) -> Loaded:
    from syncer import definitions

    return definitions.load(settings.definitions_dir, warehouses=settings.warehouses, stores=settings.stores)
