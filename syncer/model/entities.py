"""The table of entities: what each is known by, what it may do, and its words for people."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never


class Entity(enum.StrEnum):
    """What a sync feeds. What else there is to know of a member is in its `traits`."""

    PERSON = "person"
    OBJECT = "object"
    RELATIONSHIP = "relationship"
    COLLECTION = "collection"
    MERGE = "merge"
    DEVICE = "device"
    EVENT = "event"

    @property
    def traits(self) -> Traits:
        """What this entity is and may do."""
        match self:
            case Entity.PERSON:
                return _PERSON
            case Entity.OBJECT:
                return _OBJECT
            case Entity.RELATIONSHIP:
                return _RELATIONSHIP
            case Entity.COLLECTION:
                return _COLLECTION
            case Entity.MERGE:
                return _MERGE
            case Entity.DEVICE:
                return _DEVICE
            case Entity.EVENT:
                return _EVENT
            case _:
                assert_never(self)


#: Bytes of an event's name, in UTF-8.
EVENT_NAME_BYTES = 100


class EventKind(enum.StrEnum):
    """Which sort of event a row is."""

    EVENT = "event"
    PAGE = "page"
    SCREEN = "screen"


class PersonKey(enum.StrEnum):
    """Which of a person's identifiers a sync knows them by."""

    ID = "id"
    EMAIL = "email"
    PHONE = "phone"
    CIO_ID = "cio_id"


class Identity(enum.StrEnum):
    """Which identifiers a store keeps unique over its people."""

    ID = "id"
    EMAIL = "email"
    ID_OR_EMAIL = "id_or_email"
    ID_EMAIL_OR_PHONE = "id_email_or_phone"

    @property
    def unique(self) -> tuple[PersonKey, ...]:
        """What no two people share."""
        match self:
            case Identity.ID:
                return (PersonKey.ID,)
            case Identity.EMAIL:
                return (PersonKey.EMAIL,)
            case Identity.ID_OR_EMAIL:
                return (PersonKey.ID, PersonKey.EMAIL)
            case Identity.ID_EMAIL_OR_PHONE:
                return (PersonKey.ID, PersonKey.EMAIL, PersonKey.PHONE)
            case _:
                assert_never(self)

    @property
    def names(self) -> tuple[PersonKey, ...]:
        """What a store keeps beside a person's attributes; elsewhere a phone is an attribute like others."""
        return (PersonKey.ID, PersonKey.EMAIL, *self.unique[2:])

    @property
    def grows_into(self) -> tuple[Identity, ...]:
        """What a store of this identity may be given in its place."""
        return (Identity.ID_EMAIL_OR_PHONE,) if self is Identity.ID_OR_EMAIL else ()


class ListAction(enum.StrEnum):
    """What happens once to each row of a list: of a sync whose rows say whom, and not what they are like."""

    DELETE = "delete"
    #: Delete, and let nobody be known by that identifier again.
    SUPPRESS = "suppress"
    #: Let somebody be known by it again; this restores nothing.
    UNSUPPRESS = "unsuppress"
    #: Make one of two people; of the entity `merge`, whose rows are pairs.
    MERGE = "merge"

    @property
    def deletes(self) -> bool:
        """Whether a person is gone then."""
        return self is not ListAction.UNSUPPRESS

    @property
    def done(self) -> str:
        """What people have become: `deleted`, `suppressed`, `unsuppressed`, `merged`."""
        return f"{self.removesuffix('e')}ed"


#: What a list of people may do to them.
PERSON_ACTIONS = (ListAction.DELETE, ListAction.SUPPRESS, ListAction.UNSUPPRESS)


class Platform(enum.StrEnum):
    """What a device is, which decides through whom it is reached."""

    IOS = "ios"
    ANDROID = "android"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """One row of the table."""

    #: Its place in a run: an entity goes after those of a lower number.
    order: int
    #: The header fields that name it and its key, all required; the key's columns come in this order.
    identified_by: tuple[str, ...]
    #: Whether attributes are merged into what the store holds. If not, each row is the whole of what the store holds:
    #: its data includes the key, NULL is a value, and a row that left the result is always dropped.
    merges: bool
    #: Whether its rows may carry the other identifiers of the entity, such as a person's email beside the id.
    has_other_identifiers: bool = False
    #: The attributes that stores keep in columns of their own, as a text each, beside identifiers.
    own_columns: tuple[str, ...] = ()
    #: Whether the store knows it by names beyond its key, which a deletion must announce to other syncs.
    has_other_names: bool = False
    #: Whether it is deleted together with the people and objects that it links.
    links: bool = False
    #: Whether it has happened: a row is sent once, never changed or removed, and remembered by its id alone.
    happens: bool = False
    #: Whether its rows may name a visitor: somebody who did something before anybody knew who they are.
    knows_visitors: bool = False

    def columns_in(self, identifiers: Sequence[str]) -> tuple[str, ...]:
        """The attributes for which a store has columns of its own, if it knows people by these *identifiers*."""
        return tuple(identifiers) if self.has_other_identifiers else self.own_columns

    @property
    def names_person(self) -> bool:
        """Whether its rows name a person, by the key's first part unless it `happens`."""
        return "person" in self.identified_by

    @property
    def names_object(self) -> bool:
        """Whether its key names an object."""
        return "object" in self.identified_by

    @property
    def names_device(self) -> bool:
        """Whether its key names a device: the person, then a token, which is nobody else's."""
        return "device" in self.identified_by

    @property
    def names_pair(self) -> bool:
        """Whether its key names two people, of whom one is kept."""
        return "keep" in self.identified_by


_PERSON = Traits(
    order=0,
    identified_by=("person",),
    merges=True,
    has_other_identifiers=True,
    has_other_names=True,
    knows_visitors=True,
)
_OBJECT = Traits(order=1, identified_by=("object",), merges=True, has_other_names=True)
_RELATIONSHIP = Traits(order=2, identified_by=("person", "object"), merges=True, links=True)
_COLLECTION = Traits(order=3, identified_by=("collection", "key"), merges=False)
_MERGE = Traits(order=5, identified_by=("keep", "merge"), merges=True, has_other_names=True)
_DEVICE = Traits(
    order=4, identified_by=("person", "device"), merges=True, own_columns=("platform", "last_used"), links=True
)
_EVENT = Traits(order=6, identified_by=("person", "event", "start"), merges=False, happens=True, knows_visitors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """Which events a sync feeds."""

    #: The name of all of them; empty where a column has it.
    name: str = ""
    #: The column that has the name of each, the last one of the key; empty where they have one name.
    column: str = ""
    kind: EventKind = EventKind.EVENT

    @property
    def label(self) -> str:
        """The name, or the column in braces."""
        return self.name or f"{{{self.column}}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which entities in a store a sync feeds, and what identifies them.

    Two definitions with equal targets and stores write the same entities by the same keys. A snapshot is valid only for
    the target it was made for.
    """

    entity: Entity
    #: Set for a person, a relationship, a device and an event, but for one that only names visitors; and for a merge:
    #: whom it keeps.
    person_key: PersonKey | None = None
    #: Whether rows may name a visitor: of people, whose events are theirs from then on; of events, who did it where no
    #: person did.
    names_visitors: bool = False
    #: Whether rows may say what a person was known by before: whoever is known by that moves to the row's key.
    names_previous: bool = False
    #: Set for a merge: who is gone then.
    merged_key: PersonKey | None = None
    #: Set for an object and a relationship.
    object_type: str | None = None
    #: Set for a collection.
    collection: str | None = None
    #: Set for an event.
    event: EventType | None = None
    #: The names of the key's columns in the result, 1 to n: a person or object has one, a relationship two (person,
    #: object), a device two (person, token), a merge two (who is kept, who goes), a collection one or more in the
    #: header's order; an event those that make it one for ever, and that of its name.
    key_columns: tuple[str, ...] = ()
    #: Set where the rows are a list, of people or of pairs, which says what happens to them.
    action: ListAction | None = None

    @property
    def order(self) -> int:
        """Its place in a run, before targets of a greater number: lists first, so that what they refuse is refused."""
        if self.action in (None, ListAction.MERGE):
            return self.entity.traits.order
        return -1 if self.action is ListAction.UNSUPPRESS else -2

    @property
    def person(self) -> PersonKey:
        """The `person_key` of an entity whose key names a person.

        Raises:
            ValueError: it names none.
        """
        if self.person_key is None:
            raise ValueError(f"the key of a {self.entity} names no person")
        return self.person_key

    @property
    def events(self) -> EventType:
        """The `event` of a target of events.

        Raises:
            ValueError: it is none.
        """
        if self.event is None:
            raise ValueError(f"a {self.entity} is no event")
        return self.event

    @property
    def merged(self) -> PersonKey:
        """The `merged_key` of a merge.

        Raises:
            ValueError: it is none.
        """
        if self.merged_key is None:
            raise ValueError(f"a {self.entity} merges nobody")
        return self.merged_key

    @property
    def keys_of_people(self) -> tuple[PersonKey, ...]:
        """What the first columns of its key know people by: those of a merge two of them; empty if it names none."""
        if self.entity.traits.happens:
            return ()
        return tuple(key for key in (self.person_key, self.merged_key) if key is not None)

    @property
    def things(self) -> str:
        """What a sync feeds, whatever it knows them by: `people`, "objects `account`"."""
        match self.entity:
            case Entity.PERSON:
                return "people"
            case Entity.OBJECT:
                return f"objects `{self.object_type}`"
            case Entity.RELATIONSHIP:
                return f"relationships to objects `{self.object_type}`"
            case Entity.COLLECTION:
                return f"the collection `{self.collection}`"
            case Entity.MERGE:
                return "merges of people"
            case Entity.DEVICE:
                return "devices"
            case Entity.EVENT:
                return f"events `{self.events.label}`"
            case _:
                assert_never(self.entity)

    @property
    def key_may_move(self) -> bool:
        """Whether its key names a person by an identifier that may be somebody else's one day.

        A list is for whoever had it when it was sent.
        """
        is_moving = self.person_key not in (None, PersonKey.CIO_ID)
        return self.action is None and not self.entity.traits.happens and is_moving

    @property
    def words(self) -> str:
        """What a sync feeds, for people: `people by id`, "objects of type `account`", `people to delete, by id`."""
        if self.action is not None and not self.entity.traits.names_pair:
            return f"people to {self.action}, by {self.person_key}"
        match self.entity:
            case Entity.PERSON:
                return f"people by {self.person_key}"
            case Entity.OBJECT:
                return f"objects of type {self.object_type}"
            case Entity.RELATIONSHIP:
                return f"relationships of people to {self.object_type}"
            case Entity.COLLECTION:
                return f"the collection {self.collection}"
            case Entity.MERGE:
                return f"people to merge: whom to keep by {self.person_key}, who goes by {self.merged_key}"
            case Entity.DEVICE:
                return f"devices of people by {self.person_key}"
            case Entity.EVENT:
                people = "" if self.person_key is None else f"people by {self.person_key}"
                who = " or ".join(filter(None, [people, "visitors" if self.names_visitors else ""]))
                return f"events {self.events.label} of {who or 'people'}"
            case _:
                assert_never(self.entity)
