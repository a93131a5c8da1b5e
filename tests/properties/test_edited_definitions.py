"""After any history in which definitions are edited between runs, clean runs give the store what the queries return.

Columns come and go and change their kind, NULL and leaving mean one thing and then another, a query is incremental for
a while, files are renamed, people are deleted and return, rows are in quarantine, and processes die at any step. Two
of the syncs write the same attributes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from syncer.model.errors import SyncerError
from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, OnNull, OnRemoved
from syncer.snapshot.ledger import Asked
from syncer.snapshot.snapshot import Snapshot
from syncer.sync.progress import HeldError, RunOptions
from syncer.sync.window import window
from tests.properties.convergence import FOLDER, DeathError, Life, proven_in
from tests.properties.test_moving_identifiers import MortalHouse
from tests.sync.house import BY_ID

pytestmark = pytest.mark.timeout(3600)

IDS = ["1", "2", "3"]
#: The syncs beside the one of people, and the attributes that they write.
ATTRIBUTES = {"traits": ["x", "y"], "echoes": ["x", "y"], "totals": ["a", "b"]}
NAMES = [*ATTRIBUTES]
VALUES = st.sampled_from(["1", "2", None])
Row = dict[str, str | None]


@dataclass
class Table:
    """What the query of one sync is over."""

    rows: dict[str, Row] = field(default_factory=dict)
    #: When each row changed last, in runs.
    changed: dict[str, float] = field(default_factory=dict)
    #: Keys that the result has twice, with values that differ.
    repeated: set[str] = field(default_factory=set)
    #: Attributes that are numbers, and not texts.
    numbers: set[str] = field(default_factory=set)

    def value(self, attribute: str, text: str | None) -> str | int | None:
        return int(text) if text and attribute in self.numbers else text


@dataclass
class EditedHouse(MortalHouse):
    tables: dict[str, Table] = field(default_factory=dict)
    #: The first change that the next query returns, in runs.
    since: float = 0

    def asked(self, name: str, snapshot: Snapshot) -> Asked | None:
        if not self.syncs[name].incremental:
            self.since = 0
            return None
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=self.runs)
        found = window(self.syncs[name], snapshot.known, RunOptions(), at=at, query="")
        since = datetime.fromtimestamp(found.last_sync_time, UTC) - datetime(2026, 1, 1, tzinfo=UTC)
        self.since = since / timedelta(hours=1)
        return found.asked

    def result(self, name: str) -> pa.Table:
        columns = self.columns[name]
        if name not in self.tables:
            return super().result(name)
        table = self.tables[name]
        returned = [key for key in table.rows if table.changed[key] >= self.since]
        rows: list[Row] = [{"id": key, **table.rows[key]} for key in returned]
        rows += [{"id": key, **dict.fromkeys(table.rows[key], "3")} for key in returned if key in table.repeated]
        kinds = {c: pa.int64() if c in table.numbers else pa.string() for c in columns}
        return pa.table({c: pa.array([table.value(c, row[c]) for row in rows], kinds[c]) for c in columns})


class EditedDefinitions(RuleBasedStateMachine):
    def __init__(self, house: type[EditedHouse] = EditedHouse) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="edited-", dir=FOLDER))
        self.house = house(folder=self.folder, store_url=f"sqlite:///{self.folder}/people.db", may_reject=True)
        self.house.sync("people", BY_ID, "id", OnRemoved.DELETE)
        self.house.sync("traits", BY_ID, "id x y", OnRemoved.CLEAR, create=False)
        self.house.sync("echoes", BY_ID, "id x y", OnRemoved.CLEAR, create=False)
        self.house.sync("totals", BY_ID, "id a b", create=False)
        self.tables = {name: Table() for name in NAMES}
        self.files = {name: name for name in NAMES}
        self.house.tables = dict(self.tables)
        #: Of each sync, whom it may have given something that its snapshot does not know.
        self.forgotten: dict[str, set[str]] = {name: set() for name in NAMES}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    # --- what analysts and customers do ----------------------------------------------------------------

    @rule(people=st.sets(st.sampled_from(IDS)))
    def have_people(self, people: set[str]) -> None:
        self.house.rows["people"] = [{"id": id_} for id_ in sorted(people)]

    @rule(name=st.sampled_from(NAMES), id_=st.sampled_from(IDS), values=st.tuples(VALUES, VALUES))
    def put(self, name: str, id_: str, values: tuple[str | None, ...]) -> None:
        table = self.tables[name]
        table.rows[id_] = dict(zip(ATTRIBUTES[name], values, strict=True))
        table.changed[id_] = self.house.runs + 0.5
        table.repeated.discard(id_)

    @rule(name=st.sampled_from(NAMES), id_=st.sampled_from(IDS))
    def repeat_with_other_values(self, name: str, id_: str) -> None:
        self.put(name, id_, ("1", "1"))
        self.tables[name].repeated.add(id_)

    @rule(name=st.sampled_from(NAMES), id_=st.sampled_from(IDS))
    def leave(self, name: str, id_: str) -> None:
        self.tables[name].rows.pop(id_, None)

    @rule(name=st.sampled_from(NAMES), which=st.sets(st.integers(0, 1)))
    def edit_columns(self, name: str, which: set[int]) -> None:
        self.house.edit(self.files[name], columns=["id", *(ATTRIBUTES[name][i] for i in sorted(which))])

    @rule(name=st.sampled_from(NAMES), which=st.sets(st.integers(0, 1)))
    def edit_kinds(self, name: str, which: set[int]) -> None:
        self.tables[name].numbers = {ATTRIBUTES[name][i] for i in which}
        self.house.edit(self.files[name], sql=f"SELECT {sorted(which)}")

    @rule(name=st.sampled_from(NAMES), on_null=st.sampled_from(OnNull))
    def edit_on_null(self, name: str, on_null: OnNull) -> None:
        self.house.edit(self.files[name], on_null=on_null)

    @rule(name=st.sampled_from(NAMES), how=st.sampled_from([OnRemoved.CLEAR, OnRemoved.KEEP, None]))
    def edit_on_removed(self, name: str, how: OnRemoved | None) -> None:
        """None: the query is incremental."""
        self.house.edit(self.files[name], on_removed=how or OnRemoved.KEEP, incremental=how is None)

    @rule(name=st.sampled_from(NAMES))
    def rename(self, name: str) -> None:
        old = self.files[name]
        self.files[name] = name if old != name else f"{name}2"
        self.house.rename(old, self.files[name])
        self.house.tables[self.files[name]] = self.house.tables.pop(old)
        # What the other snapshot knows of columns and rows that are gone from the query is not taken over.
        self.forgotten[name] |= set(IDS)

    # --- how runs end -------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(["people", *NAMES]))
    def run(self, name: str) -> None:
        self._run(name)

    @rule(name=st.sampled_from(["people", *NAMES]), steps=st.integers(0, 60))
    def run_and_die(self, name: str, steps: int) -> None:
        self.house.life = Life(steps)
        with suppress(DeathError):
            self._run(name)
        self.house.life = None

    @rule()
    def run_all_cleanly(self) -> None:
        sent = 1
        for _ in range(4):
            if sent:
                sent = sum([self._run(name) for name in ("people", *NAMES)])
        self._check()
        assert sent == 0, "a run without a change sent something"

    # --- machinery ----------------------------------------------------------------------------------------

    def _run(self, name: str) -> int:
        """How many rows the store took."""
        file = self.files.get(name, name)
        if name in NAMES and self.house.syncs[file].on_removed is OnRemoved.KEEP:
            # What left a sync that keeps it is forgotten.
            self.forgotten[name] |= set(IDS) - self.tables[name].rows.keys()
        with suppress(SyncerError, HeldError):
            return self.house.run(file).counts.accepted
        return 0

    def _check(self) -> None:
        people = {row["id"] for row in self.house.rows["people"]}
        with closing(self.house.store()) as store:
            found = {id_: store.show(Entity.PERSON, "id", id_) for id_ in IDS}
        assert {id_ for id_, person in found.items() if person is not None} == people
        for id_ in people:
            person = found[str(id_)]
            assert person is not None
            for attribute in ["x", "y", "a", "b"]:
                self._check_value(attribute, str(id_), person["attributes"].get(attribute))

    def _check_value(self, attribute: str, id_: str, held: Any) -> None:
        writers = [name for name in NAMES if attribute in ATTRIBUTES[name]]
        # Of two syncs that write it, either may have been last.
        wanted = {self._wanted(name, attribute, id_) for name in writers} - {None}
        assert held in (wanted or {None}) or any(self._may_keep(name, attribute, id_) for name in writers)

    def _wanted(self, name: str, attribute: str, id_: str) -> str | int | None:
        table = self.tables[name]
        fed = attribute in self.house.columns[self.files[name]] and id_ in table.rows
        return table.value(attribute, table.rows[id_][attribute]) if fed else None

    def _may_keep(self, name: str, attribute: str, id_: str) -> bool:
        """Whether the store may have another value of a sync than its query returns."""
        table, made = self.tables[name], self.house.syncs[self.files[name]]
        if id_ in table.rows and id_ in table.repeated:
            return True
        if attribute in self.house.columns[self.files[name]] and id_ in table.rows:
            return made.on_null is OnNull.KEEP and self._wanted(name, attribute, id_) is None
        return made.on_removed is not OnRemoved.CLEAR or id_ in self.forgotten[name]


TestEditedDefinitions = EditedDefinitions.TestCase
TestEditedDefinitions.settings = proven_in(4)


@dataclass
class ForgetfulHouse(EditedHouse):
    """A mutant that forgets what an incremental query does not return again."""

    @contextmanager
    def opened(self, name: str, store: ProfileStore) -> Iterator[Snapshot]:
        with super().opened(name, store) as snapshot:
            snapshot.ledger.session.execute("DELETE FROM kept")
            yield snapshot


def _a_person_who_comes_late(machine: EditedDefinitions) -> None:
    machine.edit_on_removed("totals", None)
    machine.put("totals", "1", ("1", "1"))
    machine.run("totals")
    machine.put("totals", "2", ("1", "2"))
    machine.run_all_cleanly()
    machine.have_people({"1", "2"})
    machine.run_all_cleanly()


@pytest.mark.parametrize("house", [EditedHouse, ForgetfulHouse])
def test_the_property_holds_for_syncer_and_fails_for_a_mutant(house: type[EditedHouse]) -> None:
    machine = EditedDefinitions(house)
    expected = pytest.raises(AssertionError) if house is ForgetfulHouse else nullcontext()
    with expected:
        _a_person_who_comes_late(machine)
    machine.teardown()
