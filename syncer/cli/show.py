"""`syncer show`: what a store contains of one entity, which syncs feed it, and its rejected rows."""

from __future__ import annotations

from collections.abc import Callable
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
    from syncer.sync.lookup import Lookup, Sought, Stored

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
    _show(lambda lookup: lookup.person(store, value, by), as_json=as_json)


@app.command("object", cls=Command)
def thing(
    object_type: Annotated[str, typer.Argument(metavar="TYPE", help="The type of the object, such as account.")],
    object_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the object.")],
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Show an object and the people related to it."""
    _show(lambda lookup: lookup.one_object(store, object_type, object_id), as_json=as_json)


@app.command(cls=Command)
def collection(
    name: Annotated[str, typer.Argument(help="The name of the collection.")],
    key: Annotated[
        str, typer.Argument(help="The key of one row; several columns: a JSON array. Default: the first rows.")
    ] = "",
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Show a row of a collection, or its first rows."""
    _show(lambda lookup: lookup.collection(store, name, key), as_json=as_json)


def _show(seek: Callable[[Lookup], Sought], *, as_json: bool) -> None:
    from syncer.sync.lookup import Lookup

    project = Project()
    definitions = {definition.name: definition for definition in project.loaded.definitions}
    lookup = Lookup(settings=project.settings, run_log=project.run_log, definitions=definitions)
    sought = seek(lookup)
    found = lookup.look(sought)
    if found.fault is not None:
        raise found.fault
    if as_json:
        named = {"store": sought.store, "entity": sought.entity}
        # `held` is the name that `content` had before; it stays for one release.
        content = {"content": found.content, "held": found.content}
        syncs = {"syncs": [sync.name for sync in found.feeding], "rejections": [*map(asdict, found.rejected)]}
        output.json_line({**named, **content, **syncs})
    else:
        missing = f"The store `{sought.store}` has no such {sought.entity}."
        _print(project, found, missing if found.content is None else json_text(found.content, indent=2))
    raise typer.Exit(FAILED if found.content is None else 0)


def _print(project: Project, found: Stored, content: str) -> None:
    for line in content.split("\n"):
        output.line(line)
    last_status = project.run_log.last_status()
    fed = ", ".join(f"{sync.name} ({last_status.get(sync.name, 'never run')})" for sync in found.feeding)
    output.line(f"Fed by: {fed or 'no sync'}")
    for row in found.rejected:
        times = "once" if row.attempts == 1 else f"{row.attempts} times"
        output.line(f"Rejected by {row.sync}, {times}, last {output.time_text(row.last_seen)}: {row.reason}")
