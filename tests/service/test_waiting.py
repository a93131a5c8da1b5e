"""What waits for its turn: it has an id, can be cancelled, and begins as its definition is then, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from syncer.model.errors import StateDatabaseError
from syncer.model.types import EndedBy, Finding, FindingKind, Order, Run, RunStatus, Trigger
from syncer.service.health import Freshness
from syncer.service.lateness import Lateness
from syncer.service.pool import ActiveRun
from syncer.service.service import Service
from syncer.service.timetable import Tick
from syncer.state.cancellations import Cancellations
from syncer.state.runs import RunLog
from syncer.sync import retention
from syncer.sync.progress import RunOptions
from tests.cli.conftest import Folder
from tests.service.conftest import PERSON, Bench, ended_runs, runs_of, wait_until

HOUR = timedelta(hours=1)
MANUAL = f"{PERSON}schedule: manual"
ENDLESS = "SELECT 1 AS id, count(*) AS plan FROM range(1000000000000) a, range(1000000) b"


@pytest.fixture
def busy(bench: Bench) -> Iterator[Service]:
    """A service whose only place is taken, and a sync `people` that ran an hour ago."""
    bench.environment["SYNCER_POOL_SIZE"] = "1"
    bench.define("slow", ENDLESS, MANUAL)
    bench.define("people")
    with bench.service(started=False) as service:
        answered = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        run_id = service.run_log.start("people", Order(trigger=Trigger.SCHEDULE, due_at=answered), "x", answered)
        service.run_log.finish(run_id, RunStatus.SUCCESS, answered)
        service.start()
        slow = service.run_now("slow", actor="ann")
        wait_until(lambda: slow.began_at)
        yield service


def tick(service: Service, number: int = 1) -> ActiveRun:
    """Let a tick of `people` come, which waits."""
    due_at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + number * HOUR
    service.timetable._handing.offer(Tick(sync="people", due_at=due_at))
    found: ActiveRun = wait_until(lambda: service.pool.of("people"))
    return found


def make_room(service: Service) -> None:
    slow = service.pool.of("slow")
    assert slow is not None
    service.cancel(slow.run_id, actor="ann")


def ended(service: Service, active: ActiveRun) -> Run:
    """The run, once it has ended."""
    assert active.ended.wait(60)
    found = service.run_log.get(active.run_id)
    assert found is not None
    return found


def test_a_tick_that_waits_has_an_id_and_can_be_cancelled(busy: Service) -> None:
    waiting = tick(busy)

    (queued, _) = busy.run_log.recent("people")
    assert (queued.id, queued.status, queued.trigger) == (waiting.run_id, RunStatus.QUEUED, Trigger.SCHEDULE)
    assert busy.cancel(waiting.run_id, actor="bob") is waiting
    run = ended(busy, waiting)
    assert (run.status, run.error, run.ended_by) == (RunStatus.INTERRUPTED, "stopped by bob", EndedBy.PERSON)
    make_room(busy)
    wait_until(lambda: not busy.pool.active_runs())
    assert len(ended_runs(busy, "people")) == 1


def test_of_the_runs_that_may_begin_the_highest_priority_goes_first(busy: Service, bench: Bench) -> None:
    priorities = {"low": -5, "first": 0, "second": 0, "high": 5, "raised": 0}
    for name, priority in priorities.items():
        bench.define(name, header=f"{MANUAL}\npriority: {priority}")
    bench.define("after", header=f"{MANUAL}\npriority: 1000\ndepends_on: [low]")
    busy.reload()
    waiting = [busy.run_now(name, actor="ann") for name in (*priorities, "after")]
    bench.define("raised", header=f"{MANUAL}\npriority: 9")
    busy.reload()

    make_room(busy)

    began = sorted((ended(busy, one) for one in waiting), key=lambda run: run.started_at)
    assert [run.sync for run in began] == ["raised", "high", "first", "second", "low", "after"]


def test_a_definition_edited_while_its_tick_waits_runs_once_with_the_newest(busy: Service, bench: Bench) -> None:
    waiting = tick(busy)
    bench.define("people", "SELECT id, plan AS level FROM people")
    busy.reload()
    make_room(busy)

    run = ended(busy, waiting)
    newest = busy.catalog.find("people")
    assert (run.status, run.definition_hash) == (RunStatus.SUCCESS, newest.hash)
    assert {found.status for found in runs_of(busy, "people")} == {RunStatus.SUCCESS}


def pause(service: Service, bench: Bench) -> None:
    Folder(path=bench.path).syncer("pause", "people")


def disable(service: Service, bench: Bench) -> None:
    bench.define("people", header=f"{PERSON}enabled: false")
    service.reload()


def delete(service: Service, bench: Bench) -> None:
    (bench.path / "sync_definitions/people.sql").unlink()
    service.reload()


@pytest.mark.parametrize("change", [pause, disable, delete])
def test_a_tick_does_not_begin_if_its_sync_was_stopped_while_it_waited(
    busy: Service, bench: Bench, change: Callable[[Service, Bench], None]
) -> None:
    waiting = tick(busy)
    change(busy, bench)
    make_room(busy)

    run = ended(busy, waiting)
    assert run.status is RunStatus.SKIPPED
    assert "while it waited" in run.notes[0]


@pytest.mark.parametrize(("change", "status"), [(disable, RunStatus.SUCCESS), (delete, RunStatus.SKIPPED)])
def test_an_order_begins_unless_its_definition_is_gone(
    busy: Service, bench: Bench, change: Callable[[Service, Bench], None], status: RunStatus
) -> None:
    waiting = busy.run_now("people", actor="ann")
    change(busy, bench)
    make_room(busy)

    assert ended(busy, waiting).status is status


def test_a_command_that_runs_the_sync_leaves_what_waits_queued(busy: Service, bench: Bench) -> None:
    waiting = busy.run_now("people", actor="ann")
    assert Folder(path=bench.path).syncer("run", "people").code == 0

    queued = busy.run_log.get(waiting.run_id)
    assert queued is not None
    assert queued.status is RunStatus.QUEUED
    make_room(busy)
    assert ended(busy, waiting).status is RunStatus.SUCCESS


def test_what_waits_when_a_service_stops_is_begun_by_the_next_one(bench: Bench) -> None:
    bench.environment["SYNCER_POOL_SIZE"] = "1"
    bench.define("slow", ENDLESS, MANUAL)
    bench.define("people")
    with bench.service() as service:
        wait_until(lambda: ended_runs(service, "people") and not service.pool.active_runs())
        slow = service.run_now("slow", actor="ann")
        wait_until(lambda: slow.began_at)
        waiting = tick(service)
    with bench.service() as service:
        wait_until(lambda: len(ended_runs(service, "people")) == 2 and not service.pool.active_runs())
        run = service.run_log.get(waiting.run_id)

        assert run is not None
        assert (run.status, run.due_at) == (RunStatus.SUCCESS, waiting.order.due_at)
        assert len(runs_of(service, "people")) == 2


def test_what_waited_for_a_sync_that_skips_what_it_missed_is_skipped(bench: Bench) -> None:
    bench.environment["SYNCER_POOL_SIZE"] = "1"
    bench.define("slow", ENDLESS, MANUAL)
    bench.define("people", header=f"{PERSON}catch_up: skip")
    with bench.service() as service:
        slow = service.run_now("slow", actor="ann")
        wait_until(lambda: slow.began_at)
        waiting = tick(service)
    with bench.service() as service:
        run = service.run_log.get(waiting.run_id)

        assert run is not None
        assert (run.status, run.notes) == (RunStatus.SKIPPED, ("not run, as the service ended while it waited",))


def test_a_service_ends_what_another_process_cancels_in_the_run_log(bench: Bench, busy: Service) -> None:
    waiting = busy.run_now("people", actor="ann")
    cancellations = Cancellations(busy.run_log.database)
    slow = next(active for active in busy.pool.active_runs() if active is not waiting)

    for active in (waiting, slow):
        cancellations.ask(active.run_id, "bob", bench.now())
    cancellations.ask(slow.run_id, "eve", bench.now())

    assert waiting.ended.wait(60)
    assert slow.ended.wait(60)
    assert {(active.run.status, active.run.error) for active in (waiting, slow) if active.run} == {
        (RunStatus.INTERRUPTED, "stopped by bob")
    }


def test_what_a_person_cancelled_is_not_made_up_for_at_the_next_start(bench: Bench) -> None:
    bench.define("people", ENDLESS)
    with bench.service() as service:
        active = wait_until(lambda: service.pool.of("people"))
        wait_until(lambda: active.began_at)
        service.cancel(active.run_id, actor="bob")
        assert ended(service, active).ended_by is EndedBy.PERSON
        assert service.run_log.cut_off(["people"]) == set()
    with bench.service() as service:
        assert service.pool.active_runs() == []


def test_a_cancel_that_the_run_log_did_not_take_is_a_persons_all_the_same(
    busy: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StateDatabaseError("away")

    waiting = tick(busy)
    with monkeypatch.context() as away:
        away.setattr(RunLog, "finish", refuse)
        busy.cancel(waiting.run_id, actor="bob")
    wait_until(lambda: not busy.run_log.queued_runs())

    run = ended(busy, waiting)
    assert (run.status, run.ended_by) == (RunStatus.INTERRUPTED, EndedBy.PERSON)
    assert busy.run_log.cut_off(["people"]) == set()


def test_what_made_up_for_a_run_is_made_up_for_itself(bench: Bench) -> None:
    bench.define("people", ENDLESS)

    def interrupted() -> str:
        with bench.service() as service:
            active: ActiveRun = wait_until(lambda: service.pool.of("people"))
            wait_until(lambda: active.progress.phase == "query")
            return active.run_id

    ids = [interrupted() for _ in range(3)]
    with bench.service(started=False) as service:
        runs = [service.run_log.get(run_id) for run_id in ids]
        assert [run and (run.status, run.ended_by) for run in runs] == [(RunStatus.INTERRUPTED, EndedBy.SHUTDOWN)] * 3
        assert [run and run.due_at is not None for run in runs] == [True, False, False]


def test_ticks_that_passed_while_a_sync_was_paused_do_not_run_after_an_edit_or_a_restart(bench: Bench) -> None:
    bench.define("people")
    long_ago = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 5 * HOUR
    with bench.service(started=False) as service:
        run_id = service.run_log.start("people", Order(trigger=Trigger.SCHEDULE, due_at=long_ago), "x", long_ago)
        service.run_log.finish(run_id, RunStatus.SUCCESS, long_ago)
        service.run_log.pause("people", long_ago)
        service.start()
        service.resume("people")
        bench.define("people", header=f"{PERSON}tags: [shop]")
        service.reload()
        assert service.timetable.next_due()["people"] > datetime.now(UTC)
    with bench.service() as service:
        assert service.timetable.next_due()["people"] > datetime.now(UTC)
        assert len(runs_of(service, "people")) == 1
        bench.define("people", header=f"{PERSON}schedule: every 30 minutes")
        service.reload()
        assert service.timetable.next_due()["people"] > datetime.now(UTC), "the schedule changed just now"


def test_a_cron_sync_whose_service_was_down_at_its_first_tick_runs_as_soon_as_it_is_back(bench: Bench) -> None:
    bench.ahead = -48 * HOUR
    bench.define("people", header=f'{PERSON}schedule: {{cron: "0 6 * * *"}}')
    # It leads, and is gone before a tick comes: they come by the real clock, to which that first one has passed.
    with bench.service(started=False) as service:
        service.catalog.open()
        service.leader.look()
        assert runs_of(service, "people") == []
    bench.ahead = timedelta()
    with bench.service() as service:
        wait_until(lambda: ended_runs(service, "people"))


def test_thirty_skipped_runs_do_not_hide_how_a_sync_stands(bench: Bench) -> None:
    bench.define("people", header=MANUAL)
    with bench.service() as service:
        now = datetime.now(UTC)
        by_hand = Order(trigger=Trigger.MANUAL)
        service.run_log.finish(service.run_log.start("people", by_hand, "x", now), RunStatus.HELD, now, error="many")
        for number in range(40):
            service.run_log.record_skipped("people", by_hand, "x", now + number * HOUR, note="busy")

        status = service.status("people")
        assert status.is_held
        assert status.last_seconds is not None
        # Nothing is deleted for its age while a wrong clock holds runs.
        clock = Finding(kind=FindingKind.CLOCK, about="the clock")
        held = service.run_log.start("people", by_hand, "x", now)
        service.run_log.finish(held, RunStatus.HELD, now, findings=[clock])
        service.run_log.record_skipped("people", by_hand, "x", now, note="busy")
        retention.prune(service.settings, service.run_log, now + timedelta(days=4000))
        assert len(runs_of(service, "people")) == 43


def test_what_was_not_promised_is_not_late_also_after_a_restart(bench: Bench) -> None:
    bench.define("people")
    long_ago = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 5 * HOUR
    with bench.service(started=False) as service:
        run_id = service.run_log.start("people", Order(trigger=Trigger.SCHEDULE, due_at=long_ago), "x", long_ago)
        service.run_log.finish(run_id, RunStatus.SUCCESS, long_ago)
        service.run_log.pause("people", long_ago)
        service.start()
        service.resume("people")
    with bench.service() as service:
        service.leader.led_at -= HOUR
        definition, now = service.definition("people"), datetime.now(UTC)
        (status,) = service.statuses()
        lateness = Lateness(service)

        assert status.freshness is Freshness.FRESH
        assert lateness.late([(definition, status.last_ended_well, False)], now) == set()
        assert lateness.late([(definition, status.last_ended_well, False)], now + 3 * HOUR) == {"people"}


def test_ticks_that_a_clock_which_was_ahead_answered_hide_none_that_is_due(bench: Bench) -> None:
    bench.define("people")
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with bench.service(started=False) as service:
        for due_at in (hour - 5 * HOUR, hour + timedelta(days=400)):
            run_id = service.run_log.start("people", Order(trigger=Trigger.SCHEDULE, due_at=due_at), "x", hour)
            service.run_log.finish(run_id, RunStatus.SUCCESS, hour)
        service.run_log.pause("people", hour)
        service.run_log.resume("people", hour - 4 * HOUR)
        service.start()
        newest = wait_until(lambda: [run for run in ended_runs(service, "people") if run.due_at == hour])

    assert newest[0].notes == ("this run also stands for 3 earlier ticks that passed unanswered",)


MISSED = "this run also stands for an earlier tick that passed unanswered"


def test_a_run_that_waited_keeps_its_notes_whoever_begins_it_and_however_it_ends(bench: Bench) -> None:
    bench.define("people")
    due_at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    order = Order(trigger=Trigger.SCHEDULE, due_at=due_at)
    with bench.service(started=False) as service:
        run_id = service.run_log.accept("people", order, "x", due_at, notes=[MISSED])
        service.run_log.accept("crashes", order, "x", due_at, notes=[MISSED])
        crashes = service.run_log.recent("crashes", 1)[0].id
        service.run_log.start("crashes", replace(order, run_id=crashes), "x", due_at)
        service.run_log.interrupt(crashes, due_at)
        service.start()
        wait_until(lambda: ended_runs(service, "people"))

        assert [service.run_log.recent(name, 1)[0].notes for name in ("people", "crashes")] == [(MISSED,)] * 2
        assert service.run_log.recent("people", 1)[0].id == run_id


def test_a_tick_that_is_skipped_says_which_ones_it_stands_for(bench: Bench) -> None:
    bench.define("people")
    with bench.service(started=False) as service:
        service.catalog.open()
        made = service.leader.new_run(
            service.definition("people"), Order(trigger=Trigger.SCHEDULE), RunOptions(), bench.now(), notes=[MISSED]
        )
        service.pool.record_skipped(made, "not run, as the run before it is not over")

        assert made.run is not None
        assert made.run.notes == (MISSED, "not run, as the run before it is not over")
