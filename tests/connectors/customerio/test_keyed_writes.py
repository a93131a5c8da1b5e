"""Rows of a collection that travel alone, in every sort of workspace, and what happens where one cannot be told of."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.customerio import connection, keyed_writes, rate
from connectors.customerio.keyed_writes import DELETE_FIELD
from syncer.model.errors import StoreError
from syncer.model.types import Entity, Target
from syncer.sync.progress import StoppedError
from tests.cli import forked
from tests.conftest import seeds
from tests.connectors.customerio.test_flow import ENVIRONMENT, Bench, content, coupons
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.servers.customerio.collections import Collections, Keyed
from tests.servers.customerio.faults import LOST_AFTER, LOST_BEFORE, Fault
from tests.workbench import COUPON, table

#: Newer workspaces, which may tell the fields of a collection or not.
KEYED = [(keyed, tells) for keyed in (Keyed.FIELDS, Keyed.MODES) for tells in (True, False)]
HELD = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerIOServer]:
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.002)
    monkeypatch.setattr(keyed_writes, "FIRST_LOOK", 0.01)
    monkeypatch.setattr("connectors.customerio.store._APP_RATE", 1_000)
    with customerio_server(app_rate=1_000) as running:
        yield running


@pytest.fixture
def held(server: CustomerIOServer) -> Collections:
    return server.workspace.held_collections


@pytest.fixture
def bench(tmp_path: Path, server: CustomerIOServer) -> Bench:
    bench = Bench(tmp_path)
    bench.server = server
    bench.adjust(name="coupons", target=COUPON)
    return bench


@pytest.fixture
def keyed(bench: Bench, server: CustomerIOServer) -> Bench:
    """A collection of five rows, of which the workspace knows the key."""
    bench.feed(coupons(**(HELD | {"a": 0})))
    bench.feed(coupons(**HELD))
    server.workspace.requests.clear()
    return bench


def sent(server: CustomerIOServer) -> list[str]:
    """The requests that wrote, as method and last part of the path."""
    writing = [(method, path) for method, path in server.workspace.requests if method in ("POST", "PUT")]
    return [f"{method} {path.rpartition('/')[2]}" for method, path in writing]


def rows(server: CustomerIOServer) -> dict[str, int]:
    return {row["code"]: row["off"] for row in content(server)}


def row(code: str, off: int) -> dict[str, Any]:
    return {"code": code, "off": off}


def deleted(code: str) -> dict[str, Any]:
    return {"code": code, DELETE_FIELD: True}


# What travels


@pytest.mark.parametrize(("version", "tells"), KEYED)
def test_only_changed_rows_travel(
    bench: Bench, server: CustomerIOServer, held: Collections, version: Keyed, tells: bool
) -> None:
    held.keyed, held.tells_fields = version, tells
    bench.feed(coupons(**HELD))
    # The first change that finds the collection gives it its key.
    bench.feed(coupons(**(HELD | {"a": 0})))
    held.writes.clear()

    counts = bench.feed(coupons(**(HELD | {"b": 0, "f": 6}))).counts

    assert (counts.added, counts.changed, counts.accepted) == (1, 2, 3)
    assert rows(server) == HELD | {"b": 0, "f": 6}
    mode = {"mode": "upsert"} if version is Keyed.MODES else {}
    assert held.writes == [{**mode, "data": [row("a", 1), row("b", 0), row("f", 6)]}]
    assert sent(server).count("PUT 1") <= 1


def test_removed_rows_go_with_the_changed_ones(keyed: Bench, server: CustomerIOServer, held: Collections) -> None:
    held.writes.clear()

    keyed.feed(coupons(a=0, b=2, c=3, d=4), allow_limits=True)

    assert rows(server) == {"a": 0, "b": 2, "c": 3, "d": 4}
    assert held.writes == [{"data": [row("a", 0), deleted("e")]}]
    assert sent(server) == ["POST writes"]


@pytest.mark.parametrize("changes", [True, False])
def test_removed_rows_go_by_a_mode_of_their_own(
    keyed: Bench, server: CustomerIOServer, held: Collections, changes: bool
) -> None:
    held.keyed = Keyed.MODES
    held.writes.clear()
    left = {"a": 0 if changes else 1, "b": 2, "c": 3, "d": 4}

    keyed.feed(coupons(**left), allow_limits=True)

    assert rows(server) == left
    expected = [{"mode": "delete", "data": [deleted("e")]}]
    expected += [{"mode": "upsert", "data": [row("a", 0)]}] if changes else []
    assert held.writes == expected
    assert "PUT 1" not in sent(server)


@pytest.mark.parametrize("changes", [True, False])
def test_removed_rows_are_never_saved_by_a_workspace_that_does_not_tell_how_they_are_marked(
    keyed: Bench, server: CustomerIOServer, held: Collections, changes: bool
) -> None:
    held.tells_fields = False
    held.writes.clear()
    left = {"a": 0 if changes else 1, "b": 2, "c": 3, "d": 4}

    keyed.feed(coupons(**left), allow_limits=True)

    assert rows(server) == left
    assert DELETE_FIELD not in str(held.writes)
    assert sent(server) == ["POST writes", "PUT 1"]


def test_an_older_workspace_gets_the_whole_collection(
    bench: Bench, server: CustomerIOServer, held: Collections
) -> None:
    held.keyed = Keyed.NONE
    bench.feed(coupons(**HELD))

    for change in ({"a": 0}, {"b": 0}):
        server.workspace.requests.clear()
        bench.feed(coupons(**(HELD | change)))

        assert rows(server) == HELD | change
        assert sent(server) == ["POST writes", "PUT 1"]
    assert held.writes == []


def test_a_workspace_may_learn_and_forget_keyed_writes(
    bench: Bench, server: CustomerIOServer, held: Collections
) -> None:
    order = [Keyed.NONE, Keyed.MODES, Keyed.FIELDS, Keyed.NONE, Keyed.FIELDS, Keyed.MODES, Keyed.FIELDS]
    for turn, version in enumerate(order):
        held.keyed = version
        for name in "ab":
            wanted = HELD | {name: 10 + turn}
            if turn % 2:
                del wanted["e"]
            bench.feed(coupons(**wanted), allow_limits=True)
            assert rows(server) == wanted


@pytest.mark.parametrize("changed", [2, 3])
def test_many_changed_rows_go_with_all_the_others(
    keyed: Bench, server: CustomerIOServer, held: Collections, changed: int
) -> None:
    wanted = {name: 0 if place < changed else off for place, (name, off) in enumerate(HELD.items())}
    held.writes.clear()

    keyed.feed(coupons(**wanted), allow_limits=True)

    assert rows(server) == wanted
    # A row that stays as it is shows that nothing is queued any more.
    assert held.writes == [{"data": [row("a", 0), row("b", 0)]} if changed == 2 else {"data": [row("d", 4)]}]
    assert sent(server) == ["POST writes"] if changed == 2 else ["POST writes", "PUT 1"]


def test_more_rows_than_one_write_saves_at_once_are_several(
    bench: Bench, server: CustomerIOServer, held: Collections
) -> None:
    keys = [f"k{i:04}" for i in range(2_000)]
    for off in (0, 1):
        bench.feed(table({"code": keys, "off": [off] * len(keys)}), allow_limits=True)

    bench.feed(table({"code": keys, "off": [2] * 700 + [1] * 1_300}), allow_limits=True)

    assert [len(write["data"]) for write in held.writes] == [500, 200]
    assert [row["off"] for row in content(server)] == [2] * 700 + [1] * 1_300


def test_one_row_is_sent_alone(keyed: Bench, server: CustomerIOServer, held: Collections) -> None:
    held.writes.clear()

    keyed.feed(coupons(**(HELD | {"a": 0, "b": 0})), only=("b",))

    assert held.writes == [{"data": [row("b", 0)]}]
    assert rows(server) == HELD | {"b": 0}


def test_a_row_over_its_limit_does_not_travel(bench: Bench, server: CustomerIOServer, held: Collections) -> None:
    for first in ("y", "x"):
        bench.feed(table({"code": list("abcdef"), "text": [first, *"xxxxx"]}))
    held.writes.clear()

    bench.feed(table({"code": list("abcdef"), "text": ["x" * 10_001, "new", *"xxxx"]}))

    assert held.writes == [{"data": [{"code": "b", "text": "new"}]}]
    assert [row["text"] for row in content(server)] == ["x", "new", "x", "x", "x", "x"]
    assert set(bench.rejections()) == {"a"}


# Keys that are none


FLAGS = pa.array([True, False])
WHOLE = {
    "a key of several columns": ({"sku": ["a", "a"], "country": ["no", "se"]}, ("sku", "country")),
    "a key that is no text or number": ({"code": FLAGS}, ("code",)),
    "a key longer than it may be": ({"code": ["x" * 1_025, "b"]}, ("code",)),
    "a column named as the mark of a removed row": ({"code": ["a", "b"], DELETE_FIELD: FLAGS}, ("code",)),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_collection_whose_rows_have_no_key_of_their_own_is_replaced(
    bench: Bench, server: CustomerIOServer, held: Collections, case: str
) -> None:
    columns, key = WHOLE[case]
    bench.adjust(target=Target(entity=Entity.COLLECTION, collection="coupons", key_columns=key))
    for offs in ([1, 2], [1, 3], [1, 4]):
        bench.feed(table({**columns, "off": pa.array(offs)}))
        assert sorted(row["off"] for row in content(server)) == offs

    assert held.writes == []
    assert held.held["coupons"]["key_field"] is None


def test_a_key_under_another_name_is_none(bench: Bench, server: CustomerIOServer, held: Collections) -> None:
    bench.adjust(attributes={"name": "code", "off": "off"})
    for off in (1, 2, 3):
        bench.feed(coupons(a=off, b=0))

    assert content(server) == [{"name": "a", "off": 3}, {"name": "b", "off": 0}]
    assert held.writes == []


def test_a_key_that_is_spelled_anew_leaves_no_second_row(bench: Bench, server: CustomerIOServer) -> None:
    for code in ("a", " a", "a "):
        bench.feed(table({"code": [code, "b"], "off": [1, 2]}))
        assert [row["code"] for row in content(server)] == sorted([code, "b"])


def test_a_key_may_be_a_number(bench: Bench, server: CustomerIOServer, held: Collections) -> None:
    for off in (1, 2, 3):
        bench.feed(table({"code": [1, 2], "off": [off, 0]}))

    assert held.writes == [{"data": [{"code": 1, "off": 3}]}]
    assert content(server) == [{"code": 1, "off": 3}, {"code": 2, "off": 0}]


def test_a_collection_loses_the_key_that_its_sync_no_longer_has(
    keyed: Bench, server: CustomerIOServer, held: Collections
) -> None:
    keyed.adjust(target=Target(entity=Entity.COLLECTION, collection="coupons", key_columns=("code", "off")))

    keyed.feed(table({"code": ["a", "a"], "off": [1, 2]}), allow_limits=True)

    assert content(server) == [row("a", 1), row("a", 2)]
    assert held.held["coupons"]["key_field"] is None


# Others who write


def test_a_key_that_somebody_else_chose_is_taken_back(
    keyed: Bench, server: CustomerIOServer, held: Collections
) -> None:
    held.held["coupons"]["key_field"] = "off"

    keyed.feed(coupons(**(HELD | {"a": 0})))

    assert rows(server) == HELD | {"a": 0}
    assert sent(server) == ["PUT 1"]
    assert held.held["coupons"]["key_field"] == "code"


@pytest.mark.parametrize("theirs", [row("theirs", 1), None])
def test_a_row_that_somebody_else_adds_or_deletes_is_noticed(
    keyed: Bench, server: CustomerIOServer, held: Collections, theirs: dict[str, Any] | None
) -> None:
    found = held.held["coupons"]["data"]
    held.held["coupons"]["data"] = [*found, theirs] if theirs else found[:-1]

    keyed.feed(coupons(**(HELD | {"a": 0})))

    assert rows(server) == HELD | {"a": 0}
    assert sent(server) == ["POST writes", "PUT 1"]


def test_two_state_folders_that_feed_one_collection_take_turns(
    keyed: Bench, server: CustomerIOServer, tmp_path: Path
) -> None:
    """Nothing tells either of the other; each leaves what its own query says."""
    (tmp_path / "other").mkdir()
    other = Bench(tmp_path / "other")
    other.server = server
    other.adjust(name="coupons", target=COUPON)

    for turn in range(3):
        theirs = {"x": turn, "y": 1, "z": 2}
        other.feed(coupons(**theirs))
        assert rows(server) == theirs
        keyed.feed(coupons(**(HELD | {"a": 10 + turn})))
        assert rows(server) == HELD | {"a": 10 + turn}


# Answers


@pytest.mark.parametrize("version", [Keyed.FIELDS, Keyed.MODES])
def test_a_refused_row_has_a_reason_of_its_own_and_the_others_are_saved(
    keyed: Bench, server: CustomerIOServer, held: Collections, version: Keyed
) -> None:
    held.keyed = version
    held.refuses = lambda row: "not-on-sundays" if row["code"] == "a" else ""

    counts = keyed.feed(coupons(**(HELD | {"a": 0, "b": 0}))).counts

    assert (counts.accepted, counts.rejected) == (1, 1)
    assert keyed.rejections() == {"a": "Customer.io does not take the row: not-on-sundays"}
    assert rows(server) == HELD | {"b": 0}
    held.refuses = lambda row: ""
    keyed.feed(coupons(**(HELD | {"a": 0, "b": 0})))
    assert rows(server) == HELD | {"a": 0, "b": 0}


def test_the_reason_of_a_refused_row_has_none_of_its_values(bench: Bench, held: Collections) -> None:
    held.refuses = lambda row: f"bad value {row['text']} of {row['code']}" if row["text"] == "canary-text" else ""
    for text in ("one", "two", "canary-text"):
        bench.feed(table({"code": ["canary-code", "b"], "text": [text, "x"]}))

    assert bench.rejections() == {"canary-code": "Customer.io does not take the row: bad value [hidden] of [hidden]"}


def test_rows_that_are_refused_one_by_one_end_some_time(
    bench: Bench, server: CustomerIOServer, held: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyed_writes, "_MOST_TRIES", 3)
    wanted = {f"k{i}": i for i in range(20)}
    bench.feed(coupons(**(wanted | {"k0": 5})))
    bench.feed(coupons(**wanted))
    changed = {name: off + (off < 8) for name, off in wanted.items()}
    told: list[int] = []

    def refuses(row: dict[str, Any]) -> str:
        """The first row of each write."""
        if told[-1:] == [len(held.writes)]:
            return ""
        told.append(len(held.writes))
        return "again"

    held.refuses = refuses
    counts = bench.feed(coupons(**changed)).counts

    assert (counts.rejected, counts.accepted) == (3, 5)
    held.refuses = lambda row: ""
    bench.feed(coupons(**changed))
    assert rows(server) == changed


@pytest.mark.parametrize("fault", [LOST_BEFORE, LOST_AFTER, Fault(status=503)])
def test_a_write_whose_answer_was_lost_is_repeated(keyed: Bench, server: CustomerIOServer, fault: Fault) -> None:
    server.workspace.faults.next.append(fault)

    keyed.feed(coupons(**(HELD | {"a": 0})))

    assert rows(server) == HELD | {"a": 0}
    assert sent(server) == ["POST writes"] * 2


@pytest.mark.parametrize("fault", [LOST_BEFORE, LOST_AFTER])
def test_a_write_that_nobody_answers_for_leaves_its_rows_in_doubt(
    keyed: Bench, server: CustomerIOServer, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ATTEMPTS", 1)
    server.workspace.faults.next.append(fault)
    with pytest.raises(StoreError, match="did not answer"):
        keyed.feed(coupons(**(HELD | {"a": 0})))

    # The query is back at what was acknowledged: without the doubt nothing would be sent.
    keyed.feed(coupons(**HELD))

    assert rows(server) == HELD


def queue_for_ever(held: Collections) -> None:
    held.looks = 10_000


def forget(held: Collections) -> None:
    held.remembers = False


@pytest.mark.parametrize("happens", [queue_for_ever, forget])
def test_a_look_up_that_does_not_end_leaves_the_rows_in_doubt(
    keyed: Bench,
    server: CustomerIOServer,
    held: Collections,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Collections], None],
) -> None:
    monkeypatch.setattr(keyed_writes, "LOOKING_SECONDS", 0.05)
    happens(held)
    with pytest.raises(StoreError, match="has not told whether it took the rows"):
        keyed.feed(coupons(**(HELD | {"a": 0})))
    assert keyed.progress.notes == ["rows in doubt, which the next run sends again: 1"]
    held.looks, held.remembers = 0, True

    keyed.feed(coupons(**HELD))

    assert rows(server) == HELD
    assert keyed.feed(coupons(**HELD)).counts.unchanged == 5


@pytest.mark.parametrize("version", [Keyed.FIELDS, Keyed.MODES])
def test_a_write_that_is_still_queued_does_not_overtake_the_whole(
    keyed: Bench, server: CustomerIOServer, held: Collections, monkeypatch: pytest.MonkeyPatch, version: Keyed
) -> None:
    monkeypatch.setattr(keyed_writes, "LOOKING_SECONDS", 0.05)
    held.keyed, held.overtakes = version, True
    queue_for_ever(held)
    with pytest.raises(StoreError, match="has not told whether it took the rows"):
        keyed.feed(coupons(**(HELD | {"a": 0})))
    wanted = dict.fromkeys(HELD, 7)

    with pytest.raises(StoreError, match="has not told whether it took the rows"):
        keyed.feed(coupons(**wanted))
    assert "PUT 1" not in sent(server)
    held.looks = 0
    keyed.feed(coupons(**wanted))

    assert sent(server)[-1] == "PUT 1"
    assert rows(server) == wanted


def test_a_write_may_take_its_time(keyed: Bench, server: CustomerIOServer, held: Collections) -> None:
    held.looks = 3

    keyed.feed(coupons(**(HELD | {"a": 0})))

    assert rows(server) == HELD | {"a": 0}
    assert sent(server) == ["POST writes"]


@pytest.mark.parametrize("word", ["sorted", "failed"])
def test_an_end_that_is_not_understood_or_about_no_row_is_made_good_by_the_whole(
    keyed: Bench, server: CustomerIOServer, held: Collections, word: str
) -> None:
    held.taken = word

    counts = keyed.feed(coupons(**(HELD | {"a": 0}))).counts

    assert counts.accepted == 1
    assert rows(server) == HELD | {"a": 0}
    assert sent(server) == ["POST writes", "PUT 1"]


@pytest.mark.parametrize("status", [400, 404, 405, 409, 413, 422])
def test_a_write_that_is_refused_is_made_good_by_the_whole(keyed: Bench, server: CustomerIOServer, status: int) -> None:
    server.workspace.faults.next.append(Fault(status=status))

    keyed.feed(coupons(**(HELD | {"a": 0})))

    assert rows(server) == HELD | {"a": 0}
    assert sent(server) == ["POST writes", "PUT 1"]


def test_whoever_cancels_a_run_ends_its_look_ups(keyed: Bench, server: CustomerIOServer, held: Collections) -> None:
    queue_for_ever(held)
    began = time.monotonic()

    with keyed.connected(), ThreadPoolExecutor() as pool:
        running = pool.submit(keyed.run, coupons(**(HELD | {"a": 0})))
        while not held.writes:
            assert time.monotonic() - began < 30
            time.sleep(0.01)
        keyed.progress.token.cancel("stopped by ann")
        with pytest.raises(StoppedError, match="stopped by ann"):
            running.result()

    assert time.monotonic() - began < 20


@pytest.mark.parametrize("version", [Keyed.FIELDS, Keyed.MODES])
def test_a_run_that_is_killed_during_a_write_is_made_good_by_the_next(
    tmp_path: Path, server: CustomerIOServer, held: Collections, version: Keyed
) -> None:
    held.keyed = version
    definitions = tmp_path / "sync_definitions"
    (definitions / "data").mkdir(parents=True)
    header = "/* sync\nentity: collection\ncollection: coupons\nkey: code\n*/\n"
    (definitions / "coupons.sql").write_text(f"{header}SELECT code, off FROM coupons\n")
    settings = {"SYNCER_WAREHOUSES__DEFAULT__URL": "duckdb:///sync_definitions/data", **server.environment()}
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))

    def write(**off: int) -> None:
        lines = [f"{code},{number}" for code, number in off.items()]
        (definitions / "data/coupons.csv").write_text("\n".join(["code,off", *lines]) + "\n")

    for first in (0, 1):
        write(**(HELD | {"a": first}))
        assert forked.run("run", "coupons", folder=tmp_path, environment=ENVIRONMENT).code == 0
    queue_for_ever(held)
    write(**(HELD | {"a": 7}))
    known, printed = len(held.writes), tmp_path / "printed"
    process = forked.start(
        ("run", "coupons"), folder=tmp_path, environment=ENVIRONMENT, out=printed, err=printed
    ).process
    deadline = time.monotonic() + 60
    while len(held.writes) == known:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert process.pid is not None
    os.kill(process.pid, 9)
    process.join()
    held.looks = 0

    # The query is back at what was acknowledged, and the write of the run that died is still queued.
    write(**HELD)
    finished = forked.run("run", "coupons", "--json", folder=tmp_path, environment=ENVIRONMENT)

    assert finished.code == 0, finished.err
    assert rows(server) == HELD
    (again,) = forked.run("run", "coupons", "--json", folder=tmp_path, environment=ENVIRONMENT).objects
    assert (again["status"], again["unchanged"]) == ("success", 5)


# Histories

FAULTS = [
    LOST_BEFORE,
    LOST_AFTER,
    Fault(status=503),
    Fault(status=422),
    Fault(status=404),
    Fault(applied=True, status=200, body=b"<html>"),
    Fault(applied=True, status=500),
]


def refuse(code: str, row: dict[str, Any]) -> str:
    return "refused" if row.get("code") == code else ""


@pytest.mark.parametrize("seed", seeds(3))
def test_whatever_happens_one_clean_run_makes_the_collection_what_the_query_says(
    bench: Bench, server: CustomerIOServer, held: Collections, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workspaces that change their version, queues that stand still, rows that are refused, and others who write."""
    monkeypatch.setattr(connection, "ATTEMPTS", 2)
    monkeypatch.setattr(rate, "FAILURES_IN_A_ROW", 10_000)
    monkeypatch.setattr(keyed_writes, "LOOKING_SECONDS", 0.02)
    monkeypatch.setattr(keyed_writes, "ROWS_OF_A_WRITE", 3)
    chance = random.Random(seed)
    wanted = {f"k{i}": 0 for i in range(12)}
    for _ in range(25):
        for name in chance.sample([f"k{i}" for i in range(16)], chance.choice([1, 2, 5])):
            wanted[name] = chance.randrange(4)
        for name in [name for name in wanted if chance.random() < 0.05]:
            del wanted[name]
        held.keyed, held.tells_fields = chance.choice(list(Keyed)), chance.random() < 0.7
        held.looks = chance.choice([0, 0, 1, 1_000])
        held.refuses = partial(refuse, f"k{chance.randrange(40)}")
        if chance.random() < 0.1 and "coupons" in held.held:
            held.replace("coupons", [row("theirs", 1)], held.held["coupons"]["id"])
        server.workspace.faults.next.extend(chance.choices([None, *FAULTS], weights=[14, *[1] * len(FAULTS)], k=6))
        with suppress(StoreError):
            bench.feed(coupons(**wanted), allow_limits=True)
        server.workspace.faults.next.clear()
    held.looks, held.refuses = 0, lambda row: ""

    bench.feed(coupons(**wanted), allow_limits=True)
    # What others wrote stays until a row changes.
    bench.feed(coupons(**(wanted | {"k0": 9})), allow_limits=True)

    assert rows(server) == wanted | {"k0": 9}
    assert bench.feed(coupons(**(wanted | {"k0": 9}))).counts.unchanged == len(wanted | {"k0": 9})
