"""After any history on machines that share their snapshots, and lose their disks, a run sends what changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from syncer.settings.snapshots import parsed
from syncer.shared.folder_place import FolderPlace
from syncer.shared.snapshot import SharedSnapshot
from syncer.snapshot.opening import opened
from syncer.snapshot.snapshot import Snapshot
from syncer.state.pointers import Pointers
from tests.conftest import is_long
from tests.properties.convergence import MOST_REMOVED, Life, Mortal, Sync, ended, proven_in
from tests.properties.test_convergence import WithAFakeStore

pytestmark = [pytest.mark.timeout(900), pytest.mark.early]

MACHINES = st.sampled_from(["a", "b"])
#: The steps after which a run dies: more than one of two rows takes.
DEATHS = range(0, 60, 1 if is_long() else 5)


class OnTwoMachines(WithAFakeStore):
    """Each run is of either machine; what they share is in a folder."""

    kind: type[SharedSnapshot] = SharedSnapshot

    def __init__(self) -> None:
        super().__init__()
        self.machine = "a"
        self.place = FolderPlace(parsed(f"file://{self.folder}/shared"))
        self.pointers = Pointers(self.database)
        self.life = Life(None)

    @rule(machine=MACHINES)
    def go_to(self, machine: str) -> None:
        self.machine = machine

    @rule(machine=MACHINES)
    def lose_the_disk(self, machine: str) -> None:
        shutil.rmtree(self.folder / machine, ignore_errors=True)

    def check_people(self) -> None:
        self._check_people("people", "plan")

    def check_objects(self) -> None:
        self._check_objects()

    def _path(self, sync: Sync) -> Path:
        return self.folder / self.machine / f"{sync.definition.name}.duckdb"

    def _run(self, name: str, *, life: Life | None = None, allow_limits: bool = False) -> None:
        self.life = life or Life(None)
        super()._run(name, life=self.life, allow_limits=allow_limits)

    @contextmanager
    def opened(self, sync: Sync) -> Iterator[Snapshot]:
        with self.shared(sync) as shared, opened(self._path(sync), sync.definition, self.store.store_id) as snapshot:
            snapshot.sharing, snapshot.is_current = Mortal(shared, self.life), shared.is_current
            yield snapshot

    @contextmanager
    def shared(self, sync: Sync) -> Iterator[SharedSnapshot]:
        name = sync.definition.name
        taken = self.kind(
            sync=name,
            place=Mortal(self.place, self.life),
            pointers=Mortal(self.pointers, self.life),  # type: ignore[arg-type]
            path=self._path(sync),
            pointer=self.pointers.take(name),
            now=lambda: self.clock + timedelta(seconds=1),
        )
        with taken.following():
            yield taken


TestTwoMachines = OnTwoMachines.TestCase
TestTwoMachines.settings = proven_in(10)


class Silent(SharedSnapshot):
    """Shares what was sent, and not what is about to be."""

    def intended(self) -> None:
        pass


class WithoutIntent(OnTwoMachines):
    """A mutant whose machines do not know what another one was about to send."""

    kind = Silent


def _people_change_back(machine: OnTwoMachines, steps: int) -> None:
    machine.put("people", "1", "1", "a")
    machine.put("people", "2", "2", "a")
    machine.run("people")
    machine.run_and_die("people", [("1", "1", "b")], steps)
    machine.lose_the_disk("a")
    machine.go_to("b")
    machine.put("people", "1", "1", "a")
    machine.run("people")
    machine.check_people()


def _an_object_leaves(machine: OnTwoMachines, steps: int) -> None:
    machine.put("accounts", "1", "1", "a")
    machine.put("accounts", "2", "2", "a")
    machine.run("accounts")
    machine.run_and_die("accounts", [("2", "2", "b")], steps)
    machine.lose_the_disk("a")
    machine.leave("accounts", "1", "1")
    machine.go_to("b")
    machine.run("accounts")
    machine.check_objects()


@pytest.mark.parametrize("history", [_people_change_back, _an_object_leaves])
def test_what_one_machine_sent_another_one_knows_wherever_it_died(history: Callable[..., None]) -> None:
    for steps in DEATHS:
        with ended(OnTwoMachines()) as machine:
            history(machine, steps)


def test_a_machine_that_does_not_share_what_it_is_about_to_send_leaves_a_store_wrong() -> None:
    wrong = 0
    for steps in DEATHS:
        with ended(WithoutIntent()) as machine, suppress(AssertionError):
            wrong += 1
            _people_change_back(machine, steps)
            wrong -= 1

    assert wrong > 0


class InTurns(OnTwoMachines):
    """Counts the rows that were in doubt when a run began."""

    doubted = 0

    @contextmanager
    def opened(self, sync: Sync) -> Iterator[Snapshot]:
        with super().opened(sync) as snapshot:
            self.doubted += snapshot.ledger.session.count("SELECT count(*) FROM in_doubt")
            yield snapshot

    def run_over_limits(self) -> None:
        self._run("accounts", allow_limits=True)

    def rows_of_accounts(self) -> dict[tuple[str, ...], str]:
        return {key: values[0] for key, values in self.syncs["accounts"].rows.items()}


@pytest.mark.timeout(1800)
def test_machines_that_take_turns_send_what_changed_and_what_is_in_doubt() -> None:
    random, changed = Random(17), 0
    with ended(InTurns()) as machine:
        for turn in range(200 if is_long() else 60):
            machine.go_to("ab"[turn % 2])
            before = machine.rows_of_accounts()
            for _ in range(random.randint(0, 8)):
                key = str(random.randint(1, 40))
                machine.put("accounts", key, key, random.choice("abc"))
            for _ in range(random.randint(0, MOST_REMOVED)):
                machine.leave("accounts", str(random.randint(1, 40)), "")
            now = machine.rows_of_accounts()
            changed += sum(before.get(key) != now.get(key) for key in before.keys() | now.keys())
            match random.choice(["well", "well", "dies", "loses an answer", "loses its disk"]):
                case "dies":
                    machine.run_and_die("accounts", [], random.randint(10, 50))
                case "loses an answer":
                    machine.run_and_lose_the_store("accounts", random.randint(0, 2), random.choice(["after", "reply"]))
                case "loses its disk":
                    machine.run_over_limits()
                    machine.lose_the_disk(machine.machine)
                case _:
                    machine.run_over_limits()
        machine.run_over_limits()
        machine.check_objects()

        assert len(machine.store.taken) <= 1.05 * changed + machine.doubted
        assert changed > 2 * machine.doubted > 0
