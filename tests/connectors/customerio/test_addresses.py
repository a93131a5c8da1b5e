"""Where a workspace keeps what a sync feeds is in the settings: another number of an object's type, another key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from connectors.customerio.options import Via
from syncer.model.types import Counts, Entity, OnRemoved, Target
from syncer.settings.registry import open_store
from tests.connectors.customerio.test_flow import MEMBER, Bench
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.sync.house import BY_ID, TEAMS, House
from tests.workbench import COUPON, table

ACCOUNT = Target(entity=Entity.OBJECT, object_type="account", key_columns=("id",))
ELSEWHERE = "by the store's settings, {} are kept elsewhere than before: every row is sent, and nothing is removed"


@pytest.fixture
def server() -> Iterator[CustomerIOServer]:
    with customerio_server() as running:
        yield running


@pytest.fixture
def other() -> Iterator[CustomerIOServer]:
    """Another workspace, with keys of its own."""
    with customerio_server(app_api_key="other-app-secret", cdp_api_key="other-cdp-secret") as running:
        yield running


class Settings(Bench):
    """A bench of which the test changes the store's settings."""

    options: Mapping[str, Any] = MappingProxyType({})

    @contextmanager
    def connected(self) -> Iterator[None]:
        options = self.server.options(**self.options)
        store = open_store("crm", "customerio://us", identity=self.identity, options=options, started_at=self.clock)
        self.store = store  # type: ignore[assignment]
        yield
        store.close()


@pytest.fixture
def bench(tmp_path: Path, server: CustomerIOServer) -> Settings:
    bench = Settings(tmp_path)
    bench.server = server
    return bench


def types(number: str) -> dict[str, Any]:
    return {"object_types": {"account": number}}


@pytest.mark.parametrize("target", [ACCOUNT, MEMBER], ids=lambda target: target.entity)
def test_another_number_of_an_objects_type_gets_every_row(
    bench: Settings, server: CustomerIOServer, target: Target
) -> None:
    bench.adjust(target=target, on_removed=OnRemoved.DELETE)
    rows = table({"id": ["a", "b"], "account_id": ["a", "b"], "n": [1, 2]})
    before = "1"
    for number, sent in (("1", 2), ("1", 0), ("2", 2), ("2", 0), ("1", 2)):
        bench.options = types(number)
        progress = bench.feed(rows)

        assert progress.counts.accepted == sent
        said = ELSEWHERE.format(target.words)
        assert any(note.startswith(said) for note in progress.notes) == (number != before)
        before = number
    assert {key for _, key in server.workspace.objects} == {"a", "b"}
    assert len(server.workspace.objects) == 4


def through(server: CustomerIOServer) -> dict[str, Any]:
    """Settings by which people go through the Pipelines API of a workspace, and collections through its App API."""
    workspace = server.workspace
    return {
        "via": Via.PIPELINES,
        "cdp_url": server.address,
        "cdp_api_key": workspace.cdp_api_key,
        "app_url": server.address,
        "app_api_key": workspace.app_api_key,
    }


@pytest.mark.parametrize("before", ["track", "pipelines"])
def test_a_pipelines_key_of_another_workspace_gets_everybody(
    bench: Settings, server: CustomerIOServer, other: CustomerIOServer, before: str
) -> None:
    bench.options = {} if before == "track" else through(server)
    bench.feed(table({"id": ["a"], "n": [1]}))

    bench.options = through(other)
    assert bench.feed(table({"id": ["a"], "n": [1]})).counts.accepted == 1
    assert bench.feed(table({"id": ["a"], "n": [1]})).counts.accepted == 0

    assert other.workspace.attributes("a") == {"n": 1}


def test_an_app_key_of_another_workspace_gets_the_collection(
    bench: Settings, server: CustomerIOServer, other: CustomerIOServer
) -> None:
    bench.adjust(name="coupons", target=COUPON)
    bench.feed(table({"code": ["a"]}))

    bench.options = through(other)
    bench.feed(table({"code": ["a"]}))

    assert other.workspace.collections["coupons"]["data"] == [{"code": "a"}]
    assert bench.feed(table({"code": ["a"]})).counts == Counts(queried=1, unchanged=1)


def test_a_snapshot_that_was_made_before_addresses_were_kept_stays(bench: Settings) -> None:
    rows = table({"id": ["a"], "n": [1]})
    bench.adjust(target=ACCOUNT)
    bench.options = types("1")
    bench.feed(rows)
    with bench.opened() as snapshot:
        snapshot.ledger.session.execute("DELETE FROM meta WHERE name = 'address'")

    assert bench.feed(rows).counts == Counts(queried=1, unchanged=1)
    bench.options = types("2")
    assert bench.feed(rows).counts.accepted == 1


def test_no_secret_is_in_the_snapshot(bench: Settings, server: CustomerIOServer, tmp_path: Path) -> None:
    bench.options = through(server)
    bench.feed(table({"id": ["a"], "n": [1]}))

    content = (tmp_path / "customers.duckdb").read_bytes()
    assert [
        key for key in (server.workspace.cdp_api_key, server.workspace.app_api_key) if key.encode() in content
    ] == []


@pytest.mark.parametrize(("first", "second"), [("team", "1"), ("1", "team"), ("team", "squad")])
def test_removals_of_a_type_reach_syncs_that_call_it_otherwise(
    server: CustomerIOServer, tmp_path: Path, first: str, second: str
) -> None:
    options = server.options(object_types={"team": "1", "squad": "1"})
    house = House(folder=tmp_path, store_url="customerio://us", options=options)
    one, other = (Target(entity=TEAMS.entity, object_type=name, key_columns=("team",)) for name in (first, second))
    members = Target(
        entity=Entity.RELATIONSHIP, person_key=BY_ID.person_key, object_type=second, key_columns=("id", "team")
    )
    house.sync("teams", one, "team name", OnRemoved.DELETE)
    house.sync("colours", other, "team colour")
    house.sync("members", members, "id team role")
    for name, row in {"teams": "t The", "colours": "t red", "members": "1 t lead"}.items():
        house.put(name, row)
    house.run()
    house.put("teams")
    house.run("teams")
    assert server.workspace.objects == {}

    house.put("teams", "t The")
    house.run()

    assert server.workspace.objects == {("1", "t"): {"name": "The", "colour": "red"}}
    assert list(server.workspace.relationships.values()) == [{"role": "lead"}]
