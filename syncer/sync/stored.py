"""One thing of a store: what the store holds of it, which syncs feed it, and what of it is refused."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from syncer.model.errors import SelectionError
from syncer.model.protocols import ProfileStore
from syncer.model.spelling import did_you_mean, identifier, quoted
from syncer.model.types import Entity, Identity, PersonKey, Rejection, SyncDefinition
from syncer.settings.registry import StoreSettings
from syncer.state.runs import RunLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """One thing that a store may hold."""

    store: str
    #: A person, an object or a collection.
    entity: Entity
    #: `id`, `email` or `cio_id`; an object's type; a collection's name.
    kind: str
    #: An identifier as stores spell it; a collection's key, or empty for its first rows.
    value: str
    #: The other identifiers that the store knows a person by.
    others: Mapping[str, str] = field(default_factory=dict)

    def is_fed_by(self, sync: SyncDefinition) -> bool:
        """Whether a sync writes such things, their relationships included."""
        target = sync.target
        if sync.store != self.store:
            return False
        match self.entity:
            case Entity.PERSON:
                return target.entity.traits.names_person
            case Entity.OBJECT | Entity.RELATIONSHIP:
                return target.object_type == self.kind
            case Entity.COLLECTION:
                return target.collection == self.kind
            case _:
                assert_never(self.entity)

    def is_meant_by(self, sync: SyncDefinition, row: Rejection) -> bool:
        """Whether a row that a sync refused is about this thing."""
        key = key_parts(sync, row.key)
        match self.entity:
            case Entity.PERSON:
                known = {**self.others, self.kind: self.value}
                return sync.target.person_key in known and key[0] == known[str(sync.target.person_key)]
            case Entity.OBJECT | Entity.RELATIONSHIP:
                return key[-1] == self.value
            case Entity.COLLECTION:
                return not self.value or key in ([self.value], _parts(self.value))
            case _:
                assert_never(self.entity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is known of one thing."""

    #: As `ProfileStore.show` gives it; None where the store holds no such thing.
    held: dict[str, Any] | None
    #: The syncs that write such things.
    feeding: Sequence[SyncDefinition]
    refused: Sequence[Rejection]


def person(stores: Mapping[str, StoreSettings], store: str, value: str, by: PersonKey | None = None) -> Sought:
    """The person of an identifier; by default of what the store tells people apart by.

    Raises:
        SelectionError: there is no such store.
    """
    kind = by or _fitting(_setting(stores, store).identity, value)
    value = identifier(value).lower() if kind is PersonKey.EMAIL else identifier(value)
    return Sought(store=store, entity=Entity.PERSON, kind=kind, value=value)


def one_object(stores: Mapping[str, StoreSettings], store: str, object_type: str, object_id: str) -> Sought:
    """The object of a type and an id.

    Raises:
        SelectionError: there is no such store.
    """
    _setting(stores, store)
    return Sought(store=store, entity=Entity.OBJECT, kind=object_type, value=identifier(object_id))


def collection(stores: Mapping[str, StoreSettings], store: str, name: str, key: str = "") -> Sought:
    """A row of a collection, or its first rows; several columns of a key are a JSON array.

    Raises:
        SelectionError: there is no such store.
    """
    _setting(stores, store)
    return Sought(store=store, entity=Entity.COLLECTION, kind=name, value=key)


def look(sought: Sought, opened: ProfileStore, definitions: Iterable[SyncDefinition], run_log: RunLog) -> Stored:
    """What the store, the definitions and the run log know of one thing.

    Raises:
        StoreError: the store does not answer.
    """
    held = opened.show(sought.entity, sought.kind, sought.value)
    return around(sought, held, definitions, run_log)


def around(
    sought: Sought, held: dict[str, Any] | None, definitions: Iterable[SyncDefinition], run_log: RunLog
) -> Stored:
    """What the definitions and the run log know of one thing, of which the store holds *held*."""
    feeding = [sync for sync in definitions if sought.is_fed_by(sync)]
    known = _with_others(sought, held or {})
    by_name = {sync.name: sync for sync in feeding}
    refused = [row for row in run_log.rejections_of(by_name) if known.is_meant_by(by_name[row.sync], row)]
    return Stored(held=held, feeding=feeding, refused=refused)


def key_parts(sync: SyncDefinition, key: str) -> list[str]:
    """A rejected row's key, a text for each column; blank ones where it has none."""
    columns = len(sync.target.key_columns)
    parts = [key] if columns == 1 else _parts(key)
    return parts if len(parts) == columns else [""] * columns


def object_types(definitions: Collection[SyncDefinition], store: str) -> list[str]:
    """The types of objects that syncs feed to a store, by name."""
    return sorted({sync.target.object_type for sync in definitions if sync.store == store and sync.target.object_type})


def _with_others(sought: Sought, held: Mapping[str, Any]) -> Sought:
    if not sought.entity.traits.has_other_identifiers:
        return sought
    told = {PersonKey.ID: held.get("id"), PersonKey.EMAIL: held.get("email"), PersonKey.CIO_ID: held.get("person_id")}
    others = {str(kind): str(value) for kind, value in told.items() if value is not None}
    return Sought(store=sought.store, entity=sought.entity, kind=sought.kind, value=sought.value, others=others)


def _setting(stores: Mapping[str, StoreSettings], store: str) -> StoreSettings:
    if store not in stores:
        raise SelectionError(f"no store is called {quoted(store)}", hint=did_you_mean(store, stores))
    return stores[store]


def _fitting(identity: Identity, value: str) -> PersonKey:
    if identity is Identity.ID or (identity is Identity.ID_OR_EMAIL and "@" not in value):
        return PersonKey.ID
    return PersonKey.EMAIL


def _parts(text: str) -> list[str]:
    try:
        parts = json.loads(text)
    except ValueError:
        return []
    return [str(part) for part in parts] if isinstance(parts, list) else []
