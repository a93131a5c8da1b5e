"""What every SQL store promises of events that people look through: each page once, in order, and by an index."""

from __future__ import annotations

import re
from datetime import UTC, timedelta
from typing import Any

import psycopg
import pytest

from syncer.model.event_stores import Doer, ListsEvents
from tests.contracts.batches import person
from tests.contracts.conftest import OpenStore
from tests.contracts.test_events import NOON, PAID, event
from tests.contracts.test_events import sent as happened
from tests.contracts.test_visitors import SEEN, Tables, sent
from tests.contracts.test_visitors import event as visit


@pytest.fixture
def store(store_url: str, opened: OpenStore) -> Any:
    if store_url == "customerio://us":
        pytest.skip("it lists no events")
    return opened()


def test_names_come_in_order_with_their_newest_event(store: Any) -> None:
    is_listing = isinstance(store, ListsEvents)
    assert is_listing
    assert store.event_names(after="", limit=9) == []
    assert store.nth_newest("paid", 1) is None
    names = ["Zoo", "a b/c", "paid", "é"]
    happened(store, PAID, *(event(f"x{i}", "ann", i, name=name) for i, name in enumerate(names)))
    happened(store, PAID, event("y", "ann", -5, name="paid"))

    found = store.event_names(after="", limit=9)

    assert found == [(name, NOON + timedelta(hours=i)) for i, name in enumerate(names)]
    assert store.event_names(after="Zoo", limit=2) == found[1:3]
    assert store.event_names(after="é", limit=2) == []
    assert [store.nth_newest("paid", n) for n in (1, 2, 3)] == [
        NOON + timedelta(hours=2),
        NOON - timedelta(hours=5),
        None,
    ]


def test_the_pages_of_who_did_it_have_everybody_once(store: Any) -> None:
    people = {"ann": 3, "bob": 1, "cleo": 2, "dan": 1, "eve": 2}
    happened(store, PAID, *(event(f"{who}{i}", who, i) for who, count in people.items() for i in range(count)))
    happened(store, PAID, event("early", "bob", -1), event("other", "bob", 1, name="viewed"))
    sent(store, SEEN, visit("v", visitor="v1"))

    def pages(at_least: int = 1, limit: int = 2) -> list[Doer]:
        found: list[Doer] = []
        while page := store.doers(
            "paid",
            since=NOON,
            at_least=at_least,
            after=(found[-1].count, found[-1].person_id) if found else None,
            limit=limit,
        ):
            assert len(page) <= limit
            found += page
        return found

    assert [(one.id, one.count) for one in pages()] == [("ann", 3), ("cleo", 2), ("eve", 2), ("bob", 1), ("dan", 1)]
    assert pages(limit=1) == pages(limit=100)
    assert [one.id for one in pages(at_least=2)] == ["ann", "cleo", "eve"]
    ann = pages()[0]
    number = person(store, "ann")["person_id"]
    assert (ann.person_id, ann.email, ann.last_at) == (number, None, NOON + timedelta(hours=2))
    assert ann.last_at.tzinfo is UTC
    assert store.doers("seen", since=NOON - timedelta(99), at_least=1, after=None, limit=9) == []


def test_older_events_of_a_person_follow_each_other_also_at_one_moment(store: Any) -> None:
    happened(store, PAID, *(event(f"a{i}", "ann", i // 4) for i in range(11)), event("b", "bob", 1))
    ann = person(store, "ann")
    newest = [one["event_id"] for one in ann["events"]]
    assert len(newest) == 11

    found: list[dict[str, Any]] = ann["events"][:2]
    while page := store.events_of(ann["person_id"], before=found[-1]["event_id"], limit=3):
        found += page

    assert found == ann["events"]
    assert store.events_of(ann["person_id"], before="nothing", limit=3) == []
    assert store.events_of(10**9, before=newest[0], limit=3) == []


def test_each_page_is_found_by_an_index(store: Any, store_url: str) -> None:
    happened(store, PAID, event("a", "ann"))
    asked: list[str] = []
    fetch = store._fetch

    def noted(sql: str, **values: Any) -> Any:
        asked.append(sql)
        return fetch(sql, **values)

    store._fetch = noted
    store.event_names(after="", limit=9)
    store.nth_newest("paid", 5)
    store.events_of(1, before="x", limit=9)
    store.doers("paid", since=NOON, at_least=1, after=None, limit=9)
    tables = Tables(store_url)

    for sql in asked:
        for name, value in {"after": "''", "name": "'paid'", "before": "'x'", "since": "'2020-01-01'"}.items():
            sql = sql.replace(f":{name}", value)
        for name in ("most", "skipped", "person_id", "least", "number", "person"):
            sql = sql.replace(f":{name}", "1")
        if store_url.startswith("sqlite"):
            plan = str(tables.execute(f"EXPLAIN QUERY PLAN {sql}"))
        else:
            with psycopg.connect(store_url) as connection:
                connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
                plan = str(connection.execute(f"EXPLAIN {sql}".encode()).fetchall())
        assert ("events_of_person" if "data" in sql else "events_by_name") in plan, plan
        assert not re.search("SCAN events|Seq Scan on events", plan), plan
