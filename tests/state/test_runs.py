from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from syncer.model.errors import SettingsError, StateDatabaseError
from syncer.model.types import (
    CONCLUSIVE,
    Changes,
    Counts,
    Delivery,
    EndedBy,
    Finding,
    FindingKind,
    Order,
    Rejection,
    Run,
    RunScope,
    RunStatus,
    Trigger,
    Undelivered,
)
from syncer.state import promises, rejections, schema, upgrades
from syncer.state.database import StateDatabase
from syncer.state.rejections import Rejections
from syncer.state.runs import RunLog, TickAnsweredError
from syncer.state.service_schema import requests
from tests.state import processes
from tests.state.processes import record_runs, tell_id

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def log(database: StateDatabase) -> RunLog:
    return RunLog(database)


def ended(log: RunLog, sync: str, status: RunStatus, at: datetime) -> str:
    run_id = log.start(sync, Order(trigger=Trigger.MANUAL), "hash", at)
    log.finish(run_id, status, at)
    return run_id


def refused(key: str, reason: str = "no such account") -> Rejection:
    return Rejection(sync="members", key=key, reason=reason, attempts=2, first_seen=NOON, last_seen=NOON + MINUTE)


def rejected_now(log: RunLog, sync: str = "members") -> tuple[list[Rejection], int]:
    found = Rejections(log.database)
    return found.of(sync, now=NOON)[0], found.total(sync)


def test_a_run_that_began_is_running(log: RunLog) -> None:
    run_id = log.start("people", Order(trigger=Trigger.API), "abc", NOON)

    assert log.get(run_id) == Run(
        id=run_id,
        sync="people",
        trigger=Trigger.API,
        status=RunStatus.RUNNING,
        started_at=NOON,
        definition_hash="abc",
    )


def test_a_run_that_ended_is_read_back_whole(log: RunLog) -> None:
    run_id = log.start("people", Order(trigger=Trigger.SCHEDULE), "abc", NOON)
    numbers = {"added": 1, "changed": 2, "removed": 3, "unchanged": 4, "accepted": 5, "rejected": 6, "absent": 7}
    counts = Counts(queried=8, altered=8, merged=9, **numbers)
    delivery = Delivery(
        planned=Changes(added=1, changed=2, removed=3, resent=14),
        delivered=Changes(added=1, changed=1, removed=1, resent=2),
        quarantined=4,
        in_doubt=5,
    )

    log.finish(
        run_id,
        RunStatus.FAILED,
        NOON + MINUTE,
        counts=counts,
        phases={"query": 1.5, "diff": 0.25, "apply": 3},
        error="the warehouse refused",
        hint="Ask again.",
        notes=["2 values were NaN", "a column is new"],
        delivery=delivery,
    )

    run = log.get(run_id)
    assert run == Run(
        id=run_id,
        sync="people",
        trigger=Trigger.SCHEDULE,
        status=RunStatus.FAILED,
        started_at=NOON,
        finished_at=NOON + MINUTE,
        definition_hash="abc",
        counts=counts,
        phases={"query": 1.5, "diff": 0.25, "apply": 3},
        error="the warehouse refused",
        hint="Ask again.",
        notes=("2 values were NaN", "a column is new"),
        delivery=delivery,
    )
    assert run.undelivered == Undelivered(rejected=2, absent=7, in_doubt=5, not_sent=1)
    assert list(run.phases) == ["query", "diff", "apply"]


def test_a_run_nobody_recorded_cannot_end(log: RunLog) -> None:
    with pytest.raises(StateDatabaseError, match="no run 20260101T000000000-000000"):
        log.finish("20260101T000000000-000000", RunStatus.SUCCESS, NOON)

    assert log.get("20260101T000000000-000000") is None


def test_times_of_any_zone_come_back_in_utc(log: RunLog) -> None:
    run_id = log.start("people", Order(trigger=Trigger.MANUAL), "abc", NOON.astimezone(timezone(timedelta(hours=-7))))

    run = log.get(run_id)
    assert run is not None
    assert run.started_at == NOON
    assert run.started_at.tzinfo is UTC
    assert run_id.startswith("20261123T120000123-")


def test_a_time_without_a_zone_is_refused(log: RunLog) -> None:
    with pytest.raises(sa.exc.StatementError, match="without a time zone"):
        log.start("people", Order(trigger=Trigger.MANUAL), "abc", NOON.replace(tzinfo=None))


def test_the_newest_runs_come_first(log: RunLog) -> None:
    ids = [log.start(f"sync{i % 2}", Order(trigger=Trigger.MANUAL), "abc", NOON + i * MINUTE) for i in range(6)]

    assert [run.id for run in log.recent()] == ids[::-1]
    assert [run.id for run in log.recent(limit=2)] == [ids[5], ids[4]]
    assert [run.id for run in log.recent("sync0", 2)] == [ids[4], ids[2]]
    assert log.recent("other") == []


def test_a_skipped_run_has_its_reason_and_an_end(log: RunLog) -> None:
    run_id = log.record_skipped("people", Order(trigger=Trigger.SCHEDULE), "abc", NOON, note="already running")

    run = log.get(run_id)
    assert run is not None
    assert (run.status, run.finished_at, run.notes) == (RunStatus.SKIPPED, NOON, ("already running",))


def test_the_last_status_leaves_out_what_runs_and_what_was_skipped(log: RunLog) -> None:
    ended(log, "people", RunStatus.SUCCESS, NOON)
    ended(log, "people", RunStatus.HELD, NOON + MINUTE)
    log.record_skipped("people", Order(trigger=Trigger.SCHEDULE), "abc", NOON + 2 * MINUTE, note="already running")
    log.start("people", Order(trigger=Trigger.MANUAL), "abc", NOON + 3 * MINUTE)
    ended(log, "accounts", RunStatus.WARNING, NOON)
    log.start("new", Order(trigger=Trigger.MANUAL), "abc", NOON)

    assert log.last_status() == {"people": RunStatus.HELD, "accounts": RunStatus.WARNING}


def test_the_last_start_is_known_for_all_runs_or_some(log: RunLog) -> None:
    ended(log, "people", RunStatus.SUCCESS, NOON)
    ended(log, "people", RunStatus.FAILED, NOON + MINUTE)
    log.record_skipped("people", Order(trigger=Trigger.SCHEDULE), "abc", NOON + 2 * MINUTE, note="already running")

    assert log.last_started("people") == NOON + MINUTE
    assert log.last_started("other") is None


def test_a_tick_is_answered_once(log: RunLog) -> None:
    tick = Order(trigger=Trigger.SCHEDULE, due_at=NOON)
    log.start("people", tick, "abc", NOON)
    log.start("accounts", tick, "abc", NOON)

    with pytest.raises(TickAnsweredError):
        log.start("people", tick, "abc", NOON + MINUTE)
    with pytest.raises(TickAnsweredError):
        log.record_skipped("people", tick, "abc", NOON + MINUTE, note="already running")

    log.record_skipped("people", replace(tick, due_at=NOON + MINUTE), "abc", NOON + MINUTE, note="already running")
    log.start("people", Order(trigger=Trigger.MANUAL), "abc", NOON)
    names = ["people", "accounts", "none"]
    assert log.last_due(names, until=NOON + HOUR) == {"people": NOON + MINUTE, "accounts": NOON}
    assert log.last_due(names, until=NOON) == {"people": NOON, "accounts": NOON}


def test_a_promised_run_begins_under_its_id(log: RunLog) -> None:
    order = Order(trigger=Trigger.API, actor="ann")
    run_id = log.start("people", order, "abc", NOON)
    # Another process ran the sync meanwhile.
    log.interrupt_open("people", NOON + MINUTE)

    assert log.interrupt_open("people", NOON + MINUTE, promised=run_id) == 0
    assert log.start("people", replace(order, run_id=run_id), "abc", NOON + 2 * MINUTE) == run_id
    assert log.interrupt_open("people", NOON + MINUTE, promised=run_id) == 0

    (run,) = log.recent()
    assert (run.status, run.started_at, run.finished_at) == (RunStatus.RUNNING, NOON + 2 * MINUTE, None)
    assert run.actor == "ann"


def test_the_overview_reads_the_newest_runs_of_each_sync(log: RunLog) -> None:
    for number in range(4):
        ended(log, "people", RunStatus.WARNING if number == 1 else RunStatus.FAILED, NOON + number * MINUTE)
    ended(log, "accounts", RunStatus.SUCCESS, NOON)

    log.record_skipped("accounts", Order(trigger=Trigger.SCHEDULE, due_at=NOON), "abc", NOON + MINUTE, note="busy")

    newest = log.outcomes(["people", "accounts", "none"], 2)

    assert {sync: [run.started_at for run in found] for sync, found in newest.items()} == {
        "people": [NOON + 3 * MINUTE, NOON + 2 * MINUTE],
        "accounts": [NOON + MINUTE, NOON],
    }
    assert log.outcomes([], 2) == {}
    last = log.last_runs(["people", "accounts", "none"])
    assert {sync: run.started_at for sync, run in last.items()} == {"people": NOON + 3 * MINUTE, "accounts": NOON}
    assert log.last_ended_well(["people", "accounts", "none"]) == {"people": NOON + MINUTE, "accounts": NOON}


def test_the_newest_runs_of_many_syncs_are_read_at_once(log: RunLog) -> None:
    for number in range(4):
        for sync in ("people", "accounts"):
            ended(log, sync, RunStatus.FAILED if number % 2 else RunStatus.SUCCESS, NOON + number * MINUTE)
        log.record_skipped("people", Order(trigger=Trigger.SCHEDULE), "abc", NOON + number * MINUTE, note="busy")
    statuses = [RunStatus.FAILED, RunStatus.SUCCESS]

    newest = log.newest(["people", "accounts", "none"], 3, statuses=statuses)

    assert {sync: [run.started_at for run in runs] for sync, runs in newest.items()} == {
        sync: [NOON + number * MINUTE for number in (3, 2, 1)] for sync in ("people", "accounts")
    }
    assert {run.status for runs in newest.values() for run in runs} == set(statuses)
    assert log.newest(["people"], 9, statuses=statuses)["people"][3:] != []


def test_findings_are_kept_with_their_run(log: RunLog) -> None:
    found = Finding(kind=FindingKind.UNREACHABLE, about="warehouse crm", detail="gone")
    for at in (NOON, NOON + 2 * MINUTE):
        run_id = log.start("people", Order(trigger=Trigger.MANUAL), "abc", at)
        log.finish(run_id, RunStatus.FAILED, at, findings=[found])
    ended(log, "people", RunStatus.SUCCESS, NOON + 3 * MINUTE)

    (run,) = log.with_findings(NOON + MINUTE)

    assert (run.id, run.findings) == (run_id, (found,))


def test_the_last_moment_of_the_log_is_that_of_a_run_that_may_have_sent(log: RunLog) -> None:
    assert log.last_moment() is None
    ahead = NOON + timedelta(days=400)
    log.finish(log.start("people", Order(trigger=Trigger.MANUAL), "abc", NOON), RunStatus.FAILED, NOON + MINUTE)
    ended(log, "accounts", RunStatus.HELD, ahead)
    log.record_skipped("people", Order(trigger=Trigger.SCHEDULE), "abc", ahead, note="busy")
    log.start("people", Order(trigger=Trigger.MANUAL), "abc", ahead)

    assert log.last_moment() == NOON + MINUTE
    ended(log, "people", RunStatus.SUCCESS, ahead)
    assert log.last_moment() == ahead
    ended(log, "people", RunStatus.SUCCESS, NOON)
    assert log.last_moment() == NOON


def test_what_is_sent_counts_after_what_a_clock_that_was_ahead_dated(log: RunLog) -> None:
    ahead = NOON + timedelta(days=400)
    ended(log, "people", RunStatus.HELD, ahead + MINUTE)
    assert log.sent_ahead_of("people", NOON) is None
    ended(log, "people", RunStatus.SUCCESS, ahead)
    ended(log, "accounts", RunStatus.SUCCESS, ahead + MINUTE)

    assert log.sent_ahead_of("people", NOON) == ahead + timedelta(seconds=1)
    ended(log, "people", RunStatus.SUCCESS, NOON)
    assert log.sent_ahead_of("people", NOON + MINUTE) == ahead + timedelta(seconds=2)
    assert log.sent_ahead_of("people", ahead + MINUTE) is None


def test_runs_are_read_page_by_page(log: RunLog) -> None:
    ids = [ended(log, f"sync{number % 2}", RunStatus.SUCCESS, NOON + number * MINUTE) for number in range(6)][::-1]

    assert [run.id for run in log.recent(limit=4)] == ids[:4]
    assert [run.id for run in log.recent(before=ids[3], limit=4)] == ids[4:]
    assert [run.id for run in log.recent("sync1", before=ids[0])] == [ids[2], ids[4]]


def test_what_was_cut_off_is_made_up_for_once(log: RunLog) -> None:
    tick = Order(trigger=Trigger.SCHEDULE, due_at=NOON)
    for sync in ("people", "accounts", "done"):
        log.finish(log.start(sync, tick, "abc", NOON), RunStatus.INTERRUPTED, NOON)
    again = Order(trigger=Trigger.SCHEDULE)
    log.finish(log.start("done", again, "abc", NOON + MINUTE), RunStatus.SUCCESS, NOON + MINUTE)
    log.record_skipped("accounts", replace(tick, due_at=NOON + MINUTE), "abc", NOON + MINUTE, note="already running")

    assert log.cut_off(["people", "accounts", "done", "none"]) == {"people", "accounts"}


def test_what_a_crash_or_a_shutdown_ended_is_made_up_for_until_a_run_ends_and_what_a_person_ended_is_not(
    log: RunLog,
) -> None:
    tick, again = Order(trigger=Trigger.SCHEDULE, due_at=NOON), Order(trigger=Trigger.SCHEDULE)
    for by in EndedBy:
        log.finish(log.start(by, tick, "abc", NOON), RunStatus.INTERRUPTED, NOON, ended_by=by)
    left = {EndedBy.SHUTDOWN, EndedBy.TAKEOVER, EndedBy.CRASH}
    assert log.cut_off(EndedBy) == left

    for by in left:
        log.accept(by, again, "abc", NOON)
    assert log.cut_off(EndedBy) == set(), "what makes up for it waits"
    for run in log.queued_runs():
        log.start(run.sync, replace(again, run_id=run.id), "abc", NOON)
        log.interrupt(run.id, NOON + MINUTE)
    assert log.cut_off(EndedBy) == left, "what made up for it was interrupted itself"

    log.finish(log.start("crash", again, "abc", NOON), RunStatus.INTERRUPTED, NOON, ended_by=EndedBy.PERSON)
    log.finish(log.start("shutdown", again, "abc", NOON), RunStatus.FAILED, NOON)
    assert log.cut_off(EndedBy) == {EndedBy.TAKEOVER}


def test_a_run_of_single_rows_does_not_show_how_its_sync_stands(log: RunLog) -> None:
    ended(log, "people", RunStatus.HELD, NOON)
    before = log.latest(["people"]), log.newest_conclusive(["people"]), log.last_ended_well(["people"])

    one = Order(trigger=Trigger.MANUAL, scope=RunScope.ROWS, options=("row",))
    log.finish(log.start("people", one, "abc", NOON + MINUTE), RunStatus.SUCCESS, NOON + 2 * MINUTE)

    assert (log.latest(["people"]), log.newest_conclusive(["people"]), log.last_ended_well(["people"])) == before
    assert log.last_status() == {"people": RunStatus.HELD}
    assert [run.status for run in log.newest(["people"], 5, statuses=CONCLUSIVE)["people"]] == [RunStatus.HELD]
    assert log.last_started("people") == NOON + MINUTE, "it has sent something"
    (newest,) = log.recent("people", 1)
    assert (newest.scope, newest.options) == (RunScope.ROWS, ("row",))

    full = Order(trigger=Trigger.MANUAL, scope=RunScope.FULL, options=("full", "allow_limits"))
    log.finish(log.start("people", full, "abc", NOON + 3 * MINUTE), RunStatus.SUCCESS, NOON + 4 * MINUTE)
    assert log.last_status() == {"people": RunStatus.SUCCESS}


def test_a_queued_run_is_ended_by_who_holds_it_alone(log: RunLog) -> None:
    queued = log.accept("people", Order(trigger=Trigger.API), "abc", NOON)

    assert log.interrupt_open("people", NOON + MINUTE) == 0
    by_hand = log.start("people", Order(trigger=Trigger.MANUAL), "abc", NOON + MINUTE)
    assert [run.id for run in log.open_runs()] == [by_hand]
    assert [run.id for run in log.queued_runs()] == [queued]
    assert log.purge(NOON + 10 * MINUTE) == 0
    log.finish(by_hand, RunStatus.SUCCESS, NOON + 2 * MINUTE)

    log.start("people", Order(trigger=Trigger.API, run_id=queued), "def", NOON + 3 * MINUTE)

    newest, older = log.recent("people")
    assert [newest.id, older.id] == [queued, by_hand], "it began later"
    assert (newest.status, newest.started_at, newest.definition_hash) == (RunStatus.RUNNING, NOON + 3 * MINUTE, "def")


def test_a_run_tells_how_long_it_waited(log: RunLog) -> None:
    waiting, withdrawn, ahead = (log.accept(name, Order(trigger=Trigger.API), "abc", NOON) for name in "abc")
    at_once = log.start("d", Order(trigger=Trigger.MANUAL), "abc", NOON)
    before = log.some([waiting])[0].waited_seconds
    log.start("a", Order(trigger=Trigger.API, run_id=waiting), "abc", NOON + MINUTE)
    log.withdraw(withdrawn, NOON + MINUTE, why="", by=EndedBy.PERSON)
    log.start("c", Order(trigger=Trigger.API, run_id=ahead), "abc", NOON - MINUTE)

    found = {run.id: (run.ordered_at, run.waited_seconds) for run in log.recent()}
    assert before is None
    assert found[waiting] == (NOON, 60.0)
    assert found[withdrawn] == (NOON, None)
    assert found[ahead] == (NOON, 0.0), "the clocks of two machines"
    assert found[at_once] == (None, None)


def test_an_order_and_the_name_of_its_request_are_recorded_together(log: RunLog) -> None:
    run_id = log.accept("people", Order(trigger=Trigger.API, options=("full",)), "abc", NOON, request="ann\n1")

    with log.database.reading() as connection:
        (row,) = connection.execute(sa.select(requests)).all()
    assert (row.key, row.sync, row.options, row.run_id) == ("ann\n1", "people", "full", run_id)


def test_a_schedule_counts_from_when_it_was_promised(log: RunLog) -> None:
    def keep(at: datetime, **schedules: str | None) -> dict[str, tuple[datetime, bool]]:
        return {
            sync: each[1:] for sync, each in promises.keep(log, schedules, at, answered={"old": NOON - HOUR}).items()
        }

    assert keep(NOON, people="every day") == {"people": (NOON, True)}
    assert keep(NOON + MINUTE, people="every day") == {"people": (NOON, True)}, "no edit, and no restart, moves it"
    assert keep(NOON + MINUTE, people="every hour") == {"people": (NOON + MINUTE, False)}
    assert keep(NOON + 2 * MINUTE, people="") == {}, "disabled"
    assert keep(NOON + 3 * MINUTE, people="every hour") == {"people": (NOON + 3 * MINUTE, False)}

    log.pause("people", NOON + 4 * MINUTE)
    log.resume("people", NOON + 5 * MINUTE)
    assert keep(NOON + 9 * MINUTE, people="every hour") == {"people": (NOON + 5 * MINUTE, False)}
    log.resume("people", NOON + 10 * MINUTE)
    assert keep(NOON + 11 * MINUTE, people="every hour") == {"people": (NOON + 5 * MINUTE, False)}, "not paused"

    assert keep(NOON, people="every hour") == {"people": (NOON, False)}, "a clock that was ahead dated it"
    assert keep(NOON, people=None) == {}
    assert keep(NOON + MINUTE, people="every hour") == {"people": (NOON + MINUTE, False)}, "it had one before"

    assert keep(NOON, old="every hour") == {"old": (NOON - HOUR, True)}, "nothing is known but what ran"
    assert keep(NOON, manual="") == {}
    assert keep(NOON + MINUTE, manual="every hour") == {"manual": (NOON + MINUTE, True)}, "the first one"


def test_old_runs_are_forgotten_but_for_the_newest_of_each_kind(log: RunLog) -> None:
    for number, status in enumerate([RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.SUCCESS, RunStatus.FAILED]):
        ended(log, "people", status, NOON + number * MINUTE)
    ended(log, "accounts", RunStatus.SUCCESS, NOON)
    log.start("slow", Order(trigger=Trigger.MANUAL), "abc", NOON)

    assert log.purge(NOON + 10 * MINUTE) == 2

    assert [run.started_at for run in log.recent("people")] == [NOON + 3 * MINUTE, NOON + 2 * MINUTE]
    assert len(log.recent()) == 4


def test_the_run_that_answered_the_newest_tick_is_kept(log: RunLog) -> None:
    for number in range(3):
        due = NOON + number * MINUTE
        log.finish(log.start("people", Order(trigger=Trigger.SCHEDULE, due_at=due), "abc", due), RunStatus.SUCCESS, due)
    ended(log, "people", RunStatus.SUCCESS, NOON + 5 * MINUTE)

    assert log.purge(NOON + 10 * MINUTE) == 2
    ended(log, "people", RunStatus.SUCCESS, NOON + 6 * MINUTE)

    assert log.last_due(["people"], until=NOON + HOUR) == {"people": NOON + 2 * MINUTE}


def test_runs_left_open_are_interrupted_those_of_other_syncs_are_not(log: RunLog) -> None:
    left_open = log.start("people", Order(trigger=Trigger.MANUAL), "abc", NOON)
    done = ended(log, "people", RunStatus.SUCCESS, NOON)
    other = log.start("accounts", Order(trigger=Trigger.MANUAL), "abc", NOON)

    assert log.interrupt_open("people", NOON + MINUTE) == 1
    assert log.interrupt_open("people", NOON + MINUTE) == 0

    statuses = {run.id: (run.status, run.finished_at) for run in log.recent()}
    assert statuses == {
        left_open: (RunStatus.INTERRUPTED, NOON + MINUTE),
        done: (RunStatus.SUCCESS, NOON),
        other: (RunStatus.RUNNING, None),
    }


def test_rejections_are_those_of_now(log: RunLog) -> None:
    log.replace_rejections("members", [refused("u1"), refused("u2")], 2, now=NOON)
    log.replace_rejections("members", [refused("u3"), refused("u2")], 7, now=NOON)

    assert rejected_now(log) == ([refused("u3"), refused("u2")], 7)
    assert rejected_now(log, "people") == ([], 0)

    log.replace_rejections("members", [], 0, now=NOON)
    assert rejected_now(log) == ([], 0)


def test_rejections_are_found_by_a_part_of_their_key(log: RunLog) -> None:
    quoting = refused('["say \\"hi\\"","t_1"]')
    log.replace_rejections("members", [refused("Zoë 100%"), quoting], 2, now=NOON)

    assert log.rejections_with('say "hi"', 10) == [quoting]
    assert log.rejections_with("Zoë", 10) == [refused("Zoë 100%")]
    assert log.rejections_with("%", 10) == [refused("Zoë 100%")]
    assert log.rejections_with("t_", 10) == [quoting]
    assert log.rejections_with("t.1", 10) == []
    assert len(log.rejections_with("", 1)) == 1


def test_no_more_rejections_are_kept_than_a_person_reads(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "KEPT_REJECTIONS", 3)

    log.replace_rejections("members", [refused(f"u{i}") for i in range(5)], 5, now=NOON)

    assert rejected_now(log) == ([refused(f"u{i}") for i in range(3)], 5)


def test_text_that_a_database_cannot_hold_is_kept_as_a_sign(log: RunLog) -> None:
    log.replace_rejections("members", [refused("a\0b", "text with \udcff")], 1, now=NOON)
    run_id = log.start("members", Order(trigger=Trigger.MANUAL), "abc", NOON)
    log.finish(run_id, RunStatus.FAILED, NOON, error="file \udcff\0", notes=["\0"])

    [rejection], _ = rejected_now(log)
    run = log.get(run_id)
    assert run is not None
    assert (rejection.key, rejection.reason, run.error) == ("a␀b", "text with ?", "file ?␀")


def test_a_pause_lasts_until_it_is_resumed(url: str) -> None:
    first = StateDatabase(url)
    RunLog(first).pause("people", NOON)
    RunLog(first).pause("people", NOON + MINUTE)
    RunLog(first).pause("accounts", NOON)
    first.close()

    second = StateDatabase(url)
    log = RunLog(second)
    assert log.paused() == {"people", "accounts"}
    log.resume("people", NOON)
    log.resume("never paused", NOON)
    assert log.paused() == {"accounts"}
    second.close()


def test_a_reader_does_not_wait_for_a_writer(url: str, database: StateDatabase, log: RunLog) -> None:
    before = log.start("people", Order(trigger=Trigger.MANUAL), "abc", NOON)

    with database.writing() as connection:
        connection.execute(schema.runs.update().values(status=RunStatus.FAILED))
        connection.execute(schema.removal_sets.delete())
        reader = StateDatabase(url)
        seen = [(run.id, run.status) for run in RunLog(reader).recent()]
        reader.close()

    assert seen == [(before, RunStatus.RUNNING)]


def test_a_writer_does_not_wait_for_a_reader_who_sees_one_moment(url: str, database: StateDatabase) -> None:
    count = sa.select(sa.func.count()).select_from(schema.runs)

    with database.reading() as connection:
        before = connection.execute(count).scalar_one()
        writer = StateDatabase(url)
        RunLog(writer).start("people", Order(trigger=Trigger.MANUAL), "abc", NOON)
        writer.close()
        after = connection.execute(count).scalar_one()

    assert (before, after) == (0, 0)


def test_a_change_that_fails_halfway_leaves_nothing(log: RunLog) -> None:
    log.replace_rejections("members", [refused("u1")], 1, now=NOON)

    with pytest.raises(sa.exc.StatementError):
        log.replace_rejections("members", [replace(refused("u2"), last_seen=NOON.replace(tzinfo=None))], 1, now=NOON)

    assert rejected_now(log) == ([refused("u1")], 1)


def test_several_processes_write_at_once(url: str) -> None:
    writing = [processes.started(record_runs, url, f"sync{i}", 20) for i in range(2)]
    printed = {run_id for process in writing for run_id in process.communicate()[0].split()}

    assert [process.returncode for process in writing] == [0, 0]
    database = StateDatabase(url)
    runs = RunLog(database).recent(limit=100)
    database.close()
    assert {run.id for run in runs} == printed
    assert len(runs) == 40


def test_what_was_recorded_in_a_database_that_is_open_twice_outlives_the_end_of_another_process(url: str) -> None:
    first, second = StateDatabase(url), StateDatabase(url)
    recorded = []
    for _ in range(2):
        recorded.append(ended(RunLog(first), "people", RunStatus.SUCCESS, NOON))
        other = processes.started(record_runs, url, "members")
        recorded.append(other.communicate(timeout=60)[0].strip())
    recorded.append(ended(RunLog(first), "people", RunStatus.SUCCESS, NOON))
    first.close()
    second.close()

    database = StateDatabase(url)
    assert {run.id for run in RunLog(database).recent()} == set(recorded)
    database.close()


def test_what_was_recorded_outlives_a_killed_process(url: str) -> None:
    printed = processes.killed(processes.started(record_runs, url, "people", 1_000_000), after=20)

    database = StateDatabase(url)
    log = RunLog(database)
    assert printed <= {run.id for run in log.recent("people", 10_000) if run.status is RunStatus.SUCCESS}
    assert log.interrupt_open("people", NOON) <= 1
    ended(log, "people", RunStatus.SUCCESS, NOON)
    database.close()


def test_a_database_made_by_several_processes_at_once_is_one(url: str) -> None:
    making = [processes.started(tell_id, url) for _ in range(3)]
    printed = [process.communicate()[0].strip() for process in making]

    assert [process.returncode for process in making] == [0] * 3
    assert len(set(printed)) == 1
    assert printed[0]


def test_a_database_made_by_several_threads_at_once_is_one(tmp_path: Path) -> None:
    def make(url: str, barrier: threading.Barrier) -> None:
        barrier.wait()
        database = StateDatabase(url)
        ids.append(database.log_id)
        database.close()

    for number in range(50):
        ids, barrier = list[str](), threading.Barrier(4)
        threads = [threading.Thread(target=make, args=(f"sqlite:///{tmp_path}/{number}.db", barrier)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ids) == 4
        assert len(set(ids)) == 1


def test_a_database_made_anew_has_another_id(tmp_path: Path) -> None:
    ids = []
    for name in ("one.db", "two.db", "one.db"):
        database = StateDatabase(f"sqlite:///{tmp_path}/{name}")
        ids.append(RunLog(database).log_id)
        database.close()

    assert ids[0] == ids[2] != ids[1]


def test_an_older_database_is_upgraded_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = StateDatabase(url)
    RunLog(first).pause("people", NOON)
    first.close()
    applied = []

    def add_colour(connection: sa.Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE syncer_pauses ADD COLUMN colour text")
        applied.append("colour")

    known = upgrades.FORMATS
    one_more(monkeypatch, add_colour)
    for _ in range(2):
        upgraded = StateDatabase(url)
        assert upgraded.log_id == first.log_id
        assert RunLog(upgraded).paused() == {"people"}
        upgraded.close()
    assert applied == ["colour"]

    monkeypatch.undo()
    refused = rf"a newer Syncer: its format is {known.newest + 1}, this Syncer knows {known.newest}$"
    with pytest.raises(SettingsError, match=refused):
        StateDatabase(url)


def one_more(monkeypatch: pytest.MonkeyPatch, upgrade: Callable[[sa.Connection], None]) -> None:
    """Let there be one more format."""
    monkeypatch.setattr(upgrades, "FORMATS", replace(upgrades.FORMATS, upgrades=(*upgrades.FORMATS.upgrades, upgrade)))
    monkeypatch.setattr(schema, "NEWEST", schema.NEWEST + 1)


def test_the_newest_format_is_that_of_the_last_upgrade() -> None:
    assert upgrades.FORMATS.newest == schema.NEWEST


def columns(database: StateDatabase) -> dict[str, set[str]]:
    with database.reading() as connection:
        found = sa.inspect(connection)
        return {name: {one["name"] for one in found.get_columns(name)} for name in found.get_table_names()}


#: The tables of format 1 that later formats changed, as its program made them.
FORMAT_1 = """
CREATE TABLE syncer_state (schema_version INTEGER NOT NULL, log_id TEXT NOT NULL);
INSERT INTO syncer_state VALUES (1, 'first');
CREATE TABLE syncer_removals (
    store_id TEXT NOT NULL, sync TEXT NOT NULL, entity TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL,
    seq BIGINT NOT NULL, open BOOLEAN NOT NULL, PRIMARY KEY (store_id, sync, entity, kind, value)
);
CREATE TABLE syncer_rejections (
    sync TEXT NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL, reason TEXT NOT NULL, attempts INTEGER NOT NULL,
    first_seen {time} NOT NULL, last_seen {time} NOT NULL, PRIMARY KEY (sync, position)
);
CREATE TABLE syncer_runs (
    id TEXT NOT NULL PRIMARY KEY, sync TEXT NOT NULL, trigger VARCHAR(20) NOT NULL, status VARCHAR(20) NOT NULL,
    definition_hash TEXT NOT NULL, started_at {time} NOT NULL, finished_at {time},
    queried BIGINT DEFAULT '0' NOT NULL, added BIGINT DEFAULT '0' NOT NULL, changed BIGINT DEFAULT '0' NOT NULL,
    removed BIGINT DEFAULT '0' NOT NULL, unchanged BIGINT DEFAULT '0' NOT NULL, accepted BIGINT DEFAULT '0' NOT NULL,
    rejected BIGINT DEFAULT '0' NOT NULL, absent BIGINT DEFAULT '0' NOT NULL,
    phases JSON NOT NULL, error TEXT, hint TEXT NOT NULL, notes JSON NOT NULL
);
INSERT INTO syncer_runs (id, sync, trigger, status, definition_hash, started_at, phases, hint, notes)
    VALUES ('r1', 'people', 'manual', 'success', 'abc', '2026-11-23 12:00:00', '{{}}', '', '[]');
"""


def test_a_database_of_format_1_becomes_like_a_new_one(url: str, tmp_path: Path) -> None:
    zoned = "TIMESTAMP WITH TIME ZONE" if url.startswith("postgresql") else "DATETIME"
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in FORMAT_1.format(time=zoned).split(";")[:-1]:
            connection.exec_driver_sql(statement)

    old, new = StateDatabase(url), StateDatabase(f"sqlite:///{tmp_path}/new.db")

    (run,) = RunLog(old).recent("people")
    assert (run.actor, run.due_at, run.term) == ("", None, None)
    assert RunLog(old).start("people", Order(trigger=Trigger.SCHEDULE, due_at=NOON), "abc", NOON)
    upgraded, made = columns(old), columns(new)
    assert upgraded == {table: made[table] for table in upgraded}
    assert made.keys() - upgraded.keys() == {
        "syncer_rejection_totals",
        "syncer_pauses",
    }
    for database in (old, new):
        database.close()


def test_an_upgrade_that_fails_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    StateDatabase(url).close()

    def fail(connection: sa.Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE syncer_pauses ADD COLUMN colour text")
        connection.exec_driver_sql("ALTER TABLE missing ADD COLUMN colour text")

    one_more(monkeypatch, fail)
    with pytest.raises(StateDatabaseError, match="missing"):
        StateDatabase(url)

    monkeypatch.undo()
    database = StateDatabase(url)
    with database.reading() as connection:
        assert "colour" not in {column["name"] for column in sa.inspect(connection).get_columns("syncer_pauses")}
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:hush@host/db",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://user:hush@host:hush/db",
        "postgresql://user:hush@host:hush,other/db",
        "hush",
        "",
    ],
)
def test_a_url_that_cannot_hold_the_run_log_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(SettingsError, match="SYNCER_DATABASE_URL") as caught:
        StateDatabase(url)

    assert "hush" not in repr(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("more", ["", "?", "?target_session_attrs=read-write&application_name=a"])
def test_the_run_log_may_be_at_one_of_several_hosts(postgres_url: str, more: str) -> None:
    several = postgres_url.replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:") + more
    assert several.count("127.0.0.1") == 2

    database = StateDatabase(several)

    assert database.is_shared
    database.close()


def test_a_server_that_refuses_is_an_error_that_names_the_setting(postgres_url: str) -> None:
    url = postgres_url.replace("postgres@", "nobody:hush@")

    with pytest.raises(StateDatabaseError, match=r"SYNCER_DATABASE_URL: .*authentication failed") as caught:
        StateDatabase(url)

    assert "hush" not in str(caught.value) + caught.value.hint
    assert "SYNCER_DATABASE_URL" in caught.value.hint


def test_a_folder_that_is_missing_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(StateDatabaseError, match=r"SYNCER_DATABASE_URL: .*unable to open"):
        StateDatabase(f"sqlite:///{tmp_path}/missing/runs.db")


def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.write_bytes(b"not a database, whatever its name says" * 100)

    with pytest.raises(StateDatabaseError, match="damaged") as caught:
        StateDatabase(f"sqlite:///{path}")

    assert "Move it away" in caught.value.hint
    assert path.read_bytes().startswith(b"not a database")
