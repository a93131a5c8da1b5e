"""Six journeys through the pages, each light and wide, and dark and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from syncer.starter import write_starter
from tests.conftest import is_long
from tests.web.browser import PAIRS, SCHEMES, WIDTHS, Window, chromium, window
from tests.web.conftest import Served, Site, wait_until
from tests.web.many import make_many
from tests.web.shop import wait_for_all


@dataclass(frozen=True, kw_only=True)
class Traveller:
    """A browser that shows pages in one way."""

    browser: Browser
    scheme: Literal["light", "dark"]
    width: int

    @contextmanager
    def window(self, served: Served) -> Iterator[Window]:
        size = {"width": self.width, "height": 900}
        with window(self.browser, served.address, viewport=size, color_scheme=self.scheme) as opened:
            yield opened

    def name(self, step: str) -> str:
        """Of a picture."""
        return f"journey-{step}-{self.scheme}-{self.width}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(params=list(product(SCHEMES, WIDTHS)) if is_long() else PAIRS, ids=lambda way: f"{way[0]}, {way[1]}")
def traveller(request: pytest.FixtureRequest, browser: Browser) -> Traveller:
    scheme, width = request.param
    return Traveller(browser=browser, scheme=scheme, width=width)


def wait_for_state(page: Page, word: str) -> None:
    """Wait until the page of a run shows how it ended."""
    expect(page.locator(".heading .badge:visible")).to_have_text(word)


def test_a_newcomer_looks_around(tmp_path_factory: pytest.TempPathFactory, traveller: Traveller) -> None:
    folder = tmp_path_factory.mktemp("newcomer")
    write_starter(folder)
    site = Site(path=folder)
    with site.served() as served, traveller.window(served) as opened:
        wait_for_all(served)
        page = opened.page
        opened.open("/")
        expect(page.locator(".syncs tbody th")).to_have_count(6)
        expect(page.get_by_role("heading", name="Needs attention")).to_have_count(0)
        opened.look(traveller.name("newcomer-syncs"))
        page.get_by_role("row").get_by_role("link", name="customers").click()
        expect(page.locator(".sql")).to_contain_text("SELECT")
        opened.look(traveller.name("newcomer-sync"))
        page.locator("#runs tbody a").first.click()
        wait_for_state(page, "Success")
        opened.look(traveller.name("newcomer-run"))
        page.get_by_label("Find a person").fill("customer1042@example.com")
        page.get_by_label("Find a person").press("Enter")
        page.get_by_role("link", name="customer1042@example.com person by email").click()
        expect(page.get_by_role("table", name="Attributes")).to_contain_text("country")
        opened.look(traveller.name("newcomer-person"))
        page.get_by_role("link", name="Manual").click()
        page.get_by_role("link", name="Writing a sync").first.click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        opened.look(traveller.name("newcomer-manual"))


def test_an_analyst_makes_a_first_sync(site: Site, traveller: Traveller) -> None:
    (site.path / "sync_definitions/customers.sql").unlink()
    with site.served() as served, traveller.window(served) as opened:
        page = opened.page
        opened.open("/")
        expect(page.get_by_role("heading", name="No sync so far")).to_be_visible()
        opened.look(traveller.name("first-none"))
        site.define("plans", header="description: Plans of people\nentity: person\nperson: {id: id}")
        wait_until(lambda: "plans" in served.service.catalog.current.definitions)
        page.reload()
        expect(page.locator(".syncs tbody")).to_contain_text("New")
        page.get_by_role("link", name="plans").click()
        page.get_by_role("button", name="Plan", exact=True).click()
        expect(page.get_by_role("heading", name="3 added")).to_be_visible()
        opened.look(traveller.name("first-plan"))
        page.get_by_role("button", name="Run this plan").click()
        wait_for_state(page, "Success")
        assert page.locator("[data-delivered=added]").text_content() == "3"
        opened.look(traveller.name("first-run"))
        page.get_by_role("link", name="Syncs").first.click()
        expect(page.locator(".syncs tbody")).to_contain_text("Healthy")


def test_a_broken_query_is_found_and_mended(site: Site, traveller: Traveller) -> None:
    site.define("customers", "SELECT id,\n  plna\nFROM people")
    with site.served() as served, traveller.window(served) as opened:
        page = opened.page
        opened.open("/syncs/customers")
        page.get_by_role("button", name="Run now").click()
        wait_for_state(page, "Failed")
        expect(page.get_by_role("region", name="The run failed")).to_contain_text("plna")
        opened.look(traveller.name("broken-run"))
        opened.open("/")
        expect(page.get_by_role("region", name="Needs attention")).to_contain_text("plna")
        opened.look(traveller.name("broken-syncs"))
        before = served.service.catalog.current.definitions["customers"].hash
        site.define("customers", "SELECT id,\n  plan\nFROM people")
        wait_until(lambda: served.service.catalog.current.definitions["customers"].hash != before)
        page.get_by_role("region", name="Needs attention").get_by_role("link", name="customers").click()
        page.get_by_role("button", name="Run now").click()
        wait_for_state(page, "Success")
        opened.open("/")
        expect(page.get_by_role("region", name="Needs attention")).to_have_count(0)


def test_a_held_sync_is_looked_at_and_let_through(site: Site, traveller: Traveller) -> None:
    site.people({str(number): "pro" for number in range(100)})
    site.define("customers", header="entity: person\nperson: {id: id}\non_removed: delete")
    with site.served() as served, traveller.window(served) as opened:
        page = opened.page
        served.service.run_now("customers", actor="ann")
        wait_for_all_runs(served)
        site.people({str(number): "pro" for number in range(60)})
        opened.open("/syncs/customers")
        page.get_by_role("button", name="Run now").click()
        wait_for_state(page, "Held")
        opened.look(traveller.name("held-run"))
        opened.open("/")
        attention = page.get_by_role("region", name="Needs attention")
        expect(attention).to_contain_text("40 of 100 rows (40.0%) would be removed")
        attention.get_by_role("link", name="customers").click()
        opened.look(traveller.name("held-sync"))
        page.get_by_role("button", name="Show what it would do").click()
        expect(page.get_by_role("heading", name="40 removed")).to_be_visible()
        opened.look(traveller.name("held-plan"))
        let_through(page, removed=40)
        wait_for_state(page, "Success")
        assert page.locator("[data-delivered=removed]").text_content() == "40"
        opened.open("/")
        expect(attention).to_have_count(0)


def let_through(page: Page, *, removed: int) -> None:
    """Approve what the plan on the page shows."""
    page.get_by_label("to confirm the deletions").fill(str(removed))
    page.get_by_role("button", name="Let it through once").click()


def wait_for_all_runs(served: Served) -> None:
    wait_until(lambda: not served.service.pool.active_runs())


def test_somebody_asks_why_a_person_was_not_updated(site: Site, traveller: Traveller) -> None:
    site.define("emails", "SELECT id, id || '@example.com' AS email FROM people")
    site.define(
        "twice",
        "SELECT * FROM (VALUES ('2', 1), ('2', 2), ('3', 1)) t (id, score)",
        "entity: person\nperson: {id: id}",
    )
    with site.served() as served, traveller.window(served) as opened:
        page = opened.page
        for name in ("customers", "emails", "twice"):
            served.service.run_now(name, actor="ann")
            wait_for_all_runs(served)
        opened.open("/")
        page.get_by_label("Find a person").fill("2@example.com")
        page.get_by_label("Find a person").press("Enter")
        opened.look(traveller.name("why-found"))
        page.get_by_role("link", name="2@example.com person by email").click()
        table = page.get_by_role("table", name="What each sync had to do with it")
        row = table.get_by_role("row").filter(has_text="twice")
        expect(row).to_contain_text("Rejected")
        expect(row).to_contain_text("rows that differ share this key")
        expect(table.get_by_role("row").filter(has_text="customers")).to_contain_text("In the store")
        opened.look(traveller.name("why-person"))


def test_somebody_on_call_looks_over_many_syncs(tmp_path_factory: pytest.TempPathFactory, traveller: Traveller) -> None:
    site = make_many(tmp_path_factory.mktemp("many") / "site", syncs=150, runs_of_each=30)
    site.define("broken", "SELECT id, no_such_column FROM people")
    with site.served() as served, traveller.window(served) as opened:
        page = opened.page
        served.service.run_now("broken", actor="ann")
        wait_for_all_runs(served)
        opened.open("/")
        names = page.locator(".syncs tbody th")
        expect(page.get_by_role("region", name="Needs attention").get_by_role("listitem")).to_have_count(1)
        expect(names).to_have_count(50)
        assert names.first.text_content() == "broken"
        # The whole list takes three such pages.
        assert page.evaluate("document.querySelector('#list').offsetHeight") < 2.5 * 900
        opened.look(traveller.name("many-syncs"))
        page.get_by_role("link", name="part-3 17").click()
        expect(names).to_have_count(17)
        page.get_by_role("columnheader", name="Name").get_by_role("link").click()
        assert names.first.text_content() == "sync_003"
        page.get_by_role("link", name="Show all").click()
        expect(names).to_have_count(50)
        page.get_by_role("link", name="Next", exact=True).click()
        expect(page.get_by_role("navigation", name="Pages of the list")).to_contain_text("51 to 100 of 151")
        page.get_by_label("Name, description or owner").fill("Plans of part 77")
        page.get_by_role("button", name="Search").click()
        expect(names).to_have_text(["sync_077"])
        opened.look(traveller.name("many-found"))
