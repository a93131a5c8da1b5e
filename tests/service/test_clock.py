"""A clock that is wrong holds runs before they send anything, and leaves nothing behind once it is right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest

from syncer.model.types import Finding, FindingKind, Hold, Order, Run, RunStatus, SyncDefinition, Trigger
from syncer.service.service import Service
from syncer.service.timetable import HEARTBEAT_SECONDS
from syncer.sync import retention
from syncer.sync.progress import RunOptions
from syncer.sync.runner import Runner
from tests.alerts.test_alerts import alerting, url
from tests.cli.conftest import Folder
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.servers.receivers import http_receiver
from tests.service.conftest import Bench, runs_of, wait_until

MANUAL = "entity: person\nperson: {id: id}\nschedule: manual"
INCREMENTAL = "SELECT * FROM people WHERE {{ last_sync_time }} >= 0"
YEAR = timedelta(days=400)
SECOND = timedelta(seconds=1)
CLOCK = Finding(kind=FindingKind.CLOCK, about="the clock")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(path=tmp_path)
    made.people({"1": "free", "2": "pro"})
    made.define("plain", header=MANUAL)
    made.define("other", header=MANUAL)
    return made


def run(
    service: Service, name: str = "plain", *, full: bool = False, allow_limits: bool = False, allow_clock: bool = False
) -> Run:
    options = RunOptions(full=full, allow_limits=allow_limits, allow_clock=allow_clock)
    active = service.run_now(name, actor="", options=options)
    assert active.ended.wait(60)
    found = service.run_log.get(active.run_id)
    assert found is not None
    return found


def test_a_clock_that_went_back_holds_every_sync_until_one_run_is_let_through(bench: Bench) -> None:
    with bench.service() as service:
        bench.ahead = YEAR
        ahead = run(service)
        assert ahead.status is RunStatus.SUCCESS
        bench.ahead = timedelta()
        bench.people({"1": "pro", "2": "pro"})

        for name in ("plain", "other"):
            held = run(service, name)
            assert (held.status, held.findings, held.hold) == (RunStatus.HELD, (CLOCK,), Hold.CLOCK)
            assert held.error is not None
            assert held.error.startswith("this machine's clock went back, or another machine's was ahead: it is ")
            assert f"{ahead.started_at:%Y-%m-%d}" in held.error
            assert f"`syncer run {name} --allow clock`" in held.hint
        assert run(service, allow_limits=True).status is RunStatus.HELD
        assert run(service, full=True).status is RunStatus.HELD
        (planned,) = service.plan("plain", sample_rows=1).held
        assert planned.startswith("this machine's clock went back")

        assert run(service, allow_clock=True).counts.changed == 1
        assert run(service).status is RunStatus.SUCCESS
        assert run(service, "other").status is RunStatus.SUCCESS
        assert [found.status for found in service.run_log.recent("plain", 2)] == [RunStatus.SUCCESS] * 2
        assert service.status("plain").last_ended_well == service.run_log.recent("plain", 1)[0].started_at


@pytest.mark.parametrize("back", [timedelta(minutes=9), timedelta(minutes=11)])
def test_clocks_of_machines_may_differ_by_ten_minutes(bench: Bench, back: timedelta) -> None:
    with bench.service() as service:
        run(service)
        bench.ahead = -back

        assert run(service).status is (RunStatus.HELD if back > timedelta(minutes=10) else RunStatus.SUCCESS)


@pytest.mark.parametrize("ahead", [YEAR, -YEAR, timedelta(minutes=11)])
def test_a_clock_that_differs_from_the_warehouses_holds_an_incremental_query(bench: Bench, ahead: timedelta) -> None:
    bench.define("cursor", INCREMENTAL, MANUAL)
    with bench.service() as service:
        bench.ahead = ahead
        held = run(service, "cursor")
        assert held.status is RunStatus.HELD
        assert held.error is not None
        assert "that of warehouse `default` " in held.error
        assert held.counts.queried == 0

        bench.ahead = timedelta()
        well = run(service, "cursor")
        assert (well.status, well.counts.added, well.notes) == (RunStatus.SUCCESS, 2, ())
        bench.ahead = timedelta(minutes=9)
        assert run(service, "cursor").status is RunStatus.SUCCESS


def test_a_run_that_was_let_through_with_a_wrong_clock_leaves_no_cursor_in_the_future(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.define("cursor", f"{INCREMENTAL} AND {{{{ last_sync_time }}}} < {datetime.now(UTC).timestamp() + 99}", MANUAL)
    monkeypatch.setattr("connectors.duckdb.warehouse.DuckDBWarehouse.now", lambda _: bench.now())
    with bench.service() as service:
        bench.ahead = YEAR
        assert run(service, "cursor").status is RunStatus.SUCCESS
        bench.ahead = timedelta()
        bench.people({"1": "free", "2": "pro", "3": "new"})

        found = run(service, "cursor", allow_clock=True)

        assert (found.counts.queried, found.counts.added) == (3, 1)
        assert "the warehouse's clock is behind that of the last run: this run asks for the whole" in found.notes[0]
        assert run(service, "cursor").notes == ()


def test_a_wrong_clock_is_one_notice_and_one_when_it_is_right(bench: Bench) -> None:
    bench.define("plain", INCREMENTAL, MANUAL)
    bench.define("other", INCREMENTAL, MANUAL)
    bench.define("third", header=MANUAL)
    with http_receiver() as receiver, alerting(bench, url(receiver)) as (service, alerts):
        bench.ahead = YEAR
        for name in ("plain", "other", "third", "plain"):
            run(service, name)
            alerts.check([name])
        alerts.check()
        (body,) = receiver.bodies
        assert body["title"] == "Syncer: the clock is wrong"
        assert "Held for it so far: plain." in body["message"]
        assert "--allow clock" in body["message"]

        bench.ahead = timedelta()
        for name in ("plain", "other", "third"):
            run(service, name, allow_clock=name == "plain")
            alerts.check([name])
        assert receiver.titles[1:] == ["Syncer: the clock is right again"]


def test_the_command_line_lets_a_run_through(bench: Bench) -> None:
    folder = Folder(path=bench.path)
    with bench.service() as service:
        bench.ahead = YEAR
        run(service)
    held = folder.syncer("run", "plain", "--json")
    assert held.code == 3
    assert held.objects[0]["status"] == "held"
    assert "this machine's clock went back" in held.err
    assert folder.syncer("run", "plain", "--allow", "limits").code == 3
    assert folder.syncer("run", "plain", "--allow", "nonsense").code == 2

    assert folder.syncer("run", "plain", "--allow", "clock").code == 0
    assert folder.syncer("run", "--all").code == 0


def test_nothing_is_deleted_for_its_age_while_a_wrong_clock_holds_runs(bench: Bench) -> None:
    bench.define("cursor", INCREMENTAL, MANUAL)
    with bench.service() as service:
        for _ in range(3):
            run(service, "cursor")
        bench.ahead = YEAR
        last = service.last_heartbeat
        wait_until(lambda: service.last_heartbeat > last)
        last = service.last_heartbeat
        wait_until(lambda: service.last_heartbeat > last)
        assert len(service.run_log.recent("cursor")) == 3
        assert run(service, "cursor").status is RunStatus.HELD

        retention.prune(service.settings, service.run_log, service.now())

        assert len(service.run_log.recent("cursor")) == 4
        bench.ahead = timedelta()
        run(service, "cursor")
        retention.prune(service.settings, service.run_log, service.now() + YEAR)
        assert len(service.run_log.recent("cursor")) == 2, "the newest of each status"


class ClockOfTheScheduler(datetime):
    """What APScheduler takes for the time."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + cls.ahead


def test_a_clock_that_is_set_back_stops_no_heartbeat_and_each_tick_is_answered_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apscheduler.schedulers.base.datetime", ClockOfTheScheduler)
    bench.define("plain", header="entity: person\nperson: {id: id}")
    bench.intervals["plain"] = timedelta(seconds=1)
    with bench.service() as service:
        wait_until(lambda: len(runs_of(service, "plain")) >= 3)
        before = bench.now()
        monkeypatch.setattr(ClockOfTheScheduler, "ahead", timedelta(minutes=-5))
        bench.ahead = timedelta(minutes=-5)
        last = service.last_heartbeat
        wait_until(lambda: service.last_heartbeat > last + 2 * HEARTBEAT_SECONDS)
        wait_until(lambda: service.timetable.next_due()["plain"] < before - timedelta(minutes=4))
        assert service.is_alive

        monkeypatch.setattr(ClockOfTheScheduler, "ahead", timedelta())
        bench.ahead = timedelta()
        wait_until(lambda: max(run.due_at for run in runs_of(service, "plain") if run.due_at) > bench.now() - SECOND)
        ticks = [run.due_at for run in runs_of(service, "plain") if run.due_at]
        assert len(ticks) == len(set(ticks))


@contextmanager
def customerio(bench: Bench) -> Iterator[tuple[Runner, CustomerIOServer]]:
    with customerio_server() as server:
        bench.environment |= server.environment()
        with bench.service(started=False) as service:
            yield service.runner, server


def test_a_clock_that_differs_from_customerios_holds_the_run(bench: Bench) -> None:
    with customerio(bench) as (runner, server):
        definition = plain(bench)
        order = Order(trigger=Trigger.MANUAL)
        bench.ahead = YEAR
        held = runner.run(definition, order=order)
        assert held.status is RunStatus.HELD, held.error
        assert held.error is not None
        assert "that of store `default` " in held.error
        assert server.workspace.batches == []

        bench.ahead = timedelta()
        assert runner.run(definition, order=order).status is RunStatus.SUCCESS
        (sent_at,) = {at for person in server.workspace.people for at in person.times.values()}
        assert abs(sent_at - datetime.now(UTC).timestamp()) < 60


def test_what_changes_after_a_clock_that_was_ahead_counts_at_every_run(bench: Bench) -> None:
    with customerio(bench) as (runner, server):
        definition = plain(bench)
        order = Order(trigger=Trigger.MANUAL)
        bench.ahead = YEAR
        runner.run(definition, order=order, options=RunOptions(allow_clock=True))
        bench.ahead = timedelta()
        for plan in ("a", "b", "c"):
            bench.people({"1": plan})
            found = runner.run(definition, order=order, options=RunOptions(allow_clock=plan == "a"))
            assert found.status is RunStatus.SUCCESS, found.error

            assert [one.attributes["plan"] for one in server.workspace.people if one.attributes["id"] == "1"] == [plan]


def plain(bench: Bench) -> SyncDefinition:
    return next(definition for definition in bench.load().definitions if definition.name == "plain")
