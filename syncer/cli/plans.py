"""`syncer plan`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Exclude, Json, Select
from syncer.cli.exit_codes import CODES, Outcome, outcome_of
from syncer.cli.project import Project, print_definition_errors
from syncer.model.errors import SelectionError, SyncerError
from syncer.model.json_text import differing, json_text
from syncer.model.types import Counts, OnRemoved, SyncDefinition

if TYPE_CHECKING:
    from syncer.sync.plans import Plan

#: Characters of a value beyond which a terminal shows no more.
_SHOWN = 200

_REMOVED = {
    OnRemoved.KEEP: "kept in the store",
    OnRemoved.CLEAR: "its attributes are cleared",
    OnRemoved.DELETE: "deleted",
}


def plan(
    select: Select = None,
    exclude: Exclude = None,
    rows: Annotated[int, typer.Option(min=0, metavar="N", help="Sample rows for each kind of change.")] = 5,
    as_json: Json = False,
) -> None:
    """Show what a run would send, without sending it."""
    if not select:
        raise SelectionError("nothing is selected", hint="Name the syncs to plan, such as `syncer plan customers`.")
    project = Project()
    selected = project.select(select, exclude or [])
    print_definition_errors(selected.errors)
    from syncer.definitions.folder import in_dependency_order

    outcomes = [Outcome.UNUSABLE if selected.errors else Outcome.WELL]
    for place, definition in enumerate(in_dependency_order(selected.definitions)):
        if place and not as_json:
            output.line()
        outcomes.append(_plan_one(project, definition, rows, as_json=as_json))
    raise typer.Exit(CODES[max(outcomes)])


def _plan_one(project: Project, definition: SyncDefinition, rows: int, *, as_json: bool) -> Outcome:
    from syncer.sync.progress import Progress

    progress = Progress()
    try:
        with output.progress_shown(progress, definition.name):
            found = project.runner.plan(definition, progress=progress, sample_rows=rows)
    except SyncerError as exc:
        output.sync_problem("error", definition.name, str(exc), exc.hint)
        return outcome_of(exc)
    if as_json:
        _print_json(definition, progress.counts, found)
    else:
        _print(definition, progress.counts, found)
    if found.held:
        return Outcome.HELD
    return Outcome.ROWS_REJECTED if found.staged.quarantined else Outcome.WELL


def _print_json(definition: SyncDefinition, counts: Counts, plan: Plan) -> None:
    known = {"attributes": plan.attributes, "held": plan.held, "notes": plan.notes}
    whole = json_text({"sync": definition.name, **asdict(counts), **known})
    # The values are JSON already, and stay as they are to the last digit.
    sample = ", ".join(
        f'{{"change": {json.dumps(change)}, "key": {json.dumps(key, ensure_ascii=False)}, '
        f'"before": {before or "null"}, "after": {after or "null"}}}'
        for change, key, before, after in plan.sample
    )
    output.raw_json_line(f'{whole[:-1]}, "sample": [{sample}]}}')


def _print(definition: SyncDefinition, counts: Counts, plan: Plan) -> None:
    numbers = {name: number for name, number in asdict(counts).items() if name not in ("accepted", "absent")}
    counted = ", ".join(f"{number:,} {name}" for name, number in numbers.items() if number or name != "rejected")
    output.line(f"{definition.name}: {counted}")
    for note in plan.notes:
        output.line(f"  note: {note}")
    for reason in plan.held:
        output.line(f"  held: {reason}")
    if plan.attributes:
        output.line()
        output.table(
            ("  attribute", "changed in rows"),
            [(f"  {name}", f"{rows:,}") for name, rows in plan.attributes.items()],
            right=("changed in rows",),
        )
    columns = definition.target.key_columns
    key = columns[0] if len(columns) == 1 else f"[{', '.join(columns)}]"
    for change in ("added", "changed", "removed"):
        sample = [(key, before, after) for sort, key, before, after in plan.sample if sort == change]
        if sample:
            total = numbers[change]
            part = f", {len(sample)} of {total:,}" if len(sample) < total else ""
            output.line()
            output.line(f"  {change}{part}" + (f": {_removal(definition)}" if change == "removed" else ""))
        for row_key, before, after in sample:
            output.line(f"    {key} {row_key}")
            for text in _values(change, before, after):
                output.line(f"      {text}")


def _values(change: str, before: str | None, after: str | None) -> list[str]:
    """The lines of one row, below its key."""
    if change == "removed":
        return []
    differences = differing(before, after)
    if change == "added":
        return [f"{name}: {_shown(new)}" for name, _, new in differences]
    return [f"{name}: {_shown(old)} → {_shown(new)}" for name, old, new in differences]


def _removal(definition: SyncDefinition) -> str:
    if definition.incremental:
        return "kept in the store"
    return _REMOVED[definition.on_removed] if definition.target.entity.traits.merges else "dropped"


def _shown(value: str) -> str:
    if output.is_terminal() and len(value) > _SHOWN:
        return f"{value[:_SHOWN]}… ({len(value):,} characters)"
    return value
