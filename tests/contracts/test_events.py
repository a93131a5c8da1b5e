"""What every profile store promises of events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from syncer.model.event_stores import CountsEvents, KeepsEventStarts
from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, EventKind, EventType, Identity, ListAction, PersonKey, Target
from tests.contracts.batches import ACCEPTED, PEOPLE, apply, delete, person, put
from tests.contracts.conftest import OpenStore

PAID = Target(entity=Entity.EVENT, person_key=PersonKey.ID, event=EventType(name="paid"), key_columns=("order_id",))
VIEWED = Target(
    entity=Entity.EVENT,
    person_key=PersonKey.EMAIL,
    event=EventType(column="what", kind=EventKind.PAGE),
    key_columns=("view_id", "what"),
)
BY_NUMBER = Target(
    entity=Entity.EVENT, person_key=PersonKey.CIO_ID, event=EventType(name="paid"), key_columns=("order_id",)
)
PAIRS = Target(
    entity=Entity.MERGE,
    person_key=PersonKey.ID,
    merged_key=PersonKey.ID,
    key_columns=("keep", "goes"),
    action=ListAction.MERGE,
)
SUPPRESSED = Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=("id",), action=ListAction.SUPPRESS)
NOBODY = ("rejected", "the person does not exist yet")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def event(id_: str, who: str, hours: float = 0, name: str = "paid", **data: Any) -> dict[str, Any]:
    """An event; the last letters of its id are what it is known by."""
    return {"id": id_, "who": who, "at": NOON + timedelta(hours=hours), "name": name, "data": data}


def ulid(one: Mapping[str, Any]) -> str:
    return f"{int(one['at'].timestamp()):010d}{one['id'].upper():0>16}"


def sent(store: ProfileStore, target: Target, *events: Mapping[str, Any], create: bool = True) -> list[Any]:
    """Verdict and reason of each event of one batch, in the order of the events."""
    keys = {f"k{i + 1}": [one["id"] for one in events] for i in range(len(target.key_columns))}
    batch = pa.table(
        {
            "seq": pa.array(range(len(events)), pa.int64()),
            "action": ["put"] * len(events),
            **keys,
            "attributes": [json.dumps(one["data"]) for one in events],
            "cleared": ["[]"] * len(events),
            "event_id": [ulid(one) for one in events],
            "name": [one["name"] for one in events],
            "who": [one["who"] for one in events],
            "happened": pa.array([one["at"].replace(tzinfo=None) for one in events], pa.timestamp("us")),
        }
    )
    applied = store.apply(target, batch.combine_chunks().to_batches()[0], create=create)
    verdicts = pa.concat_tables([applied, store.flush()]).sort_by("seq").to_pylist()
    assert [row["seq"] for row in verdicts] == list(range(len(events)))
    return [(row["verdict"], row["reason"]) for row in verdicts]


def events_of(store: ProfileStore, who: str, kind: str = "id") -> list[tuple[str, dict[str, Any]]]:
    return [(one["event_id"][-2:].lower(), one["data"]) for one in person(store, who, kind)["events"]]


def test_an_event_makes_its_person_and_is_shown_with_them(store: ProfileStore) -> None:
    assert sent(store, PAID, event("a", "ann", total=9), event("b", "ann", 1), event("c", "bob")) == [ACCEPTED] * 3

    newest, oldest = person(store, "ann")["events"]
    assert (oldest["name"], oldest["kind"], oldest["data"]) == ("paid", "event", {"total": 9})
    assert oldest["occurred_at"] == "2026-01-31T12:00:00+00:00"
    assert newest["event_id"].endswith("B")
    assert person(store, "ann")["attributes"] == {}


def test_an_event_is_kept_once_whatever_its_time_and_never_changes(store: ProfileStore) -> None:
    sent(store, PAID, event("a", "ann", total=9))

    again = sent(store, PAID, event("a", "ann", total=10), event("a", "bob", 5), event("b", "ann", 1))

    assert again == [ACCEPTED] * 3
    assert events_of(store, "ann") == [("0b", {}), ("0a", {"total": 9})]
    assert events_of(store, "bob") == []


def test_the_same_id_under_another_name_is_another_event(store: ProfileStore) -> None:
    sent(store, PAID, event("a", "ann"), event("a", "ann", 1, name="viewed"))

    assert {one["name"] for one in person(store, "ann")["events"]} == {"paid", "viewed"}


def test_without_create_an_event_of_nobody_is_rejected_alone(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann"))

    assert sent(store, PAID, event("a", "ann"), event("b", "bob"), create=False) == [ACCEPTED, NOBODY]
    assert store.show(Entity.PERSON, "id", "bob") is None


def test_people_are_found_by_number_and_none_is_made(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann"))
    number = str(person(store, "ann")["person_id"])

    found = sent(store, BY_NUMBER, event("a", number), event("b", "999"), event("c", "x"))

    assert found == [ACCEPTED, *[("rejected", "no person has this cio_id")] * 2]
    assert events_of(store, "ann") == [("0a", {})]


def test_a_deleted_person_takes_their_events_along(store: ProfileStore) -> None:
    sent(store, PAID, event("a", "ann"), event("b", "bob"))

    assert apply(store, PEOPLE, delete("ann")) == [ACCEPTED]
    apply(store, PEOPLE, put("ann"))

    assert (events_of(store, "ann"), events_of(store, "bob")) == ([], [("0b", {})])


def test_two_people_who_become_one_have_the_events_of_both(opened: OpenStore) -> None:
    store = opened(Identity.ID_OR_EMAIL)
    sent(store, PAID, event("a", "ann"))
    sent(store, VIEWED, event("b", "ann@example.com", name="home"))

    apply(store, PEOPLE, put("ann", email="ann@example.com"))

    assert {id_ for id_, _ in events_of(store, "ann")} == {"0a", "0b"}


def test_who_is_merged_leaves_their_events_to_the_other(store: ProfileStore) -> None:
    sent(store, PAID, event("a", "ann"), event("b", "bob", 1))

    assert apply(store, PAIRS, ("merge", ("ann", "bob"), {}, (), {})) == [ACCEPTED]

    assert events_of(store, "ann") == [("0b", {}), ("0a", {})]


def test_an_event_of_somebody_suppressed_is_rejected_alone(store: ProfileStore) -> None:
    sent(store, PAID, event("a", "ann"))
    apply(store, SUPPRESSED, ("suppress", ("ann",), {}, (), {}))

    refused, taken = sent(store, PAID, event("b", "ann"), event("c", "bob"))

    assert (refused[0], taken) == ("rejected", ACCEPTED)
    assert "the person's id is suppressed in this store" in refused[1]
    assert store.show(Entity.PERSON, "id", "ann") is None


def test_only_the_newest_twenty_are_shown(store: ProfileStore) -> None:
    sent(store, PAID, *(event(f"{i}", "ann", i) for i in range(30)))

    assert [id_ for id_, _ in events_of(store, "ann")] == [f"{i:02}" for i in range(29, 9, -1)]


def test_people_are_counted_by_what_they_did(store: ProfileStore) -> None:
    assert isinstance(store, CountsEvents)
    assert list(store.event_counts("paid", since=NOON, at_least=1)) == []
    sent(store, PAID, *(event(f"a{i}", "ann", i) for i in range(3)), *(event(f"b{i}", "bob", i) for i in range(2)))
    sent(store, PAID, event("x", "bob", -1), event("y", "bob", 1, name="viewed"))

    found = list(store.event_counts("paid", since=NOON, at_least=2))

    assert [(one.id, one.count) for one in found] == [("ann", 3), ("bob", 2)]
    assert [one.id for one in store.event_counts("paid", since=NOON, at_least=3)] == ["ann"]


def test_a_start_is_decided_once(store: ProfileStore, opened: OpenStore) -> None:
    assert isinstance(store, KeepsEventStarts)
    at = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
    assert store.event_start(PAID) is None

    assert store.start_events(PAID, at) == at

    other = opened()
    assert isinstance(other, KeepsEventStarts)
    assert (other.start_events(PAID, at + timedelta(1)), other.event_start(PAID)) == (at, at)
    assert other.event_start(VIEWED) is None


def test_known_and_new_events_can_come_in_any_mixture(store: ProfileStore) -> None:
    first = [event(f"A{n}", f"p{n % 4}", n) for n in range(6)]
    assert sent(store, PAID, *first) == [ACCEPTED] * 6

    # One that is there already comes first, in the middle, and last.
    for turn, known in enumerate(([first[0]], [], [first[5]])):
        new = [event(f"B{turn}{n}", f"q{n % 3}", n) for n in range(3)]
        mixed = [*new[:1], *known, *new[1:]]
        assert sent(store, PAID, *mixed) == [ACCEPTED] * len(mixed)
    many = [event(f"C{n}", f"r{n % 50}", n) for n in range(150)]
    assert sent(store, PAID, *many, first[3]) == [ACCEPTED] * 151

    held = [id_ for who in ("p0", "p1", "p2", "p3") for id_, _ in events_of(store, who)]
    assert sorted(held) == [f"a{n}" for n in range(6)]
    assert sum(len(events_of(store, f"q{n}")) for n in range(3)) == 9
    assert len(events_of(store, "r7")) == 3


def test_without_create_events_of_people_who_exist_are_loaded(store: ProfileStore) -> None:
    apply(store, PEOPLE, put("ann"), put("bob"))

    assert sent(store, PAID, event("a", "ann"), event("b", "bob"), event("c", "ann", 1), create=False) == [ACCEPTED] * 3
    assert sent(store, PAID, event("d", "ann"), event("e", "eve"), create=False) == [ACCEPTED, NOBODY]

    assert {id_ for id_, _ in events_of(store, "ann")} == {"0a", "0c", "0d"}
    assert store.show(Entity.PERSON, "id", "eve") is None


def test_people_of_any_name_are_made_once_and_found_again(store: ProfileStore) -> None:
    names = [
        '"',
        "\\",
        '\\"',
        "{}",
        "{a,b}",
        ",",
        "NULL",
        "null",
        "'",
        "%s",
        "a\tb",
        "a\nb",
        "é",
        "a\u2028b",
        "😀",
        "$1",
    ]
    for round_ in range(2):
        batch = [event(f"{round_}{n:02}", name) for n, name in enumerate([*names, *names])]
        assert sent(store, PAID, *batch) == [ACCEPTED] * len(batch)
    for name in names:
        assert len(events_of(store, name)) == 4, name


def test_a_time_is_kept_to_the_microsecond(store: ProfileStore) -> None:
    moments = [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2024, 2, 29, 0, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 1, 31, 12, tzinfo=UTC),
    ]
    assert sent(store, PAID, *(event(f"e{n}", "ann") | {"at": at} for n, at in enumerate(moments))) == [ACCEPTED] * 4
    kept = [datetime.fromisoformat(one["occurred_at"]) for one in person(store, "ann")["events"]]
    assert kept == sorted(moments, reverse=True)
