"""Rows of which the result says what it said before are told apart from the others by a fingerprint."""

from __future__ import annotations

from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.errors import SnapshotError
from syncer.model.types import Counts, OnNull, OnRemoved
from syncer.snapshot.columns import result_schema
from tests.workbench import COUPON, Workbench, table


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


def plans(*rows: tuple[Any, Any]) -> pa.Table:
    return table({"id": [row[0] for row in rows], "plan": [row[1] for row in rows]})


def staged(bench: Workbench, result: pa.Table) -> int:
    """How many rows a plan looks at value by value."""
    with bench.opened(record=False) as snapshot:
        found = snapshot.stage(result.to_reader(), result_schema(bench.definition, result.schema, bench.store.identity))
    unseen: int = found.quarantined + found.repeated + found.same
    return int(result.num_rows) - unseen


def test_an_unchanged_row_is_not_looked_at_again(bench: Workbench) -> None:
    bench.run(plans((1, "a"), (2, "b"), (3, "c")))

    assert staged(bench, plans((1, "a"), (2, "x"), (3, "c"), (4, "d"))) == 2


def test_a_row_that_says_the_same_in_other_words_is_looked_at_once(bench: Workbench) -> None:
    bench.run(table({"id": [1, 2], "n": pa.array([1, 2], pa.int32())}))
    wider = table({"id": [1, 2], "n": pa.array([1, 2], pa.int64())})

    assert staged(bench, wider) == 2
    assert bench.run(wider).counts == Counts(queried=2, unchanged=2)
    assert staged(bench, wider) == 0


def test_sending_one_row_does_not_hide_the_others_changes(bench: Workbench) -> None:
    bench.run(plans((1, "a"), (2, "b")))
    bench.run(plans((1, "x"), (2, "y")), only=("1",))

    assert bench.run(plans((1, "x"), (2, "y"))).counts == Counts(queried=2, changed=1, unchanged=1, accepted=1)


@pytest.mark.parametrize(
    ("rows", "counts", "refused"),
    [
        ([(1, "a"), (1, "a"), (2, "b")], Counts(queried=3, unchanged=2), {}),
        ([(1, "a"), (1, "x"), (2, "b")], Counts(queried=3, unchanged=1, rejected=2), {"1"}),
        ([(1, "x"), (1, "a"), (1, "a"), (2, "b")], Counts(queried=4, unchanged=1, rejected=3), {"1"}),
        ([(1, "x"), (1, "x"), (2, "b")], Counts(queried=3, changed=1, unchanged=1, accepted=1), {}),
        ([(1, "x"), (1, "y"), (2, "b"), (2, "b")], Counts(queried=4, unchanged=1, rejected=2), {"1"}),
        ([(1, "a"), (2, "b"), (3, "c"), (3, "c")], Counts(queried=4, added=1, unchanged=2, accepted=1), {}),
        ([(1, "a"), (2, "b"), (3, "c"), (3, "d")], Counts(queried=4, unchanged=2, rejected=2), {"3"}),
        ([(1, "a"), (1, "a")], Counts(queried=2, unchanged=1, removed=1, accepted=1), {}),
        ([(1, "a"), (1, "z")], Counts(queried=2, rejected=2, removed=1, accepted=1), {"1"}),
        ([(None, "a"), (1, "a"), (1, "a"), (2, "b")], Counts(queried=4, unchanged=2, rejected=1), {""}),
    ],
)
@pytest.mark.parametrize("incremental", [False, True])
def test_rows_under_one_key_are_settled_also_where_one_did_not_change(
    bench: Workbench, rows: list[tuple[Any, Any]], counts: Counts, refused: set[str], incremental: bool
) -> None:
    bench.adjust(on_removed=OnRemoved.KEEP if incremental else OnRemoved.DELETE, incremental=incremental)
    bench.run(plans((1, "a"), (2, "b")))

    found = bench.run(plans(*rows)).counts

    if incremental:
        gone = counts.removed
        counts = Counts(
            queried=counts.queried,
            added=counts.added,
            changed=counts.changed,
            unchanged=counts.unchanged,
            accepted=counts.accepted - gone,
            rejected=counts.rejected,
        )
    assert found == counts
    assert set(bench.rejections()) == set(refused)
    kept = "b" if incremental or counts.removed == 0 else None
    assert bench.store.people.get("2", {}).get("plan") == kept


def test_a_repeated_key_of_text_that_is_spelled_otherwise_is_one_key(bench: Workbench) -> None:
    bench.run(plans(("a", 1)))

    assert bench.run(plans(("a", 1), (" a ", 2))).counts == Counts(queried=2, rejected=2)
    assert bench.run(plans(("a", 1), (" a ", 1))).counts == Counts(queried=2, unchanged=1)


def test_a_row_whose_null_kept_a_value_is_not_taken_for_one_that_has_it(bench: Workbench) -> None:
    bench.adjust(on_null=OnNull.KEEP)
    bench.run(plans((1, "a"), (2, "b")))
    bench.run(plans((1, None), (2, "b")))

    assert bench.run(plans((1, None), (1, "a"), (2, "b"))).counts == Counts(queried=3, unchanged=1, rejected=2)

    bench.run(table({"id": [1, 2], "plan": [None, "b"], "city": ["Rome", "Oslo"]}))
    both = table({"id": [1, 1, 2], "plan": [None, "a", "b"], "city": ["Rome", "Rome", "Oslo"]})

    assert bench.run(both).counts == Counts(queried=3, unchanged=1, rejected=2)


def test_a_value_taken_for_null_is_counted_in_every_run(bench: Workbench) -> None:
    rows = table({"id": [1, 2], "x": [float("nan"), 1.5]})
    bench.run(rows)

    progress = bench.run(rows)

    assert progress.counts == Counts(queried=2, unchanged=2)
    assert any("count as NULL: 1" in note for note in progress.notes)


def test_text_that_became_broken_is_refused_though_its_row_was_null_before(bench: Workbench) -> None:
    bench.run(plans((1, None)))

    progress = bench.run(table({"id": [1], "plan": pa.array([b"\xff"]).view(pa.string())}))

    assert progress.counts == Counts(queried=1, rejected=1)
    assert bench.rejections() == {"1": "column `plan` is not valid UTF-8 at byte 0"}


def test_a_changed_rule_for_null_reaches_rows_that_did_not_change(bench: Workbench) -> None:
    bench.adjust(on_null=OnNull.KEEP)
    bench.run(plans((1, "a")))
    bench.run(plans((1, None)))
    assert bench.store.people["1"] == {"plan": "a"}

    bench.adjust(on_null=OnNull.CLEAR)

    assert bench.run(plans((1, None))).counts == Counts(queried=1, changed=1, accepted=1)
    assert bench.store.people["1"] == {}


def test_a_snapshot_of_the_first_format_is_taken_over(bench: Workbench) -> None:
    bench.run(plans((1, "a"), (2, "b")))
    with bench.opened() as snapshot:
        connection = snapshot.ledger.session.connection
        connection.execute("ALTER TABLE snapshot DROP COLUMN fingerprint")
        for column in ("person", "first_run", "last_run"):
            connection.execute(f"ALTER TABLE snapshot DROP COLUMN {column}")
        connection.execute("ALTER TABLE in_doubt DROP COLUMN moved")
        connection.execute("ALTER TABLE in_doubt DROP COLUMN unset")
        for later in ("left_behind", "unknown", "sent_runs", "left_rows", "absent_rows"):
            connection.execute(f"DROP TABLE {later}")
        connection.execute("UPDATE meta SET value = '1' WHERE name = 'format'")

    assert bench.run(plans((1, "a"), (2, "x"))).counts == Counts(queried=2, changed=1, unchanged=1, accepted=1)
    assert staged(bench, plans((1, "a"), (2, "x"))) == 0


def test_a_snapshot_of_a_newer_format_is_refused_and_left_alone(bench: Workbench) -> None:
    bench.run(plans((1, "a"), (2, "b")))
    with bench.opened() as snapshot:
        snapshot.ledger.session.connection.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    (file,) = bench.folder.iterdir()
    before = file.read_bytes()
    # Not even where it is another store's, which would be moved aside otherwise.
    bench.store.store_id = "another"

    with pytest.raises(SnapshotError, match=r"a newer Syncer: its format is 99, this Syncer knows 8") as raised:
        bench.run(plans((1, "x")))

    assert "syncer reset customers" in raised.value.hint
    assert [path.read_bytes() for path in bench.folder.iterdir()] == [before]


def test_a_column_that_left_and_came_back_with_null_is_cleared(bench: Workbench) -> None:
    both = {"id": [1, 2], "plan": ["a", "b"]}
    bench.run(table(both | {"city": ["Rome", "Oslo"]}))
    bench.run(table(both | {"plan": ["x", "b"]}))
    assert bench.store.people["1"] == {"plan": "x", "city": "Rome"}

    back = pa.table({"id": [1, 2], "plan": ["x", "b"], "city": pa.array([None, "Oslo"], pa.string())})

    assert bench.run(back).counts == Counts(queried=2, changed=1, unchanged=1, accepted=1)
    assert bench.store.people == {"1": {"plan": "x"}, "2": {"plan": "b", "city": "Oslo"}}


def test_a_column_that_came_back_to_a_collection_is_sent(bench: Workbench) -> None:
    bench.adjust(target=COUPON)
    bench.run(table({"code": ["A"], "percent": [10]}))
    bench.run(table({"code": ["A"], "amount": [5]}))
    assert bench.store.collections == {("coupons", "A"): {"code": "A", "amount": 5}}

    bench.run(table({"code": ["A"], "percent": [10]}))

    assert bench.store.collections == {("coupons", "A"): {"code": "A", "percent": 10}}


def test_a_plan_shows_only_what_a_run_would_touch(bench: Workbench) -> None:
    bench.run(table({"id": [1], "plan": ["a"], "city": ["Rome"]}))

    _, _, [(change, _, before, after)] = bench.plan(plans((1, "b")))

    assert (change, before, after) == ("changed", '{"plan":"a"}', '{"plan":"b"}')


_NUMBERS = pa.list_(pa.int64())
_PAIR = pa.struct([("a", pa.int64()), ("b", pa.int64())])


#: A type, and values before and after.
_CHANGES: list[tuple[pa.DataType, Any, Any]] = [
    (_NUMBERS, [0], [0, 0]),
    (_NUMBERS, [], None),
    (_NUMBERS, [None], []),
    (pa.list_(_NUMBERS), [[0]], [[0], [0]]),
    (_PAIR, {"a": 0, "b": None}, {"a": None, "b": 0}),
    (_PAIR, {"a": None, "b": None}, None),
    (pa.map_(pa.string(), pa.int64()), [("", 0)], [("", 0), (" ", 0)]),
    (pa.decimal128(38, 0), Decimal(0), Decimal(-1)),
    (pa.duration("s"), timedelta(days=30), timedelta(days=31)),
    (pa.time64("us"), time(0), None),
]


def test_a_change_that_a_weak_hash_would_miss_is_seen(bench: Workbench) -> None:
    """Each row but the first changes in the column of one type."""
    rows = 1 + len(_CHANGES)
    old = {f"x{i}": pa.array([before] * rows, type_) for i, (type_, before, _) in enumerate(_CHANGES, 1)}
    new = {
        f"x{i}": pa.array([after if row == i else before for row in range(rows)], type_)
        for i, (type_, before, after) in enumerate(_CHANGES, 1)
    }
    bench.run(table({"id": [*range(rows)], **old}))

    changed = bench.run(table({"id": [*range(rows)], **new}))

    assert changed.counts == Counts(queried=rows, changed=rows - 1, unchanged=1, accepted=rows - 1)
