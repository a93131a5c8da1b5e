"""`/runs`: every run, and one run during and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from syncer.definitions.validation import Explanation, explanation
from syncer.model.types import OPEN, Counts, Run, RunStatus, SyncDefinition
from syncer.service.pool import ActiveRun
from syncer.state.runs import RunLog
from syncer.web.pages import charts
from syncer.web.pages.viewing import TheView, View, back_to
from syncer.web.parameters import TheRun, current
from syncer.web.rendering import Context
from syncer.web.serializers import phase_of

_LISTED_RUNS = 50

#: The phases of a run, as pages call them.
PHASES: Mapping[str, str] = {
    "query": "Reading the result of the query",
    "compare": "Comparing it with what was delivered",
    "journal": "Recording what it is about to send",
    "send": "Sending to the store",
    "settle": "Recording what the store acknowledged",
    "waiting": "Waiting for its turn",
    "stopping": "Stopping after its current batch",
    "elsewhere": "Running in another process",
}

_TILES = ("queried", "unchanged", "accepted", "rejected", "absent")

_WHY_NOT = {
    "rejected": "rejected by the store",
    "absent": "of entities that do not exist",
    "in_doubt": "in doubt, which the next run sends again",
    "not_sent": "not sent",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunList:
    """Runs, newest first, and the URLs of other parts of the list; empty if there is none."""

    runs: Sequence[Run]
    newest: str
    older: str


class RunFilter(BaseModel, frozen=True):
    """Which runs to show; an empty field fits all."""

    sync: str = Field(default="", max_length=63)
    status: str = ""
    before: str = ""


class RunsContext(Context, template="runs.html"):
    """The runs that fit a filter."""

    filter: RunFilter
    listed: RunList
    #: Of the syncs.
    names: Sequence[str]


class RunContext(Context, template="run.html"):
    """One run."""

    run: Run
    #: None if it has ended, or runs in another process.
    active_run: ActiveRun | None
    is_open: bool
    #: Counts of rows, each with its name.
    tiles: Sequence[tuple[str, int]]
    #: Each kind of change, with the rows planned and, once the run has ended, those delivered; empty if none is known.
    rows_by_change: Sequence[tuple[str, int, int | None]]
    #: Why rows were not delivered, with their number.
    why_not: Sequence[tuple[str, int]]
    phases: Mapping[str, str]
    #: One of them, of a run that is open.
    phase: str
    phase_parts: Sequence[tuple[str, float, float, float]]
    #: Whether the definition is unchanged; None if it is gone.
    is_newest_definition: bool | None
    #: When a run was ordered that no worker has begun; None of any other.
    waits_since: datetime | None
    #: Of a run that failed, and whose sync is there still: its definition, and where its query failed.
    definition: SyncDefinition | None
    explained: Explanation | None


@router.get("/runs")
def show_runs(view: TheView, wanted: Annotated[RunFilter, Query()]) -> Response:
    sync = wanted.sync.strip()
    listed = run_list(
        view.service.run_log,
        wanted.before,
        sync=sync,
        statuses=[status for status in RunStatus if status == wanted.status],
        limit=_LISTED_RUNS,
        url=f"/runs?{urlencode({'sync': sync, 'status': wanted.status})}",
    )
    return view.page(RunsContext(filter=wanted, listed=listed, names=list(view.service.catalog.current.definitions)))


def run_list(
    run_log: RunLog,
    before: str,
    *,
    sync: str,
    statuses: Sequence[RunStatus] = (),
    limit: int,
    url: str,
    fragment: str = "",
) -> RunList:
    """Runs of one sync, or of all, that are older than the run *before*; *url* shows the newest of them."""
    found = run_log.recent(sync or None, limit + 1, statuses=statuses, before=before)
    shown = found[:limit]
    older = f"{url}{'&' if '?' in url else '?'}before={shown[-1].id}{fragment}" if len(found) > limit else ""
    return RunList(runs=shown, newest=f"{url}{fragment}" if before else "", older=older)


@router.get("/runs/{run_id}")
def show_run(view: TheView, run: TheRun) -> Response:
    run, active_run = current(view.service, run)
    phase = "elsewhere"
    if active_run is not None:
        phase = "stopping" if active_run.is_stopped else phase_of(active_run)
    definition = view.service.catalog.get(run.sync)
    counts = active_run.progress.counts if active_run else run.counts
    waits_since = run.started_at if run.status is RunStatus.QUEUED and view.service.remote_runs else None
    # What a worker has done so far, it alone knows.
    is_away = run.status in OPEN and bool(run.worker or waits_since)
    is_counted = _did_anything(run, counts) and not is_away
    has_failed = run.status is RunStatus.FAILED and definition is not None
    return view.page(
        RunContext(
            run=run,
            active_run=active_run,
            is_open=run.status in OPEN,
            tiles=[(name, getattr(counts, name)) for name in _tiles(counts)] if is_counted else [],
            rows_by_change=_rows_by_change(run, active_run),
            why_not=[(_WHY_NOT[name], n) for name, n in asdict(run.undelivered).items() if n]
            if run.undelivered
            else [],
            phases=_phases(view, run, active_run),
            phase=phase,
            phase_parts=charts.phase_parts(run.phases),
            is_newest_definition=None if definition is None else definition.hash == run.definition_hash,
            waits_since=waits_since,
            definition=definition if has_failed else None,
            explained=explanation(view.service.settings, definition, run) if has_failed and definition else None,
        )
    )


def _phases(view: View, run: Run, active_run: ActiveRun | None) -> Mapping[str, str]:
    remote = view.service.remote_runs
    if remote is None or not (active_run or run.worker):
        return PHASES
    waits = next((one for one in remote.waiting() if one.run_id == run.id), None)
    words = {"elsewhere": f"Running on worker {run.worker}" if run.worker else "Running on a worker"}
    return {**PHASES, **words, **({"waiting": "Waiting for a worker"} if waits and waits.is_due else {})}


def _tiles(counts: Counts) -> tuple[str, ...]:
    return (*_TILES, *(name for name in ("altered", "merged") if getattr(counts, name)))


def _did_anything(run: Run, counts: Counts) -> bool:
    """Whether it makes sense to count rows: a run that failed at its query has none."""
    return run.status is not RunStatus.FAILED or any(asdict(counts).values())


def _rows_by_change(run: Run, active_run: ActiveRun | None) -> list[tuple[str, int, int | None]]:
    planned, delivered = active_run.progress.delivery.planned if active_run else run.planned, run.delivered
    if not planned.total:
        return []
    return [
        (name, rows, getattr(delivered, name) if delivered else None) for name, rows in asdict(planned).items() if rows
    ]


def _why_not(run: Run) -> list[tuple[str, int]]:
    found = asdict(run.undelivered) if run.undelivered else {}
    return [(_WHY_NOT[name], rows) for name, rows in found.items() if rows]


@router.post("/runs/{run_id}/cancel")
def cancel_run(view: TheView, run: TheRun) -> Response:
    view.actions.cancel(view.caller, run)
    return back_to(f"/runs/{run.id}", "stopping")
