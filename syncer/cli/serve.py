"""`syncer serve`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output, signals
from syncer.cli.project import Project, now

if TYPE_CHECKING:
    from syncer.definitions.folder import Loaded
    from syncer.service.service import Service
    from syncer.settings.settings import Settings

log = logging.getLogger(__name__)

#: How long a run waits for a plan of its sync, or a command that runs it.
_PATIENCE = timedelta(minutes=1)


def serve(
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The address to listen on. Default: SYNCER_WEB__HOST.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="N", help="The port; 0 for any. Default: SYNCER_WEB__PORT.")
    ] = None,
) -> None:
    """Run the schedule, with a web page and an API.

    A signal stops it, after each run has finished its current batch.
    """
    project = Project()
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = project.settings.model_copy(update={"web": project.settings.web.model_copy(update=given)})
    raise typer.Exit(run(project, settings, load=project.load))


def run(project: Project, settings: Settings, *, load: Callable[[], Loaded]) -> int:
    """Serve until a signal arrives; gives the exit code. *load* reads the definitions."""
    from syncer.model import memory
    from syncer.observability import logs
    from syncer.service.catalog import Catalog
    from syncer.service.leadership import LeaderElection, Leadership, SingleNode
    from syncer.service.process import Process, holder
    from syncer.service.service import Service
    from syncer.settings import containers
    from syncer.settings.secrets import secrets_of
    from syncer.web.app import create_app
    from syncer.web.auth import access

    colours = output.is_terminal(sys.stderr)
    logs.write_to(sys.stderr, level=settings.log_level, secrets=secrets_of(settings), colours=colours)
    access.check(settings.web)
    if names := containers.set_by_cluster(settings.environment):
        log.info("ignored variables that a cluster sets for services, and that are no settings: %s", ", ".join(names))
    leadership: Leadership
    if project.database.is_shared:
        leadership = LeaderElection(project.database, project.run_log, holder=holder(now()), now=now)
    else:
        leadership = SingleNode(project.run_log, holder=holder(now()), now=now)
    runner = replace(project.runner, patience=_PATIENCE)
    memory.PROCESS.divide(settings.memory_bytes, runs=settings.pool_size)
    service = Service(
        settings=settings,
        catalog=Catalog(load),
        runner=runner,
        run_log=project.run_log,
        leadership=leadership,
        now=now,
    )
    process = Process(service=service, app=create_app(service), now=now)

    def stop() -> None:
        log.info("stopping; a second signal ends at once")
        process.asked_to_stop.set()

    with signals.heard(stop), _watched(service):
        process.run(lambda: "the service was stopped")
    return signals.exit_code() or 0


@contextmanager
def _watched(service: Service) -> Iterator[None]:
    """Send alerts about syncs, and a heartbeat of the service, as far as the settings say where to."""
    from syncer.alerts import targets
    from syncer.alerts.monitor import AlertMonitor
    from syncer.alerts.ping import Ping

    settings = service.settings.alerts
    with ExitStack() as stack:
        if settings.targets or settings.owners:
            of_owners = targets.opened_of_owners(settings.targets_of_owners)
            alerts = AlertMonitor(service, targets.opened(settings.targets), of_owners)
            alerts.start()
            stack.callback(alerts.stop)
        if settings.ping_url is not None:
            ping = Ping(service, settings.ping_url.get_secret_value())
            ping.start()
            stack.callback(ping.stop)
        yield
