"""What every page is made with: the service, who looks, and what was just done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, assert_never
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from syncer.model.json_text import json_text
from syncer.model.spelling import identifier
from syncer.model.types import Entity, Rejection, SyncDefinition
from syncer.service.service import Service
from syncer.settings.service import Scope
from syncer.sync.stored import key_parts
from syncer.web import rendering
from syncer.web.actions import Orders
from syncer.web.auth.principals import Means, caller
from syncer.web.pages import charts, highlighting, wording
from syncer.web.pages.provenance import Provenance

#: What a page says of what was just done; an address holds only the name of the message.
MESSAGES: Mapping[str, str] = {
    "started": "The run was requested.",
    "already": "A run of this sync waits or goes on already; this is it.",
    "paused": "The schedule is paused. A run that goes on is left alone.",
    "resumed": "The schedule goes on with its next tick.",
    "stopping": "The run ends after the batch in hand.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who looks at a page, and at what kind of service."""

    actor: str
    may_run: bool
    can_log_out: bool
    leads: bool
    #: Who leads in place of this service.
    leader: str
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What the routes of all pages share."""

    orders: Orders
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def service(self) -> Service:
        """What the pages tell of."""
        return self.orders.service

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page, with what stands on all of them."""
        return rendering.page(
            template,
            status=status,
            viewer=self._viewer(request),
            said=_said(request),
            path=request.url.path,
            place=self._place,
            **values,
        )

    def _place(self, path: Path) -> str:
        """A definition's file, from the folder that holds the definitions on."""
        folder = self.service.settings.definitions_dir.parent
        return str(path.relative_to(folder) if path.is_relative_to(folder) else path)

    def _viewer(self, request: Request) -> Viewer:
        who, service = caller(request).principal, self.service
        return Viewer(
            actor=who.actor if who else "",
            may_run=who is not None and who.may(Scope.RUN),
            can_log_out=who is not None and who.means is Means.SESSION,
            leads=service.leads,
            leader="" if service.leads else service.leadership.leader(),
            now=service.now(),
        )


def back_to(path: str, said: str, **query: str) -> Response:
    """Lead a browser to a page after a change, with a message there."""
    return RedirectResponse(f"{path}?{urlencode({**query, 'said': said})}", 303)


def thing_address(entity: Entity, kind: str, value: str, store: str) -> str:
    """The page of a person, an object, or a row of a collection."""
    match entity:
        case Entity.PERSON:
            path, named = "/people", {"by": kind, "value": value}
        case Entity.OBJECT:
            path, named = "/objects", {"type": kind, "id": value}
        case Entity.COLLECTION:
            path, named = "/collections", {"name": kind, "key": value}
        case Entity.RELATIONSHIP:
            raise ValueError("a relationship is shown with its person and with its object")
        case _:
            assert_never(entity)
    return f"{path}?{urlencode({**named, 'store': store})}"


def key_links(sync: SyncDefinition, row: Rejection) -> list[tuple[str, str, str]]:
    """Each part of a rejected row's key: its column, its text, and the page of what it names; empty without a key."""
    target, parts = sync.target, key_parts(sync, row.key)
    if not any(parts):
        return []
    if target.collection is not None:
        address = thing_address(target.entity, target.collection, row.key, sync.store)
        return [(column, part, address) for column, part in zip(target.key_columns, parts, strict=True)]
    addresses = [thing_address(Entity.PERSON, target.person_key, parts[0], sync.store)] if target.person_key else []
    if target.object_type:
        addresses.append(thing_address(Entity.OBJECT, target.object_type, parts[-1], sync.store))
    return list(zip(target.key_columns, parts, addresses, strict=True))


def _said(request: Request) -> str:
    return MESSAGES.get(request.query_params.get("said", ""), "")


def _version_of_static() -> str:
    """Changes with the files, so that no browser keeps old ones."""
    files = sorted((rendering.PAGES / "static").iterdir())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _read_time(text: object) -> datetime | None:
    """A time as stores give it, where that can be read."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _without_quotes(value: object) -> str:
    """A value of a store, for people: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json_text(value)


rendering.environment.filters.update(
    ago=wording.ago,
    fed=wording.fed,
    limit=wording.limit,
    moment=wording.moment,
    number=wording.number,
    prose=wording.prose,
    read_time=_read_time,
    removal=wording.removal,
    schedule=wording.schedule_words,
    seconds_of=wording.seconds_of,
    span=wording.span,
    started_by=wording.started_by,
    told=_without_quotes,
)
rendering.environment.globals.update(
    assets=_version_of_static(),
    identifier=identifier,
    key_links=key_links,
    sql=highlighting.sql,
    svg=charts.svg,
    status_words=wording.STATUS_WORDS,
    thing_address=thing_address,
)
