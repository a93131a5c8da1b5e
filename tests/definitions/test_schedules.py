from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from syncer.definitions import schedules
from syncer.model.errors import SyncerError
from syncer.model.types import Cron, Every, Manual, Schedule


def cron(expression: str, timezone: str = "UTC") -> Cron:
    schedules.check_cron(expression)
    return Cron(expression=expression, timezone=timezone)


def next_runs(schedule: Schedule, after: str, number: int) -> list[str]:
    times = []
    at = datetime.fromisoformat(after)
    for _ in range(number):
        following = schedules.next_run_at(schedule, after=at)
        assert following is not None
        times.append(following.isoformat())
        at = following
    return times


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("every minute", 1),
        ("every 1 minute", 1),
        ("every 15 minutes", 15),
        ("every hour", 60),
        ("every 1 hour", 60),
        ("Every  2  Hours", 120),
        ("every day", 24 * 60),
        ("every 7 days", 7 * 24 * 60),
        ("every 366 days", 366 * 24 * 60),
    ],
)
def test_an_interval_is_read(text: str, minutes: int) -> None:
    assert schedules.parse(text) == Every(interval=timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("every 30 seconds", "the shortest is 1 minute"),
        ("every 0 minutes", "the shortest is 1 minute"),
        ("every 367 days", "the longest is 366 days"),
        ("every 999999999 days", "the longest is 366 days"),
        ("every 1.5 hours", "is not a schedule"),
        ("every -1 hours", "is not a schedule"),
        ("every ٣ hours", "is not a schedule"),
        ("hourly", "is not a schedule"),
        ("", "is not a schedule"),
        ("*/5 * * * *", "is not a schedule"),
    ],
)
def test_what_is_no_interval_is_refused_with_an_example(text: str, message: str) -> None:
    with pytest.raises(SyncerError, match=message) as caught:
        schedules.parse(text)

    assert caught.value.hint


@pytest.mark.parametrize(
    "expression",
    [
        "", "0 6 * *", "0 0 6 * * *", "@daily", "60 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 * 13 *", "0 0 * * 8",
        "a b c d e", "0 0 31 4 *", "0 0 */30 2 1#3", "9" * 5000 + " * * * *", "0 6 ٣ * *", "*/0 * * * *", "5-1 * * * *",
    ],
)  # fmt: skip
def test_what_is_no_cron_expression_is_refused(expression: str) -> None:
    with pytest.raises(SyncerError) as caught:
        schedules.check_cron(expression)

    assert "0 6 * * *" in caught.value.hint
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("name", ["", "utc ", "America", "../UTC", "/etc/localtime", "Europe/Berln", "a\0b", "é" * 300])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(SyncerError, match="is not a time zone") as caught:
        schedules.check_timezone(name)

    assert caught.value.hint


def test_schedules_are_said_in_words() -> None:
    said = {
        schedules.words(schedule)
        for schedule in (Every(interval=timedelta(hours=1)), cron("30 6 * * MON-FRI", "Europe/Berlin"), Manual())
    }

    assert said == {"every 1 hour", "at 06:30 on Monday through Friday (Europe/Berlin)", "only by hand"}
    assert schedules.text(Manual()) == "manual"
    assert schedules.text(cron("0 6 * * *")) == "0 6 * * *"


@pytest.mark.parametrize(
    ("minutes", "after", "expected"),
    [
        (120, "2026-03-29T01:30:00+01:00", "2026-03-29T02:00:00+00:00"),
        (60, "2026-03-29T02:00:00+00:00", "2026-03-29T03:00:00+00:00"),
        (60, "2026-03-29T01:59:59.999999+00:00", "2026-03-29T02:00:00+00:00"),
        (24 * 60, "2026-03-29T23:00:00-05:00", "2026-03-31T00:00:00+00:00"),
        (7, "2026-01-01T00:00:00+00:00", "2026-01-01T00:07:00+00:00"),
    ],
)
def test_an_interval_s_ticks_are_its_multiples(minutes: int, after: str, expected: str) -> None:
    assert next_runs(Every(interval=timedelta(minutes=minutes)), after, 1) == [expected]


@pytest.mark.parametrize(
    ("schedule", "after", "until", "expected"),
    [
        (Every(interval=timedelta(hours=1)), "2026-01-01T00:00", "2026-01-01T00:59", (None, 0)),
        (Every(interval=timedelta(hours=1)), "2026-01-01T00:00", "2026-01-01T03:00", ("2026-01-01T03:00", 3)),
        (Every(interval=timedelta(minutes=1)), "2020-01-01T00:00", "2026-01-01T00:00", ("2026-01-01T00:00", 3156480)),
        (cron("0 6 * * *"), "2026-01-01T06:00", "2026-01-02T05:59", (None, 0)),
        (cron("0 6 * * *"), "2026-01-01T05:00", "2026-01-02T07:00", ("2026-01-02T06:00", 2)),
        (cron("0 6 1 1 *"), "2020-01-01T07:00", "2026-05-01T07:00", ("2026-01-01T06:00", 6)),
        (Manual(), "2020-01-01T07:00", "2026-05-01T07:00", (None, 0)),
    ],
)
def test_the_last_tick_of_some_time_is_found(
    schedule: Schedule, after: str, until: str, expected: tuple[str | None, int]
) -> None:
    first, last = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (after, until))

    at, number = schedules.last_run_at(schedule, after=first, until=last)

    assert (at and at.isoformat()[:16], number) == expected


def test_a_manual_sync_is_never_due() -> None:
    assert schedules.next_run_at(Manual(), after=datetime(2026, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # 2026-01-01 is a Thursday.
        ("0 6 * * 0", "2026-01-04T06:00:00+00:00"),
        ("0 6 * * 7", "2026-01-04T06:00:00+00:00"),
        ("0 6 * * 5-7", "2026-01-02T06:00:00+00:00"),
        ("0 6 * * SUN", "2026-01-04T06:00:00+00:00"),
        ("0 6 * * 1", "2026-01-05T06:00:00+00:00"),
        ("0 6 20 * 1", "2026-01-05T06:00:00+00:00"),
        ("0 6 3 * 1", "2026-01-03T06:00:00+00:00"),
        ("0 6 29 2 *", "2028-02-29T06:00:00+00:00"),
        ("0-59/15 * * * *", "2026-01-01T12:15:00+00:00"),
        ("0 12 * * *", "2026-01-02T12:00:00+00:00"),
    ],
)
def test_cron_means_what_cron_means(expression: str, expected: str) -> None:
    assert next_runs(cron(expression), "2026-01-01T12:00:00.5+00:00", 1) == [expected]


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        # Berlin's clocks go from 02:00 to 03:00 at 01:00 UTC on 2026-03-29.
        ("30 2 * * *", "2026-03-28T12:00:00+00:00", ["2026-03-29T01:00:00+00:00", "2026-03-30T00:30:00+00:00"]),
        ("0 6 * * *", "2026-03-28T00:00:00+00:00", ["2026-03-28T05:00:00+00:00", "2026-03-29T04:00:00+00:00"]),
        # They go from 03:00 back to 02:00 at 01:00 UTC on 2026-10-25.
        ("30 2 * * *", "2026-10-24T12:00:00+00:00", ["2026-10-25T00:30:00+00:00", "2026-10-26T01:30:00+00:00"]),
        ("30 2 * * *", "2026-10-25T00:45:00+00:00", ["2026-10-26T01:30:00+00:00"]),
        ("30 2 * * *", "2026-10-25T01:15:00+00:00", ["2026-10-26T01:30:00+00:00"]),
        ("0 * * * *", "2026-10-25T00:00:00+00:00", ["2026-10-25T01:00:00+00:00", "2026-10-25T02:00:00+00:00"]),
    ],
)
def test_a_daily_run_comes_once_a_day_when_the_clocks_change(expression: str, after: str, expected: list[str]) -> None:
    assert next_runs(cron(expression, "Europe/Berlin"), after, len(expected)) == expected
