"""Which syncs write the same attributes of the same entities: the last one to run wins."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        columns: of the query's result; None if they are unknown; then the query's text is read.
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
    fed = {definition.name: _fed(definition) for definition in definitions}
    several = {things for things, count in Counter(fed.values()).items() if count > 1}
    by_name = {definition.name: definition for definition in definitions if fed[definition.name] in several}
    writers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, definition in sorted(by_name.items()):
        for attribute in written_attributes(definition, columns_by_sync.get(name)) or ():
            writers[fed[name], attribute].append(name)
    shared: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (things, attribute), names in writers.items():
        if len(names) > 1:
            shared[things, tuple(names)].append(attribute)
    warnings = [
        DefinitionWarning(
            path=by_name[names[-1]].path,
            line=by_name[names[-1]].lines.get("attributes", by_name[names[-1]].lines.get("entity", 1)),
            message=f"{listed(names, last='and')} write the same attributes of {things}: "
            f"{listed(attributes, last='and')}; the last one to run wins",
        )
        for (things, names), attributes in shared.items()
    ]
    return tuple(sorted(warnings, key=lambda warning: (warning.path, warning.line, warning.message)))


def _fed(definition: SyncDefinition) -> str:
    """What a sync feeds, for people; the same for every sync that feeds the same."""
    target = definition.target
    match target.entity:
        case Entity.PERSON:
            things = "people"
        case Entity.OBJECT:
            things = f"objects `{target.object_type}`"
        case Entity.RELATIONSHIP:
            things = f"relationships to objects `{target.object_type}`"
        case Entity.COLLECTION:
            things = f"the collection `{target.collection}`"
        case _:
            assert_never(target.entity)
    return f"{things} in the store `{definition.store}`"


def _columns_in_text(definition: SyncDefinition) -> tuple[str, ...] | None:
    try:
        sql = query.render(definition, last_sync_time=0, variables={}, environment={})
    except DefinitionError:
        return None
    return query.output_columns(sql)
