"""Schedules: the header's text for them, the same in words, and when the next run is due."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import assert_never
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from syncer.model.errors import SyncerError
from syncer.model.spelling import did_you_mean, quoted
from syncer.model.types import Cron, Every, Manual, Schedule

_MINUTES = {"minute": 1, "hour": 60, "day": 24 * 60}

_EVERY = re.compile(r"every(?: ([0-9]{1,9}))? (second|minute|hour|day)s?")

_LONGEST = timedelta(days=366)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_COUNTED = timedelta(days=2)

_EXPECTED = 'Write `every 15 minutes`, `every 2 hours`, `every day`, `{cron: "0 6 * * *"}` or `manual`.'


def parse(text: str) -> Every | Manual:
    """The schedule that the header writes as one text.

    Raises:
        SyncerError: it is none, or under a minute.
    """
    words = " ".join(text.lower().split())
    if words == "manual":
        return Manual()
    match = _EVERY.fullmatch(words)
    if match is None:
        hint = f'Write `{{cron: "{" ".join(text.split())}"}}`.' if _is_cron(text) else _EXPECTED
        raise SyncerError(f"{quoted(text)} is not a schedule", hint=hint)
    number, unit = int(match[1] or 1), match[2]
    if unit == "second" or number == 0:
        raise SyncerError(f"{quoted(text)} is not an interval: the shortest is 1 minute", hint=_EXPECTED)
    if number * _MINUTES[unit] > _LONGEST / timedelta(minutes=1):
        raise SyncerError(f"{quoted(text)} is not an interval: the longest is {_LONGEST.days} days", hint=_EXPECTED)
    return Every(interval=timedelta(minutes=number * _MINUTES[unit]))


def check_cron(expression: str) -> str:
    """*expression* with single blanks, if it is a cron expression of five fields that matches some day.

    Raises:
        SyncerError: it is not.
    """
    hint = 'Write minute, hour, day, month and weekday, such as `{cron: "0 6 * * *"}` or `{cron: "0 6 * * MON-FRI"}`.'
    fields = len(expression.split())
    if fields != 5:
        raise SyncerError(f"a cron expression has five fields, this one has {fields}", hint=hint)
    try:
        next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as exc:
        raise SyncerError(f"{quoted(expression)} is not a cron expression: {str(exc).lower()}", hint=hint) from None
    except ValueError:
        # What `int` says about thousands of digits.
        raise SyncerError(f"{quoted(expression)} is not a cron expression", hint=hint) from None
    except StopIteration:
        raise SyncerError(f"{quoted(expression)} names a day that never comes", hint=hint) from None
    return " ".join(expression.split())


def check_timezone(name: str) -> str:
    """*name*, if it is in the IANA database of this machine.

    Raises:
        SyncerError: it is not.
    """
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        hint = did_you_mean(name, available_timezones()) or "Write an IANA name such as `Europe/Berlin` or `UTC`."
        raise SyncerError(f"{quoted(name)} is not a time zone", hint=hint) from None
    return name


def text(schedule: Schedule) -> str:
    """As the header writes it: `every 2 hours`, `0 6 * * *`, `manual`."""
    match schedule:
        case Every(interval=interval):
            return _interval_text(interval)
        case Cron(expression=expression):
            return expression
        case Manual():
            return "manual"
        case _ as unreachable:
            assert_never(unreachable)


def words(schedule: Schedule) -> str:
    """For people: `every 2 hours`, `at 06:00 on Monday (Europe/Berlin)`, `only by hand`."""
    if isinstance(schedule, Cron):
        explained: str = CronSim(schedule.expression, datetime(2024, 1, 1, tzinfo=UTC)).explain()
        return f"{explained[0].lower()}{explained[1:]} ({schedule.timezone})"
    return "only by hand" if isinstance(schedule, Manual) else text(schedule)


def next_run_at(schedule: Schedule, *, after: datetime) -> datetime | None:
    """The first tick after *after*; None if there is none.

    Shapes:
        after: aware.
        returns: aware UTC. An interval's ticks are its multiples since 1970 in UTC, so that `every 1 hour` is on the
            hour and syncs of one interval have the same ticks. A local time that the clocks skip comes as soon
            as they have; one that they repeat comes once, the first time, unless the minute or the hour is a `*`.
    """
    match schedule:
        case Every(interval=interval):
            return _floor(after, interval) + interval
        case Cron(expression=expression, timezone=timezone):
            # CronSim reads a repeated hour as its first pass, and so may answer with a time that is over.
            times = (at.astimezone(UTC) for at in CronSim(expression, after.astimezone(ZoneInfo(timezone))))
            return next(at for at in times if at > after.astimezone(UTC))
        case Manual():
            return None
        case _ as unreachable:
            assert_never(unreachable)


def last_run_at(schedule: Schedule, *, after: datetime, until: datetime) -> tuple[datetime | None, int]:
    """The last tick after *after* and not after *until*, and how many there are; None and 0 if there is none.

    Shapes:
        after, until: aware; of a cron expression's ticks no more than the last two days of this time are counted,
            unless there is none in them.
        returns: aware UTC.
    """
    if isinstance(schedule, Every):
        newest, interval = _floor(until, schedule.interval), schedule.interval
        number = (newest - _floor(after, interval)) // interval
        return (newest, number) if number > 0 else (None, 0)
    recent = max(after, until - _COUNTED)
    found = list(_ticks(schedule, recent, until)) or list(_ticks(schedule, after, until))
    return (found[-1], len(found)) if found else (None, 0)


def _ticks(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    at = next_run_at(schedule, after=after)
    while at is not None and at <= until:
        yield at
        at = next_run_at(schedule, after=at)


def _floor(at: datetime, interval: timedelta) -> datetime:
    return at.astimezone(UTC) - (at - _EPOCH) % interval


def _interval_text(interval: timedelta) -> str:
    minutes = interval // timedelta(minutes=1)
    unit, size = next((unit, size) for unit, size in reversed(_MINUTES.items()) if minutes % size == 0)
    number = minutes // size
    return f"every {number} {unit}{'' if number == 1 else 's'}"


def _is_cron(text: str) -> bool:
    try:
        check_cron(text)
    except SyncerError:
        return False
    return True
