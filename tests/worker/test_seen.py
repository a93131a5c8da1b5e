"""Workers, what they make, and what waits for them are seen: in the API, by the pages and the metrics."""

from __future__ import annotations

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from syncer.service.queue_metrics import HELP
from syncer.web.app import create_app
from tests.service.machines import wait_until
from tests.worker.office import Office

API = "/api/v1"


def client_of(office: Office) -> TestClient:
    app = create_app(office.service)
    return TestClient(app, base_url="http://127.0.0.1:8765", client=("127.0.0.1", 50_000))


def test_the_api_tells_of_workers_and_of_who_makes_a_run(office: Office) -> None:
    client = client_of(office)
    assert client.get(f"{API}/workers").json() == {"items": []}
    active = office.service.run_now("customers", actor="ann")
    wait_until(lambda: office.service.pool._next() is None)
    waiting = client.get(f"{API}/runs/{active.run_id}").json()
    with office.worker("a", queues=["default", "heavy"]):
        assert active.ended.wait(60)
        wait_until(lambda: bool(client.get(f"{API}/workers").json()["items"]))
        (found,) = client.get(f"{API}/workers").json()["items"]
        asked = [client.get(f"{API}/workers", params={"queue": queue}).json()["items"] for queue in ("heavy", "x")]
    run = client.get(f"{API}/runs/{active.run_id}").json()

    assert (waiting["worker"], waiting["waited_seconds"], waiting["progress"]["phase"]) == (None, None, "waiting")
    assert {name: value for name, value in found.items() if name not in ("beat_at", "running")} == {
        "worker": "a",
        "host": "here",
        "lives": True,
        "queues": ["default", "heavy"],
    }
    assert [len(items) for items in asked] == [1, 0]
    assert run["worker"] == "a"
    assert run["waited_seconds"] > 0
    assert run["ordered_at"] == waiting["ordered_at"] == waiting["started_at"]


def test_the_api_tells_where_a_run_goes_on(office: Office) -> None:
    client = client_of(office)
    office.define_gated("slow")
    with office.worker("a"):
        with office.closed("slow"):
            active = office.service.run_now("slow", actor="ann")
            wait_until(lambda: bool(client.get(f"{API}/runs/{active.run_id}").json()["worker"]))
            wait_until(lambda: active.began_at is not None)
            run = client.get(f"{API}/runs/{active.run_id}").json()
            sync = client.get(f"{API}/syncs/slow").json()
            wait_until(lambda: bool(client.get(f"{API}/workers").json()["items"]))
            (worker,) = client.get(f"{API}/workers").json()["items"]
        assert active.ended.wait(60)

    assert (run["status"], run["worker"], run["progress"]["phase"]) == ("running", "a", "elsewhere")
    assert sync["running"]["progress"]["phase"] == "elsewhere"
    assert [(one["sync"], one["run_id"]) for one in worker["running"]] == [("slow", active.run_id)]


def scraped(client: TestClient) -> dict[tuple[str, ...], float]:
    """The samples about workers, by name and queue."""
    families = [one for one in text_string_to_metric_families(client.get("/metrics").text) if one.name in HELP]
    samples = [sample for family in families for sample in family.samples if sample.labels.get("le", "+Inf") == "+Inf"]
    return {
        (sample.name, *([sample.labels["queue"]] if "queue" in sample.labels else [])): sample.value
        for sample in samples
    }


def test_the_metrics_tell_what_waits_and_who_takes_it(office: Office) -> None:
    office.define("heavy", "queue: heavy")
    client = client_of(office)
    nobody = scraped(client)
    runs = [office.service.run_now(name, actor="ann") for name in ("customers", "heavy")]
    wait_until(lambda: office.service.pool._next() is None)
    wait_until(lambda: scraped(client)["syncer_queue_oldest_seconds", "heavy"] > 0.5)
    waiting = scraped(client)
    with office.worker("a", queues=["default"]):
        assert runs[0].ended.wait(60)
        wait_until(lambda: scraped(client)["syncer_workers",] == 1)
        wait_until(lambda: scraped(client)["syncer_queue_seconds_count", "default"] == 1)
        found = scraped(client)
        with office.worker("b"):
            assert runs[1].ended.wait(60)
            wait_until(lambda: scraped(client)["syncer_queue_workers", "heavy"] == 1)
    (office.folder / "sync_definitions/heavy.sql").unlink()
    office.service.reload()

    assert {
        name[0].removesuffix("_count").removesuffix("_sum").removesuffix("_bucket") for name in nobody
    } == HELP.keys()
    assert set(nobody.values()) == {0}
    assert waiting["syncer_queued_runs", "default"] == waiting["syncer_queued_runs", "heavy"] == 1
    assert found["syncer_queued_runs", "default"] == found["syncer_queue_oldest_seconds", "default"] == 0
    assert found["syncer_queued_runs", "heavy"] == 1
    assert (found["syncer_queue_workers", "default"], found["syncer_queue_workers", "heavy"]) == (1, 0)
    assert found["syncer_queue_seconds_sum", "default"] > 0.5
    assert not [sample for sample in scraped(client) if "heavy" in sample]
