"""`/`: every sync and its status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from syncer.alerts.conditions import AlertKind
from syncer.alerts.messages import headline_of
from syncer.model.errors import DefinitionError
from syncer.model.types import Entity, RunStatus
from syncer.service.catalog import DefinitionSet
from syncer.service.status import Freshness, SyncStatus
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
    "late": ("Late", lambda s: s.freshness in (Freshness.LATE, Freshness.NEVER)),
    "paused": ("Paused", lambda s: s.paused),
    "never": ("Never run", lambda s: s.last_run is None),
}

#: What the heading counts.
_COUNTED = ("running", "failed", "held", "late", "paused")

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


class OverviewContext(Context, template="syncs.html"):
    """The syncs that fit a filter, and what is wrong with files."""

    filter: SyncFilter
    is_filtered: bool
    syncs: Sequence[SyncStatus]
    #: The open alerts about what many syncs use, in words, each with its beginning.
    shared_alerts: Sequence[tuple[str, datetime]]
    #: The syncs with an open alert that they are flapping.
    flapping: Collection[str]
    #: By name; none without a run.
    charts: Mapping[str, Chart]
    #: How many syncs there are, and how many of them are in some states.
    total: int
    counted: Sequence[tuple[str, int]]
    definitions: DefinitionSet
    #: Each with its file.
    errors: Sequence[tuple[str, DefinitionError]]
    entities: Sequence[Entity]
    tags: Sequence[str]
    #: The name of each state on the page.
    states: Mapping[str, str]
    is_any_active: bool
    folder: Path


@router.get("/")
def show_overview(view: TheView, wanted: Annotated[SyncFilter, Query()]) -> Response:
    syncs, definitions = view.service.statuses(), view.service.catalog.current
    shown = [sync for sync in syncs if wanted.fits(sync)]
    outcomes = view.service.run_log.outcomes([sync.definition.name for sync in shown], SHOWN_RUNS)
    alerts = OpenAlerts(view.service.run_log.database).all()
    counted = Counter(state for sync in syncs for state in _COUNTED if _STATES[state][1](sync))
    return view.page(
        OverviewContext(
            filter=wanted,
            is_filtered=wanted != SyncFilter(),
            syncs=shown,
            shared_alerts=[(headline_of(a.about, a.kind), a.since) for a in alerts if a.sync is None],
            flapping={alert.sync for alert in alerts if alert.sync and alert.kind == AlertKind.FLAPPING},
            charts={name: status_chart(runs) for name, runs in outcomes.items()},
            total=len(syncs),
            counted=[(state, counted[state]) for state in _COUNTED if counted[state]],
            definitions=definitions,
            errors=[(view.relative(error.path), error) for error in definitions.errors],
            entities=list(Entity),
            tags=sorted({tag for sync in syncs for tag in sync.definition.tags}),
            states={state: word for state, (word, _) in _STATES.items()},
            is_any_active=any(sync.active_run for sync in syncs),
            folder=view.service.settings.definitions_dir,
        )
    )
