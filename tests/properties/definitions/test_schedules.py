from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from syncer.definitions import schedules
from syncer.model.types import Every
from tests.definitions.test_schedules import cron

TIMES = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Africa/Cairo",
        "Asia/Kathmandu",
        "Pacific/Apia",
    ]
)
EXPRESSIONS = st.sampled_from(
    ["30 2 * * *", "0 0 * * *", "*/7 * * * *", "0 * * * *", "15 1-3 * * 0", "* 2 * * *", "30 23 31 * *", "5 0 1 1 *"]
)


@given(st.integers(1, 366 * 24 * 60).map(lambda minutes: Every(interval=timedelta(minutes=minutes))))
def test_an_interval_s_text_reads_back(schedule: Every) -> None:
    assert schedules.parse(schedules.text(schedule)) == schedule


@given(TIMES, ZONES, EXPRESSIONS)
def test_the_next_run_always_lies_ahead(after: datetime, zone: str, expression: str) -> None:
    at = schedules.next_run_at(cron(expression, zone), after=after)

    assert at is not None
    assert at > after
    assert at.tzinfo is UTC


FIELD = st.tuples(st.integers(0, 6), st.integers(1, 6)).map(lambda ends: (min(ends), max(ends)))


@given(TIMES, st.integers(0, 59), st.integers(0, 23), FIELD)
def test_cron_agrees_with_a_minute_by_minute_search(
    after: datetime, minute: int, hour: int, weekdays: tuple[int, int]
) -> None:
    first, last = weekdays
    candidate = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while not (candidate.minute == minute and candidate.hour == hour and first <= candidate.isoweekday() % 7 <= last):
        step = timedelta(minutes=1) if candidate.minute != minute else timedelta(hours=1)
        candidate += step

    assert schedules.next_run_at(cron(f"{minute} {hour} * * {first}-{last}"), after=after) == candidate
