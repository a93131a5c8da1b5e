"""Any history of results, faults and deaths, after which one clean run is to make the store equal to the queries."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import duckdb
import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from syncer.model.errors import SyncerError
from syncer.model.protocols import ProfileStore, Warehouse
from syncer.model.types import (
    DeviceFields,
    Entity,
    Limit,
    Limits,
    ListAction,
    OnRemoved,
    PersonKey,
    Platform,
    Removed,
    SyncDefinition,
    Target,
)
from syncer.snapshot.diff import Difference
from syncer.snapshot.file_ledger import FileLedger
from syncer.snapshot.opening import opened
from syncer.snapshot.outbox import Outbox
from syncer.snapshot.snapshot import Snapshot, Staged
from syncer.state.coordination import SharedCoordination
from syncer.state.database import StateDatabase
from syncer.sync.coordination import catch_up
from syncer.sync.flow import SyncRun, run_sync
from syncer.sync.progress import HeldError, Progress, RunOptions
from tests.conftest import is_long
from tests.servers.fake_store import Key
from tests.servers.table_warehouse import Table

Machine = TypeVar("Machine", bound=RuleBasedStateMachine)

MOST_REMOVED = 3

#: In memory where the system has such a place: what is proven here is order, not the disk.
FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None


class StoreOnTrial(Protocol):
    """A store whose contents can be looked at."""

    #: Whether a relationship makes the ends that are missing, and is not refused until they are there.
    makes_ends: bool

    @property
    def store_id(self) -> str:
        """As the store has it."""

    @property
    def people(self) -> dict[str, dict[str, Any]]:
        """By id."""

    @property
    def objects(self) -> dict[Key, dict[str, Any]]:
        """By type and id."""

    @property
    def relationships(self) -> dict[Key, dict[str, Any]]:
        """By type, and ids of person and object."""

    @property
    def collections(self) -> dict[Key, dict[str, Any]]:
        """Rows, by name and key."""

    @property
    def suppressed(self) -> set[str]:
        """The ids of which nobody is made."""

    @property
    def devices(self) -> dict[str, dict[str, Any]]:
        """By token; each has its `person` beside its attributes."""

    def opened(self, started_at: datetime, life: Life) -> AbstractContextManager[ProfileStore]:
        """The store for one run, in a process of this life."""

    def mark(self) -> Any:
        """Where the store is in its history."""

    def written_since(self, mark: Any) -> bool:
        """Whether anything was sent."""

    def removed_since(self, mark: Any) -> int:
        """How many different rows were removed or cleared."""

    def close(self) -> None:
        """Let go of everything."""


class DeathError(BaseException):
    """The process is gone: nothing after it happens, not even what a `finally` says."""


@dataclass
class Mortal:
    """Passes every call on, until the process dies before or after the call it was told of."""

    inner: Any
    life: Life

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if not callable(value) or (isinstance(self.inner, Outbox) and name == "close"):
            # A process that dies takes the outbox's thread along.
            return Mortal(value, self.life) if isinstance(value, FileLedger) else value

        def call(*args: Any, **kwargs: Any) -> Any:
            self.life.step()
            result = value(*args, **kwargs)
            if isinstance(result, Iterator) and not isinstance(result, pa.RecordBatchReader):
                return self._stepped(result)
            self.life.step()
            if isinstance(result, Staged | Difference | Outbox):
                return Mortal(result, self.life)
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


def _sync(name: str, target: Target, on_removed: OnRemoved, value: str, **fields: Any) -> Sync:
    definition = SyncDefinition(
        name=name,
        path=Path(f"{name}.sql"),
        sql="SELECT",
        sql_line=1,
        target=target,
        on_removed=on_removed,
        limits=Limits(removed=Limit(count=MOST_REMOVED), allow_empty=True),
        **fields,
    )
    names = [*target.key_columns, value]
    return Sync(definition, pa.schema([(n, pa.string()) for n in names]))


def _person(key: str = "user_id") -> Target:
    return Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=(key,))


def _list(name: str, action: ListAction) -> Sync:
    made = _sync(name, replace(_person(), action=action), OnRemoved.KEEP, "requested")
    limits = Limits(deleted=Limit(count=MOST_REMOVED))
    return replace(made, definition=replace(made.definition, limits=limits))


def _syncs() -> dict[str, Sync]:
    return {
        "forgotten": _list("forgotten", ListAction.DELETE),
        "refused": _list("refused", ListAction.SUPPRESS),
        "forgiven": _list("forgiven", ListAction.UNSUPPRESS),
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
        "devices": _sync(
            "devices",
            Target(entity=Entity.DEVICE, person_key=PersonKey.ID, key_columns=("user_id", "token")),
            OnRemoved.DELETE,
            "model",
            device=DeviceFields(platform=Platform.IOS),
        ),
    }


IDS = st.sampled_from(["1", "2", "3", "4"])
VALUES = st.sampled_from(["a", "b", None])
NAMES = st.sampled_from(sorted(_syncs()))
#: How much of a run goes well before a fault.
AT = st.sampled_from([0, 0, 0, 1, 2])
#: Rows that were put before a run, so that it has something to send.
ROWS = st.lists(st.tuples(IDS, IDS, VALUES), max_size=4)
Rows = Sequence[tuple[str, str, str | None]]


class Convergence(RuleBasedStateMachine):
    """Analysts change tables, runs end in every way there is; a subclass gives the store and its faults."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="convergence-", dir=FOLDER))
        self.database = StateDatabase(f"sqlite:///{self.folder}/runs.db")
        self.store = self.new_store()
        self.syncs = _syncs()
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        #: The ids that were ever on these lists.
        self.ever_listed: dict[str, set[str]] = {"refused": set(), "forgiven": set()}
        #: Objects that a relationship may have made.
        self.ends: set[Key] = set()

    def new_store(self) -> StoreOnTrial:
        """An empty store."""
        raise NotImplementedError

    def teardown(self) -> None:
        self.store.close()
        self.database.close()
        shutil.rmtree(self.folder)

    # --- what analysts and customers do ----------------------------------------------------------------

    @rule(name=NAMES, first=IDS, second=IDS, value=VALUES)
    def put(self, name: str, first: str, second: str, value: str | None) -> None:
        self.syncs[name].rows[self._key(name, first, second)] = [value]
        if name in self.ever_listed:
            self.ever_listed[name].add(first)
        if name == "members" and self.store.makes_ends:
            self.ends.add(("account", second))

    def put_all(self, name: str, rows: Rows) -> None:
        """As so many calls of `put`."""
        for first, second, value in rows:
            self.put(name, first, second, value)

    @rule(name=NAMES, first=IDS, second=IDS)
    def leave(self, name: str, first: str, second: str) -> None:
        self.syncs[name].rows.pop(self._key(name, first, second), None)

    @rule(first=IDS, second=IDS, value=VALUES)
    def move(self, first: str, second: str, value: str | None) -> None:
        """A device changes hands."""
        rows = self.syncs["devices"].rows
        for key in [key for key in rows if key[1] == second]:
            del rows[key]
        self.put("devices", first, second, value)

    @rule(name=NAMES, first=IDS, second=IDS)
    def repeat_with_another_value(self, name: str, first: str, second: str) -> None:
        self.put(name, first, second, "a")
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

    @rule(name=NAMES, rows=ROWS, steps=st.integers(0, 50))
    def run_and_die(self, name: str, rows: Rows, steps: int) -> None:
        self.put_all(name, rows)
        with suppress(DeathError):
            self._run(name, life=Life(steps))

    @rule(again=NAMES)
    def run_all_cleanly(self, again: str) -> None:
        for name in self.syncs:
            self._run(name, allow_limits=True)
        self._check_store_equals_queries()
        mark = self.store.mark()
        # Each of them sooner or later: all of them at every time would take twice as long.
        self._run(again, allow_limits=True)

        assert not self.store.written_since(mark), "a run without a change sent something"

    # --- machinery ----------------------------------------------------------------------------------------

    @contextmanager
    def opened(self, sync: Sync) -> Iterator[Snapshot]:
        with opened(self._path(sync), sync.definition, self.store.store_id) as snapshot:
            yield snapshot

    @contextmanager
    def warehouse(self, sync: Sync, life: Life) -> Iterator[Warehouse]:
        """What has the result of a sync now."""
        yield Table(sync.result())

    def _path(self, sync: Sync) -> Path:
        return self.folder / f"{sync.definition.name}.duckdb"

    def coordination(self, sync: str, run_id: str) -> SharedCoordination:
        return SharedCoordination(database=self.database, sync=sync, store_id=self.store.store_id, run_id=run_id)

    def _run(self, name: str, *, life: Life | None = None, allow_limits: bool = False) -> None:
        sync = self.syncs[name]
        life = life or Life(None)
        self.clock += timedelta(hours=1)
        mark = self.store.mark()
        coordination = self.coordination(name, f"run of {self.clock}")
        with (
            suppress(SyncerError, HeldError),
            self.opened(sync) as held,
            self.store.opened(self.clock, life) as store,
            self.warehouse(sync, life) as warehouse,
        ):
            snapshot = Mortal(held, life)
            coordination.close_removals()
            catch_up(snapshot, coordination, store)  # type: ignore[arg-type]
            run_sync(
                SyncRun(
                    definition=sync.definition,
                    sql=sync.definition.sql,
                    warehouse=warehouse,
                    snapshot=snapshot,  # type: ignore[arg-type]
                    store=Mortal(store, life),
                    options=RunOptions(allow_limits=allow_limits),
                    progress=Progress(),
                ),
                coordination=Mortal(coordination, life),
                started_at=self.clock,
            )
        if not allow_limits and name not in ("devices", "forgiven"):
            # A device that moves is removed, and counts for no limit; whoever is forgiven is not removed.
            assert self.store.removed_since(mark) <= MOST_REMOVED, "a run removed more than its limit"

    def _valid(self, name: str) -> dict[Key, Any]:
        return {key: values[0] for key, values in self.syncs[name].rows.items() if len(values) == 1}

    def _listed(self, name: str) -> set[str]:
        return {key[0] for key in self.syncs[name].rows}

    def _set_aside(self, name: str) -> set[Key]:
        return {key for key, values in self.syncs[name].rows.items() if len(values) > 1}

    def _check_store_equals_queries(self) -> None:
        assert self._listed("refused") - self.ever_listed["forgiven"] <= self.store.suppressed
        assert self.store.suppressed <= self.ever_listed["refused"]
        assert not self.store.suppressed & self.store.people.keys()
        self._check_people("people", "plan")
        self._check_people("values", "ltv")
        self._check_objects()
        self._check_relationships()
        coupons = {
            ("coupons", *key): {"code": key[0], "discount": value} for key, value in self._valid("coupons").items()
        }
        self._check_devices()
        aside: set[Key] = {("coupons", *key) for key in self._set_aside("coupons")}
        assert {k: data for k, data in self.store.collections.items() if k not in aside} == coupons

    def _check_people(self, name: str, attribute: str) -> None:
        people, expected = self.store.people, {key[0]: value for key, value in self._valid(name).items()}
        set_aside = {key[0] for key in self._set_aside(name)}
        expected = {key: value for key, value in expected.items() if key not in self.store.suppressed}
        assert expected.keys() <= people.keys()
        held = {key: a.get(attribute) for key, a in people.items() if key not in set_aside}
        assert {k: v for k, v in held.items() if v is not None} == {k: v for k, v in expected.items() if v is not None}

    def _check_objects(self) -> None:
        accounts = {("account", key[0]): value for key, value in self._valid("accounts").items()}
        aside: set[Key] = {("account", key[0]) for key in self._set_aside("accounts")}
        held = {k: a.get("name") for k, a in self.store.objects.items() if k not in aside}
        made = {k for k, name in held.items() if k not in accounts and k in self.ends and name is None}
        assert {k: name for k, name in held.items() if k not in made} == accounts

    def _check_relationships(self) -> None:
        store = self.store
        members = {
            ("account", *key): value
            for key, value in self._valid("members").items()
            if key[0] not in store.suppressed
            if store.makes_ends or (key[0] in store.people and ("account", key[1]) in store.objects)
        }
        aside: set[Key] = {("account", *key) for key in self._set_aside("members")}
        assert {k: a.get("role") for k, a in store.relationships.items() if k not in aside} == members

    def _check_devices(self) -> None:
        owners = Counter(token for _, token in self.syncs["devices"].rows)
        aside = {token for _, token in self._set_aside("devices")} | {t for t, people in owners.items() if people > 1}
        expected = {
            token: (person, value)
            for (person, token), value in self._valid("devices").items()
            if token not in aside and person not in self.store.suppressed
        }
        held = {token: (one["person"], one.get("model")) for token, one in self.store.devices.items()}
        assert {token: one for token, one in held.items() if token not in aside} == expected


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


class Unheard(SharedCoordination):
    """Hears of no removal."""

    @contextmanager
    def removed_since(self, seq: int) -> Iterator[Removed]:
        yield Removed()


class WithoutReach(Convergence):
    """A mutant whose removals stay unknown to the other syncs of the store."""

    def coordination(self, sync: str, run_id: str) -> SharedCoordination:
        return Unheard(database=self.database, sync=sync, store_id=self.store.store_id, run_id=run_id)


@contextmanager
def ended(machine: Machine) -> Iterator[Machine]:
    """A machine that leaves nothing behind."""
    try:
        yield machine
    finally:
        machine.teardown()


def proven_in(examples: int) -> settings:
    """How far a machine goes: so many *examples*, or as `pytest --hypothesis-profile=long` has it."""
    if is_long():
        examples = 2000
    return settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
