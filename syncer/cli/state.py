"""`syncer runs`, `rejected`, `pause`, `resume` and `reset`: what Syncer remembers of syncs, also of removed ones."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Json, Name
from syncer.cli.project import Project, now
from syncer.cli.runs import run_object
from syncer.model.errors import SelectionError
from syncer.model.types import Rejection, Run

_RIGHT = ("queried", "added", "changed", "removed", "rejected", "seconds", "attempts")


def show_runs(
    name: Annotated[str | None, typer.Argument(help="Show only runs of this sync.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many runs to show.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest runs."""
    project = Project()
    runs = project.run_log.recent(name if name is None else project.known_name(name), limit)
    if as_json:
        for run in runs:
            output.json_line(_object(run))
        return
    if not runs:
        output.line("No run so far.")
        return
    headings = ("started", "sync", "status", "by", "queried", "added", "changed", "removed", "rejected", "seconds", "")
    output.table(headings, map(_row, runs), right=_RIGHT)


def rejected(name: Name, as_json: Json = False) -> None:
    """Show the rejected rows of a sync, with reasons."""
    project = Project()
    rows, total = project.run_log.rejections(project.known_name(name))
    if as_json:
        for row in rows:
            output.json_line(asdict(row))
    elif not total:
        output.line(f"No row of {name} is rejected.")
    else:
        output.table(("key", "attempts", "first seen", "last seen", "reason"), map(_rejection_row, rows), right=_RIGHT)
    if total > len(rows):
        output.remark(
            f"note: {total - len(rows):,} more rows are rejected; the run log keeps only the first", as_json=as_json
        )


def pause(name: Name) -> None:
    """Stop scheduling a sync; `syncer run` still runs it."""
    project = Project()
    project.run_log.pause(project.known_name(name), now())
    output.line(f"{name} is paused; `syncer resume {name}` schedules it again.")


def resume(name: Name) -> None:
    """Schedule a paused sync again."""
    project = Project()
    project.run_log.resume(project.known_name(name), now())
    output.line(f"{name} is scheduled again.")


def reset(
    name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False
) -> None:
    """Forget a snapshot; the next run sends every row.

    Nothing is removed from the store, now or in that run.
    """
    project = Project()
    path = project.runner.snapshot_path(project.known_name(name))
    if not path.exists():
        output.line(f"{name} has no snapshot: its next run sends every row.")
        return
    meaning = f"The next run of {name} sends every row again. Nothing is removed from the store, now or then."
    if not yes:
        _ask(meaning)
    from syncer.snapshot import file

    file.delete(path, name)
    output.line(f"Deleted the snapshot of {name}. {meaning if yes else ''}".strip())


def _ask(meaning: str) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SelectionError("cannot ask for confirmation without a terminal", hint="Add --yes to skip the question.")
    output.line(meaning)
    if not typer.confirm("Forget the snapshot?"):
        raise typer.Exit(1)


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
    }


def _row(run: Run) -> tuple[str, ...]:
    counts = run.counts
    seconds = f"{(run.finished_at - run.started_at).total_seconds():.1f}" if run.finished_at else ""
    remark = run.error or "; ".join(run.notes)
    numbers = (counts.queried, counts.added, counts.changed, counts.removed, counts.rejected)
    return output.time_text(run.started_at), run.sync, run.status, run.trigger, *map(str, numbers), seconds, remark


def _rejection_row(row: Rejection) -> tuple[str, ...]:
    seen = output.time_text(row.first_seen), output.time_text(row.last_seen)
    return row.key or "(none)", str(row.attempts), *seen, row.reason
