"""Who sees what the stores contain."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import httpx2
import pytest
from fastapi.routing import iter_route_contexts

from tests.web.conftest import GUARDED, PASSWORD, READ_TOKEN, RUN_TOKEN, Served, Site, small_site

#: What rows hold, of each entity; no key holds it.
CANARIES = {
    "/people": "canary-card-4111",
    "/objects": "canary-contract",
    "/collections": "canary-coupon",
}
PARAMETERS = {
    "/people": {"value": "1", "by": "id"},
    "/objects": {"type": "account", "id": "a1"},
    "/collections": {"name": "coupons", "key": "c1"},
    "/events": {"name": "viewed"},
    "/find": {"q": "1"},
    "/api/v1/explain": {"entity": "person", "value": "1", "by": "id"},
}
RELATIONSHIP_CANARY = "canary-role"
DEVICE_CANARY = "canary-phone"
EVENT_CANARY = "canary-page"
ROWS = {
    "1": "canary-card-4111",
    "a1": "canary-contract",
    "r1": "canary-role",
    "c1": "canary-coupon",
    "d1": "canary-phone",
    "e1": "canary-page",
}

#: The queries name the rows, never their values, which pages that show the SQL would show.
DEFINITIONS = {
    "cards": ("SELECT id, plan AS card FROM cards WHERE id = '1'", "entity: person\nperson: {id: id}"),
    "contracts": (
        "SELECT id, plan AS contract FROM cards WHERE id = 'a1'",
        "entity: object\nobject: {type: account, id: id}",
    ),
    "roles": (
        "SELECT '1' AS id, 'a1' AS account, plan AS role FROM cards WHERE id = 'r1'",
        "entity: relationship\nperson: {id: id}\nobject: {type: account, id: account}",
    ),
    "phones": (
        "SELECT '1' AS id, id AS token, plan AS model FROM cards WHERE id = 'd1'",
        "entity: device\nperson: {id: id}\ndevice: {token: token, platform: android}",
    ),
    "views": (
        "SELECT '1' AS id, id AS view, plan AS page, TIMESTAMP '2026-01-02' AS at FROM cards WHERE id = 'e1'",
        "entity: event\nstart: all\nperson: {id: id}\nevent: {name: viewed, id: view, time: at}",
    ),
    "coupons": (
        "SELECT id AS code, plan AS text FROM cards WHERE id = 'c1'",
        "entity: collection\ncollection: coupons\nkey: code",
    ),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Served]]:
    """A guarded service whose store has a row of each entity."""
    site = small_site(tmp_path_factory.mktemp("profiles"))
    site.people(ROWS, name="cards")
    for name, (sql, header) in DEFINITIONS.items():
        site.define(name, sql, header)
    with site.served(GUARDED) as served:
        client = served.client(RUN_TOKEN)
        for name in DEFINITIONS:
            ended = client.post(f"/api/v1/syncs/{name}/runs?wait=30").json()
            assert ended["status"] == "success", ended
        yield site, served


def addresses(site: Site, served: Served) -> Iterator[str]:
    """Every route that answers GET, with parameters that lead to the rows."""
    run_id = site.log("SELECT max(id) FROM syncer_runs")[0][0]
    for context in iter_route_contexts(served.process.app.routes):
        if "GET" in (context.methods or ()):
            for name in DEFINITIONS:
                path = (context.path or "").format(name=name, run_id=run_id, **{"path:path": "x"})
                yield f"{path}?{urlencode(PARAMETERS.get(path, {}))}"


def test_only_who_may_run_sees_what_stores_contain(shop: tuple[Site, Served]) -> None:
    site, served = shop
    reader, anybody = served.client(READ_TOKEN), served.client()
    found = set(addresses(site, served))
    assert len(found) > 20

    for address in found:
        path = address.partition("?")[0]
        answers = {"reader": reader.get(address), "anybody": anybody.get(address)}
        for role, answer in answers.items():
            assert "canary" not in answer.text, (role, address)
        if path in PARAMETERS:
            assert answers["reader"].status_code == 403, address
            assert answers["anybody"].status_code == 401, address


def test_who_may_run_and_who_logged_in_see_each_entity(shop: tuple[Site, Served]) -> None:
    site, served = shop
    assert site.path.exists()
    person = served.client(headers={"Origin": served.address})
    assert person.post("/login", data={"password": PASSWORD}).status_code == 303

    for client in (served.client(RUN_TOKEN), person):
        for path, canary in CANARIES.items():
            assert canary in _page(client, path).text
        assert RELATIONSHIP_CANARY in (page := _page(client, "/people").text)
        assert DEVICE_CANARY in page
        assert page.count("<code>d1</code>") == 1
        assert EVENT_CANARY in page
        assert "/people?by=id&amp;value=1&amp;store=default" in _page(client, "/events").text
        assert _page(client, "/find").status_code == 200
        assert 'action="/find"' in client.get("/").text
        assert "/events?name=viewed" in client.get("/syncs/views").text
    assert 'action="/find"' not in served.client(READ_TOKEN).get("/").text
    assert "/events?name=viewed" not in served.client(READ_TOKEN).get("/syncs/views").text


def _page(client: httpx2.Client, path: str) -> httpx2.Response:
    return client.get(path, params=PARAMETERS[path])


def test_each_entity_is_explained_as_json(shop: tuple[Site, Served]) -> None:
    site, served = shop
    client = served.client(RUN_TOKEN)
    assert site.path.exists()

    def explained(**parameters: str) -> httpx2.Response:
        return client.get("/api/v1/explain", params=parameters)

    person = explained(entity="person", by="id", value="1").json()
    relationship = explained(entity="relationship", value="1", type="account", object="a1", sync="roles").json()
    device = explained(entity="device", value="1", token="d1").json()
    thing = explained(entity="object", type="account", value="a1").json()
    row = explained(entity="collection", name="coupons", value="c1").json()

    assert [(one["sync"], one["attributes"][0]["stored"]) for one in person["items"]] == [
        ("cards", "canary-card-4111"), ("phones", "canary-phone"), ("roles", "canary-role")
    ]  # fmt: skip
    assert [one["key"] for one in relationship["items"]] == ['["1","a1"]']
    assert [(one["key"], one["attributes"][1]["stored"]) for one in device["items"]] == [('["1","d1"]', "android")]
    assert [one["sync"] for one in thing["items"]] == ["contracts", "roles"]
    assert [one["in_result"] for one in row["items"]] == [True]
    nobody = explained(entity="person", by="id", value="9")
    assert (nobody.status_code, nobody.json()["detail"][:16]) == (404, "No sync knows it")
    assert "`type`" in explained(entity="object", value="a1").json()["detail"]
    assert "`token`" in explained(entity="device", value="1").json()["detail"]
