"""Runs that feed Customer.io, from query to workspace: values, collections, lost answers, and a process that dies."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.customerio import connection, rate
from connectors.customerio.options import Via
from connectors.customerio.store import CustomerIOStore
from syncer.model.errors import QueryResultError, StoreError
from syncer.model.protocols import JSON
from syncer.model.types import Entity, Identity, OnRemoved, PersonKey, Target
from syncer.settings.registry import open_store
from syncer.sync.progress import StoppedError
from tests.cli import forked
from tests.cli.forked import Result
from tests.conftest import seeds
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.servers.customerio.faults import LOST_AFTER, LOST_BEFORE, Fault
from tests.workbench import COUPON, Workbench, table

ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
MEMBER = Target(
    entity=Entity.RELATIONSHIP, person_key=PersonKey.ID, object_type="account", key_columns=("id", "account_id")
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerIOServer]:
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.002)
    with customerio_server() as running:
        yield running
        assert running.workspace.breaches == []


class Bench(Workbench):
    """A workbench whose store is a workspace, opened for every run."""

    server: CustomerIOServer
    identity = Identity.ID
    via = Via.TRACK

    @contextmanager
    def connected(self) -> Iterator[None]:
        store = open_store(
            "crm",
            "customerio://us",
            identity=self.identity,
            options=self.server.options(via=self.via),
            started_at=self.clock,
        )
        with closing(store):
            self.store = store  # type: ignore[assignment]
            yield

    def feed(self, result: pa.Table, **options: Any) -> Any:
        with self.connected():
            return self.run(result, **options)


@pytest.fixture
def bench(tmp_path: Path, server: CustomerIOServer) -> Bench:
    bench = Bench(tmp_path)
    bench.server = server
    return bench


#: A column of each type, with a value.
OF_EVERY_TYPE: dict[str, pa.Array] = {
    "integer": pa.array([1], pa.int64()),
    "decimal": pa.array([Decimal("1.50")], pa.decimal128(5, 2)),
    "float": pa.array([0.5], pa.float64()),
    "boolean": pa.array([True], pa.bool_()),
    "text": pa.array(["x"], pa.string()),
    "moment": pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
    "day": pa.array([date(2024, 1, 1)], pa.date32()),
    "binary": pa.array([b"x"], pa.binary()),
    "list": pa.array([[1]], pa.list_(pa.int64())),
    "struct": pa.array([{"a": 1}]),
    "email": pa.array(["ann@x.com"], pa.string()),
    "createdAt": pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
    "unsubscribed": pa.array([True], pa.bool_()),
}


@pytest.mark.parametrize("via", list(Via))
@pytest.mark.parametrize("entity", [Entity.PERSON, Entity.OBJECT, Entity.RELATIONSHIP])
def test_a_value_of_every_type_can_become_null(
    bench: Bench, server: CustomerIOServer, entity: Entity, via: Via
) -> None:
    """The server compares each request with the vendor's definitions, and rejects what they do not allow."""
    server.workspace.unique = ("id",)
    bench.via = via
    keys: dict[str, Any] = {"id": ["1"]}
    if entity is Entity.OBJECT:
        bench.adjust(target=Target(entity=entity, object_type="account", key_columns=("id",)))
    elif entity is Entity.RELATIONSHIP:
        bench.adjust(target=MEMBER)
        keys["account_id"] = ["1"]
    nulls = {name: pa.nulls(1, values.type) for name, values in OF_EVERY_TYPE.items()}

    for columns in (OF_EVERY_TYPE, nulls, OF_EVERY_TYPE):
        counts = bench.feed(table({**keys, **columns})).counts
        assert (counts.accepted, counts.rejected) == (1, 0), bench.rejections()


def content(server: CustomerIOServer, name: str = "coupons") -> Any:
    return server.workspace.collections[name]["data"]


def writes(server: CustomerIOServer) -> list[str]:
    return [method for method, path in server.workspace.requests if method in ("POST", "PUT")]


def coupons(**off: Any) -> pa.Table:
    return table({"code": list(off), "off": pa.array(list(off.values()), pa.int64())})


# Values


def test_values_are_as_customerio_takes_them(bench: Bench, server: CustomerIOServer) -> None:
    noon = datetime(2026, 11, 23, 12, 0, 0, 900_000, UTC)
    columns = {
        "id": ["ann"],
        "small": [2**53],
        "large": [2**53 + 1],
        "low": [-(2**63)],
        "price": pa.array([Decimal("12.50")]),
        "huge": pa.array([Decimal("90071992547409930.5")]),
        "seen_at": pa.array([noon], pa.timestamp("us")),
        "zoned_at": pa.array([noon], pa.timestamp("us", "UTC")),
        "before_1970": pa.array([datetime(1969, 12, 31, 23, 59, 58, 500_000, UTC)], pa.timestamp("us")),
        "last_day": pa.array([datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)], pa.timestamp("us")),
        "born": pa.array([date(1990, 1, 2)]),
        "ratio": [0.5],
        "on": [True],
        "nothing": pa.array([None], pa.string()),
    }
    result = table(columns)
    result = result.append_column(pa.field("tree", pa.string(), metadata=JSON), [['{"a": [1, null]}']])

    bench.feed(result)

    assert server.workspace.attributes("ann") == {
        "small": 2**53,
        "large": str(2**53 + 1),
        "low": str(-(2**63)),
        "price": 12.5,
        "huge": "90071992547409930.5",
        "seen_at": 1795435200,
        "zoned_at": 1795435200,
        "before_1970": -2,
        "last_day": 253402300799,
        "born": 631238400,
        "ratio": 0.5,
        "on": True,
        "tree": {"a": [1, None]},
    }


def test_a_column_that_becomes_a_time_is_sent_as_one(bench: Bench, server: CustomerIOServer) -> None:
    bench.feed(table({"id": ["ann", "bob"], "at": ["soon", "late"]}))
    moment = pa.array([datetime(2026, 11, 23, 12, tzinfo=UTC), None], pa.timestamp("us"))

    bench.feed(table({"id": ["ann", "bob"], "at": moment}))
    unchanged = bench.feed(table({"id": ["ann", "bob"], "at": moment})).counts.unchanged

    assert server.workspace.attributes("ann") == {"at": 1795435200}
    assert server.workspace.attributes("bob") == {}
    assert unchanged == 2


def test_a_time_that_an_earlier_version_never_sent_is_sent_once(bench: Bench, server: CustomerIOServer) -> None:
    """It had compared the texts of a date, and kept that text, whether the store was sent it or seconds."""
    days = [pa.array([day]) for day in ("2026-11-23", date(2026, 11, 23))]
    bench.feed(table({"id": ["ann"], "on": days[0]}))
    with bench.opened() as snapshot:
        snapshot.ledger.session.execute("ALTER TABLE snapshot ALTER c1 TYPE VARCHAR USING to_json(c1)")
        snapshot.ledger.session.execute("UPDATE columns SET kind = 'json'")

    assert bench.feed(table({"id": ["ann"], "on": days[1]})).counts.accepted == 1

    assert server.workspace.attributes("ann") == {"on": 1795392000}
    assert bench.feed(table({"id": ["ann"], "on": days[1]})).counts.unchanged == 1


def test_an_id_that_is_null_is_left_out(bench: Bench, server: CustomerIOServer) -> None:
    bench.identity, server.workspace.unique, server.workspace.bodies = Identity.ID_OR_EMAIL, ("id", "email"), []
    bench.adjust(target=Target(entity=Entity.PERSON, person_key=PersonKey.EMAIL, key_columns=("email",)))
    for plan in ("free", "pro"):
        bench.feed(table({"email": ["a@x.com"], "id": pa.nulls(1, pa.string()), "plan": [plan]}))

    assert len(server.workspace.bodies) == 2
    assert [body for body in server.workspace.bodies if b'"id":' in body] == []
    assert server.workspace.people[0].attributes == {"email": "a@x.com", "plan": "pro"}


def test_nobody_is_deleted_where_the_app_api_refuses_to_give_their_names(
    bench: Bench, server: CustomerIOServer
) -> None:
    bench.adjust(on_removed=OnRemoved.DELETE)
    rows = table({"id": ["1", "2"]})
    bench.feed(rows)
    server.workspace.faults.reading = Fault(status=400, body=b"{}")
    with pytest.raises(StoreError, match="refuses to be read back, with status 400"):
        bench.feed(rows.slice(1), allow_limits=True)
    assert len(server.workspace.people) == 2
    server.workspace.faults.reading = None

    bench.feed(rows.slice(1), allow_limits=True)

    assert [person.attributes["id"] for person in server.workspace.people] == ["2"]


# Emails


def mails(**of: str | None) -> pa.Table:
    return table({"id": list(of), "email": pa.array(list(of.values()), pa.string())})


@pytest.mark.parametrize("rows_at_once", [2, 15_000])
def test_rows_that_share_an_email_are_refused_in_whatever_batches_they_come(
    bench: Bench, server: CustomerIOServer, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(CustomerIOStore, "batch_rows", rows_at_once)
    bench.identity, server.workspace.unique = Identity.ID_OR_EMAIL, ("id", "email")
    others = {key: f"{key}@x.com" for key in "bcdefgh"}

    bench.feed(mails(a="one@x.com", **others, z="One@X.com"))

    reason = "several rows have this `email`"
    assert bench.rejections() == {"a": reason, "z": reason}
    assert {p.attributes["id"]: p.attributes["email"] for p in server.workspace.people} == others

    bench.feed(mails(a="one@x.com", **others, z="b@x.com"))
    assert bench.rejections() == {"b": reason, "z": reason}
    bench.feed(mails(a="one@x.com", **others, z=None))
    assert bench.rejections() == {}
    assert server.workspace.person(email="one@x.com") is server.workspace.person(id="a")


def test_where_id_is_the_identity_rows_may_share_an_email(bench: Bench, server: CustomerIOServer) -> None:
    bench.feed(mails(a="one@x.com", b="one@x.com"))

    assert [p.attributes["email"] for p in server.workspace.people] == ["one@x.com"] * 2


def handed_on(emails: dict[str, str | None]) -> dict[str, dict[str, str | None]]:
    """For each way in which emails change owner: who has which then."""
    keys = list(emails)
    turned = dict(zip(keys, [*list(emails.values())[1:], emails[keys[0]]], strict=True))
    pairs = {key: emails[keys[place ^ 1]] for place, key in enumerate(keys)}
    freed = {key: emails[keys[place + 1]] if place % 2 == 0 else None for place, key in enumerate(keys)}
    passed_on = {
        key: emails[keys[place + 1]] if place + 1 < len(keys) else "new@x.com" for place, key in enumerate(keys)
    }
    left = {key: emails[keys[place + 1]] for place, key in enumerate(keys) if place % 2 == 0}
    return {"in a circle": turned, "in pairs": pairs, "freed": freed, "passed on": passed_on, "of who left": left}


@pytest.mark.parametrize("how", ["in a circle", "in pairs", "freed", "passed on", "of who left"])
def test_emails_that_change_owner_arrive_in_one_run(bench: Bench, server: CustomerIOServer, how: str) -> None:
    bench.identity, server.workspace.unique = Identity.ID_OR_EMAIL, ("id", "email")
    bench.adjust(on_removed=OnRemoved.DELETE)
    before: dict[str, str | None] = {f"p{i}": f"{i}@x.com" for i in range(6_000)}
    bench.feed(mails(**before))
    after = handed_on(before)[how]

    counts = bench.feed(mails(**after), allow_limits=True).counts

    assert counts.rejected == 0
    assert counts.accepted == counts.changed + counts.removed
    assert {p.attributes["id"]: p.attributes.get("email") for p in server.workspace.people} == after
    assert bench.feed(mails(**after)).counts.unchanged == len(after)


def test_who_waits_for_an_email_loses_nothing_when_the_run_dies_in_between(
    bench: Bench, server: CustomerIOServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ATTEMPTS", 1)
    bench.identity, server.workspace.unique = Identity.ID_OR_EMAIL, ("id", "email")
    bench.feed(mails(a="a@x.com", b="b@x.com"))
    # The emails are unset, and nothing after that arrives.
    server.workspace.faults.next.extend([None, LOST_BEFORE])
    with pytest.raises(StoreError):
        bench.feed(mails(a="b@x.com", b="a@x.com"))
    assert [p.attributes.get("email") for p in server.workspace.people] == [None, None]
    server.workspace.faults.next.clear()

    bench.feed(mails(a="b@x.com", b="a@x.com"))

    assert [p.attributes.get("email") for p in server.workspace.people] == ["b@x.com", "a@x.com"]


# Collections


@pytest.fixture
def collection(bench: Bench) -> Bench:
    bench.adjust(name="coupons", target=COUPON)
    return bench


def test_a_collection_is_replaced_whole_when_something_in_it_changed(
    collection: Bench, server: CustomerIOServer
) -> None:
    collection.feed(coupons(ten=10, two=2, old=1))
    assert content(server) == [{"code": "old", "off": 1}, {"code": "ten", "off": 10}, {"code": "two", "off": 2}]

    counts = collection.feed(coupons(ten=12, two=2), allow_limits=True).counts

    assert (counts.changed, counts.removed, counts.unchanged, counts.accepted) == (1, 1, 1, 2)
    assert content(server) == [{"code": "ten", "off": 12}, {"code": "two", "off": 2}]
    assert writes(server) == ["POST", "PUT"]
    assert collection.feed(coupons(ten=12, two=2)).counts.unchanged == 2
    assert writes(server) == ["POST", "PUT"]


@pytest.mark.parametrize("fault", [LOST_BEFORE, LOST_AFTER, Fault(applied=True, status=200, body=b"<html>")])
def test_a_collection_whose_answer_was_lost_is_in_doubt(
    collection: Bench, server: CustomerIOServer, fault: Fault
) -> None:
    collection.feed(coupons(ten=10, two=2))
    server.workspace.faults.always = fault
    with pytest.raises(StoreError):
        collection.feed(coupons(ten=12, two=2))
    server.workspace.faults.always = None

    # The query is back at what was acknowledged: without the doubt nothing would be sent.
    collection.feed(coupons(ten=10, two=2))

    assert content(server) == [{"code": "ten", "off": 10}, {"code": "two", "off": 2}]


def test_a_new_collection_whose_answer_was_lost_is_not_made_twice(collection: Bench, server: CustomerIOServer) -> None:
    server.workspace.faults.always = LOST_AFTER
    with pytest.raises(StoreError):
        collection.feed(coupons(ten=10))
    assert writes(server) == ["POST"]
    server.workspace.faults.always = None

    collection.feed(coupons(ten=10))

    assert writes(server) == ["POST", "PUT"]
    assert content(server) == [{"code": "ten", "off": 10}]


def test_a_row_that_is_refused_leaves_what_was_there(collection: Bench, server: CustomerIOServer) -> None:
    collection.feed(table({"code": ["a", "b", "c"], "text": ["one", "two", "three"]}))

    long = "x" * 10_001
    collection.feed(table({"code": ["a", "b", "c", "d", "d"], "text": [long, "new", long, "x", "y"]}))

    assert content(server) == [
        {"code": "a", "text": "one"},
        {"code": "b", "text": "new"},
        {"code": "c", "text": "three"},
    ]
    assert set(collection.rejections()) == {"a", "c", "d"}
    # An ambiguous key is no removed row: what the collection holds of it stays.
    collection.feed(table({"code": ["a", "b", "b", "c"], "text": ["1", "2", "3", "4"]}))
    assert [row["text"] for row in content(server)] == ["1", "new", "4"]


def test_one_row_of_a_collection_is_sent_with_the_others_as_they_were(
    collection: Bench, server: CustomerIOServer
) -> None:
    collection.feed(coupons(ten=10, two=2))

    collection.feed(coupons(ten=12, two=3, new=1), only=("two",))

    assert content(server) == [{"code": "ten", "off": 10}, {"code": "two", "off": 3}]
    collection.feed(coupons(ten=12, two=3, new=1))
    assert [row["off"] for row in content(server)] == [1, 12, 3]


def test_a_collection_is_found_by_its_name_among_others(collection: Bench, server: CustomerIOServer) -> None:
    for name in ("coupon", "coupons 2", "Coupons"):
        server.workspace.held_collections.replace(name, [{"code": "theirs"}])

    collection.feed(coupons(ten=10))
    collection.feed(coupons(ten=12))

    assert writes(server) == ["POST", "PUT"]
    assert content(server) == [{"code": "ten", "off": 12}]
    assert [content(server, name) for name in ("coupon", "Coupons")] == [[{"code": "theirs"}]] * 2


def test_a_collection_of_which_nothing_is_left_is_there_and_empty(collection: Bench, server: CustomerIOServer) -> None:
    collection.feed(coupons(ten=10))

    collection.feed(coupons(), allow_limits=True)

    assert content(server) == []
    collection.feed(coupons(ten=10))
    assert content(server) == [{"code": "ten", "off": 10}]


def test_a_collections_key_may_be_several_columns(bench: Bench, server: CustomerIOServer) -> None:
    target = Target(entity=Entity.COLLECTION, collection="prices", key_columns=("sku", "country"))
    bench.adjust(name="prices", target=target)
    bench.feed(table({"sku": ["a", "a"], "country": ["no", "se"], "price": [1, 2]}))

    bench.feed(table({"sku": ["a", "a"], "country": ["no", "se"], "price": [3, 2]}))

    assert content(server, "prices") == [
        {"sku": "a", "country": "no", "price": 3},
        {"sku": "a", "country": "se", "price": 2},
    ]


def test_a_collections_limit_is_of_encoded_bytes(collection: Bench, server: CustomerIOServer) -> None:
    keys = [f"k{i:04}" for i in range(1_000)]

    # 9.9 MB of JSON as it is sent, of which escapes and quotes are a part; a byte more a row is too much.
    for length, taken in ((4_944, True), (5_000, False)):
        result = table({"code": keys, "text": ["é" * length] * len(keys)})
        if taken:
            assert collection.feed(result).counts.accepted == len(keys)
        else:
            with pytest.raises(QueryResultError, match="nothing was sent"):
                collection.feed(result)

    assert writes(server) == ["POST"]


def test_an_incremental_query_leaves_the_other_rows_of_a_collection(
    collection: Bench, server: CustomerIOServer
) -> None:
    collection.adjust(incremental=True)
    collection.feed(coupons(ten=10, two=2))

    collection.feed(coupons(ten=12, new=1))

    assert [(row["code"], row["off"]) for row in content(server)] == [("new", 1), ("ten", 12), ("two", 2)]


def test_a_collection_over_its_limit_is_refused_whole(collection: Bench, server: CustomerIOServer) -> None:
    rows = [f"k{i}" for i in range(1_200)]

    with pytest.raises(QueryResultError, match="nothing was sent"):
        collection.feed(table({"code": rows, "text": ["x" * 9_000] * len(rows)}))

    assert writes(server) == []


def test_a_collection_that_the_api_refuses_is_rejected(collection: Bench, server: CustomerIOServer) -> None:
    body = b'{"errors": [{"detail": "no more collections", "status": "422"}]}'
    server.workspace.faults.next.append(Fault(status=422, body=body))

    collection.feed(coupons(ten=10))

    assert collection.rejections() == {"ten": "Customer.io answered 422: no more collections"}


# Lost answers


def held(server: CustomerIOServer) -> dict[str, Any]:
    return {p.attributes["id"]: {k: v for k, v in p.attributes.items() if k != "id"} for p in server.workspace.people}


@pytest.mark.parametrize("seed", seeds(3))
def test_whatever_is_lost_one_clean_run_makes_the_workspace_what_the_query_says(
    bench: Bench, server: CustomerIOServer, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ATTEMPTS", 2)
    monkeypatch.setattr(rate, "FAILURES_IN_A_ROW", 10_000)
    chance = random.Random(seed)
    bench.adjust(on_removed=OnRemoved.DELETE)
    garbage = Fault(applied=True, status=200, body=b"<html>")
    faults = [None, LOST_BEFORE, LOST_AFTER, Fault(status=503), garbage, Fault(status=401)]
    rows: dict[str, int | None] = {}
    for _ in range(8):
        for key in (f"p{chance.randrange(40)}" for _ in range(25)):
            rows[key] = chance.choice([None, 1, 2, 3])
        for key in [key for key in rows if chance.random() < 0.1]:
            del rows[key]
        server.workspace.faults.next.extend(f for f in chance.choices(faults, k=12) if f is not None)
        with suppress(StoreError):
            bench.feed(people(rows), allow_limits=True)
        server.workspace.faults.next.clear()

    bench.feed(people(rows), allow_limits=True)

    assert held(server) == {key: {} if value is None else {"plan": value} for key, value in rows.items()}


def people(rows: dict[str, int | None]) -> pa.Table:
    return table({"id": list(rows), "plan": pa.array(list(rows.values()), pa.int64())})


def test_relationships_are_made_changed_and_removed(bench: Bench, server: CustomerIOServer) -> None:
    bench.adjust(name="members", target=MEMBER, on_removed=OnRemoved.DELETE)
    bench.feed(table({"id": ["ann", "ann"], "account_id": ["acme", "zeta"], "role": ["owner", None]}))

    bench.feed(table({"id": ["ann"], "account_id": ["acme"], "role": pa.array([None], pa.string())}), allow_limits=True)

    assert [(key[1:], held) for key, held in server.workspace.relationships.items()] == [(("1", "acme"), {})]


# As people run it


@pytest.fixture
def folder(tmp_path: Path, server: CustomerIOServer) -> Path:
    definitions = tmp_path / "sync_definitions"
    (definitions / "data").mkdir(parents=True)
    (definitions / "people.sql").write_text(
        "/* sync\nentity: person\nperson: {id: id}\non_removed: delete\n*/\nSELECT id, plan, seen_at FROM people\n"
    )
    write_people(tmp_path, 12_000, "free")
    settings = {"SYNCER_WAREHOUSES__DEFAULT__URL": "duckdb:///sync_definitions/data", **server.environment()}
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))
    return tmp_path


def write_people(folder: Path, rows: int, plan: str) -> None:
    lines = [f"p{i},{plan}{i % 7},2026-11-23 12:00:00" for i in range(rows)]
    (folder / "sync_definitions/data/people.csv").write_text("\n".join(["id,plan,seen_at", *lines]) + "\n")


def ran(folder: Path, *arguments: str) -> Result:
    return forked.run(*arguments, folder=folder, environment=ENVIRONMENT)


def test_a_run_that_is_killed_is_made_good_by_the_next(folder: Path, server: CustomerIOServer) -> None:
    for round_ in range(3):
        write_people(folder, 12_000 - round_ * 100, f"plan{round_}-")
        batches = len(server.workspace.batches)
        printed = folder / "printed"
        process = forked.start(
            ("run", "people"), folder=folder, environment=ENVIRONMENT, out=printed, err=printed
        ).process
        deadline = time.monotonic() + 60
        while len(server.workspace.batches) < batches + 3 + round_ * 4 and process.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.join()

    write_people(folder, 11_900, "last")
    finished = ran(folder, "run", "people", "--json")

    assert finished.code == 0, finished.err
    found = held(server)
    assert found.keys() == {f"p{i}" for i in range(11_900)}
    assert {(key, value["plan"]) for key, value in found.items()} == {(f"p{i}", f"last{i % 7}") for i in range(11_900)}
    assert {value["seen_at"] for value in found.values()} == {1795435200}


LATER = Fault(status=429, headers={"Retry-After": "300"})
#: Seconds; much shorter than any wait here, and longer than a busy machine takes.
SOON = 30.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_wait_at_once_and_the_rows_in_doubt_are_counted(
    folder: Path, server: CustomerIOServer, number: signal.Signals
) -> None:
    # One request is answered, and the others are to come again much later.
    server.workspace.faults.next.append(None)
    server.workspace.faults.always = LATER
    began, ended = ended_by_signal(folder, number, after=lambda: len(writes(server)) >= 2)

    server.workspace.faults.always = None
    (run,) = ended.objects
    assert ended.code == 128 + number
    assert time.monotonic() - began < SOON
    assert (run["status"], run["error"]) == ("interrupted", "stopped by a signal")
    assert 0 < run["accepted"] == len(server.workspace.people) < 12_000
    assert f"rows in doubt, which the next run sends again: {12_000 - run['accepted']:,}" in ended.err
    (again,) = ran(folder, "run", "people", "--json").objects
    assert (again["status"], again["unchanged"]) == ("success", run["accepted"])
    assert len(server.workspace.people) == 12_000


def test_a_signal_ends_the_wait_before_anything_is_sent(folder: Path, server: CustomerIOServer) -> None:
    server.workspace.faults.region = LATER
    began, ended = ended_by_signal(folder, signal.SIGTERM, after=lambda: len(server.workspace.requests) > 0)

    assert ended.code == 143
    assert time.monotonic() - began < SOON
    (run,) = ended.objects
    assert (run["status"], run["error"], run["accepted"]) == ("interrupted", "stopped by a signal", 0)
    assert "in doubt" not in ended.err


def ended_by_signal(folder: Path, number: int, *, after: Callable[[], bool]) -> tuple[float, Result]:
    """A run that gets a signal; with the moment of the signal, by the monotonic clock."""
    out, err = folder / "out", folder / "err"
    command = forked.start(("run", "people", "--json"), folder=folder, environment=ENVIRONMENT, out=out, err=err)
    deadline = time.monotonic() + 60
    while not after():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    assert command.process.pid is not None
    os.kill(command.process.pid, number)
    return time.monotonic(), command.result()


@pytest.mark.parametrize("wait", ["Retry-After", "back-off", "rate"])
def test_whoever_cancels_a_run_ends_its_waits(
    bench: Bench, server: CustomerIOServer, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    match wait:
        case "Retry-After":
            server.workspace.faults.always = LATER
        case "back-off":
            for name in ("FIRST_WAIT", "LONGEST_WAIT"):
                monkeypatch.setattr(connection, name, 300.0)
            server.workspace.faults.always = Fault(status=503)
        case _:
            monkeypatch.setattr(rate, "RateLimiter", lambda _: OnePerMinute())
    began = time.monotonic()

    with bench.connected(), ThreadPoolExecutor() as pool:
        running = pool.submit(bench.run, people(dict.fromkeys(map(str, range(5_000)), 1)))
        time.sleep(1.0)
        bench.progress.token.cancel("stopped by ann")
        with pytest.raises(StoppedError, match="stopped by ann"):
            running.result()

    assert time.monotonic() - began < SOON
    in_doubt = 5_000 - len(server.workspace.people)
    assert bench.progress.notes == [f"rows in doubt, which the next run sends again: {in_doubt:,}"]


class OnePerMinute(rate.RateLimiter):
    """Lets the first calls go, and the others much later."""

    def __init__(self) -> None:
        super().__init__(1)
        self._calls = 0

    def _seconds(self) -> float | None:
        self._calls += 1
        return 0.0 if self._calls < 3 else 60.0


def test_what_changes_after_a_clock_was_set_back_counts(folder: Path, server: CustomerIOServer) -> None:
    write_people(folder, 2, "free")
    assert ran(folder, "run", "people").code == 0
    # As if the clock had been a day ahead then.
    for person in server.workspace.people:
        person.times.update({name: at + 86_400 for name, at in person.times.items()})
    with closing(sqlite3.connect(folder / ".syncer/runs.db")) as log, log:
        log.execute("UPDATE syncer_runs SET started_at = datetime(started_at, '+1 day') || '.000000'")
    for plan in ("pro", "max"):
        write_people(folder, 2, plan)

        finished = ran(folder, "run", "people", *(["--allow", "clock"] if plan == "pro" else []))

        assert finished.code == 0, finished.err
        assert {value["plan"] for value in held(server).values()} == {f"{plan}0", f"{plan}1"}


def test_commands_tell_of_the_workspace(folder: Path, server: CustomerIOServer) -> None:
    write_people(folder, 3, "free")

    planned = ran(folder, "plan", "people")
    assert "note: Customer.io: 1 call, under a second at 100 a second" in planned.out, planned.err
    assert server.workspace.batches == []
    assert ran(folder, "run", "people").code == 0
    (shown,) = ran(folder, "show", "person", "p1", "--json").objects
    assert shown["held"]["attributes"] == {"plan": "free1", "seen_at": "1795435200"}
    server.workspace.requests.clear()
    tested = ran(folder, "connections", "--test", "--json").objects
    (store,) = [one for one in tested if one["kind"] == "store"]
    assert (store["url"], store["reachable"], store["version"]) == ("customerio://us", True, "Customer.io US")
    assert {path for _, path in server.workspace.requests} == {"/api/v1/accounts/region", "/v1/collections"}

    server.workspace.api_key = "changed"
    failed = ran(folder, "run", "people")
    assert failed.code == 1
    assert "refuses the login: 401" in failed.out + failed.err
    everything = "".join(path.read_text(errors="replace") for path in folder.glob(".syncer/*") if path.is_file())
    assert not [secret for secret in ("track-secret", "app-secret") if secret in failed.out + everything]
