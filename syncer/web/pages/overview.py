"""`/`: every sync and how it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from syncer.model.types import Entity, RunStatus
from syncer.service.status import Freshness, SyncStatus
from syncer.web.pages import charts
from syncer.web.pages.charts import Drawing
from syncer.web.pages.viewing import Pages

#: What can be asked for by `status`, and which syncs that is.
_STATES: Mapping[str, tuple[str, Callable[[SyncStatus], bool]]] = {
    "running": ("Running or waiting", lambda s: s.live is not None),
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
_TALLIED = ("running", "failed", "held", "late", "paused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the syncs shown have in common; empty parts ask for nothing."""

    text: str = ""
    tag: str = ""
    entity: str = ""
    status: str = ""

    def fits(self, standing: SyncStatus) -> bool:
        """Whether a sync is wanted."""
        sync = standing.definition
        words = " ".join((sync.name, sync.description, sync.owner)).casefold()
        return (
            self.text.strip().casefold() in words
            and self.tag in ("", *sync.tags)
            and self.entity in ("", sync.target.entity)
            and (self.status not in _STATES or _STATES[self.status][1](standing))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One sync of the list."""

    standing: SyncStatus
    chart: Drawing
    #: Each of its tags to the list of the syncs that have it.
    tag_addresses: Mapping[str, str]


def add(routes: APIRouter, pages: Pages) -> None:
    """Add the route."""

    @routes.get("/")
    def overview(
        request: Request,
        text: Annotated[str, Query(max_length=200)] = "",
        tag: str = "",
        entity: str = "",
        status: str = "",
    ) -> Response:
        wanted = Wanted(text=text, tag=tag, entity=entity, status=status)
        statuses = pages.service.statuses()
        edition = pages.service.catalog.edition
        shown = [standing for standing in statuses if wanted.fits(standing)]
        return pages.page(
            request,
            "syncs.html",
            wanted=wanted,
            is_filtered=wanted != Wanted(),
            rows=[_row(standing) for standing in shown],
            total=len(statuses),
            tally=_tally(statuses),
            edition=edition,
            errors=edition.errors,
            entities=[entity.value for entity in Entity],
            tags=sorted({tag for standing in statuses for tag in standing.definition.tags}),
            statuses={value: word for value, (word, _) in _STATES.items()},
            any_live=any(standing.live for standing in statuses),
            folder=pages.service.settings.definitions_dir,
        )


def _row(standing: SyncStatus) -> Row:
    tags = standing.definition.tags
    return Row(
        standing=standing,
        chart=charts.drawn_statuses(tuple(standing.outcomes)),
        tag_addresses={tag: f"/?{urlencode({'tag': tag})}" for tag in tags},
    )


def _tally(statuses: Sequence[SyncStatus]) -> list[tuple[str, int]]:
    counted = Counter(state for standing in statuses for state in _TALLIED if _STATES[state][1](standing))
    return [(state, counted[state]) for state in _TALLIED if counted[state]]


def _ended(standing: SyncStatus, status: RunStatus) -> bool:
    return standing.live is None and standing.last_run is not None and standing.last_run.status is status
