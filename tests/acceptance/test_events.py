"""Events: each row is sent once, whatever dies when, and never changed."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.commands import Project
from tests.conftest import seeds

QUERY = "SELECT customer_id, order_id, paid_at, total FROM orders"
HEADER = """
entity: event
person: {id: customer_id}
event: {name: order_paid, id: order_id, time: paid_at}
"""
COLUMNS = "order_id,customer_id,paid_at,total"

Row = tuple[str, str, str, str]


def at(hours: float) -> str:
    """A time so many hours from now, to the second."""
    return f"{datetime.now(UTC) + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}"


@dataclass
class Shop:
    """A table of orders, and a sync of them as events."""

    path: Path
    store: str
    start: str = "all"
    name: str = "paid"
    header: str = HEADER
    query: str = QUERY
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.project = Project(path=self.path / "project", environment={"SYNCER_STORES__DEFAULT__URL": self.store})
        self.project.path.mkdir(exist_ok=True)
        self.define()

    def define(self, more: str = "") -> None:
        self.project.define(self.name, f"{self.header}start: {self.start}\n{more}", self.query)

    def write(self, *rows: Row) -> None:
        """Let the table have these rows."""
        self.rows = list(rows)
        # A row that types none of the columns makes all of them text.
        self.project.table("orders", COLUMNS, *(",".join(row) for row in rows))

    def add(self, *rows: Row) -> None:
        self.write(*self.rows, *rows)

    def run(self, *words: str, code: int = 0) -> dict[str, Any]:
        ended = self.project.syncer("run", self.name, "--json", *words)
        assert ended.code == code, (ended.code, ended.err)
        (run,) = ended.objects
        return run

    def plan(self) -> dict[str, Any]:
        ended = self.project.syncer("plan", self.name, "--json")
        assert ended.code == 0, ended.err
        (plan,) = ended.objects
        return plan

    def rejected(self) -> dict[str, str]:
        return {row["key"]: row["reason"] for row in self.project.syncer("rejected", self.name, "--json").objects}

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        if self.store.startswith("sqlite"):
            with closing(sqlite3.connect(self.store.removeprefix("sqlite:///"))) as connection:
                return connection.execute(sql).fetchall()
        with psycopg.connect(self.store) as connection:
            return connection.execute(sql).fetchall()

    def stored(self) -> list[str]:
        """The ids of the orders whose events the store has, in the order of their times."""
        found = self.fetch("SELECT data FROM events ORDER BY occurred_at, event_id")
        texts = [row[0] if isinstance(row[0], dict) else json.loads(row[0]) for row in found]
        return [str(data["order_id"]) for data in texts]

    def count(self) -> tuple[int, int]:
        """All events, and the different ones."""
        ((rows, different),) = self.fetch("SELECT count(*), count(DISTINCT event_id) FROM events")
        return rows, different


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/profiles.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def shop(tmp_path: Path, store: str) -> Shop:
    return Shop(path=tmp_path, store=store)


@pytest.fixture
def local(tmp_path: Path) -> Shop:
    return Shop(path=tmp_path, store=f"sqlite:///{tmp_path}/profiles.db")


def orders(*numbers: int, hours: float = -10, total: str = "9.50") -> list[Row]:
    """Orders of three customers, each some seconds after the one before."""
    begun = datetime.now(UTC) + timedelta(hours=hours)
    return [
        (f"o{n}", f"c{n % 3}", f"{begun + timedelta(seconds=place):%Y-%m-%d %H:%M:%S}", total)
        for place, n in enumerate(numbers)
    ]


def test_an_event_has_its_person_time_and_data(shop: Shop) -> None:
    shop.write(("o1", "ann", "2026-01-31 09:30:00", "12.50"), ("o2", "ann", "2026-01-31 09:30:00.25", ""))

    run = shop.run()

    assert (run["queried"], run["added"], run["accepted"], run["altered"]) == (2, 2, 2, 0)
    (shown,) = shop.project.syncer("show", "person", "ann", "--json").objects
    newest, oldest = shown["content"]["events"]
    assert (oldest["name"], oldest["kind"], oldest["occurred_at"]) == (
        "order_paid",
        "event",
        "2026-01-31T09:30:00+00:00",
    )
    assert (oldest["data"], newest["data"]) == ({"order_id": "o1", "total": 12.5}, {"order_id": "o2", "total": None})
    assert newest["occurred_at"] == "2026-01-31T09:30:00.250000+00:00"
    assert len(oldest["event_id"]) == 26
    assert oldest["event_id"][:8] == newest["event_id"][:8]
    assert set(newest["event_id"]) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_an_event_is_sent_once_and_what_leaves_is_ignored(shop: Shop) -> None:
    shop.write(*orders(1, 2, 3))
    shop.run()
    shop.write(*shop.rows[1:], *orders(4, hours=-1))

    run = shop.run()

    assert (run["added"], run["removed"], run["unchanged"], run["accepted"]) == (1, 0, 2, 1)
    assert shop.stored() == ["o1", "o2", "o3", "o4"]
    assert shop.run()["accepted"] == 0


def test_a_row_that_changed_is_counted_and_shown_and_not_sent(shop: Shop) -> None:
    shop.write(*orders(1, 2))
    shop.run()
    first, second = shop.rows
    shop.write(first, (*second[:3], "99.00"))

    plan = shop.plan()
    run = shop.run()

    assert (plan["altered"], [(row["change"], row["key"]) for row in plan["sample"]]) == (1, [("altered", "o2")])
    assert plan["sample"][0]["after"]["total"] == 99.0
    assert (run["altered"], run["added"], run["unchanged"], run["accepted"]) == (1, 0, 1, 0)
    assert run["queried"] == 2
    assert {row[0] for row in shop.fetch("SELECT count(*) FROM events")} == {2}


def test_a_corrected_time_is_no_second_event(shop: Shop) -> None:
    shop.write(*orders(1, 2))
    shop.run()
    shop.write(("o1", "c1", at(-9), "9.50"))
    assert (shop.run()["altered"], shop.count()) == (1, (2, 2))

    # The ledger looks for events of about that time, and the store at all of them.
    shop.write(("o1", "c1", at(-200), "9.50"))
    assert (shop.run()["accepted"], shop.count()) == (1, (2, 2))


@pytest.mark.parametrize("seed", seeds(1))
def test_each_event_is_there_once_whatever_died(shop: Shop, seed: int) -> None:
    """After kills, a full run, a renamed file and a lost state folder."""
    chance, number = random.Random(seed), 0

    def more() -> None:
        nonlocal number
        shop.add(*orders(*range(number, number + 2_000), hours=number / 2_000 - 20))
        number += 2_000

    more()
    begun = time.monotonic()
    shop.run()
    seconds, killed = time.monotonic() - begun, 0
    while killed < 3:
        more()
        process = shop.project.started("run", "paid", "--json").process
        process.join(chance.uniform(0.3, 1.0) * seconds)
        if process.is_alive():
            process.kill()
            process.join()
            killed += 1
        else:
            # The first run also made the store.
            seconds *= 0.7
    rows = len(shop.rows)

    shop.run()
    assert shop.count() == (rows, rows)
    again = shop.run()
    assert (again["accepted"], again["unchanged"]) == (0, rows)

    full = shop.run("--full")
    assert (full["accepted"], shop.count()) == (rows, (rows, rows))

    definitions = shop.project.path / "sync_definitions"
    (definitions / "paid.sql").rename(definitions / "renamed.sql")
    shop.name = "renamed"
    assert (shop.run()["accepted"], shop.count()) == (rows, (rows, rows))

    shutil.rmtree(shop.project.path / ".syncer")
    more()
    assert (shop.run()["accepted"], shop.count()) == (len(shop.rows), (len(shop.rows),) * 2)


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost"])
def test_what_is_there_at_the_start_is_past_and_what_comes_later_is_sent(shop: Shop, lost: bool) -> None:
    shop.start = "now"
    shop.define()
    shop.write(*orders(1, 2, 3))

    plan, first = shop.plan(), shop.run()
    assert (plan["added"], first["added"], first["unchanged"], shop.stored()) == (0, 0, 3, [])
    # A late one, and a new one.
    shop.add(*orders(4, hours=-11), ("o5", "c2", at(0.01), "1.00"))
    second = shop.run()
    assert (second["added"], shop.stored()) == (2, ["o4", "o5"])
    if lost:
        shutil.rmtree(shop.project.path / ".syncer")
    assert shop.project.syncer("reset", "paid", "--yes").code == 0
    shop.add(("o6", "c0", at(0.02), "1.00"))

    third = shop.run()

    # What came after the start is sent again, with the same ids; what was there is past for ever.
    assert (third["added"], shop.stored()) == (2, ["o4", "o5", "o6"])
    assert shop.run("--full")["accepted"] == 2


def test_a_date_sends_from_then_on(shop: Shop) -> None:
    shop.start = "2026-02-01"
    shop.define()
    shop.write(("o1", "c1", "2026-01-31 23:59:59", "1"), ("o2", "c1", "2026-02-01 00:00:00", "1"))
    assert (shop.run()["added"], shop.stored()) == (1, ["o2"])

    shop.add(("o3", "c1", "2026-01-15 00:00:00", "1"), ("o4", "c1", "2026-03-15 00:00:00", "1"))

    assert (shop.run()["added"], shop.stored()) == (1, ["o2", "o4"])
    assert shop.run("--full")["accepted"] == 2


def test_a_plan_decides_nothing(local: Shop) -> None:
    local.start = "now"
    local.define()
    local.write(*orders(1))

    assert "events that are past, as `start` says, and are not sent: 1" in local.plan()["notes"]
    assert not Path(local.store.removeprefix("sqlite:///")).exists()
    local.start = "all"
    local.define()
    plan = local.plan()
    assert plan["sample"][0]["after"]["paid_at"].endswith("Z")
    assert (local.run()["added"], local.stored()) == (1, ["o1"])


BAD: Sequence[tuple[Row, str]] = [
    (("", "c1", "2026-01-01 00:00:00", "1"), "`order_id` is NULL"),
    (("o1", "", "2026-01-01 00:00:00", "1"), "`customer_id` is NULL"),
    (("o2", "c1", "", "1"), "`paid_at` is NULL"),
    (("o3", "c1", "soon", "1"), "`paid_at` is no time"),
    (("o4", "c1", "1969-12-31 23:59:59", "1"), "`paid_at` is before 1970"),
    (("o5", "c1", at(3), "1"), "`paid_at` is more than an hour ahead of the warehouse's clock"),
    (("o6", "c1", "2026-01-01 00:00:00", "x" * 100_000), "the event's data is over 100,000 bytes of JSON"),
    (("o7", "c" * 151, "2026-01-01 00:00:00", "1"), "`customer_id` is longer than 150 bytes"),
]


def test_each_bad_row_has_its_reason_and_nothing_else_is_lost(local: Shop) -> None:
    local.write(*(row for row, _ in BAD), ("o8", "c1", at(0.5), "x" * 99_000), ("o9", "c1", "2026-01-01", "1"))

    run = local.run(code=1)

    assert (run["rejected"], run["accepted"], local.stored()) == (len(BAD), 2, ["o9", "o8"])
    assert local.rejected() == {row[0]: reason for row, reason in BAD}


def test_two_rows_of_one_id_that_differ_are_rejected(local: Shop) -> None:
    same = ("o2", "c1", "2026-01-01 00:00:00", "1")
    local.write(*orders(1), same, same, *orders(1, total="7"))

    assert (local.run(code=1)["accepted"], local.stored()) == (1, ["o2"])
    assert local.rejected() == {"o1": "rows that differ share this key"}


def test_a_name_may_come_from_a_column(shop: Shop) -> None:
    shop.header = HEADER.replace("name: order_paid", "name: {column: what}")
    named = "CASE WHEN order_id = 'o1' THEN 'big' ELSE repeat('n', 101) END AS what"
    shop.query = QUERY.replace(" FROM", f", {named} FROM")
    shop.define()
    shop.write(*orders(1, 2))

    assert shop.run(code=1)["accepted"] == 1
    assert shop.fetch("SELECT name FROM events") == [("big",)]
    (reason,) = shop.rejected().values()
    assert reason == "the event's name, in `what`, is longer than 100 bytes"


def test_without_create_an_event_of_nobody_is_tried_again(shop: Shop) -> None:
    shop.define("create: false")
    shop.write(*orders(1, 2))
    shop.project.define("people", "entity: person\nperson: {id: customer_id}", "SELECT 'c1' AS customer_id, 1 AS a")
    assert shop.project.syncer("run", "people").code == 0
    assert shop.plan()["would_reject"] == [{"key": "o2", "reason": "the person does not exist yet"}]
    assert (shop.run(code=1)["accepted"], shop.rejected()) == (1, {"o2": "the person does not exist yet"})

    shop.define()

    assert (shop.run()["accepted"], shop.rejected(), shop.stored()) == (1, {}, ["o1", "o2"])


def test_a_deleted_person_takes_their_events_along(shop: Shop) -> None:
    shop.write(*orders(1, 2, 3))
    shop.run()
    header = "entity: person\nperson: {id: id}\non_removed: delete\nlimits: {removed: 100%, empty: allow}"
    shop.project.define("people", header, "SELECT 'c1' AS id, 1 AS a")
    assert shop.project.syncer("run", "people").code == 0
    shop.project.define("people", header, "SELECT 'c1' AS id, 1 AS a WHERE false")

    assert shop.project.syncer("run", "people").code == 0

    assert shop.stored() == ["o2", "o3"]
    assert shop.run()["accepted"] == 0


def test_an_incremental_query_goes_by_the_newest_event(shop: Shop) -> None:
    shop.query = f"{QUERY} WHERE paid_at >= to_timestamp({{{{ last_event_time }}}}) AT TIME ZONE 'UTC'"
    shop.define("lookback: 1 hour")
    shop.write(*orders(1, 2, hours=-10))
    assert shop.run()["queried"] == 2

    shop.add(*orders(3, hours=-10.5), *orders(4, hours=-12), *orders(5, hours=-1))
    assert (shop.run()["added"], shop.stored()) == (2, ["o3", "o1", "o2", "o5"])
    # From an hour before the newest on.
    assert shop.run()["queried"] == 1


def test_a_rejected_event_of_an_incremental_query_is_kept(shop: Shop) -> None:
    shop.query = f"{QUERY} WHERE paid_at >= to_timestamp({{{{ last_event_time }}}}) AT TIME ZONE 'UTC'"
    shop.define("lookback: 1 hour\ncreate: false")
    shop.write(*orders(1, hours=-10))
    assert shop.run(code=1)["rejected"] == 1
    shop.add(*orders(3, hours=-1))
    assert shop.run(code=1)["rejected"] == 2
    shop.project.define("people", "entity: person\nperson: {id: id}", "SELECT unnest(['c0', 'c1']) AS id")
    assert shop.project.syncer("run", "people").code == 0

    run = shop.run()

    assert (run["accepted"], shop.rejected(), shop.stored()) == (2, {}, ["o1", "o3"])
    assert shop.run()["accepted"] == 0


def test_what_is_forgotten_is_not_sent_again(local: Shop) -> None:
    local.define("remember: 3 days")
    local.write(*orders(1, hours=-240), *orders(2, hours=-90), *orders(3, hours=-1))
    assert local.run()["added"] == 3

    run = local.run("--json")
    assert (run["accepted"], run["unchanged"]) == (0, 3)
    local.add(*orders(4, hours=-200))
    assert (local.run()["accepted"], local.stored()) == (0, ["o1", "o2", "o3"])
    note = "older than what `remember` keeps"
    assert note in " ".join(local.project.syncer("runs", "paid", "--json").objects[0]["notes"])


def test_a_limit_holds_a_burst_and_lets_it_through(local: Shop) -> None:
    local.define("limits: {events: 2}")
    local.write(*orders(1, 2, 3))

    ended = local.project.syncer("run", "paid", "--json")

    assert (ended.code, ended.objects[0]["status"]) == (3, "held")
    assert "3 events would be sent, over the limit of 2" in ended.err
    assert local.run("--allow", "events=3")["accepted"] == 3


def test_one_event_can_be_sent_again_with_its_id(shop: Shop) -> None:
    shop.write(*orders(1, 2))
    shop.run()
    (first, *_) = shop.fetch("SELECT event_id FROM events ORDER BY occurred_at")

    run = shop.run("--row", "o1")

    assert (run["accepted"], run["planned"]["resent"], shop.count()) == (1, 1, (2, 2))
    assert shop.fetch("SELECT event_id FROM events ORDER BY occurred_at")[0] == first


def test_who_did_it_how_often_is_counted(shop: Shop) -> None:
    shop.write(*orders(*range(1, 8)), *orders(9, hours=-100))
    shop.run()
    since = f"{datetime.now(UTC) - timedelta(hours=50):%Y-%m-%dT%H:%M:%S}"

    shown = shop.project.syncer("show", "events", "order_paid", "--since", since, "--at-least", "3", "--json")

    assert [(one["id"], one["count"]) for one in shown.objects] == [("c1", 3)]
    assert set(shown.objects[0]) == {"person_id", "id", "count"}


def test_a_store_that_was_put_back_gets_its_events_again(local: Shop) -> None:
    path = Path(local.store.removeprefix("sqlite:///"))
    local.write(*orders(1))
    local.run()
    shutil.copy(path, path.with_suffix(".copy"))
    local.add(*orders(2, hours=-1))
    local.run()
    for left in path.parent.glob(f"{path.name}-*"):
        left.unlink()
    shutil.copy(path.with_suffix(".copy"), path)
    assert local.stored() == ["o1"]

    assert (local.run()["added"], local.stored()) == (2, ["o1", "o2"])
