"""`/syncs/{name}/rejected`: the rejected rows of a sync, by reason and one by one, and what people can do with them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query
from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from syncer.model.json_text import json_value
from syncer.model.types import Rejection, SyncDefinition
from syncer.state.rejections import ACKNOWLEDGED, CSV_HEADINGS, RejectionFilter, RejectionGroup, Rejections, csv_row
from syncer.web.auth import guard
from syncer.web.pages.viewing import TheView, View, back_to
from syncer.web.problems import ProblemError
from syncer.web.rendering import Context

#: Rows of a page.
_LISTED = 20

#: For how many days people can acknowledge a row on the page.
_DAYS = (7, ACKNOWLEDGED.days, 90, 365)

router = APIRouter(include_in_schema=False)


class WantedRows(BaseModel, frozen=True):
    """Which rejected rows to show; an empty field fits all."""

    #: What the reason contains, or if the viewer may see them, the key or a value.
    key: str = Field(default="", max_length=500)
    reason: str = Field(default="", max_length=2_000)
    #: `open` or `acknowledged`.
    state: str = ""

    def filter(self, view: View) -> RejectionFilter:
        """The same for the run log."""
        text, sees_values = self.key.strip(), guard.may_see_values(view.caller)
        return RejectionFilter(
            text=text if sees_values else "",
            in_values=sees_values,
            reason=self.reason,
            reason_part="" if sees_values else text,
            acknowledged={"open": False, "acknowledged": True}.get(self.state),
        )

    def query(self, **changed: str | int) -> str:
        """The query of the URL that shows these rows."""
        chosen = {name: value for name, value in (self.model_dump() | changed).items() if value}
        return f"?{urlencode(chosen)}" if chosen else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRow:
    """A rejected row."""

    rejection: Rejection
    #: Each column with its value; empty if they are not known, or not for this viewer.
    values: Sequence[tuple[str, Any]]


class RejectedContext(Context, template="rejected.html"):
    """The rejected rows of a sync that fit a filter."""

    definition: SyncDefinition
    has_run: bool
    wanted: WantedRows
    #: The whole path and query of this page.
    here: str
    groups: Sequence[RejectionGroup]
    #: All rejected rows, and those that the run log only counts.
    total: int
    not_kept: int
    rows: Sequence[ShownRow]
    #: The places of the first and the last of them, counted from 1, and how many rows fit.
    first: int
    last: int
    matching: int
    #: URLs; empty if there is none.
    previous: str
    next: str
    may_see_values: bool
    is_running: bool
    days: Sequence[int]
    usual_days: int


@router.get("/syncs/{name}/rejected")
def show_rejected(
    view: TheView, name: str, wanted: Annotated[WantedRows, Query()], skip: Annotated[int, Query(ge=0)] = 0
) -> Response:
    status, now = view.service.status(name), view.service.now()
    rejections, found = Rejections(view.service.run_log.database), wanted.filter(view)
    rows, matching = rejections.of(name, found, now=now, first=skip, limit=_LISTED)
    kept = rejections.of(name, now=now, limit=1)[1]
    path = f"/syncs/{name}/rejected"

    def url(skipped: int) -> str:
        return f"{path}{wanted.query(skip=skipped)}#rows"

    return view.page(
        RejectedContext(
            definition=status.definition,
            has_run=bool(view.service.run_log.recent(name, 1)),
            wanted=wanted,
            here=f"{path}{wanted.query(skip=skip)}",
            groups=rejections.groups(name, now=now),
            total=status.rejected,
            not_kept=max(0, status.rejected - kept),
            rows=[ShownRow(rejection=row, values=_values(row) if found.in_values else ()) for row in rows],
            first=skip + 1,
            last=skip + len(rows),
            matching=matching,
            previous=url(max(0, skip - _LISTED)) if skip else "",
            next=url(skip + _LISTED) if matching > skip + _LISTED else "",
            may_see_values=found.in_values,
            is_running=status.active_run is not None,
            days=_DAYS,
            usual_days=ACKNOWLEDGED.days,
        )
    )


@router.get("/syncs/{name}/rejected.csv")
def export_rejected(view: TheView, name: str, wanted: Annotated[WantedRows, Query()]) -> Response:
    view.service.definition(name)
    found = wanted.filter(view)
    rows, _ = Rejections(view.service.run_log.database).of(name, found, now=view.service.now())
    disposition = f'attachment; filename="{name}-rejected.csv"'
    return StreamingResponse(
        _lines(rows, with_values=found.in_values),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": disposition},
    )


@router.post("/syncs/{name}/rejected/retry")
def retry_rejected(view: TheView, name: str, key: Annotated[str, Form(max_length=2_000)]) -> Response:
    try:
        run_id = view.actions.send_row(view.caller, name, key)
    except ProblemError as exc:
        if exc.run_id is None:
            raise
        return back_to(f"/runs/{exc.run_id}", "already")
    return back_to(f"/runs/{run_id}", "started")


@router.post("/syncs/{name}/rejected/acknowledge")
def acknowledge_rejected(
    view: TheView,
    name: str,
    why: Annotated[str, Form(min_length=1, max_length=500)],
    days: Annotated[int, Form(ge=1, le=3_650)] = ACKNOWLEDGED.days,
    reason: Annotated[str, Form(max_length=2_000)] = "",
    key: Annotated[str | None, Form(max_length=2_000)] = None,
    digest: Annotated[str | None, Form(max_length=64)] = None,
) -> Response:
    view.service.definition(name)
    until = view.service.now() + timedelta(days=days)
    view.actions.acknowledge(view.caller, name, RejectionFilter(reason=reason, key=key, digest=digest), why, until)
    return back_to(f"/syncs/{name}/rejected", "acknowledged")


@router.post("/syncs/{name}/rejected/unacknowledge")
def unacknowledge_rejected(
    view: TheView,
    name: str,
    reason: Annotated[str, Form(max_length=2_000)] = "",
    key: Annotated[str | None, Form(max_length=2_000)] = None,
    digest: Annotated[str | None, Form(max_length=64)] = None,
) -> Response:
    view.service.definition(name)
    view.actions.unacknowledge(view.caller, name, RejectionFilter(reason=reason, key=key, digest=digest))
    return back_to(f"/syncs/{name}/rejected", "unacknowledged")


def _values(row: Rejection) -> list[tuple[str, Any]]:
    return list(json_value(row.row.values).items()) if row.row.values else []


def _lines(rows: Sequence[Rejection], *, with_values: bool) -> Iterator[str]:
    for cells in (CSV_HEADINGS, *(csv_row(row, with_values=with_values) for row in rows)):
        written = io.StringIO()
        csv.writer(written).writerow(cells)
        yield written.getvalue()
