"""`syncer runs`, `pause`, `resume` and `reset`: what Syncer remembers of syncs, also of removed ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Exclude, Json, Select
from syncer.cli.exit_codes import CODES, Outcome, outcome_of
from syncer.cli.project import Project, now
from syncer.cli.runs import run_object
from syncer.model.errors import SelectionError, SnapshotError, SyncerError
from syncer.model.types import Order, Run, Trigger

_RUN_HEADINGS = (
    *("started", "sync", "status", "by"),
    *("queried", "added", "changed", "removed", "rejected", "seconds", ""),
)
_RIGHT = ("queried", "added", "changed", "removed", "rejected", "seconds")


def show_runs(
    select: Select = None,
    exclude: Exclude = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many runs to show.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest runs."""
    project = Project()
    selected = project.names(select or [], exclude or []) if select or exclude else None
    runs = project.run_log.recent(limit=limit) if selected is None else _newest(project, selected.names, limit)
    if as_json:
        for run in runs:
            output.json_line(_object(run))
    elif not runs:
        output.line("No run so far.")
    else:
        output.table(_RUN_HEADINGS, map(_row, runs), right=_RIGHT)
    raise typer.Exit(selected.code if selected else 0)


def pause(select: Select = None, exclude: Exclude = None, as_json: Json = False) -> None:
    """Stop scheduling syncs; `syncer run` still runs them."""
    project = Project()
    selected = project.names(select or [], exclude or [], to="pause")
    for name in selected.names:
        project.run_log.pause(name, now())
        if as_json:
            output.json_line({"sync": name, "paused": True})
        else:
            output.line(f"{name} is paused; `syncer resume {name}` schedules it again.")
    raise typer.Exit(selected.code)


def resume(select: Select = None, exclude: Exclude = None, as_json: Json = False) -> None:
    """Schedule paused syncs again."""
    project = Project()
    selected = project.names(select or [], exclude or [], to="resume")
    for name in selected.names:
        project.run_log.resume(name, now())
        if as_json:
            output.json_line({"sync": name, "paused": False})
        else:
            output.line(f"{name} is scheduled again.")
    raise typer.Exit(selected.code)


def reset(
    select: Select = None,
    exclude: Exclude = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Forget snapshots; the next run of each sync sends every row.

    Nothing is removed from the store, now or in that run.
    """
    project = Project()
    selected = project.names(select or [], exclude or [], to="reset")
    found = [name for name in selected.names if project.runner.snapshots.shared.has(name)]
    if found and not yes:
        _ask(found, as_json=as_json)
    outcomes = [_reset_one(project, name, explained=yes, as_json=as_json) for name in selected.names]
    raise typer.Exit(selected.code or CODES[max(outcomes, default=Outcome.WELL)])


def _reset_one(project: Project, name: str, *, explained: bool, as_json: bool) -> Outcome:
    from syncer.snapshot import file
    from syncer.sync import kept_rows

    snapshots = project.runner.snapshots
    had_one = snapshots.shared.has(name)
    try:
        with project.database.holding(name):
            if snapshots.is_shared(name):
                snapshots.refuse_beside_another(name, Order(trigger=Trigger.MANUAL))
            with suppress(SnapshotError):
                kept_rows.forget(project.settings, snapshots.path(name), name)
            file.delete(snapshots.path(name), name)
            snapshots.shared.forget(name)
    except SyncerError as exc:
        output.sync_problem("error", name, str(exc), exc.hint)
        return outcome_of(exc)
    if as_json:
        output.json_line({"sync": name, "reset": had_one})
    elif had_one:
        output.line(f"Deleted the snapshot of {name}. {_meaning([name]) if explained else ''}".strip())
    else:
        output.line(f"{name} has no snapshot: its next run sends every row.")
    return Outcome.WELL


def _meaning(names: Sequence[str]) -> str:
    return f"The next run of {', '.join(names)} sends every row again. Nothing is removed from the store, now or then."


def _ask(names: Sequence[str], *, as_json: bool) -> None:
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        without = "with --json" if as_json else "without a terminal"
        raise SelectionError(f"cannot ask for confirmation {without}", hint="Add --yes to skip the question.")
    output.line(_meaning(names))
    if not typer.confirm("Forget the snapshot?" if len(names) == 1 else f"Forget {len(names)} snapshots?"):
        raise typer.Exit(1)


def _newest(project: Project, names: Sequence[str], limit: int) -> list[Run]:
    """The newest runs of some syncs, newest first."""
    runs = [run for name in names for run in project.run_log.recent(name, limit)]
    return runs if len(names) == 1 else sorted(runs, key=lambda run: run.id, reverse=True)[:limit]


def _object(run: Run) -> dict[str, object]:
    return {
        **run_object(run),
        "hint": run.hint,
        "notes": run.notes,
        "trigger": run.trigger,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "phases": run.phases,
        "definition_hash": run.definition_hash,
        "scope": run.scope,
        "options": run.options,
        "ended_by": run.ended_by,
        "worker": run.worker,
        "waited_seconds": run.waited_seconds,
        "bytes_fetched": run.bytes_fetched,
    }


def _row(run: Run) -> tuple[str, ...]:
    counts = run.counts
    seconds = f"{(run.finished_at - run.started_at).total_seconds():.1f}" if run.finished_at else ""
    remark = run.error or "; ".join(run.notes)
    numbers = (counts.queried, counts.added, counts.changed, counts.removed, counts.rejected)
    return output.time_text(run.started_at), run.sync, run.status, run.trigger, *map(str, numbers), seconds, remark
