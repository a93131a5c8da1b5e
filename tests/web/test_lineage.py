"""The picture of what syncs read and write."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Browser, expect

from syncer.queries.query import read_tables
from syncer.web.pages import lineage
from tests.web.browser import chromium, window
from tests.web.conftest import Site


@pytest.mark.parametrize(
    ("sql", "dialect", "tables"),
    [
        ("SELECT id FROM people", None, ("people",)),
        ("SELECT p.id FROM crm.people p JOIN crm.people q USING (id), orders", None, ("crm.people", "orders")),
        ("WITH people AS (SELECT * FROM raw.people) SELECT * FROM people", None, ("raw.people",)),
        ("WITH a AS (SELECT 1) SELECT * FROM a JOIN s.a USING (x)", None, ("s.a",)),
        ('SELECT * FROM "Sales 2024"', "postgres", ("Sales 2024",)),
        ("SELECT * FROM `proj.data.people`", "bigquery", ("proj.data.people",)),
        ("SELECT id FROM a WHERE id IN (SELECT id FROM b) UNION SELECT id FROM c", None, ("a", "b", "c")),
        ("SELECT 1 AS id", None, ()),
        ("DELETE FROM people", None, None),
        ("SELECT ((", None, None),
    ],
)
def test_the_tables_of_a_query_are_found(sql: str, dialect: str | None, tables: tuple[str, ...] | None) -> None:
    found = read_tables(sql, dialect)

    assert (found and tuple(sorted(found))) == (tables and tuple(sorted(tables)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def define(site: Site) -> None:
    header = "entity: person\nperson: {id: id}\nattributes: [plan]"
    site.define("plans", "SELECT id, plan FROM people", header)
    site.define("newest", "SELECT p.id, p.plan FROM people p JOIN orders o ON o.id = p.id", header)
    site.define("windows", "SELECT id, plan FROM people WHERE plan > '{{ last_sync_time }}'", header)
    site.define("mixed", "SELECT * FROM teams t", "entity: object\nobject: {type: team, id: id}")


def test_each_part_leads_to_what_belongs_to_it(site: Site, browser: Browser) -> None:
    define(site)
    with site.served() as served, window(browser, served.address) as opened:
        page = opened.page
        opened.open("/lineage")
        faults = opened.shoot("lineage")
        parts = page.locator(".lineage a title")
        drawn = parts.all_text_contents()
        assert len(drawn) == len(set(drawn))
        assert {"people", "orders", "teams", "plans", "newest", "windows", "mixed", "person.plan"} <= set(drawn)
        assert "team.every column" in drawn
        page.get_by_role("link", name="orders").click()
        expect(page.locator(".heading")).to_contain_text("Only what belongs to orders")
        assert set(parts.all_text_contents()) == {"people", "orders", "newest", "person.plan"}
        page.get_by_role("link", name="person.plan").click()
        page.wait_for_url("**attribute=person.plan")
        assert {"plans", "newest", "windows"} <= set(parts.all_text_contents())
        page.get_by_role("link", name="newest").click()
        page.get_by_role("link", name="Lineage", exact=True).last.click()
        page.wait_for_url("**sync=newest")
        assert set(parts.all_text_contents()) == {"people", "orders", "newest", "person.plan"}
        opened.open("/lineage?table=none")
        expect(page.get_by_role("heading", name="No sync reads or writes this")).to_be_visible()
    assert "\n".join(faults) == ""


def test_a_picture_has_a_bound_and_its_parts_do_not_overlap(site: Site) -> None:
    define(site)
    for number in range(lineage._DRAWN_SYNCS):
        site.define(
            f"more_{number:02}",
            f"SELECT id, {', '.join(f'c{n}' for n in range(30))} FROM t{number}, shared",
            "entity: person\nperson: {id: id}",
        )
    with site.served() as served:
        settings, known = served.service.settings, served.service.catalog.current.definitions
        drawn = [lineage.lineage_of(settings, definition) for definition in known.values()]
        page = served.client(headers={"Accept": "text/html"}).get("/lineage").text

    found = lineage.picture(drawn[: lineage._DRAWN_SYNCS])
    assert len({(part.x, part.y) for part in found.parts}) == len(found.parts)
    for x in {part.x for part in found.parts}:
        heights = sorted(part.y for part in found.parts if part.x == x)
        assert all(b - a >= lineage._HIGH for a, b in pairwise(heights))
        assert heights[-1] + lineage._HIGH <= found.height
    assert f"the first {lineage._DRAWN_SYNCS} of {len(drawn)} syncs" in page
    assert len(page.encode()) < 200_000
