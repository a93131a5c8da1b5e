"""The header of an event sync."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from syncer.definitions.file import DefinitionFile, parse
from syncer.model.types import EventKind, EventRules, EventType, Limit, PersonKey, Start

HEADER = """entity: event
person: {id: customer_id}
event: {name: order_paid, id: order_id, time: paid_at}
start: now
"""
NEWER = "SELECT * FROM orders WHERE paid_at >= to_timestamp({{ last_event_time }})"


def parsed(header: str = HEADER, query: str = "SELECT * FROM orders") -> DefinitionFile:
    path = Path("paid.sql")
    return parse(path, f"/* sync\n{header}*/\n{query}\n".encode())


def faults(header: str, query: str = "SELECT * FROM orders") -> list[tuple[int, str]]:
    return [(error.line, error.message) for error in parsed(header, query).errors]


def test_a_header_says_what_happened_to_whom_and_when() -> None:
    found = parsed().definition

    assert found is not None
    assert (found.target.person_key, found.target.key_columns) == (PersonKey.ID, ("order_id",))
    assert found.target.event == EventType(name="order_paid", kind=EventKind.EVENT)
    assert found.event_rules == EventRules(person_column="customer_id", time_column="paid_at", start=Start.NOW)
    assert (found.create, found.incremental, found.lookback) == (True, False, timedelta(days=1))
    assert (found.target.things, found.target.words) == ("events `order_paid`", "events order_paid of people by id")


def test_a_name_from_a_column_is_the_last_part_of_the_key() -> None:
    header = HEADER.replace(
        "{name: order_paid, id: order_id, time: paid_at}",
        "{name: {column: what}, id: [shop, order_id], time: paid_at, kind: page}",
    )

    found = parsed(header.replace("start: now", "start: 2026-01-31")).definition

    assert found is not None
    assert found.target.key_columns == ("shop", "order_id", "what")
    assert found.target.event == EventType(column="what", kind=EventKind.PAGE)
    assert found.event_rules is not None
    assert found.event_rules.start == date(2026, 1, 31)


@pytest.mark.parametrize(
    ("query", "more", "remember"),
    [
        ("SELECT 1", "", None),
        (NEWER, "", timedelta(days=90)),
        (NEWER, "remember: 10 days\nlookback: 2 days\n", timedelta(days=10)),
        (NEWER, "lookback: 100 days\nremember: 200 days\n", timedelta(days=200)),
    ],
)
def test_ids_are_remembered_for_ever_unless_the_query_is_incremental(
    query: str, more: str, remember: timedelta | None
) -> None:
    found = parsed(HEADER + more, query).definition

    assert found is not None
    assert found.event_rules is not None
    assert (found.event_rules.remember, found.incremental) == (remember, query is NEWER)


def test_the_number_of_events_can_be_limited() -> None:
    found = parsed(HEADER + "limits: {events: 100000}\n").definition

    assert found is not None
    assert found.limits.events == Limit(count=100_000)


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        (HEADER.replace("start: now\n", ""), 2, "a sync of entity `event` needs `start`"),
        (HEADER.replace("person: {id: customer_id}\n", ""), 2, "a sync of entity `event` needs `person`"),
        (HEADER.replace(", time: paid_at", ""), 4, "`event` lacks `time`"),
        (HEADER.replace("now", "today"), 5, "`start`: `today` is neither `all`, `now` nor a date"),
        (HEADER.replace("now", "2026-02-30"), 5, "`start`: `2026-02-30` is neither `all`, `now` nor a date"),
        (HEADER.replace("now", "1969-01-01"), 5, "`start`: `1969-01-01` is neither `all`, `now` nor a date"),
        (HEADER.replace("order_paid", "n" * 101), 4, "cannot be used: expected 1 to 100 bytes"),
        (HEADER.replace("paid_at}", "paid_at, kind: click}"), 4, "`event.kind`: expected `event`, `page` or `screen`"),
        (HEADER + "on_removed: keep\n", 6, "`on_removed` does not belong to a sync of entity `event`"),
        (HEADER + "on_null: keep\n", 6, "`on_null` does not belong to a sync of entity `event`"),
        (HEADER + "limits: {removed: 5%}\n", 6, "`limits.removed` does not belong to a sync of entity `event`"),
        (HEADER + "limits: {events: 5%}\n", 6, "`limits.events`: `5%` is no count of rows"),
        (HEADER + "remember: 1 day\n", 6, "`remember` is not longer than `lookback`"),
        (
            "entity: person\nperson: {id: id}\nlimits: {events: 5}\n",
            4,
            "`limits.events` does not belong to a sync of entity `person`",
        ),
        ("entity: person\nperson: {id: id}\nstart: now\n", 4, "`start` does not belong to a sync of entity `person`"),
        (HEADER.replace("id: order_id", "id: [order_id, order_id]"), 4, "`event.id` names `order_id` twice"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(header: str, line: int, message: str) -> None:
    (found,) = faults(header)

    assert found[0] == line
    assert message in found[1]


def test_a_lookback_that_is_longer_than_the_memory_is_refused() -> None:
    assert faults(HEADER + "lookback: 90 days\n", NEWER) == [
        (6, "`lookback` is not shorter than the 90 days for which the ids of sent events are known")
    ]


def test_the_newest_event_is_only_for_events() -> None:
    header = "entity: person\nperson: {id: id}\n"

    assert faults(header, NEWER) == [
        (5, "`last_event_time` does not belong to a sync of entity `person`, only of events")
    ]
