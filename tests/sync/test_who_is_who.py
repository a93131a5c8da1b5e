"""Syncs that know people by different identifiers, while the identifiers move from one person to another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.types import Entity, Identity, Limit, Limits, OnRemoved, PersonKey, SyncDefinition, Target
from syncer.settings.registry import open_store
from syncer.snapshot.snapshot import opened
from syncer.state.coordination import SharedCoordination
from syncer.state.database import StateDatabase
from syncer.sync.flow import SyncRun, catch_up, run_sync
from syncer.sync.plans import planned
from syncer.sync.progress import Progress, RunOptions
from tests.servers.table_warehouse import Table
from tests.workbench import definition

ANY = Limits(removed=Limit(share=1.0), cleared=Limit(share=1.0), allow_empty=True)
BY_ID = Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=("id",))
BY_EMAIL = Target(entity=Entity.PERSON, person_key=PersonKey.EMAIL, key_columns=("email",))
TEAMS = Target(entity=Entity.OBJECT, object_type="team", key_columns=("team",))
MEMBERS_BY_EMAIL = Target(
    entity=Entity.RELATIONSHIP, person_key=PersonKey.EMAIL, object_type="team", key_columns=("email", "team")
)

Rows = list[dict[str, str | None]]


@dataclass
class House:
    """A state folder, a store, and syncs whose results the test changes."""

    folder: Path
    store_url: str
    identity: Identity = Identity.ID_OR_EMAIL
    syncs: dict[str, SyncDefinition] = field(default_factory=dict)
    rows: dict[str, Rows] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)
    runs: int = 0

    def sync(self, name: str, target: Target, columns: str, on_removed: OnRemoved = OnRemoved.KEEP, **of: Any) -> None:
        self.syncs[name] = definition(name=name, target=target, on_removed=on_removed, limits=ANY, **of)
        self.columns[name], self.rows[name] = columns.split(), []

    def put(self, name: str, *rows: str) -> None:
        """The whole result: rows of texts, where `-` is NULL."""
        values = [[None if text == "-" else text for text in row.split()] for row in rows]
        self.rows[name] = [dict(zip(self.columns[name], row, strict=True)) for row in values]

    def run(self, *names: str) -> Progress:
        for name in names or self.syncs:
            progress = self._run(name)
        return progress

    def _run(self, name: str, *, plans: bool = False) -> Any:
        self.runs += 1
        progress, made = Progress(), self.syncs[name]
        schema = pa.schema([(column, pa.string()) for column in self.columns[name]])
        with (
            closing(StateDatabase(f"sqlite:///{self.folder}/runs.db")) as database,
            closing(open_store("default", self.store_url, identity=self.identity)) as store,
            opened(self.folder / f"{name}.duckdb", made, store.store_id) as snapshot,
        ):
            run_id = "" if plans else f"run-{self.runs}"
            coordination = SharedCoordination(database=database, sync=name, store_id=store.store_id, run_id=run_id)
            catch_up(snapshot, coordination, store)
            run = SyncRun(
                definition=made,
                sql="SELECT",
                warehouse=Table(pa.Table.from_pylist(self.rows[name], schema=schema)),
                snapshot=snapshot,
                store=store,
                options=RunOptions(),
                progress=progress,
            )
            if plans:
                return planned(run, sample_rows=10)
            at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=self.runs)
            run_sync(run, coordination=coordination, started_at=at)
        assert progress.counts.rejected == 0
        return progress

    def plan(self, name: str) -> Any:
        return self._run(name, plans=True)

    def person(self, key: str) -> dict[str, Any] | None:
        """By an id or an email."""
        with closing(open_store("default", self.store_url, identity=self.identity)) as store:
            found: dict[str, Any] | None = store.show(Entity.PERSON, "email" if "@" in key else "id", key)
        return found

    def attributes(self, key: str) -> dict[str, Any] | None:
        found = self.person(key)
        return found and found["attributes"]

    def teams(self, key: str) -> list[str]:
        found = self.person(key)
        return [related["object_id"] for related in found["relationships"]] if found else []


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    url = f"sqlite:///{tmp_path}/people.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    made = House(folder=tmp_path, store_url=url)
    made.sync("people", BY_ID, "id email")
    yield made


def swap(house: House) -> None:
    house.put("people", "1 bob@x.com", "2 ann@x.com")


@pytest.mark.parametrize("on_removed", [OnRemoved.CLEAR, OnRemoved.DELETE])
def test_a_row_follows_its_identifier_to_another_person(house: House, on_removed: OnRemoved) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", on_removed)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold", "bob@x.com tin")
    house.run()

    swap(house)
    house.run()

    assert house.attributes("1") == {"tier": "tin"}
    assert house.attributes("2") == {"tier": "gold"}
    house.put("tiers")
    house.run("tiers")
    left = [house.attributes(key) for key in ("1", "2")]
    assert left == ([None, None] if on_removed is OnRemoved.DELETE else [{}, {}])


def test_who_had_the_identifier_when_the_row_went_out_loses_what_it_gave(house: House) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.CLEAR)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold")
    house.run()

    swap(house)
    house.run("people")
    plan = house.plan("tiers")
    assert (plan.counts.removed, [row[0] for row in plan.sample]) == (1, ["removed"])
    house.run("tiers")

    assert house.attributes("1") == {}
    assert house.attributes("2") == {"tier": "gold"}
    assert house.run("tiers").counts.accepted == 0


@pytest.mark.parametrize("result_is_empty_at_once", [True, False])
def test_a_removal_reaches_who_got_the_row_and_nobody_else(house: House, result_is_empty_at_once: bool) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.DELETE)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold")
    house.run()

    swap(house)
    house.run("people")
    house.put("tiers")
    if not result_is_empty_at_once:
        house.put("people", "1 new@x.com", "2 ann@x.com")
        house.run("people")
    house.run("tiers")

    assert house.person("1") is None
    assert house.attributes("2") == {}
    house.run()
    assert house.attributes("1") == {}


@pytest.mark.parametrize("how", ["becomes NULL", "is cleared with its row", "is a new one"])
def test_an_identifier_that_is_taken_from_a_person_takes_the_row_along(house: House, how: str) -> None:
    house.sync("people", BY_ID, "id email", OnRemoved.CLEAR)
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.CLEAR, create=False)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold", "bob@x.com tin")
    house.run()

    rest = {"becomes NULL": ["1 -"], "is cleared with its row": [], "is a new one": ["1 new@x.com"]}[how]
    house.put("people", "2 bob@x.com", *rest)
    house.run()

    assert house.attributes("1") == {}
    assert house.attributes("2") == {"tier": "tin"}
    house.put("people", "2 bob@x.com", "3 ann@x.com", *[row for row in rest if "new" in row])
    house.run()
    assert house.attributes("3") == {"tier": "gold"}


def test_a_person_whose_new_identifier_has_the_same_row_keeps_it(house: House) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.DELETE)
    house.put("people", "1 ann@x.com")
    house.put("tiers", "ann@x.com gold")
    house.run()

    house.put("people", "1 ann@new.com")
    house.put("tiers", "ann@new.com gold")
    house.run()

    assert house.attributes("1") == {"tier": "gold"}
    assert house.person("ann@x.com") is None
    house.put("tiers")
    house.run("tiers")
    assert house.person("1") is None


def test_relationships_follow_the_identifier(house: House) -> None:
    house.sync("teams", TEAMS, "team")
    house.sync("members", MEMBERS_BY_EMAIL, "email team role", OnRemoved.DELETE)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("teams", "red", "blue")
    house.put("members", "ann@x.com red boss")
    house.run()

    swap(house)
    house.run()
    assert (house.teams("1"), house.teams("2")) == ([], ["red"])

    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.run("people")
    house.put("members")
    house.run("members")
    assert (house.teams("1"), house.teams("2")) == ([], [])


def test_a_row_that_goes_out_while_the_identifier_moves_leaves_nobody_behind(house: House) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.CLEAR)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold")
    house.run()
    house.put("tiers", "ann@x.com silver")

    # Once the sync has looked for moves, and before it sends.
    table = Table.query

    def query(self: Table, sql: str, **given: Any) -> Any:
        swap(house)
        house.run("people")
        return table(self, sql, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Table, "query", lambda self, sql, **given: (patch.undo(), query(self, sql, **given))[1])
        house.run("tiers")
    house.run("tiers")

    assert house.attributes("1") == {}
    assert house.attributes("2") == {"tier": "silver"}


@pytest.mark.parametrize("lead_is_older", [True, False])
def test_a_lead_who_becomes_a_customer_is_one_person(house: House, lead_is_older: bool) -> None:
    house.sync("leads", BY_EMAIL, "email plan source", OnRemoved.DELETE)
    house.sync("teams", TEAMS, "team")
    house.sync("members", MEMBERS_BY_EMAIL, "email team", OnRemoved.DELETE)
    house.sync("plans", BY_ID, "id plan")
    house.put("leads", "ann@x.com trial ad")
    house.put("teams", "red")
    house.put("members", "ann@x.com red")
    house.put("plans", "1 free")
    order = ["leads", "plans"] if lead_is_older else ["plans", "leads"]
    house.run(*order, "teams", "members")

    house.put("people", "1 ann@x.com")
    house.run("people")

    person = house.person("1")
    assert person is not None
    assert (person["id"], person["email"]) == ("1", "ann@x.com")
    assert person["attributes"] == {"plan": "trial" if lead_is_older else "free", "source": "ad"}
    assert house.teams("1") == ["red"]
    house.run()
    house.put("members")
    house.run("members")
    assert house.teams("1") == []
    house.put("leads")
    house.run("leads")
    assert house.person("1") is None


def test_an_upgraded_snapshot_takes_its_people_from_what_the_keys_name(house: House) -> None:
    house.sync("tiers", BY_EMAIL, "email tier", OnRemoved.DELETE)
    house.put("people", "1 ann@x.com", "2 bob@x.com")
    house.put("tiers", "ann@x.com gold")
    house.run()
    with _ledger(house, "tiers") as connection:
        connection.execute("UPDATE snapshot SET person = NULL")
        connection.execute("DELETE FROM meta WHERE name = 'moves_seen'")
    assert house.run("tiers").counts.accepted == 0

    swap(house)
    house.run("people")
    house.put("tiers")
    house.run("tiers")

    assert house.person("1") is None
    assert house.person("2") is not None


def _ledger(house: House, name: str) -> Any:
    import duckdb

    return duckdb.connect(str(house.folder / f"{name}.duckdb"))
