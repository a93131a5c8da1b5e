"""Whatever Customer.io answers: a verdict, a doubt or an error of the store, and nothing unexpected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.customerio import connection, keyed_writes
from connectors.customerio.keyed_writes import DELETE_FIELD
from syncer.model.errors import StoreError
from syncer.model.protocols import IDENTIFIERS, VERDICTS
from syncer.model.types import Entity, Identity, Target
from syncer.settings.registry import open_store
from tests.contracts.batches import COUPONS, MEMBERS, PEOPLE, batch_of, put
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.servers.customerio.faults import Fault

NAMES = [
    "errors", "batch_index", "reason", "field", "message", "detail", "meta", "error", "collection", "collections",
    "rows", "id", "name", "customer", "customers", "attributes", "identifiers", "cio_relationships", "object",
    "object_id", "updated_at", "write", "state", "items", "code", "index", "key_field", "delete_field",
]  # fmt: skip
SCALARS = st.sampled_from([None, True, 0, 1, -1, 2, 1.5, 10**30, "", "x", "coupons", "ann", "a\nb\0", "\ud800"])
ANSWERS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=12,
)
#: Most have the shape that is expected, down to where it goes wrong.
SHAPED = st.one_of(
    ANSWERS,
    *(
        st.builds(lambda name, inner: {name: inner}, st.just(name), ANSWERS | st.lists(ANSWERS, max_size=3))
        for name in (
            "errors",
            "meta",
            "collection",
            "collections",
            "customer",
            "customers",
            "cio_relationships",
            "object",
        )
    ),
    st.builds(lambda inner: {"collections": [{"name": "coupons", "id": inner}]}, ANSWERS),
    st.builds(lambda inner: {"customer": {"attributes": inner}, "cio_relationships": [inner]}, ANSWERS),
    st.builds(lambda inner: {"customers": [{"customer": inner}]}, ANSWERS),
    st.builds(lambda inner: {"object": inner, "cio_relationships": inner}, ANSWERS),
    st.builds(lambda inner: {"errors": [{"batch_index": inner, "reason": inner}]}, ANSWERS),
)
ITEMS = st.builds(lambda place, code: {"index": place, "code": code}, SCALARS, ANSWERS)
#: What a look-up of a write may tell.
ENDS = st.builds(
    lambda state, items: {"write": {"state": state, "items": items}},
    st.sampled_from(["failed", "applied", "queued"]) | ANSWERS,
    st.lists(ITEMS, max_size=3) | ANSWERS,
)
PROPERTY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerIOServer]:
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(connection, "ATTEMPTS", 2)
    monkeypatch.setattr("connectors.customerio.store._APP_RATE", 10_000)
    monkeypatch.setattr(keyed_writes, "FIRST_LOOK", 0.001)
    monkeypatch.setattr(keyed_writes, "LOOKING_SECONDS", 0.003)
    with customerio_server() as running:
        running.workspace.app_rate = 10_000
        yield running


def opened(server: CustomerIOServer) -> Any:
    return open_store("crm", "customerio://us", identity=Identity.ID, options=server.options(), started_at=None)


@pytest.fixture
def store(server: CustomerIOServer) -> Iterator[Any]:
    with closing(opened(server)) as store:
        yield store


@PROPERTY
@given(told=SHAPED, status=st.sampled_from([200, 207, 400, 422]), target=st.sampled_from([PEOPLE, MEMBERS]))
def test_an_answer_to_a_batch_gives_each_row_a_verdict_or_leaves_it_in_doubt(
    server: CustomerIOServer, told: Any, status: int, target: Target
) -> None:
    server.workspace.faults.always = Fault(status=status, body=json.dumps(told).encode())
    keys = [("ann", "a"), ("ann", "b"), ("bob", "a")]
    batch = batch_of(*[put(*key[: 1 if target is PEOPLE else 2]) for key in (keys if target is MEMBERS else keys[1:])])

    with closing(opened(server)) as store:
        try:
            verdicts = pa.concat_tables([store.apply(target, batch, create=True), store.flush()])
        except StoreError:
            # Of an answer that cannot be understood.
            assert status < 300
            verdicts = store.flush()

    assert verdicts.schema == VERDICTS
    seqs = verdicts["seq"].to_pylist()
    assert len(set(seqs)) == len(seqs)
    assert set(seqs) <= set(batch["seq"].to_pylist())
    assert set(verdicts["verdict"].to_pylist()) <= {"accepted", "rejected"}
    assert (status < 300) or set(verdicts["verdict"].to_pylist()) == {"rejected"}


@PROPERTY
@given(told=SHAPED, status=st.sampled_from([200, 201, 422]))
def test_an_answer_about_a_collection_is_for_all_of_its_rows(
    store: Any, server: CustomerIOServer, told: Any, status: int
) -> None:
    server.workspace.faults.always = Fault(status=status, body=json.dumps(told).encode())
    known = pa.array([None, None], pa.string())
    batch = batch_of(put("a"), put("b")).append_column("acknowledged", known)

    verdicts = store.apply(COUPONS, batch, create=True)

    assert verdicts.schema == VERDICTS
    assert len(verdicts) in (0, 2)


@PROPERTY
@given(told=SHAPED | ENDS, status=st.sampled_from([None, 200, 202, 400, 404, 422]), listed=st.booleans())
def test_an_answer_about_rows_of_a_collection_is_a_verdict_or_a_doubt(
    store: Any, server: CustomerIOServer, told: Any, status: int | None, listed: bool
) -> None:
    """*status*: of the answer to the write, where that is told; else what the look-up tells."""
    held = server.workspace.held_collections
    have: list[dict[str, Any]] = [{"code": code, "off": 1} for code in "abcd"]
    held.replace("coupons", have, 1, key_field="code", delete_field=DELETE_FIELD)
    held.told, held.tells_fields = None if status else told, listed
    server.workspace.faults.next.clear()
    if status:
        server.workspace.faults.next.append(Fault(status=status, body=json.dumps(told).encode()))
    known = [json.dumps(row) for row in have]
    changed = [put(row["code"], attributes=row | {"off": 2}) for row in have[:2]]
    batch = batch_of(*changed, *(put(row["code"], attributes=row) for row in have[2:]))
    seqs = pa.array([100, 101, None, None], pa.int64())
    batch = batch.set_column(0, "seq", seqs).append_column("acknowledged", pa.array(known))

    try:
        verdicts = store.apply(COUPONS, batch, create=True)
    except StoreError:
        # Of a write that does not end.
        return

    assert verdicts.schema == VERDICTS
    accepted = {row["seq"] for row in verdicts.to_pylist() if row["verdict"] == "accepted"}
    stored = {row["code"]: row["off"] for row in server.workspace.collections["coupons"]["data"]}
    if status is not None:
        assert all(stored[code] == 2 for seq, code in ((100, "a"), (101, "b")) if seq in accepted)
    assert set(verdicts["seq"].to_pylist()) <= {100, 101}


@PROPERTY
@given(told=SHAPED)
def test_what_is_read_back_in_another_shape_is_an_error_of_the_store(
    store: Any, server: CustomerIOServer, told: Any
) -> None:
    server.workspace.faults.reading = Fault(status=200, body=json.dumps(told).encode())

    for entity, kind, value in ((Entity.PERSON, "id", "ann"), (Entity.OBJECT, "account", "acme")):
        with suppress(StoreError):
            shown = store.show(entity, kind, value)
            assert shown is None or isinstance(shown["attributes"], dict)
    with suppress(StoreError):
        shown = store.show(Entity.COLLECTION, "coupons", "")
        assert shown is None or isinstance(shown["rows"], list)


@PROPERTY
@given(told=SHAPED)
def test_names_of_people_in_another_shape_are_an_error_of_the_store(
    store: Any, server: CustomerIOServer, told: Any
) -> None:
    server.workspace.faults.reading = Fault(status=200, body=json.dumps(told).encode())

    with suppress(StoreError):
        assert store.identifiers(PEOPLE, pa.table({"k1": ["ann"]})).schema == IDENTIFIERS
