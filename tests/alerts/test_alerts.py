from __future__ import annotations

import io
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncer.alerts import targets
from syncer.alerts.conditions import AlertKind, Record, conditions
from syncer.alerts.monitor import AlertMonitor
from syncer.alerts.ping import Ping
from syncer.alerts.publisher import SEPARATE_NOTICES
from syncer.model.errors import SettingsError
from syncer.model.types import (
    Acknowledgement,
    Counts,
    Entity,
    Every,
    Order,
    Run,
    RunStatus,
    SyncDefinition,
    Target,
    Trigger,
)
from syncer.observability import logs
from syncer.service.service import Service
from syncer.settings.secrets import secrets_of
from syncer.settings.service import AlertSettings
from syncer.state.alerts import Mute, Mutes, OpenAlerts
from syncer.state.rejections import RejectionFilter, Rejections
from syncer.sync.progress import RunOptions
from tests.cli.conftest import Folder
from tests.servers.receivers import Receiver, http_receiver, mail_receiver
from tests.service.conftest import Bench, wait_until

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(path=tmp_path)
    made.people({str(number): "free" for number in range(100)})
    made.define("customers", header="entity: person\nperson: {id: id}\nschedule: manual")
    return made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as server:
        yield server


@contextmanager
def alerting(bench: Bench, *urls: str, started: bool = True) -> Iterator[tuple[Service, AlertMonitor]]:
    """A service whose alerts are checked by the test, without a thread."""
    bench.environment["SYNCER_ALERTS__URLS"] = " ".join(urls)
    with bench.service(started=started) as service:
        yield service, alerts_of(service)


def alerts_of(service: Service) -> AlertMonitor:
    settings = service.settings.alerts
    of_owners = targets.opened_of_owners(settings.targets_of_owners)
    return AlertMonitor(service, targets.opened(settings.targets), of_owners, check_seconds=0, waits=(0.01, 0.01))


def kinds(service: Service) -> set[tuple[str, str]]:
    return {(alert.about, alert.kind) for alert in OpenAlerts(service.run_log.database).all()}


def run(service: Service, name: str = "customers", *, full: bool = False) -> Run:
    active = service.run_now(name, actor="", options=RunOptions(full=full))
    assert active.ended.wait(60)
    found = service.run_log.get(active.run_id)
    assert found is not None
    return found


def url(receiver: Receiver, path: str = "") -> str:
    return f"json://127.0.0.1:{receiver.port}/{path}"


def broken(bench: Bench, name: str = "customers") -> None:
    bench.define(name, "SELECT * FROM nowhere", "entity: person\nperson: {id: id}\nschedule: manual")


def whole(bench: Bench, name: str = "customers") -> None:
    bench.define(name, header="entity: person\nperson: {id: id}\nschedule: manual")


def test_each_change_of_state_is_reported_once(bench: Bench, receiver: Receiver) -> None:
    broken(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        for _ in range(3):
            assert run(service).status is RunStatus.FAILED
            alerts.check()
        assert receiver.titles == ["Syncer: customers failed"]
        assert kinds(service) == {("customers", "failed")}

        whole(bench)
        service.reload()
        for _ in range(3):
            assert run(service).status is RunStatus.SUCCESS
            alerts.check()

        assert receiver.titles == ["Syncer: customers failed", "Syncer: customers has recovered"]
        assert [body["type"] for body in receiver.bodies] == ["failure", "success"]
        assert kinds(service) == set()


def test_a_run_of_a_single_row_is_no_recovery(bench: Bench, receiver: Receiver) -> None:
    broken(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        run(service)
        alerts.check()
        whole(bench)
        service.reload()
        one = service.run_now("customers", actor="", options=RunOptions(only=("1",)))
        assert one.ended.wait(60)
        assert one.run is not None
        assert one.run.status is RunStatus.SUCCESS
        alerts.check()

        assert receiver.titles == ["Syncer: customers failed"]
        assert kinds(service) == {("customers", "failed")}
        assert service.status("customers").last_ended_well is None


def test_what_was_told_is_known_after_a_restart(bench: Bench, receiver: Receiver) -> None:
    broken(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        run(service)
        alerts.check()
    with alerting(bench, url(receiver)) as (service, alerts):
        run(service)
        alerts.check()
        assert receiver.titles == ["Syncer: customers failed"]

        whole(bench)
        service.reload()
        run(service)
        alerts.check()
    assert receiver.titles[1:] == ["Syncer: customers has recovered"]


def test_a_notice_that_nobody_took_is_not_lost(bench: Bench, receiver: Receiver) -> None:
    broken(bench)
    receiver.status = 500
    with alerting(bench, url(receiver)) as (service, alerts):
        run(service)
        alerts.check()
        # At once and twice more.
        assert len(receiver.paths) == 3
        assert kinds(service) == set()
        alerts.check()
        assert len(receiver.paths) == 3, "it should rest"

        receiver.status = 200
        alerts._publisher._routes[""]._paused_until = 0
        alerts.check()

        assert receiver.titles == ["Syncer: customers failed"]
        assert kinds(service) == {("customers", "failed")}


def test_one_target_that_is_away_keeps_nobody_from_being_told(
    bench: Bench, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    broken(bench)
    broken(bench, "orders")
    with http_receiver() as away, alerting(bench, url(away, "HOOKSECRET9"), url(receiver)) as (service, alerts):
        away.status = 503
        run(service)
        alerts.check()
        assert len(away.paths) == 3
        run(service, "orders")
        alerts.check()
        # It gets one try, as it was away.
        assert len(away.paths) == 4

        assert receiver.titles == ["Syncer: customers failed", "Syncer: orders failed"]
        assert kinds(service) == {("customers", "failed"), ("orders", "failed")}
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert messages.count("an alert could not be delivered to target 1 (json://127.0.0.1)") == 1
    assert "HOOKSECRET9" not in caplog.text


def test_a_held_sync_is_reported_of_with_a_link_and_without_rows(bench: Bench, receiver: Receiver) -> None:
    bench.environment["SYNCER_WEB__URL"] = "https://syncer.example.com/"
    header = "entity: person\nperson: {id: id}\non_removed: delete\nschedule: manual"
    bench.define("customers", header=header)
    with alerting(bench, url(receiver)) as (service, alerts):
        run(service)
        bench.people({"1": "canaryvalue"})
        held = run(service)
        assert held.status is RunStatus.HELD
        alerts.check()

        (body,) = receiver.bodies
        assert body["title"] == "Syncer: customers is held"
        assert body["type"] == "warning"
        assert body["message"].splitlines()[-1] == f"https://syncer.example.com/runs/{held.id}"
        assert "--allow-limits" in body["message"]
        assert "canaryvalue" not in body["message"]


def test_many_changes_at_one_moment_are_one_notice(bench: Bench, receiver: Receiver) -> None:
    names = [f"sync{number}" for number in range(SEPARATE_NOTICES + 1)]
    for name in names:
        broken(bench, name)
    with alerting(bench, url(receiver)) as (service, alerts):
        for name in names:
            run(service, name)
        alerts.check()

        (body,) = receiver.bodies
        assert body["title"] == f"Syncer: {SEPARATE_NOTICES + 1} syncs need attention"
        lines = body["message"].splitlines()
        assert [line.partition(":")[0] for line in lines] == [f"{name} failed" for name in names]
        assert all("nowhere" in line for line in lines)
        assert kinds(service) == {(name, "failed") for name in names}


OWNED = "entity: person\nperson: {id: id}\nschedule: manual\nowner: Growth Team"


def test_alerts_go_to_the_owner_of_a_sync(bench: Bench, receiver: Receiver) -> None:
    bench.define("growth", "SELECT * FROM nowhere", OWNED)
    broken(bench)
    with http_receiver() as team:
        bench.environment["SYNCER_ALERTS__OWNERS__GROWTH_TEAM"] = url(team)
        with alerting(bench, url(receiver)) as (service, alerts):
            run(service)
            run(service, "growth")
            alerts.check()
            assert (team.titles, receiver.titles) == (["Syncer: growth failed"], ["Syncer: customers failed"])

            # What the owner does not take goes to the others.
            team.status = 500
            bench.define("growth", "SELECT id FROM people", OWNED)
            service.reload()
            run(service, "growth")
            alerts.check()
            assert receiver.titles[1:] == ["Syncer: growth has recovered"]
            assert kinds(service) == {("customers", "failed")}


def test_the_address_of_an_owner_comes_from_a_file_and_its_secret_is_hidden(bench: Bench, receiver: Receiver) -> None:
    (bench.path / "team").write_text(f"json://127.0.0.1:{receiver.port}/PATHSECRET3\n")
    bench.environment["SYNCER_ALERTS__OWNERS__GROWTH_FILE"] = str(bench.path / "team")
    with bench.service(started=False) as service:
        settings = service.settings

    ((owner, (target,)),) = targets.opened_of_owners(settings.alerts.targets_of_owners).items()
    assert (owner, target.label) == ("growth", "target 1 of growth (json://127.0.0.1)")
    assert "PATHSECRET3" in secrets_of(settings)
    with pytest.raises(SettingsError, match="SYNCER_ALERTS__OWNERS__GROWTH: Apprise does not support"):
        targets.opened_of_owners({"growth": ["nonsense://x"]})


def test_nobody_gets_a_notice_of_a_muted_sync_until_the_time_is_over(bench: Bench, receiver: Receiver) -> None:
    broken(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        mutes, at = Mutes(service.run_log.database), service.now()
        mutes.mute(Mute(sync="customers", actor="ann", reason="a migration", at=at, until=at + timedelta(hours=1)))
        run(service)
        alerts.check()
        assert (receiver.titles, kinds(service)) == ([], set())

        mutes.unmute("customers")
        alerts.check()
        assert receiver.titles == ["Syncer: customers failed"]

        mutes.mute(Mute(sync="customers", actor="ann", reason="a migration", at=at, until=at + timedelta(hours=1)))
        whole(bench)
        service.reload()
        run(service)
        alerts.check()
        assert (len(receiver.titles), kinds(service)) == (1, set())
        assert mutes.current(at + timedelta(hours=1)) == {}


def test_a_notice_of_rejected_rows_says_why_and_counts_no_acknowledged_ones(bench: Bench, receiver: Receiver) -> None:
    rows = "SELECT id, plan FROM people UNION ALL SELECT NULL, 'x' || range FROM range(20)"
    bench.define("customers", rows, "entity: person\nperson: {id: id}\nschedule: manual")
    with alerting(bench, url(receiver)) as (service, alerts):
        run(service)
        alerts.check()
        (body,) = receiver.bodies
        assert "20 rows: `id` is NULL" in body["message"].splitlines()

        at = service.now()
        known = Acknowledgement(by="ann", reason="test accounts", at=at, until=at + timedelta(days=1))
        Rejections(service.run_log.database).acknowledge("customers", RejectionFilter(), known)
        run(service)
        alerts.check()
        assert receiver.titles[1:] == ["Syncer: customers has recovered"]


def test_a_late_sync_says_what_keeps_it() -> None:
    failed = replace(_run(queried=1), status=RunStatus.FAILED, error="the warehouse does not answer")

    def text(record: Record) -> str:
        return conditions(replace(record, late=True), AlertSettings())[AlertKind.LATE]

    assert text(_record(failed)).endswith("The last run failed: the warehouse does not answer")
    assert text(replace(_record(failed), waits_for="A run goes on.")).endswith("A run goes on.")
    assert text(_record(_run(queried=100))).endswith("No run has begun since.")
    assert text(_record(replace(_run(queried=100), fruitless=True))).endswith("that was new to it.")


def test_alerts_are_muted_by_a_command(tmp_path: Path) -> None:
    folder = Folder(path=tmp_path)
    folder.define("people", "SELECT 1 AS id")

    muted = folder.syncer("alerts", "mute", "people", "--until", "2099-01-01", "--reason", "a migration")
    shown = folder.syncer("alerts")
    (heard,) = folder.syncer("alerts", "unmute", "peo*", "--json").objects

    assert muted.out == "people is muted until 2099-01-01 00:00:00Z; `syncer alerts unmute people` ends that.\n"
    assert "people is muted until 2099-01-01 00:00:00Z by " in shown.out
    assert shown.out.endswith(": a migration\n")
    assert heard == {"sync": "people", "muted_until": None}
    assert folder.syncer("alerts").out == "No open alerts.\n"
    assert folder.syncer("alerts", "unmute", "people").out == "people was not muted.\n"
    assert folder.syncer("alerts", "mute", "people").code == 2


def test_a_pause_and_a_run_that_was_cut_off_do_not_say_that_all_is_well(bench: Bench, receiver: Receiver) -> None:
    broken(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        failed = run(service)
        alerts.check()
        service.pause("customers")
        alerts.check()
        service.resume("customers")
        run_id = service.run_log.start("customers", _order(failed), failed.definition_hash, service.now())
        service.run_log.interrupt(run_id, service.now())
        alerts.check()

        assert receiver.titles == ["Syncer: customers failed"]
        assert kinds(service) == {("customers", "failed")}


def test_of_a_sync_that_is_gone_nothing_more_is_reported(bench: Bench, receiver: Receiver) -> None:
    broken(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        run(service)
        alerts.check()
        (bench.path / "sync_definitions/customers.sql").unlink()
        service.reload()
        alerts.check()

        assert kinds(service) == set()
        assert receiver.titles == ["Syncer: customers failed"]


def test_a_broken_folder_does_not_make_anybody_forget(bench: Bench, receiver: Receiver) -> None:
    broken(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        run(service)
        alerts.check()
    bench.define("customers", header="entity: nonsense")
    with alerting(bench, url(receiver)) as (service, alerts):
        assert not service.catalog.current.definitions
        alerts.check()
        assert kinds(service) == {("customers", "failed")}


def test_who_stands_by_tells_nothing(bench: Bench, receiver: Receiver) -> None:
    broken(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        run(service)
        service.leadership.release()
        alerts.check()
    assert receiver.paths == []


def test_runs_and_beats_wake_the_alerts(bench: Bench, receiver: Receiver) -> None:
    broken(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        alerts.start()
        run(service)
        wait_until(lambda: receiver.titles == ["Syncer: customers failed"])
        # As the command line does, which tells no service.
        whole(bench)
        service.reload()
        service.ended.remove(alerts.ended)
        run(service)
        wait_until(lambda: receiver.titles[1:] == ["Syncer: customers has recovered"])
        alerts.stop()
        assert not alerts._thread.is_alive()


def test_a_run_does_not_wait_for_a_target_that_hangs(bench: Bench) -> None:
    broken(bench)
    with _silent() as port, alerting(bench, f"json://127.0.0.1:{port}/?rto=30") as (service, alerts):
        alerts.start()
        assert run(service).status is RunStatus.FAILED
        whole(bench)
        service.reload()
        assert run(service).status is RunStatus.SUCCESS
        alerts.stop(seconds=0)


@pytest.mark.parametrize("ever", [True, False])
def test_a_sync_is_late_when_a_tick_and_the_grace_have_passed(bench: Bench, receiver: Receiver, ever: bool) -> None:
    header = "entity: person\nperson: {id: id}\nschedule: every 1 hour"
    bench.define("customers", "SELECT * FROM people" if ever else "SELECT * FROM nowhere", header)
    with alerting(bench, url(receiver)) as (service, alerts):
        wait_until(lambda: service.run_log.recent(statuses=[RunStatus.SUCCESS, RunStatus.FAILED]))
        wait_until(lambda: not service.pool.active_runs())
        service.timetable.stop()
        alerts.check()
        before = len(receiver.titles)
        # No tick has passed, or the grace has not.
        last = service.run_log.recent("customers", 1)[0].started_at
        due = last.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        bench.ahead = due - last + timedelta(seconds=800)
        alerts.check()
        assert len(receiver.titles) == before

        bench.ahead += timedelta(seconds=200)
        alerts.check()

        assert receiver.titles[before:] == ["Syncer: customers is late"]
        assert ("customers", "late") in kinds(service)


def test_what_was_paused_is_not_late_when_it_is_resumed(bench: Bench, receiver: Receiver) -> None:
    bench.define("customers", header="entity: person\nperson: {id: id}\nschedule: every 1 hour")
    with alerting(bench, url(receiver)) as (service, alerts):
        wait_until(lambda: service.run_log.recent(statuses=[RunStatus.SUCCESS]))
        wait_until(lambda: not service.pool.active_runs())
        service.timetable.stop()
        service.pause("customers")
        bench.ahead = timedelta(days=3)
        alerts.check()
        service.run_log.resume("customers", service.now())
        alerts.check()
        assert receiver.paths == []

        bench.ahead += timedelta(hours=2)
        alerts.check()
        assert receiver.titles == ["Syncer: customers is late"]


def test_rejected_rows_are_reported_beyond_their_share() -> None:
    assert not conditions(_record(_run(queried=100, rejected=5)), AlertSettings())
    found = conditions(_record(_run(queried=100, rejected=6)), AlertSettings())
    assert found.keys() == {AlertKind.REJECTED}
    assert found[AlertKind.REJECTED].startswith("6 of 100 rows are rejected (6.0%, the limit is 5.0%)")
    assert conditions(_record(_run(queried=0, rejected=1)), AlertSettings()).keys() == {AlertKind.REJECTED}


@pytest.mark.parametrize(
    ("newest", "earlier", "expected"),
    [
        (149, [100] * 10, False),
        (151, [100] * 10, True),
        (49, [100] * 5, True),
        (0, [100] * 4, False),
        (0, [19] * 10, False),
        # One that was far off does not move the median; and the eleventh is not looked at.
        (100, [5000, *[100] * 9, 7000], False),
    ],
)
def test_rows_far_from_the_last_runs_are_reported(newest: int, earlier: list[int], expected: bool) -> None:
    record = _record(*(_run(queried=rows) for rows in (newest, *earlier)))

    assert (AlertKind.ROWS in conditions(record, AlertSettings())) is expected
    incremental = replace(record, definition=replace(record.definition, incremental=True))
    assert AlertKind.ROWS not in conditions(incremental, AlertSettings())


def test_an_alert_mail_arrives(bench: Bench) -> None:
    broken(bench)
    with mail_receiver() as mail:
        address = (
            f"mailto://127.0.0.1:{mail.port}?from=syncer@example.com&to=oncall@example.com&mode=insecure&format=text"
        )
        with alerting(bench, address) as (service, alerts):
            run(service)
            alerts.check()
            assert kinds(service) == {("customers", "failed")}
    (sent,) = mail.bodies
    assert "Subject: Syncer: customers failed" in sent


def test_no_secret_of_a_target_reaches_the_log_or_a_message(bench: Bench, receiver: Receiver) -> None:
    bench.environment["SYNCER_LOG_LEVEL"] = "debug"
    secrets = ["USERSECRET1", "PASSSECRET2", "PATHSECRET3", "QUERYSECRET4"]
    broken(bench)
    first = f"json://USERSECRET1:PASSSECRET2@127.0.0.1:{receiver.port}/PATHSECRET3?:key=QUERYSECRET4"
    written = io.StringIO()
    second = first.replace(str(receiver.port), "1")
    with alerting(bench, first, second) as (service, alerts), _logged_to(written, service):
        run(service)
        alerts.check()
        receiver.status = 404
        broken(bench, "orders")
        service.reload()
        run(service, "orders")
        alerts.check()
    assert "could not be delivered to target 2 (json://127.0.0.1): the connection was refused" in written.getvalue()
    assert receiver.paths
    shown = written.getvalue() + json.dumps([body["message"] + body["title"] for body in receiver.bodies])
    assert not [secret for secret in secrets if secret in shown]


@pytest.mark.parametrize(
    ("address", "label"),
    [
        ("mailtos://ann:PASSSECRET@smtp.example.com", "mailtos://smtp.example.com"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "slack"),
        ("pagerduty://A1BRTD4JDABCDEF@0123456789abcdef0123456789abcdef", "pagerduty"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", "tgram"),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "https"),
    ],
)
def test_a_target_is_called_by_what_is_no_secret(address: str, label: str) -> None:
    (target,) = targets.opened([address])
    assert target.label == f"target 1 ({label})"
    assert "SECRET" not in repr(target)


def test_an_address_that_apprise_does_not_know_is_reported_by_its_number() -> None:
    with pytest.raises(SettingsError, match=r"number 2$") as caught:
        targets.opened(["json://127.0.0.1", "nonsense://PASSSECRET"])
    assert "PASSSECRET" not in str(caught.value)


def test_the_command_tells_which_target_took_the_test(tmp_path: Path, receiver: Receiver) -> None:
    folder = Folder(path=tmp_path)
    folder.define("people", "SELECT 1 AS id")
    bad = "json://USERSECRET1:PASSSECRET2@127.0.0.1:1/PATHSECRET3"
    both = folder.syncer("alerts", "--test", env={"SYNCER_ALERTS__URLS": f"{url(receiver)}\n{bad}"})

    assert both.code == 1
    assert both.out.splitlines() == [
        "target 1 (json://127.0.0.1): delivered",
        "target 2 (json://127.0.0.1): not delivered: the connection was refused",
    ]
    assert "SECRET" not in both.out + both.err
    assert receiver.titles == ["Syncer: a test"]

    well = folder.syncer("alerts", "--test", "--json", env={"SYNCER_ALERTS__URLS": url(receiver)})
    assert (well.code, well.objects) == (0, [{"target": "target 1 (json://127.0.0.1)", "taken": True}])
    assert folder.syncer("alerts", "--test").code == 2
    assert folder.syncer("alerts").out == "No open alerts.\n"


def test_the_ping_follows_the_heartbeat_of_who_leads(bench: Bench, receiver: Receiver) -> None:
    with bench.service() as service:
        ping = Ping(service, f"http://127.0.0.1:{receiver.port}/PINGSECRET", seconds=0)
        ping.start()
        wait_until(lambda: receiver.paths[1:])
        assert set(receiver.paths) == {"/PINGSECRET"}

        service.timetable.stop()
        wait_until(lambda: not ping._due.is_set())
        pings = len(receiver.paths)
        service.leadership.release()
        ping.heartbeat()
        assert not ping._due.is_set()
        assert len(receiver.paths) - pings <= 1
        ping.stop()


def test_the_ping_is_sent_no_more_often_than_it_is_due(bench: Bench, receiver: Receiver) -> None:
    with bench.service(started=False) as service:
        service.leader.look()
        ping = Ping(service, f"http://127.0.0.1:{receiver.port}/", seconds=3600)
        ping.start()
        ping.heartbeat()
        wait_until(lambda: receiver.paths)
        for _ in range(5):
            ping.heartbeat()
        assert not ping._due.is_set()
        ping.stop()
    assert receiver.paths == ["/"]


def test_a_ping_that_fails_is_reported_once_and_is_never_redirected(
    bench: Bench, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "syncer.alerts.ping")
    with http_receiver() as elsewhere, bench.service(started=False) as service:
        ping = Ping(service, f"http://127.0.0.1:{receiver.port}/PINGSECRET")
        receiver.status, receiver.headers = 302, {"Location": f"http://127.0.0.1:{elsewhere.port}/"}
        for _ in range(3):
            ping._log_change(ping._failure())
        receiver.status, receiver.headers = 200, {}
        ping._log_change(ping._failure())

        assert elsewhere.paths == []
    assert len(receiver.paths) == 4
    assert [record.getMessage() for record in caplog.records if record.name == "syncer.alerts.ping"] == [
        "the address of SYNCER_ALERTS__PING_URL cannot be called: it answered 302",
        "the address of SYNCER_ALERTS__PING_URL can be called again",
    ]


def test_a_served_folder_tells_and_pings(tmp_path: Path, receiver: Receiver) -> None:
    folder = Folder(path=tmp_path)
    folder.people({"1": "free"})
    folder.define("customers", "SELECT * FROM nowhere")
    with http_receiver() as pinged:
        folder.write(
            "syncer.toml",
            f'[alerts]\nurls = "{url(receiver)}"\nping_url = "http://127.0.0.1:{pinged.port}/"\n[web]\nport = 0\n',
        )
        with folder.started("serve") as process:
            wait_until(lambda: receiver.titles == ["Syncer: customers failed"])
            wait_until(lambda: pinged.paths)
            shown = folder.syncer("alerts", "--json").objects
            process.terminate()
            assert process.wait(60) == 143
    assert [(alert["sync"], alert["kind"]) for alert in shown] == [("customers", "failed")]


def _order(run: Run) -> Order:
    return Order(trigger=run.trigger)


def _run(*, queried: int, rejected: int = 0) -> Run:
    return Run(
        id="1",
        sync="customers",
        trigger=Trigger.SCHEDULE,
        status=RunStatus.WARNING if rejected else RunStatus.SUCCESS,
        started_at=NOW,
        finished_at=NOW,
        definition_hash="",
        counts=Counts(queried=queried, rejected=rejected),
    )


def _record(*well: Run) -> Record:
    definition = SyncDefinition(
        name="customers",
        path=Path("customers.sql"),
        sql="SELECT 1",
        sql_line=4,
        target=Target(entity=Entity.PERSON),
        schedule=Every(interval=timedelta(hours=1)),
    )
    return Record(definition=definition, recent=well[:1], well=well, late=False)


@contextmanager
def _silent() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@contextmanager
def _logged_to(stream: io.StringIO, service: Service) -> Iterator[None]:
    """The log as a service writes it, and then as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers.copy(), root.level
    logs.write_to(stream, level=service.settings.log_level, secrets=secrets_of(service.settings), colours=False)
    try:
        yield
    finally:
        for handler in root.handlers.copy():
            root.removeHandler(handler)
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(level)
        for name in ("syncer", "connectors", "apscheduler", "uvicorn", "watchfiles"):
            logging.getLogger(name).setLevel(logging.NOTSET)
