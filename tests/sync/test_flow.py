"""What a run sends, counts, refuses and remembers."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from syncer.model.errors import QueryResultError, SelectionError, SnapshotError, StoreError
from syncer.model.protocols import JSON, NUMBER
from syncer.model.types import Counts, Entity, Limit, Limits, OnNull, OnRemoved, Target
from syncer.snapshot import file
from syncer.sync.progress import HeldError, StoppedError
from tests.removals import hashed
from tests.workbench import COUPON, Workbench, definition, table


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


def people(n: int, **columns: Any) -> pa.Table:
    return table({"id": list(range(n)), "plan": ["free"] * n} | columns)


def json_column(texts: list[str | None]) -> pa.Table:
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("data", pa.string(), metadata=JSON)])
    return pa.table([list(range(len(texts))), texts], schema=schema)


def test_only_what_changed_is_sent(bench: Workbench) -> None:
    first = bench.run(people(5))
    same = bench.run(people(5))
    changed = bench.run(table({"id": [0, 1, 2, 3, 7], "plan": ["free", "pro", "free", "free", None]}))

    assert first.counts == Counts(queried=5, added=5, accepted=5)
    assert same.counts == Counts(queried=5, unchanged=5)
    assert changed.counts == Counts(queried=5, added=1, changed=1, removed=1, unchanged=3, accepted=2)
    assert bench.store.people["1"] == {"plan": "pro"}
    assert bench.store.people["7"] == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pa.array([1], pa.int32()), pa.array([1], pa.int64())),
        (pa.array([Decimal("1.50")], pa.decimal128(10, 2)), pa.array([Decimal("1.5000")], pa.decimal128(20, 4))),
        (pa.array([Decimal("7")], pa.decimal128(10, 0)), pa.array([7], pa.int16())),
        (pa.array([0.1], pa.float32()), pa.array([0.1], pa.float64())),
        (pa.array([5.0]), pa.array([5])),
        (pa.array([-0.0]), pa.array([0.0])),
        (pa.array([1_000_000], pa.timestamp("us")), pa.array([1_000], pa.timestamp("ms", tz="Europe/Berlin"))),
        (pa.array(["a"], pa.large_string()), pa.array(["a"]).dictionary_encode()),
    ],
)
def test_another_width_or_spelling_is_no_change(bench: Workbench, before: pa.Array, after: pa.Array) -> None:
    bench.run(table({"id": [1], "value": before}))

    assert bench.run(table({"id": [1], "value": after})).counts == Counts(queried=1, unchanged=1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pa.array([1]), pa.array(["1"])),
        (pa.array([1]), pa.array([True])),
        (pa.array(["2026-01-01"]), pa.array(["2026-01-02"])),
        (pa.array([0.1]), pa.array([0.1 + 2**-55])),
        (pa.array([None], pa.string()), pa.array([""])),
    ],
)
def test_another_value_is_a_change_whatever_the_type(bench: Workbench, before: pa.Array, after: pa.Array) -> None:
    bench.run(table({"id": [1], "value": before}))

    assert bench.run(table({"id": [1], "value": after})).counts == Counts(queried=1, changed=1, accepted=1)
    assert bench.run(table({"id": [1], "value": after})).counts == Counts(queried=1, unchanged=1)


def test_json_is_compared_by_what_it_says(bench: Workbench) -> None:
    bench.run(json_column(['{"a": 1, "b": [1, {"c": null}]}', '{"n": 12345678901234567890.1}']))

    same = bench.run(json_column(['{"b":[1,{"c":null}],"a":1}', '{ "n":12345678901234567890.1}']))
    other = bench.run(json_column(['{"b":[1,{"c":0}],"a":1}', '{"n":12345678901234567890.2}']))

    assert same.counts == Counts(queried=2, unchanged=2)
    assert other.counts == Counts(queried=2, changed=2, accepted=2)


def test_numbers_beyond_a_double_that_change_places_are_a_change(bench: Workbench) -> None:
    one, other = "12345678901234567890.1", "12345678901234567890.2"
    bench.run(json_column([f'{{"a": {one}, "b": {other}}}']))

    assert bench.run(json_column([f'{{"a": {other}, "b": {one}}}'])).counts.changed == 1
    assert bench.run(json_column([f'{{"b": {other}, "a": {one}}}'])).counts.changed == 1


def test_every_digit_reaches_the_store(bench: Workbench) -> None:
    digits = "123456789012345678901234567890123456789012345678901234567890.000000000000000000001"
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("n", pa.string(), metadata=NUMBER)])
    sent = []
    bench.store._take = lambda target, row, create: (  # type: ignore[method-assign]
        sent.append(row["attributes"]) or {"seq": row["seq"], "verdict": "accepted", "reason": None}  # type: ignore[func-returns-value]
    )

    bench.run(pa.table([[1], [digits]], schema=schema))

    assert sent == ['{"n":' + digits + "}"]


def test_values_become_json_as_documented(bench: Workbench) -> None:
    nested = pa.array([{"a": [1, 2]}])
    bench.run(
        table(
            {
                "id": ["x"],
                "integer": pa.array([2**63 + 1], pa.uint64()),
                "money": pa.array([Decimal("12.30")], pa.decimal128(12, 2)),
                "when": pa.array([1_700_000_000_123_000], pa.timestamp("us", tz="UTC")),
                "day": pa.array([0], pa.date32()),
                "flag": [True],
                "blob": [b"\x00\xff"],
                "text": ['a "quoted"\nline é'],
                "nested": nested,
            }
        )
    )

    assert bench.store.people["x"] == {
        "integer": 2**63 + 1,
        "money": 12.3,
        "when": "2023-11-14T22:13:20.123Z",
        "day": "1970-01-01",
        "flag": True,
        "blob": "AP8=",
        "text": 'a "quoted"\nline é',
        "nested": {"a": [1, 2]},
    }


def test_values_without_json_form_count_as_null_and_are_noted(bench: Workbench) -> None:
    infinite = pa.array([2**63 - 1], pa.timestamp("us"))

    progress = bench.run(table({"id": [1], "a": [float("nan")], "b": [float("-inf")], "c": infinite}))

    assert bench.store.people["1"] == {}
    assert progress.notes == ["values that were NaN, infinite or out of range, and count as NULL: 3"]


def test_identifiers_are_text_trimmed_and_composed(bench: Workbench) -> None:
    bench.run(table({"id": [" e\u0301 ", "7"], "plan": ["a", "b"]}))

    progress = bench.run(table({"id": ["\u00e9", "7"], "plan": ["a", "b"]}))

    assert progress.counts == Counts(queried=2, unchanged=2)
    assert set(bench.store.people) == {"\u00e9", "7"}


def test_an_integer_identifier_is_its_digits(bench: Workbench) -> None:
    bench.run(people(3))

    progress = bench.run(table({"id": ["0", "1", "2"], "plan": ["free"] * 3}))

    assert progress.counts == Counts(queried=3, unchanged=3)


def test_equal_rows_count_once_and_differing_ones_are_refused(bench: Workbench) -> None:
    progress = bench.run(table({"id": [1, 1, 2, 2, 3], "plan": ["a", "a", "b", "c", "d"]}))

    assert progress.counts == Counts(queried=5, added=2, unchanged=0, accepted=2, rejected=2)
    assert bench.rejections() == {"2": "rows that differ share this key"}
    assert bench.store.people == {"1": {"plan": "a"}, "3": {"plan": "d"}}


def test_rows_without_a_usable_key_are_refused_one_by_one(bench: Workbench) -> None:
    rows = table({"id": [None, None, "  ", "x" * 151, "ok"], "plan": ["a", "b", "c", "d", "e"]})

    progress = bench.run(rows)

    assert progress.counts == Counts(queried=5, added=1, accepted=1, rejected=4)
    with bench.opened() as snapshot:
        reasons = sorted(r.reason for r in snapshot.rejections(10)[0])
    assert reasons == ["`id` is NULL", "`id` is NULL", "`id` is blank", "`id` is longer than 150 bytes"]


def test_rows_without_a_key_that_are_broken_alike_are_as_many_as_they_are(bench: Workbench) -> None:
    rows = table({"id": [None, "  ", ""], "plan": pa.array([b"a\x00"] * 3).view(pa.string())})

    bench.run(rows)
    bench.run(rows)

    with bench.opened() as snapshot:
        found, total = snapshot.rejections(10)
    assert [(row.reason, row.attempts) for row in found] == [("column `plan` holds a NUL character", 2)] * 3
    assert total == 3


def test_text_that_no_store_can_hold_is_refused_by_column(bench: Workbench) -> None:
    broken = pa.array([b"ok", b"\xff\xfe", b"a\x00b"]).view(pa.string())

    bench.run(table({"id": [1, 2, 3], "plan": broken}))

    assert bench.rejections() == {
        "2": "column `plan` is not valid UTF-8 at byte 0",
        "3": "column `plan` holds a NUL character",
    }


def test_a_refused_row_is_no_removed_row_and_is_retried_with_its_newest_value(bench: Workbench) -> None:
    bench.adjust(on_removed=OnRemoved.DELETE)
    bench.run(table({"id": [1, 2], "plan": ["a", "b"]}))

    bench.store.refuses = lambda key: key == ("1",)
    bench.run(table({"id": [1, 2, 2], "plan": ["x", "b", "c"]}))
    bench.run(table({"id": [1, 2, 2], "plan": ["y", "b", "c"]}))
    with bench.opened() as snapshot:
        refused = {r.key: (r.attempts, (r.last_seen - r.first_seen).seconds) for r in snapshot.rejections(10)[0]}
    assert refused == {"1": (2, 3600), "2": (2, 3600)}
    assert bench.store.people == {"1": {"plan": "a"}, "2": {"plan": "b"}}

    bench.store.refuses = lambda key: False
    bench.run(table({"id": [1, 2], "plan": ["z", "c"]}))
    assert bench.store.people == {"1": {"plan": "z"}, "2": {"plan": "c"}}
    assert bench.rejections() == {}


@pytest.mark.parametrize(
    ("on_removed", "left"),
    [(OnRemoved.KEEP, {"plan": "free"}), (OnRemoved.CLEAR, {}), (OnRemoved.DELETE, None)],
)
def test_a_row_that_left_means_what_the_header_says(
    bench: Workbench, on_removed: OnRemoved, left: dict[str, Any] | None
) -> None:
    bench.adjust(on_removed=on_removed)
    bench.run(people(3))

    gone = bench.run(people(2))
    back = bench.run(people(3))

    assert gone.counts.removed == 1
    assert back.counts.added == 1
    bench.run(people(2))
    assert bench.store.people.get("2") == left


def test_a_new_column_is_a_change_only_where_it_is_not_null(bench: Workbench) -> None:
    bench.run(people(3))

    progress = bench.run(people(3, city=["Rome", None, None]))

    assert progress.counts == Counts(queried=3, changed=1, unchanged=2, accepted=1)
    assert bench.store.people["0"] == {"plan": "free", "city": "Rome"}


@pytest.mark.parametrize(("on_removed", "left"), [(OnRemoved.KEEP, "Rome"), (OnRemoved.CLEAR, None)])
def test_a_dropped_column_touches_the_attribute_only_where_the_header_clears(
    bench: Workbench, on_removed: OnRemoved, left: str | None
) -> None:
    bench.adjust(on_removed=on_removed)
    bench.run(people(2, city=["Rome", None]))

    progress = bench.run(people(2))

    assert progress.counts.changed == (0 if left else 1)
    assert bench.store.people["0"].get("city") == left
    assert bench.run(people(2)).counts == Counts(queried=2, unchanged=2)
    assert bench.run(people(2, city=["Rome", "Oslo"])).counts.changed == (1 if left else 2)
    assert bench.store.people["1"]["city"] == "Oslo"


def test_a_dropped_column_is_cleared_also_for_a_row_whose_answer_was_lost(bench: Workbench) -> None:
    bench.adjust(on_removed=OnRemoved.CLEAR)
    bench.store.strikes_at, bench.store.fault = 0, "after"
    with pytest.raises(StoreError):
        bench.run(people(1, city=["Rome"]))

    bench.run(people(1))

    assert bench.store.people == {"0": {"plan": "free"}}


def test_a_dropped_column_is_cleared_also_where_null_keeps(bench: Workbench) -> None:
    bench.adjust(on_removed=OnRemoved.CLEAR, on_null=OnNull.KEEP)
    bench.run(people(1, city=["Rome"]))

    bench.run(people(1))

    assert bench.store.people["0"] == {"plan": "free"}


def test_null_clears_or_keeps_as_the_header_says(bench: Workbench) -> None:
    bench.adjust(on_null=OnNull.KEEP)
    bench.run(table({"id": [1], "plan": ["a"], "city": ["Rome"]}))

    kept = bench.run(table({"id": [1], "plan": pa.array([None], pa.string()), "city": ["Rome"]}))
    partly = bench.run(table({"id": [1], "plan": pa.array([None], pa.string()), "city": ["Oslo"]}))
    again = bench.run(table({"id": [1], "plan": ["a"], "city": ["Oslo"]}))

    assert kept.counts == Counts(queried=1, unchanged=1)
    assert partly.counts.changed == 1
    assert again.counts == Counts(queried=1, unchanged=1)
    assert bench.store.people["1"] == {"plan": "a", "city": "Oslo"}
    bench.adjust(on_null=OnNull.CLEAR)
    bench.run(table({"id": [1], "plan": pa.array([None], pa.string()), "city": ["Oslo"]}))
    assert bench.store.people["1"] == {"city": "Oslo"}


def test_a_first_load_that_dies_goes_on_where_it_was(bench: Workbench) -> None:
    bench.store.batch_rows = 10
    bench.store.strikes_at, bench.store.fault = 6, "before"
    with pytest.raises(StoreError):
        bench.run(people(100))
    sent_before = len(bench.store.taken)

    progress = bench.run(people(100))

    assert sent_before == 60
    assert progress.counts == Counts(queried=100, added=40, unchanged=60, accepted=40)
    assert len(bench.store.taken) == 100


def test_what_was_answered_before_the_store_failed_is_settled(bench: Workbench) -> None:
    bench.store.batch_rows, bench.store.behind = 10, 3
    bench.store.strikes_at, bench.store.fault = 6, "after"
    with pytest.raises(StoreError, match="the connection was lost"):
        bench.run(people(100))
    assert bench.progress.counts.accepted == 60

    progress = bench.run(people(100))

    assert progress.counts == Counts(queried=100, added=40, unchanged=60, accepted=40)


def test_a_run_that_is_stopped_waits_for_what_is_on_its_way(bench: Workbench) -> None:
    bench.store.batch_rows, bench.store.behind = 10, 3
    bench.stopping = lambda: len(bench.store.taken) >= 50

    with pytest.raises(StoppedError):
        bench.run(people(100))

    assert (len(bench.store.taken), bench.progress.counts.accepted) == (50, 50)


def test_a_row_that_never_has_an_answer_fails_the_run(bench: Workbench) -> None:
    bench.store.batch_rows, bench.store.behind = 10, 2
    bench.store.strikes_at, bench.store.fault = 1, "reply"

    with pytest.raises(StoreError, match="did not answer for 5 rows"):
        bench.run(people(30))

    assert bench.progress.counts.accepted == 25


def test_a_lost_answer_is_sent_again_though_the_value_went_back(bench: Workbench) -> None:
    bench.run(people(1))
    bench.store.strikes_at, bench.store.fault = 0, "after"
    with pytest.raises(StoreError):
        bench.run(people(1, plan=["pro"]))
    assert bench.store.people["0"] == {"plan": "pro"}

    progress = bench.run(people(1))

    assert bench.store.people["0"] == {"plan": "free"}
    assert progress.counts == Counts(queried=1, unchanged=1, accepted=1)
    assert progress.notes == ["rows that are sent again though they did not change: 1"]


def test_a_row_whose_answer_was_lost_and_that_left_is_removed(bench: Workbench) -> None:
    bench.adjust(on_removed=OnRemoved.DELETE)
    bench.run(people(1))
    bench.store.strikes_at, bench.store.fault = 0, "after"
    with pytest.raises(StoreError):
        bench.run(people(2))

    bench.run(people(1))

    assert set(bench.store.people) == {"0"}


def test_an_unknown_person_is_absent_and_looked_at_again(bench: Workbench) -> None:
    bench.adjust(create=False)
    first = bench.run(people(2))
    bench.store.people["1"] = {}
    second = bench.run(people(2))

    assert first.counts == Counts(queried=2, added=2, absent=2)
    assert second.counts == Counts(queried=2, added=2, accepted=1, absent=1)
    assert bench.store.people == {"1": {"plan": "free"}}


@pytest.mark.parametrize(
    ("limits", "result", "reason"),
    [
        (Limits(), people(80), "20 of 100 rows (20.0%) would be removed, over the limit of 15%"),
        (
            Limits(removed=Limit(share=0.005)),
            people(98),
            "2 of 100 rows (2.0%) would be removed, over the limit of 0.5%",
        ),
        (Limits(removed=Limit(count=3)), people(96), "4 of 100 rows (4.0%) would be removed, over the limit of 3 rows"),
        (
            Limits(changed=Limit(share=0.5)),
            people(100, plan=["pro"] * 100),
            "100 of 100 rows (100.0%) would be changed, over the limit of 50%; `plan` changed in 100 of them",
        ),
        (
            Limits(removed=Limit(share=1.0)),
            people(0),
            "the query returned no row, where the snapshot has 100",
        ),
        (
            Limits(),
            people(100, plan=["free"] * 79 + [None] * 21),
            "`plan` would become NULL in 21 of 100 rows (21.0%), over the limit of 20%",
        ),
        (
            Limits(cleared=Limit(count=5)),
            people(100, plan=["free"] * 94 + [None] * 6),
            "`plan` would become NULL in 6 of 100 rows (6.0%), over the limit of 5 rows",
        ),
        (
            Limits(added=Limit(share=0.1)),
            people(111),
            "11 rows would be added to 100 (11.0%), over the limit of 10%",
        ),
    ],
)
def test_a_run_over_a_limit_is_held_before_anything_is_sent(
    bench: Workbench, limits: Limits, result: pa.Table, reason: str
) -> None:
    bench.adjust(on_removed=OnRemoved.DELETE, limits=limits)
    bench.run(people(100))
    before = list(bench.store.taken)

    with pytest.raises(HeldError) as held:
        bench.run(result)

    assert held.value.reasons == [reason]
    assert bench.store.taken == before
    bench.run(result, allow_limits=True)
    assert set(bench.store.people) == {str(key) for key in result["id"].to_pylist()}
    assert bench.run(result).counts == Counts(queried=len(result), unchanged=len(result))


@pytest.mark.parametrize(
    ("known", "result", "held"),
    [
        (19, people(1), "18 of 19 rows (94.7%) would be removed, over the limit of 15%"),
        (5, people(3), "2 of 5 rows (40.0%) would be removed, over the limit of 15%"),
        (5, people(4), ""),
        (4, people(1), ""),
        (19, people(19, plan=[None] * 19), ""),
    ],
)
def test_shares_count_from_some_rows_on_and_never_for_one(
    bench: Workbench, known: int, result: pa.Table, held: str
) -> None:
    bench.adjust(on_removed=OnRemoved.DELETE)
    bench.run(people(known))

    if not held:
        bench.run(result)
        return
    with pytest.raises(HeldError, match=re.escape(held)):
        bench.run(result)


@pytest.mark.parametrize(
    ("columns", "reasons"),
    [
        ({"city": ["x"] * 30}, []),
        (
            {"city": ["x"] * 20 + [None] * 10},
            ["`city` would become NULL in 10 of 30 rows (33.3%), over the limit of 20%"],
        ),
        # Of the ten that had one.
        ({"tier": [None] * 30}, []),
    ],
)
def test_an_attribute_is_cleared_only_where_it_had_a_value(
    bench: Workbench, columns: dict[str, list[Any]], reasons: list[str]
) -> None:
    before = {"plan": ["free"] * 30, "city": ["x"] * 30, "tier": ["gold"] * 10 + [None] * 20}
    bench.run(people(30, **before))
    result = people(30, **before | columns | {"plan": ["pro"] * 30})

    if not reasons:
        assert bench.run(result).counts.changed == 30
        return
    with pytest.raises(HeldError) as held:
        bench.run(result)
    assert held.value.reasons == reasons


def test_a_first_load_and_null_that_keeps_values_clear_nothing(bench: Workbench) -> None:
    bench.adjust(on_null=OnNull.KEEP, limits=Limits(added=Limit(share=0.0)))
    bench.run(people(50))

    assert bench.run(people(50, plan=[None] * 50)).counts.changed == 0


def test_removals_without_an_answer_count_against_the_limit(bench: Workbench) -> None:
    bench.adjust(on_removed=OnRemoved.DELETE)
    bench.store.strikes_at, bench.store.fault = 0, "after"
    with pytest.raises(StoreError):
        bench.run(people(100))

    with pytest.raises(HeldError):
        bench.run(people(50))


def test_full_sends_every_row_and_counts_only_differences(bench: Workbench) -> None:
    bench.run(people(3))

    progress = bench.run(people(3), full=True)

    assert progress.counts == Counts(queried=3, unchanged=3, accepted=3)


@pytest.mark.parametrize("options", [{"full": True}, {"only": ("1",)}])
def test_a_row_that_is_refused_though_it_did_not_change_is_tried_again(
    bench: Workbench, options: dict[str, Any]
) -> None:
    bench.run(people(3))
    bench.store.people.pop("1")
    bench.store.refuses = lambda key: key == ("1",)
    bench.run(people(3), **options)
    bench.run(people(3))
    assert list(bench.rejections()) == ["1"]

    bench.store.refuses = lambda key: False
    progress = bench.run(people(3))

    assert progress.counts == Counts(queried=3, unchanged=3, accepted=1)
    assert bench.store.people["1"] == {"plan": "free"}
    assert bench.rejections() == {}
    assert bench.run(people(3)).counts == Counts(queried=3, unchanged=3)


def test_one_row_can_be_sent_alone(bench: Workbench) -> None:
    bench.run(people(3))
    changed = people(3, plan=["x", "y", "z"])

    progress = bench.run(changed, only=("1",))

    assert progress.counts.accepted == 1
    assert [bench.store.people[k]["plan"] for k in "012"] == ["free", "y", "free"]
    assert bench.run(changed).counts == Counts(queried=3, changed=2, unchanged=1, accepted=2)
    with pytest.raises(SelectionError, match="no row of this key"):
        bench.run(changed, only=("9",))


def test_an_incremental_query_removes_nothing_and_keeps_what_it_will_not_see_again(bench: Workbench) -> None:
    bench.adjust(incremental=True)
    bench.run(people(5))
    bench.store.refuses = lambda key: key == ("5",)
    bench.run(table({"id": [5], "plan": ["new"]}))
    with bench.opened() as snapshot:
        assert snapshot.known.last_sync_time == int(bench.clock.timestamp())
    bench.store.refuses = lambda key: False

    progress = bench.run(people(0))

    assert progress.counts.removed == 0
    assert bench.store.people["5"] == {"plan": "new"}
    assert len(bench.store.people) == 6
    assert bench.rejections() == {}


@pytest.mark.parametrize("incremental", [False, True])
def test_a_refused_value_that_went_back_is_not_tried_again(bench: Workbench, incremental: bool) -> None:
    bench.adjust(incremental=True)
    bench.run(table({"id": [1], "plan": ["old"]}))
    bench.store.refuses = lambda key: True
    bench.run(table({"id": [1], "plan": ["new"]}))
    bench.store.refuses = lambda key: False
    bench.adjust(incremental=incremental)
    bench.run(table({"id": [1], "plan": ["old"]}))
    bench.adjust(incremental=True)

    bench.run(people(0))

    assert bench.store.people == {"1": {"plan": "old"}}


def test_what_an_incremental_query_does_not_return_again_stays_rejected(bench: Workbench) -> None:
    bench.adjust(incremental=True)
    bench.run(people(3))
    bench.store.refuses = lambda key: key == ("1",)
    bench.run(table({"id": [1], "plan": ["refused"]}))
    bench.store.refuses = lambda key: False
    bench.run(table({"id": [1, 1], "plan": ["x", "y"]}))

    # The whole result is asked for while a row is in quarantine.
    bench.run(table({"id": [0, 1, 1, 2], "plan": ["free", "x", "y", "new"]}))

    assert bench.rejections() == {"1": "rows that differ share this key"}
    assert bench.store.people == {"0": {"plan": "free"}, "1": {"plan": "free"}, "2": {"plan": "new"}}
    bench.run(table({"id": [1], "plan": ["free"]}))
    assert bench.rejections() == {}


def test_an_incremental_run_that_failed_does_not_move_the_window(bench: Workbench) -> None:
    bench.adjust(incremental=True)
    bench.run(people(1))
    first = int(bench.clock.timestamp())
    bench.store.strikes_at = 0
    with pytest.raises(StoreError):
        bench.run(people(2))

    with bench.opened() as snapshot:
        assert snapshot.known.last_sync_time == first
    bench.store.strikes_at = None
    bench.run(people(0))
    assert set(bench.store.people) == {"0", "1"}


def test_a_collection_holds_every_column_and_drops_rows_that_left(bench: Workbench) -> None:
    bench.adjust(target=COUPON)
    bench.run(table({"code": ["A", "B"], "percent": [10, None]}))
    bench.run(table({"code": ["B"], "percent": pa.array([None], pa.int64())}))

    assert bench.store.collections == {("coupons", "B"): {"code": "B", "percent": None}}


def test_a_collection_that_is_too_large_is_refused_whole(bench: Workbench) -> None:
    bench.adjust(target=COUPON)
    bench.store.collection_bytes = 100

    with pytest.raises(QueryResultError, match="over the 100 that store `default` takes; nothing was sent"):
        bench.run(table({"code": ["A", "B"], "text": ["x" * 40, "y" * 40]}))

    assert bench.store.taken == []
    bench.store.collection_bytes = len(json.dumps([{"code": "A", "text": "x"}], separators=(",", ":")))
    bench.run(table({"code": ["A"], "text": ["x"]}))
    assert len(bench.store.taken) == 1


def test_a_deletion_is_announced_before_it_is_sent(bench: Workbench) -> None:
    bench.adjust(on_removed=OnRemoved.DELETE)
    bench.run(people(2))
    bench.store.strikes_at, bench.store.fault = 0, "before"

    with pytest.raises(StoreError):
        bench.run(people(1))

    (announced,) = bench.alone.announced
    value = hashed("key", ("person", "id", "1"))
    assert announced.to_pylist() == [{"entity": "person", "kind": "id", "value": value}]


def test_another_target_begins_anew_and_removes_nothing(bench: Workbench) -> None:
    bench.adjust(on_removed=OnRemoved.DELETE)
    bench.run(people(3))

    bench.adjust(target=Target(entity=Entity.OBJECT, object_type="account", key_columns=("id",)))
    progress = bench.run(people(1))

    assert progress.counts == Counts(queried=1, added=1, accepted=1)
    assert "every row is sent, and nothing is removed" in progress.notes[0]
    assert len(bench.store.people) == 3
    assert len(list(bench.folder.glob("*.previous-*"))) >= 1


def test_a_store_that_was_made_anew_gets_every_row(bench: Workbench) -> None:
    bench.run(people(3))
    bench.store = type(bench.store)(store_id="another")

    assert bench.run(people(3)).counts.accepted == 3


def test_a_plan_shows_old_and_new_values_and_leaves_nothing_behind(bench: Workbench) -> None:
    bench.adjust(on_removed=OnRemoved.DELETE)
    progress, _, sample = bench.plan(people(1))
    assert (progress.counts.added, sample) == (1, [("added", "0", None, '{"plan":"free"}')])
    assert list(bench.folder.iterdir()) == []
    bench.run(people(3, city=["Rome", None, None]))

    result = table({"id": [0, 1, 5], "plan": ["pro", "pro", "free"], "city": ["Oslo", None, None]})
    progress, attributes, sample = bench.plan(result)

    assert progress.counts == Counts(queried=3, added=1, changed=2, removed=1)
    assert attributes == {"plan": 2, "city": 1}
    assert sample == [
        ("added", "5", None, '{"plan":"free","city":null}'),
        ("changed", "0", '{"plan":"free","city":"Rome"}', '{"plan":"pro","city":"Oslo"}'),
        ("changed", "1", '{"plan":"free","city":null}', '{"plan":"pro","city":null}'),
        ("removed", "2", '{"plan":"free","city":null}', None),
    ]
    assert bench.run(result).counts == progress.counts.__class__(queried=3, added=1, changed=2, removed=1, accepted=4)


@pytest.mark.parametrize("damage", ["cut", "zeros", "empty", "flipped"])
def test_a_damaged_snapshot_is_set_aside_and_never_read_as_no_rows(bench: Workbench, damage: str) -> None:
    bench.adjust(on_removed=OnRemoved.DELETE)
    bench.run(people(1000))
    path = bench.folder / "customers.duckdb"
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "zeros": bytes(len(content)),
            "empty": b"",
            "flipped": bytes([content[0], *(b ^ 1 for b in content[1:])]),
        }[damage]
    )

    with pytest.raises(SnapshotError, match="damaged and was moved aside") as failure:
        bench.run(people(10))

    assert "`syncer run customers` rebuilds it" in failure.value.hint
    assert len(list(bench.folder.glob("customers.duckdb.damaged-*"))) == 1
    progress = bench.run(people(10))
    assert progress.counts == Counts(queried=10, added=10, accepted=10)
    assert len(bench.store.people) == 1000


@pytest.mark.parametrize("folder", ["blocklist", "no space left", "a newer version", "permission denied"])
def test_what_a_path_is_called_says_nothing_of_a_snapshot(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    bench = Workbench(folder=tmp_path / folder)
    bench.adjust(name="blocked_users")
    path = bench.folder / "blocked_users.duckdb"
    path.write_bytes(bytes(5000))

    with pytest.raises(SnapshotError, match="damaged and was moved aside"):
        bench.run(people(3))

    assert bench.run(people(3)).counts.added == 3
    assert not file.is_in_use(path, "blocked_users")


def test_a_damaged_write_ahead_log_of_a_snapshot_is_set_aside_with_it(bench: Workbench) -> None:
    bench.adjust(on_removed=OnRemoved.DELETE)
    bench.run(people(1000))
    path = bench.folder / "customers.duckdb"
    log = path.with_name("customers.duckdb.wal")
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE snapshot SET fingerprint = 1")
        # As a process that is killed leaves them.
        left = path.read_bytes(), log.read_bytes()
    path.write_bytes(left[0])
    log.write_bytes(bytes([*left[1][:100], *(byte ^ 1 for byte in left[1][100:])]))

    with pytest.raises(SnapshotError, match="damaged and was moved aside"):
        bench.run(people(10))

    assert len(list(bench.folder.glob("customers.duckdb.damaged-*"))) == 2
    assert bench.run(people(10)).counts == Counts(queried=10, added=10, accepted=10)
    assert len(bench.store.people) == 1000


def test_two_columns_that_differ_by_case_are_two_attributes(bench: Workbench) -> None:
    bench.run(table({"id": [1], "Plan": ["a"], "plan": ["b"]}))

    assert bench.store.people["1"] == {"Plan": "a", "plan": "b"}


def test_a_sync_without_attributes_makes_people(bench: Workbench) -> None:
    bench.run(table({"id": [1, 2]}))

    assert bench.store.people == {"1": {}, "2": {}}
    assert bench.run(table({"id": [1, 2]})).counts == Counts(queried=2, unchanged=2)


def test_definition_is_person_by_default() -> None:
    assert definition().target.entity is Entity.PERSON


def test_what_was_answered_counts_whatever_ends_the_run(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.batch_rows, bench.store.behind = 2, 1
    took = bench.store.apply

    def apply(*batch: Any, **options: Any) -> pa.Table:
        if len(bench.store.taken) == 4:
            raise KeyError("a defect")
        return took(*batch, **options)

    monkeypatch.setattr(bench.store, "apply", apply)
    with pytest.raises(KeyError):
        bench.run(people(6))
    monkeypatch.undo()

    assert bench.run(people(6)).counts == Counts(queried=6, added=2, unchanged=4, accepted=2)
