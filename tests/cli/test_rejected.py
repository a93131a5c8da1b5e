"""`syncer rejected`: one bad row is not a broken pipe, and people can say that they know of it."""

from __future__ import annotations

import csv
import io

import pytest

from tests.cli.conftest import Folder


@pytest.fixture
def shop(folder: Folder) -> Folder:
    """A sync with 5 rejected rows: 2 that share a key and differ, and 3 without one."""
    folder.people({"1": "free", "2": "pro"})
    rows = "SELECT id, plan, 'x' AS city FROM people UNION ALL SELECT '2', 'other', 'x'"
    lacking = "".join(f" UNION ALL SELECT NULL, 'nobody {number}', 'x'" for number in range(3))
    folder.define("customers", f"{rows}{lacking}")
    return folder


def health(folder: Folder) -> str:
    (sync,) = folder.syncer("list", "--json").objects
    return str(sync["health"])


def test_rows_are_counted_alike_everywhere(shop: Folder) -> None:
    (ended,) = shop.syncer("run", "customers", "--json").objects
    rows = shop.syncer("rejected", "customers", "--json").objects
    groups = shop.syncer("rejected", "customers", "--groups", "--json").objects

    assert ended["rejected"] == ended["quarantined"] == len(rows) == 5
    assert [(group["reason"], group["rows"], group["columns"]) for group in groups] == [
        ("`id` is NULL", 3, []),
        ("rows that differ share this key", 2, ["plan"]),
    ]
    assert {row["values"]["plan"] for row in rows} == {"pro", "other", "nobody 0", "nobody 1", "nobody 2"}
    assert "they differ in plan" in shop.syncer("rejected", "customers").out


def test_rows_are_chosen_by_reason_and_value_and_exported(shop: Folder) -> None:
    shop.syncer("run", "customers")

    some = shop.syncer("rejected", "customers", "--reason", "IS null", "--limit", "2", "--json")
    found = shop.syncer("rejected", "cust*", "--search", "Nobody 2", "--json").objects
    exported = [*csv.DictReader(io.StringIO(shop.syncer("rejected", "customers", "--csv").out))]
    nothing = shop.syncer("rejected", "customers", "--search", "nowhere")

    assert len(some.objects) == 2
    assert "note: 1 more rows fit" in some.err
    assert [row["values"]["plan"] for row in found] == ["nobody 2"]
    assert len(exported) == 5
    assert exported[0]["reason"] == "rows that differ share this key"
    assert exported[0]["columns"] == "plan"
    assert "No row of customers is rejected that fits." in nothing.out


def test_acknowledged_rows_do_not_count_until_they_change(shop: Folder) -> None:
    assert shop.syncer("run", "customers").code == 1
    assert health(shop) == "degraded"

    said = shop.syncer("rejected", "customers", "--acknowledge", "test accounts", "--until", "7d")
    ran = shop.syncer("run", "customers")
    rows = shop.syncer("rejected", "customers", "--json").objects

    assert said.out.startswith("customers: 5 rows are acknowledged until ")
    assert (ran.code, health(shop)) == (0, "healthy")
    assert "rows that are rejected, and that somebody has acknowledged: 5" in ran.out
    assert [row["attempts"] for row in rows] == [2] * 5
    assert {row["acknowledged"]["reason"] for row in rows} == {"test accounts"}

    shop.people({"1": "free", "2": "changed"})
    assert shop.syncer("run", "customers").code == 1
    known = [row["acknowledged"] is not None for row in shop.syncer("rejected", "customers", "--json").objects]
    assert known.count(False) == 1
    assert shop.syncer("rejected", "customers", "--key", "", "--unacknowledge").out.startswith("customers: 3 rows are")


def test_health_follows_an_acknowledgement_at_once(shop: Folder) -> None:
    shop.syncer("run", "customers")

    shop.syncer("rejected", "customers", "--acknowledge", "known")

    assert health(shop) == "healthy"


def test_rejected_rows_are_tried_again_now(shop: Folder) -> None:
    shop.syncer("run", "customers")
    shop.define("customers", "SELECT id, plan, 'x' AS city FROM people")

    ended = shop.syncer("rejected", "customers", "--key", "2", "--retry")

    assert "one row was sent, and the store accepted it" in ended.out
    shop.syncer("rejected", "customers", "--retry")
    assert shop.syncer("rejected", "customers", "--json").objects == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--acknowledge", "known"), "nothing is selected"),
        (("customers", "--until", "7d"), "these options do not go together"),
        (("customers", "--acknowledge", "known", "--until", "2001-01-01"), "`2001-01-01` has passed"),
        (("customers", "--acknowledge", "known", "--until", "soon"), "`soon` is no time"),
        (("customers", "--csv", "--json"), "these options do not go together"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(folder: Folder, words: tuple[str, ...], expected: str) -> None:
    result = folder.syncer("rejected", *words)

    assert result.code == 2
    assert expected in result.err
