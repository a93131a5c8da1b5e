"""The pages of what Customer.io gives back: fewer fields than a store in SQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.customerio import customerio_server
from tests.web.conftest import SECONDS, Served, small_site

DEFINITIONS = {
    "accounts": ("SELECT 'a1' AS id, 'gold' AS tier", "entity: object\nobject: {type: account, id: id}"),
    "roles": (
        "SELECT '1' AS id, 'a1' AS account, 'admin' AS role",
        "entity: relationship\nperson: {id: id}\nobject: {type: account, id: account}",
    ),
    "phones": (
        "SELECT '1' AS id, 't1' AS token, 5 AS app",
        "entity: device\nperson: {id: id}\ndevice: {token: token, platform: ios}",
    ),
    "coupons": ("SELECT 'c1' AS code, 'ten percent' AS text", "entity: collection\ncollection: coupons\nkey: code"),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service over Customer.io with something of each entity."""
    site = small_site(tmp_path_factory.mktemp("customerio"))
    for name, (sql, header) in DEFINITIONS.items():
        site.define(name, sql, header)
    with customerio_server(app_rate=1_000) as server, site.served(server.environment()) as answering:
        for name in ("customers", *DEFINITIONS):
            assert answering.service.run_now(name, actor="ann").ended.wait(SECONDS)
            assert answering.service.run_log.recent(name, 1)[0].status == "success"
        yield answering


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/people?by=id&value=1", ("/objects?type=1&amp;id=a1&amp;store=default", "<code>t1</code>")),
        ("/objects?type=account&id=a1", ("Related people", "/people?by=cio_id&amp;value=", "gold")),
        ("/objects?type=1&id=a1", ("Related people", "gold")),
        ("/collections?name=coupons", ("1 row", "ten percent")),
        ("/find?q=a1", ("In the store",)),
    ],
)
def test_each_entity_of_customerio_has_a_page(served: Served, url: str, shown: tuple[str, ...]) -> None:
    answer = served.client().get(url, headers={"Accept": "text/html"})

    assert answer.status_code == 200
    for text in shown:
        assert text in answer.text
