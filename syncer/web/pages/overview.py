"""`/`: every sync and its status, and first what needs somebody."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from syncer.alerts.conditions import AlertKind
from syncer.alerts.messages import headline_of, page_of
from syncer.model.errors import DefinitionError
from syncer.model.types import CONCLUSIVE, Run
from syncer.service.catalog import DefinitionSet
from syncer.service.health import Health
from syncer.service.queues import Work, work_of
from syncer.service.status import SyncStatus
from syncer.state.alerts import Alert, OpenAlerts
from syncer.web.pages.charts import SHOWN_RUNS, Chart, status_chart
from syncer.web.pages.sync_list import (
    Choice,
    Heading,
    ListPart,
    SyncFilter,
    choices,
    headings,
    needs_somebody,
    part,
    rank,
)
from syncer.web.pages.viewing import TheView, View
from syncer.web.rendering import Context

#: Errors of files, and syncs that need somebody, that the page shows.
_SHOWN_ERRORS = 20
_SHOWN_PROBLEMS = 10

#: Runs that wait for a worker that the page shows.
_SHOWN_WAITING = 20

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with one sync."""

    sync: SyncStatus
    #: The error of its last run, or what the state means.
    text: str
    #: When an alert about it began, or else its last run; None where there is neither.
    since: datetime | None


class OverviewContext(Context, template="syncs.html"):
    """The syncs that fit a filter, and what is wrong with syncs and files."""

    filter: SyncFilter
    listed: ListPart
    headings: Sequence[Heading]
    choices: Mapping[str, Sequence[Choice]]
    #: The worst first, and how many more there are.
    problems: Sequence[Problem]
    more_problems: int
    #: The open alerts about what many syncs use, in words, each with its beginning and the page that tells more.
    shared_alerts: Sequence[tuple[str, datetime, str]]
    #: The syncs with an open alert that they are flapping.
    flapping: Collection[str]
    #: By name; none without a run.
    charts: Mapping[str, Chart]
    #: How many syncs there are.
    total: int
    definitions: DefinitionSet
    #: The first of them, each with its file, and how many more there are.
    errors: Sequence[tuple[str, DefinitionError]]
    more_errors: int
    is_any_active: bool
    folder: Path
    #: None where the service makes its own runs.
    work: Work | None
    #: How many more runs wait for a worker than are shown.
    more_waiting: int


@router.get("/")
def show_overview(
    view: TheView, wanted: Annotated[SyncFilter, Query()], page: Annotated[int, Query(ge=1, le=10_000)] = 1
) -> Response:
    syncs, definitions = view.service.statuses(), view.service.catalog.current
    listed = part(syncs, wanted, page)
    outcomes = view.service.run_log.outcomes([sync.definition.name for sync in listed.syncs], SHOWN_RUNS)
    alerts = OpenAlerts(view.service.run_log.database).all()
    worst = sorted(filter(needs_somebody, syncs), key=rank)
    names = [sync.definition.name for sync in worst[:_SHOWN_PROBLEMS]]
    runs = view.service.run_log.newest(names, 1, statuses=CONCLUSIVE)
    errors = definitions.errors[:_SHOWN_ERRORS]
    work = work_of(view.service)
    more_waiting = max(0, len(work.waiting) - _SHOWN_WAITING) if work else 0
    return view.page(
        OverviewContext(
            filter=wanted,
            listed=listed,
            headings=headings(wanted),
            choices=choices(syncs, wanted),
            problems=[
                _problem(view, sync, runs.get(sync.definition.name, []), alerts) for sync in worst[:_SHOWN_PROBLEMS]
            ],
            more_problems=max(0, len(worst) - _SHOWN_PROBLEMS),
            shared_alerts=[
                (headline_of(a.about, a.kind), a.since, f"/{page_of(a.about)}") for a in alerts if a.sync is None
            ],
            flapping={alert.sync for alert in alerts if alert.sync and alert.kind == AlertKind.FLAPPING},
            charts={name: status_chart(runs) for name, runs in outcomes.items()},
            total=len(syncs),
            definitions=definitions,
            errors=[(view.relative(error.path), error) for error in errors],
            more_errors=len(definitions.errors) - len(errors),
            is_any_active=any(sync.active_run for sync in listed.syncs),
            folder=view.service.settings.definitions_dir,
            work=work and replace(work, waiting=work.waiting[:_SHOWN_WAITING]),
            more_waiting=more_waiting,
        )
    )


def _problem(view: View, sync: SyncStatus, runs: Sequence[Run], alerts: Sequence[Alert]) -> Problem:
    began = [alert.since for alert in alerts if alert.sync == sync.definition.name]
    since = min(began or [run.started_at for run in runs], default=None)
    error = "".join(run.error or "" for run in runs)
    path = sync.definition.path
    text = _what_is_wrong(sync, error.replace(str(path), view.relative(path)))
    return Problem(sync=sync, text=text, since=since)


def _what_is_wrong(sync: SyncStatus, error: str) -> str:
    match sync.health:
        case Health.FAILING | Health.HELD if error:
            return error
        case Health.FAILING:
            return "The store rejected every row that was new to it."
        case Health.LATE:
            return "A run was due, and none has delivered since."
        case _:
            return "More rows are rejected than it tolerates."
