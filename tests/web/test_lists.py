"""Lists of people on the pages and in the API."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest

from tests.web.conftest import Site

LIST = "entity: person\nperson: {id: id}\naction: suppress\nlimits: {deleted: 2}"


def text_of(page: str) -> str:
    """The words of a page, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@pytest.fixture
def client(site: Site) -> Iterator[httpx2.Client]:
    """Of a service with a list, `refused`, and what it lists in the store."""
    site.define("refused", "SELECT id FROM people", LIST)
    with site.served() as served:
        client = served.client()
        assert client.post("/api/v1/syncs/customers/runs?wait=60", json={}).json()["status"] == "success"
        yield client


def test_the_pages_of_a_list_say_what_it_does(client: httpx2.Client) -> None:
    plan = text_of(client.post("/syncs/refused/plan").text)
    page = text_of(client.get("/syncs/refused").text)
    full = text_of(client.get("/syncs/refused/full").text)
    detail = client.get("/api/v1/syncs/refused").json()

    assert "3 people would be deleted, over the limit of 2 rows" in plan
    assert "3 added They are suppressed" in plan
    assert "Type 3 to confirm the deletions" in plan
    assert "people to suppress, by id" in page
    assert "mean nothing: a list acts once on each row, and again if the row comes anew" in page
    assert "2 rows suppressed" in page
    assert "NULL in a column" not in page
    assert "A full run does again what the list says, to everybody on it" in full
    assert detail["action"] == "suppress"
    assert client.get("/api/v1/syncs/customers").json()["action"] is None


def test_the_page_of_a_person_says_what_a_list_did(client: httpx2.Client) -> None:
    ended = client.post("/api/v1/syncs/refused/runs?wait=60", json={"allow": {"deleted": 3}}).json()

    page = text_of(client.get("/people?by=id&value=2").text)

    assert ended["status"] == "success"
    assert "suppressed by this list, once" in page
