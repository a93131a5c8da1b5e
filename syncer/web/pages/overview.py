"""`/`: every sync and its status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from syncer.alerts.conditions import AlertKind
from syncer.alerts.messages import headline_of, page_of
from syncer.model.errors import DefinitionError
from syncer.model.types import Entity, RunStatus
from syncer.service.catalog import DefinitionSet
from syncer.service.health import Health
from syncer.service.status import SyncStatus
from syncer.state.alerts import OpenAlerts
from syncer.web.pages.charts import SHOWN_RUNS, Chart, status_chart
from syncer.web.pages.viewing import TheView
from syncer.web.rendering import Context


def _ended(sync: SyncStatus, status: RunStatus) -> bool:
    return sync.active_run is None and sync.last_run is not None and sync.last_run.status is status


#: What the filter offers as `status`: its name on the page, and which syncs fit.
_STATES: Mapping[str, tuple[str, Callable[[SyncStatus], bool]]] = {
    "running": ("Running or waiting", lambda s: s.active_run is not None),
    "success": ("Success", lambda s: _ended(s, RunStatus.SUCCESS)),
    "warning": ("Rows rejected", lambda s: s.rejected > 0 or _ended(s, RunStatus.WARNING)),
    "failed": ("Failed", lambda s: _ended(s, RunStatus.FAILED)),
    "held": ("Held", lambda s: s.is_held),
    "interrupted": ("Interrupted", lambda s: _ended(s, RunStatus.INTERRUPTED)),
    "failing": ("Failing", lambda s: s.health is Health.FAILING),
    "degraded": ("Degraded", lambda s: s.health is Health.DEGRADED),
    "late": ("Late", lambda s: s.health is Health.LATE),
    "paused": ("Paused", lambda s: s.paused),
    "never": ("Never run", lambda s: s.last_run is None),
}

#: What the heading counts.
_COUNTED = ("running", "failing", "held", "late", "degraded", "paused")

#: Which syncs come first in the list: those that fit the first of these, then the second, and so on.
_FIRST: Sequence[Callable[[SyncStatus], bool]] = (
    lambda s: s.health in (Health.FAILING, Health.HELD),
    lambda s: s.health is Health.LATE or s.outdated is not None,
    lambda s: s.rejected > 0 or (s.last_run is not None and s.last_run.status is RunStatus.INTERRUPTED),
)

#: Syncs of a page of the list, most of which are charts: about 190 kB.
_LISTED_SYNCS = 20

#: Errors of files that the page shows.
_SHOWN_ERRORS = 20

router = APIRouter(include_in_schema=False)


class SyncFilter(BaseModel, frozen=True):
    """Which syncs to show; an empty field fits all."""

    text: str = Field(default="", max_length=200)
    tag: str = ""
    entity: str = ""
    status: str = ""

    def fits(self, sync: SyncStatus) -> bool:
        """Whether to show a sync."""
        definition = sync.definition
        words = " ".join((definition.name, definition.description, definition.owner)).casefold()
        return (
            self.text.strip().casefold() in words
            and self.tag in ("", *definition.tags)
            and self.entity in ("", definition.target.entity)
            and (self.status not in _STATES or _STATES[self.status][1](sync))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPart:
    """A part of the syncs that fit a filter, those with problems first."""

    syncs: Sequence[SyncStatus]
    #: The places of the first and the last of them, counted from 1, and how many syncs fit.
    first: int
    last: int
    matching: int
    #: URLs; empty if there is none.
    previous: str
    next: str


class OverviewContext(Context, template="syncs.html"):
    """The syncs that fit a filter, and what is wrong with files."""

    filter: SyncFilter
    is_filtered: bool
    listed: ListPart
    #: The open alerts about what many syncs use, in words, each with its beginning and the page that tells more.
    shared_alerts: Sequence[tuple[str, datetime, str]]
    #: The syncs with an open alert that they are flapping.
    flapping: Collection[str]
    #: By name; none without a run.
    charts: Mapping[str, Chart]
    #: How many syncs there are, and how many of them are in some states.
    total: int
    counted: Sequence[tuple[str, int]]
    definitions: DefinitionSet
    #: The first of them, each with its file, and how many more there are.
    errors: Sequence[tuple[str, DefinitionError]]
    more_errors: int
    entities: Sequence[Entity]
    tags: Sequence[str]
    #: The name of each state on the page.
    states: Mapping[str, str]
    is_any_active: bool
    folder: Path


@router.get("/")
def show_overview(
    view: TheView, wanted: Annotated[SyncFilter, Query()], page: Annotated[int, Query(ge=1, le=10_000)] = 1
) -> Response:
    syncs, definitions = view.service.statuses(), view.service.catalog.current
    listed = _part(syncs, wanted, page)
    outcomes = view.service.run_log.outcomes([sync.definition.name for sync in listed.syncs], SHOWN_RUNS)
    alerts = OpenAlerts(view.service.run_log.database).all()
    counted = Counter(state for sync in syncs for state in _COUNTED if _STATES[state][1](sync))
    errors = definitions.errors[:_SHOWN_ERRORS]
    return view.page(
        OverviewContext(
            filter=wanted,
            is_filtered=wanted != SyncFilter(),
            listed=listed,
            shared_alerts=[
                (headline_of(a.about, a.kind), a.since, f"/{page_of(a.about)}") for a in alerts if a.sync is None
            ],
            flapping={alert.sync for alert in alerts if alert.sync and alert.kind == AlertKind.FLAPPING},
            charts={name: status_chart(runs) for name, runs in outcomes.items()},
            total=len(syncs),
            counted=[(state, counted[state]) for state in _COUNTED if counted[state]],
            definitions=definitions,
            errors=[(view.relative(error.path), error) for error in errors],
            more_errors=len(definitions.errors) - len(errors),
            entities=list(Entity),
            tags=sorted({tag for sync in syncs for tag in sync.definition.tags}),
            states={state: word for state, (word, _) in _STATES.items()},
            is_any_active=any(sync.active_run for sync in listed.syncs),
            folder=view.service.settings.definitions_dir,
        )
    )


def _part(syncs: Sequence[SyncStatus], wanted: SyncFilter, page: int) -> ListPart:
    """One page of the syncs that fit a filter; the last one if there is no such page."""
    fitting = sorted(filter(wanted.fits, syncs), key=_rank)
    pages = max(1, -(-len(fitting) // _LISTED_SYNCS))
    page = min(page, pages)
    begin = (page - 1) * _LISTED_SYNCS
    shown = fitting[begin : begin + _LISTED_SYNCS]

    def url(number: int) -> str:
        chosen = {name: value for name, value in wanted.model_dump().items() if value}
        return f"/?{urlencode({**chosen, 'page': number})}" if 1 <= number <= pages else ""

    return ListPart(
        syncs=shown,
        first=begin + 1,
        last=begin + len(shown),
        matching=len(fitting),
        previous=url(page - 1),
        next=url(page + 1),
    )


def _rank(sync: SyncStatus) -> int:
    return next((place for place, fits in enumerate(_FIRST) if fits(sync)), len(_FIRST))
