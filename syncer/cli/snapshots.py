"""`syncer snapshot`: where the snapshots of syncs are, whether they are whole, and how they move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Command, Exclude, Json, Select
from syncer.cli.exit_codes import CODES, Outcome, outcome_of
from syncer.cli.project import Project
from syncer.model.errors import SyncerError
from syncer.model.types import Order, Trigger

app = typer.Typer(no_args_is_help=True, help="Show, check and move the snapshots of syncs.")


@app.command("list", cls=Command)
def list_snapshots(select: Select = None, exclude: Exclude = None, as_json: Json = False) -> None:
    """Show where each snapshot is, and how large it is."""
    from syncer.shared.moving import statuses

    project = Project()
    selected = project.names(select or [], exclude or [])
    found = statuses(project.runner.snapshots.shared, selected.names)
    if as_json:
        for one in found:
            output.json_line(asdict(one))
    elif found:
        rows = [
            (one.sync, one.where, "" if one.rows is None else f"{one.rows:,}", f"{one.bytes:,}", str(one.deltas))
            for one in found
        ]
        output.table(("sync", "where", "rows", "bytes", "deltas"), rows, right=("rows", "bytes", "deltas"))
    else:
        output.line("No sync has a snapshot here; a first run makes one.")
    raise typer.Exit(selected.code)


@app.command(cls=Command)
def move(
    select: Select = None,
    to: Annotated[
        str,
        typer.Option("--to", metavar="local|warehouse|database|URL", help="The place: see `syncer docs production`."),
    ] = ...,  # type: ignore[assignment]
    exclude: Exclude = None,
    as_json: Json = False,
) -> None:
    """Move snapshots to another place.

    The next run of each sync sends nothing again for it.
    """
    from syncer.shared import moving
    from syncer.shared.moving import WAREHOUSE
    from syncer.sync import row_moves

    project = Project()
    definitions = {one.name: one for one in project.loaded.definitions}

    def moved(name: str) -> str:
        snapshots = project.runner.snapshots
        with project.database.holding(name):
            snapshots.refuse_beside_another(name, Order(trigger=Trigger.MANUAL))
            has_moved = row_moves.move(snapshots, name, definitions.get(name), is_kept=to == WAREHOUSE)
            if to != WAREHOUSE:
                has_moved |= moving.move(snapshots.shared, name, to)
        where = WAREHOUSE if to == WAREHOUSE else snapshots.shared.where(name)
        return f"The snapshot of {name} {'is' if has_moved else 'was already'} {_at(where)}."

    _each(project, select, exclude, moved, to="move", as_json=as_json)


@app.command(cls=Command)
def check(select: Select = None, exclude: Exclude = None, as_json: Json = False) -> None:
    """Read snapshots whole, and say what is damaged."""
    from syncer.shared import moving
    from syncer.sync import row_moves

    project = Project()

    def checked(name: str) -> str:
        shared = project.runner.snapshots.shared
        moving.check(shared, name)
        row_moves.check(project.settings, shared.path(name), name)
        return f"The snapshot of {name} {_at(shared.where(name))} is whole."

    _each(project, select, exclude, checked, to="check", as_json=as_json)


def _at(where: str) -> str:
    from syncer.shared.moving import WAREHOUSE
    from syncer.state.pointers import LOCAL

    if where == WAREHOUSE:
        return "in the warehouse"
    return "on this machine" if where == LOCAL else f"in {where}"


def _each(
    project: Project,
    select: list[str] | None,
    exclude: list[str] | None,
    done: Callable[[str], str],
    *,
    to: str,
    as_json: bool,
) -> None:
    """Do something with each sync, and say how it went."""
    selected = project.names(select or [], exclude or [], to=f"snapshot {to}")
    worst = Outcome.WELL
    for name in selected.names:
        error: SyncerError | None = None
        said = ""
        try:
            said = done(name)
        except SyncerError as exc:
            error = exc
            output.sync_problem("error", name, str(exc), exc.hint)
            worst = max(worst, outcome_of(exc))
        if as_json:
            where = project.runner.snapshots.shared.where(name)
            output.json_line({"sync": name, "where": where, "error": str(error) if error else None})
        elif said:
            output.line(said)
    raise typer.Exit(selected.code or CODES[worst])
