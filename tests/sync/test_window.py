"""From when on an incremental query asks, and when it asks for its whole result."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncer.snapshot.ledger import Known
from syncer.sync.progress import RunOptions
from syncer.sync.window import Window, window
from tests.workbench import definition

LAST = 1_800_000_000
KNOWN: dict[str, Any] = {
    "last_sync_time": LAST,
    "settled_definition": "a file",
    "settled_query": "a query",
    "whole_result_at": LAST - 3600,
}


def asked(
    *, after: int = 600, query: str = "a query", known: dict[str, Any] | None = None, header: Any = None, **options: Any
) -> Window:
    """What a run asks for so many seconds after the last one, by the warehouse's clock."""
    return window(
        definition(incremental=True, hash="a file", **(header or {})),
        Known(**(KNOWN | (known or {}))),
        RunOptions(**options),
        at=datetime.fromtimestamp(LAST + after, UTC),
        query=query,
    )


def test_the_lookback_goes_before_the_last_run() -> None:
    assert asked().last_sync_time == LAST - 600
    assert asked(header={"lookback": timedelta(hours=6)}).last_sync_time == LAST - 6 * 3600
    assert asked(header={"lookback": timedelta()}).last_sync_time == LAST
    assert asked(known={"last_sync_time": 5}).last_sync_time == 0
    assert not asked().note
    assert not asked().asked.is_whole


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"known": {"settled_definition": "another file"}}, "the definition changed"),
        ({"query": "another query"}, "a variable of the query, or the warehouse's URL, changed"),
        ({"after": -1}, "the warehouse's clock is behind that of the last run"),
        ({"header": {"full_every": timedelta(hours=1)}}, "`full_every` is over"),
        ({"header": {"full_every": timedelta(days=1)}, "known": {"whole_result_at": LAST * 2}}, "`full_every` is over"),
        ({"known": {"last_sync_time": 0}}, ""),
        ({"full": True}, ""),
        ({"only": ("1",)}, ""),
    ],
)
def test_the_whole_result_is_asked_for_and_the_note_says_why(given: dict[str, Any], note: str) -> None:
    found = asked(**given)

    assert found.last_sync_time == 0
    assert found.asked.is_whole
    end = ": this run asks for the whole result, sends only what differs, and removes nothing"
    assert found.note == (note and note + end)


def test_a_snapshot_of_an_earlier_version_does_not_ask_for_the_whole_result() -> None:
    found = asked(known={"settled_query": "", "whole_result_at": 0})

    assert found.last_sync_time == LAST - 600


def test_the_whole_result_is_asked_for_only_as_often_as_the_header_says() -> None:
    found = asked(header={"full_every": timedelta(days=1)})

    assert found.last_sync_time == LAST - 600
