"""What each sync had to do with one entity, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, assert_never

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from syncer.model.json_text import json_text
from syncer.model.types import Entity, PersonKey
from syncer.sync import explaining
from syncer.sync.asking_now import with_now
from syncer.sync.lookup import Lookup, Sought
from syncer.web.api.documents import problems
from syncer.web.auth import guard
from syncer.web.parameters import TheService
from syncer.web.problems import ProblemError
from syncer.web.schemas import ExplanationPage

_Text = Annotated[str, Query(max_length=500)]

router = APIRouter(tags=["entities"], dependencies=[Depends(guard.operators_only)])


def _sought(
    service: TheService,
    entity: Annotated[Entity, Query(description="What it is.")],
    value: Annotated[str, Query(max_length=500, description="Of a person or an object its identifier, or a key.")],
    by: Annotated[PersonKey | None, Query(description="The kind of a person's identifier.")] = None,
    object_type: Annotated[str, Query(alias="type", description="Of an object or a relationship.")] = "",
    object_id: Annotated[str, Query(alias="object", max_length=500, description="Of a relationship, its object.")] = "",
    token: Annotated[str, Query(max_length=1_000, description="Of a device.")] = "",
    name: Annotated[str, Query(description="Of a collection or an event.")] = "",
    store: Annotated[str, Query(description="The store to read.")] = "default",
) -> Sought:
    lookup: Lookup = service.lookup
    match entity:
        case Entity.PERSON:
            return lookup.person(store, value, by)
        case Entity.OBJECT:
            return lookup.one_object(store, _given(object_type, "type"), value)
        case Entity.RELATIONSHIP:
            person = lookup.person(store, value, by)
            return lookup.relationship(person, _given(object_type, "type"), _given(object_id, "object"))
        case Entity.DEVICE:
            return lookup.device(lookup.person(store, value, by), _given(token, "token"))
        case Entity.COLLECTION:
            return lookup.collection(store, _given(name, "name"), _given(value, "value"))
        case Entity.MERGE:
            raise ProblemError(404, "a merge is explained with the person who was kept")
        case Entity.EVENT:
            return lookup.event(store, _given(name, "name"), _given(value, "value"))
        case _:
            assert_never(entity)


def _given(text: str, parameter: str) -> str:
    if not text:
        raise ProblemError(404, f"no such entity is known without the parameter `{parameter}`")
    return text


@router.get("/explain", response_model=ExplanationPage, response_class=Response, responses=problems(404, 409))
def explain(
    service: TheService,
    sought: Annotated[Sought, Depends(_sought)],
    sync: Annotated[str | None, Query(max_length=200, description="Ask only the sync of this name.")] = None,
    now: Annotated[bool, Query(description="Ask the warehouse too what it has now of these rows.")] = False,
) -> Response:
    """Explain what each sync had to do with a person, object, relationship, device, event or row of a collection."""
    found = explaining.explain(service.lookup, sought, sync=sync)
    if now:
        found = with_now(service.settings, found)
    if not found.is_known and sync is None and not any(row.busy for row in found.rows):
        raise ProblemError(404, found.notes[0])
    items = {"items": [asdict(row) for row in found.rows], "notes": found.notes}
    return Response(json_text(items), media_type="application/json")
