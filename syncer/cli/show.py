"""`syncer show`: what a store contains of one entity. `syncer explain`: what each sync had to do with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Command, Json
from syncer.cli.exit_codes import FAILED, IN_PROGRESS
from syncer.cli.project import Project
from syncer.cli.rejected import rejection_object
from syncer.model.json_text import json_text
from syncer.model.spelling import listed
from syncer.model.types import PersonKey

if TYPE_CHECKING:
    from syncer.sync.explanation import Explanation
    from syncer.sync.lookup import Lookup, Sought, Stored

app = typer.Typer(no_args_is_help=True, help="Show what a store contains, and which syncs feed it.")
explain = typer.Typer(no_args_is_help=True, help="Explain why an entity is, or is not, as a query says.")

Value = Annotated[str, typer.Argument(help="Their identifier, such as an id or an email.")]
By = Annotated[
    PersonKey | None,
    typer.Option(
        "--by", metavar="id|email|phone|cio_id", help="The kind of VALUE. Default: what identifies people in the store."
    ),
]
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
Type = Annotated[str, typer.Argument(metavar="TYPE", help="The type of the object, such as account.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The id of the object.")]
Sync = Annotated[str | None, typer.Option("--sync", metavar="SYNC", help="Ask only this sync.")]
Now = Annotated[bool, typer.Option("--now", help="Ask the warehouse too what it has now of these rows.")]
Store = Annotated[str, typer.Option("--store", metavar="NAME", help="The store to read.")]


@app.command(cls=Command)
def person(
    value: Value,
    by: By = None,
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Show a person, and their relationships and devices."""
    _show(lambda lookup: lookup.person(store, value, by), as_json=as_json)


@app.command("object", cls=Command)
def thing(
    object_type: Type,
    object_id: Id,
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


@app.command(cls=Command)
def events(
    name: Annotated[str, typer.Argument(help="The name of the events.")],
    since: Annotated[
        datetime,
        typer.Option("--since", metavar="TIME", help="From when on, in UTC.", formats=_TIMES),
    ],
    at_least: Annotated[int, typer.Option("--at-least", min=1, help="How many of them a person has at least.")] = 1,
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Show who did something how often, the most frequent first."""
    from syncer.sync.events import counted

    found = counted(Project().settings, store, name, since=since.replace(tzinfo=UTC), at_least=at_least)
    if as_json:
        for one in found:
            output.json_line(asdict(one))
        return
    rows = [(str(one.person_id), one.id or "", f"{one.count:,}") for one in found]
    output.table(("cio_id", "id", "count"), rows, right=("count",))


@explain.command("person", cls=Command)
def explain_person(
    value: Value, by: By = None, sync: Sync = None, now: Now = False, store: Store = "default", as_json: Json = False
) -> None:
    """Explain what each sync had to do with a person, and their relationships and devices."""
    _explain(lambda lookup: lookup.person(store, value, by), sync, now=now, as_json=as_json)


@explain.command("object", cls=Command)
def explain_object(
    object_type: Type,
    object_id: Id,
    sync: Sync = None,
    now: Now = False,
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Explain what each sync had to do with an object and the relationships to it."""
    _explain(lambda lookup: lookup.one_object(store, object_type, object_id), sync, now=now, as_json=as_json)


@explain.command("relationship", cls=Command)
def explain_relationship(
    value: Value,
    object_type: Type,
    object_id: Id,
    by: By = None,
    sync: Sync = None,
    now: Now = False,
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Explain what each sync had to do with the relationship of a person to an object."""
    _explain(
        lambda lookup: lookup.relationship(lookup.person(store, value, by), object_type, object_id),
        sync,
        now=now,
        as_json=as_json,
    )


@explain.command("device", cls=Command)
def explain_device(
    value: Value,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The device's push token.")],
    by: By = None,
    sync: Sync = None,
    now: Now = False,
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Explain what each sync had to do with a device of a person."""
    _explain(lambda lookup: lookup.device(lookup.person(store, value, by), token), sync, now=now, as_json=as_json)


@explain.command("event", cls=Command)
def explain_event(
    name: Annotated[str, typer.Argument(help="The name of the event.")],
    key: Annotated[
        str,
        typer.Argument(help="What makes it one event, without its name; several columns: a JSON array."),
    ],
    sync: Sync = None,
    now: Now = False,
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Explain what each sync had to do with an event, and whose it is."""
    _explain(lambda lookup: lookup.event(store, name, key), sync, now=now, as_json=as_json)


@explain.command("collection", cls=Command)
def explain_collection(
    name: Annotated[str, typer.Argument(help="The name of the collection.")],
    key: Annotated[str, typer.Argument(help="The key of the row; several columns: a JSON array.")],
    sync: Sync = None,
    now: Now = False,
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Explain what each sync had to do with a row of a collection."""
    _explain(lambda lookup: lookup.collection(store, name, key), sync, now=now, as_json=as_json)


def _lookup(project: Project) -> Lookup:
    from syncer.sync.lookup import Lookup

    definitions = {definition.name: definition for definition in project.loaded.definitions}
    return Lookup(settings=project.settings, run_log=project.run_log, definitions=definitions)


def _explain(seek: Callable[[Lookup], Sought], sync: str | None, *, now: bool, as_json: bool) -> None:
    from syncer.sync import explaining

    lookup = _lookup(Project())
    found = explaining.explain(lookup, seek(lookup), sync=sync)
    if now:
        from syncer.sync.asking_now import with_now

        found = with_now(lookup.settings, found)
    for row in found.rows:
        if as_json:
            output.json_line(asdict(row))
        else:
            _print_explanation(row)
    for note in found.notes:
        output.remark(note, as_json=as_json)
    is_busy = any(row.busy for row in found.rows)
    raise typer.Exit(0 if found.is_known else IN_PROGRESS if is_busy else FAILED)


def _print_explanation(row: Explanation) -> None:
    output.line(f"{row.sync}{f' {row.key}' if row.key else ''}: {row.summary}")
    if row.rejected is not None:
        output.line(f"  rejected since {output.time_text(row.rejected.since)}")
    sent = row.last_sent
    if sent is not None and (sent.at or sent.run_id):
        by = f" by the run {sent.run_id}" if sent.run_id else ""
        output.line(f"  last sent {output.time_text(sent.at)}{by}: {sent.verdict or 'no answer'}")
    for one in row.attributes:
        held = f", held back for {listed(one.held_back_for)}" if one.held_back_for else ""
        other = f", the store has {json_text(one.stored)}" if one.stands is False else ""
        output.line(f"  {one.attribute}: {json_text(one.sent)}{held}{other}")
    if row.now is not None:
        output.line(f"  now {row.now.summary}")
        for name in row.now.differs:
            output.line(f"  now {name}: {json_text((row.now.values or {})[name])}")


def _show(seek: Callable[[Lookup], Sought], *, as_json: bool) -> None:
    project = Project()
    lookup = _lookup(project)
    sought = seek(lookup)
    found = lookup.look(sought)
    if found.fault is not None:
        raise found.fault
    if as_json:
        named = {"store": sought.store, "entity": sought.entity}
        # `held` is the name that `content` had before; it stays for one release.
        content = {"content": found.content, "held": found.content}
        feeding = [sync.name for sync in found.feeding if sync.target.action is None]
        syncs = {"syncs": feeding, "rejections": [*map(rejection_object, found.rejected)]}
        output.json_line({**named, **content, **syncs})
    else:
        missing = f"The store `{sought.store}` has no such {sought.entity}."
        _print(project, found, missing if found.content is None else json_text(found.content, indent=2))
    raise typer.Exit(FAILED if found.content is None else 0)


def _print(project: Project, found: Stored, content: str) -> None:
    for line in content.split("\n"):
        output.line(line)
    last_status = project.run_log.last_status()
    feeding = [sync.name for sync in found.feeding if sync.target.action is None]
    fed = ", ".join(f"{sync} ({last_status.get(sync, 'never run')})" for sync in feeding)
    output.line(f"Fed by: {fed or 'no sync'}")
    for row in found.rejected:
        times = "once" if row.attempts == 1 else f"{row.attempts} times"
        output.line(f"Rejected by {row.sync}, {times}, last {output.time_text(row.last_seen)}: {row.reason}")
