"""`/find`, `/people`, `/objects`, `/collections`: what stores contain, which syncs feed it, and rejected rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import RedirectResponse, Response

from syncer.definitions.conflicts import written_attributes
from syncer.model.types import PersonKey, Rejection
from syncer.service.status import SyncStatus
from syncer.sync.lookup import Found, Sought, Stored
from syncer.web.auth import guard
from syncer.web.pages.viewing import TheView, View
from syncer.web.problems import problem_of
from syncer.web.rendering import Context

_Text = Annotated[str, Query(max_length=500)]

#: The identifiers in what `ProfileStore.show` gives of a person, and their names in definitions.
_IDENTIFIERS: Mapping[str, str] = {"id": "id", "email": "email", "person_id": "cio_id"}

#: Rejected rows, and syncs, that a page lists.
_LISTED_REJECTIONS, _LISTED_SYNCS = 50, 100

router = APIRouter(include_in_schema=False, dependencies=[Depends(guard.operators_only)])


class FoundContext(Context, template="found.html"):
    """The hits of a search."""

    text: str
    found: Found


class EntityContext(Context, template="entity.html"):
    """A person, an object, a collection or a row of one."""

    sought: Sought
    title: str
    #: `Person by email`.
    heading: str
    #: `person`.
    noun: str
    stored: Stored
    #: The first of the rejected rows.
    rejected: Sequence[Rejection]
    identifiers: Mapping[str, Any]
    #: By name: the syncs of these rows, and others up to a limit.
    feeding: Mapping[str, SyncStatus]
    #: The attributes that each of them writes; None if only the warehouse knows them.
    attributes: Mapping[str, Sequence[str] | None]
    #: Each attribute of the entity itself to the names of the syncs that write it, as far as known.
    writers: Mapping[str, Sequence[str]]


@router.get("/find")
def find(view: TheView, q: _Text = "") -> Response:
    text = q.strip()
    if not text:
        return RedirectResponse("/", 303)
    return view.page(FoundContext(text=text, found=view.service.lookup.find(text)))


@router.get("/people")
def show_person(view: TheView, value: _Text, by: PersonKey | None = None, store: str = "default") -> Response:
    sought = view.service.lookup.person(store, value, by)
    return _page(view, sought, title=sought.value, heading=f"Person by {sought.kind}", noun="person")


@router.get("/objects")
def show_object(
    view: TheView,
    object_id: Annotated[str, Query(max_length=500, alias="id")],
    object_type: Annotated[str, Query(alias="type")],
    store: str = "default",
) -> Response:
    sought = view.service.lookup.one_object(store, object_type, object_id)
    return _page(view, sought, title=sought.value, heading=f"Object of type {object_type}", noun="object")


@router.get("/collections")
def show_collection(view: TheView, name: _Text, key: _Text = "", store: str = "default") -> Response:
    sought = view.service.lookup.collection(store, name, key.strip())
    return _page(view, sought, title=name, heading="Collection", noun="row" if sought.value else "collection")


def _page(view: View, sought: Sought, *, title: str, heading: str, noun: str) -> Response:
    found = view.service.lookup.look(sought)
    rejected = found.rejected[:_LISTED_REJECTIONS]
    names = dict.fromkeys([*(row.sync for row in rejected), *(sync.name for sync in found.feeding)])
    statuses = view.service.statuses(list(names)[:_LISTED_SYNCS])
    attributes = {sync.name: written_attributes(sync, None) for sync in found.feeding}
    writers: dict[str, list[str]] = defaultdict(list)
    for sync in found.feeding:
        if sync.target.entity is sought.entity:
            for name in attributes[sync.name] or ():
                writers[name].append(sync.name)
    content = found.content or {}
    shown = _IDENTIFIERS if sought.entity.traits.has_other_identifiers else {}
    context = EntityContext(
        sought=sought,
        title=title or "(blank)",
        heading=heading,
        noun=noun,
        stored=found,
        rejected=rejected,
        identifiers={word: content[name] for name, word in shown.items() if name in content},
        feeding={status.definition.name: status for status in statuses},
        attributes=attributes,
        writers=writers,
    )
    if found.fault is not None:
        return view.page(context, status=problem_of(found.fault).status)
    return view.page(context, status=200 if found.content is not None or found.rejected else 404)
