"""`/find`, `/people`, `/objects`, `/collections`: what stores contain, and what each sync had to do with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import RedirectResponse, Response

from syncer.model.event_stores import SHOWN_EVENTS
from syncer.model.types import Entity, PersonKey
from syncer.service.status import SyncStatus
from syncer.sync import event_pages, explaining
from syncer.sync.asking_now import with_now
from syncer.sync.explanation import AttributeState, Explained, Explanation
from syncer.sync.lookup import Found, Sought, Stored
from syncer.web.auth import guard
from syncer.web.pages.viewing import TheView, View
from syncer.web.pages.wording import entity_url
from syncer.web.problems import problem_of
from syncer.web.rendering import Context

_Text = Annotated[str, Query(max_length=500)]

#: The identifiers in what `ProfileStore.show` gives of a person, and their names in definitions.
_IDENTIFIERS: Mapping[str, str] = {"id": "id", "email": "email", "phone": "phone", "person_id": "cio_id"}

#: The most rows that a page lists.
_LISTED_ROWS = 50

router = APIRouter(include_in_schema=False, dependencies=[Depends(guard.operators_only)])


class FoundContext(Context, template="found.html"):
    """The hits of a search."""

    text: str
    found: Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Events of a person, newest first, and the URLs of other parts of the list; empty if there is none."""

    events: Sequence[Mapping[str, Any]] = ()
    newest: str = ""
    older: str = ""
    #: Whether syncs send the store events, and it cannot list them.
    is_unknown: bool = False


class EntityContext(Context, template="entity.html"):
    """A person, an object, a collection or a row of one."""

    sought: Sought
    title: str
    #: `Person by email`.
    heading: str
    #: `person`.
    noun: str
    stored: Stored
    identifiers: Mapping[str, Any]
    #: Whether the warehouse was asked too.
    asked_now: bool
    #: What its syncs did: the first rows; of a whole collection the rejected ones.
    explained: Explained
    rows: Sequence[Explanation]
    #: The status of the syncs of these rows, by name; those without a definition are left out.
    statuses: Mapping[str, SyncStatus]
    #: Each attribute of the entity itself to the syncs that sent it, and whether the store still has what they sent.
    writers: Mapping[str, Sequence[tuple[str, AttributeState]]]
    timeline: Timeline


@router.get("/find")
def find(view: TheView, q: _Text = "") -> Response:
    text = q.strip()
    if not text:
        return RedirectResponse("/", 303)
    return view.page(FoundContext(text=text, found=view.service.lookup.find(text)))


@router.get("/people")
def show_person(
    view: TheView,
    value: _Text,
    by: PersonKey | None = None,
    store: str = "default",
    now: bool = False,
    before: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    sought = view.service.lookup.person(store, value, by)
    heading = f"Person by {sought.kind}"
    return _page(view, sought, title=sought.value, heading=heading, noun="person", now=now, before=before)


@router.get("/objects")
def show_object(
    view: TheView,
    object_id: Annotated[str, Query(max_length=500, alias="id")],
    object_type: Annotated[str, Query(alias="type")],
    store: str = "default",
    now: bool = False,
) -> Response:
    sought = view.service.lookup.one_object(store, object_type, object_id)
    return _page(view, sought, title=sought.value, heading=f"Object of type {object_type}", noun="object", now=now)


@router.get("/collections")
def show_collection(view: TheView, name: _Text, key: _Text = "", store: str = "default", now: bool = False) -> Response:
    sought = view.service.lookup.collection(store, name, key.strip())
    return _page(view, sought, title=name, heading="Collection", noun="row" if sought.value else "collection", now=now)


def _page(view: View, sought: Sought, *, title: str, heading: str, noun: str, now: bool, before: str = "") -> Response:
    explained = explaining.explain(view.service.lookup, sought)
    if now:
        explained = with_now(view.service.settings, explained)
    found = explained.stored
    writers: dict[str, list[tuple[str, AttributeState]]] = defaultdict(list)
    own = {sync.name for sync in found.feeding if sync.target.entity is sought.entity}
    # What is as it should be comes last, and before it what is about the entity itself.
    rows = sorted(explained.rows, key=lambda row: (row.sync not in own and row.is_well, row.is_well))[:_LISTED_ROWS]
    for row in explained.rows:
        for one in row.attributes if row.sync in own else ():
            writers[one.attribute].append((row.sync, one))
    content = found.content or {}
    shown = _IDENTIFIERS if sought.entity.traits.has_other_identifiers else {}
    context = EntityContext(
        sought=sought,
        title=title or "(blank)",
        heading=heading,
        noun=noun,
        stored=found,
        identifiers={word: content[name] for name, word in shown.items() if name in content},
        asked_now=now,
        explained=explained,
        rows=rows,
        statuses={one.definition.name: one for one in view.service.statuses(list({row.sync for row in rows}))},
        writers=writers,
        timeline=_timeline(view, found, before),
    )
    if found.fault is not None:
        return view.page(context, status=problem_of(found.fault).status)
    return view.page(context, status=200 if found.content is not None or explained.is_known else 404)


def _timeline(view: View, found: Stored, before: str) -> Timeline:
    """The newest events of a person, as the store shows them, or those that are older than an event."""
    content, sought = found.content, found.sought
    if sought.entity is not Entity.PERSON or content is None:
        return Timeline()
    if "events" not in content:
        return Timeline(is_unknown=any(sync.target.entity.traits.happens for sync in found.feeding))
    newest = content["events"]
    if not before and len(newest) < SHOWN_EVENTS:
        return Timeline(events=newest)
    last, limit = (before, SHOWN_EVENTS + 1) if before else (newest[-1]["event_id"], 1)
    person, settings = content["person_id"], view.service.settings
    older = event_pages.of_person(settings, sought.store, person, before=last, limit=limit)
    shown = older[:SHOWN_EVENTS] if before else newest
    url = entity_url(sought.entity, sought.kind, sought.value, sought.store)
    return Timeline(
        events=shown,
        newest=f"{url}#events" if before else "",
        older=f"{url}&before={shown[-1]['event_id']}#events" if len(older) == limit else "",
    )
