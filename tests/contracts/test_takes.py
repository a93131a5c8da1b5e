"""What every SQL store promises of a run that was overtaken: once a later one has written, it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from connectors.sql_store import schema
from syncer.model.errors import RunInProgressError
from syncer.model.protocols import Fenced, ProfileStore
from syncer.model.takes import RefusesOvertaken
from syncer.model.types import ListAction
from tests.contracts.batches import ACCEPTED, ACCOUNTS, COUPONS, DEVICES, MEMBERS, PEOPLE, apply, clear, delete, put
from tests.contracts.conftest import OpenStore
from tests.contracts.test_claims import CLAIMS
from tests.contracts.test_events import NOON, PAID, event, sent
from tests.contracts.test_lists import listed
from tests.contracts.test_merges import merge, pairs
from tests.contracts.test_visitors import Tables

pytestmark = pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)

Write = Callable[[Any], object]

#: Of each sort of row one that would change something.
WRITES: dict[str, Write] = {
    "a new person": lambda store: apply(store, PEOPLE, put("cyd", attributes={"plan": "old"})),
    "a person who is known": lambda store: apply(store, PEOPLE, put("ann", attributes={"plan": "old"})),
    "without create": lambda store: apply(store, PEOPLE, put("ann", attributes={"plan": "old"}), create=False),
    "a person's email": lambda store: apply(store, PEOPLE, put("ann", email="ann@example.com")),
    "clear": lambda store: apply(store, PEOPLE, clear("ann", cleared=("plan",))),
    "delete": lambda store: apply(store, PEOPLE, delete("ann")),
    "object": lambda store: apply(store, ACCOUNTS, put("a1", attributes={"plan": "old"})),
    "object that goes": lambda store: apply(store, ACCOUNTS, delete("a1")),
    "relationship": lambda store: apply(store, MEMBERS, put("ann", "a1")),
    "device": lambda store: apply(store, DEVICES, put("ann", "t1", platform="ios")),
    "collection": lambda store: apply(store, COUPONS, put("c1", attributes={"percent": 10})),
    "merge": lambda store: apply(store, pairs(), merge("ann", "bob")),
    "event": lambda store: sent(store, PAID, event("a", "ann")),
    "list to suppress": lambda store: listed(store, ListAction.SUPPRESS, "ann"),
    "list to delete": lambda store: listed(store, ListAction.DELETE, "ann"),
    "claim of a visitor": lambda store: apply(store, CLAIMS, put("ann", anonymous="v1")),
    "start of events": lambda store: store.start_events(PAID, NOON),
}


@pytest.fixture
def tables(store_url: str) -> Tables:
    return Tables(store_url)


def taken(store: ProfileStore, take: int, run_id: str = "") -> Any:
    """The store, as a run has it that took its sync."""
    assert isinstance(store, RefusesOvertaken)
    assert isinstance(store, Fenced)
    store.hold(ledger="a log", sync="people", take=take)
    store.fence(ledger="a log", sync="people", run_id=run_id or f"run {take}")
    return store


def contents(tables: Tables) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    return {name: sorted(tables.execute(f"SELECT * FROM {name}"), key=repr) for name in schema.metadata.tables}


def fence(tables: Tables) -> list[tuple[Any, ...]]:
    return tables.execute("SELECT fence, run_id, taken FROM sync_fences")


@pytest.mark.parametrize("write", [pytest.param(write, id=name) for name, write in WRITES.items()])
def test_once_a_later_run_has_written_an_earlier_one_changes_nothing(
    opened: OpenStore, tables: Tables, write: Write
) -> None:
    earlier, later = taken(opened(), 1), taken(opened(), 2)
    apply(earlier, PEOPLE, put("ann", attributes={"plan": "free"}), put("bob"))
    apply(earlier, ACCOUNTS, put("a1"))
    apply(later, PEOPLE, put("bob", attributes={"plan": "new"}))
    before = contents(tables)

    for _ in range(2):
        with pytest.raises(RunInProgressError, match="another run of `people`") as raised:
            write(earlier)
        assert "no answer" in raised.value.hint
        assert earlier.flush().num_rows == 0
        assert contents(tables) == before
    write(later)
    assert contents(tables) != before


@pytest.mark.parametrize("write", [pytest.param(write, id=name) for name, write in WRITES.items()])
def test_a_run_that_nobody_overtook_writes(opened: OpenStore, tables: Tables, write: Write) -> None:
    store = taken(opened(), 3)
    apply(store, PEOPLE, put("ann", attributes={"plan": "free"}), put("bob"))
    apply(store, ACCOUNTS, put("a1"))
    before = contents(tables)

    write(store)

    assert contents(tables) != before
    assert fence(tables) == [(1, "run 3", 3)]


def test_each_batch_raises_the_take_and_counts_the_run_once(opened: OpenStore, tables: Tables) -> None:
    for take in (1, 4):
        store = taken(opened(), take)
        for plan in ("free", "pro"):
            assert apply(store, PEOPLE, put("ann", attributes={"plan": plan})) == [ACCEPTED]

    assert fence(tables) == [(2, "run 4", 4)]
    assert store.newest_take(ledger="a log", sync="people") == 4
    assert store.newest_take(ledger="a log", sync="others") == 0


def test_who_shuts_others_out_has_not_written_yet(opened: OpenStore, tables: Tables) -> None:
    earlier, later, first = taken(opened(), 1), taken(opened(), 2), taken(opened(), 1)
    first.hold(ledger="a log", sync="others", take=1)
    apply(earlier, PEOPLE, put("ann"))

    later.shut_out()
    first.shut_out()

    for refused in (lambda: apply(earlier, PEOPLE, put("bob")), earlier.shut_out):
        with pytest.raises(RunInProgressError):
            refused()
    assert later.fences("people") == {"a log": "run 1"}
    assert later.fences("others") == {}
    assert sorted(fence(tables)) == [(0, "", 1), (1, "run 1", 2)]
    assert later.ledgers() == {"a log"}
    apply(later, PEOPLE, put("bob"))
    assert later.fences("people") == {"a log": "run 2"}


def test_who_shuts_others_out_makes_no_store(opened: OpenStore) -> None:
    store = taken(opened(), 2)

    store.shut_out()

    assert store.is_new
    assert store.newest_take(ledger="a log", sync="people") == 0


def test_other_syncs_and_other_run_logs_are_not_concerned(opened: OpenStore) -> None:
    later, of_sync, of_log = (taken(opened(), take) for take in (9, 1, 1))
    of_sync.hold(ledger="a log", sync="others", take=1)
    of_log.hold(ledger="another log", sync="people", take=1)
    apply(later, PEOPLE, put("ann"))

    assert apply(of_sync, PEOPLE, put("ann")) == [ACCEPTED]
    assert apply(of_log, PEOPLE, put("ann")) == [ACCEPTED]


def test_a_run_without_a_take_writes_as_before_and_leaves_the_take_alone(opened: OpenStore, tables: Tables) -> None:
    apply(taken(opened(), 5), PEOPLE, put("ann"))
    store: Any = opened()
    assert store.take == 0
    store.fence(ledger="a log", sync="people", run_id="of one machine")

    assert apply(store, PEOPLE, put("ann", attributes={"plan": "pro"})) == [ACCEPTED]

    assert fence(tables) == [(2, "of one machine", 5)]


def test_a_batch_with_a_row_that_cannot_be_stored_is_refused_too(opened: OpenStore, tables: Tables) -> None:
    earlier, later = taken(opened(), 1), taken(opened(), 2)
    apply(later, PEOPLE, put("ann"))
    before = contents(tables)

    # Neither database stores JSON that is nested so deeply.
    deep = "[" * 20_000 + "]" * 20_000
    with pytest.raises(RunInProgressError):
        apply(earlier, PEOPLE, put("bob"), put("cyd", attributes=f'{{"deep": {deep}}}'))

    assert contents(tables) == before
