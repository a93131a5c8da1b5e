"""After any history in which tokens and emails move between people, clean runs make an SQL store as the queries say."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from syncer.model.errors import SyncerError
from syncer.model.types import DeviceFields, Entity, Limit, Limits, OnRemoved, PersonKey, Platform, Target
from syncer.snapshot.columns import result_schema
from syncer.sync.progress import HeldError
from tests.conftest import seeds
from tests.properties.convergence import FOLDER, DeathError, Life, proven_in
from tests.properties.test_moving_identifiers import MortalHouse
from tests.properties.test_unchanged_rows import found
from tests.sync.house import BY_ID
from tests.workbench import Workbench, definition

pytestmark = [pytest.mark.timeout(3600), pytest.mark.early]

IDS = ["1", "2", "3"]
EMAILS = ["a@x.com", "b@x.com", "c@x.com"]
TOKENS = ["t1", "t2", "t3", "t4"]
MODELS = ["x", "y", None]
NAMES = ["people", "phones"]
BY_EMAIL = Target(entity=Entity.DEVICE, person_key=PersonKey.EMAIL, key_columns=("email", "token"))
IOS = DeviceFields(platform=Platform.IOS)


class MovingDevices(RuleBasedStateMachine):
    """People have emails by one sync, and devices by another that knows them by email."""

    def __init__(self, url: str = "") -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="devices-", dir=FOLDER))
        self.house = MortalHouse(
            folder=self.folder, store_url=url or f"sqlite:///{self.folder}/people.db", may_reject=True
        )
        self.house.sync("people", BY_ID, "id email", OnRemoved.DELETE)
        self.house.sync("phones", BY_EMAIL, "email token model", OnRemoved.DELETE, create=False, device=IOS)
        self.emails: dict[str, str | None] = {}
        #: By token: whose it is, and the model.
        self.phones: dict[str, tuple[str, str | None]] = {}
        #: Whether devices were sent, and no answer came: if an email moves then, nobody knows who got them.
        self.is_unanswered = self.may_keep = False

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(emails=st.permutations([*EMAILS, None]), gone=st.sets(st.sampled_from(IDS), max_size=1))
    def move_emails(self, emails: list[str | None], gone: set[str]) -> None:
        self.may_keep |= self.is_unanswered
        self.emails = {id_: email for id_, email in zip(IDS, emails, strict=False) if id_ not in gone}

    @rule(token=st.sampled_from(TOKENS), email=st.sampled_from(EMAILS), model=st.sampled_from(MODELS))
    def hand_over(self, token: str, email: str, model: str | None) -> None:
        self.phones[token] = (email, model)

    @rule(token=st.sampled_from(TOKENS))
    def lose(self, token: str) -> None:
        self.phones.pop(token, None)

    @rule(name=st.sampled_from(NAMES))
    def run(self, name: str) -> None:
        self._run(name)

    @rule(name=st.sampled_from(NAMES), steps=st.integers(0, 60))
    def run_and_die(self, name: str, steps: int) -> None:
        self.house.life = Life(steps)
        try:
            self._run(name)
        except DeathError:
            self.is_unanswered |= name == "phones"
        self.house.life = None

    @rule()
    def run_all_cleanly(self) -> None:
        sent = dict.fromkeys(NAMES, 1)
        for _ in range(4):
            if any(sent.values()):
                sent = {name: self._run(name) for name in NAMES}
        owners = {email: id_ for id_, email in self.emails.items() if email is not None}
        expected = {token: (owners[email], model) for token, (email, model) in self.phones.items() if email in owners}
        held = self._held()
        assert {token: held.get(token) for token in expected} == expected
        assert held.keys() == expected.keys() or self.may_keep
        assert not any(sent.values()), "a run without a change sent something"

    def _run(self, name: str) -> int:
        """How many rows the store took."""
        self.house.rows["people"] = [{"id": id_, "email": email} for id_, email in self.emails.items()]
        self.house.rows["phones"] = [
            {"email": email, "token": token, "model": model} for token, (email, model) in self.phones.items()
        ]
        with suppress(SyncerError, HeldError):
            accepted = self.house.run(name).counts.accepted
            self.is_unanswered &= name != "phones"
            return accepted
        return 0

    def _held(self) -> dict[str, tuple[str, str | None]]:
        with closing(self.house.store()) as store:
            shown = {id_: store.show(Entity.PERSON, "id", id_) for id_ in IDS}
        people = {id_: person for id_, person in shown.items() if person is not None}
        return {
            one["token"]: (id_, one["attributes"].get("model"))
            for id_, person in people.items()
            for one in person["devices"]
        }


TestMovingDevices = MovingDevices.TestCase
TestMovingDevices.settings = proven_in(4)


@pytest.mark.parametrize("seed", seeds(1))
def test_a_history_ends_alike_in_postgresql(postgres_url: str, seed: int) -> None:
    random, machine = Random(seed), MovingDevices(postgres_url)
    try:
        for _ in range(12):
            emails = random.sample([*EMAILS, None], 4)
            machine.move_emails(emails, {random.choice(IDS)} if random.random() < 0.2 else set())
            for _ in range(random.randrange(4)):
                machine.hand_over(random.choice(TOKENS), random.choice(EMAILS), random.choice(MODELS))
            if random.random() < 0.2:
                machine.lose(random.choice(TOKENS))
            machine.run_and_die(random.choice(NAMES), random.randrange(60))
            if random.random() < 0.3:
                machine.run_all_cleanly()
        machine.run_all_cleanly()
    finally:
        machine.teardown()


DEVICES = Target(entity=Entity.DEVICE, person_key=PersonKey.ID, key_columns=("id", "token"))
#: Few of each, so that rows repeat, differ, share a token and stay the same.
_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", " 1", None]), st.sampled_from(["t1", "t2", " "]), st.sampled_from(["x", "y", None])
    ),
    min_size=1,
    max_size=5,
)


@proven_in(8)
@given(history=st.lists(_ROWS, min_size=2, max_size=5), incremental=st.booleans(), refused=st.sampled_from(["", "1"]))
def test_a_run_finds_the_same_with_fingerprints_and_without(
    history: list[list[tuple[Any, ...]]], incremental: bool, refused: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="unchanged-", dir=FOLDER) as folder:
        bench = Workbench(Path(folder))
        bench.definition = definition(
            target=DEVICES,
            device=IOS,
            on_removed=OnRemoved.KEEP if incremental else OnRemoved.DELETE,
            incremental=incremental,
            limits=Limits(removed=Limit(count=9), allow_empty=True),
        )
        bench.store.refuses = lambda key: key[0] == refused
        for rows in history:
            columns = zip(("id", "token", "model"), zip(*rows, strict=True), strict=True)
            result = pa.table({name: pa.array(values, pa.string()) for name, values in columns})
            with bench.opened() as snapshot:
                shape = result_schema(bench.definition, result.schema, bench.store.identity)
                looks = [found(snapshot, shape, result, every_row=every_row) for every_row in (False, True)]
            assert looks[0] == looks[1]
            bench.run(result)
