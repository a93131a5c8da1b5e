"""`/events`: the names of a store's events, and who did something how often."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from syncer.model.errors import SelectionError, SyncerError
from syncer.model.types import Entity, SyncDefinition
from syncer.sync import event_pages
from syncer.sync.event_pages import MOST_COUNTED, Doers
from syncer.sync.lookup import Sought
from syncer.web.auth import guard
from syncer.web.pages.viewing import TheView, View
from syncer.web.pages.wording import events_url
from syncer.web.problems import problem_of
from syncer.web.rendering import Context

router = APIRouter(include_in_schema=False, dependencies=[Depends(guard.operators_only)])


class WantedEvents(BaseModel, frozen=True):
    """Which events to show, and of which people."""

    #: Empty for the names of all.
    name: str = Field(default="", max_length=500)
    store: str = Field(default="default", max_length=100)
    since: str = Field(default="", max_length=50)
    at_least: int = Field(default=1, ge=1, le=10**9)
    #: The last row of the page before: a name, or a count and the number of a person.
    after: str = Field(default="", max_length=500)


class EventNamesContext(Context, template="event_names.html"):
    """The names of events that a store has."""

    store: str
    names: Sequence[tuple[str, datetime]]
    #: URLs; empty if there is none.
    first: str
    next: str
    #: Why the store did not say.
    fault: SyncerError | None


class EventsContext(Context, template="events.html"):
    """Who did something how often."""

    wanted: WantedEvents
    #: None where the store did not say, or was not asked.
    found: Doers | None
    #: What the form has: the time as it was typed, or else as it is taken to be.
    since: str
    #: Why that is no time.
    mistake: str
    most_counted: int
    #: The syncs that send such events.
    feeding: Sequence[SyncDefinition]
    first: str
    next: str
    fault: SyncerError | None


@router.get("/events")
def show_events(view: TheView, wanted: Annotated[WantedEvents, Query()]) -> Response:
    return _doers(view, wanted) if wanted.name else _names(view, wanted)


def _names(view: View, wanted: WantedEvents) -> Response:
    names: Sequence[tuple[str, datetime]] = ()
    has_more, fault = False, None
    try:
        names, has_more = event_pages.names(view.service.settings, wanted.store, after=wanted.after)
    except SelectionError:
        raise
    except SyncerError as exc:
        fault = exc
    context = EventNamesContext(
        store=wanted.store,
        names=names,
        first=events_url("", wanted.store) if wanted.after else "",
        next=events_url("", wanted.store, after=names[-1][0]) if has_more else "",
        fault=fault,
    )
    return view.page(context, status=problem_of(fault).status if fault else 200)


def _doers(view: View, wanted: WantedEvents) -> Response:
    since, found, fault, mistake, status = _read_time(wanted.since), None, None, "", 200
    if wanted.since and since is None:
        mistake, status = "Write a date such as 2026-11-01, or a time such as 2026-11-01T08:00:00, in UTC.", 422
    else:
        try:
            found = event_pages.doers(
                view.service.settings,
                wanted.store,
                wanted.name,
                since=since,
                at_least=wanted.at_least,
                after=_place(wanted.after),
            )
            status = 200 if found.newest else 404
        except SelectionError:
            raise
        except SyncerError as exc:
            fault, status = exc, problem_of(exc).status
    shown = wanted.since or (found.asked.strftime("%Y-%m-%d") if found else "")

    def url(after: str) -> str:
        return events_url(wanted.name, wanted.store, since=shown, at_least=wanted.at_least, after=after)

    last = found.people[-1] if found and found.has_more else None
    sought = Sought(store=wanted.store, entity=Entity.EVENT, kind=wanted.name, value="")
    context = EventsContext(
        wanted=wanted,
        found=found,
        since=shown,
        mistake=mistake,
        most_counted=MOST_COUNTED,
        feeding=[sync for sync in view.service.lookup.definitions.values() if sought.is_fed_by(sync)],
        first=url("") if wanted.after else "",
        next=url(f"{last.count}.{last.person_id}") if last else "",
        fault=fault,
    )
    return view.page(context, status=status)


def _read_time(text: str) -> datetime | None:
    """A date or a time, in UTC unless it says otherwise; None if it is none."""
    try:
        found = datetime.fromisoformat(text.strip())
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _place(after: str) -> tuple[int, int] | None:
    """The last row of the page before; what is none is the first page."""
    count, _, person = after.partition(".")
    is_place = len(after) <= 30 and all(part.isascii() and part.isdecimal() for part in (count, person))
    return (min(int(count), 2**62), min(int(person), 2**62)) if is_place else None
