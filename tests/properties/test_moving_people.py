"""After any history in which people get other emails, clean runs make the store as the queries say, and each person is
who they were.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from syncer.model.errors import SyncerError
from syncer.model.types import Entity, Identity, OnRemoved
from syncer.snapshot.ledger import Asked
from syncer.snapshot.snapshot import Snapshot
from syncer.sync.progress import HeldError
from tests.properties.convergence import FOLDER, DeathError, Life, proven_in
from tests.properties.test_moving_identifiers import MortalHouse, MortalStore
from tests.sync.house import BY_EMAIL, MEMBERS_BY_EMAIL, TEAMS

pytestmark = [pytest.mark.timeout(1800), pytest.mark.early]

PEOPLE = ["ann", "bob", "cyd", "dee"]
NAMES = ["people", "tiers", "teams", "members"]
VALUES = st.sampled_from(["x", "y", None])


class RowByRow(MortalStore):
    """Each row is a batch, so that a process can die between any two."""

    batch_rows = 1


@dataclass
class RowByRowHouse(MortalHouse):
    #: Is told whether the query of `people` is asked for its whole result, before it answers.
    at_people: Callable[[bool], None] = lambda is_whole: None

    def wrapped(self, inner: Any) -> Any:
        made = super().wrapped(inner)
        return RowByRow(inner, self.life) if isinstance(made, MortalStore) and self.life else made

    def asked(self, name: str, snapshot: Snapshot) -> Asked | None:
        is_incremental = self.syncs[name].incremental
        is_whole = not is_incremental or snapshot.known.last_sync_time == 0 or snapshot.known.has_quarantined
        if name == "people":
            self.at_people(is_whole)
        return Asked(at=self.now, is_whole=is_whole) if is_incremental else None


@dataclass(frozen=True)
class Row:
    """What the warehouse says of a person."""

    email: str
    former: str | None
    plan: str | None


class MovingPeople(RuleBasedStateMachine):
    """A person is known by their newest email; the warehouse has the one that they had when all ran cleanly last."""

    incremental: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="people-", dir=FOLDER))
        url = f"sqlite:///{self.folder}/people.db"
        self.house = RowByRowHouse(folder=self.folder, store_url=url, may_reject=True, identity=Identity.EMAIL)
        self.house.sync(
            "people",
            replace(BY_EMAIL, names_previous=True),
            "email old plan",
            OnRemoved.KEEP if self.incremental else OnRemoved.DELETE,
            previous_column="old",
            incremental=self.incremental,
        )
        self.house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.CLEAR, create=False)
        self.house.sync("teams", TEAMS, "team")
        self.house.sync("members", MEMBERS_BY_EMAIL, "email team", OnRemoved.DELETE)
        self.house.rows["teams"] = [{"team": "red"}]
        self.house.at_people = self._return_people
        self.emails_made = 0
        self.rows: dict[str, Row] = {}
        self.tiers: dict[str, str | None] = {}
        self.members: set[str] = set()
        #: What each person was called, and their number in the store, when all ran cleanly last.
        self.settled: dict[str, tuple[str, int]] = {}
        #: Who has got an address that somebody else had: whose profile that is, is up to the order of things.
        self.mixed: set[str] = set()
        #: Of an incremental query: whose rows changed since it was answered last.
        self.changed: set[str] = set()
        #: Addresses that may stay in the store, as nothing removes them.
        self.left: set[str] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    # --- what customers and analysts do ------------------------------------------------------------------

    @rule(who=st.sampled_from(PEOPLE), plan=VALUES)
    def put(self, who: str, plan: str | None) -> None:
        """Somebody signs up, or gets another plan."""
        if who not in self.rows:
            self._put(who, Row(self._fresh(), None, plan))
        else:
            self._put(who, replace(self.rows[who], plan=plan))

    @rule(who=st.sampled_from(PEOPLE))
    def rename(self, who: str) -> None:
        """Somebody gets an address that nobody had."""
        if who in self.rows:
            self._rename(who, self._fresh())

    @rule(who=st.sampled_from(PEOPLE), other=st.sampled_from(PEOPLE))
    def take_over(self, who: str, other: str) -> None:
        """Somebody gets the address that another person had, or their own former one."""
        former = self.settled.get(other, ("", 0))[0]
        if who in self.rows and former and former not in {row.email for row in self.rows.values()}:
            self.mixed |= {who, other} if who != other else set()
            self._rename(who, former)

    @rule(who=st.sampled_from(PEOPLE), other=st.sampled_from(PEOPLE))
    def swap(self, who: str, other: str) -> None:
        if who != other and {who, other} <= self.rows.keys():
            self.mixed |= {who, other}
            ours, theirs = self.rows[who].email, self.rows[other].email
            self._rename(who, theirs)
            self._rename(other, ours)

    @rule(who=st.sampled_from(PEOPLE))
    def leave(self, who: str) -> None:
        if who in self.rows:
            self.left |= {self.rows[who].email, self.settled.get(who, ("", 0))[0]} if self.incremental else set()
            self.mixed.add(who)
            self.settled.pop(who, None)
            del self.rows[who]

    @rule(who=st.sampled_from(PEOPLE))
    def forget_the_former_email(self, who: str) -> None:
        """The column is NULL again, once that is of no more use."""
        if who in self.rows and self.settled.get(who, ("", 0))[0] == self.rows[who].email:
            self._put(who, replace(self.rows[who], former=None))

    @rule(who=st.sampled_from(PEOPLE), tier=VALUES, is_member=st.booleans())
    def relate(self, who: str, tier: str | None, is_member: bool) -> None:
        self.tiers[who] = tier
        (self.members.add if is_member else self.members.discard)(who)

    def _fresh(self) -> str:
        self.emails_made += 1
        return f"{self.emails_made}@x.com"

    def _rename(self, who: str, email: str) -> None:
        former = self.settled.get(who, (None, 0))[0]
        if former is None:
            # Nobody knows the address that the store may have: no run ended cleanly since.
            self.mixed.add(who)
            self.left.add(self.rows[who].email)
        elif self.incremental and self.rows[who].email != former:
            # An address between the two may have reached the store, and no row says so any more.
            self.mixed.add(who)
            self.left |= {self.rows[who].email, former}
        elif self.rows[who].email != former:
            self.mixed.add(who)
        self._put(who, replace(self.rows[who], email=email, former=former))

    def _put(self, who: str, row: Row) -> None:
        self.rows[who] = row
        self.changed.add(who)

    # --- how runs end --------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES))
    def run(self, name: str) -> None:
        self._run(name)

    @rule(name=st.sampled_from(NAMES), steps=st.integers(0, 80))
    def run_and_die(self, name: str, steps: int) -> None:
        self.house.life = Life(steps)
        with suppress(DeathError):
            self._run(name)
        self.house.life = None

    @rule()
    def run_all_cleanly(self) -> None:
        sent = dict.fromkeys(NAMES, 1)
        for _ in range(4):
            if any(sent.values()):
                sent = {name: self._run(name) for name in NAMES}
        assert not any(sent.values()), "a run without a change sent something"
        self._check()

    # --- machinery -----------------------------------------------------------------------------------------

    def _run(self, name: str) -> int:
        """How many rows the store took."""
        emails = {who: row.email for who, row in self.rows.items()}
        if name == "tiers":
            self.house.rows[name] = [
                {"email": emails[who], "tier": tier} for who, tier in self.tiers.items() if who in emails
            ]
        elif name == "members":
            self.house.rows[name] = [{"email": emails[who], "team": "red"} for who in self.members if who in emails]
        with suppress(SyncerError, HeldError):
            counts = self.house.run(name).counts
            self.changed -= {*self.rows} if name == "people" else set()
            return counts.accepted
        return 0

    def _return_people(self, is_whole: bool) -> None:
        returned = [row for who, row in self.rows.items() if is_whole or who in self.changed]
        self.house.rows["people"] = [{"email": one.email, "old": one.former, "plan": one.plan} for one in returned]

    def _check(self) -> None:
        with closing(self.house.store()) as store:
            found = {who: store.show(Entity.PERSON, "email", row.email) for who, row in self.rows.items()}
            former = [
                store.show(Entity.PERSON, "email", email)
                for who, (email, _) in self.settled.items()
                if email not in {row.email for row in self.rows.values()} | self.left and who not in self.mixed
            ]
        people = {who: one for who, one in found.items() if one is not None}
        assert people.keys() == self.rows.keys()
        assert not any(former), "somebody is known by two emails"
        for who, row in self.rows.items():
            held = people[who]
            assert held["attributes"].get("plan") == row.plan
            assert held["attributes"].get("tier") == self.tiers.get(who)
            assert bool(held["relationships"]) is (who in self.members)
            if who in self.settled and who not in self.mixed:
                assert held["person_id"] == self.settled[who][1], "somebody is a new person"
        self.settled = {who: (row.email, people[who]["person_id"]) for who, row in self.rows.items()}
        self.mixed = set()


class MovingPeopleOfAnIncrementalQuery(MovingPeople):
    incremental = True


TestMovingPeople = MovingPeople.TestCase
TestMovingPeople.settings = proven_in(3)
TestMovingPeopleOfAnIncrementalQuery = MovingPeopleOfAnIncrementalQuery.TestCase
TestMovingPeopleOfAnIncrementalQuery.settings = proven_in(3)
