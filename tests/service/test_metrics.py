from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from connectors.customerio import connection
from syncer.model import call_counts
from syncer.model.types import Counts, RunStatus
from syncer.service.queue_metrics import HELP, WAITS
from syncer.service.service import Service
from syncer.sync.progress import RunOptions
from syncer.web.app import create_app
from tests.servers.customerio import customerio_server
from tests.servers.customerio.faults import Fault
from tests.service.conftest import Bench, wait_until

DOCS = resources.files("syncer") / "docs"
MANUAL = "entity: person\nperson: {id: id}\nschedule: manual"

#: By the conventions of Prometheus a name ends in its unit, and a counter in `_total`.
UNITS = ("_seconds", "_bytes", "_rows")
NO_UNIT = {
    "syncer_leads", "syncer_definitions_broken", "syncer_run_log_up", "syncer_sync_health", "syncer_sync_held",
    "syncer_sync_late", "syncer_sync_paused", "syncer_sync_info", "process_open_fds", "process_max_fds",
}  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(path=tmp_path)
    made.people({"1": "free", "2": "pro", "3": "free"})
    made.define("customers", header=MANUAL)
    return made


@pytest.fixture
def service(bench: Bench) -> Iterator[Service]:
    with bench.service() as service:
        yield service


def scraped(client: TestClient) -> dict[tuple[str, ...], float]:
    """The samples, by their names and the values of their labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(sample.name, *_labels(sample.labels)): sample.value for family in families for sample in family.samples}


def _labels(labels: dict[str, str]) -> list[str]:
    """Their values, the sync's or store's name first."""
    return [labels[name] for name in sorted(labels, key=lambda name: (name not in ("sync", "store"), name))]


def client_of(service: Service) -> TestClient:
    return TestClient(create_app(service), base_url="http://127.0.0.1:8765", client=("127.0.0.1", 50_000))


def run(service: Service, name: str = "customers") -> None:
    assert service.run_now(name, actor="", options=RunOptions()).ended.wait(60)
    wait_until(lambda: not service.pool.active_runs())


def test_what_runs_found_is_told(service: Service, bench: Bench) -> None:
    client = client_of(service)
    before = scraped(client)
    assert before["syncer_sync_runs_total", "customers", "success"] == 0
    assert ("syncer_sync_last_success_timestamp_seconds", "customers") not in before

    run(service)
    bench.people({"1": "free", "2": "free", "4": "pro"})
    run(service)
    found = wait_until(lambda: _when(scraped(client), ("syncer_sync_runs_total", "customers", "success"), 2))

    last = service.run_log.last_ended_well(["customers"])["customers"]
    assert found["syncer_sync_last_success_timestamp_seconds", "customers"] == pytest.approx(last.timestamp())
    assert found["syncer_sync_last_duration_seconds", "customers"] > 0
    assert found["syncer_sync_runs_total", "customers", "failed"] == 0
    assert found["syncer_sync_rows_total", "customers", "queried"] == 6
    assert found["syncer_sync_rows_total", "customers", "added"] == 4
    assert found["syncer_sync_rows_total", "customers", "changed"] == 1
    assert found["syncer_sync_queue_wait_seconds_count", "customers"] == 2
    assert found["syncer_sync_queue_wait_seconds_bucket", "customers", "+Inf"] == 2
    assert found["syncer_leads",] == found["syncer_run_log_up",] == 1
    assert found["syncer_beat_age_seconds",] < 60


def test_rows_can_be_counted_by_what_a_sync_feeds(service: Service, bench: Bench) -> None:
    bench.define("coupons", header="entity: collection\ncollection: coupons\nkey: id\nschedule: manual")
    service.reload()

    answer = client_of(service).get("/metrics").text

    told = {line for line in answer.splitlines() if line.startswith("syncer_sync_info{")}
    assert told == {
        f'syncer_sync_info{{entity="{entity}",store="default",sync="{sync}",warehouse="default"}} 1.0'
        for sync, entity in (("customers", "person"), ("coupons", "collection"))
    }


def test_a_sync_that_fails_is_held_late_or_paused_is_told(service: Service, bench: Bench) -> None:
    client = client_of(service)
    bench.define("broken", "SELECT * FROM nowhere", "entity: person\nperson: {id: id}")
    service.reload()
    wait_until(lambda: service.run_log.recent("broken", statuses=[RunStatus.FAILED]))
    wait_until(lambda: not service.pool.active_runs())
    service.timetable.stop()
    assert _value(client, "syncer_sync_health", "broken", "failing") == 1
    assert _value(client, "syncer_sync_late", "broken") == 0
    bench.ahead = timedelta(hours=3)
    assert _value(client, "syncer_sync_late", "broken") == 1
    assert _value(client, "syncer_sync_late", "customers") == 0
    assert _value(client, "syncer_sync_runs_total", "broken", "failed") == 1

    service.pause("broken")
    assert _value(client, "syncer_sync_paused", "broken") == 1
    assert _value(client, "syncer_sync_late", "broken") == 0

    bench.define("customers", "SELECT * FROM people", f"{MANUAL}\nlimits: {{empty: hold}}")
    service.reload()
    run(service)
    bench.people({})
    run(service)
    assert _value(client, "syncer_sync_held", "customers") == 1
    assert _value(client, "syncer_sync_health", "customers", "held") == 1
    assert ("syncer_sync_health", "customers", "healthy") not in scraped(client)


def test_a_sync_that_is_gone_is_not_told_of(service: Service, bench: Bench) -> None:
    client = client_of(service)
    bench.define("orders", header=MANUAL)
    service.reload()
    run(service, "orders")
    assert any("orders" in sample for sample in scraped(client))

    (bench.path / "sync_definitions/orders.sql").unlink()
    service.reload()

    assert not any("orders" in sample for sample in scraped(client))


def test_broken_definitions_and_a_run_log_that_is_away_are_told(service: Service, bench: Bench) -> None:
    client = client_of(service)
    run(service)
    bench.define("customers", header="entity: nonsense")
    service.reload()
    assert _value(client, "syncer_definitions_broken") == 1

    log = bench.path / ".syncer/runs.db"
    service.timetable.stop()
    service.run_log.database.close()
    for path in (log, log.with_name("runs.db-wal"), log.with_name("runs.db-shm")):
        path.unlink(missing_ok=True)
    log.mkdir()

    found = scraped(client)
    assert found["syncer_run_log_up",] == 0
    assert found["syncer_sync_runs_total", "customers", "success"] == 1
    assert ("syncer_sync_held", "customers") not in found


def test_calls_to_a_store_are_counted(bench: Bench, service: Service) -> None:
    call_counts.add("default", requests=3, retries=1)
    call_counts.add("elsewhere", requests=1)
    client = client_of(service)

    assert _value(client, "syncer_store_requests_total", "default") >= 3
    assert _value(client, "syncer_store_retries_total", "default") >= 1
    # A name that no setting has is no label.
    assert not any("elsewhere" in sample for sample in scraped(client))


def test_the_output_keeps_to_the_conventions(service: Service) -> None:
    client = client_of(service)
    run(service)
    call_counts.add("default", requests=1)
    text = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}).text
    families = list(open_metrics(text))  # type: ignore[no-untyped-call]

    assert {family.name for family in families} >= {"syncer_sync_runs", "process_resident_memory_bytes"}
    for family in families:
        assert family.documentation.endswith("."), family.name
        assert re.fullmatch(r"(syncer|process)_[a-z_]+", family.name)
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        else:
            assert not family.name.endswith("_total")
            assert family.name.endswith(UNITS) or family.name in NO_UNIT, family.name
        labels = {name for sample in family.samples for name in sample.labels}
        assert labels <= {"sync", "store", "status", "change", "health", "le", "entity", "warehouse"}


def test_metrics_are_for_who_may_read(bench: Bench) -> None:
    token = "a token of sixteen signs"
    bench.environment |= {"SYNCER_WEB__TOKENS__CI__TOKEN": token, "SYNCER_WEB__TOKENS__CI__SCOPE": "read"}
    with bench.service() as service:
        client = client_of(service)
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_every_count_of_a_run_is_a_change(service: Service) -> None:
    changes = {name[2] for name in scraped(client_of(service)) if name[0] == "syncer_sync_rows_total"}
    assert changes == set(Counts.__dataclass_fields__)


@pytest.mark.parametrize("name", ["prometheus-rules.yml", "grafana-dashboard.json"])
def test_the_files_for_prometheus_and_grafana_know_only_what_there_is(name: str, service: Service) -> None:
    run(service)
    call_counts.add("default", requests=1)
    known = {sample[0] for sample in scraped(client_of(service))} | {*HELP, f"{WAITS}_bucket"}
    found = list(expressions(name))

    assert len(found) > 8
    for expression in found:
        assert_is_whole(expression)
        used = set(re.findall(r"\b(?:syncer|process)_[a-z_]+", expression))
        assert used, expression
        assert used <= known, used - known
        # Labels that the expression sorts or filters by are those of the metrics.
        labels = set(re.findall(r"by \(([a-z]+)\)", expression)) | set(re.findall(r"[{,]([a-z]+)[=!]", expression))
        assert labels <= {"sync", "store", "status", "change", "health", "le", "job", "entity", "queue"}


def test_every_metric_of_ours_is_watched(service: Service) -> None:
    run(service)
    call_counts.add("default", requests=1)
    told = {sample[0] for sample in scraped(client_of(service)) if sample[0].startswith("syncer_")} | HELP.keys()
    used = " ".join([*expressions("prometheus-rules.yml"), *expressions("grafana-dashboard.json")])

    left = {name for name in told if not name.endswith(("_count", "_sum", "_created")) and name not in used}
    assert not left


def test_rules_have_what_prometheus_asks_for() -> None:
    loaded = yaml.safe_load((DOCS / "prometheus-rules.yml").read_text())
    rules = [rule for group in loaded["groups"] for rule in group["rules"]]

    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    for rule in rules:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_a_store_reached_by_http_counts_its_calls(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.005)
    with customerio_server() as server:
        bench.environment |= server.environment()
        server.workspace.faults.next.append(Fault(status=503))
        before = call_counts.counted().get("default", call_counts.Calls())
        with bench.service() as service:
            run(service)
            found = scraped(client_of(service))

        assert found["syncer_sync_rows_total", "customers", "queried"] == 0, "what ran before is not counted"
        requests = found["syncer_store_requests_total", "default"] - before.requests
        assert requests == len(server.workspace.requests) > 1
        assert found["syncer_store_retries_total", "default"] - before.retries == 1


def expressions(name: str) -> Iterator[str]:
    text = (DOCS / name).read_text()
    if name.endswith(".yml"):
        yield from (rule["expr"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"])
        return
    dashboard = json.loads(text)
    yield from (target["expr"] for panel in dashboard["panels"] for target in panel["targets"])


def assert_is_whole(expression: str) -> None:
    """Whether brackets close in order, strings end, and every function is one that PromQL has."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    assert bare.count('"') % 2 == 0, expression
    open_: list[str] = []
    for sign in bare:
        if sign in "([{":
            open_.append(sign)
        elif sign in ")]}":
            assert open_, expression
            assert open_.pop() + sign in ("()", "[]", "{}"), expression
    assert not open_, expression
    functions = set(re.findall(r"\b([a-z_]+)(?= ?\()", bare)) - {"by", "on", "group_left"}
    assert functions <= {"sum", "max", "min", "rate", "increase", "histogram_quantile", "absent", "time"}, expression
    assert not re.search(r"\b(?:rate|increase)\([^\[]*\)", bare), f"without a range: {expression}"


def _value(client: TestClient, *sample: str) -> float:
    return scraped(client)[sample]


def _when(found: dict[Any, float], sample: tuple[str, ...], value: float) -> Any:
    return found if found[sample] == value else None
