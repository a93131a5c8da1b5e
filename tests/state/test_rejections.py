"""Rejected rows are acknowledged until they change or time is over, and found by reason, key and value."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from syncer.model.types import Acknowledgement, RejectedRow, Rejection
from syncer.state.database import StateDatabase
from syncer.state.rejections import RejectionFilter, Rejections
from syncer.state.runs import RunLog

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
GIVEN = Acknowledgement(by="ann", reason="test accounts", at=NOON, until=NOON + WEEK)


def row(key: str, plan: str, reason: str = "no such account", columns: tuple[str, ...] = ()) -> Rejection:
    values = RejectedRow(values=f'{{"plan":"{plan}"}}', digest=f"of {plan}", columns=columns)
    return Rejection(sync="members", key=key, reason=reason, attempts=1, first_seen=NOON, last_seen=NOON, row=values)


@pytest.fixture
def rejections(database: StateDatabase) -> Rejections:
    return Rejections(database)


def record(rejections: Rejections, *rows: Rejection, at: datetime = NOON) -> int:
    return RunLog(rejections.database).replace_rejections("members", rows, len(rows), now=at)


def known(rejections: Rejections, at: datetime = NOON) -> list[str]:
    """The keys of acknowledged rows."""
    return [each.key for each in rejections.of("members", RejectionFilter(acknowledged=True), now=at)[0]]


def test_a_row_stays_acknowledged_until_it_changes_or_time_is_over(rejections: Rejections) -> None:
    log = RunLog(rejections.database)
    record(rejections, row("1", "free"), row("2", "free"), row("3", "pro"))

    assert rejections.acknowledge("members", RejectionFilter(key="1"), GIVEN) == 1
    assert rejections.acknowledge("members", RejectionFilter(key="2"), GIVEN) == 1
    assert log.rejection_totals(NOON) == {"members": (3, 2)}
    assert rejections.of("members", now=NOON)[0][0].acknowledged == GIVEN

    assert record(rejections, row("1", "free"), row("2", "changed"), row("3", "pro")) == 1
    assert known(rejections) == ["1"]
    assert known(rejections, NOON + WEEK) == []
    assert log.rejection_totals(NOON + WEEK) == {"members": (3, 0)}
    assert record(rejections, row("1", "free"), at=NOON + WEEK) == 0

    rejections.acknowledge("members", RejectionFilter(), GIVEN)
    assert rejections.unacknowledge("members", RejectionFilter(key="1"), now=NOON) == 1
    assert known(rejections) == []


def test_rows_without_a_key_are_acknowledged_one_by_one_and_found_by_their_values(rejections: Rejections) -> None:
    record(rejections, row("", "free"), row("", "50% off_"), row("7", "free"))

    assert rejections.acknowledge("members", RejectionFilter(key="", digest="of free"), GIVEN) == 1
    assert record(rejections, row("", "free"), row("", "50% off_")) == 1
    shown, matching = rejections.of("members", RejectionFilter(text="% OFF_", in_values=True), now=NOON)
    assert (matching, [each.row.digest for each in shown]) == (1, ["of 50% off_"])
    assert rejections.of("members", RejectionFilter(text="off"), now=NOON) == ([], 0)
    assert [each.row.digest for each in RunLog(rejections.database).rejections_with("50%", 10)] == ["of 50% off_"]


def test_a_row_that_no_run_has_seen_since_keeps_its_values(rejections: Rejections) -> None:
    record(rejections, row("1", "free", columns=("plan",)))
    rejections.acknowledge("members", RejectionFilter(), GIVEN)

    record(rejections, replace(row("1", ""), row=RejectedRow()))

    ((found,), _) = rejections.of("members", now=NOON)
    assert found == replace(row("1", "free", columns=("plan",)), acknowledged=GIVEN)


def test_rows_are_grouped_by_reason_with_the_columns_that_differ(rejections: Rejections) -> None:
    shared = "rows that differ share this key"
    record(
        rejections,
        row("1", "a"),
        *(row("2", plan, shared, ("plan",)) for plan in "bc"),
        *(row("3", plan, shared, ("plan", "home city")) for plan in "de"),
    )
    rejections.acknowledge("members", RejectionFilter(key="2"), GIVEN)

    first, second = rejections.groups("members", now=NOON)

    assert (first.reason, first.rows, first.acknowledged, set(first.columns)) == (shared, 4, 2, {"plan", "home city"})
    assert (second.reason, second.rows, second.columns) == ("no such account", 1, ())
    fits = RejectionFilter(reason_part="SHARE THIS")
    assert rejections.of("members", fits, now=NOON, first=1, limit=2)[1] == 4
    assert len(rejections.of("members", fits, now=NOON, first=1, limit=2)[0]) == 2
