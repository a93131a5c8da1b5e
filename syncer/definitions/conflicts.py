"""What `validate` warns of: syncs that conflict, limits that are missing, and what lists do not do."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from syncer.definitions.columns import attribute_columns, match_column
from syncer.model.errors import DefinitionError
from syncer.model.query_variables import QueryVariables
from syncer.model.spelling import listed
from syncer.model.types import Entity, ListAction, PersonKey, SyncDefinition
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
        own = definition.device.columns if definition.device else {}
        columns = (*definition.target.key_columns, *own.values(), *definition.attributes.values())
    elif columns is None:
        columns = _columns_in_text(definition)
    if columns is None:
        return None
    try:
        written = attribute_columns(definition, columns)
    except DefinitionError:
        return None
    return (*written, "platform") if definition.device and definition.device.platform else tuple(written)


def shared_attributes(
    definitions: Sequence[SyncDefinition],
    columns_by_sync: Mapping[str, Sequence[str]],
    paths: Collection[Path] | None = None,
) -> tuple[DefinitionWarning, ...]:
    """A warning for each group of syncs that write the same attributes of the same entities.

    Shapes:
        columns_by_sync: name to the columns of its result, as far as they are known.
        paths: of the files that get the warning, as far as they are of the group; None for its last one.
    """
    # Events take nothing from each other.
    fed = {one.name: _fed(one) for one in definitions if not one.target.entity.traits.happens}
    several = {things for things, count in Counter(fed.values()).items() if count > 1}
    by_name = {definition.name: definition for definition in definitions if fed.get(definition.name) in several}
    writers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, definition in sorted(by_name.items()):
        for attribute in written_attributes(definition, columns_by_sync.get(name)) or ():
            # A rule says whose value stands, and who may not write it.
            if attribute not in definition.rules or not definition.rules[attribute].sources:
                writers[fed[name], attribute].append(name)
    shared: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (things, attribute), names in writers.items():
        if len(names) > 1:
            shared[things, tuple(names)].append(attribute)
    warnings = [
        _at(
            by_name[name],
            "attributes",
            f"{listed(names, last='and')} write the same attributes of {things}: "
            f"{listed(attributes, last='and')}; the last one to run wins"
            + (
                ", unless `attributes.yml` says whose value stands"
                if by_name[name].target.entity is Entity.PERSON
                else ""
            ),
        )
        for (things, names), attributes in shared.items()
        for name in (names[-1:] if paths is None else names)
        if paths is None or by_name[name].path in paths
    ]
    return tuple(sorted(warnings, key=lambda warning: (warning.path, warning.line, warning.message)))


def neighbours_to_ask(
    chosen: Collection[SyncDefinition], definitions: Sequence[SyncDefinition]
) -> list[SyncDefinition]:
    """Other syncs that feed what *chosen* ones feed, and whose attributes only the warehouse knows."""
    fed = {_fed(definition) for definition in chosen if not definition.target.entity.traits.happens}
    others = [one for one in definitions if one not in chosen and _fed(one) in fed]
    return [one for one in others if written_attributes(one, None) is None]


def different_person_keys(definitions: Sequence[SyncDefinition]) -> list[DefinitionWarning]:
    """A warning for each sync that knows the people of a store by another identifier than most syncs of that store."""
    keys: dict[str, Counter[str]] = defaultdict(Counter)
    people = [one for one in definitions if one.target.entity.traits.names_person and one.target.action is None]
    people = [one for one in people if one.target.person_key is not None]
    for definition in people:
        keys[definition.store][definition.target.person] += 1
    most = {store: max(count, key=lambda key: (count[key], key == PersonKey.ID)) for store, count in keys.items()}
    return [
        _at(
            definition,
            "person",
            f"`{definition.name}` knows people by {definition.target.person}, most syncs of the store "
            f"`{definition.store}` by {most[definition.store]}: where an identifier moves to another person, the two "
            "may write to different people",
        )
        for definition in people
        if definition.target.person != most[definition.store]
    ]


def missing_limits(definitions: Sequence[SyncDefinition], billed: Collection[str]) -> list[DefinitionWarning]:
    """A warning for each sync that may add any number of people to a store that charges for them, by name *billed*."""
    return [
        _at(
            definition,
            "limits",
            "a wrong join could add any number of people, and this store charges for each: set "
            "`limits: {added: 10%}` or a number of rows",
        )
        for definition in definitions
        if definition.store in billed
        and definition.create
        and definition.limits.added is None
        and definition.target.entity.traits.names_person
        and definition.target.action is None
    ]


_HOW_TO_STOP = {
    ListAction.DELETE: "leave them out of it, or write `action: suppress`",
    ListAction.MERGE: "leave them out of it once they are merged",
}


def people_made_anew(definitions: Sequence[SyncDefinition]) -> list[DefinitionWarning]:
    """A warning for each list that deletes or merges people whom other syncs of the store may make again."""
    makers = defaultdict[str, list[str]](list)
    for definition in sorted(definitions, key=lambda one: one.name):
        is_maker = definition.target.entity is Entity.PERSON and definition.target.action is None
        if is_maker and definition.create and definition.enabled:
            makers[definition.store].append(definition.name)
    return [
        _at(
            definition,
            "action",
            f"{listed(names, last='and')} {'makes' if len(names) == 1 else 'make'} a {definition.target.action.done} "
            f"person anew where the query still returns them: {_HOW_TO_STOP[definition.target.action]}",
        )
        for definition in definitions
        if definition.target.action in _HOW_TO_STOP and (names := makers[definition.store])
    ]


def columns_not_sent(
    definitions: Sequence[SyncDefinition], columns_by_sync: Mapping[str, Sequence[str]]
) -> list[DefinitionWarning]:
    """A warning for each list whose query returns more than the person; *columns_by_sync* as `shared_attributes`."""
    warnings = []
    for definition in definitions:
        if definition.target.action is None:
            continue
        columns = columns_by_sync.get(definition.name) or _columns_in_text(definition) or ()
        keys = {match_column(key, columns) for key in definition.target.key_columns}
        if others := [column for column in columns if column not in keys]:
            message = f"a list sends no attributes, and leaves out {listed(others, last='and')}"
            warnings.append(_at(definition, "action", message))
    return warnings


def _at(definition: SyncDefinition, field: str, message: str) -> DefinitionWarning:
    line = definition.lines.get(field, definition.lines.get("entity", 1))
    return DefinitionWarning(path=definition.path, line=line, message=message)


def _fed(definition: SyncDefinition) -> str:
    """What a sync feeds, for people; the same for every sync that feeds the same."""
    return f"{definition.target.things} in the store `{definition.store}`"


_ANY_VARIABLE = QueryVariables(allowed=("*",))


def _columns_in_text(definition: SyncDefinition) -> tuple[str, ...] | None:
    try:
        sql = query.render(definition, last_sync_time=0, variables={}, environment=lambda: _ANY_VARIABLE)
    except DefinitionError:
        return None
    return query.output_columns(sql)
