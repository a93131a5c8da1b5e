"""After any history in which emails and phones move between people, clean runs make the store equal to the queries.

Some of the syncs know people by id, others by email or phone. Processes die at any step, the store is put back from a
copy, another state folder feeds it for a while, files are renamed, and definitions are edited.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from syncer.model.errors import SyncerError
from syncer.model.protocols import IDENTIFIERS, Moves, ProfileStore
from syncer.model.types import Entity, Identity, OnRemoved, Target
from syncer.snapshot.snapshot import Snapshot
from syncer.sync.progress import HeldError
from tests.properties.convergence import FOLDER, DeathError, Life, Mortal, proven_in
from tests.sync.house import BY_EMAIL, BY_ID, BY_PHONE, MEMBERS_BY_EMAIL, TEAMS, House

pytestmark = [pytest.mark.timeout(3600), pytest.mark.early]

IDS = ["1", "2", "3"]
EMAILS = ["a@x.com", "b@x.com", "c@x.com", "d@x.com"]
PHONES = [f"+4915110000{number:03}" for number in range(4)]
TEAM_NAMES = ["red", "blue"]
TYPES = ["team", "squad"]
NAMES = ["people", "tiers", "calls", "plans", "shared", "teams", "members"]
VALUES = st.sampled_from(["x", "y"])
#: Where NULL is one of them, in attributes.
OR_NULL = st.sampled_from(["x", "y", None])


class MortalStore(Mortal):
    """What a store is asked for by its type must be seen in the class."""

    def whereabouts(self, target: Target, rows: pa.Table) -> Any:
        return self.__getattr__("whereabouts")(target, rows)

    def moves_since(self, seq: int) -> Moves:
        moves: Moves = self.__getattr__("moves_since")(seq)
        return moves

    def forget_moves(self, before: Any) -> None:
        self.__getattr__("forget_moves")(before)

    def fences(self, sync: str) -> Any:
        return self.__getattr__("fences")(sync)

    def fence(self, **of: str) -> None:
        self.__getattr__("fence")(**of)

    def forget_fence(self, **of: str) -> None:
        self.__getattr__("forget_fence")(**of)

    def event_start(self, target: Target) -> Any:
        return self.__getattr__("event_start")(target)

    def start_events(self, target: Target, at: datetime) -> Any:
        return self.__getattr__("start_events")(target, at)


@dataclass
class MortalHouse(House):
    """A house whose process may die."""

    life: Life | None = None

    @contextmanager
    def opened(self, name: str, store: ProfileStore) -> Iterator[Snapshot]:
        with super().opened(name, store) as snapshot:
            yield Mortal(snapshot, self.life) if self.life else snapshot  # type: ignore[misc]

    def wrapped(self, inner: Any) -> Any:
        if not self.life:
            return inner
        return MortalStore(inner, self.life) if hasattr(inner, "apply") else Mortal(inner, self.life)


class MovingIdentifiers(RuleBasedStateMachine):
    def __init__(self, house: type[MortalHouse] = MortalHouse) -> None:
        super().__init__()
        self.house_type = house
        self.folder = Path(tempfile.mkdtemp(prefix="moving-", dir=FOLDER))
        self.url = f"sqlite:///{self.folder}/people.db"
        self.house = self._house("here")
        self.emails: dict[str, str | None] = {}
        self.phones: dict[str, str | None] = dict.fromkeys(IDS)
        self.rows: dict[str, dict[tuple[str, ...], str | None]] = {name: {} for name in NAMES}
        #: The store may have what no snapshot knows.
        self.was_restored = False
        #: The syncs by the names of their files.
        self.files = {name: name for name in NAMES}
        #: The syncs of which something may stay that left their results.
        self.keeping: set[str] = set()
        #: The syncs whose definition no run has settled yet.
        self.unsettled = set(NAMES)

    def _house(self, name: str) -> MortalHouse:
        identity = Identity.ID_EMAIL_OR_PHONE
        house = self.house_type(folder=self.folder / name, store_url=self.url, may_reject=True, identity=identity)
        house.folder.mkdir()
        house.sync("people", BY_ID, "id email phone", OnRemoved.DELETE)
        house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.CLEAR, create=False)
        house.sync("calls", BY_PHONE, "phone call", OnRemoved.CLEAR, create=False)
        house.sync("plans", BY_ID, "id plan", OnRemoved.CLEAR, create=False)
        house.sync("shared", BY_EMAIL, "email plan", OnRemoved.CLEAR, create=False)
        house.sync("teams", TEAMS, "team")
        house.sync("members", MEMBERS_BY_EMAIL, "email team role", OnRemoved.DELETE)
        house.rows["teams"] = [{"team": team} for team in TEAM_NAMES]
        return house

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    # --- what analysts and customers do ----------------------------------------------------------------

    @rule(emails=st.permutations([*EMAILS, None, None]), gone=st.sets(st.sampled_from(IDS), max_size=1))
    def move_emails(self, emails: list[str | None], gone: set[str]) -> None:
        self.emails = {id_: email for id_, email in zip(IDS, emails, strict=False) if id_ not in gone}

    @rule(phones=st.permutations([*PHONES, None, None]))
    def move_phones(self, phones: list[str | None]) -> None:
        self.phones = dict(zip(IDS, phones, strict=False))

    @rule(phone=st.sampled_from(PHONES), value=OR_NULL)
    def put_by_phone(self, phone: str, value: str | None) -> None:
        self.rows["calls"][(phone,)] = value

    @rule(name=st.sampled_from(["tiers", "shared"]), email=st.sampled_from(EMAILS), value=OR_NULL)
    def put_by_email(self, name: str, email: str, value: str | None) -> None:
        self.rows[name][(email,)] = value

    @rule(id_=st.sampled_from(IDS), value=OR_NULL)
    def put_by_id(self, id_: str, value: str | None) -> None:
        self.rows["plans"][(id_,)] = value

    @rule(email=st.sampled_from(EMAILS), team=st.sampled_from(TEAM_NAMES), value=VALUES)
    def relate(self, email: str, team: str, value: str) -> None:
        self.rows["members"][(email, team)] = value

    @rule(name=st.sampled_from(NAMES), which=st.integers(0, 3))
    def leave(self, name: str, which: int) -> None:
        for key in list(self.rows[name])[which : which + 1]:
            del self.rows[name][key]

    @rule(name=st.sampled_from(NAMES))
    def rename(self, name: str) -> None:
        old = self.files[name]
        self.files[name] = name if old != name else f"{name}2"
        self.house.rename(old, self.files[name])
        if name in self.unsettled:
            # A file that was edited and renamed is another sync.
            self.keeping.add(name)

    @rule(name=st.sampled_from(["tiers", "calls", "plans", "shared"]), is_kept=st.booleans())
    def edit_on_removed(self, name: str, is_kept: bool) -> None:
        self._edit(name, on_removed=OnRemoved.KEEP if is_kept else OnRemoved.CLEAR)
        if is_kept:
            self.keeping.add(name)

    @rule(object_type=st.sampled_from(TYPES))
    def edit_the_type(self, object_type: str) -> None:
        for name in ("teams", "members"):
            self._edit(name, target=replace(self.house.syncs[self.files[name]].target, object_type=object_type))

    def _edit(self, name: str, **fields: Any) -> None:
        before = self.house.syncs[self.files[name]]
        self.house.edit(self.files[name], **fields)
        if self.house.syncs[self.files[name]] != before:
            self.unsettled.add(name)

    # --- how runs end -------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES))
    def run(self, name: str) -> None:
        self._run(self.house, name)

    @rule(name=st.sampled_from(NAMES), steps=st.integers(0, 60))
    def run_and_die(self, name: str, steps: int) -> None:
        self.house.life = Life(steps)
        with suppress(DeathError):
            self._run(self.house, name)
        self.house.life = None

    @rule()
    def put_the_store_back(self) -> None:
        """To how it was when it was copied last; then it is copied."""
        if not (self.folder / "people.db").exists():
            return
        copy = self.folder / "copy.db"
        if copy.exists():
            for suffix in ("", "-wal", "-shm"):
                (self.folder / f"people.db{suffix}").unlink(missing_ok=True)
            copy.rename(self.folder / "people.db")
            self.was_restored = True
        with closing(sqlite3.connect(self.folder / "people.db")) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)

    @rule(names=st.lists(st.sampled_from(NAMES), max_size=4))
    def feed_from_another_folder_for_a_while(self, names: list[str]) -> None:
        if not (self.folder / "there").exists():
            other = self._house("there")
            for name in names:
                self._run(other, name)
            # What it removed is in its run log alone.
            self.was_restored = True

    @rule()
    def run_all_cleanly(self) -> None:
        sent = dict.fromkeys(NAMES, 1)
        for _ in range(4):
            if any(sent.values()):
                sent = {name: self._run(self.house, name) for name in NAMES}
        self._check()
        assert not any(sent.values()), "a run without a change sent something"

    # --- machinery ----------------------------------------------------------------------------------------

    def _run(self, house: MortalHouse, name: str) -> int:
        """How many rows the store took."""
        rows, file = self.rows[name], self.files[name] if house is self.house else name
        if name == "people":
            house.rows[file] = [
                {"id": id_, "email": email, "phone": self.phones[id_]} for id_, email in self.emails.items()
            ]
        elif name != "teams":
            columns = house.columns[file]
            house.rows[file] = [dict(zip(columns, (*key, value), strict=True)) for key, value in rows.items()]
        with suppress(SyncerError, HeldError):
            accepted = house.run(file).counts.accepted
            self.unsettled -= {name} if house is self.house else set()
            return accepted
        return 0

    def _check(self) -> None:
        store = self.house.store()
        with closing(store):
            found = {id_: store.show(Entity.PERSON, "id", id_) for id_ in IDS}
        people = {id_: person for id_, person in found.items() if person is not None}
        assert people.keys() >= self.emails.keys()
        assert {id_: people[id_]["email"] for id_ in self.emails} == self.emails
        assert {id_: people[id_]["phone"] for id_ in self.emails} == {id_: self.phones[id_] for id_ in self.emails}
        for id_, email in self.emails.items():
            self._check_person(id_, email, people[id_])
        assert people.keys() == self.emails.keys() or self._may_keep("people")

    def _check_person(self, id_: str, email: str | None, person: dict[str, Any]) -> None:
        held = person["attributes"]
        tier = self.rows["tiers"].get((email or "",))
        assert held.get("tier") == tier or (tier is None and self._may_keep("tiers"))
        call = self.rows["calls"].get((self.phones[id_] or "",))
        assert held.get("call") == call or (call is None and self._may_keep("calls"))
        # Of two syncs that write it, either may have been last.
        plans = {self.rows["plans"].get((id_,)), self.rows["shared"].get((email or "",))} - {None}
        is_last = held.get("plan") in (plans or {None})
        assert is_last or not self.keeping.isdisjoint(["plans", "shared"]) or (self.was_restored and not plans)
        object_type = self.house.syncs[self.files["members"]].target.object_type
        teams = {(object_type, team): r for (mail, team), r in self.rows["members"].items() if mail == email}
        found = {(r["object_type"], r["object_id"]): r["attributes"].get("role") for r in person["relationships"]}
        assert {team: found.get(team) for team in teams} == teams
        assert found.keys() == teams.keys() or self._may_keep("members")

    def _may_keep(self, *names: str) -> bool:
        """Whether the store may have what left the result of one of these syncs."""
        return self.was_restored or not self.keeping.isdisjoint(names)


TestMovingIdentifiers = MovingIdentifiers.TestCase
TestMovingIdentifiers.settings = proven_in(4)


class Unmoved(MortalStore):
    """A mutant of which nobody hears that an identifier moved."""

    def moves_since(self, seq: int) -> Moves:
        return replace(super().moves_since(seq), identifiers=IDENTIFIERS.empty_table(), is_incomplete=False)


@dataclass
class UnmovedHouse(MortalHouse):
    def wrapped(self, inner: Any) -> Any:
        return Unmoved(inner, Life(None)) if hasattr(inner, "apply") else inner


def _an_email_that_moves(machine: MovingIdentifiers) -> None:
    machine.move_emails(["a@x.com", "b@x.com", None], set())
    machine.put_by_email("tiers", "a@x.com", "x")
    machine.run_all_cleanly()
    machine.move_emails(["b@x.com", "a@x.com", None], set())
    machine.run_all_cleanly()


def _a_phone_that_moves(machine: MovingIdentifiers) -> None:
    first, second = PHONES[:2]
    machine.move_emails([None, None, None], set())
    machine.move_phones([first, second, None])
    machine.put_by_phone(first, "x")
    machine.run_all_cleanly()
    machine.move_phones([second, first, None])
    machine.run_all_cleanly()


@pytest.mark.parametrize("history", [_an_email_that_moves, _a_phone_that_moves])
@pytest.mark.parametrize("house", [MortalHouse, UnmovedHouse])
def test_the_property_holds_for_syncer_and_fails_for_a_mutant(
    house: type[MortalHouse], history: Callable[[MovingIdentifiers], None]
) -> None:
    machine = MovingIdentifiers(house)
    expected = pytest.raises(AssertionError) if house is UnmovedHouse else nullcontext()
    with expected:
        history(machine)
    machine.teardown()
