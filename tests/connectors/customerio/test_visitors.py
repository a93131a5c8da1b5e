"""Visitors at Customer.io: what they do before anybody knows who they are, and who claims them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.customerio import connection
from connectors.customerio.options import Via
from syncer.model.errors import StoreRefusesError
from syncer.model.types import EventKind, Identity
from syncer.settings.registry import open_store
from tests.acceptance.commands import Project
from tests.contracts.batches import ACCEPTED, apply, clear, delete
from tests.contracts.test_claims import CLAIMS, claim
from tests.contracts.test_visitors import BY_NUMBER, PAID, SEEN, event, sent
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.servers.customerio import events as workspace_events
from tests.servers.customerio.faults import LOST_AFTER, LOST_BEFORE

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerIOServer]:
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.002)
    with customerio_server(bodies=[]) as running:
        running.workspace.unique = ("id", "email")
        yield running
        assert running.workspace.breaches == []


def opened(server: CustomerIOServer, via: Via = Via.TRACK) -> Any:
    options = server.options(via=via)
    return closing(open_store("crm", "customerio://us", identity=Identity.ID_OR_EMAIL, options=options))


def recent(id_: str, who: str | None = None, *, visitor: str | None = None, days: float = 1) -> dict[str, Any]:
    """An event of so many days ago."""
    return event(id_, who, visitor=visitor) | {"at": NOW - timedelta(days=days)}


def whose(server: CustomerIOServer) -> dict[str, str]:
    """By the last letter of its id, each event's person, or an empty text."""
    ids = {"": ""} | {person.cio_id: person.attributes["id"] for person in server.workspace.people}
    return {id_[-1].lower(): ids[one["cio_id"]] for id_, one in server.workspace.events.held.items()}


@pytest.mark.parametrize("kind", list(EventKind))
@pytest.mark.parametrize("via", list(Via))
def test_an_event_of_a_visitor_is_nobodys_and_one_of_a_person_is_theirs(
    server: CustomerIOServer, via: Via, kind: EventKind
) -> None:
    target = replace(PAID, event=replace(PAID.events, kind=kind))
    rows = [recent("a", "ann"), recent("b", visitor="v1"), recent("c", visitor="v2"), recent("d", "ann")]
    with opened(server, via) as store:
        store.check(target)
        for _ in range(2):
            assert sent(store, target, *rows) == [ACCEPTED] * 4

    assert whose(server) == {"a": "ann", "b": "", "c": "", "d": "ann"}
    held = server.workspace.events.held.values()
    assert {one["anonymous_id"] for one in held} == {"", "v1", "v2"}
    assert {(one["kind"], one["name"]) for one in held} == {(kind, "paid")}
    assert [person.attributes["id"] for person in server.workspace.people] == ["ann"]


@pytest.mark.parametrize("via", list(Via))
def test_a_claim_takes_what_the_visitor_did_of_late(server: CustomerIOServer, via: Via) -> None:
    with opened(server, via) as store:
        store.check(CLAIMS)
        sent(store, SEEN, recent("a", visitor="v1"), recent("b", visitor="v2"), recent("c", visitor="v1", days=40))

        rows = [claim("ann", "v1", attributes={"plan": "pro"}), claim("bob", None, attributes={"plan": "free"})]
        assert apply(store, CLAIMS, *rows) == [ACCEPTED] * 2
        assert whose(server) == {"a": "ann", "b": "", "c": ""}
        assert server.workspace.attributes("ann") == {"plan": "pro"}
        assert server.workspace.attributes("bob") == {"plan": "free"}

        # Once, and by nobody else.
        assert apply(store, CLAIMS, claim("ann", "v1"), claim("bob", "v1")) == [ACCEPTED] * 2
        sent(store, SEEN, recent("d", visitor="v1"))
        assert whose(server) == {"a": "ann", "b": "", "c": "", "d": "ann"}

    server.workspace.events.claims["v1"] = (server.workspace.events.claims["v1"][0], time.time() - 400)
    with opened(server, via) as store:
        sent(store, SEEN, recent("e", visitor="v1"))
    assert whose(server)["e"] == ""
    assert workspace_events.COMES_LATE < 400


def test_calls_have_the_documented_forms(server: CustomerIOServer) -> None:
    with opened(server) as store:
        sent(store, PAID, event("a", visitor='v"1'))
        apply(store, CLAIMS, claim("ann", 'v"1', attributes={"plan": "pro"}))
        apply(store, CLAIMS, clear("ann", cleared=("plan",)), delete("bob"))
    with opened(server, Via.PIPELINES) as store:
        apply(store, CLAIMS, claim("ann", "v2", attributes={"plan": "pro"}), delete("bob"))

    assert ("POST", "/api/v1/events") in server.workspace.requests
    assert server.workspace.bodies is not None
    items = [item for body in server.workspace.bodies for item in json.loads(body)["batch"]]
    assert items[0]["attributes"] == {"plan": "pro", "anonymous_id": 'v"1'}
    assert [item["action"] for item in items] == ["identify", "identify", "delete"]
    assert items[1]["attributes"] == {"plan": None, "_update": True}
    assert server.workspace.events.claims.keys() == {'v"1', "v2"}


@pytest.mark.parametrize("via", list(Via))
def test_a_lost_answer_makes_no_second_event(server: CustomerIOServer, via: Via) -> None:
    rows = [recent(f"{n:X}", visitor=f"v{n % 5}", days=1 - n / 1000) for n in range(40)]
    server.workspace.faults.next.extend([LOST_AFTER, LOST_BEFORE, LOST_AFTER, None, LOST_AFTER])

    with opened(server, via) as store:
        assert sent(store, PAID, *rows) == [ACCEPTED] * 40

    held = [*server.workspace.events.held.values()]
    assert len(held) == 40
    for n in range(5):
        times = [one["timestamp"] for one in held if one["anonymous_id"] == f"v{n}"]
        assert times == sorted(times)


@pytest.mark.parametrize("via", list(Via))
def test_rows_that_cannot_be_taken_are_rejected_alone(server: CustomerIOServer, via: Via) -> None:
    refused = [("rejected", "the identifier is blank"), ("rejected", "the identifier is longer than 150 bytes")]
    with opened(server, via) as store:
        rows = [recent("a", visitor=" "), recent("b", visitor="v" * 151), recent("c", visitor="v1")]
        assert sent(store, PAID, *rows) == [*refused, ACCEPTED]

        claims = [
            claim("ann", "v" * 151),
            claim("bob", "v2", attributes={"anonymous_id": "v3"}),
            claim("cid", "v4"),
        ]
        verdicts = apply(store, CLAIMS, *claims)
        assert verdicts == [refused[1], ("rejected", "the name `anonymous_id` is reserved"), ACCEPTED]


def test_by_the_track_api_a_refused_call_is_a_rejected_row(server: CustomerIOServer) -> None:
    spoilt = recent("b", visitor="v1") | {"id": "I"}
    with opened(server) as store:
        first, second, third = sent(store, PAID, recent("a", visitor="v1"), spoilt, recent("c", "ann"))

    assert (first, third) == (ACCEPTED, ACCEPTED)
    assert second == ("rejected", "Customer.io answered 400: invalid")


def test_the_pipelines_api_knows_visitors_and_ids_alone(server: CustomerIOServer) -> None:
    with opened(server, Via.PIPELINES) as store:
        store.check(SEEN)
        with pytest.raises(StoreRefusesError, match="by their `id` alone"):
            store.check(BY_NUMBER)


def test_a_visitor_becomes_a_customer(server: CustomerIOServer, tmp_path: Path) -> None:
    project = Project(path=tmp_path, environment=server.environment())
    at = f"{NOW - timedelta(hours=1):%Y-%m-%d %H:%M:%S}"
    header = "entity: event\nperson: {id: user_id, anonymous: visitor}\nevent: {name: viewed, id: view, time: seen}\n"
    project.define("views", f"{header}start: all", "SELECT view, user_id, visitor, seen FROM views")
    project.define(
        "customers", "entity: person\nperson: {id: id, anonymous: visitor}", "SELECT id, visitor, plan FROM customers"
    )
    project.table("views", "view,user_id,visitor,seen", f"w1,,v1,{at}", f"w2,,v2,{at}", f"w3,ann,,{at}", f"w4,,,{at}")
    project.table("customers", "id,visitor,plan", "ann,v1,pro", "bob,,free")

    planned, ran = project.syncer("plan", "views"), project.syncer("run", "--all", "--json")

    assert "and a call for each event of a visitor" in planned.out
    runs = {run["sync"]: (run["accepted"], run["rejected"]) for run in ran.objects}
    assert runs == {"views": (3, 1), "customers": (2, 0)}
    ids = {person.cio_id: person.attributes["id"] for person in server.workspace.people}
    found = {one["data"]["view"]: ids.get(one["cio_id"], "") for one in server.workspace.events.held.values()}
    assert found == {"w1": "ann", "w2": "", "w3": "ann"}
    again = project.syncer("run", "--all", "--json")
    assert [run["accepted"] for run in again.objects] == [0, 0]
