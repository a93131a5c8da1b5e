"""`syncer pause`, `resume` and `reset`: whether a sync is scheduled, and its snapshot."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Name
from syncer.cli.project import Project, now
from syncer.model.errors import SelectionError


def pause(name: Name) -> None:
    """Stop scheduling a sync; `syncer run` still runs it."""
    project = Project()
    project.run_log.pause(project.known_name(name), now())
    output.line(f"{name} is paused; `syncer resume {name}` schedules it again.")


def resume(name: Name) -> None:
    """Schedule a paused sync again."""
    project = Project()
    project.run_log.resume(project.known_name(name))
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
    from syncer.snapshot import file_ledger

    file_ledger.delete(path, name)
    output.line(f"The snapshot of {name} is gone. {meaning}" if yes else f"The snapshot of {name} is gone.")


def _ask(meaning: str) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SelectionError("cannot ask for confirmation without a terminal", hint="Add --yes to skip the question.")
    output.line(meaning)
    if not typer.confirm("Forget the snapshot?"):
        raise typer.Exit(1)
