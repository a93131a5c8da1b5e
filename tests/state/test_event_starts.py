"""From when on events count, for stores that do not keep it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from syncer.state.database import StateDatabase
from syncer.state.event_starts import EventStarts
from tests.contracts.test_events import PAID, VIEWED

AT = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def test_a_start_is_decided_once(database: StateDatabase, url: str) -> None:
    starts = EventStarts(database=database, store_id="s")
    assert starts.event_start(PAID) is None

    assert starts.start_events(PAID, AT) == AT

    with closing(StateDatabase(url)) as again:
        later = EventStarts(database=again, store_id="s")
        assert (later.start_events(PAID, AT + timedelta(1)), later.event_start(PAID)) == (AT, AT)


def test_each_store_name_and_key_has_its_own(database: StateDatabase) -> None:
    EventStarts(database=database, store_id="s").start_events(PAID, AT)

    assert EventStarts(database=database, store_id="s").event_start(VIEWED) is None
    assert EventStarts(database=database, store_id="s").event_start(replace(PAID, key_columns=("line",))) is None
    assert EventStarts(database=database, store_id="t").event_start(PAID) is None
