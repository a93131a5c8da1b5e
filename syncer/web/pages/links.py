"""URLs of the pages about what stores contain."""

from __future__ import annotations

from typing import assert_never
from urllib.parse import urlencode

from syncer.model.types import Entity, Rejection, SyncDefinition
from syncer.sync.lookup import key_parts


def entity_url(entity: Entity, kind: str, value: str, store: str) -> str:
    """The page of a person, an object, or a row of a collection."""
    match entity:
        case Entity.PERSON:
            path, query = "/people", {"by": kind, "value": value}
        case Entity.OBJECT:
            path, query = "/objects", {"type": kind, "id": value}
        case Entity.COLLECTION:
            path, query = "/collections", {"name": kind, "key": value}
        case Entity.RELATIONSHIP:
            raise ValueError("a relationship has no page; its person and its object have")
        case _:
            assert_never(entity)
    return f"{path}?{urlencode({**query, 'store': store})}"


def key_links(sync: SyncDefinition, row: Rejection) -> list[tuple[str, str, str]]:
    """Each part of a rejected row's key: its column, its text, and the page of its entity; empty without a key."""
    target, parts = sync.target, key_parts(sync, row.key)
    if not any(parts):
        return []
    if target.collection is not None:
        url = entity_url(target.entity, target.collection, row.key, sync.store)
        return [(column, part, url) for column, part in zip(target.key_columns, parts, strict=True)]
    urls = [entity_url(Entity.PERSON, target.person_key, parts[0], sync.store)] if target.person_key else []
    if target.object_type:
        urls.append(entity_url(Entity.OBJECT, target.object_type, parts[-1], sync.store))
    return list(zip(target.key_columns, parts, urls, strict=True))
