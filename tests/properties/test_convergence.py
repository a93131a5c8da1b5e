"""After any history of results, faults and deaths, one clean run makes the store equal to the query."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from syncer import snapshot as snapshots
from syncer.errors import SyncerError
from syncer.flow import HeldError, Options, Progress, run_sync
from syncer.removals import Removals
from syncer.runner import StoreRemovals
from syncer.snapshot import Snapshot
from syncer.state_database import StateDatabase
from syncer.types import (
    Entity,
    Limit,
    Limits,
    OnNull,
    OnRemoved,
    PersonKey,
    SyncDefinition,
    Target,
)
from tests.fake_store import FakeStore, Key
from tests.table_warehouse import Table

pytestmark = pytest.mark.timeout(900)

MOST_REMOVED = 3

#: In memory where the system has such a place: what is proven here is order, not the disk.
FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None


class DeathError(BaseException):
    """The process is gone: nothing after it happens, not even what a `finally` says."""


@dataclass
class Mortal:
    """Passes every call on, until the process dies before or after the call it was told of."""

    inner: Any
    life: Life

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self.life.step()
            result = value(*args, **kwargs)
            if isinstance(result, Iterator):
                return self._stepped(result)
            self.life.step()
            return result

        return call

    def _stepped(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            self.life.step()
            yield item


@dataclass
class Life:
    """Steps until the process dies; None lives on."""

    steps: int | None

    def step(self) -> None:
        if self.steps is None:
            return
        if self.steps <= 0:
            raise DeathError
        self.steps -= 1


@dataclass
class Sync:
    definition: SyncDefinition
    schema: pa.Schema
    #: Rows by key; several values under one key are an ambiguous key.
    rows: dict[Key, list[Any]] = field(default_factory=dict)

    def result(self) -> pa.Table:
        rows = [(*key, value) for key, values in self.rows.items() for value in values]
        return pa.table([[row[i] for row in rows] for i in range(len(self.schema))], schema=self.schema)


def _sync(name: str, target: Target, on_removed: OnRemoved, value: str, on_null: OnNull = OnNull.CLEAR) -> Sync:
    definition = SyncDefinition(
        name=name,
        path=Path(f"{name}.sql"),
        sql="SELECT",
        sql_line=1,
        target=target,
        on_removed=on_removed,
        on_null=on_null,
        limits=Limits(removed=Limit(count=MOST_REMOVED), allow_empty=True),
    )
    names = [*target.key_columns, value]
    return Sync(definition, pa.schema([(n, pa.string()) for n in names]))


def _person(key: str = "user_id") -> Target:
    return Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=(key,))


def _syncs() -> dict[str, Sync]:
    return {
        "people": _sync("people", _person(), OnRemoved.DELETE, "plan"),
        "values": _sync("values", _person(), OnRemoved.CLEAR, "ltv"),
        "accounts": _sync(
            "accounts",
            Target(entity=Entity.OBJECT, object_type="account", key_columns=("account_id",)),
            OnRemoved.DELETE,
            "name",
        ),
        "members": _sync(
            "members",
            Target(
                entity=Entity.RELATIONSHIP,
                person_key=PersonKey.ID,
                key_columns=("user_id", "account_id"),
                object_type="account",
            ),
            OnRemoved.DELETE,
            "role",
        ),
        "coupons": _sync(
            "coupons",
            Target(entity=Entity.COLLECTION, collection="coupons", key_columns=("code",)),
            OnRemoved.KEEP,
            "discount",
        ),
    }


IDS = st.sampled_from(["1", "2", "3", "4"])
VALUES = st.sampled_from(["a", "b", None])
NAMES = st.sampled_from(sorted(_syncs()))


class Convergence(RuleBasedStateMachine):
    """Analysts change tables, runs end in every way there is."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="convergence-", dir=FOLDER))
        self.database = StateDatabase(f"sqlite:///{self.folder}/runs.db")
        self.removals = Removals(self.database)
        self.store = FakeStore()
        self.syncs = _syncs()
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder)

    # --- what analysts and customers do ----------------------------------------------------------------

    @rule(name=NAMES, first=IDS, second=IDS, value=VALUES)
    def put(self, name: str, first: str, second: str, value: str | None) -> None:
        self.syncs[name].rows[self._key(name, first, second)] = [value]

    @rule(name=NAMES, first=IDS, second=IDS)
    def leave(self, name: str, first: str, second: str) -> None:
        self.syncs[name].rows.pop(self._key(name, first, second), None)

    @rule(name=NAMES, first=IDS, second=IDS)
    def repeat_with_another_value(self, name: str, first: str, second: str) -> None:
        self.syncs[name].rows[self._key(name, first, second)] = ["a", "b"]

    @rule(name=NAMES)
    def empty(self, name: str) -> None:
        self.syncs[name].rows.clear()

    def _key(self, name: str, first: str, second: str) -> Key:
        return (first, second)[: len(self.syncs[name].definition.target.key_columns)]

    # --- how runs end -------------------------------------------------------------------------------------

    @rule(name=NAMES)
    def run(self, name: str) -> None:
        self._run(name)

    @rule(behind=st.integers(0, 3))
    def answer_late(self, behind: int) -> None:
        self.store.behind = behind

    @rule(name=NAMES, batches=st.integers(0, 3), fault=st.sampled_from(["before", "after", "reply"]))
    def run_and_lose_the_store(self, name: str, batches: int, fault: str) -> None:
        self.store.strikes_at, self.store.fault = batches, fault
        self._run(name)
        self.store.strikes_at = None

    @rule(name=NAMES, refused=IDS)
    def run_and_refuse(self, name: str, refused: str) -> None:
        self.store.refuses = lambda key: key[0] == refused
        self._run(name)
        self.store.refuses = lambda key: False

    @rule(name=NAMES, steps=st.integers(0, 40))
    def run_and_die(self, name: str, steps: int) -> None:
        with suppress(DeathError):
            self._run(name, life=Life(steps))

    @rule()
    def run_all_cleanly(self) -> None:
        for name in self.syncs:
            self._run(name, allow_limits=True)
        self._check_store_equals_queries()
        before = len(self.store.taken)
        for name in self.syncs:
            self._run(name, allow_limits=True)

        assert self.store.taken[before:] == [], "a run without a change sent something"

    @invariant()
    def at_rest_nothing_is_held_open(self) -> None:
        assert self.store.strikes_at is None

    # --- machinery ----------------------------------------------------------------------------------------

    @contextmanager
    def opened(self, sync: Sync) -> Iterator[Snapshot]:
        with snapshots.opened(self._path(sync), sync.definition, self.store.store_id) as snapshot:
            yield snapshot

    def _path(self, sync: Sync) -> Path:
        return self.folder / f"{sync.definition.name}.duckdb"

    def take_in_removals(self, snapshot: Any, sync: str) -> None:
        log_id = self.database.log_id
        removed, newest = self.removals.since(self.store.store_id, snapshot.removals_seen(log_id), except_sync=sync)
        snapshot.doubt_removed(removed, log_id=log_id, seen=newest)

    def _run(self, name: str, *, life: Life | None = None, allow_limits: bool = False) -> None:
        sync = self.syncs[name]
        life = life or Life(None)
        self.clock += timedelta(hours=1)
        removed_before = self._removed()
        removals = StoreRemovals(removals=self.removals, store_id=self.store.store_id, sync=name)
        with self.opened(sync) as held, suppress(SyncerError, HeldError):
            snapshot = Mortal(held, life)
            removals.close()
            self.take_in_removals(snapshot, name)
            run_sync(
                sync.definition,
                "SELECT",
                warehouse=Table(sync.result()),
                snapshot=snapshot,  # type: ignore[arg-type]
                store=Mortal(self.store, life),
                removals=Mortal(removals, life),
                started_at=self.clock,
                options=Options(allow_limits=allow_limits),
                progress=Progress(),
            )
        if not allow_limits:
            assert self._removed() - removed_before <= MOST_REMOVED, "a run removed more than its limit"

    def _removed(self) -> int:
        return sum(action != "put" for action, _ in self.store.taken)

    def _valid(self, name: str) -> dict[Key, Any]:
        return {key: values[0] for key, values in self.syncs[name].rows.items() if len(values) == 1}

    def _set_aside(self, name: str) -> set[Key]:
        return {key for key, values in self.syncs[name].rows.items() if len(values) > 1}

    def _check_store_equals_queries(self) -> None:
        store = self.store
        for name, attribute in (("people", "plan"), ("values", "ltv")):
            expected = {key[0]: value for key, value in self._valid(name).items()}
            set_aside = {key[0] for key in self._set_aside(name)}
            assert expected.keys() <= store.people.keys()
            held = {key: a.get(attribute) for key, a in store.people.items() if key not in set_aside}
            assert {k: v for k, v in held.items() if v is not None} == {
                k: v for k, v in expected.items() if v is not None
            }
        accounts = {("account", key[0]): value for key, value in self._valid("accounts").items()}
        aside: set[Key] = {("account", key[0]) for key in self._set_aside("accounts")}
        assert {k: a.get("name") for k, a in store.objects.items() if k not in aside} == accounts
        members = {
            ("account", *key): value
            for key, value in self._valid("members").items()
            if key[0] in store.people and ("account", key[1]) in store.objects
        }
        aside = {("account", *key) for key in self._set_aside("members")}
        assert {k: a.get("role") for k, a in store.relationships.items() if k not in aside} == members
        coupons = {
            ("coupons", *key): {"code": key[0], "discount": value} for key, value in self._valid("coupons").items()
        }
        aside = {("coupons", *key) for key in self._set_aside("coupons")}
        assert {k: data for k, data in store.collections.items() if k not in aside} == coupons


class WithoutOutbox(Convergence):
    """A mutant that writes nothing down before it sends: what has no answer is forgotten."""

    @contextmanager
    def opened(self, sync: Sync) -> Iterator[Snapshot]:
        if self._path(sync).exists():
            with duckdb.connect(str(self._path(sync))) as connection:
                connection.execute("DROP TABLE IF EXISTS outbox")
                connection.execute("DROP TABLE IF EXISTS verdicts")
                connection.execute("CREATE TABLE IF NOT EXISTS in_doubt (k1 VARCHAR)")
                connection.execute("DELETE FROM in_doubt")
        with super().opened(sync) as snapshot:
            yield snapshot


class WithoutReach(Convergence):
    """A mutant whose removals stay unknown to the other syncs of the store."""

    def take_in_removals(self, snapshot: Any, sync: str) -> None: ...


SETTINGS = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)

TestConvergence = Convergence.TestCase
TestConvergence.settings = SETTINGS


def _a_lost_reply_and_a_value_that_goes_back(machine: Convergence) -> None:
    machine.put("people", "1", "1", "a")
    machine.run_all_cleanly()
    machine.put("people", "1", "1", "b")
    machine.run_and_lose_the_store("people", 0, "after")
    machine.put("people", "1", "1", "a")
    machine.run_all_cleanly()


def _a_removal_by_one_sync_of_what_another_feeds(machine: Convergence) -> None:
    machine.put("people", "1", "1", "a")
    machine.put("values", "1", "1", "b")
    machine.run_all_cleanly()
    machine.leave("people", "1", "1")
    machine.run_all_cleanly()


@pytest.mark.parametrize(
    ("history", "mutant"),
    [
        (_a_lost_reply_and_a_value_that_goes_back, WithoutOutbox),
        (_a_removal_by_one_sync_of_what_another_feeds, WithoutReach),
    ],
)
def test_the_property_holds_for_syncer_and_fails_for_a_mutant(
    history: Callable[[Convergence], None], mutant: type[Convergence]
) -> None:
    history(Convergence())
    with pytest.raises(AssertionError):
        history(mutant())
