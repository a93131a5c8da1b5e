"""What an incremental query does not return again is remembered until it is delivered, or has left the whole result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.types import Counts, Identity
from tests.workbench import Workbench, table

EMPTY: dict[str, list[Any]] = {"id": [], "plan": []}


def rows(*pairs: tuple[str | None, str]) -> pa.Table:
    ids, plans = ([pair[i] for pair in pairs] for i in range(2))
    return table({"id": pa.array(ids, pa.string()), "plan": pa.array(plans, pa.string())})


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    made = Workbench(folder=tmp_path)
    made.adjust(incremental=True)
    return made


def asks_for_all(bench: Workbench) -> bool:
    with bench.opened() as snapshot:
        return bool(snapshot.known.last_sync_time == 0 or snapshot.known.has_quarantined)


def test_a_person_who_is_absent_gets_the_change_once_they_exist(bench: Workbench) -> None:
    bench.adjust(create=False)
    bench.store.people["1"] = {}
    bench.run(rows(("1", "a")))
    assert bench.run(rows(("2", "b"))).counts == Counts(queried=1, added=1, absent=1)
    assert bench.run(rows()).counts == Counts(absent=1)
    bench.store.people["2"] = {}

    ran = bench.run(rows())

    assert ran.counts == Counts(accepted=1)
    assert "rows that are sent again though they did not change: 1" in ran.notes
    assert bench.store.people["2"] == {"plan": "b"}
    assert bench.run(rows()).counts == Counts()


def test_a_newer_value_replaces_that_of_somebody_absent(bench: Workbench) -> None:
    bench.adjust(create=False)
    bench.run(rows(("1", "a")))
    bench.run(rows(("1", "b")))
    bench.store.people["1"] = {}

    bench.run(rows())

    assert bench.store.people["1"] == {"plan": "b"}


@pytest.mark.parametrize("faulty", [[("2", "x"), ("2", "y")], [(None, "x")], [("", "x")], [("x" * 151, "x")]])
def test_the_whole_result_is_asked_for_while_rows_are_in_quarantine(
    bench: Workbench, faulty: list[tuple[str | None, str]]
) -> None:
    bench.run(rows(("1", "a")))
    bench.run(rows(*faulty))
    reasons = bench.rejections()
    assert len(reasons) == 1
    assert asks_for_all(bench)

    counts = bench.run(rows(("1", "a"), *faulty)).counts
    assert counts == Counts(queried=1 + len(faulty), unchanged=1, rejected=len(faulty))
    assert bench.rejections() == reasons
    bench.run(rows(("1", "a"), ("2", "y")))

    assert bench.rejections() == {}
    assert bench.store.people == {"1": {"plan": "a"}, "2": {"plan": "y"}}
    assert not asks_for_all(bench)


def test_an_email_of_two_people_is_tried_again(bench: Workbench) -> None:
    bench.store.identity = Identity.ID_OR_EMAIL
    bench.run(table({"id": ["1"], "email": ["a@x.com"]}))
    bench.run(table({"id": ["2", "3"], "email": ["b@x.com", "b@x.com"]}))
    assert set(bench.rejections()) == {"2", "3"}

    bench.run(table({"id": ["1", "2"], "email": ["a@x.com", "b@x.com"]}))

    assert bench.rejections() == {}
    assert set(bench.store.people) == {"1", "2"}


@pytest.mark.parametrize("next_result", [[("1", "c"), ("1", "d"), ("2", "a")], [("2", "a")], []])
def test_an_old_value_is_never_sent_over_one_that_may_have_arrived(
    bench: Workbench, next_result: list[tuple[str | None, str]]
) -> None:
    bench.run(rows(("1", "a"), ("2", "a")))
    bench.lose_the_answer(rows(("1", "b")))
    bench.run(rows(("1", "c"), ("1", "d")))
    taken = len(bench.store.taken)

    bench.run(rows(*next_result))

    assert bench.store.taken[taken:] == []
    assert bench.store.people["1"] == {"plan": "b"}
    assert len(bench.rejections()) == (1 if ("1", "c") in next_result else 0)
    bench.run(rows(("1", "a"), ("2", "a")))
    assert bench.store.people["1"] == {"plan": "a"}


def test_a_row_in_doubt_that_left_the_whole_result_is_settled(bench: Workbench) -> None:
    bench.run(rows(("1", "a"), ("2", "a")))
    bench.lose_the_answer(rows(("3", "a")))
    bench.store.refuses = lambda key: key == ("2",)
    bench.run(rows(("2", "b")))
    bench.store.refuses = lambda key: False

    bench.run(rows(("1", "a")), full=True)

    assert bench.rejections() == {}
    assert not asks_for_all(bench)
    assert bench.run(rows()).counts == Counts()


def test_what_is_remembered_counts_as_sent_again(bench: Workbench) -> None:
    bench.run(rows(("1", "a")))
    bench.lose_the_answer(rows(("2", "a")))
    bench.store.refuses = lambda key: True
    assert bench.run(rows(("1", "b"))).counts == Counts(queried=1, changed=1, rejected=2)
    bench.store.refuses = lambda key: False

    ran = bench.run(rows(("3", "c")))

    assert ran.counts == Counts(queried=1, added=1, accepted=3)
    assert "rows that are sent again though they did not change: 2" in ran.notes
    assert bench.store.people == {"1": {"plan": "b"}, "2": {"plan": "a"}, "3": {"plan": "c"}}
