"""How the entities of a sync are named among the removals of a store, and which rows a removal touches."""

from __future__ import annotations

from typing import assert_never

from syncer.model.types import Entity, Target
from syncer.snapshot.session import key_text
from syncer.snapshot.values import literal


def names(target: Target, keys: list[str]) -> dict[str, str]:
    """SQL for the `entity`, `kind` and `value` that name a row's own entity."""
    match target.entity:
        case Entity.PERSON:
            kind, value = str(target.person_key), "k1"
        case Entity.OBJECT:
            kind, value = str(target.object_type), "k1"
        case Entity.RELATIONSHIP:
            kind, value = f"{target.person_key}:{target.object_type}", key_text(keys)
        case Entity.COLLECTION:
            kind, value = str(target.collection), key_text(keys)
        case _:
            assert_never(target.entity)
    return {"entity": literal(target.entity), "kind": literal(kind), "value": value}


def touched(target: Target, keys: list[str]) -> str:
    """SQL for whether a removal in the table `removed` names the row's entity, or an end of the relationship."""
    own = names(target, keys)
    named = [(own["entity"], own["kind"], own["value"])]
    if target.entity.traits.links:
        named.append((literal(Entity.PERSON), literal(str(target.person_key)), "k1"))
        named.append((literal(Entity.OBJECT), literal(str(target.object_type)), "k2"))
    return " OR ".join(
        f"{value} IN (SELECT value FROM removed WHERE entity = {entity} AND kind = {kind})"
        for entity, kind, value in named
    )
