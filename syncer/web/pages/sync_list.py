"""Which syncs the overview lists, in which order, and the links that change it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from syncer.model.types import Entity, RunStatus
from syncer.service.health import Health
from syncer.service.status import SyncStatus

#: Syncs of a page of the list.
_LISTED_SYNCS = 50

#: The most tags that are offered.
_OFFERED_TAGS = 40


def _ended(sync: SyncStatus, status: RunStatus) -> bool:
    return sync.active_run is None and sync.last_run is not None and sync.last_run.status is status


def _has(health: Health, sync: SyncStatus) -> bool:
    return sync.health is health


def needs_somebody(sync: SyncStatus) -> bool:
    """Whether somebody has to look at a sync."""
    return sync.health in (Health.FAILING, Health.HELD, Health.LATE, Health.DEGRADED)


#: What can be asked for as `status`: its name on the page, and which syncs fit.
STATES: Mapping[str, tuple[str, Callable[[SyncStatus], bool]]] = {
    "attention": ("Needs attention", needs_somebody),
    "running": ("Running or waiting", lambda s: s.active_run is not None),
    "success": ("Success", lambda s: _ended(s, RunStatus.SUCCESS)),
    "warning": ("Rows rejected", lambda s: s.rejected > s.acknowledged or _ended(s, RunStatus.WARNING)),
    "failed": ("Failed", lambda s: _ended(s, RunStatus.FAILED)),
    "interrupted": ("Interrupted", lambda s: _ended(s, RunStatus.INTERRUPTED)),
    "never": ("Never run", lambda s: s.last_run is None),
    "held": ("Held", lambda s: s.is_held),
    **{health.value: (health.capitalize(), partial(_has, health)) for health in Health if health is not Health.HELD},
    "paused": ("Paused", lambda s: s.paused),
}

#: What the tally counts.
_COUNTED = ("running", "failing", "held", "late", "degraded", "paused", "new", "healthy")

#: How much somebody has to look at a sync: the first that fits.
_WORST_FIRST: Sequence[Callable[[SyncStatus], bool]] = (
    lambda s: s.health is Health.FAILING,
    lambda s: s.health is Health.HELD,
    lambda s: s.health is Health.LATE,
    lambda s: s.outdated is not None,
    lambda s: s.health is Health.DEGRADED,
    lambda s: s.rejected > s.acknowledged or _ended(s, RunStatus.INTERRUPTED),
    lambda s: s.health is Health.NEW,
    lambda s: s.health is Health.HEALTHY,
)

#: What the list can be sorted by: the heading of its column, and the value of a sync; None comes last both ways.
SORTED_BY: Mapping[str, tuple[str, Callable[[SyncStatus], Any]]] = {
    "name": ("Name", lambda s: s.definition.name),
    "entity": ("Entity", lambda s: s.definition.target.words),
    "health": ("Health", lambda s: rank(s)),
    "delivered": ("Delivered", lambda s: s.last_ended_well),
    "rows": ("Rows", lambda s: s.rows),
    "next": ("Next run", lambda s: s.next_due),
}


class SyncFilter(BaseModel, frozen=True):
    """Which syncs to show, and in which order; an empty field fits all."""

    text: str = Field(default="", max_length=200)
    tag: str = ""
    entity: str = ""
    status: str = ""
    #: A key of SORTED_BY, with `-` before it for the other way round.
    sort: str = ""

    @property
    def is_filtered(self) -> bool:
        """Whether it may leave out syncs."""
        return any(value for name, value in self.model_dump().items() if name != "sort")

    def fits(self, sync: SyncStatus) -> bool:
        """Whether to show a sync."""
        definition = sync.definition
        words = " ".join((definition.name, definition.description, definition.owner)).casefold()
        return (
            self.text.strip().casefold() in words
            and self.tag in ("", *definition.tags)
            and self.entity in ("", definition.target.entity)
            and (self.status not in STATES or STATES[self.status][1](sync))
        )

    def ordered(self, syncs: Iterable[SyncStatus]) -> list[SyncStatus]:
        """The syncs that fit, those with problems first unless another order is asked for."""
        fitting = sorted(filter(self.fits, syncs), key=rank)
        by = self.sort.removeprefix("-")
        if by not in SORTED_BY:
            return fitting
        value = SORTED_BY[by][1]
        known = [sync for sync in fitting if value(sync) is not None]
        return [
            *sorted(known, key=value, reverse=self.sort.startswith("-")),
            *(sync for sync in fitting if value(sync) is None),
        ]

    def url(self, **changed: str | int) -> str:
        """The overview with this filter, but for some fields; any page but the first is one of them."""
        chosen = self.model_dump() | changed
        given = urlencode({name: value for name, value in chosen.items() if value})
        return f"/?{given}" if given else "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A link that filters the list."""

    word: str
    url: str
    is_chosen: bool
    #: How many syncs it leaves; None where they were not counted.
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A column by which the list can be sorted."""

    word: str
    url: str
    #: As in `aria-sort`; empty where the list is sorted otherwise.
    direction: str
    is_numeric: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPart:
    """A part of the syncs that fit a filter."""

    syncs: Sequence[SyncStatus]
    #: The places of the first and the last of them, counted from 1, and how many syncs fit.
    first: int
    last: int
    matching: int
    #: URLs; empty if there is none.
    previous: str
    next: str


def rank(sync: SyncStatus) -> int:
    """How soon somebody has to look at a sync, 0 first."""
    return next((place for place, fits in enumerate(_WORST_FIRST) if fits(sync)), len(_WORST_FIRST))


def part(syncs: Iterable[SyncStatus], wanted: SyncFilter, page: int) -> ListPart:
    """One page of the syncs that fit a filter; the last one if there is no such page."""
    fitting = wanted.ordered(syncs)
    pages = max(1, -(-len(fitting) // _LISTED_SYNCS))
    page = min(page, pages)
    begin = (page - 1) * _LISTED_SYNCS
    shown = fitting[begin : begin + _LISTED_SYNCS]
    return ListPart(
        syncs=shown,
        first=begin + 1,
        last=begin + len(shown),
        matching=len(fitting),
        previous=wanted.url(page=page - 1) if page > 1 else "",
        next=wanted.url(page=page + 1) if page < pages else "",
    )


def headings(wanted: SyncFilter) -> list[Heading]:
    """The columns of the list, each with the link that sorts by it, or turns its order round."""
    found = []
    for name, (word, _) in SORTED_BY.items():
        # The first click shows what matters most: the newest, the largest, the worst.
        first, second = (f"-{name}", name) if name in ("delivered", "rows") else (name, f"-{name}")
        direction = {name: "ascending", f"-{name}": "descending"}.get(wanted.sort, "")
        url = wanted.url(sort=second if wanted.sort == first else first)
        found.append(Heading(word=word, url=url, direction=direction, is_numeric=name == "rows"))
    return found


def choices(syncs: Sequence[SyncStatus], wanted: SyncFilter) -> dict[str, list[Choice]]:
    """The links that filter, by what they filter by; those of the filter itself undo it."""
    states = Counter(state for sync in syncs for state in _COUNTED if STATES[state][1](sync))
    entities = Counter(sync.definition.target.entity for sync in syncs)
    tags = Counter(tag for sync in syncs for tag in sync.definition.tags)
    # One that is chosen by its URL alone can be undone too.
    named = {state: states[state] for state in _COUNTED if states[state]}
    if wanted.status in STATES and wanted.status not in named:
        named[wanted.status] = sum(map(STATES[wanted.status][1], syncs))
    return {
        "status": [_choice(wanted, "status", state, STATES[state][0], count) for state, count in named.items()],
        "entity": [
            _choice(wanted, "entity", each, each.capitalize(), entities[each]) for each in Entity if entities[each]
        ],
        "tag": [_choice(wanted, "tag", tag, tag, count) for tag, count in sorted(tags.items())[:_OFFERED_TAGS]],
    }


def _choice(wanted: SyncFilter, field: str, value: str, word: str, count: int) -> Choice:
    is_chosen = getattr(wanted, field) == value
    url = wanted.url(**{field: "" if is_chosen else value})
    return Choice(word=word, url=url, is_chosen=is_chosen, count=count)
