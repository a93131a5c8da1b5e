"""The overview, the API and metrics of two thousand syncs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from syncer.model.types import Order, RunStatus, Trigger
from tests.web.conftest import Served, Site
from tests.web.many import make_many

pytestmark = pytest.mark.early

NOW = datetime.now(UTC)

#: Bytes of a page or an answer.
MOST = 200_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_many(tmp_path_factory.mktemp("many") / "site", syncs=2000, runs_of_each=30)


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[Served]:
    with site.served(seconds=200) as answering:
        yield answering


def page(served: Served, address: str) -> str:
    answer = served.client(headers={"Accept": "text/html"}).get(address)
    assert answer.status_code == 200
    return answer.text


def names(text: str) -> list[str]:
    return re.findall(r'class="is-name"><a href="/syncs/(\w+)"', text)


@pytest.mark.parametrize(
    "address",
    ["/", "/?page=20", "/?text=sync_19", "/runs", "/syncs/sync_1999", "/find?q=7", "/people?value=7", "/api/v1/syncs"],
)
def test_an_answer_is_small(served: Served, address: str) -> None:
    assert len(page(served, address).encode()) < MOST


def test_every_sync_is_on_one_page_of_the_list(served: Served) -> None:
    address, seen = "/", []
    while address:
        text = page(served, address)
        seen += names(text)
        found = re.search(r'href="([^"]+)" rel="next"', text)
        address = found[1].replace("&amp;", "&") if found else ""

    assert len(seen) == len(set(seen)) == 2000
    assert "1,951 to 2,000 of 2,000" in text
    assert 'rel="prev"' in text
    assert names(page(served, "/?page=9999")) == names(text)


def test_syncs_with_problems_come_first(served: Served) -> None:
    log = served.service.run_log
    assert names(page(served, "/"))[0] == "sync_000"
    for name, status in (("sync_1500", RunStatus.FAILED), ("sync_700", RunStatus.HELD)):
        log.finish(log.start(name, Order(trigger=Trigger.MANUAL), "", NOW), status, NOW)

    text = page(served, "/")

    assert names(text)[:3] == ["sync_1500", "sync_700", "sync_000"]
    assert 'href="/?status=failing">Failing <span class="count">1</span>' in text
    assert names(page(served, "/?status=failed")) == ["sync_1500"]


def test_a_search_finds_any_sync_and_its_pages_keep_it(served: Served) -> None:
    assert names(page(served, "/?text=sync_1234")) == ["sync_1234"]

    text = page(served, "/?text=part+1&tag=part-1")

    assert len(names(text)) == 50
    assert '/?text=part+1&amp;tag=part-1&amp;page=2" rel="next"' in text


def test_the_page_of_a_person_says_what_it_leaves_out(served: Served) -> None:
    text = page(served, "/people?value=7")

    assert "This page lists the first 50 of 2,000." in text


def test_the_api_lists_a_page_of_syncs_with_their_last_runs(served: Served) -> None:
    answer = served.client().get("/api/v1/syncs", params={"limit": 100, "cursor": "sync_1000"}).json()

    assert len(answer["items"]) == 100
    assert all(item["last_run"]["counts"]["queried"] == 1000 for item in answer["items"])
    assert answer["next"] == answer["items"][-1]["name"]


def test_metrics_tell_of_each_sync(served: Served) -> None:
    text = served.client().get("/metrics").text

    assert len(re.findall(r"(?m)^syncer_sync_last_duration_seconds{", text)) == 2000
    assert len(re.findall(r"(?m)^syncer_sync_last_success_timestamp_seconds{", text)) == 2000
