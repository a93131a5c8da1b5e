"""Which syncs write the same attributes of the same entities: the last one to run wins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import assert_never

from syncer.definitions.columns import attribute_columns
from syncer.model.errors import DefinitionError
from syncer.model.spelling import listed
from syncer.model.types import Entity, SyncDefinition
from syncer.queries import query


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionWarning:
    """Something in a file that is probably a mistake."""

    path: Path
    #: Counted from 1.
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def written_attributes(definition: SyncDefinition, columns: Sequence[str] | None) -> tuple[str, ...] | None:
    """The attributes that a sync writes; None if unknown.

    Shapes:
        columns: of the query's result; None where they are not known: then the query's text is read.
    """
    if columns is None and definition.attributes is not None:
        columns = (*definition.target.key_columns, *definition.attributes.values())
    elif columns is None:
        columns = _columns_in_text(definition)
    if columns is None:
        return None
    try:
        return tuple(attribute_columns(definition, columns))
    except DefinitionError:
        return None


def shared_attributes(
    definitions: Sequence[SyncDefinition], columns_by_sync: Mapping[str, Sequence[str]]
) -> tuple[DefinitionWarning, ...]:
    """A warning for each group of syncs that write the same attributes of the same entities.

    Shapes:
        columns_by_sync: name to the columns of its result, as far as they are known.
    """
    warnings: list[DefinitionWarning] = []
    for fed, syncs in groupby(sorted(definitions, key=_fed), key=_fed):
        group = list(syncs)
        if len(group) > 1:
            warnings += _warnings(_things(fed), group, columns_by_sync)
    return tuple(sorted(warnings, key=lambda warning: (warning.path, warning.line, warning.message)))


def _warnings(
    things: str, group: Sequence[SyncDefinition], columns_by_sync: Mapping[str, Sequence[str]]
) -> list[DefinitionWarning]:
    writers: dict[str, list[SyncDefinition]] = defaultdict(list)
    for definition in group:
        for attribute in written_attributes(definition, columns_by_sync.get(definition.name)) or ():
            writers[attribute].append(definition)
    attributes: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for attribute, syncs in writers.items():
        attributes[tuple(sync.name for sync in syncs)].append(attribute)
    named = {definition.name: definition for definition in group}
    return [
        DefinitionWarning(
            path=named[syncs[-1]].path,
            line=named[syncs[-1]].lines.get("attributes", named[syncs[-1]].lines.get("entity", 1)),
            message=f"{listed(syncs, last='and')} write the same attributes of {things}: "
            f"{listed(shared, last='and')}; the last one to run wins",
        )
        for syncs, shared in attributes.items()
        if len(syncs) > 1
    ]


def _fed(definition: SyncDefinition) -> tuple[str, Entity, str]:
    """The store, and what of it the sync feeds."""
    target = definition.target
    return definition.store, target.entity, target.object_type or target.collection or ""


def _things(fed: tuple[str, Entity, str]) -> str:
    store, entity, name = fed
    return f"{_named(entity, name)} in the store `{store}`"


def _named(entity: Entity, name: str) -> str:
    match entity:
        case Entity.PERSON:
            return "people"
        case Entity.OBJECT:
            return f"objects `{name}`"
        case Entity.RELATIONSHIP:
            return f"relationships to objects `{name}`"
        case Entity.COLLECTION:
            return f"the collection `{name}`"
        case _:
            assert_never(entity)


def _columns_in_text(definition: SyncDefinition) -> tuple[str, ...] | None:
    try:
        sql = query.render(definition, last_sync_time=0, variables={}, environment={})
    except DefinitionError:
        return None
    return query.output_columns(sql)
