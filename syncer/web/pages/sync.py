"""`/syncs/{name}`: one sync, its plan, and what people can do with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from syncer.definitions.columns import attribute_columns
from syncer.definitions.conflicts import written_attributes
from syncer.model.errors import SyncerError
from syncer.model.json_text import differing
from syncer.model.types import CONCLUSIVE, Run, RunOutcome, SyncDefinition
from syncer.service.status import SyncStatus
from syncer.state.alerts import Mute, Mutes
from syncer.state.rejections import RejectionGroup, Rejections
from syncer.sync.plans import KeptPlan, Plan
from syncer.web.pages import charts
from syncer.web.pages.charts import Chart
from syncer.web.pages.provenance import Commit, commit_of
from syncer.web.pages.runs import RunList, run_list
from syncer.web.pages.viewing import TheView, View, back_to
from syncer.web.problems import ProblemError, problem_of
from syncer.web.rendering import Context
from syncer.web.requests import RunRequest

#: Runs in the charts, and in the list of a page.
_DRAWN_RUNS = 60
_LISTED_RUNS = 10

#: Places in a chart, also if there are fewer runs.
_LEAST_SLOTS = 20

_LISTED_REASONS = 5

#: Rows of each kind of change in a plan, and characters of a value in it.
_SAMPLE_ROWS = 20
_VALUE_LENGTH = 300

router = APIRouter(include_in_schema=False)


class SyncContext(Context, template="sync.html"):
    """One sync."""

    status: SyncStatus
    #: The newest run that was not skipped.
    last: Run | None
    #: The path of the definition.
    file: str
    commit: Commit | None
    #: Each column of the result with the attribute it feeds; None if only the warehouse knows them.
    columns: Sequence[tuple[str, str]] | None
    #: Until when nobody gets a notice of it, and who wanted that; None if it is not muted.
    muted: Mute | None
    #: Why rows are rejected, the most frequent ones, and how many more reasons there are.
    reasons: Sequence[RejectionGroup]
    more_reasons: int
    listed: RunList
    #: The runs in the charts, newest first.
    drawn: Sequence[RunOutcome]
    counts: Chart
    rejections: Chart
    durations: Chart


class FullRunContext(Context, template="full.html"):
    """The question whether to send every row again."""

    definition: SyncDefinition
    #: Rows that the newest run read; 0 if unknown.
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """The rows of a plan with one kind of change."""

    change: str
    total: int
    #: A sample of them: the key, and each attribute with its old and new value as JSON. Of a list, what the store has.
    sample: Sequence[tuple[str, Sequence[tuple[str, str, str]]]]


class PlanContext(Context, template="plan.html"):
    """What a run would do."""

    definition: SyncDefinition
    plan: Plan
    kept: KeptPlan
    #: Of the rows that would be rejected, a sample: keys and reasons.
    refused: Sequence[tuple[str, str]]
    counts: dict[str, int]
    changes: Sequence[PlannedChange]


class PlanFailedContext(Context, template="plan_failed.html"):
    """Why there is no plan."""

    definition: SyncDefinition
    problem: ProblemError


@router.get("/syncs/{name}")
def show_sync(
    view: TheView,
    name: str,
    before: str = "",
) -> Response:
    status, run_log = view.service.status(name), view.service.run_log
    reasons = Rejections(run_log.database).groups(name, now=view.service.now()) if status.rejected else []
    drawn = run_log.outcomes([name], _DRAWN_RUNS).get(name, ())
    slots = max(len(drawn), _LEAST_SLOTS)
    return view.page(
        SyncContext(
            status=status,
            last=run_log.last_runs([name]).get(name),
            file=view.relative(status.definition.path),
            commit=commit_of(status.definition.path),
            columns=_columns(status.definition),
            muted=Mutes(run_log.database).current(view.service.now()).get(name),
            reasons=reasons[:_LISTED_REASONS],
            more_reasons=len(reasons[_LISTED_REASONS:]),
            listed=run_list(run_log, before, sync=name, limit=_LISTED_RUNS, url=f"/syncs/{name}", fragment="#runs"),
            drawn=drawn,
            counts=charts.counts_chart(drawn, slots),
            rejections=charts.rejections_chart(drawn, slots),
            durations=charts.durations_chart(drawn, slots),
        )
    )


@router.get("/syncs/{name}/full")
def confirm_full_run(view: TheView, name: str) -> Response:
    definition = view.service.definition(name)
    newest = view.service.run_log.recent(name, limit=_LISTED_RUNS, statuses=CONCLUSIVE)
    rows = next((run.counts.queried for run in newest if run.counts.queried), 0)
    return view.page(FullRunContext(definition=definition, rows=rows))


@router.post("/syncs/{name}/run")
def run_sync(
    view: TheView,
    name: str,
    full: Annotated[bool, Form()] = False,
    allow_limits: Annotated[bool, Form()] = False,
    allow_clock: Annotated[bool, Form()] = False,
    plan: Annotated[str, Form(max_length=100)] = "",
    deletions: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    if plan and (rows := view.service.plans.find(plan, name).deletions) != _number(deletions) and rows:
        raise ProblemError(422, f"this plan deletes {rows:,} rows", hint=f"Go back, and type {rows:,} to confirm that.")
    request = RunRequest(full=full, allow_limits=allow_limits, allow_clock=allow_clock, plan=plan)
    try:
        run_id = view.actions.run(view.caller, name, request)
    except ProblemError as exc:
        if exc.run_id is None:
            raise
        return back_to(f"/runs/{exc.run_id}", "already")
    return back_to(f"/runs/{run_id}", "started")


@router.post("/syncs/{name}/pause")
def pause_sync(view: TheView, name: str) -> Response:
    view.actions.pause(view.caller, name)
    return back_to(f"/syncs/{name}", "paused")


@router.post("/syncs/{name}/resume")
def resume_sync(view: TheView, name: str) -> Response:
    view.actions.resume(view.caller, name)
    return back_to(f"/syncs/{name}", "resumed")


@router.post("/syncs/{name}/mute")
def mute_sync(
    view: TheView,
    name: str,
    why: Annotated[str, Form(min_length=1, max_length=500)],
    hours: Annotated[int, Form(ge=1, le=8_760)] = 24,
) -> Response:
    view.service.definition(name)
    view.actions.mute(view.caller, name, why, view.service.now() + timedelta(hours=hours))
    return back_to(f"/syncs/{name}", "muted")


@router.post("/syncs/{name}/unmute")
def unmute_sync(view: TheView, name: str) -> Response:
    view.service.definition(name)
    view.actions.unmute(view.caller, name)
    return back_to(f"/syncs/{name}", "unmuted")


@router.post("/syncs/{name}/plan")
async def plan_sync(view: TheView, name: str) -> Response:
    definition = view.service.definition(name)
    try:
        plan = await view.actions.plan(view.caller, name, _SAMPLE_ROWS, keep=True)
    except SyncerError as exc:
        problem = problem_of(exc)
        return view.page(PlanFailedContext(definition=definition, problem=problem), status=problem.status)
    return await run_in_threadpool(_plan_page, view, definition, plan)


def _number(text: str) -> int | None:
    digits = text.replace(",", "").strip()
    return int(digits) if digits.isdecimal() else None


def _plan_page(view: View, definition: SyncDefinition, plan: Plan) -> Response:
    counts = {name: count for name, count in asdict(plan.counts).items() if name not in ("accepted", "absent")}
    sample = plan.sample
    if definition.target.action is not None:
        # What people become is said once, above them.
        sample = [(change, key, before, None) for change, key, before, _ in sample]
    changes = [
        PlannedChange(
            change=change,
            total=counts[change],
            sample=[
                (key, [(name, _cut(old), _cut(new)) for name, old, new in differing(before, after)])
                for of, key, before, after in sample
                if of == change
            ],
        )
        for change in ("added", "changed", "removed")
        if counts[change]
    ]
    assert plan.kept is not None
    refused = plan.would_reject[:_SAMPLE_ROWS]
    return view.page(
        PlanContext(definition=definition, plan=plan, kept=plan.kept, refused=refused, counts=counts, changes=changes)
    )


def _cut(value: str) -> str:
    return value if len(value) <= _VALUE_LENGTH else f"{value[:_VALUE_LENGTH]}… ({len(value):,} characters)"


def _columns(sync: SyncDefinition) -> list[tuple[str, str]] | None:
    keys = sync.target.key_columns if sync.target.entity.traits.merges else ()
    identifiers = [(column, "identifier") for column in keys]
    if sync.attributes is not None:
        names = (*sync.target.key_columns, *sync.attributes.values())
        return identifiers + [(column, attribute) for attribute, column in attribute_columns(sync, names).items()]
    attributes = written_attributes(sync, None)
    return None if attributes is None else identifiers + [(name, name) for name in attributes]
