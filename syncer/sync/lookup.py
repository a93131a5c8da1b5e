"""What a store contains of one person, object or collection, which syncs feed it, and its rejected rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from syncer.model.errors import SelectionError, SyncerError
from syncer.model.spelling import did_you_mean, identifier, quoted
from syncer.model.types import Entity, Identity, PersonKey, Rejection, SyncDefinition
from syncer.settings.settings import Settings
from syncer.state.runs import RunLog

#: The most rejected rows that a search returns.
_MOST_REJECTED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A person, an object, or a collection or one of its rows, that a store may contain."""

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
        """Whether a sync writes such entities, their relationships included."""
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
        """Whether a rejected row of a sync is about this entity."""
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
    """What is known of one entity."""

    #: As `ProfileStore.show` returns it; None where the store has no such entity, or did not answer.
    content: dict[str, Any] | None
    #: The syncs that write such entities.
    feeding: Sequence[SyncDefinition]
    rejected: Sequence[Rejection]
    #: Why the store did not answer.
    fault: SyncerError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The hits of a search."""

    #: The people and objects that stores contain, of the identifier that was typed.
    entities: Sequence[Sought]
    #: The rejected rows whose key contains the text, each with its sync.
    rejected: Sequence[tuple[SyncDefinition, Rejection]]
    #: The syncs whose names contain the text.
    syncs: Sequence[SyncDefinition]
    #: Why a store did not answer that some sync feeds.
    faults: Sequence[SyncerError]
    #: Stores that did not answer, and that no sync feeds.
    unread: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Reads the stores of the settings.

    Each method that names a store raises SelectionError where the settings have no such store.
    """

    settings: Settings
    run_log: RunLog
    #: By name.
    definitions: Mapping[str, SyncDefinition]

    def person(self, store: str, value: str, by: PersonKey | None = None) -> Sought:
        """The person of an identifier; by default of the kind that identifies people in the store."""
        identity = self._identity(store)
        if by is None:
            is_id = identity is Identity.ID or (identity is Identity.ID_OR_EMAIL and "@" not in value)
            by = PersonKey.ID if is_id else PersonKey.EMAIL
        value = identifier(value).lower() if by is PersonKey.EMAIL else identifier(value)
        return Sought(store=store, entity=Entity.PERSON, kind=by, value=value)

    def one_object(self, store: str, object_type: str, object_id: str) -> Sought:
        """The object of a type and an id."""
        self._identity(store)
        return Sought(store=store, entity=Entity.OBJECT, kind=object_type, value=identifier(object_id))

    def collection(self, store: str, name: str, key: str = "") -> Sought:
        """A row of a collection, or its first rows; several columns of a key are a JSON array."""
        self._identity(store)
        return Sought(store=store, entity=Entity.COLLECTION, kind=name, value=key)

    def look(self, sought: Sought) -> Stored:
        """What the store, the definitions and the run log know of one entity.

        Raises:
            StateDatabaseError: the run log cannot be read.
        """
        content, fault = None, None
        try:
            with closing(self.settings.stores[sought.store].open(sought.store)) as opened:
                content = opened.show(sought.entity, sought.kind, sought.value)
        except SyncerError as exc:
            fault = exc
        if content is not None and sought.entity.traits.has_other_identifiers:
            names = {PersonKey.ID: "id", PersonKey.EMAIL: "email", PersonKey.CIO_ID: "person_id"}
            known = {str(kind): content.get(name) for kind, name in names.items()}
            sought = replace(sought, others={kind: str(value) for kind, value in known.items() if value is not None})
        feeding = {name: sync for name, sync in self.definitions.items() if sought.is_fed_by(sync)}
        rejected = [row for row in self.run_log.rejections_of(feeding) if sought.is_meant_by(feeding[row.sync], row)]
        return Stored(content=content, feeding=[*feeding.values()], rejected=rejected, fault=fault)

    def find(self, text: str) -> Found:
        """The people, objects, rejected rows and syncs of an identifier or a part of a name; *text* is not empty."""
        entities: list[Sought] = []
        faults: list[SyncerError] = []
        unread: list[str] = []
        for store in self.settings.stores:
            try:
                entities += self._contained(store, text)
            except SyncerError as exc:
                if any(sync.store == store for sync in self.definitions.values()):
                    faults.append(exc)
                else:
                    unread.append(store)
        rows = self.run_log.rejections_with(identifier(text), _MOST_REJECTED)
        return Found(
            entities=entities,
            rejected=[(self.definitions[row.sync], row) for row in rows if row.sync in self.definitions],
            syncs=[sync for name, sync in self.definitions.items() if text.strip().lower() in name],
            faults=faults,
            unread=unread,
        )

    def _contained(self, store: str, text: str) -> list[Sought]:
        keys = (PersonKey.ID, PersonKey.EMAIL) if "@" in text else (PersonKey.ID,)
        fed = [sync for sync in self.definitions.values() if sync.store == store]
        types = sorted({sync.target.object_type for sync in fed if sync.target.object_type})
        wanted = [self.person(store, text, key) for key in keys]
        wanted += [self.one_object(store, object_type, text) for object_type in types]
        with closing(self.settings.stores[store].open(store)) as opened:
            return [sought for sought in wanted if opened.show(sought.entity, sought.kind, sought.value) is not None]

    def _identity(self, store: str) -> Identity:
        if store not in self.settings.stores:
            raise SelectionError(f"no store is called {quoted(store)}", hint=did_you_mean(store, self.settings.stores))
        return self.settings.stores[store].identity


def key_parts(sync: SyncDefinition, key: str) -> list[str]:
    """A rejected row's key, a text for each column; blank ones where it has none."""
    columns = len(sync.target.key_columns)
    parts = [key] if columns == 1 else _parts(key)
    return parts if len(parts) == columns else [""] * columns


def _parts(text: str) -> list[str]:
    try:
        parts = json.loads(text)
    except ValueError:
        return []
    return [str(part) for part in parts] if isinstance(parts, list) else []
