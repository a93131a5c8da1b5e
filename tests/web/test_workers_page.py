"""The pages show workers, what each runs and what waits for them, where workers make the runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from syncer.model.types import Order, RunStatus, Trigger
from syncer.service.pool import ActiveRun
from syncer.state.alerts import OpenAlerts
from syncer.state.leases import Leases
from syncer.state.runs import RunLog
from tests.web.browser import chromium, window
from tests.web.conftest import Served, Site, wait_until
from tests.web.many import statements

HEADER = "entity: person\nperson: {id: id}"


@contextmanager
def serving(site: Site, url: str) -> Iterator[Served]:
    """A service whose runs workers make, with a sync of queue `heavy`."""
    site.define("scores", header=f"{HEADER}\nqueue: heavy")
    given = {"SYNCER_RUNS": "workers", "SYNCER_SNAPSHOTS_URL": "database", "SYNCER_DATABASE_URL": url}
    with site.served(given) as served:
        wait_until(lambda: served.service.leads)
        yield served


def ordered(served: Served, name: str) -> ActiveRun:
    """A run that waits for a worker."""
    active = served.service.run_now(name, actor="ann")
    remote = served.service.remote_runs
    assert remote is not None
    wait_until(lambda: [run for run in remote.waiting() if run.sync == name and run.is_due])
    return active


def begun(served: Served, active: ActiveRun, worker: str) -> None:
    """Let a worker begin a run, and go on with it."""
    log: RunLog = served.service.run_log
    assert Leases(log.database).take(active.name, active.run_id, worker, served.service.now())
    order = Order(trigger=Trigger.API, actor="ann", term=active.order.term, run_id=active.run_id, worker=worker)
    log.start(active.name, order, active.definition.hash, served.service.now())
    wait_until(lambda: active.began_at)


def test_the_overview_shows_workers_and_what_waits_for_them(site: Site, postgres_url: str) -> None:
    with serving(site, postgres_url) as served, chromium() as browser, window(browser, served.address) as shown:
        client, leases = served.client(), Leases(served.service.run_log.database)
        nobody = client.get("/").text
        active = ordered(served, "customers")
        waiting = ordered(served, "scores")
        lonely = client.get("/").text
        leases.beat("crm-7-ab12", "crm", ["default"], [])
        leases.beat("old-9-ff00", "old", [], [])
        with served.service.run_log.database.writing() as connection:
            connection.exec_driver_sql(
                "UPDATE syncer_workers SET beat_at = beat_at - interval '1 hour' WHERE worker = 'old-9-ff00'"
            )
        begun(served, active, "crm-7-ab12")

        shown.open("/")
        workers = shown.page.locator("#workers")
        rows = workers.locator("tbody tr").all_inner_texts()
        faults = shown.shoot("workers")
        shown.page.get_by_role("link", name="customers", exact=True).first.click()
        shown.page.wait_for_url(f"**/runs/{active.run_id}")
        phase = shown.page.locator("[data-phase]").inner_text()
        facts = shown.page.locator(".facts").inner_text()
        faults += shown.shoot("run-of-a-worker")
        shown.open(f"/runs/{waiting.run_id}")
        waits = (shown.page.locator("[data-phase]").inner_text(), shown.page.locator(".facts").inner_text())
        served.service.run_log.finish(active.run_id, RunStatus.SUCCESS, served.service.now())

    assert "No worker is known" in nobody
    assert "Runs that wait" not in nobody
    assert lonely.count("No worker</span>") == 2
    assert rows[0] == "crm-7-ab12\tjust now\tcustomers\tdefault\tcrm"
    assert "No sign since " in rows[1]
    assert rows[1].endswith("–\tall\told")
    assert rows[2].replace("\n", "").startswith("scores\theavy\tNo worker\t")
    assert phase == "Running on worker crm-7-ab12"
    assert "Worker\ncrm-7-ab12" in facts
    assert "Waited\n" in facts
    assert waits[0] == "Waiting for a worker"
    assert "Waits since\n" in waits[1]
    assert faults == []


def test_the_alert_about_missing_workers_leads_to_them(site: Site, postgres_url: str) -> None:
    with serving(site, postgres_url) as served:
        OpenAlerts(served.service.run_log.database).update([("queue heavy", "workers")], [], served.service.now())
        text = served.client().get("/").text

    assert "<strong>queue <code>heavy</code> waits for a worker</strong>" in text
    assert '<a href="/#workers">Workers</a>' in text


def test_a_machine_that_makes_its_own_runs_speaks_of_no_workers_and_asks_for_none(site: Site) -> None:
    with site.served() as served:
        client = served.client()
        assert client.post("/api/v1/syncs/customers/runs?wait=30").status_code == 200
        run_id = served.service.run_log.recent("customers", 1)[0].id
        with statements() as seen:
            texts = [client.get(path).text for path in ("/", f"/runs/{run_id}", "/api/v1/workers", "/metrics")]

    assert not [text for text in texts[:2] if "orker" in text]
    assert not [statement for statement in seen if "syncer_workers" in statement or "syncer_leases" in statement]
