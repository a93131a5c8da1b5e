"""Customer.io as a store: what is sent, what the answers mean, and what is done when none comes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from connectors.customerio import connection, headers, rate
from connectors.customerio.items import UNCLEARABLE_TRAITS
from connectors.customerio.options import Via
from connectors.customerio.requests import LONGEST_REQUEST
from syncer.model.errors import SettingsError, StoreError, StoreRefusesError
from syncer.model.types import Entity, Identity, PersonKey, Target
from syncer.settings.registry import open_store
from tests.contracts.batches import (
    ACCEPTED,
    ACCOUNTS,
    COUPONS,
    MEMBERS,
    PEOPLE,
    PEOPLE_BY_EMAIL,
    apply,
    batch_of,
    clear,
    delete,
    put,
    sent,
)
from tests.servers.customerio import CustomerIOServer, customerio_server, definitions
from tests.servers.customerio.faults import LOST_AFTER, LOST_BEFORE, Fault

STARTED = datetime(2026, 11, 24, 6, 0, 0, tzinfo=UTC)
DOWN = Fault(status=503, body=b"<html>down</html>")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerIOServer]:
    """A workspace, for which waits are short."""
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.005)
    monkeypatch.setattr(rate, "PAUSE_SECONDS", 0.3)
    with customerio_server() as running:
        yield running
        assert running.workspace.breaches == []


@pytest.fixture
def store(server: CustomerIOServer) -> Iterator[Any]:
    with closing(opened(server)) as store:
        yield store


def opened(server: CustomerIOServer, url: str = "customerio://us", **options: Any) -> Any:
    identity = options.pop("identity", Identity.ID)
    given = server.options(**options)
    return open_store("crm", url, identity=identity, options=given, started_at=STARTED)


def check(server: CustomerIOServer, *url: str, **options: Any) -> None:
    """Open a store, and use it for the first time."""
    with closing(opened(server, *url, **options)) as store:
        store.check(PEOPLE)


def posts(server: CustomerIOServer) -> int:
    return [method for method, _ in server.workspace.requests].count("POST")


def long_people(rows: int) -> list[Any]:
    """About 25 of them fill a request."""
    return [put(f"p{i}", attributes={f"a{n}": "x" * 900 for n in range(20)}) for i in range(rows)]


def verdicts(store: Any, *rows: Any, target: Target = PEOPLE) -> dict[int, str]:
    """Verdict by place of the row; nothing for a row in doubt."""
    answered = sent(store, target, *rows).to_pylist()
    return {row["seq"] - 100: row["verdict"] for row in answered}


# What is sent


def test_requests_are_what_the_vendor_defines(store: Any, server: CustomerIOServer) -> None:
    rows = [put("ann", attributes={"a": 1}, cleared=("b",)), clear("bob", cleared=("a",)), delete("cy")]

    assert apply(store, PEOPLE, *rows) == [ACCEPTED] * 3
    assert apply(store, ACCOUNTS, put("acme", attributes={"a": 1}), delete("zeta")) == [ACCEPTED] * 2
    assert apply(store, MEMBERS, put("ann", "acme", attributes={"r": 1}), delete("bob", "acme")) == [ACCEPTED] * 2
    broken = {"batch": [{"type": "person", "action": "identify", "identifiers": {"number": 1}}]}
    assert definitions.folder() is None or definitions.faults_of("track", broken)


def test_a_value_is_from_the_start_of_the_run(store: Any, server: CustomerIOServer) -> None:
    apply(store, PEOPLE, put("ann", attributes={"plan": "pro"}))

    (ann,) = server.workspace.people
    assert ann.times == {"plan": int(STARTED.timestamp())}


def test_without_create_and_to_clear_nobody_is_made(store: Any, server: CustomerIOServer) -> None:
    apply(store, PEOPLE, put("ann", attributes={"a": 1}), create=False)
    apply(store, PEOPLE, clear("bob", cleared=("a",)))

    assert server.workspace.people == []


def test_requests_stay_below_their_limit_and_are_few(store: Any, server: CustomerIOServer) -> None:
    rows = [put(f"p{i}", attributes={f"a{n}": "é" * 450 for n in range(i % 30)}) for i in range(1_500)]

    assert apply(store, PEOPLE, *rows) == [ACCEPTED] * len(rows)

    sizes = server.workspace.batches
    assert max(sizes) < LONGEST_REQUEST
    assert len(sizes) < sum(sizes) / LONGEST_REQUEST * 1.15 + 8
    assert len(server.workspace.people) == len(rows)


def test_a_relationships_person_is_never_in_two_requests_at_once(store: Any, server: CustomerIOServer) -> None:
    rows = [put(f"p{i % 40}", f"a{i}", attributes={"note": "x" * 900}) for i in range(2_500)]

    # The server counts a breach where the same entity is in flight twice.
    assert set(apply(store, MEMBERS, *rows)) == {ACCEPTED}
    assert len(server.workspace.batches) > 8


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (put("x" * 151), "the identifier is longer than 150 bytes"),
        (put(" "), "the identifier is blank"),
        (put("p", attributes={"é" * 76: 1}), "an attribute's name is longer than 150 bytes"),
        (put("p", cleared=("é" * 76,)), "an attribute's name is longer than 150 bytes"),
        (put("p", attributes={"bio": "é" * 501}), "attribute `bio` is longer than 1000 bytes"),
        (put("p", attributes={"list": ["x" * 100] * 10}), "attribute `list` is longer than 1000 bytes"),
        (put("p", email="x" * 1_001), "attribute `email` is longer than 1000 bytes"),
        (put("p", attributes={f"a{i}": i for i in range(300)}, cleared=("b",)), "the row has 301 attributes, over 300"),
        (put("p", attributes={"cio_id": "1"}), "the name `cio_id` is reserved"),
        (put("p", attributes={f"a{i}": "x" * 900 for i in range(40)}), "the row makes 36430 bytes of JSON, over 32000"),
    ],
)
def test_what_customerio_would_refuse_is_rejected_and_not_sent(
    store: Any, server: CustomerIOServer, row: Any, reason: str
) -> None:
    assert apply(store, PEOPLE, put("ann"), row) == [ACCEPTED, ("rejected", reason)]

    assert [person.attributes["id"] for person in server.workspace.people] == ["ann"]


def test_values_at_their_limits_are_sent(store: Any) -> None:
    rows = [
        put("x" * 150),
        put("a", attributes={"é" * 75: 1, "bio": "é" * 500}),
        put("b", attributes={f"a{i}": i for i in range(300)}),
        put("c", attributes={f"a{i}": "x" * 900 for i in range(34)}),
        put("d", attributes={"text": 'a"b\\c' * 150, "none": {"x": None}}, cleared=("e,f", 'g"h')),
    ]

    assert apply(store, PEOPLE, *rows) == [ACCEPTED] * len(rows)


def test_reserved_names_of_objects_are_others(store: Any) -> None:
    rows = [put("acme", attributes={"cio_id": 1}), put("zeta", attributes={"object_id": 1})]

    assert apply(store, ACCOUNTS, *rows) == [ACCEPTED, ("rejected", "the name `object_id` is reserved")]


def test_two_rows_of_one_email_are_rejected_where_it_is_unique(server: CustomerIOServer) -> None:
    server.workspace.unique = ("id", "email")
    rows = [put("a", email="x@x.com"), put("b", email="X@x.com"), put("c", email="c@x.com"), put("d"), put("e")]

    with closing(opened(server, identity=Identity.ID_OR_EMAIL)) as store:
        found = apply(store, PEOPLE, *rows)

    assert found == [("rejected", "two rows have this email")] * 2 + [ACCEPTED] * 3


# What answers mean


def test_each_row_has_the_verdict_that_the_answer_gives_it(store: Any, server: CustomerIOServer) -> None:
    server.workspace.faults.refuses = lambda item: int(item["identifiers"]["id"]) % 7 == 0

    found = apply(store, PEOPLE, *[put(str(i)) for i in range(1, 500)])

    refused = ("rejected", "refused: attributes: on purpose")
    assert found == [refused if i % 7 == 0 else ACCEPTED for i in range(1, 500)]


def test_one_poisoned_row_is_found_and_the_others_are_taken(store: Any, server: CustomerIOServer) -> None:
    server.workspace.faults.poison = lambda item: item["identifiers"]["id"] == "77"

    found = apply(store, PEOPLE, *[put(str(i)) for i in range(400)])

    poisoned = ("rejected", "Customer.io answered 400: poisoned: item")
    assert [i for i, verdict in enumerate(found) if verdict == poisoned] == [77]
    assert found.count(ACCEPTED) == 399
    assert len(server.workspace.people) == 399


@pytest.mark.parametrize(
    "body",
    [
        b"<html>proxy</html>",
        b"",
        b"[]",
        b'"ok"',
        b'{"errors": "no"}',
        b'{"errors": [null]}',
        b'{"errors": [7]}',
        b'{"meta": {"error": "something"}}',
        b"[" * 100_000,
    ],
)
def test_an_answer_that_cannot_be_understood_leaves_its_rows_in_doubt(
    store: Any, server: CustomerIOServer, body: bytes
) -> None:
    # One person's rows go in one request.
    server.workspace.faults.always = Fault(applied=True, status=200, body=body)

    with pytest.raises(StoreError, match="answer 200 to a batch cannot be understood"):
        sent(store, MEMBERS, put("1", "a"), put("1", "b"))

    assert store.flush().num_rows == 0
    assert posts(server) == 1


@pytest.mark.parametrize("place", [{}, {"batch_index": None}, {"batch_index": 400}, {"batch_index": True}])
def test_an_error_that_names_no_row_is_traced_to_its_row(
    store: Any, server: CustomerIOServer, place: dict[str, Any]
) -> None:
    faults = server.workspace.faults
    faults.refuses = lambda item: item["identifiers"]["id"] == "77"
    faults.place = lambda _: place

    found = apply(store, PEOPLE, *[put(str(i)) for i in range(200)])

    assert [i for i, (verdict, _) in enumerate(found) if verdict == "rejected"] == [77]
    assert found[77] == ("rejected", "refused: attributes: on purpose")
    assert found.count(ACCEPTED) == 199
    assert len(server.workspace.people) == 199


@pytest.mark.parametrize("status", [200, 202, 207])
def test_errors_count_with_every_status_of_success(store: Any, server: CustomerIOServer, status: int) -> None:
    errors = [{"batch_index": 1, "reason": "one"}, {"batch_index": 1, "message": "two"}]
    server.workspace.faults.always = Fault(status=status, body=json.dumps({"errors": errors}).encode())

    found = apply(store, MEMBERS, put("1", "a"), put("1", "b"), put("1", "c"))

    assert found == [ACCEPTED, ("rejected", "one; two"), ACCEPTED]


# What is done when no answer comes


@pytest.mark.parametrize("fault", [LOST_BEFORE, LOST_AFTER, DOWN, Fault(status=429), Fault(applied=True, status=500)])
def test_a_request_is_repeated_until_it_is_answered(store: Any, server: CustomerIOServer, fault: Fault) -> None:
    server.workspace.faults.next.extend([fault] * 3)

    assert apply(store, PEOPLE, put("ann", attributes={"a": 1})) == [ACCEPTED]
    assert posts(server) == 4
    assert server.workspace.attributes("ann") == {"a": 1}


def test_an_answer_that_takes_too_long_is_a_lost_one(server: CustomerIOServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TIMEOUT_SECONDS", 1.0)
    server.workspace.faults.next.append(Fault(applied=True, status=200, body=b"{}", seconds=4))

    with closing(opened(server)) as store:
        assert apply(store, PEOPLE, put("ann", attributes={"a": 1})) == [ACCEPTED]

    assert posts(server) == 2


def test_several_requests_are_on_their_way_at_once(store: Any, server: CustomerIOServer) -> None:
    server.workspace.faults.slow = 1.0
    began = time.monotonic()

    assert set(apply(store, PEOPLE, *long_people(200))) == {ACCEPTED}

    assert posts(server) == 8
    assert time.monotonic() - began < 7


def test_the_next_batch_goes_while_one_is_on_its_way(store: Any, server: CustomerIOServer) -> None:
    server.workspace.faults.slow = 2.0
    first, second = (long_people(60), long_people(120)[60:])

    # Two requests each, and some rows that wait for more.
    early = [store.apply(PEOPLE, batch_of(*rows), create=True) for rows in (first, second)]
    assert [len(table) for table in early] == [0, 0]
    began = time.monotonic()
    late = store.flush()

    # One after the other they take four.
    assert time.monotonic() - began < 3.9
    assert sorted(late["seq"].to_pylist()) == sorted([*range(100, 160), *range(100, 160)])
    assert len(server.workspace.people) == 120
    assert len(store.flush()) == 0


def test_a_person_is_never_in_two_requests_at_once_across_batches(store: Any, server: CustomerIOServer) -> None:
    server.workspace.faults.slow = 0.02
    rows = [put(f"p{i % 7}", f"a{i}", attributes={f"n{n}": "x" * 900 for n in range(20)}) for i in range(600)]
    for first in range(0, len(rows), 50):
        store.apply(MEMBERS, batch_of(*rows[first : first + 50]), create=True)

    store.flush()

    # The server counts a breach where the same entity is in flight twice.
    assert len(server.workspace.relationships) == 600
    assert len(server.workspace.batches) > 20


def test_what_was_answered_before_a_failure_is_told(store: Any, server: CustomerIOServer) -> None:
    server.workspace.faults.next.extend([*[None] * 8, *[Fault(status=401)] * 8])

    with pytest.raises(StoreError, match="refuses the login"):
        store.apply(PEOPLE, batch_of(*long_people(800)), create=True)
    told = store.flush()

    assert set(told["verdict"].to_pylist()) == {"accepted"}
    assert len(told) >= 8 * 20
    assert {f"p{seq - 100}" for seq in told["seq"].to_pylist()} == {p.attributes["id"] for p in server.workspace.people}
    assert len(store.flush()) == 0


def test_a_request_that_fails_in_halves_keeps_the_half_that_was_taken(store: Any, server: CustomerIOServer) -> None:
    server.workspace.faults.next.extend([Fault(status=400, body=b"{}"), None, Fault(status=403)])

    with pytest.raises(StoreError, match="refuses the login"):
        sent(store, PEOPLE, put("a"), put("b"), put("c"), put("d"))

    assert store.flush()["seq"].to_pylist() == [100, 101]


def test_a_store_that_stays_down_fails_after_some_calls(store: Any, server: CustomerIOServer) -> None:
    server.workspace.faults.always = DOWN

    with pytest.raises(StoreError, match=r"store `crm`: Customer\.io answered 503"):
        sent(store, PEOPLE, put("ann"))

    assert posts(server) == connection.ATTEMPTS


def test_retry_after_is_kept_by_all_requests(store: Any, server: CustomerIOServer) -> None:
    server.workspace.faults.next.append(Fault(status=429, headers={"Retry-After": "1"}))
    began = time.monotonic()

    assert apply(store, PEOPLE, put("ann")) == [ACCEPTED]
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("header", ["0", "-3", "Wed, 21 Oct 2015 07:28:00 GMT", "0.001"])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_never_shortens_the_back_off(
    store: Any, server: CustomerIOServer, monkeypatch: pytest.MonkeyPatch, status: int, header: str
) -> None:
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.1)
    server.workspace.faults.next.extend([Fault(status=status, headers={"Retry-After": header})] * 3)
    began = time.monotonic()

    assert apply(store, PEOPLE, put("ann")) == [ACCEPTED]

    # At least half of 0.1, 0.2 and 0.4 seconds.
    assert time.monotonic() - began >= 0.35


def test_after_many_failures_nothing_is_sent_for_a_while(
    store: Any, server: CustomerIOServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ATTEMPTS", 100)
    monkeypatch.setattr(connection, "LONGEST_WAIT", 0.005)
    server.workspace.faults.always = DOWN
    with pytest.raises(StoreError, match="failed 30 times in a row"):
        sent(store, PEOPLE, put("ann"))
    before = len(server.workspace.requests)

    # For every sync of the process.
    with pytest.raises(StoreError, match="failed 30 times in a row"):
        check(server)
    assert posts(server) == rate.FAILURES_IN_A_ROW
    assert len(server.workspace.requests) == before

    server.workspace.faults.always = None
    time.sleep(rate.PAUSE_SECONDS)
    with closing(opened(server)) as again:
        assert apply(again, PEOPLE, put("ann")) == [ACCEPTED]


def test_a_failure_ends_what_the_other_requests_wait_for(store: Any, server: CustomerIOServer) -> None:
    server.workspace.faults.next.extend([Fault(status=401), *[Fault(status=503, headers={"Retry-After": "60"})] * 7])
    began = time.monotonic()

    with pytest.raises(StoreError, match="refuses the login"):
        sent(store, PEOPLE, *long_people(200))

    assert time.monotonic() - began < 30
    assert posts(server) <= 8


def test_syncs_of_one_workspace_share_its_rate(server: CustomerIOServer) -> None:
    began = time.monotonic()
    for _ in range(3):
        with closing(opened(server, requests_per_second=5)) as store:
            assert apply(store, ACCOUNTS, put("acme")) == [ACCEPTED]
            assert apply(store, ACCOUNTS, put("acme")) == [ACCEPTED]
    assert time.monotonic() - began > 0.8


def test_calls_that_are_late_for_want_of_a_processor_do_not_lower_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now, late = 100.0, Random(1)
    gone: list[float] = []
    monkeypatch.setattr(rate, "time", SimpleNamespace(monotonic=lambda: now))
    limiter = rate.RateLimiter(100)
    while now < 120.0:
        if seconds := limiter._seconds():
            now += seconds + (0.03 if late.random() < 0.2 else 0.0)
        else:
            gone.append(now)

    assert len(gone) > 0.95 * 100 * 20
    assert min(later - first for first, later in zip(gone, gone[100:], strict=False)) > 1.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0.5", 0.5), ("-3", 0), ("inf", 300), ("99999", 300), ("nan", None), ("soon", None), (None, None)],
)
def test_how_long_a_header_asks_to_wait(header: str | None, seconds: float | None) -> None:
    assert headers.retry_after(header) == seconds


def test_a_header_may_name_the_moment() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    waited = headers.retry_after(moment)

    assert waited is not None
    assert 90 < waited <= 100


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_ends_at_once(store: Any, server: CustomerIOServer, status: int) -> None:
    server.workspace.faults.always = Fault(status=status)

    with pytest.raises(StoreError, match="refuses the login") as raised:
        sent(store, PEOPLE, put("ann"))

    assert posts(server) == 1
    assert "SYNCER_STORES__CRM__SITE_ID" in raised.value.hint


def test_a_redirect_is_never_followed(store: Any, server: CustomerIOServer) -> None:
    server.workspace.faults.always = Fault(status=301, headers={"Location": "/api/v2/batch"})

    with pytest.raises(StoreError, match="answers from elsewhere: 301"):
        sent(store, PEOPLE, put("ann"))

    assert posts(server) == 1


def test_no_more_is_sent_than_the_rate(server: CustomerIOServer) -> None:
    rows = [put(f"p{i}", attributes={f"a{n}": "x" * 900 for n in range(30)}) for i in range(600)]

    with closing(opened(server, requests_per_second=20)) as store:
        began = time.monotonic()
        assert set(apply(store, PEOPLE, *rows)) == {ACCEPTED}

    assert len(server.workspace.batches) > 20
    assert time.monotonic() - began > (len(server.workspace.batches) - 20) / 20


# Region, login, settings


def test_a_workspace_of_the_other_region_is_refused(server: CustomerIOServer) -> None:
    with pytest.raises(StoreError, match="the workspace is in `us`, and the URL says `eu`") as raised:
        check(server, "customerio://eu")

    assert "SYNCER_STORES__CRM__URL" in raised.value.hint


def test_what_is_missing_is_named_with_its_setting(server: CustomerIOServer) -> None:
    with pytest.raises(SettingsError, match="names no region"):
        opened(server, "customerio://mars")
    with pytest.raises(StoreError, match="refuses the login: 401"):
        check(server, api_key="wrong")
    with closing(opened(server, app_api_key=None, object_types={})) as store:
        for target, setting in ((COUPONS, "APP_API_KEY"), (ACCOUNTS, "OBJECT_TYPES")):
            with pytest.raises((SettingsError, StoreRefusesError)) as raised:
                store.check(target)
            assert f"SYNCER_STORES__CRM__{setting}" in raised.value.hint
        assert "cannot send collections" in store.probe().note


def test_what_only_people_can_be_asked_for_is_refused_of_others(store: Any) -> None:
    store.check(PEOPLE, create=False)
    with pytest.raises(StoreRefusesError, match="only for people"):
        store.check(ACCOUNTS, create=False)


def test_the_store_knows_itself_and_tells_no_secret(store: Any, server: CustomerIOServer) -> None:
    with closing(opened(server)) as again:
        assert again.store_id == store.store_id
    assert server.workspace.site_id not in store.store_id
    with customerio_server() as other, closing(opened(other)) as another:
        assert another.store_id != store.store_id


def test_a_probe_tries_both_keys(store: Any, server: CustomerIOServer) -> None:
    assert store.probe().version == "Customer.io US"
    with closing(opened(server, app_api_key="wrong")) as other, pytest.raises(StoreError) as raised:
        other.probe()
    assert "SYNCER_STORES__CRM__APP_API_KEY" in raised.value.hint


def test_a_forecast_tells_calls_and_time(store: Any, server: CustomerIOServer) -> None:
    assert store.forecast(PEOPLE, rows=0, row_bytes=0) == ""
    with closing(opened(server, requests_per_second=5)) as slow:
        told = slow.forecast(PEOPLE, rows=10_000_000, row_bytes=200)
    assert told == "Customer.io: about 10,000 calls, at least 34.5 minutes at 5 a second"
    assert "about 4 calls for these rows alone" in store.forecast(COUPONS, rows=1, row_bytes=10)


@pytest.mark.parametrize(("target", "key"), [(PEOPLE, 1), (ACCOUNTS, 1), (MEMBERS, 2)])
def test_the_calls_are_about_as_many_as_forecast(
    store: Any, server: CustomerIOServer, target: Target, key: int
) -> None:
    rows = [put(*[f"k{i}"] * key, attributes={f"a{n}": "x" * 900 for n in range(20)}) for i in range(400)]

    told = store.forecast(target, rows=len(rows), row_bytes=20 * 908 + 20 * key)
    assert set(apply(store, target, *rows)) == {ACCEPTED}

    forecast = int(told.removeprefix("Customer.io: about ").partition(" ")[0])
    assert abs(forecast - posts(server)) <= 0.1 * posts(server) + 2


# Reading back


def test_what_it_holds_is_shown_as_text(store: Any) -> None:
    apply(store, PEOPLE, put("a/b c", attributes={"n": 1, "plan": "pro"}, email="a+b@x.com"))
    apply(store, ACCOUNTS, put("acme", attributes={"n": 1}))
    apply(store, MEMBERS, put("a/b c", "acme"))

    shown = store.show(Entity.PERSON, "id", "a/b c")
    assert (shown["id"], shown["email"], shown["attributes"]) == ("a/b c", "a+b@x.com", {"n": "1", "plan": "pro"})
    assert shown["relationships"] == [{"object_type_id": "1", "object_id": "acme"}]
    assert store.show(Entity.PERSON, "email", "a+b@x.com") == shown
    thing = store.show(Entity.OBJECT, "account", "acme")
    assert (thing["attributes"], thing["people"]) == ({"n": "1"}, [{"cio_id": shown["cio_id"]}])
    assert store.show(Entity.PERSON, "id", "none") is None
    assert store.show(Entity.OBJECT, "account", "none") is None
    assert store.show(Entity.COLLECTION, "none", "") is None


def test_all_names_of_people_to_delete_are_asked_for(store: Any, server: CustomerIOServer) -> None:
    apply(store, PEOPLE, *[put(str(i), email=f"{i}@x.com") for i in range(150)])

    keys = pa.table({"k1": [*map(str, range(150)), "none"]})
    found = store.identifiers(PEOPLE, keys).to_pylist()
    with closing(opened(server, app_api_key=None)) as without:
        own = without.identifiers(PEOPLE, keys)

    assert {"entity": "person", "kind": "email", "value": "149@x.com"} in found
    assert len(found) == 450
    assert (len(own), set(own["kind"].to_pylist())) == (151, {"id"})


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_of_the_app_api_is_an_error_and_not_nobody(store: Any, server: CustomerIOServer, status: int) -> None:
    """404 says so of one thing."""
    apply(store, PEOPLE, put("ann"))
    server.workspace.faults.reading = Fault(status=status, body=b'{"meta":{"error":"email lookups are not enabled"}}')

    with pytest.raises(StoreError, match=f"refuses to be read back, with status {status}"):
        store.identifiers(PEOPLE, pa.table({"k1": ["ann"]}))
    for entity, kind in ((Entity.PERSON, "email"), (Entity.OBJECT, "account")):
        if status == 404:
            assert store.show(entity, kind, "ann@x.com") is None
            continue
        with pytest.raises(StoreError, match=f"refuses to be read back, with status {status}"):
            store.show(entity, kind, "ann@x.com")


# Through the Pipelines API


@pytest.fixture
def pipelines(server: CustomerIOServer) -> Iterator[Any]:
    with closing(opened(server, via=Via.PIPELINES)) as store:
        yield store


def test_people_go_through_the_pipelines_api(pipelines: Any, server: CustomerIOServer) -> None:
    assert apply(pipelines, PEOPLE, put("ann", attributes={"a": 1}, email="ann@x.com"), put("bob")) == [ACCEPTED] * 2
    assert apply(pipelines, PEOPLE, put("ann", cleared=("a",)), delete("bob")) == [ACCEPTED] * 2
    assert apply(pipelines, ACCOUNTS, put("acme")) == [ACCEPTED]

    assert [person.attributes for person in server.workspace.people] == [{"id": "ann", "email": "ann@x.com"}]
    paths = [path for method, path in server.workspace.requests if method == "POST"]
    assert set(paths) == {"/v1/batch", "/api/v2/batch"}
    broken = {"batch": [{"type": "identify", "userId": 7}]}
    assert definitions.folder() is None or definitions.faults_of("pipelines", broken)


def test_what_the_pipelines_api_cannot_clear_is_left_out(pipelines: Any, server: CustomerIOServer) -> None:
    """The server compares each request with the vendor's definitions, and refuses what they do not allow."""
    apply(pipelines, PEOPLE, put("ann", attributes={"plan": "pro", "unsubscribed": True}, email="ann@x.com"))
    cleared = ("plan", *UNCLEARABLE_TRAITS)

    assert apply(pipelines, PEOPLE, put("ann", cleared=cleared, email=None)) == [ACCEPTED]
    assert apply(pipelines, PEOPLE, clear("ann", cleared=cleared)) == [ACCEPTED]

    assert server.workspace.attributes("ann") == {"email": "ann@x.com", "unsubscribed": True}


def test_the_pipelines_api_gets_the_time_of_creation_as_text(pipelines: Any, server: CustomerIOServer) -> None:
    rows = [
        put("ann", attributes={"seen": 1_700_000_000, "createdAt": 1_700_000_000, "n": {"createdAt": 1}}),
        put("bob", attributes={"createdAt": 1_700_000_000.5}),
        put("cy", attributes={"createdAt": "2024-01-01T00:00:00Z", "note": '"createdAt":5,'}),
        put("di", attributes={"createdAt": 10**15, "a": "x"}),
    ]

    verdicts = [verdict for verdict, _ in apply(pipelines, PEOPLE, *rows)]

    assert verdicts[:3] == ["accepted"] * 3
    held = {one.attributes["id"]: one.attributes for one in server.workspace.people}
    assert held["ann"]["createdAt"] == "2023-11-14T22:13:20Z"
    assert (held["ann"]["seen"], held["ann"]["n"]) == (1_700_000_000, {"createdAt": 1})
    assert held["bob"]["createdAt"] == "2023-11-14T22:13:20Z"
    assert (held["cy"]["createdAt"], held["cy"]["note"]) == ("2024-01-01T00:00:00Z", '"createdAt":5,')


def test_every_member_that_the_vendor_defines_can_be_null(pipelines: Any, store: Any, server: CustomerIOServer) -> None:
    """Of both APIs, and of every entity, one row for each member, beside an ordinary one."""
    server.workspace.checked = True
    sent_by = [
        (pipelines, PEOPLE, ("ann",), definitions.typed_members("pipelines", "traits")),
        (store, PEOPLE, ("ann",), definitions.typed_members("track", "attributes")),
        (store, ACCOUNTS, ("acme",), definitions.typed_members("track", "attributes")),
        (store, MEMBERS, ("ann", "acme"), definitions.typed_members("track", "relationship_attributes")),
    ]
    for by, target, key, names in sent_by:
        for name in ["plan", *names]:
            if name.startswith("_") or name == "cio_id":
                # No attribute can have such a name.
                continue
            own: dict[str, Any] = {"email": None} if name == "email" and target is PEOPLE else {}
            assert apply(by, target, put(*key, cleared=(name,), **own)) == [ACCEPTED], name
            assert apply(by, target, clear(*key, cleared=(name,))) == [ACCEPTED], name


def test_a_value_that_comes_back_is_not_taken_for_a_repetition(server: CustomerIOServer) -> None:
    for hour, value in enumerate([1, 2, 1]):
        moment = STARTED.replace(hour=hour)
        options = server.options(via=Via.PIPELINES)
        with closing(
            open_store("crm", "customerio://us", identity=Identity.ID, options=options, started_at=moment)
        ) as s:
            apply(s, PEOPLE, put("ann", attributes={"a": value}))

    assert server.workspace.attributes("ann") == {"a": 1}


def test_a_poisoned_row_is_found_in_the_pipelines_api_too(pipelines: Any, server: CustomerIOServer) -> None:
    server.workspace.faults.poison = lambda item: item["userId"] == "7"

    found = apply(pipelines, PEOPLE, *[put(str(i)) for i in range(20)])

    assert [verdict for verdict, _ in found] == ["rejected" if i == 7 else "accepted" for i in range(20)]


def test_the_pipelines_api_takes_people_by_id_alone(pipelines: Any, server: CustomerIOServer) -> None:
    pipelines.check(PEOPLE)
    with pytest.raises(StoreRefusesError):
        pipelines.check(PEOPLE, create=False)
    with closing(opened(server, via=Via.PIPELINES, identity=Identity.EMAIL)) as by_email:
        with pytest.raises(StoreRefusesError, match="by their `id` alone"):
            by_email.check(PEOPLE_BY_EMAIL)
        by_email.check(Target(entity=Entity.RELATIONSHIP, person_key=PersonKey.EMAIL, object_type="account"))
