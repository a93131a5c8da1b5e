"""One private key in place of the keys of the Track and of the App API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from connectors.customerio.options import CustomerIOOptions
from syncer.model.errors import StoreError
from syncer.model.types import Entity, Identity
from syncer.settings.registry import open_store
from tests.cli.conftest import Folder
from tests.contracts.batches import ACCEPTED, COUPONS, PEOPLE, apply, batch_of, put
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.servers.customerio.faults import Fault

KEY = "sk_canary_0123456789"


@pytest.fixture(params=["Bearer", "Basic"])
def server(request: pytest.FixtureRequest) -> Iterator[CustomerIOServer]:
    """The Track API takes the key in one way or the other: no page says which."""
    with customerio_server(private_key=KEY, private_as=request.param) as running:
        yield running


def opened(server: CustomerIOServer, **options: Any) -> Any:
    given = {"site_id": None, "api_key": KEY, "app_api_key": None, "cdp_api_key": None} | options
    url, identity = "customerio://us", Identity.ID
    return open_store("crm", url, identity=identity, options=server.options(**given), started_at=None)


def test_it_is_enough_for_people_collections_and_reading_back(server: CustomerIOServer) -> None:
    with closing(opened(server)) as store:
        store.check(PEOPLE)
        store.check(COUPONS)
        assert set(apply(store, PEOPLE, put("ann", attributes={"plan": "pro"}))) == {ACCEPTED}
        batch = batch_of(put("ten", attributes={"code": "ten"}))
        batch = batch.append_column("acknowledged", pa.array([None], pa.string()))
        assert store.apply(COUPONS, batch, create=True)["verdict"].to_pylist() == ["accepted"]

        assert store.show(Entity.PERSON, "id", "ann")["attributes"] == {"plan": "pro"}
        assert store.probe().note == "Syncer takes its identity to be `id`."
    assert server.workspace.collections["coupons"]["data"] == [{"code": "ten"}]


def test_a_key_that_is_refused_is_named_by_its_setting(server: CustomerIOServer) -> None:
    for given in ({"api_key": "sk_another"}, {"app_api_key": "another"}):
        with closing(opened(server, **given)) as store, pytest.raises(StoreError, match="refuses the login") as raised:
            store.probe()
        (setting,) = given
        assert f"SYNCER_STORES__CRM__{setting.upper()}," in raised.value.hint
        assert "SITE_ID" not in raised.value.hint


def test_the_store_stays_the_same_with_another_key(server: CustomerIOServer) -> None:
    with closing(opened(server)) as store:
        first = store.store_id, store.address(COUPONS)
    server.workspace.private_key = "sk_the_next"
    with closing(opened(server, api_key="sk_the_next")) as store:
        assert (store.store_id, store.address(COUPONS)) == first


def test_the_store_of_a_site_id_stays_the_same(server: CustomerIOServer) -> None:
    site_id = server.workspace.site_id
    before = opened(server, site_id=site_id, api_key=server.workspace.api_key, app_api_key="app-secret")
    with closing(before), closing(opened(server, site_id=site_id)) as after:
        assert after.store_id == before.store_id


def test_a_workspace_that_is_not_told_is_no_store(server: CustomerIOServer) -> None:
    server.workspace.faults.region = Fault(status=200, body=b'{"region": "us"}')

    with closing(opened(server)) as store, pytest.raises(StoreError, match="does not tell which workspace") as raised:
        _ = store.store_id
    assert "SYNCER_STORES__CRM__SITE_ID" in raised.value.hint


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "or as the `api_key` a private key"),
        ({"api_key": "track-key"}, "`site_id` and `api_key` are needed"),
        ({"site_id": "site"}, "`site_id` and `api_key` are needed"),
        ({"app_api_key": KEY}, "or as the `api_key` a private key"),
        ({"site_id": "site", "api_key": "pk_public"}, "`api_key` is a public key"),
        ({"api_key": KEY, "app_api_key": "pk_public"}, "`app_api_key` is a public key"),
        ({"api_key": KEY, "via": "pipelines"}, "`cdp_api_key` is needed"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_sent(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as raised:
        CustomerIOOptions(**given)
    assert not [value for name, value in given.items() if name.endswith("key") and str(value) in str(raised.value)]


def test_commands_work_with_it_and_never_show_it(tmp_path: Path, server: CustomerIOServer) -> None:
    folder = Folder(path=tmp_path)
    folder.people({"ann": "pro"})
    folder.define("coupons", "SELECT 'ten' AS code", "entity: collection\ncollection: coupons\nkey: code")
    environment = server.environment()
    for name in ("SITE_ID", "APP_API_KEY"):
        del environment[f"SYNCER_STORES__DEFAULT__{name}"]
    lacking = folder.syncer("validate", env=environment)
    environment["SYNCER_STORES__DEFAULT__API_KEY"] = KEY

    tested = folder.syncer("connections", "--test", env=environment)
    ran = folder.syncer("run", "coupons", env=environment)
    server.workspace.private_key = "sk_revoked"
    refused = folder.syncer("run", "coupons", "--full", env=environment)

    assert lacking.code == 2
    assert "a private key (`sk_…`) alone" in lacking.err
    assert (tested.code, ran.code, refused.code) == (0, 0, 1)
    assert "refuses the login: 401" in refused.out + refused.err
    kept = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    for told in (kept, *(ended.out + ended.err for ended in (lacking, tested, ran, refused))):
        assert KEY not in told
