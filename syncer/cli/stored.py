"""`syncer show`: what a store holds of one thing, which syncs feed it, and what of it is refused."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Command, Json
from syncer.cli.exit_codes import FAILED
from syncer.cli.project import Project
from syncer.model.json_text import json_text
from syncer.model.types import PersonKey

if TYPE_CHECKING:
    from syncer.sync.stored import Sought, Stored

app = typer.Typer(no_args_is_help=True, help="Show what a store contains, and which syncs feed it.")

Store = Annotated[str, typer.Option("--store", metavar="NAME", help="The store to read.")]


@app.command(cls=Command)
def person(
    value: Annotated[str, typer.Argument(help="Their identifier, such as an id or an email.")],
    by: Annotated[
        PersonKey | None,
        typer.Option(
            "--by", metavar="id|email|cio_id", help="The kind of VALUE. Default: what identifies people in the store."
        ),
    ] = None,
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Show a person and their relationships."""
    from syncer.sync import stored

    project = Project()
    _show(project, stored.person(project.settings.stores, store, value, by), as_json=as_json)


@app.command("object", cls=Command)
def thing(
    object_type: Annotated[str, typer.Argument(metavar="TYPE", help="The type of the object, such as account.")],
    object_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the object.")],
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Show an object and the people related to it."""
    from syncer.sync import stored

    project = Project()
    _show(project, stored.one_object(project.settings.stores, store, object_type, object_id), as_json=as_json)


@app.command(cls=Command)
def collection(
    name: Annotated[str, typer.Argument(help="The name of the collection.")],
    key: Annotated[
        str,
        typer.Argument(help="The key of one row; several columns: a JSON array. Default: the first rows."),
    ] = "",
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Show a row of a collection, or its first rows."""
    from syncer.sync import stored

    project = Project()
    _show(project, stored.collection(project.settings.stores, store, name, key), as_json=as_json)


def _show(project: Project, sought: Sought, *, as_json: bool) -> None:
    from syncer.sync.stored import look

    with closing(project.settings.stores[sought.store].open(sought.store)) as opened:
        found = look(sought, opened, project.loaded.definitions, project.run_log)
    if as_json:
        syncs = [sync.name for sync in found.feeding]
        refused = [asdict(row) for row in found.refused]
        output.json_line(
            {
                "store": sought.store,
                "entity": sought.entity,
                "content": found.held,
                # As it was called before, for one release.
                "held": found.held,
                "syncs": syncs,
                "rejections": refused,
            }
        )
    else:
        _print(project, found, missing=f"The store `{sought.store}` holds no such {sought.entity}.")
    raise typer.Exit(FAILED if found.held is None else 0)


def _print(project: Project, found: Stored, *, missing: str) -> None:
    if found.held is None:
        output.line(missing)
    else:
        for line in json_text(found.held, indent=2).split("\n"):
            output.line(line)
    last_status = project.run_log.last_status()
    fed = ", ".join(f"{sync.name} ({last_status.get(sync.name, 'never run')})" for sync in found.feeding)
    output.line(f"Fed by: {fed or 'no sync'}")
    for row in found.refused:
        times = "once" if row.attempts == 1 else f"{row.attempts} times"
        output.line(f"Rejected by {row.sync}, {times}, last {output.time_text(row.last_seen)}: {row.reason}")
