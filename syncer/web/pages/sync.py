"""`/syncs/{name}`: one sync, what it would do, and orders for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from syncer.definitions.columns import attribute_columns
from syncer.definitions.conflicts import written_attributes
from syncer.model.errors import SyncerError
from syncer.model.types import Rejection, SyncDefinition
from syncer.sync.plans import Plan
from syncer.web.auth.principals import caller
from syncer.web.pages import charts, plans
from syncer.web.pages.viewing import Pages, back_to
from syncer.web.problems import ProblemError, problem_of
from syncer.web.schemas import RunRequest

#: Runs in the charts, and in the list of a page.
_DRAWN_RUNS = 60
_LISTED_RUNS = 10

#: Places in a chart, also where there are fewer runs.
_LEAST_SLOTS = 20

_LISTED_REJECTIONS = 10

#: Rows of each sort of change.
_SAMPLE_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A page of the rows that a sync has refused now."""

    #: What they have in their key or reason; empty for all.
    key: str
    rows: list[Rejection]
    #: The place of the first and the last of them, counted from 1, and how many fit.
    first: int
    last: int
    matching: int
    #: Rows that the run log only counts.
    unkept: int
    previous: str | None
    next: str | None


def add(routes: APIRouter, pages: Pages) -> None:
    """Add the routes."""
    _add_views(routes, pages)
    _add_orders(routes, pages)


def _add_views(routes: APIRouter, pages: Pages) -> None:
    @routes.get("/syncs/{name}")
    def show(
        request: Request,
        name: str,
        before: str = "",
        key: Annotated[str, Query(max_length=500)] = "",
        skip: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        standing = pages.service.status(name)
        run_log, sync = pages.service.run_log, standing.definition
        drawn = run_log.outcomes([name], _DRAWN_RUNS).get(name, [])
        runs = run_log.page(name, before=before, limit=_LISTED_RUNS + 1)
        slots = max(len(drawn), _LEAST_SLOTS)
        listed = runs[:_LISTED_RUNS]
        return pages.page(
            request,
            "sync.html",
            sync=sync,
            standing=standing,
            refused=_refused(pages, name, key, skip),
            counts=charts.of_counts(drawn, slots=slots),
            rejections=charts.of_rejections(drawn, slots=slots),
            durations=charts.of_durations(drawn, slots=slots),
            runs=listed,
            older=f"/syncs/{name}?{urlencode({'before': listed[-1].id})}#runs" if len(runs) > len(listed) else "",
            newest=f"/syncs/{name}#runs" if before else "",
            columns=_columns(sync),
            commit=pages.provenance.of(sync.path),
        )

    @routes.get("/syncs/{name}/full")
    def confirm_full_run(request: Request, name: str) -> Response:
        sync = pages.service.definition(name)
        newest = pages.service.run_log.page(name, limit=_LISTED_RUNS)
        known = next((run.counts.queried for run in newest if run.counts.queried), 0)
        return pages.page(request, "full.html", sync=sync, known=known)


def _add_orders(routes: APIRouter, pages: Pages) -> None:
    orders = pages.orders

    @routes.post("/syncs/{name}/run")
    def run(
        request: Request,
        name: str,
        full: Annotated[bool, Form()] = False,
        allow_limits: Annotated[bool, Form()] = False,
    ) -> Response:
        try:
            run_id = orders.run(caller(request), name, RunRequest(full=full, allow_limits=allow_limits))
        except ProblemError as exc:
            if exc.run_id is None:
                raise
            return back_to(f"/runs/{exc.run_id}", "already")
        return back_to(f"/runs/{run_id}", "started")

    @routes.post("/syncs/{name}/pause")
    def pause(request: Request, name: str, to: Annotated[str, Form()] = "") -> Response:
        orders.pause(caller(request), name)
        return back_to("/" if to == "syncs" else f"/syncs/{name}", "paused")

    @routes.post("/syncs/{name}/resume")
    def resume(request: Request, name: str, to: Annotated[str, Form()] = "") -> Response:
        orders.resume(caller(request), name)
        return back_to("/" if to == "syncs" else f"/syncs/{name}", "resumed")

    @routes.post("/syncs/{name}/plan")
    async def plan(request: Request, name: str) -> Response:
        sync = pages.service.definition(name)
        try:
            found = await orders.plan(caller(request), name, _SAMPLE_ROWS)
        except SyncerError as exc:
            problem = problem_of(exc)
            return pages.page(request, "plan_failed.html", status=problem.status, sync=sync, problem=problem)
        return await run_in_threadpool(pages.page, request, "plan.html", sync=sync, **_planned(sync, found))


def _planned(sync: SyncDefinition, found: Plan) -> dict[str, Any]:
    counts = plans.counts(found)
    keys = sync.target.key_columns
    return {"plan": found, "counts": counts, "parts": plans.parts(found, counts), "key_name": ", ".join(keys)}


def _refused(pages: Pages, name: str, key: str, skip: int) -> Refused:
    rows, total = pages.service.run_log.rejections(name)
    wanted = key.strip().casefold()
    fitting = [row for row in rows if wanted in row.key.casefold() or wanted in row.reason.casefold()]
    shown = fitting[skip : skip + _LISTED_REJECTIONS]

    def address(skipped: int) -> str:
        return f"/syncs/{name}?{urlencode({'key': key, 'skip': skipped})}#rejected"

    end = skip + len(shown)
    return Refused(
        key=key.strip(),
        rows=shown,
        first=skip + 1,
        last=end,
        matching=len(fitting),
        unkept=total - len(rows),
        previous=address(max(0, skip - _LISTED_REJECTIONS)) if skip else None,
        next=address(end) if end < len(fitting) else None,
    )


def _columns(sync: SyncDefinition) -> list[tuple[str, str]] | None:
    """Each column of the result with the attribute it feeds; None where only the warehouse knows them."""
    keys = sync.target.key_columns if sync.target.entity.traits.merges else ()
    identifiers = [(column, "identifier") for column in keys]
    if sync.attributes is not None:
        names = (*sync.target.key_columns, *sync.attributes.values())
        return identifiers + [(column, attribute) for attribute, column in attribute_columns(sync, names).items()]
    attributes = written_attributes(sync, None)
    return None if attributes is None else identifiers + [(name, name) for name in attributes]
