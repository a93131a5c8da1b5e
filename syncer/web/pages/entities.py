"""`/find`, `/people`, `/objects`, `/collections`: what stores hold of one thing, who feeds it, what is refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from syncer.definitions.conflicts import written_attributes
from syncer.model.errors import SyncerError
from syncer.model.types import PersonKey, SyncDefinition
from syncer.sync import stored
from syncer.sync.stored import Sought, Stored
from syncer.web.pages.viewing import Pages
from syncer.web.problems import problem_of

_Text = Annotated[str, Query(max_length=500)]

#: Of what `ProfileStore.show` gives of a person, the identifiers, as definitions call them.
_IDENTIFIERS: Mapping[str, str] = {"id": "id", "email": "email", "person_id": "cio_id"}


def add(routes: APIRouter, pages: Pages) -> None:
    """Add the routes."""
    stores = pages.service.settings.stores

    @routes.get("/find")
    def find(request: Request, q: _Text = "") -> Response:
        text = q.strip()
        if not text:
            return RedirectResponse("/", 303)
        return pages.page(request, "found.html", sought_text=text, found=pages.service.lookup.find(text))

    @routes.get("/people")
    def person(request: Request, value: _Text, by: PersonKey | None = None, store: str = "default") -> Response:
        sought = stored.person(stores, store, value, by)
        return _thing(request, pages, sought, title=sought.value, sort=f"Person by {sought.kind}", word="person")

    @routes.get("/objects")
    def one_object(
        request: Request,
        id: _Text,  # noqa: A002
        object_type: Annotated[str, Query(alias="type")],
        store: str = "default",
    ) -> Response:
        sought = stored.one_object(stores, store, object_type, id)
        return _thing(request, pages, sought, title=sought.value, sort=f"Object of type {object_type}", word="object")

    @routes.get("/collections")
    def collection(request: Request, name: _Text, key: _Text = "", store: str = "default") -> Response:
        sought = stored.collection(stores, store, name, key.strip())
        word = "row" if sought.value else "collection"
        return _thing(request, pages, sought, title=name, sort="Collection", word=word)


def _thing(request: Request, pages: Pages, sought: Sought, *, title: str, sort: str, word: str) -> Response:
    found, fault = pages.service.lookup.look(sought)
    statuses = pages.service.statuses({sync.name for sync in found.feeding})
    attributes = {sync.name: written_attributes(sync, None) for sync in found.feeding}
    return pages.page(
        request,
        "entity.html",
        status=_status(found, fault),
        fault=fault,
        sought=sought,
        stored=found,
        title=title or "(blank)",
        sort=sort,
        sort_word=word,
        identifiers=_identifiers(sought, found.held or {}),
        feeding={status.definition.name: status for status in statuses},
        attributes=attributes,
        writers=_writers(sought, found.feeding, attributes),
    )


def _status(found: Stored, fault: SyncerError | None) -> int:
    if fault is not None:
        return problem_of(fault).status
    return 200 if found.held is not None or found.refused else 404


def _identifiers(sought: Sought, held: Mapping[str, Any]) -> dict[str, Any]:
    if not sought.entity.traits.has_other_identifiers:
        return {}
    return {shown: held[name] for name, shown in _IDENTIFIERS.items() if name in held}


def _writers(
    sought: Sought, feeding: Sequence[SyncDefinition], attributes: Mapping[str, Sequence[str] | None]
) -> dict[str, list[str]]:
    """Each attribute of the thing itself to the syncs that write it, as far as that can be told."""
    writers: dict[str, list[str]] = defaultdict(list)
    for sync in feeding:
        if sync.target.entity is sought.entity:
            for name in attributes[sync.name] or ():
                writers[name].append(sync.name)
    return writers
