"""What every SQL store promises of visitors: whose events are whose, and for how long it keeps those of nobody."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from connectors.sql_store.options import SQLStoreOptions
from syncer.model.event_stores import KeepsUnclaimed
from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, EventKind, EventType, Identity, PersonKey, Target
from syncer.settings.registry import open_store
from tests.contracts.batches import ACCEPTED, PEOPLE, person, put
from tests.contracts.batches import apply as applied
from tests.contracts.conftest import OpenStore
from tests.contracts.test_events import NOBODY, NOON, ulid

PAID = Target(
    entity=Entity.EVENT,
    person_key=PersonKey.ID,
    names_visitors=True,
    event=EventType(name="paid"),
    key_columns=("order_id",),
)
SEEN = Target(
    entity=Entity.EVENT,
    names_visitors=True,
    event=EventType(name="seen", kind=EventKind.PAGE),
    key_columns=("view_id",),
)
BY_NUMBER = Target(
    entity=Entity.EVENT,
    person_key=PersonKey.CIO_ID,
    names_visitors=True,
    event=EventType(name="paid"),
    key_columns=("order_id",),
)


def event(id_: str, who: str | None = None, *, visitor: str | None = None, hours: float = 0) -> dict[str, Any]:
    """An event of a person, or of a visitor; the last letters of its id are what it is known by."""
    return {"id": id_, "who": who, "anonymous": visitor, "at": NOON + timedelta(hours=hours)}


def sent(store: ProfileStore, target: Target, *events: Mapping[str, Any], create: bool = True) -> list[Any]:
    """Verdict and reason of each event of one batch, in the order of the events."""
    batch = pa.table(
        {
            "seq": pa.array(range(len(events)), pa.int64()),
            "action": ["put"] * len(events),
            "k1": [one["id"] for one in events],
            "attributes": [json.dumps({"n": one["id"]}) for one in events],
            "cleared": ["[]"] * len(events),
            "event_id": [ulid(one) for one in events],
            "name": [target.events.name] * len(events),
            "who": pa.array([one["who"] for one in events], pa.string()),
            "anonymous": pa.array([one["anonymous"] for one in events], pa.string()),
            "happened": pa.array([one["at"].replace(tzinfo=None) for one in events], pa.timestamp("us")),
        }
    )
    found = store.apply(target, batch.combine_chunks().to_batches()[0], create=create)
    verdicts = pa.concat_tables([found, store.flush()]).sort_by("seq").to_pylist()
    assert [row["seq"] for row in verdicts] == list(range(len(events)))
    return [(row["verdict"], row["reason"]) for row in verdicts]


class Tables:
    """The tables of a store, beside the store."""

    def __init__(self, url: str) -> None:
        self._url = url

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        if self._url.startswith("sqlite"):
            with closing(sqlite3.connect(self._url.removeprefix("sqlite:///"))) as connection:
                found = connection.execute(sql).fetchall()
                connection.commit()
                return found
        with psycopg.connect(self._url) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def events(self) -> list[tuple[str, str | None, str | None]]:
        """Of each event what it is known by, the id of its person, and its visitor."""
        return self.execute(
            "SELECT lower(substr(e.event_id, 26)), p.id, e.anonymous_id FROM events e "
            "LEFT JOIN people p ON p.person_id = e.person_id ORDER BY 1"
        )

    def age(self, days: float) -> None:
        """Let all events have come so many days earlier."""
        moved = f"received_at - make_interval(secs => {days * 86_400})"
        if self._url.startswith("sqlite"):
            moved = f"strftime('%Y-%m-%dT%H:%M:%f+00:00', received_at, '-{days * 86_400} seconds')"
        self.execute(f"UPDATE events SET received_at = {moved}")


@pytest.fixture
def tables(store_url: str) -> Tables:
    if store_url == "customerio://us":
        pytest.skip("it tells of no visitors; its own form is in tests/connectors/customerio/test_visitors.py")
    return Tables(store_url)


@pytest.fixture
def store(tables: Tables, opened: OpenStore) -> ProfileStore:
    """An empty store that knows people by `id`."""
    return opened()


def test_an_event_of_a_visitor_is_nobodys_and_one_of_a_person_is_theirs(store: ProfileStore, tables: Tables) -> None:
    assert sent(store, PAID, event("a", "ann"), event("b", visitor="v1")) == [ACCEPTED] * 2
    assert sent(store, SEEN, event("c", visitor="v1"), event("d", visitor="v2")) == [ACCEPTED] * 2

    assert tables.events() == [("a", "ann", None), ("b", None, "v1"), ("c", None, "v1"), ("d", None, "v2")]
    assert [one["event_id"][-1].lower() for one in person(store, "ann")["events"]] == ["a"]
    assert store.show(Entity.PERSON, "id", "v1") is None
    assert tables.execute("SELECT count(*) FROM people") == [(1,)]
    assert tables.execute("SELECT DISTINCT kind FROM events WHERE name = 'seen'") == [("page",)]


def test_without_create_an_event_of_nobody_is_rejected_and_one_of_a_visitor_is_not(
    store: ProfileStore, tables: Tables
) -> None:
    applied(store, PEOPLE, put("ann"))

    found = sent(store, PAID, event("a", "ann"), event("b", "bob"), event("c", visitor="v1"), create=False)

    assert found == [ACCEPTED, NOBODY, ACCEPTED]
    assert tables.events() == [("a", "ann", None), ("c", None, "v1")]


def test_people_may_be_known_by_number_beside_visitors(store: ProfileStore, tables: Tables) -> None:
    applied(store, PEOPLE, put("ann"))
    number = str(person(store, "ann")["person_id"])

    found = sent(store, BY_NUMBER, event("a", number), event("b", "x"), event("c", visitor="v1"))

    assert found == [ACCEPTED, ("rejected", "no person has this cio_id"), ACCEPTED]
    assert tables.events() == [("a", "ann", None), ("c", None, "v1")]


def test_an_event_of_a_visitor_is_kept_once_and_never_changes(store: ProfileStore, tables: Tables) -> None:
    sent(store, PAID, event("a", visitor="v1"))

    assert sent(store, PAID, event("a", visitor="v2", hours=3), event("a", "ann")) == [ACCEPTED] * 2

    assert tables.events() == [("a", None, "v1")]


def test_what_nobody_claims_is_removed_in_time_and_nothing_else(
    store: ProfileStore, tables: Tables, store_url: str
) -> None:
    sent(store, PAID, event("a", "ann"), event("b", visitor="v1"))
    tables.age(20)
    sent(store, SEEN, event("c", visitor="v1"))
    assert isinstance(store, KeepsUnclaimed)
    assert store.remove_unclaimed() == 0
    tables.age(10.1)

    assert store.remove_unclaimed() == 1

    assert tables.events() == [("a", "ann", None), ("c", None, "v1")]
    with closing(kept_for(store_url, days=5)) as other:
        assert isinstance(other, KeepsUnclaimed)
        assert other.remove_unclaimed() == 1
    assert tables.events() == [("a", "ann", None)]


def test_events_that_come_make_room_for_themselves(store: ProfileStore, tables: Tables) -> None:
    sent(store, SEEN, *(event(one, visitor="v1") for one in "abcdef"))
    tables.age(31)

    sent(store, SEEN, event("g", visitor="v2"))

    # Twice as many go as came.
    assert len(tables.events()) == 5
    sent(store, SEEN, event("h", visitor="v2"), event("i", visitor="v2"))
    assert [one for one, *_ in tables.events()] == ["g", "h", "i"]


def test_a_store_that_is_not_there_has_nothing_to_remove(store: ProfileStore) -> None:
    assert isinstance(store, KeepsUnclaimed)
    assert store.remove_unclaimed() == 0


def test_what_is_removed_and_what_is_claimed_is_found_by_an_index(
    store: ProfileStore, tables: Tables, store_url: str
) -> None:
    sent(store, SEEN, event("a", visitor="v1"))
    queries = (
        ("SELECT event_id FROM events WHERE person_id IS NULL AND received_at < '2020-01-01' "
         "ORDER BY person_id, received_at LIMIT 5", "events_unclaimed_since"),
        ("SELECT event_id FROM events WHERE anonymous_id = 'v1'", "events_of_visitor"),
    )  # fmt: skip
    for query, index in queries:
        if store_url.startswith("sqlite"):
            plan = tables.execute(f"EXPLAIN QUERY PLAN {query}")
        else:
            with psycopg.connect(store_url) as connection:
                connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
                plan = connection.execute(f"EXPLAIN {query}").fetchall()
        assert any(index in str(line) for line in plan), plan


def kept_for(url: str, *, days: float) -> ProfileStore:
    """The store, which keeps for so many days what nobody claims."""
    return open_store("default", url, identity=Identity.ID, options=SQLStoreOptions(keep_anonymous=days))
