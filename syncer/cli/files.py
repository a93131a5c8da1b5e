"""`syncer init`, `list` and `schema`: the folder of definitions."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from syncer.cli import output
from syncer.cli.arguments import Exclude, Json, Select
from syncer.cli.exit_codes import UNUSABLE
from syncer.cli.project import Project, now, print_definition_errors
from syncer.model.json_text import json_text
from syncer.model.types import Every, SyncDefinition


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to write to. Default: the working folder.")
    ] = Path(),
    warehouse: Annotated[
        str, typer.Option("--warehouse", metavar="URL", help="Write a project for this warehouse, without examples.")
    ] = "",
) -> None:
    """Write example definitions and sample data, or a project for a warehouse."""
    from syncer.starter import write_project, write_starter

    for path in write_project(folder, warehouse) if warehouse else write_starter(folder):
        output.line(str(path))
    output.line()
    then = "syncer connections --test && syncer new NAME" if warehouse else "syncer run --all"
    output.line("Now test the connection, and write a sync:" if warehouse else "Now run them all:")
    output.line(f"  {then}" if folder.resolve() == Path.cwd() else f"  cd {folder} && {then}")


def list_syncs(select: Select = None, exclude: Exclude = None, as_json: Json = False) -> None:
    """Show the syncs with their schedule and last run."""
    from syncer.service.health import NEVER_RUN, health

    project = Project()
    selected = project.select(select or [], exclude or [])
    last_status, paused = project.run_log.last_status(), project.run_log.paused()
    names = [definition.name for definition in selected.definitions]
    answered, latest = project.run_log.last_due(names, until=now()), project.run_log.latest(names)
    promised = {name: each.since for name, each in project.run_log.promises(names).items() if not each.at_once}
    grace = timedelta(seconds=project.settings.alerts.late)
    refused = project.run_log.rejection_totals(now())
    rows = []
    for definition in selected.definitions:
        name = definition.name
        run = latest[name].last if name in latest else None
        started = run.started_at if run else None
        rows_rejected, known = refused.get(name, (0, 0))
        last = max(filter(None, [started, answered.get(name), promised.get(name)]), default=None)
        found = {
            **_described(definition),
            "paused": name in paused,
            "next_run": None if name in paused else _due(definition, last),
            "last_run": started,
            "last_status": last_status.get(name),
            "health": health(
                definition,
                latest.get(name, NEVER_RUN),
                rejected=rows_rejected - known,
                paused=name in paused,
                grace=grace,
                now=now(),
            ),
        }
        if as_json:
            output.json_line(found)
        rows.append(_row(definition, found))
    if rows and not as_json:
        output.table(("sync", "entity", "health", "schedule", "next run", "last run", "status", "description"), rows)
    elif not as_json and not (select or exclude):
        output.line(f"No sync definition in {project.settings.definitions_dir}; `syncer init` writes examples.")
    print_definition_errors(selected.errors)
    raise typer.Exit(UNUSABLE if selected.errors else 0)


class SchemaOf(enum.StrEnum):
    """What editors can check by a JSON Schema."""

    HEADER = "header"
    ATTRIBUTES = "attributes"


def schema(
    of: Annotated[
        SchemaOf, typer.Argument(metavar="header|attributes", help="The header of a sync, or attributes.yml.")
    ] = SchemaOf.HEADER,
) -> None:
    """Print the JSON Schema of the header, or of attributes.yml."""
    from syncer.definitions import json_schema

    found = json_schema.schema() if of is SchemaOf.HEADER else json_schema.attributes_schema()
    print(json_text(found, indent=2))


def _due(definition: SyncDefinition, last: datetime | None) -> datetime | None:
    """When the run after the last one is due; in the past if it is late, None if the schedule never runs it."""
    from syncer.definitions import schedules

    if not definition.enabled:
        return None
    if last is None and isinstance(definition.schedule, Every):
        return now()
    return schedules.next_run_at(definition.schedule, after=last or now())


def _described(definition: SyncDefinition) -> dict[str, Any]:
    from syncer.definitions import schedules

    return {
        "sync": definition.name,
        "entity": definition.target.entity,
        "description": definition.description,
        "owner": definition.owner,
        "tags": definition.tags,
        "warehouse": definition.warehouse,
        "store": definition.store,
        "file": str(definition.path),
        "schedule": schedules.text(definition.schedule),
        "queue": definition.queue,
        "priority": definition.priority,
        "enabled": definition.enabled,
    }


def _row(definition: SyncDefinition, found: Mapping[str, Any]) -> tuple[str, ...]:
    from syncer.definitions import schedules

    due = found["next_run"]
    if found["paused"] or not definition.enabled:
        due_text = "paused" if found["paused"] else "not enabled"
    else:
        due_text = "due" if due is not None and due <= now() else output.time_text(due)
    times = due_text, output.time_text(found["last_run"])
    schedule, status = schedules.words(definition.schedule), found["last_status"] or ""
    entity, health = definition.target.entity, found["health"]
    return definition.name, entity, health, schedule, *times, status, definition.description
