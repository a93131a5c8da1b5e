"""`syncer cancel`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Exclude, Json, Select
from syncer.cli.exit_codes import IN_PROGRESS
from syncer.cli.project import Project, now, user
from syncer.model.types import Run

#: Seconds between two looks whether a run has ended.
_LOOK_AGAIN = 0.1


def cancel(
    select: Select = None,
    exclude: Exclude = None,
    wait: Annotated[
        int, typer.Option(min=0, metavar="SECONDS", help="How long to wait for the ends of the runs.")
    ] = 30,
    as_json: Json = False,
) -> None:
    """Stop the runs of syncs, whatever process makes them.

    A run that is sending finishes its current batch; what it has sent is recorded.
    """
    from syncer.state.cancellations import Cancellations

    project = Project()
    selected = project.names(select or [], exclude or [], to="cancel")
    found = {name: [*_open(project, name)] for name in selected.names}
    cancellations, actor = Cancellations(project.database), user()
    for run in (run for runs in found.values() for run in runs):
        cancellations.ask(run.id, actor, now())
    deadline = time.monotonic() + wait
    ended = [_ended(project, name, runs, deadline, as_json=as_json) for name, runs in found.items()]
    raise typer.Exit(selected.code or (0 if all(ended) else IN_PROGRESS))


def _open(project: Project, sync: str) -> Iterator[Run]:
    """The runs of a sync that go on or wait; those of processes that died are ended."""
    from syncer.service.left_open import LeftOpen

    log = project.run_log
    left_open = LeftOpen(settings=project.settings, runner=project.runner, run_log=log, now=now)
    going_on = left_open.alive(sync, except_for=())
    yield from [going_on] if going_on else []
    yield from (run for run in log.queued_runs() if run.sync == sync)


def _ended(project: Project, sync: str, runs: list[Run], deadline: float, *, as_json: bool) -> bool:
    """Wait for the ends of the runs of one sync, and print them; returns whether all have ended."""
    if not runs:
        _print(sync, None, as_json=as_json)
    ended = True
    for asked in runs:
        while (run := project.run_log.get(asked.id) or asked).finished_at is None and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN)
        _print(sync, run, as_json=as_json)
        ended &= run.finished_at is not None
    return ended


def _print(sync: str, run: Run | None, *, as_json: bool) -> None:
    if as_json:
        output.json_line({"sync": sync, "run_id": run and run.id, "status": run and run.status})
    elif run is None:
        output.line(f"{sync}: nothing to cancel, as it does not run.")
    elif run.finished_at is None:
        output.line(f"{sync}: the run {run.id} was asked to stop, and has not ended yet.")
    else:
        output.line(f"{sync}: the run {run.id} ended: {run.status}.")
