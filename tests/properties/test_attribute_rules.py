"""After any history of values, rules, faults and deaths, the value stands that counts most of those that there are."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from syncer.model.types import Identity, OnRemoved
from syncer.state.coordination import SharedCoordination
from syncer.sync.progress import Progress
from tests.properties.convergence import AT, FOLDER, Unheard, ended, proven_in
from tests.properties.faulty_house import Fault, FaultyHouse, StoreOfHistories
from tests.servers.postgresql import PostgresServer
from tests.sync.house import BY_EMAIL, BY_ID

pytestmark = [pytest.mark.timeout(3600 * 8), pytest.mark.early]

EMAILS = {id_: f"{id_}@x.com" for id_ in "abc"}
#: Of these `news` knows people by their emails; each has `plan`, and an attribute of its own.
SOURCES = ["billing", "crm", "news"]
NAMES = st.sampled_from(SOURCES)
IDS = st.sampled_from([*EMAILS])
VALUES = st.sampled_from(["1", "2", None])
RULES = st.lists(NAMES, min_size=3, max_size=3, unique=True)
#: None takes a row out of the result.
ROWS = st.lists(st.tuples(NAMES, IDS, VALUES | st.just("gone")), max_size=4)
Rows = list[tuple[str, str, str | None]]


class CountingSources(RuleBasedStateMachine):
    """Three syncs that write one attribute, in one store."""

    def __init__(self, url: str = "", house: type[FaultyHouse] = FaultyHouse) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="rules-", dir=FOLDER))
        self.store = StoreOfHistories(url or f"sqlite:///{self.folder}/people.db")
        self.house = house(folder=self.folder, store_url=self.store.url, identity=Identity.ID_OR_EMAIL)
        self.house.sync("people", BY_ID, "id email")
        for name in SOURCES:
            by_email = name == "news"
            columns = f"{'email' if by_email else 'id'} plan {name}"
            self.house.sync(name, BY_EMAIL if by_email else BY_ID, columns, OnRemoved.CLEAR, create=False)
        self.house.put("people", *(f"{id_} {email}" for id_, email in EMAILS.items()))
        self.rows: dict[str, dict[str, str | None]] = {name: {} for name in SOURCES}
        self.rank: list[str] = []
        #: What left the results since may be in the store for ever.
        self.lost_track = False
        self.is_changed = True

    @initialize(rank=RULES)
    def begin(self, rank: list[str]) -> None:
        self.house.run("people")
        self.set_rule(rank)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    # --- what analysts and warehouses do ----------------------------------------------------------------

    @rule(name=NAMES, id_=IDS, value=VALUES)
    def put(self, name: str, id_: str, value: str | None) -> None:
        self.is_changed = True
        self.rows[name][id_] = value

    @rule(name=NAMES, id_=IDS)
    def take_out(self, name: str, id_: str) -> None:
        self.is_changed = True
        self.rows[name].pop(id_, None)

    @rule(rank=RULES)
    def set_rule(self, rank: list[str]) -> None:
        self.is_changed, self.rank = True, rank
        self.house.rule("plan", *rank)

    # --- runs, and how they end -------------------------------------------------------------------------

    @rule(name=NAMES, rows=ROWS, full=st.booleans())
    def run(self, name: str, rows: Rows, *, full: bool) -> None:
        self._put_all(rows)
        self._run(name, full=full)

    @rule(name=NAMES, rows=ROWS, during=NAMES, meanwhile=ROWS, moment=st.sampled_from(["at_query", "at_apply"]))
    def run_while_another_one_runs(self, name: str, rows: Rows, during: str, meanwhile: Rows, moment: str) -> None:
        self._put_all(rows)

        def between() -> None:
            self._put_all(meanwhile)
            self._run(during)

        if name != during:
            setattr(self.house, moment, between)
            self._run(name)
            setattr(self.house, moment, lambda: None)

    @rule(name=NAMES, rows=ROWS, steps=st.integers(0, 30))
    def die(self, name: str, rows: Rows, steps: int) -> None:
        self._put_all(rows)
        self._run(name, self.house.dying(steps))

    @rule(name=NAMES, rows=ROWS, fault=st.sampled_from(Fault), at=AT)
    def fail(self, name: str, rows: Rows, fault: Fault, at: int) -> None:
        self._put_all(rows)
        self._run(name, self.house.failing(fault, at))

    @rule()
    def lose_the_state(self) -> None:
        self.is_changed = self.lost_track = True
        self.house.lose_the_state()

    # --- what must hold ---------------------------------------------------------------------------------

    @precondition(lambda self: self.is_changed)
    @rule(order=st.permutations(SOURCES))
    def run_all_cleanly(self, order: Sequence[str]) -> None:
        sent = -1
        for _ in range(6):
            if sent:
                sent = sum([self._sent(self._run(name)) for name in order])
        assert sent == 0, "a run without a change sent something"
        self.is_changed = False
        self._check()

    def _check(self) -> None:
        held = {
            id_: json.loads(text) for id_, text in self.store.rows("SELECT id, CAST(attributes AS text) FROM people")
        }
        for id_, has in held.items():
            values = [value for name in self.rank if (value := self.rows[name].get(id_)) is not None]
            if values or not self.lost_track:
                assert has.get("plan") == (values[0] if values else None)
            for name in SOURCES:
                own = self.rows[name].get(id_)
                assert has.get(name) == own or (own is None and self.lost_track)

    # --- machinery --------------------------------------------------------------------------------------

    def _put_all(self, rows: Rows) -> None:
        for name, id_, value in rows:
            if value == "gone":
                self.take_out(name, id_)
            else:
                self.put(name, id_, value)

    def _give(self, name: str) -> None:
        key = EMAILS if name == "news" else {id_: id_ for id_ in EMAILS}
        columns = self.house.columns[name]
        self.house.rows[name] = [
            dict(zip(columns, (key[id_], value, value), strict=True)) for id_, value in self.rows[name].items()
        ]

    def _run(self, name: str, fault: AbstractContextManager[None] | None = None, **options: bool) -> Progress | None:
        self.is_changed = True
        self._give(name)
        with fault or nullcontext():
            return self.house.attempt(name, **options)

    @staticmethod
    def _sent(progress: Progress | None) -> int:
        assert progress is not None
        return progress.delivery.delivered.total


TestCountingSources = CountingSources.TestCase
TestCountingSources.settings = proven_in(8)


@dataclass
class UnheardHouse(FaultyHouse):
    """A mutant whose syncs do not hear that a value was written over."""

    def wrapped(self, inner: Any) -> Any:
        if isinstance(inner, SharedCoordination):
            inner = Unheard(database=inner.database, sync=inner.sync, store_id=inner.store_id, run_id=inner.run_id)
        return super().wrapped(inner)


@pytest.mark.parametrize("house", [FaultyHouse, UnheardHouse])
def test_the_property_holds_for_syncer_and_fails_for_a_mutant(house: type[FaultyHouse]) -> None:
    with ended(CountingSources(house=house)) as machine:
        machine.begin(["billing", "crm", "news"])
        machine.put("crm", "a", "1")
        machine.run_all_cleanly(SOURCES)
        machine.run_while_another_one_runs("crm", [("crm", "a", "2")], "billing", [("billing", "a", "1")], "at_apply")
        with pytest.raises(AssertionError) if house is UnheardHouse else nullcontext():
            machine.run_all_cleanly(SOURCES)


def test_rules_in_postgresql(postgres: PostgresServer) -> None:
    class InPostgreSQL(CountingSources):
        """Each history has a database of its own."""

        def __init__(self) -> None:
            with ExitStack() as stack:
                super().__init__(stack.enter_context(postgres.new_database()))
                self.store.closing.push(stack.pop_all())

    run_state_machine_as_test(InPostgreSQL, settings=proven_in(3))
