"""Two syncs of one collection would take each other's rows: none of them runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncer.model.errors import StoreRefusesError
from tests.cli.conftest import Folder
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.sync.house import House
from tests.workbench import COUPON

SAID = "is fed by `{}` too, and the store"


@pytest.fixture
def server() -> Iterator[CustomerIOServer]:
    with customerio_server() as running:
        yield running


def test_validate_and_run_refuse_both_syncs_of_a_collection(tmp_path: Path, server: CustomerIOServer) -> None:
    folder, environment = Folder(path=tmp_path), server.environment()
    folder.people({})
    for name in ("a", "b"):
        folder.define(name, f"SELECT '{name}' AS code", "entity: collection\ncollection: coupons\nkey: code")

    for command in ("validate", "run", "plan"):
        found = folder.syncer(command, *([] if command == "validate" else ["a", "b"]), env=environment)
        assert found.code == 2
        for other in ("a", "b"):
            assert SAID.format(other) in found.out + found.err
    assert server.workspace.collections == {}

    (folder.path / "sync_definitions/b.sql").unlink()
    assert folder.syncer("run", "a", env=environment).code == 0


@pytest.mark.parametrize("may_share", [True, False])
def test_a_sync_is_refused_where_another_one_has_fed_its_collection(
    tmp_path: Path, server: CustomerIOServer, may_share: bool
) -> None:
    """Also where the other one is not known to feed it by the definitions, or this one is disabled."""
    url = f"sqlite:///{tmp_path}/profiles.db" if may_share else "customerio://us"
    house = House(folder=tmp_path, store_url=url, options=None if may_share else server.options())
    for name in ("a", "b"):
        house.sync(name, COUPON, "code")
        house.put(name, name)
    house.run("a")

    if may_share:
        house.run("b")
        return
    with pytest.raises(StoreRefusesError, match=SAID.format("a")):
        house.run("b")
    assert server.workspace.collections["coupons"]["data"] == [{"code": "a"}]
