"""Plans that are kept, through the API and the page."""

from __future__ import annotations

import re
from typing import Any

import httpx2

from tests.web.conftest import APPROVE_TOKEN, GUARDED, RUN_TOKEN, Served, Site

API = "/api/v1"
SYNC = f"{API}/syncs/customers"
HEADER = "entity: person\nperson: {id: id}\non_removed: delete"


def lose_ten_of(number: int, site: Site, client: httpx2.Client) -> None:
    """Send people, and let the warehouse lose ten of them."""
    site.define("customers", header=HEADER)
    site.people({str(n): "free" for n in range(100, 100 + number)})
    assert client.post(f"{SYNC}/runs?wait=60", json={"allow_limits": True}).json()["status"] == "success"
    site.people({str(n): "free" for n in range(110, 100 + number)})


def run(client: httpx2.Client, **body: Any) -> dict[str, Any]:
    answer = client.post(f"{SYNC}/runs?wait=60", json=body)
    assert answer.status_code in (200, 404, 403, 422), answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_plan_is_saved_and_run_through_the_api(site: Site, served: Served) -> None:
    client = served.client()
    lose_ten_of(30, site, client)
    assert client.post(f"{SYNC}/plan").json()["plan_id"] is None
    plan = client.post(f"{SYNC}/plan?save=true").json()
    site.people({str(n): "free" for n in range(110, 131)})

    ended = run(client, plan=plan["plan_id"])

    assert (ended["status"], ended["scope"], ended["moved"]) == ("success", "plan", [])
    assert ended["delivered"] == {"added": 0, "changed": 0, "removed": 10, "resent": 0}
    assert run(client, plan=plan["plan_id"])["status"] == 404
    assert run(client, plan="nothing")["status"] == 404
    assert run(client, plan=plan["plan_id"], full=True)["status"] == 422
    assert client.get(SYNC).json()["held"] is False


def test_a_plan_that_is_out_of_date_names_the_rows(site: Site, served: Served) -> None:
    client = served.client()
    lose_ten_of(30, site, client)
    plan = client.post(f"{SYNC}/plan?save=true").json()
    site.people({str(n): "free" for n in range(109, 130)})

    ended = run(client, plan=plan["plan_id"])

    assert (ended["status"], ended["moved"]) == ("held", [{"key": "109", "why": "warehouse"}])
    assert client.get(f"{API}/runs/{ended['run_id']}").json()["moved"] == ended["moved"]
    assert "The plan was out of date; nothing was sent" in client.get("/syncs/customers").text


def test_a_ceiling_lifts_one_limit(site: Site, served: Served) -> None:
    client = served.client()
    lose_ten_of(30, site, client)

    assert run(client, allow={"removed": 9})["status"] == "held"
    assert run(client, allow={"empty": 100, "clock": True})["status"] == "held"
    assert run(client, allow={"remove": 9})["status"] == 422
    ended = run(client, allow={"removed": 10})
    assert (ended["status"], ended["options"]) == ("success", ["allow_removed=10"])


def test_only_an_approver_runs_a_plan_over_a_limit(site: Site) -> None:
    with site.served(GUARDED) as served:
        operator, approver = served.client(RUN_TOKEN), served.client(APPROVE_TOKEN)
        lose_ten_of(30, site, approver)
        plan_id = operator.post(f"{SYNC}/plan?save=true").json()["plan_id"]

        assert run(operator, plan=plan_id)["status"] == 403
        assert run(operator, allow={"removed": 10})["status"] == 403
        assert run(approver, plan=plan_id)["status"] == "success"
        site.people({str(n): "pro" for n in range(110, 130)})
        assert run(operator, plan=operator.post(f"{SYNC}/plan?save=true").json()["plan_id"])["status"] == "success"


def test_the_page_sends_its_plan_and_asks_for_the_number_of_deletions(site: Site, served: Served) -> None:
    client = served.client()
    lose_ten_of(1_030, site, client)
    page = client.post("/syncs/customers/plan").text
    assert "Type 10 to confirm the deletions" in page
    (plan_id,) = set(re.findall(r'name="plan" value="([^"]+)"', page))

    for typed in ("", "9", "1O"):
        refused = client.post("/syncs/customers/run", data={"plan": plan_id, "deletions": typed})
        assert refused.status_code == 422
    started = client.post("/syncs/customers/run", data={"plan": plan_id, "deletions": "10"})

    assert started.headers["location"].startswith("/runs/")
    run_id = started.headers["location"].removeprefix("/runs/").partition("?")[0]
    assert client.get(f"{API}/runs/{run_id}").json()["options"] == [f"plan={plan_id}"]
