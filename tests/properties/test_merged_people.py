"""After any history of merges, suppressions, faults and deaths, an SQL store is as if all were done once, in order.

People have attributes, relationships, devices and events. They are merged in pairs, in chains and rings, again, and
with people who are missing; they are deleted, suppressed and unsuppressed. A shadow takes the batches that the store
took, and what it makes of them is plain Python.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from syncer.model.types import (
    DeviceFields,
    Entity,
    EventRules,
    EventType,
    Limit,
    Limits,
    ListAction,
    OnRemoved,
    PersonKey,
    Platform,
    Start,
    Target,
)
from syncer.state.coordination import SharedCoordination
from syncer.sync.progress import Progress
from tests.properties.convergence import AT, FOLDER, Unheard, ended, proven_in
from tests.properties.faulty_house import Fault, FaultyHouse, StoreOfHistories
from tests.properties.shadow_store import Contents, Pair, ShadowStore
from tests.servers.postgresql import PostgresServer
from tests.sync.house import BY_ID, TEAMS

pytestmark = [pytest.mark.timeout(3600 * 8), pytest.mark.early]

IDS = st.sampled_from(["a", "b", "c", "d", "e"])
SOME = st.sampled_from(["x", "y"])
VALUES = st.sampled_from(["1", "2", None])
PAIRS = Target(
    entity=Entity.MERGE,
    person_key=PersonKey.ID,
    merged_key=PersonKey.ID,
    key_columns=("keep", "goes"),
    action=ListAction.MERGE,
)
LISTS = {
    "forgotten": ListAction.DELETE,
    "refused": ListAction.SUPPRESS,
    "forgiven": ListAction.UNSUPPRESS,
}
#: In the order in which one command runs them, with the columns of their keys, and what else they have.
SYNCS = {
    **dict.fromkeys(LISTS, (["id"], [])),
    "people": (["id"], ["plan", "city"]),
    "teams": (["team"], []),
    "members": (["id", "team"], ["role"]),
    "phones": (["id", "token"], ["model"]),
    "merges": (["keep", "goes"], []),
    "paid": (["k"], ["who", "at", "total"]),
}
NAMES = st.sampled_from([*SYNCS])
#: Those that send again what others took away.
REACHED = ["people", "members", "phones", "merges"]
#: Of a row: its key, and a value.
ROWS = st.lists(st.tuples(NAMES, IDS, SOME, VALUES), max_size=4)
Rows = list[tuple[str, str, str, str | None]]
ANY = Limits(deleted=Limit(count=99), merged=Limit(count=99))


class MergedPeople(RuleBasedStateMachine):
    """All that a person can have, in one store."""

    def __init__(self, url: str = "", house: type[FaultyHouse] = FaultyHouse) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="merges-", dir=FOLDER))
        self.store = StoreOfHistories(url or f"sqlite:///{self.folder}/people.db")
        self.house = house(folder=self.folder, store_url=self.store.url, took=self._shadow)
        self.shadow = ShadowStore()
        self.rejects_pairs = False
        #: Whether anything has happened since all was quiet.
        self.is_changed = True
        #: By sync and key.
        self.rows: dict[str, dict[tuple[str, ...], str | None]] = {name: {} for name in SYNCS}
        self._define()

    def _define(self) -> None:
        house, members = (
            self.house,
            Target(entity=Entity.RELATIONSHIP, person_key=PersonKey.ID, object_type="team", key_columns=("id", "team")),
        )
        for name, action in LISTS.items():
            house.sync(name, replace(BY_ID, action=action), "id")
            house.edit(name, limits=ANY)
        house.sync("people", BY_ID, "id plan city", OnRemoved.DELETE)
        house.sync("teams", TEAMS, "team")
        house.sync("members", members, "id team role", OnRemoved.DELETE)
        phones = Target(entity=Entity.DEVICE, person_key=PersonKey.ID, key_columns=("id", "token"))
        house.sync("phones", phones, "id token model", OnRemoved.DELETE, device=DeviceFields(platform=Platform.IOS))
        house.sync("merges", PAIRS, "keep goes")
        house.edit("merges", limits=ANY)
        paid = Target(entity=Entity.EVENT, person_key=PersonKey.ID, event=EventType(name="paid"), key_columns=("k",))
        rules = EventRules(person_column="who", time_column="at", start=Start.ALL)
        house.sync("paid", paid, "k who at total", event_rules=rules)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    # --- what customers and analysts do -----------------------------------------------------------------

    @rule(name=NAMES, who=IDS, other=SOME, value=VALUES)
    def put(self, name: str, who: str, other: str, value: str | None) -> None:
        self.is_changed = True
        match name:
            case "merges":
                # Of ids that follow one another, so that there are chains.
                pair = (who, chr(ord(who) + 1)) if other == "x" else (chr(ord(who) - 1), who)
                self.rows[name][pair] = None
            case "paid":
                # What was paid is entered once.
                self.rows[name].setdefault((f"{who}{other}",), value)
            case "teams":
                self.rows[name][other,] = None
            case _:
                self.rows[name][(who, other)[: len(SYNCS[name][0])]] = value

    @rule(keep=IDS, goes=IDS)
    def find_to_be_one(self, keep: str, goes: str) -> None:
        self.is_changed = True
        self.rows["merges"][keep, goes] = None

    @rule(keep=IDS, goes=IDS)
    def find_to_be_one_and_forget_the_other(self, keep: str, goes: str) -> None:
        """As most analysts do: what is left of one of them is not returned any more."""
        self.find_to_be_one(keep, goes)
        for name in ("people", "members", "phones"):
            self.rows[name] = {key: value for key, value in self.rows[name].items() if key[0] != goes or keep == goes}

    @rule(name=NAMES, which=st.integers(0, 5))
    def take_away(self, name: str, which: int) -> None:
        self.is_changed = True
        for key in list(self.rows[name])[which : which + 1]:
            del self.rows[name][key]

    @rule(name=NAMES)
    def empty(self, name: str) -> None:
        self.is_changed = True
        self.rows[name].clear()

    # --- how runs end -----------------------------------------------------------------------------------

    @rule(name=NAMES, rows=ROWS, full=st.booleans())
    def run(self, name: str, rows: Rows, full: bool) -> None:
        self._put_all(rows)
        self._run(name, full=full)

    @rule(name=NAMES, rows=ROWS, steps=st.integers(0, 60))
    def run_and_die(self, name: str, rows: Rows, steps: int) -> None:
        self._put_all(rows)
        self._run(name, self.house.dying(steps))

    @rule(name=NAMES, rows=ROWS, fault=st.sampled_from(Fault), batches=AT)
    def run_and_lose_the_store(self, name: str, rows: Rows, fault: Fault, batches: int) -> None:
        self._put_all(rows)
        self._run(name, self.house.failing(fault, batches))

    @precondition(lambda self: self.is_changed)
    @rule()
    def run_all_cleanly(self) -> None:
        changed = sum([self._changed(self._run(name)) for name in SYNCS])
        for _ in range(6):
            if changed:
                changed = sum([self._changed(self._run(name)) for name in REACHED])
        assert changed == 0, "a run without a change sent something"
        self.is_changed = False
        self._check_queries()
        self._check_pairs()

    # --- machinery --------------------------------------------------------------------------------------

    def _put_all(self, rows: Rows) -> None:
        for row in rows:
            self.put(*row)

    def _changed(self, progress: Progress | None) -> int:
        """How many rows a run sent, but for those that it sent again: a pair that stays rejected puts some in doubt."""
        assert progress is not None
        delivered = progress.delivery.delivered
        return delivered.total - (delivered.resent if self.rejects_pairs else 0)

    def _run(self, name: str, fault: AbstractContextManager[None] | None = None, **options: bool) -> Progress | None:
        self.is_changed = True
        names = self.house.columns[name]
        self.house.rows[name] = [self._row(name, names, key, value) for key, value in self.rows[name].items()]
        with fault or nullcontext():
            progress = self.house.attempt(name, **options)
        if name == "merges" and progress is not None:
            self.rejects_pairs = progress.counts.rejected > 0
        held = self._held()
        assert asdict(held) == {part: value for part, value in asdict(self.shadow).items() if part != "numbers"}
        return progress

    def _row(self, name: str, columns: Sequence[str], key: tuple[str, ...], value: str | None) -> dict[str, str | None]:
        if name == "paid":
            return {"k": key[0], "who": key[0][0], "at": "2025-12-31 12:00:00", "total": value}
        _, others = SYNCS[name]
        return dict(zip(columns, (*key, *(value for _ in others)), strict=True))

    def _shadow(self, target: Target, batch: pa.RecordBatch, create: bool, verdicts: pa.Table) -> None:
        """Give the shadow what the store took; it is to answer the same."""
        answers = self.shadow.take(target, batch, create=create)
        found = {row["seq"]: (row["verdict"], row["reason"]) for row in verdicts.to_pylist()}
        assert [found[seq] for seq in batch["seq"].to_pylist()] == answers
        self.shadow.numbers = dict(self.store.rows("SELECT person_id, id FROM people"))

    def _held(self) -> Contents:
        rows = self.store.rows
        people = rows("SELECT id, CAST(attributes AS text) FROM people")
        who = "JOIN people AS p ON p.person_id = t.person_id"
        members = rows(f"SELECT p.id, t.object_id, CAST(t.attributes AS text) FROM relationships AS t {who}")
        devices = rows(f"SELECT t.token, p.id, CAST(t.attributes AS text) FROM devices AS t {who}")
        events = rows(f"SELECT CAST(t.data AS text), p.id FROM events AS t {who}")
        assert len({json.loads(data)["k"] for data, _ in events}) == len(events)
        return Contents(
            people={id_: json.loads(text) for id_, text in people},
            objects={id_ for (id_,) in rows("SELECT object_id FROM objects")},
            relationships={(id_, team): json.loads(text) for id_, team, text in members},
            devices={token: (id_, json.loads(text)) for token, id_, text in devices},
            events={json.loads(data)["k"]: id_ for data, id_ in events},
            suppressed={value for (value,) in rows("SELECT value FROM suppressions")},
            merged=dict(rows(f"SELECT t.value, p.id FROM merged_people AS t {who} WHERE t.kind = 'id'")),
        )

    def _check_queries(self) -> None:
        """What queries return is there, but for people who are suppressed."""
        held = self.shadow
        for (id_,), value in self.rows["people"].items():
            if id_ not in held.suppressed:
                assert id_ in held.people
                assert [held.people[id_].get(name) for name in ("plan", "city")] == [value, value]
        for (id_, team), value in self.rows["members"].items():
            if id_ in held.people and team in held.objects and id_ not in held.suppressed:
                assert held.relationships[id_, team].get("role") == value
        tokens = [token for _, token in self.rows["phones"]]
        for (id_, token), value in self.rows["phones"].items():
            if tokens.count(token) == 1 and id_ not in held.suppressed:
                assert held.devices[token] == (id_, {} if value is None else {"model": value})

    def _check_pairs(self) -> None:
        """Whoever could be merged is, unless the store did so before, and the one who went was made anew."""
        answers = deepcopy(self.shadow).take_pairs([pair for pair in self._rejected_pairs() if pair[0] != pair[1]])
        assert {verdict for verdict, _ in answers} <= {"rejected"}, "a pair that can be merged was rejected"

    def _rejected_pairs(self) -> list[Pair]:
        with closing(self.house.store()) as store, self.house.opened("merges", store) as snapshot:
            found = [json.loads(one.key) for one in snapshot.rejections(99)[0]]
        return sorted((keep, goes) for keep, goes in found)


TestMergedPeople = MergedPeople.TestCase
TestMergedPeople.settings = proven_in(3)


@dataclass
class UnheardHouse(FaultyHouse):
    """A mutant whose merges stay unknown to the other syncs of the store."""

    def wrapped(self, inner: Any) -> Any:
        if isinstance(inner, SharedCoordination):
            inner = Unheard(database=inner.database, sync=inner.sync, store_id=inner.store_id, run_id=inner.run_id)
        return super().wrapped(inner)


@pytest.mark.parametrize("house", [FaultyHouse, UnheardHouse])
def test_the_property_holds_for_syncer_and_fails_for_a_mutant(house: type[FaultyHouse]) -> None:
    with ended(MergedPeople(house=house)) as machine:
        machine.put("people", "a", "x", None)
        machine.put("people", "b", "x", "1")
        machine.put("phones", "b", "x", "1")
        machine.put("paid", "b", "x", "1")
        machine.run_all_cleanly()
        machine.find_to_be_one_and_forget_the_other("a", "b")
        # Before the sync of people deletes who is not returned any more.
        machine.run("merges", [], full=False)
        with pytest.raises(AssertionError) if house is UnheardHouse else nullcontext():
            machine.run_all_cleanly()
        assert (machine.shadow.devices["x"][0], machine.shadow.events) == ("a", {"bx": "a"})


def test_merges_in_postgresql(postgres: PostgresServer) -> None:
    class InPostgreSQL(MergedPeople):
        """Each history has a database of its own."""

        def __init__(self) -> None:
            with ExitStack() as stack:
                super().__init__(stack.enter_context(postgres.new_database()))
                self.store.closing.push(stack.pop_all())

    run_state_machine_as_test(InPostgreSQL, settings=proven_in(2))
