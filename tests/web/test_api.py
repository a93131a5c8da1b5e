"""Syncs and runs as JSON, and the orders that are taken."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from tests.web.conftest import (
    APPROVE_TOKEN,
    ENDLESS,
    GUARDED,
    READ_TOKEN,
    RUN_TOKEN,
    Served,
    Site,
    wait_for_phase,
    wait_until,
)

API = "/api/v1"
RUNS = f"{API}/syncs/customers/runs"


def pages(client: httpx2.Client, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    """The items of all pages."""
    cursor: dict[str, str] = {}
    while True:
        page = client.get(path, params=parameters | cursor).json()
        assert len(page["items"]) <= parameters["limit"]
        yield from page["items"]
        if page["next"] is None:
            return
        cursor = {"cursor": page["next"]}


@contextmanager
def held_up(site: Site, client: httpx2.Client) -> Iterator[str]:
    """The id of a run that goes on until the block ends."""
    assert client.post(f"{RUNS}?wait=30").status_code == 200
    site.people({"1": "pro", "2": "pro", "3": "pro"})
    with site.store_locked():
        yield client.post(RUNS).json()["run_id"]


# Syncs


def test_syncs_are_told_page_by_page(site: Site, served: Served) -> None:
    site.define("accounts", header="entity: object\nobject: {type: account, id: id}\ntags: [crm]\nowner: ann")
    site.define("broken", header="entity: person\nperson: {id: id}")
    served.service.reload()
    site.define("broken", header="entity: nothing")
    served.service.reload()
    client = served.client()

    found = list(pages(client, f"{API}/syncs", limit=2))
    accounts, broken, customers = found

    assert [sync["name"] for sync in found] == ["accounts", "broken", "customers"]
    assert (accounts["entity"], accounts["tags"], accounts["owner"]) == ("object", ["crm"], "ann")
    assert (customers["schedule"], customers["freshness"], customers["last_run"]) == (
        "only by hand",
        "unscheduled",
        None,
    )
    assert "nothing" in broken["outdated"]
    assert str(site.path) not in str(found)


def test_a_sync_is_told_with_its_definition(site: Site, served: Served) -> None:
    client = served.client()
    run_id = client.post(f"{RUNS}?wait=30").json()["run_id"]

    sync = client.get(f"{API}/syncs/customers").json()

    assert (sync["sql"].strip(), sync["file"]) == ("SELECT id, plan FROM people", "customers.sql")
    assert (sync["key_columns"], sync["on_removed"]) == (["id"], "keep")
    assert (sync["last_run"]["run_id"], sync["last_run"]["counts"]["accepted"]) == (run_id, 3)
    assert sync["running"] is None


@pytest.mark.parametrize(
    "name", ["customer", "no-such", "x" * 150, "%00", "..%2f..%2fetc", "' OR 1=1 --", "a%0d%0aX:y"]
)
def test_what_there_is_not_is_told_so(served: Served, name: str) -> None:
    client = served.client()
    for method, path in (("GET", ""), ("POST", "/runs"), ("GET", "/rejected"), ("POST", "/pause"), ("POST", "/plan")):
        answer = client.request(method, f"{API}/syncs/{name}{path}")
        assert answer.status_code == 404, (method, path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["title"] == "Not Found"
        assert "x" not in answer.headers
    assert client.get(f"{API}/runs/{name}").status_code == 404
    assert client.post(f"{API}/runs/{name}/cancel").status_code == 404
    assert client.get(f"{API}/runs", params={"sync": name}).status_code == 404


def test_a_near_miss_is_told_what_was_meant(served: Served) -> None:
    problem = served.client().get(f"{API}/syncs/costumers").json()

    assert problem["detail"] == "there is no sync `costumers`"
    assert problem["hint"] == "Did you mean `customers`?"


# Runs


def test_a_run_is_ordered_and_waited_for(served: Served) -> None:
    client = served.client()

    ordered = client.post(RUNS)
    assert ordered.status_code == 202
    run_id = ordered.json()["run_id"]
    wait_until(lambda: client.get(f"{API}/runs/{run_id}").json()["status"] == "success")
    waited = client.post(f"{RUNS}?wait=30", json={"full": True, "allow_limits": True})

    assert waited.status_code == 200
    assert (waited.json()["status"], waited.json()["trigger"], waited.json()["actor"]) == ("success", "api", "local")
    assert waited.json()["counts"]["accepted"] == 3
    assert list(waited.json()["phases"]) == ["query", "compare", "journal", "send", "settle"]


def test_waiting_has_an_end(site: Site, served: Served) -> None:
    client = served.client()
    with held_up(site, client) as run_id:
        client.post(f"{API}/runs/{run_id}/cancel")
    wait_until(lambda: client.get(f"{API}/runs/{run_id}").json()["finished_at"])
    site.people({"1": "free", "2": "free", "3": "free"})
    with site.store_locked():
        answer = client.post(f"{RUNS}?wait=1")

    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["finished_at"]) == ("running", None)
    late = client.post(f"{RUNS}?wait=301")
    assert (late.status_code, late.json()["detail"]) == (422, "query.wait: should be less than or equal to 300")


def test_a_run_in_progress_is_told_and_can_be_cancelled(site: Site, served: Served) -> None:
    client = served.client()
    with held_up(site, client) as run_id:
        live = wait_for_phase(client, run_id, "send")
        again = client.post(RUNS)
        sync = client.get(f"{API}/syncs/customers").json()
        cancelled = client.post(f"{API}/runs/{run_id}/cancel")

    assert (live["status"], live["progress"]["total"], live["counts"]["changed"]) == ("running", 2, 2)
    assert (again.status_code, again.json()["run_id"]) == (409, run_id)
    assert again.json()["detail"] == "the sync runs already"
    assert sync["running"]["run_id"] == run_id
    assert (cancelled.status_code, cancelled.json()["progress"]["is_stopping"]) == (202, True)
    over = wait_until(
        lambda: client.get(f"{API}/runs/{run_id}").json()["finished_at"] and client.get(f"{API}/runs/{run_id}")
    )
    assert (over.json()["status"], over.json()["error"]) == ("interrupted", "stopped by local")
    refused = client.post(f"{API}/runs/{run_id}/cancel")
    assert (refused.status_code, refused.json()["detail"]) == (409, "the run is over")


def test_another_processs_run_is_in_the_way_while_it_lives(site: Site, served: Served) -> None:
    site.define("endless", ENDLESS)
    served.service.reload()
    client = served.client()
    with site.elsewhere("endless") as (process, run_id):
        refused = client.post(f"{API}/syncs/endless/runs")
        planned = client.post(f"{API}/syncs/endless/plan")
        process.send_signal(signal.SIGKILL)
        process.wait()
        site.define("endless")
        served.service.reload()
        taken = client.post(f"{API}/syncs/endless/runs?wait=30")

    assert (refused.status_code, refused.json()["run_id"]) == (409, run_id)
    assert planned.status_code == 409
    assert (taken.status_code, taken.json()["status"]) == (200, "success")
    assert client.get(f"{API}/runs/{run_id}").json()["status"] == "interrupted"


def test_a_run_of_another_process_is_cancelled_by_way_of_the_run_log(site: Site, served: Served) -> None:
    site.define("endless", ENDLESS)
    served.service.reload()
    client = served.client()
    with site.elsewhere("endless") as (_, run_id):
        asked = client.post(f"{API}/runs/{run_id}/cancel")
        ended = wait_until(lambda: (run := client.get(f"{API}/runs/{run_id}").json())["finished_at"] and run)

    assert (asked.status_code, asked.json()["status"]) == (202, "running")
    assert (ended["status"], ended["error"], ended["ended_by"]) == ("interrupted", "stopped by local", "person")


def test_an_order_that_is_repeated_is_known_again(site: Site) -> None:
    site.define("others")
    with site.served(GUARDED) as served:
        ci = served.client(RUN_TOKEN, {"Idempotency-Key": "order 1"})
        first = ci.post(f"{RUNS}?wait=30").json()["run_id"]
        assert ci.post(f"{RUNS}?wait=30").json()["run_id"] == first
        assert ci.post(f"{API}/syncs/others/runs").status_code == 422
        assert ci.post(RUNS, json={"full": True}).status_code == 422
        assert len(ci.get(f"{API}/runs").json()["items"]) == 1
        assert len(ci.get(f"{API}/audit").json()["items"]) == 1
        served.later(site, timedelta(hours=25))
        assert ci.post(f"{RUNS}?wait=30").json()["run_id"] != first
        assert ci.post(RUNS, headers={"Idempotency-Key": ""}).status_code == 422
    with site.served(GUARDED) as served:
        # Over restarts too.
        ci = served.client(RUN_TOKEN, {"Idempotency-Key": "order 1"})
        assert ci.post(f"{RUNS}?wait=30").json()["run_id"] != first
        assert len(ci.get(f"{API}/runs").json()["items"]) == 2


def test_orders_of_one_moment_make_one_run(served: Served) -> None:
    client = served.client(headers={"Idempotency-Key": "a-key"})
    with ThreadPoolExecutor(8) as threads:
        answers = [*threads.map(lambda _: client.post(RUNS), range(8))]

    assert {answer.status_code for answer in answers} <= {200, 202}
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    assert len(served.service.run_log.recent("customers")) == 1


def test_runs_are_told_page_by_page_newest_first(site: Site, served: Served) -> None:
    site.define("others")
    served.service.reload()
    client = served.client()
    made = [client.post(f"{RUNS}?wait=30").json()["run_id"] for _ in range(5)]
    other = client.post(f"{API}/syncs/others/runs?wait=30").json()["run_id"]

    assert [run["run_id"] for run in pages(client, f"{API}/runs", limit=2)] == [other, *made[::-1]]
    assert [run["run_id"] for run in pages(client, f"{API}/runs", limit=3, sync="customers")] == made[::-1]


def test_a_sync_that_is_gone_keeps_its_runs(site: Site, served: Served) -> None:
    client = served.client()
    client.post(f"{RUNS}?wait=30")
    (site.path / "sync_definitions/customers.sql").unlink()
    served.service.reload()

    assert len(client.get(f"{API}/runs?sync=customers").json()["items"]) == 1
    assert client.get(f"{API}/syncs/customers/rejected").json()["total"] == 0
    assert client.get(f"{API}/syncs/customers").status_code == 404


def test_a_service_that_does_not_lead_takes_no_orders(served: Served) -> None:
    class Standby:
        term: int | None = None
        holder = "process 8 here"

        def acquire(self) -> bool:
            return False

        def holds(self) -> bool:
            return False

        def leader(self) -> str:
            return "process 7 on another"

        def release(self) -> None: ...

    served.service.leadership = served.service.leader.leadership = Standby()
    answer = served.client().post(RUNS)

    assert answer.status_code == 503
    assert "process 7 on another leads" in answer.json()["detail"]
    assert served.client().get("/readyz").status_code == 200


# What else is asked and ordered


def test_rejected_rows_are_told_page_by_page(site: Site, served: Served) -> None:
    site.define("bad", "SELECT 'x' || range AS id, chr(0) AS plan FROM range(5)")
    served.service.reload()
    client = served.client()
    run = client.post(f"{API}/syncs/bad/runs?wait=30").json()

    rejected = list(pages(client, f"{API}/syncs/bad/rejected", limit=2))

    assert (run["status"], run["counts"]["rejected"]) == ("warning", 5)
    assert {row["key"] for row in rejected} == {f"x{i}" for i in range(5)}
    assert all(row["reason"] and row["attempts"] == 1 for row in rejected)
    assert client.get(f"{API}/syncs/bad/rejected").json()["total"] == 5


def test_rejected_rows_are_acknowledged_until_they_change(site: Site) -> None:
    site.define(
        "bad", "SELECT CASE WHEN range > 1 THEN 'x' || range END AS id, 'secret' || range AS plan FROM range(4)"
    )
    with site.served(GUARDED) as served:
        reader, runner, duty = map(served.client, (READ_TOKEN, RUN_TOKEN, APPROVE_TOKEN))
        address = f"{API}/syncs/bad/rejected"
        runner.post(f"{API}/syncs/bad/runs?wait=30")
        hidden, shown = (client.get(address).json()["items"] for client in (reader, runner))
        why = {"why": "test accounts", "key": "", "digest": shown[0]["digest"]}

        refused = runner.post(f"{address}/acknowledge", json=why)
        first = duty.post(f"{address}/acknowledge", json=why).json()
        health = runner.get(f"{API}/syncs/bad").json()
        rest = duty.post(f"{address}/acknowledge", json={"why": "known", "until": "2099-01-01T00:00:00Z"}).json()
        known = reader.get(f"{address}?acknowledged=true&limit=1").json()
        again = runner.post(f"{API}/syncs/bad/runs?wait=30").json()
        audit = runner.get(f"{API}/audit").json()["items"]
        past = duty.post(f"{address}/acknowledge", json={"why": "x", "until": "2001-01-01T00:00:00Z"})
        none = duty.post(f"{address}/unacknowledge", json={"reason": "another"}).json()

    assert [row["values"]["plan"] for row in shown] == ["secret0", "secret1"]
    assert [(row["values"], row["digest"]) for row in hidden] == [(None, "")] * 2
    assert (refused.status_code, past.status_code) == (403, 422)
    assert (first, rest, none) == ({"rows": 1}, {"rows": 2}, {"rows": 0})
    assert (health["health"], health["rejected"], health["acknowledged"]) == ("degraded", 2, 1)
    assert (known["total"], known["matching"], known["next"]) == (2, 2, "1")
    assert known["items"][0]["acknowledged"]["by"] == "token duty"
    assert again["status"] == "success"
    assert [entry["action"] for entry in audit if entry["action"] != "run"] == ["acknowledge"] * 2


def test_pausing_and_resuming(site: Site, served: Served) -> None:
    path = site.define("hourly")
    path.write_text(path.read_text().replace("schedule: manual", "schedule: every 1 hour"))
    served.service.reload()
    client = served.client()

    paused = client.post(f"{API}/syncs/hourly/pause").json()
    assert (paused["paused"], paused["next_due"], paused["freshness"]) == (True, None, "unscheduled")
    assert client.post(f"{API}/syncs/hourly/pause").json()["paused"]
    resumed = client.post(f"{API}/syncs/hourly/resume").json()
    assert (resumed["paused"], resumed["next_due"] is not None) == (False, True)


def test_a_plan_shows_rows_as_they_were_and_would_be(site: Site, served: Served) -> None:
    client = served.client()
    site.define("customers", header="entity: person\nperson: {id: id}\nlimits: {changed: 0}")
    served.service.reload()
    client.post(f"{RUNS}?wait=30")
    site.people({"1": "pro", "2": "pro", "4": "free"})

    plan = client.post(f"{API}/syncs/customers/plan?rows=2")

    assert plan.status_code == 200
    found = plan.json()
    assert {name: number for name, number in found["counts"].items() if number} == {
        "queried": 3,
        "added": 1,
        "changed": 1,
        "removed": 1,
        "unchanged": 1,
    }
    assert found["attributes"] == {"plan": 1}
    assert [row for row in found["sample"] if row["change"] == "changed"] == [
        {"change": "changed", "key": "1", "before": {"plan": "free"}, "after": {"plan": "pro"}}
    ]
    assert found["held"]
    assert len(client.get(f"{API}/runs").json()["items"]) == 1


def test_a_plan_of_a_query_that_fails_says_where(site: Site, served: Served) -> None:
    site.define("wrong", "SELECT id FROM no_such_table")
    served.service.reload()

    answer = served.client().post(f"{API}/syncs/wrong/plan")

    assert answer.status_code in (422, 502)
    assert answer.json()["detail"]


def test_a_held_run_is_let_through_once(site: Site, served: Served) -> None:
    client = served.client()
    site.define("customers", header="entity: person\nperson: {id: id}\nlimits: {changed: 0}")
    served.service.reload()
    client.post(f"{RUNS}?wait=30")
    site.people({"1": "pro", "2": "pro", "3": "pro"})

    held = client.post(f"{RUNS}?wait=30").json()
    assert (held["status"], client.get(f"{API}/syncs/customers").json()["held"]) == ("held", True)
    assert held["hint"]
    assert client.post(f"{RUNS}?wait=30", json={"allow_limits": True}).json()["status"] == "success"


def test_a_run_that_a_wrong_clock_holds_is_let_through_once(site: Site, served: Served) -> None:
    client = served.client()
    site.ahead = timedelta(days=400)
    client.post(f"{RUNS}?wait=30")
    site.ahead = timedelta()

    held = client.post(f"{RUNS}?wait=30", json={"allow_limits": True}).json()
    assert (held["status"], client.get(f"{API}/syncs/customers").json()["held"]) == ("held", True)
    assert "A wrong clock holds this sync" in client.get("/syncs/customers").text
    assert "A wrong clock held this run" in client.get(f"/runs/{held['run_id']}").text
    (planned,) = client.post(f"{API}/syncs/customers/plan").json()["held"]
    assert planned.startswith("this machine's clock went back")
    page = client.post("/syncs/customers/plan").text
    assert "Let it through once" in page
    assert client.post(f"{RUNS}?wait=30", json={"allow_clock": True}).json()["status"] == "success"
    assert client.post(f"{RUNS}?wait=30").json()["status"] == "success"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("{", "the body is not JSON"),
        ("[]", "body: should be an object"),
        ('"x"', "body: should be an object"),
        ('{"full": 1}', "body.full: should be true or false"),
        ('{"full": "secret-row"}', "body.full: should be true or false"),
        ('{"secret-row": 1}', "the body has an unknown member"),
        ("1e999", "body: should be an object"),
    ],
)
def test_what_cannot_be_read_is_refused_without_repeating_it(served: Served, body: str, detail: str) -> None:
    answer = served.client().post(RUNS, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert answer.json()["detail"] == detail
    assert "secret-row" not in answer.text


def test_what_goes_wrong_with_the_run_log_is_told_and_no_traceback(site: Site, served: Served) -> None:
    with served.without_log(site):
        answer = served.client().get(f"{API}/runs")

    assert answer.status_code == 503
    assert "Traceback" not in answer.text


def test_the_options_of_a_run_are_in_its_record_the_audit_and_on_its_page(site: Site) -> None:
    with site.served() as served:
        client = served.client()
        body = {"full": True, "allow_limits": True}
        run = client.post(f"{RUNS}?wait=30", json=body).json()
        plain = client.post(f"{RUNS}?wait=30").json()
        entries = client.get(f"{API}/audit").json()["items"]
        page = client.get(f"/runs/{run['run_id']}", headers={"Accept": "text/html"}).text

    assert (run["scope"], run["options"], run["ended_by"]) == ("full", ["full", "allow_limits"], None)
    assert (plain["scope"], plain["options"]) == ("whole", [])
    assert [entry["options"] for entry in entries] == [[], ["full", "allow_limits"]]
    assert "sends every row, limits are lifted" in page


def test_the_audit_says_who_did_what(site: Site) -> None:
    with site.served(GUARDED) as served:
        ci = served.client(RUN_TOKEN)
        run_id = ci.post(f"{RUNS}?wait=30").json()["run_id"]
        ci.post(f"{API}/syncs/customers/pause")
        ci.post(f"{API}/syncs/customers/resume")
        ci.post(f"{API}/syncs/customers/plan")
        served.client(READ_TOKEN).post(f"{API}/syncs/customers/pause")
        browser = served.client(headers={"Origin": served.address})
        browser.post("/login", data={"password": "wrong"})
        browser.post("/login", data={"password": "canary-password-1"})
        browser.post("/logout")
        entries = list(pages(ci, f"{API}/audit", limit=3))[::-1]

    assert [(entry["actor"], entry["action"], entry["sync"], entry["run_id"]) for entry in entries] == [
        ("token ci", "run", "customers", run_id),
        ("token ci", "pause", "customers", ""),
        ("token ci", "resume", "customers", ""),
        ("token ci", "plan", "customers", ""),
        ("", "failed_login", "", ""),
        ("password", "login", "", ""),
        ("password", "logout", "", ""),
    ]
    assert {entry["address"] for entry in entries} == {"127.0.0.1"}
    assert all(entry["at"].endswith("Z") for entry in entries)


def test_who_waits_for_the_run_log_keeps_nobody_else_waiting(site: Site, served: Served) -> None:
    client = served.client()
    with closing(sqlite3.connect(site.path / ".syncer/runs.db", isolation_level=None)) as log:
        log.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(client.post, f"{API}/syncs/customers/pause")
            began = time.monotonic()
            answers = [served.client().get(path).status_code for path in ("/livez", f"{API}/syncs", "/readyz")]
            took = time.monotonic() - began
            assert not waiting.done()
            log.execute("ROLLBACK")
            assert waiting.result(60).status_code == 200

    assert answers == [200, 200, 200]
    assert took < 10


def test_a_plan_does_not_keep_the_process_from_ending(site: Site) -> None:
    site.define("endless", ENDLESS)
    with site.process() as (process, address), ThreadPoolExecutor() as threads:
        planning = threads.submit(
            lambda: httpx2.post(f"{address}{API}/syncs/endless/plan", timeout=60, trust_env=False, verify=False)
        )
        wait_until(lambda: site.log("SELECT 1 FROM syncer_audit WHERE action = 'plan'"))
        process.terminate()
        answer = planning.result(60)
        code = process.wait(60)

    assert (answer.status_code, answer.json()["detail"]) == (503, "the service is stopping")
    assert code == 128 + signal.SIGTERM
