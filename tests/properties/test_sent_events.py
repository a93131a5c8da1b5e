"""After any history of rows, faults and deaths, quiet runs have brought each event to an SQL store exactly once.

Rows come late and are corrected, repeated, spoiled and taken away. People come late and are deleted by others. Files
are edited and renamed, state folders are deleted, another one feeds the same store for a while, and the store is put
back.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from syncer.model.types import Entity, EventRules, EventType, PersonKey, Start, Target
from syncer.snapshot.ledger import Asked
from syncer.snapshot.snapshot import Snapshot
from syncer.sync.progress import Progress
from syncer.sync.window import window
from tests.properties.convergence import AT, FOLDER, ended, proven_in
from tests.properties.faulty_house import Apply, Fault, FaultyHouse, StoreOfHistories
from tests.servers.postgresql import PostgresServer
from tests.sync.house import BY_ID

pytestmark = [pytest.mark.timeout(3600 * 8), pytest.mark.early]

PAID = Target(entity=Entity.EVENT, person_key=PersonKey.ID, event=EventType(name="paid"), key_columns=("k",))
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
SINCE = date(2025, 12, 31)
#: How long the ids of sent events are known, where that is not for ever.
REMEMBERED_HOURS = 12
#: An event whose time was corrected by more may be another one, if no store has it.
KNOWN_HOURS = 24

KEYS = st.sampled_from(["e1", "e2", "e3", "e4", "e5", "e6"])
IDS = st.sampled_from(["1", "2", "3"])
TOTALS = st.sampled_from(["5", "7", None])
#: Hours before the newest run.
AGES = st.sampled_from([0, 0, 1, 3, 20, 50])
STARTS = st.sampled_from([Start.ALL, Start.NOW, SINCE])
NEW_ROWS = st.lists(st.tuples(KEYS, IDS, AGES), max_size=5)


@dataclass(frozen=True)
class Order:
    """A row of the table, or an event in the store; its time is in hours from BEGUN."""

    who: str
    at: float | None
    total: str | None


@dataclass
class Till(FaultyHouse):
    """A house that has orders by their keys; of a key with several, rows differ."""

    orders: dict[str, list[Order]] = field(default_factory=dict)
    #: From when on the next query returns orders.
    since: float | None = None
    #: What the newest query returned.
    returned: dict[str, list[Order]] = field(default_factory=dict)

    def asked(self, name: str, snapshot: Snapshot) -> Asked | None:
        if not self.syncs[name].incremental:
            self.since = None
            return None
        found = window(self.syncs[name], snapshot.known, self.chosen, at=self.now, query="")
        self.since = (datetime.fromtimestamp(found.last_event_time, UTC) - BEGUN) / timedelta(hours=1)
        return found.asked

    def result(self, name: str) -> pa.Table:
        if self.syncs[name].target.event is None:
            return super().result(name)
        self.returned = {
            k: rows
            for k, orders in self.orders.items()
            if (rows := [o for o in orders if self.since is None or (o.at is not None and o.at >= self.since)])
        }
        keys = [k for k, orders in self.returned.items() for _ in orders]
        found = [order for orders in self.returned.values() for order in orders]
        times = [None if o.at is None else BEGUN.replace(tzinfo=None) + timedelta(hours=o.at) for o in found]
        texts = {"k": keys, "who": [o.who for o in found], "total": [o.total for o in found]}
        return pa.table({name: pa.array(values, pa.string()) for name, values in texts.items()}).append_column(
            "at", pa.array(times, pa.timestamp("us"))
        )


class SentEvents(RuleBasedStateMachine):
    """A sync of people, and one of what they paid, which knows them by id."""

    def __init__(self, url: str = "", till: type[Till] = Till) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="events-", dir=FOLDER))
        self.store = StoreOfHistories(url or f"sqlite:///{self.folder}/people.db")
        self.here, self.there = (till(folder=self.folder / name, store_url=self.store.url) for name in "ab")
        self.there.orders = self.here.orders
        self.file = "paid"
        #: Whether anything has happened since all was quiet.
        self.is_changed = True
        #: Every row under which an event was ever returned.
        self.versions: dict[str, set[Order]] = {}
        #: The events that a ledger, by its folder and file, was given: the rows under which it may keep them.
        self.given: dict[tuple[str, str], dict[str, set[Order]]] = {}
        #: The ledgers whose first run has ended.
        self.begun: set[tuple[str, str]] = set()
        #: Of events that are past, the time; None until that is decided.
        self.past: dict[str, float] | None = None
        #: From when on events count, in hours from BEGUN, once it is decided.
        self.decided: float | None = None
        #: Whether the header says another `start` than at first: what comes late may count as past then.
        self.was_edited = False
        #: Events that may be in the store, or not: their person was deleted, or nobody can tell whether they are past.
        self.open: set[str] = set()

    @initialize(start=STARTS, incremental=st.booleans(), create=st.booleans(), remembers=st.booleans())
    def define(self, start: Start | date, incremental: bool, create: bool, remembers: bool = False) -> None:
        self.start, self.incremental, self.create, self.remembers = start, incremental, create, remembers
        remember = timedelta(hours=REMEMBERED_HOURS) if remembers else None
        for house in (self.here, self.there):
            house.folder.mkdir()
            house.sync("people", BY_ID, "id")
            house.sync(
                "paid",
                PAID,
                "k who at total",
                event_rules=EventRules(person_column="who", time_column="at", start=start, remember=remember),
                incremental=incremental,
                create=create,
                lookback=timedelta(hours=2),
            )

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    # --- what customers and analysts do -----------------------------------------------------------------

    @rule(key=KEYS, who=IDS, age=AGES, total=TOTALS)
    def put(self, key: str, who: str, age: float, total: str | None) -> None:
        """A new order, or one that is entered anew."""
        self._set(key, Order(who, self.here.runs - age - 0.25, total))

    @rule(key=KEYS, total=TOTALS, who=st.none() | IDS)
    def correct(self, key: str, total: str | None, who: str | None) -> None:
        for order in self.here.orders.get(key, [])[:1]:
            self._set(key, replace(order, total=total, who=who or order.who))

    @rule(key=KEYS, hours=st.sampled_from([-30, -1, 1, 30]))
    def correct_the_time(self, key: str, hours: float) -> None:
        for order in self.here.orders.get(key, [])[:1]:
            if order.at is not None:
                self._set(key, replace(order, at=min(self.here.runs, order.at + hours)))

    @rule(key=KEYS)
    def repeat_with_another_total(self, key: str) -> None:
        self.is_changed = True
        for order in self.here.orders.get(key, [])[:1]:
            self.here.orders[key] = [order, replace(order, total="9")]

    @rule(key=KEYS)
    def spoil(self, key: str) -> None:
        """It has no time."""
        self.is_changed = True
        for order in self.here.orders.get(key, [])[:1]:
            self.here.orders[key] = [replace(order, at=None)]

    @rule(hours=st.sampled_from([1, 30]))
    def wait(self, hours: int) -> None:
        self.here.runs += hours

    @rule(key=KEYS)
    def take_away(self, key: str) -> None:
        self.is_changed = True
        self.here.orders.pop(key, None)

    @rule(who=IDS)
    def arrive(self, who: str) -> None:
        self.here.rows["people"] = [*self.here.rows["people"], {"id": who}]
        self.here.attempt("people")

    @rule(who=IDS)
    def be_deleted_by_others(self, who: str) -> None:
        self.is_changed = True
        self.open |= {key for key, order in self._stored().items() if order.who == who}
        self.store.delete_people(who)
        self.here.rows["people"] = [row for row in self.here.rows["people"] if row["id"] != who]

    @rule()
    def rename(self) -> None:
        self.is_changed = True
        old, self.file = self.file, "paid" if self.file != "paid" else "renamed"
        self.here.rename(old, self.file)

    @rule(start=STARTS)
    def edit_start(self, start: Start | date) -> None:
        """Once it is decided, it means nothing."""
        if self.decided is not None:
            sync = self.here.syncs[self.file]
            assert sync.event_rules is not None
            self.here.edit(self.file, event_rules=replace(sync.event_rules, start=start), sql=f"SELECT '{start}'")
            self.was_edited = True

    @rule()
    def put_the_store_back(self) -> None:
        """To how it was when it was copied last; then it is copied."""
        if self.store.put_back(self.folder / "copy.db"):
            self.is_changed = True
            self.begun.clear()

    @rule()
    def lose_the_state(self) -> None:
        self.is_changed = True
        self.here.lose_the_state()
        self.begun = {ledger for ledger in self.begun if ledger[0] != self.here.folder.name}
        self.given = {ledger: rows for ledger, rows in self.given.items() if ledger[0] != self.here.folder.name}

    def _set(self, key: str, order: Order) -> None:
        self.is_changed = True
        self.here.orders[key] = [order]
        then = (self.past or {}).get(key)
        if then is not None and order.at is not None:
            is_later = order.at > (self.decided or 0)
            if is_later or abs(order.at - then) > KNOWN_HOURS:
                self._leave_open(key)

    def _leave_open(self, *keys: str) -> None:
        self.open |= {*keys}
        self.past = self.past and {key: at for key, at in self.past.items() if key not in keys}

    # --- how runs end -----------------------------------------------------------------------------------

    @rule(rows=NEW_ROWS, full=st.booleans())
    def run(self, rows: list[tuple[str, str, float]], full: bool) -> None:
        self._put_all(rows)
        self._run(self.here, full=full)

    @rule(rows=NEW_ROWS, steps=st.integers(0, 60), full=st.booleans())
    def run_and_die(self, rows: list[tuple[str, str, float]], steps: int, full: bool) -> None:
        self._put_all(rows)
        self._run(self.here, self.here.dying(steps), full=full)

    @rule(rows=NEW_ROWS, fault=st.sampled_from(Fault), batches=AT, full=st.booleans())
    def run_and_lose_the_store(
        self, rows: list[tuple[str, str, float]], fault: Fault, batches: int, full: bool
    ) -> None:
        self._put_all(rows)
        self._run(self.here, self.here.failing(fault, batches), full=full)

    @rule(key=KEYS)
    def send_one_again(self, key: str) -> None:
        self._run(self.here, only=(key,))

    @rule(dies=st.booleans())
    def run_from_another_folder(self, dies: bool) -> None:
        self.there.runs = self.here.runs
        self._run(self.there, self.there.dying(40) if dies else nullcontext())
        self.here.runs = self.there.runs

    @precondition(lambda self: self.is_changed)
    @rule(full=st.booleans())
    def run_all_cleanly(self, full: bool) -> None:
        sent = 1
        for _ in range(4):
            if sent:
                self.here.attempt("people")
                sent = self._accepted(self._run(self.here))
        assert sent == 0, "a run without a new event sent something"
        self._check()
        if full:
            progress = self._run(self.here, full=True)
            assert progress is not None
            self._check()
            self._check_all()
        self.is_changed = False

    # --- machinery --------------------------------------------------------------------------------------

    def _put_all(self, rows: list[tuple[str, str, float]]) -> None:
        for key, who, age in rows:
            if key not in self.here.orders:
                self.put(key, who, age, "5")

    def _accepted(self, progress: Progress | None) -> int:
        assert progress is not None
        return progress.counts.accepted

    def _run(self, house: Till, fault: AbstractContextManager[None] | None = None, **options: Any) -> Progress | None:
        """One run; what was in the store before it stays as it was."""
        self.is_changed = True
        before, house.returned = self._stored(), {}
        with fault or nullcontext():
            progress = house.attempt(self.file if house is self.here else "paid", **options)
        if progress is not None:
            self._check_counts(progress, house)
        self._learn(house, is_over=progress is not None)
        after = self._stored()
        assert {key: after.get(key) for key in before} == before
        return progress

    def _check_counts(self, progress: Progress, house: Till) -> None:
        counts = progress.counts
        assert min(counts.added, counts.altered, counts.unchanged) >= 0
        if house.chosen.only is None:
            compared = counts.added + counts.altered + counts.unchanged
            assert counts.queried == compared + progress.delivery.quarantined
        if not self.incremental:
            assert progress.delivery.planned.total <= counts.queried

    def _learn(self, house: Till, *, is_over: bool) -> None:
        """What a run has made certain, or left open."""
        ledger = house.folder.name, self.file if house is self.here else "paid"
        sound = _sound(house.returned)
        for key, order in sound.items():
            self.versions.setdefault(key, set()).add(order)
        if house.chosen.only is not None:
            # Whoever asks for one event gets it, past or not.
            self._leave_open(*{*house.chosen.only} & sound.keys())
            return
        given = self.given.setdefault(ledger, {})
        if self.remembers:
            oldest = house.runs - REMEMBERED_HOURS
            self.open |= {key for key, o in sound.items() if key not in given and o.at is not None and o.at < oldest}
        is_whole = house.since is None or house.chosen.full
        for key in [key for key in given if key not in sound and (key in house.returned or is_whole)]:
            del given[key]
        for key, order in sound.items():
            if is_over or key in given:
                given[key] = {order} if is_over else {*given[key], order}
        self._look_at_the_start()
        if self.start is Start.NOW and ledger not in self.begun and self.decided is not None:
            early = {key: order.at for key, order in sound.items() if order.at is not None and order.at <= self.decided}
            if self.past is None:
                self.past = {key: at for key, at in early.items() if key not in self.open}
            self.open |= early.keys() - self.past.keys()
            self._leave_open(*(self.past.keys() - early.keys()))
        if is_over:
            self.begun.add(ledger)

    def _look_at_the_start(self) -> None:
        for (at,) in self.store.rows("SELECT CAST(start_at AS text) FROM event_starts"):
            found = _hours(at)
            if self.decided not in (None, found):
                # The store was put back to before it was decided, and no ledger remembers.
                self._leave_open(*self.versions)
            self.decided = found

    def _stored(self) -> dict[str, Order]:
        """The events in the store, by their keys, each of which is there once."""
        sql = (
            "SELECT e.event_id, p.id, CAST(e.occurred_at AS text), CAST(e.data AS text) FROM events AS e "
            "LEFT JOIN people AS p ON p.person_id = e.person_id"
        )
        found, ids = dict[str, Order](), set[str]()
        for event_id, who, at, text in self.store.rows(sql):
            data = json.loads(text)
            assert data["k"] not in found, "an event is there twice"
            found[data["k"]] = Order(who, _hours(at), data["total"])
            ids.add(event_id)
        assert len(ids) == len(found)
        return found

    def _check(self) -> None:
        stored = self._stored()
        for key, order in stored.items():
            assert order in self.versions[key]
            assert key not in (self.past or {}), "an event that is past was sent"
            assert self._counts(order) or self.start is Start.NOW or self.was_edited
        given = self.given[self.here.folder.name, self.file]
        if not self.incremental:
            given = {key: {order} for key, order in _sound(self.here.orders).items()}
        unsettled = self.open | (self.past or {}).keys()
        if self.was_edited:
            unsettled |= {key for key, orders in given.items() if not all(map(self._counts, orders))}
        expected = {key for key, orders in given.items() if key not in unsettled and self._can_be_sent(orders)}
        assert expected <= stored.keys(), "an event is missing"

    def _check_all(self) -> None:
        """After a run that sends every event again."""
        orders = {key: order for key, order in _sound(self.here.orders).items() if key not in (self.past or {})}
        if self.remembers:
            oldest = self.here.runs - REMEMBERED_HOURS
            orders = {key: order for key, order in orders.items() if (order.at or 0) >= oldest}
        expected = {key for key, order in orders.items() if self._counts(order) and self._can_be_sent({order})}
        assert expected <= self._stored().keys(), "an event is missing"

    def _counts(self, order: Order) -> bool:
        """Whether it is of after the start."""
        return order.at is not None and order.at > (self.decided or 0)

    def _can_be_sent(self, orders: set[Order]) -> bool:
        people = {id_ for (id_,) in self.store.rows("SELECT id FROM people")}
        is_past = isinstance(self.start, date) and not all(map(self._counts, orders))
        return not is_past and (self.create or all(order.who in people for order in orders))


def _hours(at: str) -> float:
    """A time of the store's, in hours from BEGUN."""
    return (datetime.fromisoformat(at) - BEGUN) / timedelta(hours=1)


def _sound(orders: dict[str, list[Order]]) -> dict[str, Order]:
    """Those that can be sent."""
    return {key: rows[0] for key, rows in orders.items() if len(rows) == 1 and rows[0].at is not None}


TestSentEvents = SentEvents.TestCase
TestSentEvents.settings = proven_in(5)


def _a_rejected_event_that_a_full_run_found_and_did_not_send(machine: SentEvents) -> None:
    machine.define(Start.ALL, incremental=True, create=False)
    machine.arrive("2")
    machine.put("e1", "1", 20, "5")
    machine.put("e2", "2", 0, "5")
    machine.run([], full=False)
    machine.arrive("1")
    machine.run_and_lose_the_store([], Fault.FAILS, 0, full=True)


def _a_rejected_event_that_is_older_than_what_is_remembered(machine: SentEvents) -> None:
    machine.define(Start.ALL, incremental=False, create=False, remembers=True)
    machine.arrive("2")
    machine.put("e1", "1", 3, "5")
    machine.put("e2", "2", 0, "5")
    machine.run([], full=False)
    machine.wait(40)
    machine.put("e3", "2", 0, "5")
    machine.run([], full=False)
    machine.arrive("1")


def _an_event_without_an_answer_that_is_older_than_what_is_remembered(machine: SentEvents) -> None:
    machine.define(Start.ALL, incremental=False, create=True, remembers=True)
    machine.put("e1", "1", 50, "5")
    machine.put("e2", "1", 50, "5")
    machine.put("e3", "1", 0, "5")
    machine.run_and_lose_the_store([], Fault.TAKES_NOTHING, 0, full=False)


def _an_event_whose_time_was_corrected_by_more_than_a_day(machine: SentEvents) -> None:
    machine.define(Start.ALL, incremental=False, create=True)
    machine.put("e1", "1", 0, "5")
    machine.put("e2", "1", 50, "5")
    machine.run([], full=False)
    machine.correct_the_time("e1", -30)
    machine.run([], full=False)
    machine.put("e3", "1", 0, "5")
    machine.run([], full=False)
    machine.correct("e1", "7", None)
    machine.run([], full=False)
    machine.run([], full=True)


def _another_start_than_at_first(machine: SentEvents) -> None:
    machine.define(SINCE, incremental=False, create=True)
    machine.put("e1", "1", 50, "5")
    machine.put("e2", "1", 0, "5")
    machine.run_all_cleanly(full=False)
    for start in (Start.ALL, Start.NOW):
        machine.edit_start(start)
        machine.run_all_cleanly(full=False)
        assert machine._stored().keys() == {"e2"}


def _a_store_that_is_put_back_to_before_the_start_was_decided(machine: SentEvents) -> None:
    machine.define(Start.NOW, incremental=False, create=True)
    machine.arrive("1")
    machine.put_the_store_back()
    machine.run_all_cleanly(full=False)
    machine.wait(1)
    machine.put("e1", "1", 0, "5")
    machine.run_all_cleanly(full=False)
    machine.put_the_store_back()
    machine.run_all_cleanly(full=False)
    assert machine._stored().keys() == {"e1"}


def _a_store_that_is_put_back_after_a_run_died(machine: SentEvents) -> None:
    machine.define(Start.ALL, incremental=False, create=True)
    machine.put("e1", "1", 3, "5")
    machine.run_all_cleanly(full=False)
    machine.put_the_store_back()
    for number in range(2, 6):
        machine.put(f"e{number}", "1", 0, "5")
    # It dies after it has written down what the store took.
    machine.run_and_die([], 62, full=False)
    assert len(machine._stored()) == 5
    machine.put_the_store_back()


@pytest.mark.parametrize(
    "history",
    [
        _a_rejected_event_that_a_full_run_found_and_did_not_send,
        _a_rejected_event_that_is_older_than_what_is_remembered,
        _an_event_without_an_answer_that_is_older_than_what_is_remembered,
        _an_event_whose_time_was_corrected_by_more_than_a_day,
        _another_start_than_at_first,
        _a_store_that_is_put_back_to_before_the_start_was_decided,
        _a_store_that_is_put_back_after_a_run_died,
    ],
)
def test_each_event_is_there_once_after(history: Callable[[SentEvents], None]) -> None:
    with ended(SentEvents()) as machine:
        history(machine)
        machine.run_all_cleanly(full=False)


class Renumbering(Till):
    """A mutant whose events have another id whenever they are sent."""

    def _faulty(self, apply: Apply) -> Apply:
        def renumbered(target: Target, batch: pa.RecordBatch, *, create: bool) -> pa.Table:
            if target.event is not None:
                ids = [f"{uuid.uuid4().hex[:26]}" for _ in range(batch.num_rows)]
                batch = batch.set_column(batch.schema.names.index("event_id"), "event_id", pa.array(ids))
            return apply(target, batch, create=create)

        return super()._faulty(renumbered)


def test_the_property_fails_for_a_mutant() -> None:
    with ended(SentEvents(till=Renumbering)) as machine:
        machine.define(Start.ALL, incremental=False, create=True)
        machine.run_and_lose_the_store([("e1", "1", 0)], Fault.LOSES_THE_ANSWER, 0, full=False)
        with pytest.raises(AssertionError, match="there twice"):
            machine.run_all_cleanly(full=False)


def test_events_in_postgresql(postgres: PostgresServer) -> None:
    class InPostgreSQL(SentEvents):
        """Each history has a database of its own."""

        def __init__(self) -> None:
            with ExitStack() as stack:
                super().__init__(stack.enter_context(postgres.new_database()))
                self.store.closing.push(stack.pop_all())

    run_state_machine_as_test(InPostgreSQL, settings=proven_in(4))
