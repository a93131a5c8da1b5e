"""Ticks: when a sync is due, by the schedule, by what was answered, and by how far it is put off."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncer.definitions import schedules
from syncer.model.types import CatchUp, Cron, Entity, Every, Schedule, SyncDefinition, Target
from syncer.service.timetable import Tick, Ticks, Timetable, delay_of, first_tick
from tests.service.conftest import wait_until

HOUR = timedelta(hours=1)
HOURLY = Every(interval=HOUR)
MINUTE = timedelta(minutes=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def sync(schedule: Schedule, name: str = "people", catch_up: CatchUp = CatchUp.ONCE) -> SyncDefinition:
    return SyncDefinition(
        name=name,
        path=Path("people.sql"),
        sql="SELECT 1",
        sql_line=1,
        target=Target(entity=Entity.PERSON),
        schedule=schedule,
        catch_up=catch_up,
    )


def fired(trigger: Ticks, until: datetime) -> list[datetime]:
    """Every moment of a trigger, asked for as APScheduler asks."""
    found: list[datetime] = []
    following = trigger.get_next_fire_time(None, until)
    while following is not None and following <= until:
        found.append(following)
        following = trigger.get_next_fire_time(following, until)
    return found


def test_the_moments_of_a_sync_are_its_ticks_put_off() -> None:
    moments = fired(Ticks(HOURLY, timedelta(seconds=7), at("2026-01-01T10:00")), at("2026-01-01T12:30"))

    assert [f"{moment:%H:%M:%S}" for moment in moments] == ["10:00:07", "11:00:07", "12:00:07"]


@pytest.mark.parametrize(
    ("zone", "expression", "year"),
    [
        ("Europe/Berlin", "30 2 * * *", 2026),
        ("America/New_York", "30 2 * * *", 2027),
        ("Australia/Lord_Howe", "45 1 * * *", 2026),
        ("Africa/Cairo", "0 0 * * *", 2026),
        ("Asia/Kathmandu", "15 6 * * *", 2026),
    ],
)
def test_a_daily_sync_comes_once_on_each_local_day(zone: str, expression: str, year: int) -> None:
    from zoneinfo import ZoneInfo

    schedule = Cron(expression=expression, timezone=zone)
    first = schedules.next_run_at(schedule, after=datetime(year, 1, 1, 12, tzinfo=UTC))
    moments = fired(Ticks(schedule, timedelta(seconds=40), first), datetime(year, 12, 31, 12, tzinfo=UTC))

    days = [moment.astimezone(ZoneInfo(zone)).date() for moment in moments]
    assert len(days) >= 363
    assert days == [days[0] + timedelta(days=number) for number in range(len(days))]


def test_a_hundred_hourly_syncs_do_not_start_in_one_second() -> None:
    delays = [delay_of(f"sync_{number}", HOURLY, MINUTE).total_seconds() for number in range(100)]

    assert 0 <= min(delays) <= max(delays) < 60
    assert 20 < statistics.mean(delays) < 40
    assert max(sum(1 for one in delays if int(one) == second) for second in range(60)) <= 8
    assert delay_of("sync_1", HOURLY, MINUTE) == delay_of("sync_1", HOURLY, MINUTE)


def test_nothing_is_put_off_by_more_than_a_tenth_of_its_interval() -> None:
    assert max(delay_of(f"s{number}", Every(interval=MINUTE), HOUR) for number in range(200)) <= timedelta(seconds=6)
    assert delay_of("people", HOURLY, timedelta()) == timedelta()


DAILY = Cron(expression="0 6 * * *", timezone="UTC")


@pytest.mark.parametrize(
    ("schedule", "catch_up", "answered", "expected"),
    [
        # Now is 10:20.
        (HOURLY, CatchUp.ONCE, "2026-01-01T10:00", "2026-01-01T11:00"),
        (HOURLY, CatchUp.ONCE, "2026-01-01T05:00", "2026-01-01T10:00"),
        (HOURLY, CatchUp.ONCE, None, "2026-01-01T10:00"),
        (HOURLY, CatchUp.SKIP, "2026-01-01T05:00", "2026-01-01T11:00"),
        (HOURLY, CatchUp.SKIP, None, "2026-01-01T11:00"),
        (DAILY, CatchUp.ONCE, "2026-01-01T06:00", "2026-01-02T06:00"),
        (DAILY, CatchUp.ONCE, "2025-12-25T06:00", "2026-01-01T06:00"),
        (DAILY, CatchUp.ONCE, None, "2026-01-02T06:00"),
        (DAILY, CatchUp.SKIP, "2025-12-25T06:00", "2026-01-02T06:00"),
        # The clock was wrong for a while: what was answered lies ahead.
        (HOURLY, CatchUp.ONCE, "2027-01-01T12:00", "2026-01-01T11:00"),
    ],
)
def test_what_was_missed_comes_first_and_once(
    schedule: Schedule, catch_up: CatchUp, answered: str | None, expected: str
) -> None:
    found = first_tick(
        sync(schedule, catch_up=catch_up), answered=at(answered) if answered else None, now=at("2026-01-01T10:20")
    )

    assert found == at(expected)


def test_ticks_come_in_real_time_the_last_one_for_those_that_passed() -> None:
    ticks: list[Tick] = []
    heartbeats: list[int] = []
    timetable = Timetable(jitter=timedelta(), tick=ticks.append, heartbeat=lambda: heartbeats.append(1))
    now = datetime.now(UTC)
    second = Every(interval=timedelta(seconds=1))
    timetable.set(sync(second), answered=now - timedelta(seconds=100), now=now)
    assert timetable.names() == {"people"}
    timetable.start()
    try:
        wait_until(lambda: len(ticks) >= 4 and heartbeats)
    finally:
        timetable.stop()

    due = [tick.due_at for tick in ticks]
    assert due[0] >= now - timedelta(seconds=1)
    assert due == [due[0] + timedelta(seconds=number) for number in range(len(due))]
    assert not [moment for moment in due if moment.microsecond]


def test_a_tick_that_fails_ends_no_other() -> None:
    told: list[str] = []

    def tick(one: Tick) -> None:
        told.append(one.sync)
        if one.sync == "broken":
            raise RuntimeError

    timetable = Timetable(jitter=timedelta(), tick=tick, heartbeat=lambda: None)
    now = datetime.now(UTC)
    for name in ("broken", "good"):
        timetable.set(sync(Every(interval=timedelta(seconds=1)), name), answered=None, now=now)
    timetable.start()
    try:
        wait_until(lambda: told.count("broken") >= 2 and told.count("good") >= 2)
    finally:
        timetable.stop()


def test_what_is_removed_is_due_no_longer() -> None:
    timetable = Timetable(jitter=timedelta(), tick=lambda _: None, heartbeat=lambda: None)
    now = datetime.now(UTC)
    timetable.set(sync(HOURLY), answered=now, now=now)
    timetable.start()
    try:
        assert timetable.next_due() == {"people": schedules.next_run_at(HOURLY, after=now)}
        timetable.remove("people")
        timetable.remove("people")
        assert timetable.next_due() == {}
    finally:
        timetable.stop()
