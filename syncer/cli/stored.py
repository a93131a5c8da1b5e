"""`syncer show`: what a store holds of one thing, which syncs feed it, and what of it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer

from syncer.cli import output
from syncer.cli.exit_codes import FAILED
from syncer.cli.project import Project, identifier
from syncer.cli.runs import Json
from syncer.errors import SelectionError
from syncer.types import Entity, Identity, PersonKey, Rejection, SyncDefinition

app = typer.Typer(no_args_is_help=True, help="Show what the store holds, and which syncs feed it.")

Store = Annotated[str, typer.Option("--store", metavar="NAME", help="The store to look in.")]


@app.command()
def person(
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Their id or email.", show_default=False)],
    by: Annotated[
        PersonKey | None, typer.Option("--by", help="What VALUE is; by default what the store tells people apart by.")
    ] = None,
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Show one person, with their relationships."""
    project = Project()
    kind = by or _fitting(_identity(project, store), value)
    value = identifier(value).lower() if kind is PersonKey.EMAIL else identifier(value)
    feeding = [sync for sync in _of_store(project, store) if sync.target.person_key is not None]

    def is_about(sync: SyncDefinition, key: Sequence[str]) -> bool:
        return sync.target.person_key is kind and key[0] == value

    _show(project, store, Entity.PERSON, kind, value, feeding, is_about, as_json=as_json)


@app.command("object")
def thing(
    object_type: Annotated[str, typer.Argument(metavar="TYPE", help="Such as account.", show_default=False)],
    object_id: Annotated[str, typer.Argument(metavar="ID", help="Its id.", show_default=False)],
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Show one object, with the people related to it."""
    project = Project()
    object_id = identifier(object_id)
    feeding = [sync for sync in _of_store(project, store) if sync.target.object_type == object_type]

    def is_about(sync: SyncDefinition, key: Sequence[str]) -> bool:
        return key[-1] == object_id

    _show(project, store, Entity.OBJECT, object_type, object_id, feeding, is_about, as_json=as_json)


@app.command()
def collection(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The collection.", show_default=False)],
    key: Annotated[
        str,
        typer.Argument(
            metavar="[KEY]",
            help="One row's key; several columns as a JSON array. Else the first rows.",
            show_default=False,
        ),
    ] = "",
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Show one row of a collection, or its first rows."""
    project = Project()
    feeding = [sync for sync in _of_store(project, store) if sync.target.collection == name]

    def is_about(sync: SyncDefinition, parts: Sequence[str]) -> bool:
        return not key or parts in ([key], _parts(key))

    _show(project, store, Entity.COLLECTION, name, key, feeding, is_about, as_json=as_json)


def _show(
    project: Project,
    store: str,
    entity: Entity,
    kind: str,
    value: str,
    feeding: Sequence[SyncDefinition],
    is_about: Callable[[SyncDefinition, Sequence[str]], bool],
    *,
    as_json: bool,
) -> None:
    from connectors import open_store

    setting = project.settings.stores[store]
    url = setting.url.get_secret_value()
    with closing(open_store(store, url, identity=setting.identity, options=setting.options)) as opened:
        held = opened.show(entity, kind, value)
    refused = [
        row for sync in feeding for row in project.run_log.rejections(sync.name)[0] if is_about(sync, _key(sync, row))
    ]
    if as_json:
        syncs = [sync.name for sync in feeding]
        output.json_line(
            {"store": store, "entity": entity, "held": held, "syncs": syncs, "rejections": [asdict(r) for r in refused]}
        )
    else:
        _print(project, held, feeding, refused, missing=f"The store `{store}` holds no such {entity}.")
    raise typer.Exit(FAILED if held is None else 0)


def _print(
    project: Project, held: object, feeding: Sequence[SyncDefinition], refused: Sequence[Rejection], *, missing: str
) -> None:
    if held is None:
        output.line(missing)
    else:
        for line in output.json_text(held, indent=2).split("\n"):
            output.line(line)
    last_status = project.run_log.last_status()
    fed = ", ".join(f"{sync.name} ({last_status.get(sync.name, 'never run')})" for sync in feeding)
    output.line(f"Fed by: {fed or 'no sync'}")
    for row in refused:
        times = "once" if row.attempts == 1 else f"{row.attempts} times"
        output.line(f"Rejected by {row.sync}, {times}, last {output.time_text(row.last_seen)}: {row.reason}")


def _of_store(project: Project, store: str) -> list[SyncDefinition]:
    """The syncs that feed a store, whose name is checked here."""
    _identity(project, store)
    return [sync for sync in project.loaded.definitions if sync.store == store]


def _identity(project: Project, store: str) -> Identity:
    from syncer.spelling import did_you_mean, quoted

    stores = project.settings.stores
    if store not in stores:
        raise SelectionError(f"no store is called {quoted(store)}", hint=did_you_mean(store, stores))
    return stores[store].identity


def _fitting(identity: Identity, value: str) -> PersonKey:
    if identity is Identity.ID or (identity is Identity.ID_OR_EMAIL and "@" not in value):
        return PersonKey.ID
    return PersonKey.EMAIL


def _key(sync: SyncDefinition, row: Rejection) -> list[str]:
    """A rejected row's key, a text for each column; blank ones where it has none."""
    columns = len(sync.target.key_columns)
    parts = [row.key] if columns == 1 else _parts(row.key)
    return parts if len(parts) == columns else [""] * columns


def _parts(text: str) -> list[str]:
    try:
        parts = json.loads(text)
    except ValueError:
        return []
    return [str(part) for part in parts] if isinstance(parts, list) else []
