"""`syncer new`: the file of a new sync, from answers or options."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from syncer.cli import output
from syncer.cli.project import Project
from syncer.model.errors import SelectionError
from syncer.model.spelling import quoted
from syncer.model.types import Entity, ListAction, OnRemoved, Platform


def new(
    name: Annotated[str, typer.Argument(help="The name of the sync, and of its file.")],
    entity: Annotated[
        Entity | None,
        typer.Option(
            "--entity",
            metavar="person|object|relationship|collection|device|merge|event",
            help="What the sync feeds.",
        ),
    ] = None,
    action: Annotated[
        ListAction | None,
        typer.Option("--action", metavar="delete|suppress|unsuppress", help="Makes it a list of people."),
    ] = None,
    table: Annotated[str | None, typer.Option("--from", metavar="TABLE", help="The table that it reads.")] = None,
    person: Annotated[
        str | None,
        typer.Option(
            "--person",
            metavar="id=COLUMN",
            help="What identifies a person: id, email, phone or cio_id. Of people and events also, after a comma, "
            "anonymous=COLUMN: the visitor whom nobody knew yet. Of people by email also previous=COLUMN: the email "
            "that they had before.",
        ),
    ] = None,
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="id=COLUMN", help="Of a merge: what identifies who is kept.")
    ] = None,
    goes: Annotated[
        str | None, typer.Option("--merge", metavar="email=COLUMN", help="Of a merge: what identifies who goes.")
    ] = None,
    thing: Annotated[
        str | None,
        typer.Option("--object", metavar="TYPE=COLUMN", help="An object's type, and the column of its id."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="token=COLUMN,platform=ios|android|COLUMN",
            help="The columns of a device's token and platform, or its platform; and last_used=COLUMN.",
        ),
    ] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", metavar="NAME", help="The collection. Default: the name of the sync.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="COLUMNS", help="The key of a collection, separated by commas.")
    ] = None,
    event: Annotated[
        str | None,
        typer.Option("--event", metavar="NAME", help="The name of the events. Default: the name of the sync."),
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMNS", help="What makes a row one event, separated by commas."),
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="COLUMN", help="The column that says when an event happened.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--start", metavar="all|now|DATE", help="What the first run does with events that are there."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns", metavar="COLUMNS", help="The columns to send, separated by commas. Default: every one."
        ),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", metavar="TEXT", help="When it runs, such as `every 1 hour` or `manual`.")
    ] = None,
    on_removed: Annotated[
        OnRemoved | None,
        typer.Option("--on-removed", metavar="keep|clear|delete", help="What a row means that left the result."),
    ] = None,
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="What it is for.")] = "",
) -> None:
    """Write the file of a new sync; asks for what no option says."""
    project = Project()
    path = _path(project, name)
    if entity is None and action is not None:
        entity = Entity.PERSON
    elif entity is None:
        question = "What does it feed: person, object, relationship, collection, device, merge or event?"
        entity = Entity(_answer("--entity", question, "person"))
    if entity.traits.names_pair:
        target, keys = _pairs(keep, goes)
    else:
        target, keys = _target(
            entity, person=person, thing=thing, device=device, collection=collection or name, key=key
        )
    if entity.traits.happens:
        lines, more = _event(event or name, event_id, time, start)
        target, keys = [*target, *lines], [*keys, *more]
    header = [f"entity: {entity}", *target]
    if action is not None:
        header.append(f"action: {action}")
    if description:
        header.insert(0, f"description: {json.dumps(description, ensure_ascii=False)}")
    if schedule is not None:
        header.append(f"schedule: {_yaml(schedule)}")
    if on_removed is not None:
        header.append(f"on_removed: {on_removed}")
    table = table or _answer("--from", "Which table does it read?", name)
    is_list = action is not None or entity is Entity.MERGE
    sent = [*dict.fromkeys([*keys, *_words(columns)])] if columns else keys if is_list else []
    query = f"SELECT {', '.join(map(_sql, sent)) or '*'}\nFROM {table}"
    _write(project, path, name, "\n".join(["/* sync", *header, "*/", query, ""]))
    output.line(str(path))
    output.line()
    output.line("Look at it, check it against the warehouse, and see what it would send:")
    output.line(f"  syncer validate --connect {name} && syncer plan {name}")


def _target(
    entity: Entity, *, person: str | None, thing: str | None, device: str | None, collection: str, key: str | None
) -> tuple[list[str], list[str]]:
    """The lines of the header that say what the rows are about, and the columns that these name."""
    lines: list[str] = []
    keys: list[str] = []
    if entity.traits.names_person:
        asked = person or _answer("--person", "Which column identifies the person, such as id=user_id?", "id=id")
        named = [_pair("--person", part, "", "id=id") for part in _words(asked)]
        lines.append(f"person: {{{', '.join(f'{kind}: {_yaml(column)}' for kind, column in named)}}}")
        keys += [column for _, column in named]
    if entity.traits.names_object:
        kind, column = _pair("--object", thing, "Which type, and which column has its id, as account=account_id?", "")
        lines.append(f"object: {{type: {_yaml(kind)}, id: {_yaml(column)}}}")
        keys.append(column)
    if entity.traits.names_device:
        line, columns = _device(device)
        lines.append(line)
        keys += columns
    if not entity.traits.merges and not entity.traits.happens:
        keys += _words(key or _answer("--key", "Which columns tell its rows apart?", "id"))
        lines += [f"collection: {_yaml(collection)}", f"key: [{', '.join(map(_yaml, keys))}]"]
    return lines, keys


def _pairs(keep: str | None, goes: str | None) -> tuple[list[str], list[str]]:
    """The same of a merge."""
    kept, column = _pair("--keep", keep, "Which column identifies who is kept, such as id=user_id?", "id=id")
    merged, other = _pair("--merge", goes, "And who goes, such as id=other_id?", "id=other_id")
    return [f"keep: {{{kept}: {_yaml(column)}}}", f"merge: {{{merged}: {_yaml(other)}}}"], [column, other]


def _device(given: str | None) -> tuple[str, list[str]]:
    """The line of the header that says what its rows tell of devices, and its columns."""
    question = "Which columns, as token=push_token,platform=os,last_used=seen_at? A platform may be ios or android."
    default = "token=token,platform=platform"
    parts = _words(given or _answer("--device", question, default))
    named = dict(_pair("--device", part, "", default) for part in parts)
    if not {"token", "platform"} <= named.keys() <= {"token", "platform", "last_used"}:
        raise SelectionError(f"--device should name token, platform and perhaps last_used, such as `{default}`")
    is_same = named["platform"] in set(Platform)
    written = {name: _yaml(column) for name, column in named.items()}
    if not is_same:
        written["platform"] = f"{{column: {written['platform']}}}"
    line = ", ".join(f"{name}: {written[name]}" for name in ("token", "platform", "last_used") if name in written)
    return f"device: {{{line}}}", [column for name, column in named.items() if name != "platform" or not is_same]


def _event(name: str, ids: str | None, time: str | None, start: str | None) -> tuple[list[str], list[str]]:
    """The lines of the header that say what makes rows events, and the columns that they name."""
    keys = _words(ids or _answer("--id", "Which columns make a row one event, for ever?", "id"))
    time = time or _answer("--time", "Which column says when it happened?", "created_at")
    start = start or _answer("--start", "What about the events that are there: all, now (none of them) or a date?", "")
    named = f"name: {_yaml(name)}, id: [{', '.join(map(_yaml, keys))}], time: {_yaml(time)}"
    return [f"event: {{{named}}}", f"start: {start}"], [*keys, time]


def _path(project: Project, name: str) -> Path:
    from syncer.definitions.values import name_fault

    if fault := name_fault(name):
        raise SelectionError(f"a sync cannot be called {quoted(name)}: {fault}")
    path = project.settings.definitions_dir / f"{name}.sql"
    taken = {definition.name: definition.path for definition in project.loaded.definitions}
    taken |= {broken: error.path for broken, error in project.loaded.broken.items()}
    if path.exists() or name in taken:
        raise SelectionError(f"there is a sync `{name}` in {taken.get(name, path)}", hint="Choose another name.")
    return path


def _write(project: Project, path: Path, name: str, text: str) -> None:
    """Write the file, unless `syncer validate` would find an error in it."""
    from syncer.definitions.validation import check_definitions

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SelectionError(f"{path} cannot be written: {error.strerror}") from error
    loaded = project.load()
    _, faults = check_definitions(project.settings, (one for one in loaded.definitions if one.name == name))
    if fault := loaded.broken.get(name) or next(iter(faults), None):
        path.unlink()
        raise SelectionError(f"no file was written: {fault.message}", hint=fault.hint)


def _answer(option: str, question: str, default: str) -> str:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SelectionError(
            f"{option} is missing, and there is no terminal to ask on", hint="See `syncer new --help`."
        )
    return str(typer.prompt(question, default=default or None)).strip()


def _pair(option: str, given: str | None, question: str, default: str) -> tuple[str, str]:
    text = given or _answer(option, question, default)
    kind, equals, column = (part.strip() for part in text.partition("="))
    if not (kind and equals and column):
        raise SelectionError(f"{option} should have two parts, such as `{default or 'account=account_id'}`")
    return kind, column


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _yaml(text: str) -> str:
    """*text* as a value of the header, quoted if YAML may take it for another thing."""
    is_plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_ -]*[A-Za-z0-9_]|[A-Za-z]", text)
    is_word = text.lower() in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
    return text if is_plain and not is_word else json.dumps(text, ensure_ascii=False)


def _sql(column: str) -> str:
    return column if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", column) else '"' + column.replace('"', '""') + '"'
