"""`/runs`: every run, and one run while it goes on and after."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from syncer.model.types import Run, RunStatus
from syncer.service.active_runs import ActiveRun
from syncer.web.auth.principals import caller
from syncer.web.pages import charts
from syncer.web.pages.viewing import Pages, back_to
from syncer.web.problems import ProblemError

_LISTED_RUNS = 50

#: The phases of a run, as pages call them.
PHASES: Mapping[str, str] = {
    "query": "Reads the query's result",
    "compare": "Compares it with what was delivered",
    "journal": "Writes down what will be sent",
    "send": "Sends to the store",
    "settle": "Settles what was acknowledged",
    "waiting": "Waits for its turn",
    "stopping": "Ends after the batch in hand",
    "elsewhere": "Goes on in another process",
}


def add(routes: APIRouter, pages: Pages) -> None:
    """Add the routes."""
    service = pages.service

    @routes.get("/runs")
    def index(
        request: Request,
        sync: Annotated[str, Query(max_length=63)] = "",
        status: str = "",
        before: str = "",
    ) -> Response:
        wanted = {"sync": sync.strip(), "status": status}
        runs = service.run_log.page(
            wanted["sync"] or None, status=_status(status), before=before, limit=_LISTED_RUNS + 1
        )
        shown = runs[:_LISTED_RUNS]
        return pages.page(
            request,
            "runs.html",
            wanted=wanted,
            runs=shown,
            names=list(service.catalog.edition.definitions),
            older=f"/runs?{urlencode({**wanted, 'before': shown[-1].id})}" if len(runs) > len(shown) else "",
            newest=f"/runs?{urlencode(wanted)}" if before else "",
        )

    @routes.get("/runs/{run_id}")
    def show(request: Request, run_id: str) -> Response:
        live = service.live(run_id)
        run = _run(pages, run_id)
        definition = service.catalog.get(run.sync)
        is_open = run.status is RunStatus.RUNNING
        return pages.page(
            request,
            "run.html",
            run=run,
            live=live if is_open else None,
            is_open=is_open,
            counts=asdict(live.progress.counts if live is not None and is_open else run.counts),
            phases=PHASES,
            phase=_phase(live),
            phase_parts=charts.of_phases(run.phases),
            is_newest_definition=None if definition is None else definition.hash == run.definition_hash,
        )

    @routes.post("/runs/{run_id}/cancel")
    def cancel(request: Request, run_id: str) -> Response:
        run = _run(pages, run_id)
        pages.orders.cancel(caller(request), run)
        return back_to(f"/runs/{run.id}", "stopping")


def _run(pages: Pages, run_id: str) -> Run:
    found = pages.service.run_log.get(run_id)
    if found is None:
        raise ProblemError(404, "there is no such run", hint="The run log may be a new one.")
    return found


def _phase(live: ActiveRun | None) -> str:
    """Which of PHASES a run is in that has not ended."""
    if live is None:
        return "elsewhere"
    if live.is_stopped:
        return "stopping"
    return live.progress.phase or "query" if live.began_at else "waiting"


def _status(text: str) -> RunStatus | None:
    with suppress(ValueError):
        return RunStatus(text)
    return None
