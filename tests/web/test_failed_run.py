"""The page of a run that failed: its query with the line marked, and a button to try again."""

from __future__ import annotations

import html
import re

from tests.web.conftest import Served, Site, wait_until

CANARY = "canary7"


def test_the_line_is_marked_and_the_run_can_be_tried_again(site: Site, served: Served) -> None:
    client = served.client(headers={"Origin": served.address})
    site.people({"1": "7", "2": CANARY})
    site.define("customers", "SELECT id,\n  plan::int AS plan\nFROM people")
    assert wait_until(
        lambda: "plan::int" in served.service.definition("customers").sql or served.service.catalog.reload()
    )
    failed = client.post("/api/v1/syncs/customers/runs?wait=60").json()
    assert failed["status"] == "failed"

    page = client.get(f"/runs/{failed['run_id']}").text

    (marked,) = re.findall(r'<span class="hll">(.*?)\n</span>', page, re.DOTALL)
    assert "plan" in html.unescape(marked)
    assert ">7<" in marked.replace(" ", "")
    assert "The query, line 7" in page
    assert "value_that_fails" in page
    assert 'class="tiles' not in page
    assert CANARY not in page
    assert "Try again" in page
    again = client.post("/syncs/customers/run")
    assert again.status_code == 303
    assert again.headers["location"].startswith("/runs/")
    assert not again.headers["location"].startswith(f"/runs/{failed['run_id']}")


def test_a_run_that_succeeded_has_its_counts_and_no_query(served: Served) -> None:
    client = served.client(headers={"Origin": served.address})
    ended = client.post("/api/v1/syncs/customers/runs?wait=60").json()

    page = client.get(f"/runs/{ended['run_id']}").text

    assert 'class="tiles' in page
    assert "Try again" not in page
    assert 'class="hll"' not in page
