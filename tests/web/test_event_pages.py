"""The pages of events: the older ones of a person, the names of a store, and who did something how often."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import unescape
from pathlib import Path

import httpx2
import pytest

from syncer.sync import event_pages
from tests.servers.customerio import customerio_server
from tests.web.conftest import SECONDS, Served, Site, small_site

HEADER = "entity: event\nstart: all\nperson: {id: who}\nevent: {name: %s, id: n, time: at}"
#: Everybody is somebody's multiple: p0 has 45 of 60.
PAID = (
    "SELECT 'p' || CASE WHEN n % 4 = 0 THEN n ELSE 0 END AS who, n, 'paid' AS what, n AS total, "
    "TIMESTAMP '2026-01-01' + INTERVAL (n) HOUR AS at FROM range(1, 61) t (n)"
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service whose store has events of two syncs, one of which has their names in a column."""
    site = small_site(tmp_path_factory.mktemp("events"))
    if request.param == "sqlite":
        yield from filled(site, {})
        return
    with request.getfixturevalue("postgres").new_database() as url:
        yield from filled(site, {"SYNCER_STORES__DEFAULT__URL": url})


def filled(site: Site, environment: Mapping[str, str]) -> Iterator[Served]:
    site.define("paid", PAID, HEADER % "paid")
    site.define("seen", f"SELECT * REPLACE ('see <b>n</b>' AS what) FROM ({PAID}) LIMIT 1", HEADER % "{column: what}")
    with site.served(environment) as answering:
        run(answering, "paid", "seen")
        yield answering


def run(served: Served, *names: str) -> None:
    for name in names:
        active = served.service.run_now(name, actor="ann")
        assert active.ended.wait(SECONDS)
        assert served.service.run_log.recent(name, 1)[0].status == "success"


def shown(client: httpx2.Client, url: str, status: int = 200) -> str:
    answer = client.get(url, headers={"Accept": "text/html"})
    assert answer.status_code == status, answer.text
    return answer.text


def link(page: str, label: str) -> str:
    """Where the link of that label leads to; empty where there is none."""
    found = re.search(rf'<a [^>]*href="([^"]*)"[^>]*>(?:<code>)?{re.escape(label)}<', page)
    return unescape(found[1]) if found else ""


def test_a_person_s_older_events_follow_page_by_page(served: Served) -> None:
    client = served.client()
    page, totals, pages = shown(client, "/people?by=id&value=p0"), [], 0
    assert "Newest events" in page
    assert not link(page, "Newest")
    while True:
        pages += 1
        rows = page.partition('id="events"')[2]
        totals += [int(total) for total in re.findall(r'<span class="muted">total</span> (\d+)', rows)]
        if not (older := link(page, "Older")):
            break
        page = shown(client, older)
        assert "Older events" in page
        assert link(page, "Newest") == "/people?by=id&value=p0&store=default#events"

    expected = [n for n in range(60, 0, -1) if n % 4]
    assert [total for total in totals if total != 1][:44] == expected[:44]
    assert (len(totals), pages) == (46, 3)
    assert link(page, "paid") == "/events?name=paid&store=default"


def test_no_page_of_older_events_is_empty_unless_it_is_asked_for(served: Served) -> None:
    client = served.client()

    assert not link(shown(client, "/people?by=id&value=p4"), "Older")
    gone = shown(client, "/people?by=id&value=p0&before=nothing")

    assert "No older events." in gone
    assert link(gone, "Newest")


def test_exactly_one_page_of_events_has_no_older_one(tmp_path: Path) -> None:
    site = small_site(tmp_path)
    site.define("paid", f"SELECT * REPLACE ('p0' AS who) FROM ({PAID}) LIMIT 20", HEADER % "paid")
    with site.served() as served:
        run(served, "paid")
        page = shown(served.client(), "/people?by=id&value=p0")
    assert page.count("/events?name=paid") == 20
    assert not link(page, "Older")


def test_the_page_of_a_sync_leads_to_its_events(served: Served) -> None:
    client = served.client()

    assert link(shown(client, "/syncs/paid"), "Who did it") == "/events?name=paid&store=default"
    names = shown(client, link(shown(client, "/syncs/seen"), "The events"))
    assert "Who did it" not in shown(client, "/syncs/customers")

    assert link(names, "paid") == "/events?name=paid&store=default"
    assert "see &lt;b&gt;n&lt;/b&gt;" in names
    one = shown(client, link(names, "see &lt;b&gt;n&lt;/b&gt;"))
    assert (link(one, "seen"), link(one, "p0")) == ("/syncs/seen", "/people?by=id&value=p0&store=default")


def test_who_did_it_how_often_is_counted_since_a_time(served: Served) -> None:
    client = served.client()

    def counts(query: str) -> list[tuple[str, int]]:
        page = shown(client, f"/events?name=paid{query}")
        found = re.findall(r'<code>(p\d+)</code></a></th><td>–</td><td class="numeric">(\d+)</td>', page)
        return [(who, int(count)) for who, count in found]

    assert counts("")[0] == ("p0", 45)
    assert len(counts("")) == 16
    assert counts("&at_least=2") == [("p0", 45)]
    assert counts("&since=2026-01-03T10:00:00") == [("p0", 2), ("p60", 1)]
    assert counts("&since=2026-01-03T12:00:00%2B02:00") == [("p0", 2), ("p60", 1)]
    assert 'value="2025-12-04"' in shown(client, "/events?name=paid")
    nobody = shown(client, "/events?name=paid&since=2026-01-03&at_least=99")
    assert "Nobody did this 99 times since 2026-01-03 00:00:00 UTC." in nobody


def test_the_pages_of_people_and_of_names_follow_each_other(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_pages, "PAGE_ROWS", 7)
    client, url, found = served.client(), "/events?name=paid&at_least=1", []
    while url:
        page = shown(client, url)
        found += re.findall(r"<code>(p\d+)</code></a></th><td>–</td>", page)
        assert bool(link(page, "First")) == (len(found) > 7)
        url = link(page, "Next")
    assert (len(found), len(set(found)), found[0]) == (16, 16, "p0")

    monkeypatch.setattr(event_pages, "PAGE_ROWS", 1)
    names = shown(client, "/events")
    assert (link(names, "paid") != "", "see &lt;" in names) == (True, False)
    last = shown(client, link(names, "Next"))
    assert ("see &lt;" in last, link(last, "Next"), link(last, "First")) == (True, "", "/events?store=default")
    assert "No more events" in shown(client, "/events?after=zzz")


def test_more_events_than_are_counted_are_said(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_pages, "MOST_COUNTED", 10)
    monkeypatch.setattr("syncer.web.pages.events.MOST_COUNTED", 10)

    page = shown(served.client(), "/events?name=paid")

    assert "There are more than 10 since then." in page
    assert "since 2026-01-03 03:00:00 UTC" in page
    assert re.findall(r'class="numeric">(\d+)<', page) == ["7", "1", "1", "1"]
    assert "There are more" not in shown(served.client(), "/events?name=paid&since=2026-01-03T03:00:00")


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("name=piad", 404, "contains no event of this name"),
        ("name=paid&since=yesterday", 422, "<q>yesterday</q> is no time."),
        ("name=paid&since=2026-13-01", 422, "or a time such as 2026-11-01T08:00:00, in UTC."),
        ("name=paid&since=0001-01-01T00:00%2B14:00", 422, "is no time."),
        ("name=paid&at_least=0", 422, "at_least"),
        ("name=paid&store=other", 404, "o store is called"),
        ("store=other", 404, "o store is called"),
        ("name=paid&after=x.y", 200, "Who did it how often"),
        ("name=paid&after=99999999999999999999.1", 200, "Who did it how often"),
    ],
)
def test_what_is_wrong_is_said(served: Served, query: str, status: int, said: str) -> None:
    assert said in shown(served.client(), f"/events?{query}", status)


def test_a_store_without_events_says_so(tmp_path: Path) -> None:
    with small_site(tmp_path).served() as served:
        assert "No event so far" in shown(served.client(), "/events")
        assert "contains no event of this name" in shown(served.client(), "/events?name=paid", 404)


def test_customerio_cannot_be_asked_for_events(tmp_path: Path) -> None:
    site = small_site(tmp_path)
    site.define("paid", f"SELECT * REPLACE ('1' AS who) FROM ({PAID}) LIMIT 1", HEADER % "paid")
    with customerio_server(app_rate=1_000) as server, site.served(server.environment()) as served:
        run(served, "customers", "paid")
        for url in ("/events", "/events?name=paid"):
            page = shown(served.client(), url, 502)
            assert "store <code>default</code> cannot list events. Stores in SQLite and PostgreSQL can." in page
        person = shown(served.client(), "/people?by=id&value=1")
    assert "The store <code>default</code> cannot list events." in person
