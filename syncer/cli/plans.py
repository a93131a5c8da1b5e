"""`syncer plan`, and `syncer plans`: those that are kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Exclude, Json, Select
from syncer.cli.exit_codes import CODES, Outcome, outcome_of
from syncer.cli.project import Project, now, print_definition_errors
from syncer.model.errors import SelectionError, SyncerError
from syncer.model.json_text import differing, json_text
from syncer.model.types import Counts, ListAction, OnRemoved, SyncDefinition

if TYPE_CHECKING:
    from syncer.sync.flow import SyncRun
    from syncer.sync.plans import KeptPlan, Plan

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
    everything: Annotated[bool, typer.Option("--all", help="Show all rows in place of a sample.")] = False,
    search: Annotated[
        str, typer.Option("--search", metavar="TEXT", help="Show rows whose key or values contain this text.")
    ] = "",
    save: Annotated[bool, typer.Option("--save", help="Keep the plan, for `syncer run NAME --plan ID`.")] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", resolve_path=True, help="Write all rows to a .csv or .jsonl file."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a run would send, without sending it."""
    if not select:
        raise SelectionError("nothing is selected", hint="Name the syncs to plan, such as `syncer plan customers`.")
    if export is not None and export.suffix not in (".csv", ".jsonl"):
        raise SelectionError("--export writes a .csv or a .jsonl file", hint="Name the file so.")
    project = Project()
    selected = project.select(select, exclude or [])
    print_definition_errors(selected.errors)
    from syncer.definitions.folder import in_dependency_order

    if export is not None and len(selected.definitions) > 1:
        raise SelectionError("--export takes one sync, and several are selected", hint="Name the sync to export.")
    wanted = _Wanted(rows=None if everything else rows, search=search, save=save, export=export)
    outcomes = [Outcome.UNUSABLE if selected.errors else Outcome.WELL]
    for place, definition in enumerate(in_dependency_order(selected.definitions)):
        if place and not as_json:
            output.line()
        outcomes.append(_plan_one(project, definition, wanted, as_json=as_json))
    raise typer.Exit(CODES[max(outcomes)])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is wanted of each plan."""

    #: Of each kind of change; None for all.
    rows: int | None
    search: str
    save: bool
    export: Path | None

    def of(self, project: Project, run: SyncRun, plan: Plan) -> Plan:
        """The plan with what is wanted of it."""
        from syncer.snapshot import change_set
        from syncer.sync import plans
        from syncer.sync.kept_plans import KeptPlans

        if self.rows is None or self.search:
            sample = change_set.found(plan.difference, self.search, self.rows)
            plan = replace(plan, sample=plans.shown(run, sample))
        if self.export is not None:
            try:
                change_set.export(plan.difference, self.export)
            except OSError as exc:
                raise SelectionError(f"{self.export} cannot be written: {exc.strerror}") from None
        return KeptPlans.of(project.settings, now, lambda: project.database).keep(run, plan) if self.save else plan


def list_plans(as_json: Json = False) -> None:
    """Show the plans that are kept, newest first."""
    from syncer.sync.kept_plans import KeptPlans

    project = Project()
    plans = KeptPlans.of(project.settings, now, lambda: project.database).all()
    if as_json:
        for plan in plans:
            counts = {"planned": asdict(plan.planned), "held": plan.held, "used_by": plan.used_by or None}
            output.json_line({**_kept(plan), "sync": plan.sync, "created_at": plan.created_at} | counts)
    elif not plans:
        output.line("No plan is kept; `syncer plan NAME --save` keeps one.")
    else:
        headings = ("plan", "sync", "expires", "added", "changed", "removed", "resent", "used by")
        rows = [
            (
                *(plan.plan_id, plan.sync, output.time_text(plan.expires_at)),
                *map(str, asdict(plan.planned).values()),
                plan.used_by,
            )
            for plan in plans
        ]
        output.table(headings, rows, right=headings[3:7])


def _kept(plan: KeptPlan) -> dict[str, object]:
    return {"plan_id": plan.plan_id, "expires_at": plan.expires_at}


def _plan_one(project: Project, definition: SyncDefinition, wanted: _Wanted, *, as_json: bool) -> Outcome:
    from syncer.sync.progress import Progress

    progress = Progress()
    is_plain = wanted == _Wanted(rows=wanted.rows, search="", save=False, export=None) and wanted.rows is not None
    try:
        with output.progress_shown(progress, definition.name):
            found = project.runner.plan(
                definition,
                progress=progress,
                sample_rows=wanted.rows or 0,
                also=lambda run, plan: plan if is_plain else wanted.of(project, run, plan),
            )
    except SyncerError as exc:
        output.sync_problem("error", definition.name, str(exc), exc.hint)
        return outcome_of(exc)
    if as_json:
        _print_json(definition, progress.counts, found)
    else:
        _print(definition, progress.counts, found, wanted.rows)
    if found.held:
        return Outcome.HELD
    return Outcome.ROWS_REJECTED if found.staged.quarantined else Outcome.WELL


def _print_json(definition: SyncDefinition, counts: Counts, plan: Plan) -> None:
    known = {"attributes": plan.attributes, "held": plan.held, "notes": plan.notes}
    rejections = [{"key": key, "reason": reason} for key, reason in plan.would_reject]
    kept = _kept(plan.kept) if plan.kept else {}
    whole = json_text({"sync": definition.name, **kept, **asdict(counts), **known, "would_reject": rejections})
    # The values are JSON already, and stay as they are to the last digit.
    sample = ", ".join(
        f'{{"change": {json.dumps(change)}, "key": {json.dumps(key, ensure_ascii=False)}, '
        f'"before": {before or "null"}, "after": {after or "null"}}}'
        for change, key, before, after in plan.sample
    )
    output.raw_json_line(f'{whole[:-1]}, "sample": [{sample}]}}')


def _print(definition: SyncDefinition, counts: Counts, plan: Plan, sample_rows: int | None) -> None:
    numbers = {name: number for name, number in asdict(counts).items() if name not in ("accepted", "absent", "merged")}
    shown = {name: number for name, number in numbers.items() if number or name not in ("rejected", "altered")}
    counted = ", ".join(f"{number:,} {name}" for name, number in shown.items())
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
    for change in ("added", "changed", "removed", "resent", "altered"):
        sample = [(key, before, after) for sort, key, before, after in plan.sample if sort == change]
        if sample:
            total = numbers.get(change, len(sample))
            part = f", {len(sample)} of {total:,}" if len(sample) < total else ""
            output.line()
            output.line(f"  {change}{part}{_meaning(definition, change)}")
        for row_key, before, after in sample:
            output.line(f"    {key} {row_key}")
            for text in _values(change, before, after, definition.target.action):
                output.line(f"      {text}")
    _print_rejections(plan, key, sample_rows)
    if plan.kept:
        output.line()
        output.line(f"Saved as {plan.kept.plan_id}, until {output.time_text(plan.kept.expires_at)}.")
        output.line(f"`syncer run {definition.name} --plan {plan.kept.plan_id}` sends exactly this.")


def _print_rejections(plan: Plan, key: str, rows: int | None) -> None:
    if plan.would_reject:
        shown = plan.would_reject[:rows]
        part = f", {len(shown)} of {plan.would_reject_rows:,}" if len(shown) < plan.would_reject_rows else ""
        output.line()
        output.line(f"  would be rejected{part}")
        for row_key, reason in shown:
            output.line(f"    {f'{key} {row_key}' if row_key else 'a row without a key'}: {reason}")


def _values(change: str, before: str | None, after: str | None, action: ListAction | None) -> list[str]:
    """The lines of one row, below its key."""
    if action is not None:
        return [f"{_shown(before)} → {action.done}"] if before else []
    if change == "removed":
        return []
    from syncer.definitions.columns import FORMER_EMAIL

    differences = differing(before, after)
    if change in ("added", "altered"):
        return [
            f"moves from {new}" if name == FORMER_EMAIL else f"{name}: {_shown(new)}" for name, _, new in differences
        ]
    return [f"{name}: {_shown(old)} → {_shown(new)}" for name, old, new in differences]


def _meaning(definition: SyncDefinition, change: str) -> str:
    """What becomes of rows with a change that says it in no other way, after a colon."""
    action = definition.target.action
    if change == "altered":
        return ": sent before, and not sent again"
    if change != "removed":
        return f": {action.done}" if action else ""
    if action:
        return ": they left the list, which does nothing"
    if definition.incremental:
        return ": kept in the store"
    return ": " + (_REMOVED[definition.on_removed] if definition.target.entity.traits.merges else "dropped")


def _shown(value: str) -> str:
    if output.is_terminal() and len(value) > _SHOWN:
        return f"{value[:_SHOWN]}… ({len(value):,} characters)"
    return value
