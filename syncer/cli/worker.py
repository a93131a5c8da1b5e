"""`syncer worker` and `syncer workers`."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output, signals
from syncer.cli.arguments import Json
from syncer.cli.project import Project, now
from syncer.model.errors import SettingsError

if TYPE_CHECKING:
    from syncer.service.worker.worker import Worker
    from syncer.settings.settings import Settings
    from syncer.state.leases import KnownWorker

log = logging.getLogger(__name__)

#: How long a run waits for a plan of its sync, or a command that runs it.
_PATIENCE = timedelta(minutes=1)


def worker(
    concurrency: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="How many syncs it runs at a time.")] = 4,
    queues: Annotated[str, typer.Option(metavar="A,B", help="Run only the syncs of these queues. Default: all.")] = "",
) -> None:
    """Run syncs for a service, on as many machines as wanted.

    A signal stops it, after each run has finished its current batch; if all have ended in time, it exits with 0.
    """
    from syncer.settings.workers import RunsBy

    project = Project()
    if project.settings.runs is not RunsBy.WORKERS:
        raise SettingsError(
            "SYNCER_RUNS: the service makes the runs itself, and orders none of a worker",
            hint="Set SYNCER_RUNS=workers for the service and every worker. See `syncer docs production`.",
        )
    _run(project, project.settings, concurrency, [name.strip() for name in queues.split(",") if name.strip()])


def workers(as_json: Json = False) -> None:
    """Show the workers of the last day, and what they run."""
    from syncer.state.leases import Leases

    project = Project()
    found = Leases(project.database).workers()
    if as_json:
        for one in found:
            output.json_line(_shown(one))
    elif found:
        rows = [(one.worker, one.host, _last_sign(one), ", ".join(one.queues) or "all", _running(one)) for one in found]
        output.table(("worker", "host", "last sign", "queues", "running"), rows)
    else:
        output.line("No worker is known here; `syncer worker` starts one.")


def _shown(one: KnownWorker) -> dict[str, object]:
    running = [{"sync": run.sync, "run_id": run.run_id, "fence": run.fence} for run in one.running]
    return {
        "worker": one.worker,
        "host": one.host,
        "beat_at": one.beat_at.isoformat(),
        "lives": one.lives,
        "queues": [*one.queues],
        "running": running,
    }


def _last_sign(one: KnownWorker) -> str:
    at = f"{one.beat_at:%Y-%m-%d %H:%M:%S}Z"
    return at if one.lives else f"no sign since {at}"


def _running(one: KnownWorker) -> str:
    return ", ".join(run.sync for run in one.running)


def _run(project: Project, settings: Settings, concurrency: int, queues: list[str]) -> None:
    from syncer.model import memory
    from syncer.observability import logs
    from syncer.service import following
    from syncer.service.catalog import Catalog
    from syncer.service.worker.jobs import JobQueue
    from syncer.service.worker.worker import Worker
    from syncer.settings.secrets import secrets_of

    colours = output.is_terminal(sys.stderr)
    logs.write_to(sys.stderr, level=settings.log_level, secrets=secrets_of(settings), colours=colours)
    JobQueue(project.database).prepare()
    catalog = Catalog(project.load)
    catalog.open()
    runner = replace(project.runner, patience=_PATIENCE)
    memory.PROCESS.divide(settings.memory_bytes, runs=concurrency)
    host = socket.gethostname()
    made = Worker(
        runner=runner,
        run_log=project.run_log,
        catalog=catalog,
        name=f"{host}-{os.getpid()}-{secrets.token_hex(2)}",
        host=host,
        queues=queues,
        concurrency=concurrency,
        now=now,
    )
    stopped = threading.Event()
    threading.Thread(
        target=following.follow,
        args=(settings.definitions_dir, catalog.reload),
        kwargs={"stopped": stopped},
        name="definitions",
        daemon=True,
    ).start()
    with signals.heard(lambda: _stop(made, settings.grace)):
        made.work(lambda: print(f"ready {made.name}", file=sys.stderr, flush=True))
    stopped.set()
    signals.answered()


def _stop(made: Worker, grace: int) -> None:
    """Let its runs end, and the process when they have not ended after so many seconds."""
    log.info("stopping; a second signal ends at once")
    made.stop("the worker was stopped")

    def leave() -> None:
        log.warning("runs have not ended in time; another worker takes them over", extra={"seconds": grace})
        os._exit(signals.exit_code() or 1)

    timer = threading.Timer(grace, leave)
    timer.daemon = True
    timer.start()
