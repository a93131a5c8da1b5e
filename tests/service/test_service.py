"""The service: ticks and orders become runs, one of a sync at a time, in order, and every tick is answered once."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from syncer.definitions.order import Precedence, Turns
from syncer.model.errors import SelectionError
from syncer.model.protocols import ProfileStore
from syncer.model.types import Order, RunStatus, SyncDefinition, Trigger
from syncer.service import process
from syncer.service.pool import FENCED, ActiveRun, AlreadyActiveError, ClosedError
from syncer.settings.registry import StoreSettings
from syncer.snapshot import opening
from syncer.sync.progress import RunOptions
from syncer.web.app import create_app
from tests.service.conftest import PERSON, Bench, ended_runs, runs_of, wait_until

SECOND = timedelta(seconds=1)
MANUAL = f"{PERSON}schedule: manual"
#: As long as anybody cares to wait, until it is cut off.
ENDLESS = "SELECT 1 AS id, count(*) AS plan FROM range(1000000000000) a, range(1000000) b"


def order(trigger: Trigger = Trigger.SCHEDULE, due_at: datetime | None = None) -> Order:
    return Order(trigger=trigger, due_at=due_at)


def test_a_new_sync_runs_at_once_and_then_at_its_ticks(bench: Bench) -> None:
    bench.define("people")
    bench.intervals["people"] = SECOND

    with bench.service() as service:
        wait_until(lambda: len(ended_runs(service, "people")) >= 4)
        runs = sorted(runs_of(service, "people"), key=lambda run: run.due_at or bench.now())
        well = ended_runs(service, "people")

    assert {run.trigger for run in runs} == {Trigger.SCHEDULE}
    due = [run.due_at for run in runs]
    # On a busy machine two ticks may pass before the first is answered: the run that stands for both says so.
    noted = [re.search(r"stands for (an|\d+) earlier tick", " ".join(run.notes)) for run in runs[1:]]
    answers = [1 if found is None else 1 + int(found[1].replace("an", "1")) for found in noted]
    assert [later - earlier for earlier, later in pairwise(filter(None, due))] == [one * SECOND for one in answers]
    assert {run.term for run in runs} == {1}
    assert [run.counts.added for run in well[:4]] == [3, 0, 0, 0]


def test_a_tick_while_the_sync_runs_is_recorded_as_skipped_and_others_go_on(bench: Bench) -> None:
    bench.define("slow", ENDLESS)
    bench.define("people")
    bench.intervals |= {"slow": SECOND, "people": SECOND}

    with bench.service() as service:
        wait_until(lambda: len(runs_of(service, "slow")) >= 4 and len(ended_runs(service, "people")) >= 4)
        # The first run may be recorded after a tick that it has no time for.
        slow, *skipped = sorted(runs_of(service, "slow")[:4], key=lambda run: run.started_at)

    assert slow.status is RunStatus.RUNNING
    assert {run.status for run in skipped} == {RunStatus.SKIPPED}
    assert "not run, as the run before it is not over (" in skipped[0].notes[0]


def test_a_run_asked_for_has_its_id_at_once(bench: Bench) -> None:
    bench.define("people", header=MANUAL)

    with bench.service() as service:
        active = service.run_now("people", actor="ann")
        promised = service.run_log.get(active.run_id)
        assert active.ended.wait(60)

        assert promised is not None
        assert active.run is not None
        assert (active.run.id, active.run.status, active.run.actor) == (promised.id, RunStatus.SUCCESS, "ann")
        assert active.run.trigger is Trigger.API
        assert (active.run.counts.added, service.active_run(active.run_id)) == (3, None)


def test_a_sync_has_one_run_at_a_time(bench: Bench) -> None:
    bench.define("slow", ENDLESS, MANUAL)

    with bench.service() as service:
        active = service.run_now("slow", actor="ann")
        with pytest.raises(AlreadyActiveError) as raised:
            service.run_now("slow", actor="bob")
        assert raised.value.active_run is active


def test_a_run_is_cancelled_by_whoever_asks(bench: Bench) -> None:
    bench.define("slow", ENDLESS, MANUAL)

    with bench.service() as service:
        active = service.run_now("slow", actor="ann")
        wait_until(lambda: active.progress.phase == "query")

        assert service.cancel(active.run_id, actor="bob") is active
        assert active.ended.wait(60)

        assert active.run is not None
        assert (active.run.status, active.run.error) == (RunStatus.INTERRUPTED, "stopped by bob")
        assert service.cancel(active.run_id, actor="bob") is None


def test_a_run_that_waits_is_taken_out(bench: Bench) -> None:
    bench.environment["SYNCER_POOL_SIZE"] = "1"
    bench.define("slow", ENDLESS, MANUAL)
    bench.define("people", header=MANUAL)

    with bench.service() as service:
        slow = service.run_now("slow", actor="ann")
        wait_until(lambda: slow.began_at)
        waiting = service.run_now("people", actor="ann")
        service.cancel(waiting.run_id, actor="bob")

        assert waiting.ended.is_set()
        (run,) = runs_of(service, "people")
        assert (run.status, run.error) == (RunStatus.INTERRUPTED, "stopped by bob")


def test_no_more_run_side_by_side_than_the_pool_has_room_for(bench: Bench) -> None:
    bench.environment["SYNCER_POOL_SIZE"] = "2"
    for number in range(4):
        bench.define(f"slow{number}", ENDLESS, MANUAL)

    with bench.service() as service:
        active_runs = [service.run_now(f"slow{number}", actor="ann") for number in range(4)]
        wait_until(lambda: sum(active.progress.phase == "query" for active in active_runs) == 2)
        assert [active.began_at is not None for active in active_runs] == [True, True, False, False]

        service.cancel(active_runs[0].run_id, actor="ann")
        wait_until(lambda: active_runs[2].progress.phase == "query")
        assert active_runs[3].began_at is None


def test_what_depends_on_a_sync_goes_after_it_at_a_tick(bench: Bench) -> None:
    bench.define("a_last", header=f"{PERSON}depends_on: [z_first]")
    bench.define("z_first")
    bench.intervals |= {"a_last": SECOND, "z_first": SECOND}

    with bench.service() as service:
        wait_until(lambda: len(ended_runs(service, "a_last")) >= 4)
        first, last = ({run.due_at: run for run in ended_runs(service, name)} for name in ("z_first", "a_last"))

    both = [moment for moment in last if moment in first]
    assert both
    assert all(first[moment].finished_at <= last[moment].started_at for moment in both)  # type: ignore[operator]


def test_what_depends_on_a_sync_that_failed_is_skipped(bench: Bench) -> None:
    bench.define("later", header=f"{PERSON}depends_on: [broken]")
    bench.define("broken", "SELECT * FROM missing")

    with bench.service() as service:
        (run,) = wait_until(lambda: [run for run in runs_of(service, "later") if run.finished_at])
        assert (run.status, run.notes) == (
            RunStatus.SKIPPED,
            ("not run, as it depends on `broken`, which did not end well",),
        )
        wait_until(lambda: not service.pool.active_runs())
        # By hand it runs all the same.
        active = service.run_now("later", actor="ann")
        assert active.ended.wait(60)
        assert active.run is not None
        assert active.run.status is RunStatus.SUCCESS


def test_people_go_before_relationships_at_the_first_start(bench: Bench) -> None:
    bench.people({"1": "a", "2": "b"})
    bench.define("a_objects", "SELECT id FROM people", "entity: object\nobject: {type: team, id: id}")
    bench.define(
        "a_members",
        "SELECT id, id AS team FROM people",
        "entity: relationship\nperson: {id: id}\nobject: {type: team, id: team}\nschedule: every 7 minutes",
    )
    bench.define("z_people", header=f"{PERSON}schedule: every 2 hours")

    with bench.service() as service:
        wait_until(lambda: ended_runs(service, "a_members"))
        people, objects, members = (runs_of(service, name)[0] for name in ("z_people", "a_objects", "a_members"))

    assert (members.status, members.counts.accepted) == (RunStatus.SUCCESS, 2)
    assert people.finished_at <= objects.started_at  # type: ignore[operator]
    assert objects.finished_at <= members.started_at  # type: ignore[operator]


def test_the_order_of_a_tick_never_makes_two_wait_for_each_other(bench: Bench) -> None:
    bench.define("person", header=f"{PERSON}depends_on: [lookup]")
    bench.define("lookup", header="entity: collection\ncollection: x\nkey: id\ndepends_on: [member]")
    bench.define("member", header="entity: relationship\nperson: {id: id}\nobject: {type: team, id: plan}")
    precedence, tick = Precedence(bench.load().definitions), datetime.now(UTC)

    def waiting(*names: str) -> list[str]:
        turns = Turns(precedence, [(name, tick) for name in names], {})
        return [name for name in names if not turns.has_come(name, tick)]

    assert waiting("person", "lookup", "member") == ["person", "lookup"]
    assert waiting("person", "lookup") == ["person"]
    assert waiting("person", "member") == []


def test_ticks_missed_while_no_service_ran_are_made_up_for_by_one_run(bench: Bench) -> None:
    bench.define("people")
    bench.define("patient", header=f"{PERSON}catch_up: skip")
    long_ago = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    with bench.service(started=False) as service:
        for name in ("people", "patient"):
            run_id = service.run_log.start(name, order(due_at=long_ago), "x", long_ago)
            service.run_log.finish(run_id, RunStatus.SUCCESS, long_ago)

        service.start()
        wait_until(lambda: len(ended_runs(service, "people")) == 2)

        (run,) = ended_runs(service, "people")[1:]
        assert run.due_at is not None
        assert run.due_at >= long_ago + timedelta(hours=5)
        assert "this run also stands for 4 earlier ticks that passed unanswered" in run.notes
        assert len(runs_of(service, "patient")) == 1


def test_a_run_of_the_schedule_that_was_cut_off_is_made_up_for_once(bench: Bench) -> None:
    bench.define("people")
    with bench.service(started=False) as service:
        due_at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        log = service.run_log
        log.start(
            "people", replace(order(due_at=due_at), term=log.begin_term("a service that died", due_at)), "x", due_at
        )

    with bench.service() as service:
        wait_until(lambda: len([run for run in runs_of(service, "people") if run.finished_at]) == 2)
        cut, again = runs_of(service, "people")
        assert (cut.status, again.status, again.due_at) == (RunStatus.INTERRUPTED, RunStatus.SUCCESS, None)
        assert "this run makes up for the one before, which was interrupted" in again.notes

    with bench.service() as service:
        wait_until(lambda: service.timetable.next_due())
        assert (len(runs_of(service, "people")), service.pool.active_runs()) == (2, [])


def test_a_command_that_was_killed_is_known_to_be_dead_and_one_that_runs_is_not(bench: Bench) -> None:
    bench.define("dead", header=MANUAL)
    bench.define("alive", header=MANUAL)
    with bench.service(started=False) as service:
        for name in ("dead", "alive"):
            service.run_log.start(name, order(Trigger.MANUAL), "x", bench.now())
        path = service.runner.snapshots.path("alive")
        definition = next(one for one in bench.load().definitions if one.name == "alive")
        with opening.opened(path, definition, "a store"):
            service.start()
            assert [run.status for run in runs_of(service, "alive")] == [RunStatus.RUNNING]
        assert [run.status for run in runs_of(service, "dead")] == [RunStatus.INTERRUPTED]


@pytest.mark.parametrize("waits", ["order", "tick"])
def test_a_run_waits_for_a_plan_that_holds_its_snapshot(bench: Bench, waits: str) -> None:
    bench.define("people", header=MANUAL)
    with bench.service() as service:
        (definition,) = bench.load().definitions
        with opening.opened(service.runner.snapshots.path("people"), definition, "a store", record=True):
            if waits == "tick":
                bench.define("people")
                service.reload()
                wait_until(lambda: service.pool.of("people"))
                active = service.pool.of("people")
            else:
                active = service.run_now("people", actor="ann")
            assert active is not None
            wait_until(lambda: active.began_at is not None)
            assert not active.ended.wait(0.5)
        assert active.ended.wait(60)

    assert active.run is not None
    assert (active.run.status, active.run.counts.added) == (RunStatus.SUCCESS, 3)


def test_a_run_that_waits_for_a_plan_says_so_in_the_end_and_can_be_cancelled(bench: Bench) -> None:
    bench.define("people", header=MANUAL)
    with bench.service() as service:
        (definition,) = bench.load().definitions
        with opening.opened(service.runner.snapshots.path("people"), definition, "a store", record=True):
            cancelled = service.run_now("people", actor="ann")
            wait_until(lambda: cancelled.began_at is not None)
            service.cancel(cancelled.run_id, actor="bob")
            assert cancelled.ended.wait(60)
    bench.patience = timedelta()
    with bench.service() as service:
        (definition,) = bench.load().definitions
        with opening.opened(service.runner.snapshots.path("people"), definition, "a store", record=True):
            late = service.run_now("people", actor="ann")
            assert late.ended.wait(60)

    assert cancelled.run is not None
    assert (cancelled.run.status, cancelled.run.error) == (RunStatus.INTERRUPTED, "stopped by bob")
    assert late.run is not None
    assert late.run.status is RunStatus.SKIPPED
    assert "`people` is being run or planned already" in late.run.notes[0]


class Unbuildable(StoreSettings):
    """A store whose client cannot be built, for a reason that nobody foresaw."""

    def open(
        self, name: str, *, started_at: datetime | None = None, fed_by: SyncDefinition | None = None
    ) -> ProfileStore:
        raise LookupError("socks5://user:SECRET@proxy")


def test_whatever_happens_after_an_order_ends_in_a_record_of_the_run(bench: Bench) -> None:
    bench.define("people", header=MANUAL)
    with bench.service() as service:
        settings = service.settings
        broken = settings.model_copy(update={"stores": {"default": Unbuildable(url=settings.stores["default"].url)}})
        service.pool.runner = replace(service.runner, settings=broken)
        for _ in range(2):
            active = service.run_now("people", actor="ann")
            assert active.ended.wait(60)
            wait_until(lambda: not service.pool.active_runs())

            assert active.run is not None
            assert (active.run.id, active.run.status) == (active.run_id, RunStatus.FAILED)
            assert active.run.error == "unexpected LookupError; this is a defect of Syncer"
            assert active.run_id in active.run.hint
        assert service.run_log.open_runs() == []


def test_a_pause_holds_ticks_back_and_what_it_held_back_is_not_made_up_for(bench: Bench) -> None:
    bench.define("people")
    bench.intervals["people"] = SECOND

    with bench.service() as service:
        wait_until(lambda: runs_of(service, "people"))
        service.pause("people")
        assert service.timetable.names() == frozenset()
        wait_until(lambda: not service.pool.active_runs())
        paused_at = bench.now()
        bench.ahead += 10 * SECOND
        service.resume("people")
        wait_until(lambda: runs_of(service, "people")[-1].due_at > paused_at)  # type: ignore[operator]
        later = [run for run in runs_of(service, "people") if run.due_at > paused_at]  # type: ignore[operator]

    assert later[0].due_at >= paused_at + 9 * SECOND  # type: ignore[operator]
    assert not [note for note in later[0].notes if "stands for" in note]


def test_a_pause_by_the_command_line_is_noticed_and_kept_over_restarts(bench: Bench) -> None:
    bench.define("people")
    with bench.service() as service:
        assert service.timetable.names() == {"people"}
        service.run_log.pause("people", bench.now())
        wait_until(lambda: service.timetable.names() == frozenset())
    with bench.service() as service:
        assert service.timetable.names() == frozenset()
        service.run_log.resume("people", bench.now())
        wait_until(lambda: service.timetable.names() == {"people"})


def test_definitions_that_change_are_scheduled_anew(bench: Bench) -> None:
    bench.define("people", header=MANUAL)
    bench.define("gone")

    with bench.service() as service:
        assert service.timetable.names() == {"gone"}
        bench.define("people", header=PERSON)
        bench.define("new", header=f"{PERSON}enabled: false")
        (bench.path / "sync_definitions/gone.sql").unlink()
        service.reload()

        assert service.timetable.names() == {"people"}
        wait_until(lambda: runs_of(service, "people"))
        with pytest.raises(SelectionError, match="there is no sync"):
            service.run_now("gone", actor="ann")


def test_a_tick_missed_while_a_sync_was_disabled_is_not_made_up_for(bench: Bench) -> None:
    bench.define("people", header=f"{PERSON}enabled: false")
    long_ago = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    with bench.service(started=False) as service:
        run_id = service.run_log.start("people", order(due_at=long_ago), "x", long_ago)
        service.run_log.finish(run_id, RunStatus.SUCCESS, long_ago)
        service.start()

        bench.define("people", header=PERSON)
        service.reload()
        # Another edit after it makes no difference.
        bench.define("people", header=f"{PERSON}tags: [shop]")
        service.reload()

        assert service.timetable.next_due()["people"] > datetime.now(UTC)
        assert len(runs_of(service, "people")) == 1


def test_a_removed_file_leaves_the_store_and_the_snapshot(bench: Bench) -> None:
    file = bench.define("people", header=f"{PERSON}on_removed: delete")
    with bench.service() as service:
        wait_until(lambda: ended_runs(service, "people") and not service.pool.active_runs())
        file.unlink()
        service.reload()
        assert service.timetable.names() == frozenset()
        assert service.runner.snapshots.path("people").exists()
        bench.define("people", header=f"{PERSON}on_removed: delete\nschedule: manual")
        service.reload()

        active = service.run_now("people", actor="ann")
        assert active.ended.wait(60)

        assert active.run is not None
        assert active.run.counts.unchanged == 3


def test_a_process_that_stood_still_is_not_taken_for_a_schedule_that_hangs(bench: Bench) -> None:
    with bench.service(started=False) as service:
        # As if it had been stopped, and had not looked at its clocks meanwhile.
        service.last_heartbeat -= 300
        service._clocks = bench.now() - timedelta(minutes=5), time.monotonic() - 300
        service.follow_clock()
        assert service.heartbeat_age < timedelta(seconds=10)
        service.last_heartbeat -= 70
        service.follow_clock()
        assert service.heartbeat_age > timedelta(seconds=60)


def test_a_run_ends_with_the_definition_that_it_began_with(bench: Bench) -> None:
    bench.define("slow", ENDLESS, MANUAL)
    with bench.service() as service:
        active = service.run_now("slow", actor="ann")
        wait_until(lambda: active.began_at is not None)
        before = active.definition.hash
        bench.define("slow", header=MANUAL)
        service.reload()
        service.cancel(active.run_id, actor="ann")
        assert active.ended.wait(60)
        again = service.run_now("slow", actor="ann")
        assert again.ended.wait(60)

        assert active.run is not None
        assert again.run is not None
        assert (active.run.definition_hash, again.run.definition_hash != before) == (before, True)


def test_a_service_that_stops_lets_runs_end_and_takes_no_more(bench: Bench) -> None:
    bench.define("slow", ENDLESS, MANUAL)
    bench.define("people", header=MANUAL)
    bench.environment["SYNCER_POOL_SIZE"] = "1"
    ended: list[ActiveRun] = []
    with bench.service() as service:
        service.ended.append(ended.append)
        slow = service.run_now("slow", actor="ann")
        wait_until(lambda: slow.progress.phase == "query")
        waiting = service.run_now("people", actor="ann")

        assert service.stop("the service was stopped")

        for name in ("slow", "people"):
            (run,) = runs_of(service, name)
            assert (run.status, run.error) == (RunStatus.INTERRUPTED, "the service was stopped")
        assert waiting.ended.is_set()
        assert ended == [slow]
        with pytest.raises(ClosedError):
            service.run_now("people", actor="ann")


def test_a_clock_that_jumps_does_not_make_a_service_give_up(bench: Bench) -> None:
    with bench.service() as service:
        bench.ahead += timedelta(hours=3)

        assert service.heartbeat_age < timedelta(seconds=30)


def test_a_clock_that_is_set_back_leaves_no_tick_in_the_future(bench: Bench) -> None:
    bench.define("people", header=f"{PERSON}schedule: every 1 hour")
    with bench.service() as service:
        wait_until(lambda: ended_runs(service, "people") and not service.pool.active_runs())
        # As if the clock had been far ahead when they were scheduled.
        future = datetime.now(UTC) + timedelta(days=400)
        for job in service.timetable._scheduler.get_jobs():
            service.timetable._scheduler.modify_job(job.id, next_run_time=future)
        bench.ahead = timedelta(days=400)
        service.follow_clock()
        service.leader.led_at = service.now()
        last = service.last_heartbeat
        bench.ahead = timedelta()

        service.follow_clock()

        wait_until(lambda: service.last_heartbeat > last)
        wait_until(lambda: service.timetable.next_due()["people"] < datetime.now(UTC) + timedelta(hours=2))
        assert service.led_at <= service.now()


def test_a_process_whose_schedule_hangs_ends_so_that_it_is_started_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LONGEST_HEARTBEAT_AGE", timedelta(seconds=1))
    bench.environment |= {"SYNCER_WEB__PORT": "0"}
    go_on = threading.Event()

    def hang() -> None:
        go_on.wait()

    with bench.service(started=False) as service:
        service.heartbeats.append(hang)
        with pytest.raises(process.StuckError, match="the schedule has not moved for"):
            process.Process(service=service, app=create_app(service), now=bench.now).run(lambda: "the test is over")
        go_on.set()


def test_a_service_that_no_longer_leads_ends_its_runs(bench: Bench) -> None:
    bench.define("slow", ENDLESS, MANUAL)
    with bench.service() as service:
        active = service.run_now("slow", actor="ann", options=RunOptions(full=True))
        wait_until(lambda: active.progress.phase == "query")
        overtaken = threading.Event()
        active.progress.token.watch = lambda: FENCED if overtaken.is_set() else ""
        overtaken.set()
        assert active.is_stopped
