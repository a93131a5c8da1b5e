"""What a store contains of one person, object or collection, which syncs feed it, and its rejected rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, assert_never, runtime_checkable

from syncer.model.errors import SelectionError, SyncerError
from syncer.model.protocols import ProfileStore, ReadsBack
from syncer.model.spelling import did_you_mean, identifier, kind_of, quoted
from syncer.model.types import Entity, Identity, PersonKey, Rejection, SyncDefinition, Target, ValueForm
from syncer.settings.settings import Settings
from syncer.snapshot.rows import Place
from syncer.state.rates import sharing
from syncer.state.runs import RunLog
from syncer.sync import events
from syncer.sync.keys import key_of_event, key_parts, parts

#: The most rejected rows that a search returns.
_MOST_REJECTED = 100

#: Characters that a part of an email, a phone or a name has at least, and the most people that a search finds by it.
_SHORTEST_PART, _MOST_PEOPLE = 3, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A person, an object, a relationship, a device, an event, or a collection or one of its rows, that a store may
    contain.
    """

    store: str
    entity: Entity
    #: `id`, `email`, `phone` or `cio_id`; the type of an object, or of a relationship's; a collection's name; `token`;
    #: the name of an event.
    kind: str
    #: An identifier as stores spell it, of a relationship the object's; a device's token; a collection's key, or empty
    #: for its first rows; an event's key.
    value: str
    #: The other identifiers that the store knows a person by; of a relationship or a device, all of its person's.
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def identifiers(self) -> Mapping[str, str]:
        """All that is known of a person's identifiers, by kind."""
        return self.others if self.entity.traits.links else {**self.others, self.kind: self.value}

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole collection."""
        return self.entity is Entity.COLLECTION and not self.value

    def is_fed_by(self, sync: SyncDefinition) -> bool:
        """Whether a sync writes such entities, their relationships and devices included."""
        return sync.store == self.store and self.is_of(sync.target)

    def is_of(self, target: Target) -> bool:
        """Whether a target is of such entities, of their relationships or devices, or merges them."""
        match self.entity:
            case Entity.PERSON:
                return target.entity.traits.names_person or target.entity.traits.names_pair
            case Entity.OBJECT:
                return target.object_type == self.kind
            case Entity.RELATIONSHIP:
                return target.entity.traits.links and target.object_type == self.kind
            case Entity.DEVICE:
                return target.entity.traits.names_device
            case Entity.COLLECTION:
                return target.collection == self.kind
            case Entity.MERGE:
                return target.merged_key is not None
            case Entity.EVENT:
                return target.event is not None and (target.event.column != "" or target.event.name == self.kind)
            case _:
                assert_never(self.entity)

    def places(self, target: Target) -> Sequence[Place]:
        """Where rows about it are in the snapshot of a sync with this target; none where they cannot be known."""
        # Of events the snapshot has no rows, only ids.
        if not self.is_of(target) or target.entity.traits.happens is not self.entity.traits.happens:
            return []
        match self.entity:
            case Entity.PERSON:
                return self._places_of_person(target, {})
            case Entity.RELATIONSHIP | Entity.DEVICE:
                return self._places_of_person(target, {"k2": self.value})
            case Entity.OBJECT:
                return [{f"k{len(target.key_columns)}": self.value}]
            case Entity.MERGE:
                return []
            case Entity.COLLECTION:
                keys = ([self.value], parts(self.value))
                return [
                    {f"k{i}": part for i, part in enumerate(key, start=1)}
                    for key in keys
                    if self.value and len(key) == len(target.key_columns)
                ]
            case Entity.EVENT:
                key = key_of_event(target, self.kind, self.value)
                return [{f"k{i}": part for i, part in enumerate(key, start=1)}] if key else []
            case _:
                assert_never(self.entity)

    def is_related(self, one: Mapping[str, Any]) -> bool:
        """Whether this is about one of a person's devices, or the object of one of their relationships, as
        `ProfileStore.show` has them."""
        if "token" in one:
            return self.entity.traits.names_device and one["token"] == self.value
        return (one.get("object_type", self.kind), one["object_id"]) == (self.kind, self.value)

    def _places_of_person(self, target: Target, others: Place) -> Sequence[Place]:
        known = self.identifiers
        if target.entity.traits.names_pair:
            sides = zip(("k1", "k2"), target.keys_of_people, strict=True)
            return [{column: known[key]} for column, key in sides if key in known]
        place = {"k1": known[target.person]} if target.person in known else None
        number = {"person": known[PersonKey.CIO_ID]} if known.get(PersonKey.CIO_ID, "").isdecimal() else None
        return [{**found, **others} for found in (place, number) if found is not None]

    def is_meant_by(self, sync: SyncDefinition, row: Rejection) -> bool:
        """Whether a rejected row of a sync is about this entity."""
        if self.is_whole:
            return self.is_of(sync.target)
        key = {f"k{i}": part for i, part in enumerate(key_parts(sync, row.key), start=1)}
        return any(place.items() <= key.items() for place in self.places(sync.target))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What there is to know of a store for comparing with it what was sent."""

    #: Empty if it did not answer.
    store_id: str = ""
    form: ValueForm = ValueForm.EXACT
    #: See `ReadsBack`.
    gives_texts: bool = False

    @classmethod
    def of(cls, store: ProfileStore) -> StoreFacts:
        """Those of a store that is open."""
        gives_texts = isinstance(store, ReadsBack) and store.gives_texts
        return cls(store_id=store.store_id, form=store.value_form, gives_texts=gives_texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is known of one entity."""

    #: With all identifiers that the store knows.
    sought: Sought
    #: As `ProfileStore.show` returns it, or of a relationship a part of that; None where the store has no such entity,
    #: or did not answer.
    content: dict[str, Any] | None
    #: The syncs that write such entities.
    feeding: Sequence[SyncDefinition]
    rejected: Sequence[Rejection]
    #: Why the store did not answer.
    fault: SyncerError | None
    facts: StoreFacts


@runtime_checkable
class SearchesPeople(Protocol):
    """A store that finds people by a part of what they are called."""

    def people_with(self, text: str, limit: int) -> list[dict[str, Any]]:
        """The first people whose email, phone or name contains *text*, in any letter case.

        Shapes:
            returns: `id`, `email`, `person_id`, where the store has it `phone`, and `name`: the name that contains
                it, or None.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A person whose email, phone or name contains what was typed."""

    sought: Sought
    email: str | None
    phone: str | None
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The hits of a search."""

    #: The people and objects that stores contain, of the identifier that was typed.
    entities: Sequence[Sought]
    #: The people whose email, phone or name contains the text.
    people: Sequence[Hit]
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
        by = by or kind_of(value, identity)
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

    def relationship(self, person: Sought, object_type: str, object_id: str) -> Sought:
        """The relationship of a person to an object."""
        known = {person.kind: person.value}
        value = identifier(object_id)
        return Sought(store=person.store, entity=Entity.RELATIONSHIP, kind=object_type, value=value, others=known)

    def device(self, person: Sought, token: str) -> Sought:
        """The device of a person that has a token."""
        known = {person.kind: person.value}
        return Sought(store=person.store, entity=Entity.DEVICE, kind="token", value=identifier(token), others=known)

    def event(self, store: str, name: str, key: str) -> Sought:
        """The event of a name and a key, which lacks the column of the name; several columns are a JSON array."""
        self._identity(store)
        return Sought(store=store, entity=Entity.EVENT, kind=name, value=identifier(key))

    def look(self, sought: Sought) -> Stored:
        """What the store, the definitions and the run log know of one entity.

        Raises:
            StateDatabaseError: the run log cannot be read.
        """
        name, content, fault, facts = sought.store, None, None, StoreFacts()
        try:
            with closing(sharing(self.settings.stores[name].open(name), self.run_log.database)) as opened:
                facts = StoreFacts.of(opened)
                if sought.entity.traits.happens:
                    content = self._event(opened, sought)
                else:
                    content, sought = _read(opened, sought)
        except SyncerError as exc:
            fault = exc
        feeding = {name: sync for name, sync in self.definitions.items() if sought.is_fed_by(sync)}
        rejected = [row for row in self.run_log.rejections_of(feeding) if sought.is_meant_by(feeding[row.sync], row)]
        return Stored(
            sought=sought, content=content, feeding=[*feeding.values()], rejected=rejected, fault=fault, facts=facts
        )

    def _event(self, opened: ProfileStore, sought: Sought) -> dict[str, Any] | None:
        targets = [sync.target for sync in self.definitions.values() if sought.is_fed_by(sync)]
        keys = [(target, [*place.values()]) for target in targets for place in sought.places(target)]
        return events.shown(opened, sought.store, sought.kind, keys)

    def find(self, text: str) -> Found:
        """The people, objects, rejected rows and syncs of an identifier or a part of a name; *text* is not empty."""
        entities: list[Sought] = []
        people: list[Hit] = []
        faults: list[SyncerError] = []
        unread: list[str] = []
        for store in self.settings.stores:
            try:
                with closing(sharing(self.settings.stores[store].open(store), self.run_log.database)) as opened:
                    entities += self._contained(opened, store, text)
                    people += _hits(opened, store, text)
            except SyncerError as exc:
                if any(sync.store == store for sync in self.definitions.values()):
                    faults.append(exc)
                else:
                    unread.append(store)
        rows = self.run_log.rejections_with(identifier(text), _MOST_REJECTED)
        return Found(
            entities=entities,
            people=people,
            rejected=[(self.definitions[row.sync], row) for row in rows if row.sync in self.definitions],
            syncs=[sync for name, sync in self.definitions.items() if text.strip().lower() in name],
            faults=faults,
            unread=unread,
        )

    def _contained(self, opened: ProfileStore, store: str, text: str) -> list[Sought]:
        kinds = {kind_of(text, Identity.ID_EMAIL_OR_PHONE)} & {*self._identity(store).names}
        fed = [sync for sync in self.definitions.values() if sync.store == store]
        types = sorted({sync.target.object_type for sync in fed if sync.target.object_type})
        wanted = [self.person(store, text, key) for key in dict.fromkeys((PersonKey.ID, *kinds))]
        wanted += [self.one_object(store, object_type, text) for object_type in types]
        return [sought for sought in wanted if opened.show(sought.entity, sought.kind, sought.value) is not None]

    def _identity(self, store: str) -> Identity:
        if store not in self.settings.stores:
            raise SelectionError(f"no store is called {quoted(store)}", hint=did_you_mean(store, self.settings.stores))
        return self.settings.stores[store].identity


def _identifiers_in(person: Mapping[str, Any]) -> dict[str, str]:
    """Those of a person whom a store shows, by kind."""
    number = {"cio_id": person.get("person_id", person.get("cio_id"))}
    known = {str(kind): person.get(kind) for kind in PersonKey} | number
    return {kind: str(value) for kind, value in known.items() if value is not None}


def _hits(opened: ProfileStore, store: str, text: str) -> list[Hit]:
    text = text.strip()
    if len(text) < _SHORTEST_PART or not isinstance(opened, SearchesPeople):
        return []
    hits = []
    for one in opened.people_with(text, _MOST_PEOPLE):
        (kind, value), *others = _identifiers_in(one).items()
        if text not in (value, *(other for _, other in others)):
            sought = Sought(store=store, entity=Entity.PERSON, kind=kind, value=value)
            hits.append(Hit(sought=sought, email=one["email"], phone=one.get("phone"), name=one["name"]))
    return hits


def _read(store: ProfileStore, sought: Sought) -> tuple[dict[str, Any] | None, Sought]:
    """What the store has of it, and the same with all identifiers of a person."""
    is_link = sought.entity.traits.links
    if not (is_link or sought.entity.traits.has_other_identifiers):
        return store.show(sought.entity, sought.kind, sought.value), sought
    kind, value = next(iter(sought.identifiers.items())) if is_link else (sought.kind, sought.value)
    content = store.show(Entity.PERSON, kind, value)
    if content is None:
        return None, sought
    sought = replace(sought, others=_identifiers_in(content))
    if is_link:
        links = content.get("devices" if sought.entity.traits.names_device else "relationships", ())
        return next((one for one in links if sought.is_related(one)), None), sought
    return content, sought
