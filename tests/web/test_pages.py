from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from syncer.model.types import RunStatus
from tests.web.browser import Window, chromium, window
from tests.web.conftest import PASSWORD, READ_TOKEN, RUN_TOKEN, Served, Site, wait_until
from tests.web.shop import LONG_NAME, REFUSED, SCRIPT, hold, open_shop

#: The path of each page, by the name of its pictures; a run is named as `NEWEST sync`.
PAGES = {
    "syncs": "/",
    "syncs-none-fits": "/?text=nothing-is-called-so",
    "sync": "/syncs/memberships",
    "sync-rejected": "/syncs/trials",
    "rejected": "/syncs/trials/rejected",
    "rejected-hostile": "/syncs/hostile/rejected",
    "sync-held": "/syncs/scores",
    "sync-failed": "/syncs/revenue",
    "sync-outdated": "/syncs/accounts",
    "sync-hostile": "/syncs/hostile",
    "sync-long": f"/syncs/{LONG_NAME}",
    "sync-new": "/syncs/coupons",
    "sync-missing": "/syncs/custmers",
    "full-run": "/syncs/customers/full",
    "runs": "/runs",
    "runs-none-fits": "/runs?status=skipped",
    "run": "/runs/NEWEST customers",
    "run-failed": "/runs/NEWEST revenue",
    "run-missing": "/runs/none",
    "found": f"/find?q={REFUSED}",
    "found-nothing": "/find?q=nobody@example.com",
    "found-hostile": f"/find?q={quote(SCRIPT)}",
    "person": f"/people?by=id&value={REFUSED}",
    "person-now": f"/people?by=id&value={REFUSED}&now=1",
    "found-part": f"/find?q={REFUSED}@exam",
    "person-missing": f"/people?value={quote(SCRIPT)}",
    "object": "/objects?type=account&id=acc_003",
    "object-hostile": f"/objects?type={quote(SCRIPT)}&id=ok",
    "collection-missing": "/collections?name=coupons",
    "events": "/events",
    "events-of-name": "/events?name=order_paid&since=2020-01-01",
    "events-missing": f"/events?name={quote(SCRIPT)}",
    "events-wrong-time": f"/events?name=order_paid&since={quote(SCRIPT)}",
    "person-older": "/people?by=id&value=1&before=nothing",
    "connections": "/connections",
    "connections-tested": "/connections?test=1",
    "docs": "/docs",
    "docs-page": "/docs/commands",
    "docs-promise": "/docs/promise",
    "docs-picture": "/docs/pages",
    "docs-found": "/docs?q=limit",
    "docs-found-nothing": f"/docs?q={quote(SCRIPT)}",
    "docs-missing": "/docs/promis",
    "nothing": "/nowhere",
}


@dataclass(kw_only=True)
class Shop:
    """The service over the shop, and a browser."""

    site: Site
    served: Served
    browser: Browser

    @contextmanager
    def window(self, **options: object) -> Iterator[Window]:
        with window(self.browser, self.served.address, **options) as opened:
            yield opened

    def newest(self, sync: str) -> str:
        """The id of its newest run."""
        return self.served.service.run_log.recent(sync, 1)[0].id


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def shop(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("shop")) as (site, served):
        yield Shop(site=site, served=served, browser=browser)


@pytest.mark.early
@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_sound_light_and_dark_wide_and_narrow(shop: Shop, name: str) -> None:
    path, _, sync = PAGES[name].partition("NEWEST ")
    with shop.window() as opened:
        opened.open(path + (shop.newest(sync) if sync else ""))
        faults = opened.shoot(name)

    assert "\n".join(faults) == ""


def test_a_sync_shows_where_it_comes_from(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        opened.open("/syncs/memberships")
        expect(page.locator(".commit")).to_contain_text(f"Add the shop {SCRIPT}")
        expect(page.locator(".sql .k").first).to_have_text("SELECT")
        expect(page.get_by_role("table", name="Which column of the result feeds")).to_contain_text("joined_on")
        tip = page.locator("figure svg.chart a title").first.text_content() or ""
        assert "rejected" in tip or "changed" in tip
        page.get_by_role("group", name="Duration of the last").locator("a").last.click()
        expect(page.get_by_role("heading", name="Run of memberships")).to_be_visible()


def test_a_folder_without_definitions_tells_what_to_do(site: Site, browser: Browser) -> None:
    (site.path / "sync_definitions/customers.sql").unlink()
    with site.served() as served, window(browser, served.address) as opened:
        opened.open("/")
        expect(opened.page.get_by_role("heading", name="No sync so far")).to_be_visible()
        faults = opened.shoot("syncs-none")
        (site.path / "sync_definitions").rename(site.path / "gone")
        wait_until(lambda: served.service.catalog.current.folder_error)
        opened.open("/")
        expect(opened.page.get_by_role("alert")).to_contain_text("The definitions cannot be read")
        faults += opened.shoot("syncs-no-folder")
        (site.path / "gone").rename(site.path / "sync_definitions")
    assert "\n".join(faults) == ""


def test_run_now_is_pressed_and_watched_to_its_end(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        with shop.site.store_locked():
            opened.open("/")
            page.get_by_role("row").get_by_role("link", name="trials").click()
            page.get_by_role("button", name="Run now").click()
            expect(page.get_by_role("status")).to_contain_text("You started a run.")
            expect(page.locator("[data-phase]")).to_have_text("Sending to the store")
            expect(page.locator("[data-count=queried]")).to_have_text("120")
            expect(page.locator(".heading .badge:visible")).to_have_text("Running")
            faults = opened.shoot("run-live")
        expect(page.get_by_role("heading", name="Time")).to_be_visible()

        expect(page.locator(".heading .badge:visible")).to_have_text("Rows rejected")
        expect(page.get_by_text("started by local")).to_be_visible()
    assert "\n".join(faults) == ""


def test_a_run_is_cancelled_while_it_goes_on(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        with shop.site.store_locked():
            opened.open("/syncs/trials")
            page.get_by_role("button", name="Run now").click()
            expect(page.locator("[data-phase]")).to_have_text("Sending to the store")
            page.get_by_role("button", name="Cancel").click()
            expect(page.locator("[data-phase]")).to_have_text("Stopping after its current batch")
        expect(page.get_by_role("heading", name="Time")).to_be_visible()

        assert page.locator(".heading .badge:visible").text_content() in ("Interrupted", "Rows rejected")


def test_a_plan_shows_old_and_new_values(shop: Shop) -> None:
    hold(shop.site, shop.served)
    with shop.window() as opened:
        page = opened.page
        opened.open("/syncs/scores")
        page.get_by_role("button", name="Plan", exact=True).click()

        changed = page.get_by_role("table", name="Sample of rows changed")
        expect(changed.get_by_role("row").nth(1)).to_have_text('14 score_plan "pro" "free"', use_inner_text=True)
        expect(page.get_by_role("table", name="In how many rows each attribute changes")).to_contain_text("score_plan")
        faults = opened.shoot("plan-held")
        opened.open("/syncs/customers")
        page.get_by_role("button", name="Plan", exact=True).click()
        expect(page.get_by_role("heading", name="Nothing to send")).to_be_visible()
        faults += opened.shoot("plan-of-nothing")
        opened.open("/syncs/hostile")
        page.get_by_role("button", name="Plan", exact=True).click()
        expect(page.get_by_role("heading", name="Plan of hostile")).to_be_visible()
        faults += opened.shoot("plan-hostile")
        opened.open("/syncs/revenue")
        page.get_by_role("button", name="Plan", exact=True).click()
        expect(page.get_by_role("heading", name="Plan of revenue failed")).to_be_visible()
        faults += opened.shoot("plan-failed")
    assert "\n".join(faults) == ""


def test_a_rejected_row_is_found_in_two_clicks(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        opened.open("/")
        page.get_by_role("link", name="40 rejected rows").click()
        page.get_by_label("Key, reason or value contains").fill(REFUSED)
        page.get_by_role("button", name="Search").click()

        rows = page.get_by_role("table", name="Rows of trials that are rejected now").locator("> tbody > tr")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("the object does not exist yet")
        assert "1 to 1 of 1" in (page.text_content("#rejected") or "")


def test_rejected_rows_of_one_reason_are_acknowledged_and_count_again(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        opened.open("/syncs/hostile")
        expect(page.get_by_role("table", name="Reasons why rows of hostile are rejected")).to_contain_text(
            "They differ in"
        )
        page.get_by_role("link", name="rows rejected as").first.click()
        page.get_by_text("Acknowledge all of this reason").click()
        page.get_by_role("textbox", name="Why").first.fill(SCRIPT)
        page.get_by_role("button", name="Acknowledge").first.click()

        expect(page.get_by_text("These rows do not count until they change")).to_be_visible()
        expect(page.locator("#rejected")).to_contain_text("Acknowledged by local, expires in 29 days")
        opened.open("/syncs/hostile")
        expect(page.locator("#state")).to_contain_text("2 acknowledged")
        opened.open("/syncs/hostile/rejected?state=acknowledged")
        for _ in range(2):
            page.get_by_role("button", name="Let it count again").first.click()
        expect(page.get_by_role("button", name="Let it count again")).to_have_count(0)


def test_a_rejected_row_is_tried_again_now(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        opened.open(f"/syncs/trials/rejected?key={REFUSED}")
        page.get_by_text("Values", exact=True).click()
        expect(page.get_by_role("table", name="Values of the row")).to_contain_text("won")
        page.get_by_role("button", name="Try this row again").click()

        expect(page.get_by_text("one row was sent, and the store rejected it")).to_be_visible(timeout=30_000)


def test_alerts_are_muted_on_the_page_of_a_sync(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        opened.open("/syncs/trials")
        page.get_by_text("Mute…").click()
        page.get_by_role("textbox", name="Why").fill("a migration")
        page.get_by_role("button", name="Mute", exact=True).click()
        expect(page.get_by_text("Muted by local, until")).to_contain_text("a migration")

        page.get_by_role("button", name="Send alerts again").click()
        expect(page.get_by_text("Not muted; the owner is growth.")).to_be_visible()


def test_rejected_rows_are_exported(shop: Shop) -> None:
    text = shop.served.client().get(f"/syncs/trials/rejected.csv?key={REFUSED}").text

    lines = text.split("\r\n")
    assert lines[0].startswith("sync,key,reason,attempts,first_seen,last_seen,columns,values,")
    assert len(lines) == 3
    assert "acc_404" in lines[1]


def test_the_search_tells_why_a_customer_was_not_updated(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        opened.open("/runs")
        page.keyboard.press("/")
        page.keyboard.type(f"customer{REFUSED}@example.com\n")
        page.get_by_role("link", name=f"customer{REFUSED}@example.com person by email").click()

        explained = page.get_by_role("table", name="What each sync had to do with it")
        expect(explained.get_by_role("row", name="trials")).to_contain_text("the object does not exist yet")
        expect(explained.get_by_role("row", name="customers 1042")).to_contain_text("In the store")
        expect(explained.get_by_role("row", name="scores 1042")).to_have_count(0)
        page.get_by_role("link", name="Ask the warehouse now").click()
        expect(explained.get_by_role("row", name="customers 1042")).to_contain_text("as it was sent")


def test_rejected_rows_come_page_by_page(shop: Shop) -> None:
    with shop.window() as opened:
        opened.open("/syncs/trials/rejected")
        expect(opened.page.locator("#rejected")).to_contain_text("1 to 20 of 40")
        opened.page.get_by_role("link", name="Next").click()
        expect(opened.page.locator("#rejected")).to_contain_text("21 to 40 of 40")
        expect(opened.page.get_by_role("link", name="Next")).to_have_count(0)


def test_runs_come_page_by_page(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        opened.open("/runs?sync=customers")
        page.get_by_label("Status").select_option("Failed")
        page.get_by_role("button", name="Filter").click()
        expect(page.locator("tbody .badge").first).to_have_text("Failed")
        assert set(page.locator("tbody .badge").all_text_contents()) == {"Failed"}

        opened.open("/syncs/customers")
        seen = page.locator("#runs tbody a").evaluate_all("links => links.map(link => link.href)")
        page.get_by_role("link", name="Older").click()
        page.wait_for_url("**before=**")
        older = page.locator("#runs tbody a").evaluate_all("links => links.map(link => link.href)")
        assert len(seen) == len(older) == 10
        assert not set(seen) & set(older)


def test_a_held_sync_is_let_through(shop: Shop) -> None:
    hold(shop.site, shop.served)
    with shop.window() as opened:
        page = opened.page
        opened.open("/")
        page.get_by_role("region", name="Needs attention").get_by_role("link", name="scores").click()
        page.get_by_role("button", name="Show what it would do").click()
        expect(page.get_by_role("heading", name="40 removed")).to_be_visible()
        let_through = page.get_by_role("region", name="This run would be held")
        let_through.get_by_label("Type 40 to confirm the deletions").fill("40")
        let_through.get_by_role("button", name="Let it through once").click()
        expect(page.locator(".heading .badge:visible")).to_have_text("Success")

        assert page.locator("[data-delivered=removed]").text_content() == "40"
        opened.open("/syncs/scores")
        expect(page.get_by_text("A limit holds")).to_have_count(0)


def test_a_paused_sync_is_found_and_resumed(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        opened.open("/syncs/memberships")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("status")).to_contain_text("You paused the schedule.")
        opened.open("/")
        page.get_by_role("link", name="Paused 2").click()
        expect(page.locator(".syncs tbody th")).to_have_text(["coupons", "memberships"])
        page.get_by_role("link", name="memberships").click()
        page.get_by_role("button", name="Resume").click()
        expect(page.get_by_role("status")).to_contain_text("You resumed the schedule.")


def test_the_list_is_filtered_and_sorted_by_links(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        names = page.locator(".syncs tbody th")
        opened.open("/")
        page.get_by_role("link", name="b2b 4").click()
        page.get_by_role("link", name="Relationship 2").click()
        expect(names).to_have_text(["trials", "memberships"])
        page.get_by_role("columnheader", name="Name").get_by_role("link").click()
        expect(names).to_have_text(["memberships", "trials"])
        page.get_by_role("columnheader", name="Name").get_by_role("link").click()
        expect(names).to_have_text(["trials", "memberships"])
        expect(page.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "descending")
        page.get_by_label("Name, description or owner").fill("WORKS AT")
        page.get_by_role("button", name="Search").click()
        expect(names).to_have_text(["memberships"])
        page.get_by_role("link", name="Show all").click()
        expect(names).to_have_count(len(shop.served.service.catalog.current.definitions))
        opened.open("/?status=failed")
        expect(names).to_have_text(["revenue"])


def test_what_needs_somebody_comes_first_with_its_error(shop: Shop) -> None:
    hold(shop.site, shop.served)
    with shop.window() as opened:
        opened.open("/")
        found = opened.page.get_by_role("region", name="Needs attention").get_by_role("listitem").all_text_contents()

    words = [" ".join(text.split()) for text in found]
    assert [text.split()[:2] for text in words[:2]] == [["Failing", "revenue"], ["Held", "scores"]]
    assert 'Referenced column "no_such_column" not found' in words[0]
    assert words[0].count("sync_definitions/revenue.sql:8") == 1
    assert str(shop.site.path) not in words[0]
    assert "40 of 100 rows (40.0%) would be removed" in words[1]
    assert all(" since 20" in text for text in words)
    assert any("trials" in text and "40 rejected rows" in text for text in words)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "UTC"])
def test_times_are_the_browsers_with_utc_as_their_title(shop: Shop, zone: str) -> None:
    run = shop.served.service.run_log.recent("trials", 1)[0]
    utc = f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC"
    local = f"{run.started_at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S} {'GMT+9' if zone != 'UTC' else zone}"
    with window(shop.browser, shop.served.address, timezone_id=zone) as opened:
        opened.open(f"/runs/{run.id}")
        shown = opened.page.locator("time[data-exact]").first
        expect(shown).to_have_text(local)
        expect(shown).to_have_attribute("title", utc)
        opened.open("/runs?sync=trials")
        expect(opened.page.locator("tbody time").first).to_have_attribute("title", f"{local}, {utc}")
        expect(opened.page.locator("footer")).to_contain_text(f"Times are in {local.split()[-1]}")
        opened.open("/syncs/memberships")
        expect(opened.page.locator("figure svg.chart a title").last).to_contain_text(f" {local.split()[-1]} · ")


def test_pages_work_without_javascript(shop: Shop) -> None:
    context = shop.browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(shop.served.address)
    page.get_by_role("row").get_by_role("link", name="trials").click()
    with shop.site.store_locked():
        page.get_by_role("button", name="Run now").click()
        expect(page.get_by_role("heading", name="Progress")).to_be_visible()
    # The page comes again by itself.
    expect(page.get_by_role("heading", name="Time")).to_be_visible(timeout=20_000)

    page.get_by_role("link", name="The sync").click()
    page.get_by_role("link", name="Full run…").click()
    page.get_by_role("button", name="Send every row").click()
    expect(page.get_by_role("heading", name="Run of trials")).to_be_visible()
    page.get_by_label("Find a person").fill(REFUSED)
    page.get_by_label("Find a person").press("Enter")
    expect(page.get_by_role("table", name="Rejected rows whose key")).to_contain_text("does not exist yet")
    context.close()


def test_the_keyboard_reaches_everything(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        opened.open("/syncs/trials")
        page.keyboard.press("Tab")
        assert _focused(page) == "Skip to the content"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert _focused(page) == "Syncs"
        assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"


def _focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def test_who_may_only_read_is_shown_no_orders(guarded: Served, browser: Browser) -> None:
    reader, runner = guarded.client(READ_TOKEN), guarded.client(RUN_TOKEN)
    accepted = {"Accept": "text/html"}
    read, could_run = (client.get("/syncs/customers", headers=accepted).text for client in (reader, runner))

    assert "Run now" not in read
    assert "Run now" in could_run
    assert reader.post("/syncs/customers/run", headers=accepted).status_code == 403
    assert reader.post("/syncs/customers/plan", headers=accepted).status_code == 403
    assert guarded.service.run_log.recent("customers") == []
    assert runner.post("/syncs/customers/pause").status_code == 303
    assert guarded.service.run_log.paused() == {"customers"}
    assert _actions(runner) == ["pause"]


def _actions(client: httpx2.Client) -> list[str]:
    return [entry["action"] for entry in client.get("/api/v1/audit").json()["items"]]


def test_logging_in_leads_to_the_page_that_was_wanted(guarded: Served, browser: Browser) -> None:
    with window(browser, guarded.address) as opened:
        page = opened.page
        opened.open("/runs")
        faults = opened.shoot("login")
        page.get_by_label("Password").fill("a wrong guess")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_have_text("Wrong password.")
        faults += opened.shoot("login-wrong")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Runs")).to_be_visible()
        faults += opened.shoot("runs-none")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert "\n".join(faults) == ""


def test_a_change_that_another_site_asks_for_is_refused(served: Served) -> None:
    client = served.client(headers={"Origin": "http://elsewhere.example"})

    for action in ("run", "plan", "pause", "resume"):
        assert client.post(f"/syncs/customers/{action}").status_code == 403, action
        assert client.get(f"/syncs/customers/{action}").status_code in (404, 405), action
    assert served.service.run_log.recent("customers") == []
    assert served.service.run_log.paused() == set()
    assert RunStatus.RUNNING not in served.service.run_log.last_status().values()


def test_an_open_page_follows_what_happens_and_says_when_it_cannot(shop: Shop) -> None:
    with shop.window() as opened:
        page = opened.page
        page.clock.install()
        opened.open("/syncs/customers")
        tally = shop.window()
        with tally as other:
            other.page.clock.install()
            other.open("/")
            expect(page.get_by_text("paused", exact=True)).to_have_count(0)
            shop.served.service.pause("customers")
            page.clock.fast_forward(21_000)
            other.page.clock.fast_forward(21_000)
            expect(page.locator("#actions").get_by_role("button", name="Resume")).to_be_visible()
            expect(page.locator("#state .tiles")).to_contain_text("Paused")
            expect(other.page.locator("#choices")).to_contain_text("Paused 2")
        shop.served.service.resume("customers")
        expect(page.locator("[data-stale]")).to_be_hidden()
        page.route("**/syncs/customers", lambda route: route.fulfill(status=502))
        page.clock.fast_forward(21_000)
        expect(page.locator("[data-stale]")).to_contain_text("This page cannot be refreshed: it is as it was at")
        page.unroute("**/syncs/customers")
        page.clock.fast_forward(21_000)
        expect(page.locator("[data-stale]")).to_be_hidden()
        expect(page.locator("#actions").get_by_role("button", name="Pause")).to_be_visible()
