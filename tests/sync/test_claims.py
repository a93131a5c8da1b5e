"""Two machines with snapshots of their own, one run log and one store."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.errors import SyncerError
from syncer.model.types import Limit, Limits, OnRemoved, SyncDefinition
from syncer.snapshot.opening import opened
from syncer.state.coordination import SharedCoordination, forget_removals
from syncer.state.database import StateDatabase
from syncer.sync.coordination import catch_up
from syncer.sync.flow import SyncRun, run_sync
from syncer.sync.progress import HeldError, Progress, RunOptions, StoppedError
from tests.conftest import seeds
from tests.removals import announce, look, people
from tests.servers.fake_store import FakeStore
from tests.servers.table_warehouse import Table
from tests.workbench import COUPON, definition

ANY = Limits(removed=Limit(share=1.0), allow_empty=True)


@dataclass
class World:
    """What the machines share: the store, the run log, and the result of the query."""

    folder: Path
    database: StateDatabase
    definition: SyncDefinition
    store: FakeStore = field(default_factory=lambda: FakeStore(batch_rows=2))
    rows: dict[str, str] = field(default_factory=dict)
    clock: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    runs: int = 0

    def held(self) -> dict[str, Any]:
        """What the store holds of the sync."""
        return {key: attributes.get("plan") for key, attributes in self.store.people.items()}

    def result(self) -> pa.Table:
        key = self.definition.target.key_columns[0]
        return pa.table(
            {key: pa.array(self.rows.keys(), pa.string()), "plan": pa.array(self.rows.values(), pa.string())}
        )

    def run(self, machine: str, *, at_batch: Callable[[], None] | None = None, **options: Any) -> Progress:
        """One run on a machine; *at_batch* is called once, when the first batch is on its way."""
        self.clock += timedelta(hours=1)
        self.runs += 1
        progress = Progress()
        coordination = self.coordination(self.definition.name, run_id=f"run-{self.runs}")
        with opened(self.file(machine), self.definition, self.store.store_id) as held:
            catch_up(held, coordination, self.store)
            self.last_sync_time = held.known.last_sync_time
            run_sync(
                SyncRun(
                    definition=self.definition,
                    sql="SELECT",
                    warehouse=Table(self.result()),
                    snapshot=held,
                    store=Interrupting(self.store, at_batch) if at_batch else self.store,
                    options=RunOptions(**options),
                    progress=progress,
                ),
                coordination=coordination,
                started_at=self.clock,
            )
        return progress

    def coordination(self, sync: str, run_id: str = "") -> SharedCoordination:
        return SharedCoordination(database=self.database, sync=sync, store_id=self.store.store_id, run_id=run_id)

    def file(self, machine: str) -> Path:
        return self.folder / machine / f"{self.definition.name}.duckdb"


class Interrupting:
    """A store whose first batch is stalled while something else happens, and then arrives."""

    def __init__(self, store: FakeStore, meanwhile: Callable[[], None]) -> None:
        self._store = store
        self._meanwhile: Callable[[], None] | None = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def apply(self, *arguments: Any, **options: Any) -> pa.Table:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return self._store.apply(*arguments, **options)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[StateDatabase]:
    database = StateDatabase(f"sqlite:///{tmp_path}/runs.db")
    yield database
    database.close()


@pytest.fixture
def world(tmp_path: Path, database: StateDatabase) -> World:
    made = definition(on_removed=OnRemoved.DELETE, limits=ANY)
    return World(folder=tmp_path, database=database, definition=made, rows={"1": "free", "2": "pro", "3": "free"})


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_claim_is_made_after_the_newest_one_only(
    database: StateDatabase, kind: str, request: pytest.FixtureRequest
) -> None:
    shared = database if kind == "sqlite" else StateDatabase(request.getfixturevalue("postgres_url"))
    first, second, third = (
        SharedCoordination(database=shared, sync="people", store_id="a store", run_id=run_id) for run_id in "123"
    )

    assert first.newest_claim() == ""
    assert first.claim(after="")
    assert not second.claim(after="")
    assert second.claim(after="1")
    assert not third.claim(after="1")
    assert second.confirm()
    assert first.newest_claim() == "2"
    assert not first.confirm()
    assert first.newest_claim() == "1 was overtaken"
    shared.close()


def test_a_machine_that_sends_on_is_never_out_of_date(world: World) -> None:
    first = world.run("a")
    world.rows["1"] = "pro"
    second = world.run("a")

    assert (first.counts.accepted, second.counts.accepted) == (3, 1)
    assert first.notes == second.notes == []


def test_a_value_that_another_machine_changed_and_that_came_back_is_sent(world: World) -> None:
    world.run("a")
    world.run("b")
    world.rows["1"] = "pro"
    world.run("a")
    world.rows["1"] = "free"

    progress = world.run("b")

    assert world.held() == world.rows
    assert progress.counts.accepted == 3
    assert any("out of date" in note for note in progress.notes)
    assert world.run("b").counts.accepted == 0


def test_a_machine_without_a_snapshot_sends_every_row_and_removes_nothing(world: World) -> None:
    world.run("a")
    del world.rows["3"]

    progress = world.run("b")

    assert (progress.counts.accepted, progress.counts.removed) == (2, 0)
    assert progress.notes == ["there is no snapshot here of what was sent before: every row is sent"]
    assert world.held() == world.rows | {"3": "free"}


def test_what_an_outdated_snapshot_knows_and_the_result_has_not_is_removed_by_the_run_after(world: World) -> None:
    world.run("b")
    world.run("a")
    del world.rows["3"]

    rebuilding, next_one = world.run("b"), world.run("b")

    assert (rebuilding.counts.removed, next_one.counts.removed) == (0, 1)
    assert world.held() == world.rows


def test_rows_of_a_collection_are_removed_at_once(world: World) -> None:
    world.definition = definition(target=COUPON, limits=ANY)
    world.run("b")
    world.run("a")
    del world.rows["3"]

    world.run("b")

    assert {code for _, code in world.store.collections} == {"1", "2"}


def test_an_incremental_query_is_asked_for_everything_and_old_values_are_not_sent(world: World) -> None:
    world.definition = replace(world.definition, incremental=True)
    world.run("b")
    world.rows = {"1": "pro", "2": "pro"}
    world.run("a")
    world.rows["3"] = "pro"
    world.run("a")
    del world.rows["3"]

    world.run("b")

    assert world.last_sync_time == 0
    assert world.held() == {"1": "pro", "2": "pro", "3": "pro"}
    world.rows = {}
    assert world.run("b").counts.accepted == 0
    assert world.last_sync_time > 0


def test_a_held_run_leaves_the_snapshot_out_of_date(world: World) -> None:
    world.run("b")
    world.rows["1"] = "pro"
    world.run("a")
    world.definition = replace(world.definition, limits=Limits(changed=Limit(count=0)))
    world.rows["2"] = "free"
    with pytest.raises(HeldError):
        world.run("b")
    world.rows |= {"1": "free", "2": "pro"}

    world.run("b")

    assert world.held() == world.rows


def test_a_run_of_one_row_leaves_the_others_in_doubt(world: World) -> None:
    world.run("b")
    world.rows["1"] = "pro"
    world.run("a")
    world.rows["1"] = "free"
    world.run("b", only=("2",))

    assert world.held()["1"] == "pro"
    world.run("b")
    assert world.held() == world.rows


@pytest.mark.parametrize("dies", ["before the claim", "after the claim"])
def test_a_run_that_dies_about_its_claim_costs_no_change(
    world: World, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    world.run("a")
    claim = SharedCoordination.claim

    def die(self: SharedCoordination, **options: Any) -> bool:
        if dies == "after the claim":
            claim(self, **options)
        raise SyncerError("dies")

    world.rows["1"] = "pro"
    with monkeypatch.context() as patched:
        patched.setattr(SharedCoordination, "claim", die)
        with pytest.raises(SyncerError):
            world.run("a")
    world.rows["1"] = "free"

    progress = world.run("a")

    assert world.held() == world.rows
    assert progress.counts.accepted == 1
    assert progress.notes[0] == "the last run of this sync did not end; what it had no answer for is sent again"


def test_a_run_that_was_overtaken_before_it_sent_sends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run("a")
    world.rows["1"] = "stale"
    claim = SharedCoordination.claim

    def overtaken(self: SharedCoordination, **options: Any) -> bool:
        monkeypatch.setattr(SharedCoordination, "claim", claim)
        world.rows["1"] = "newest"
        world.run("b")
        return claim(self, **options)

    monkeypatch.setattr(SharedCoordination, "claim", overtaken)
    with pytest.raises(StoppedError):
        world.run("a")

    assert world.held() == world.rows
    assert world.run("b").counts.accepted == 0


@pytest.mark.parametrize("then", ["a", "b"])
def test_a_batch_that_arrives_after_a_newer_run_is_made_good_by_the_next_one(world: World, then: str) -> None:
    world.run("a")
    world.run("b")

    def newer_run() -> None:
        world.rows = {"1": "newest", "2": "pro", "3": "free"}
        world.run("b")

    world.rows["1"] = "stale"
    stalled = world.run("a", at_batch=newer_run)

    assert world.held()["1"] == "stale"
    assert stalled.notes[-1] == "another run sent rows at the same time: the next one sends every row again"
    world.run(then)
    assert world.held() == world.rows
    assert world.run(then).counts.accepted == 0


def test_what_an_overtaken_run_deleted_is_told_to_other_syncs_once_more(world: World) -> None:
    world.run("a")
    another, seen = world.coordination("another"), 0

    def newer_run() -> None:
        nonlocal seen
        world.run("b")
        _, seen = look(another, 0)

    del world.rows["3"]
    world.run("a", at_batch=newer_run)

    for _ in range(2):
        assert look(another, seen, people("3"))[0] == people("3")


def test_what_was_removed_and_forgotten_since_the_last_run_is_sent_again(world: World) -> None:
    world.run("a")
    another = world.coordination("another")
    for person in ("2", "3"):
        announce(another, people(person))
        del world.store.people[person]
        another.close_removals()
        if person == "2":
            forget_removals(world.database, datetime.now(UTC) + timedelta(hours=1))

    ran = world.run("a")

    assert world.held() == world.rows
    assert world.last_sync_time == 0, "an incremental query would not return what it returned before"
    assert any("forgotten" in note for note in ran.notes)
    assert world.run("a").counts.accepted == 0
    assert world.last_sync_time > 0


def test_a_run_that_fails_does_not_forget_that_every_row_is_in_doubt(world: World) -> None:
    world.run("a")
    another = world.coordination("another")
    announce(another, people("2"))
    del world.store.people["2"]
    another.close_removals()
    forget_removals(world.database, datetime.now(UTC) + timedelta(hours=1))

    with opened(world.file("a"), world.definition, world.store.store_id) as held:
        catch_up(held, world.coordination(world.definition.name, run_id="dies"), world.store)

    world.run("a")
    assert world.last_sync_time == 0
    assert world.held() == world.rows


@pytest.mark.parametrize("seed", seeds(3))
def test_no_old_snapshot_loses_a_change(world: World, seed: int, tmp_path: Path) -> None:
    """Machines take turns, files are put back as they were, lost, or cut; the store ends as the query says."""
    chance = random.Random(seed)
    world.definition = replace(world.definition, on_removed=chance.choice([OnRemoved.CLEAR, OnRemoved.DELETE]))
    kept: dict[str, list[Path]] = {"a": [], "b": []}
    left: set[str] = set()
    for _ in range(40):
        machine = chance.choice(["a", "b"])
        file = world.file(machine)
        match chance.choice(["change", "change", "run", "run", "run", "stall", "copy", "put back", "lose"]):
            case "change":
                key = chance.choice("12345")
                world.rows.pop(key, None)
                left.add(key)
                if chance.random() < 0.7:
                    world.rows[key] = chance.choice(["free", "pro"])
            case "run":
                world.run(machine)
            case "stall":
                with suppress(StoppedError):
                    world.run(machine, at_batch=lambda: _flip_and_run(world, chance))
            case "copy" if file.exists():
                copy = tmp_path / f"{machine}-{len(kept[machine])}"
                shutil.copy(file, copy)
                kept[machine].append(copy)
            case "put back" if kept[machine]:
                shutil.copy(chance.choice(kept[machine]), file)
            case "lose":
                file.unlink(missing_ok=True)
    world.run("a")
    world.run("a")

    held = world.held()
    assert {key: held[key] for key in world.rows} == world.rows
    assert {key for key, plan in held.items() if plan is not None} <= world.rows.keys() | left
    assert world.run("a").counts.accepted == 0


def _flip_and_run(world: World, chance: random.Random) -> None:
    for key in world.rows:
        world.rows[key] = chance.choice(["free", "pro"])
    with suppress(StoppedError):
        world.run("c")
