"""Work that waits while no worker lives that takes it is one alert, and one when it waits no longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from syncer.alerts import targets
from syncer.alerts.monitor import AlertMonitor
from syncer.service.pool import ActiveRun
from syncer.service.service import Service
from syncer.state.alerts import OpenAlerts
from tests.servers.receivers import Receiver, http_receiver
from tests.service.machines import wait_until
from tests.worker.office import Office, opened

ALL = "Syncer: all work waits for a worker"
OVER = "Syncer: all work waits no longer"


@contextmanager
def watched(folder: Path, url: str, receiver: Receiver, name: str = "leader") -> Iterator[Office]:
    targets_of = {"SYNCER_ALERTS__URLS": f"json://127.0.0.1:{receiver.port}/", "SYNCER_ALERTS__LATE": "0"}
    with opened(folder, url, name=name, **targets_of) as office:
        yield office


def alerts_of(service: Service, patience: float = 0.0) -> AlertMonitor:
    made = targets.opened(service.settings.alerts.targets)
    return AlertMonitor(service, made, check_seconds=0, waits=(), patience=patience)


def ordered(office: Office, *names: str) -> list[ActiveRun]:
    """Runs that wait for a worker."""
    found = [office.service.run_now(name, actor="ann") for name in names]
    wait_until(lambda: office.service.pool._next() is None)
    return found


def kinds(office: Office) -> set[tuple[str, str]]:
    return {(alert.about, alert.kind) for alert in OpenAlerts(office.service.run_log.database).all()}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as server:
        yield server


def test_work_without_a_worker_is_one_notice_and_one_when_it_is_over(
    tmp_path: Path, postgres_url: str, receiver: Receiver
) -> None:
    with watched(tmp_path, postgres_url, receiver) as office:
        office.define("heavy", "queue: heavy")
        alerts = alerts_of(office.service)
        alerts.check()
        runs = ordered(office, "customers", "heavy")
        for names in (None, ["customers"], None):
            alerts.check(names)
        (body,) = receiver.bodies
        assert body["title"] == ALL
        assert body["message"].startswith("2 runs wait, the first since ")
        for words in (
            "Start `syncer worker`",
            "Queues: default, heavy.",
            "Syncs: customers, heavy.",
            "No worker is known",
        ):
            assert words in body["message"]
        assert kinds(office) == {("all work", "workers")}

        with office.worker():
            assert all(active.ended.wait(60) for active in runs)
            alerts.check()
            alerts.check()

        assert receiver.titles == [ALL, OVER]
        assert receiver.bodies[1]["message"] == "Everything is fine again. Before, it waited for a worker."
        assert receiver.bodies[1]["type"] == "success"
        assert kinds(office) == set()


def test_a_queue_that_no_living_worker_takes_is_named(tmp_path: Path, postgres_url: str, receiver: Receiver) -> None:
    with watched(tmp_path, postgres_url, receiver) as office:
        office.define("heavy", "queue: heavy")
        office.define("large", "queue: heavy")
        alerts = alerts_of(office.service)
        with office.worker("a", queues=["default"]):
            wait_until(lambda: bool(office.service.pool.leases.workers()))  # type: ignore[attr-defined]
            heavy = ordered(office, "heavy", "large")
            alerts.check()
            (body,) = receiver.bodies
            assert body["title"] == "Syncer: queue `heavy` waits for a worker"
            for words in ("`syncer worker --queues heavy`", "Living workers take: default.", "Syncs: heavy, large."):
                assert words in body["message"]
        ordered(office, "customers")
        alerts.check()
        assert receiver.titles[1:] == [ALL], "now nothing goes on"

        with office.worker("b", queues=["heavy"]):
            assert all(active.ended.wait(60) for active in heavy)
            alerts.check()

        assert set(receiver.titles[2:]) == {
            OVER,
            "Syncer: queue `heavy` waits no longer",
            "Syncer: queue `default` waits for a worker",
        }


def test_a_worker_that_starts_again_is_no_alert(tmp_path: Path, postgres_url: str, receiver: Receiver) -> None:
    with watched(tmp_path, postgres_url, receiver) as office:
        alerts = alerts_of(office.service, patience=600)
        (active,) = ordered(office, "customers")
        alerts.check()
        with office.worker():
            assert active.ended.wait(60)
            alerts.check()

        assert receiver.bodies == []


def test_a_worker_that_died_is_none(tmp_path: Path, postgres_url: str, receiver: Receiver) -> None:
    with watched(tmp_path, postgres_url, receiver) as office:
        alerts, leases = alerts_of(office.service), office.service.pool.leases  # type: ignore[attr-defined]
        leases.beat("gone", "there", [], [])
        ordered(office, "customers")
        alerts.check()
        assert receiver.bodies == []
        with office.service.run_log.database.writing() as connection:
            connection.exec_driver_sql("UPDATE syncer_workers SET beat_at = beat_at - interval '11 seconds'")
        alerts.check()

        assert receiver.titles == [ALL]
        assert "The last sign was of gone on there, at " in receiver.bodies[0]["message"]


def test_work_that_a_person_takes_back_waits_no_longer(tmp_path: Path, postgres_url: str, receiver: Receiver) -> None:
    with watched(tmp_path, postgres_url, receiver) as office:
        alerts = alerts_of(office.service)
        (active,) = ordered(office, "customers")
        alerts.check()
        office.service.cancel(active.run_id, actor="ben")
        assert active.ended.wait(60)
        alerts.check()

        assert receiver.titles == [ALL, OVER]


def test_who_leads_next_repeats_nothing_and_who_stands_by_says_nothing(
    tmp_path: Path, postgres_url: str, receiver: Receiver
) -> None:
    with (
        watched(tmp_path, postgres_url, receiver) as first,
        watched(tmp_path, postgres_url, receiver, "next") as second,
    ):
        assert not second.service.leads
        first.define("hourly", schedule="every 1 hour")
        second.service.reload()
        wait_until(lambda: first.service.pool.of("hourly") is not None and first.service.pool._next() is None)
        standing_by = alerts_of(second.service)
        standing_by.check()
        assert receiver.bodies == []
        alerts_of(first.service).check()
        first.service.stop("the test says so")
        wait_until(lambda: second.service.leads)
        standing_by.check()
        assert receiver.titles == [ALL]
        assert kinds(second) == {("all work", "workers")}

        (active,) = second.service.pool.active_runs()
        with second.worker():
            assert active.ended.wait(60)
            standing_by.check()
        assert receiver.titles == [ALL, OVER]


def test_what_waits_for_a_worker_is_not_late_for_a_reason_of_its_own(
    tmp_path: Path, postgres_url: str, receiver: Receiver
) -> None:
    with watched(tmp_path, postgres_url, receiver) as office:
        office.define("hourly", schedule="every 1 hour")
        office.define("after", "depends_on: [hourly]", schedule="every 1 hour")
        wait_until(lambda: {active.name for active in office.service.pool.active_runs()} == {"hourly", "after"})
        wait_until(lambda: office.service.pool._next() is None)
        office.clock.ahead = timedelta(hours=3)
        alerts_of(office.service).check()
        assert receiver.titles == [ALL]

        with office.worker("a"):
            wait_until(lambda: not office.service.pool.active_runs())
