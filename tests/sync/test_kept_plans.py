"""What is kept of a plan, and that its run sends exactly that."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from syncer.definitions import folder
from syncer.model.errors import SelectionError, StoreError, SyncerError
from syncer.model.runs import Moved
from syncer.model.types import Changes, Entity, Order, Run, RunStatus, SyncDefinition, Trigger
from syncer.settings import settings
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from syncer.sync.kept_plans import KeptPlans
from syncer.sync.plans import Plan
from syncer.sync.progress import RunOptions
from syncer.sync.runner import Runner
from tests.conftest import seeds

Rows = dict[str, str | None]


@dataclass
class Shop:
    """A project with one sync, `people`, of an `id` and a `plan`, whose rows the test changes."""

    path: Path
    store_url: str
    header: str
    query: str = "SELECT id, plan FROM people"
    identity: str = "id"
    clock: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.path.joinpath("sync_definitions").mkdir()
        environment = {
            "SYNCER_STORES__DEFAULT__IDENTITY": self.identity,
            "SYNCER_WAREHOUSES__DEFAULT__URL": f"duckdb:///{self.path}/shop.duckdb",
            "SYNCER_STORES__DEFAULT__URL": self.store_url,
        }
        self.settings = settings.load(self.path, environment)
        self.settings.state_dir.mkdir()
        self.put({})
        self.database = StateDatabase(self.settings.database_url.get_secret_value())
        self.runner = Runner(settings=self.settings, run_log=RunLog(self.database), now=lambda: self.clock)

    @property
    def plans(self) -> KeptPlans:
        return KeptPlans.of(self.settings, lambda: self.clock, lambda: self.database)

    @property
    def definition(self) -> SyncDefinition:
        path = self.path / "sync_definitions/people.sql"
        path.write_text(f"/* sync\n{self.header}\n*/\n{self.query}\n")
        stores = self.settings.stores
        (found,) = folder.load(path.parent, warehouses=self.settings.warehouses, stores=stores).definitions
        return found

    def put(self, rows: Rows) -> None:
        """The rows of the warehouse."""
        with duckdb.connect(str(self.path / "shop.duckdb")) as connection:
            connection.execute("CREATE OR REPLACE TABLE people (id VARCHAR, plan VARCHAR)")
            if rows:
                connection.executemany("INSERT INTO people VALUES (?, ?)", list(rows.items()))

    def run(self, plan_id: str = "", **options: Any) -> Run:
        self.clock += timedelta(minutes=1)
        order = Order(trigger=Trigger.MANUAL)
        return self.runner.run(self.definition, order=order, options=RunOptions(plan=plan_id, **options))

    def plan(self) -> Plan:
        """A kept plan, with all of its rows as the sample."""
        return self.runner.plan(self.definition, sample_rows=1_000, also=self.plans.keep)

    def keep(self) -> str:
        """The id of a kept plan."""
        kept = self.plan().kept
        assert kept is not None
        return kept.plan_id

    @contextmanager
    def snapshot(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The sync's snapshot."""
        with duckdb.connect(str(self.settings.snapshots_dir / "people.duckdb")) as connection:
            yield connection

    def tables(self) -> dict[str, Any]:
        """What the snapshot has beside rows that were acknowledged."""
        with self.snapshot() as connection:
            found: dict[str, Any] = {
                name: connection.execute(f"FROM {name} ORDER BY k1").fetchall() for name in ("in_doubt", "rejections")
            }
            return found | {"meta": dict(connection.execute("FROM meta").fetchall())}

    def stored(self, keys: Rows) -> dict[str, Any]:
        """What the store has of these keys."""
        with closing(self.settings.stores["default"].open("default", started_at=self.clock)) as store:
            found = {key: store.show(Entity.PERSON, "id", key) for key in keys}
        return {key: shown["attributes"].get("plan") for key, shown in found.items() if shown is not None}


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Shop]]:
    made: list[Shop] = []

    def shop(header: str = "", *, store: str = "sqlite", **fields: Any) -> Shop:
        url = request.getfixturevalue("postgres_url") if store == "postgresql" else f"sqlite:///{tmp_path}/people.db"
        made.append(Shop(tmp_path, url, f"entity: person\nperson: {{id: id}}\n{header}", **fields))
        return made[-1]

    yield shop
    for each in made:
        each.database.close()


def difference(before: Rows, after: Rows) -> dict[str, str]:
    """Key to change."""
    found = {key: "added" if key not in before else "changed" for key in after if after[key] != before.get(key, "-")}
    return found | {key: "removed" for key in before if key not in after}


def edited(rows: Rows, chance: random.Random, keys: range, times: int) -> Rows:
    """*rows* with so many edits: new, other and lost ones."""
    found = dict(rows)
    for _ in range(times):
        key = str(chance.choice(keys))
        if chance.random() < 0.3:
            found.pop(key, None)
        else:
            found[key] = chance.choice(["free", "pro", "team", None])
    return found


@pytest.mark.parametrize(
    ("seed", "on_removed", "store"),
    [*((n, on, "sqlite") for n in seeds(1) for on in ("keep", "clear", "delete")), (3, "delete", "postgresql")],
)
def test_the_run_of_a_plan_sends_the_plan_and_nothing_else(
    make: Callable[..., Shop], seed: int, on_removed: str, store: str
) -> None:
    chance = random.Random(f"{seed} {on_removed}")
    shop = make(f"on_removed: {on_removed}\nlimits: {{removed: 100%}}", store=store)
    sent: Rows = edited({}, chance, range(12), 14)
    shop.put(sent)
    assert shop.run().status is RunStatus.SUCCESS
    for _ in range(3):
        seen = edited(sent, chance, range(16), 6)
        shop.put(seen)
        plan = shop.plan()
        assert {key: change for change, key, _, _ in plan.sample} == difference(sent, seen)
        # Keys of the plan are touched seldom, others often.
        touched = range(16) if chance.random() < 0.4 else range(20, 30)
        now = edited(seen, chance, touched, 3)
        shop.put(now)
        before = shop.stored(sent | now | seen)

        ended = shop.run(plan.kept.plan_id if plan.kept else "")

        planned = difference(sent, seen)
        moved = [key for key in planned if now.get(key, "-") != seen.get(key, "-")]
        if moved:
            assert (ended.status, sorted(ended.moved)) == (
                RunStatus.HELD,
                sorted(Moved(key, "warehouse") for key in moved),
            )
            assert ended.delivered == Changes()
            assert shop.stored(sent | now | seen) == before
        else:
            assert (ended.status, ended.moved) == (RunStatus.SUCCESS, ())
            kinds = list(planned.values())
            removed = kinds.count("removed") if on_removed != "keep" else 0
            assert ended.delivered == Changes(
                added=kinds.count("added"), changed=kinds.count("changed"), removed=removed
            )
            sent = {key: value for key, value in sent.items() if key not in planned} | {
                key: seen[key] for key in planned if key in seen
            }
        # What was not in the plan is still to be sent, and nothing else.
        assert {key: change for change, key, _, _ in shop.plan().sample} == difference(sent, now)
        left = shop.stored(sent | now | seen)
        assert {key: left[key] for key in sent} == dict(sent)
        assert all(
            key in before and left[key] == (None if on_removed == "clear" else before[key])
            for key in left.keys() - sent.keys()
        )
    shop.run()
    assert {key: value for key, value in shop.stored(now).items() if key in now} == dict(now)


def test_a_plan_works_once(make: Callable[..., Shop]) -> None:
    shop = make()
    shop.put({"1": "free"})
    plan_id = shop.keep()

    ended = shop.run(plan_id)

    assert (ended.status, ended.delivered) == (RunStatus.SUCCESS, Changes(added=1))
    assert [plan.used_by for plan in shop.plans.all()] == [ended.id]
    again = shop.run(plan_id)
    assert (again.status, again.cause and again.cause.message) == (
        RunStatus.FAILED,
        f"plan {plan_id} was used by the run {ended.id}: a plan works once",
    )


def test_of_two_runs_at_the_same_moment_one_uses_a_plan(make: Callable[..., Shop]) -> None:
    shop = make()
    shop.put({"1": "free"})
    plan = shop.plans.find(shop.keep(), "people")

    shop.plans.use(plan, "a")

    with pytest.raises(SelectionError, match="was used by another run"):
        shop.plans.use(plan, "b")


@pytest.mark.parametrize("plan_id", ["../../runs", "20260101T000000-0123456789ab", ""])
def test_an_unknown_plan_is_refused(make: Callable[..., Shop], plan_id: str) -> None:
    with pytest.raises(SelectionError):
        make().plans.find(plan_id, "people")


def test_an_expired_plan_is_refused_and_deleted(make: Callable[..., Shop]) -> None:
    shop = make()
    plan_id = shop.keep()
    assert shop.plans.delete_expired() == 0

    shop.clock += timedelta(days=1, hours=1)

    with pytest.raises(SelectionError, match=f"plan {plan_id} expired at"):
        shop.plans.find(plan_id, "people")
    assert shop.plans.all() == []
    assert shop.plans.delete_expired() == 2
    assert shop.plans.files.names() == {}


def test_a_folder_that_cannot_be_written_is_told(make: Callable[..., Shop]) -> None:
    shop = make()
    folder = shop.settings.state_dir / "plans"
    folder.write_text("no folder")

    with pytest.raises(SyncerError, match=f"the plan cannot be kept: .+: {folder}") as caught:
        shop.keep()

    assert "Free some space" in caught.value.hint


def test_a_plan_of_another_definition_or_store_is_out_of_date(make: Callable[..., Shop]) -> None:
    shop = make()
    shop.put({"1": "pro"})
    shop.run()
    shop.put({"1": "free"})
    plan_id, header = shop.keep(), shop.header

    shop.header += "\non_removed: delete"
    ended = shop.run(plan_id)
    assert (ended.status, ended.moved) == (RunStatus.HELD, (Moved(None, "definition"),))
    assert shop.plans.moved(plan_id, ended.id) == [Moved(None, "definition")]

    shop.header = header
    shop.path.joinpath("people.db").unlink()
    ended = shop.run(plan_id)
    assert (ended.status, ended.moved[0]) == (RunStatus.HELD, Moved(None, "snapshot"))
    assert shop.stored({"1": ""}) == {}


def test_a_plan_of_a_store_that_is_not_there_yet_makes_it(make: Callable[..., Shop]) -> None:
    shop = make()
    shop.put({"1": "free"})
    plans = [shop.keep(), shop.keep()]

    ended = [shop.run(plan) for plan in plans]

    assert [run.status for run in ended] == [RunStatus.SUCCESS, RunStatus.HELD]
    assert shop.stored({"1": ""}) == {"1": "free"}


def test_what_other_runs_sent_makes_a_plan_out_of_date(make: Callable[..., Shop]) -> None:
    shop = make()
    shop.put({"1": "free", "2": "free"})
    shop.run()
    shop.put({"1": "pro", "2": "pro", "3": "pro"})
    plan_id = shop.keep()

    shop.run(only=("2",))
    ended = shop.run(plan_id)

    assert (ended.status, ended.moved) == (RunStatus.HELD, (Moved("2", "snapshot"),))
    assert "1 row is not as planned any more, as other runs sent some of it" in (ended.error or "")
    shop.run()
    assert {row.why for row in shop.run(plan_id).moved} == {"snapshot"}


def test_a_column_that_changes_by_itself_is_named(make: Callable[..., Shop]) -> None:
    shop = make(query="SELECT id, plan, now()::VARCHAR AS seen_at FROM people")
    shop.put({"1": "free", "2": "free"})

    ended = shop.run(shop.keep())

    assert ended.moved == (Moved("1", "warehouse"), Moved("2", "warehouse"))
    assert "`seen_at` has another value in every row: if it changes by itself, as with `now()`" in (ended.error or "")
    assert "`plan`" not in (ended.error or "")

    shop.put({"1": "free"})
    assert "`seen_at`" in (shop.run(shop.keep()).error or "")
    shop.query = "SELECT id, plan FROM people"
    plan_id = shop.keep()
    shop.put({"1": "pro"})
    assert "`plan`" not in (shop.run(plan_id).error or "")


def test_people_whose_identifier_moves_after_a_plan_are_left_alone(make: Callable[..., Shop]) -> None:
    query = "SELECT id AS email, plan FROM people"
    shop = make("on_removed: delete\nlimits: {removed: 100%}", query=query, identity="id_or_email")
    shop.header = shop.header.replace("{id: id}", "{email: email}")
    shop.put({f"{name}@x.com": "free" for name in ("ann", "bob", "cat")})
    shop.run()
    shop.put({"ann@x.com": "free", "dan@x.com": "free"})
    plan = shop.plan()
    assert {key: change for change, key, _, _ in plan.sample} == {
        "bob@x.com": "removed",
        "cat@x.com": "removed",
        "dan@x.com": "added",
    }
    assert plan.kept is not None
    # Another program gives Bob's address to somebody else, and Bob a new one.
    with closing(sqlite3.connect(shop.path / "people.db")) as store:
        store.execute("UPDATE people SET email = 'new@x.com' WHERE email = 'bob@x.com'")
        store.execute("INSERT INTO people (email, attributes) VALUES ('bob@x.com', '{}')")
        store.commit()

    ended = shop.run(plan.kept.plan_id)

    assert ended.status in (RunStatus.SUCCESS, RunStatus.HELD)
    with closing(sqlite3.connect(shop.path / "people.db")) as store:
        left = {email for (email,) in store.execute("SELECT email FROM people")}
    # The number of the person says who got the row: it is the first Bob who goes, whatever he is called.
    assert left == (
        {"ann@x.com", "bob@x.com", "dan@x.com"}
        if ended.status is RunStatus.SUCCESS
        else {"ann@x.com", "new@x.com", "bob@x.com", "cat@x.com"}
    )


def test_another_column_of_the_result_makes_a_plan_out_of_date(make: Callable[..., Shop]) -> None:
    shop = make("on_removed: delete\nlimits: {removed: 100%}", query="SELECT * FROM people")
    shop.put({"1": "free", "2": "free"})
    shop.run()
    shop.put({"1": "free"})
    plan_id = shop.keep()
    with duckdb.connect(str(shop.path / "shop.duckdb")) as connection:
        connection.execute("ALTER TABLE people ADD COLUMN size INTEGER")

    assert shop.run(plan_id).moved == (Moved(None, "warehouse"),)


def test_a_plan_lifts_the_limits_that_it_showed_and_no_others(make: Callable[..., Shop]) -> None:
    shop = make("on_removed: delete\nlimits: {removed: 1, added: 100}")
    shop.put({str(n): "free" for n in range(30)})
    shop.run()
    shop.put({str(n): "free" for n in range(20)})
    plan_id = shop.keep()
    # What is added is in no plan, and the result is not empty.
    shop.put({str(n): "free" for n in [*range(20), *range(100, 300)]})

    ended = shop.run(plan_id)

    assert (ended.status, ended.delivered) == (RunStatus.SUCCESS, Changes(removed=10))
    assert shop.run().status is RunStatus.HELD

    shop.put({str(n): "free" for n in range(10)})
    plan_id = shop.keep()
    shop.put({})
    ended = shop.run(plan_id)
    assert ended.status is RunStatus.HELD
    assert (ended.error or "").startswith("the query returned no row, where the snapshot has 20")
    assert shop.plans.find(plan_id, "people")


def test_a_plan_of_an_empty_result_lifts_what_it_showed(make: Callable[..., Shop]) -> None:
    shop = make("on_removed: delete")
    rows: Rows = {str(n): "free" for n in range(30)}
    shop.put(rows)
    shop.run()
    shop.put({})
    plan = shop.plan()
    assert [one.kind for one in plan.exceeded] == ["empty", "removed"]
    assert plan.kept is not None

    assert shop.run(plan.kept.plan_id).delivered == Changes(removed=30)
    assert shop.stored(rows) == {}


def test_other_rows_stay_in_doubt_rejected_and_incremental(make: Callable[..., Shop]) -> None:
    query = "SELECT id, plan FROM people WHERE {{ last_sync_time }} >= 0"
    shop = make(query=query)
    shop.put({"1": "free", "2": "free", " ": "free"})
    shop.run()
    before = shop.tables()
    assert before["rejections"]
    assert before["meta"]["last_sync_time"]
    shop.put({"1": "pro", "2": "free"})
    plan_id = shop.keep()
    shop.put({"1": "pro", "2": "team", " ": "free", "\n": "free"})
    with shop.snapshot() as connection:
        connection.execute("INSERT INTO in_doubt (k1) VALUES ('2')")

    ended = shop.run(plan_id)

    assert (ended.status, ended.delivered) == (RunStatus.WARNING, Changes(changed=1))
    after = shop.tables()
    assert after["rejections"] == before["rejections"]
    assert after["in_doubt"] == [("2", None, None)]
    names = ("last_sync_time", "settled_definition", "settled_query", "whole_result_at")
    assert {name: after["meta"][name] for name in names} == {name: before["meta"][name] for name in names}
    assert shop.stored({"1": "", "2": ""}) == {"1": "pro", "2": "free"}


def test_a_run_of_a_plan_that_dies_leaves_rows_in_doubt_for_the_next_run(
    make: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make("on_removed: delete\nlimits: {removed: 100%}")
    shop.put({"1": "free", "2": "free"})
    shop.run()
    shop.put({"1": "pro"})
    plan_id = shop.keep()

    def fail(self: object, *_: object, **__: object) -> None:
        raise StoreError("the line is dead")

    with monkeypatch.context() as patched:
        patched.setattr("connectors.sqlite.store.SQLiteStore.apply", fail)
        assert shop.run(plan_id).status is RunStatus.FAILED
    assert [key for key, _, _ in shop.tables()["in_doubt"]] == ["1", "2"]
    assert shop.run(plan_id).status is RunStatus.FAILED

    assert shop.run().delivered == Changes(changed=1, removed=1)
    assert shop.stored({"1": "", "2": ""}) == {"1": "pro"}
