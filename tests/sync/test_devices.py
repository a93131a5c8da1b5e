"""Devices in runs: tokens that move, what makes a device, and which rows cannot be sent."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.errors import QueryResultError, StoreError
from syncer.model.types import Counts, DeviceFields, Entity, Limit, Limits, OnRemoved, PersonKey, Platform, Target
from syncer.snapshot.snapshot import Snapshot
from syncer.sync.progress import HeldError
from tests.workbench import Workbench, definition

DEVICES = Target(entity=Entity.DEVICE, person_key=PersonKey.ID, key_columns=("id", "token"))
IOS = DeviceFields(platform=Platform.IOS)


def bench_of(folder: Path, **fields: Any) -> Workbench:
    defaults: dict[str, Any] = {"name": "devices", "target": DEVICES, "device": IOS, "on_removed": OnRemoved.DELETE}
    return Workbench(folder, definition(**(defaults | fields)))


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """A sync of devices that deletes what left the result."""
    return bench_of(tmp_path, limits=Limits(removed=Limit(count=1), allow_empty=True))


@pytest.fixture
def partial(tmp_path: Path) -> Workbench:
    """The same by an incremental query."""
    return bench_of(tmp_path, on_removed=OnRemoved.KEEP, incremental=True)


def devices(*rows: tuple[str | None, str | None, str]) -> pa.Table:
    """A result: person, token, model."""
    columns = zip(("id", "token", "model"), zip(*rows, strict=True) if rows else [[], [], []], strict=True)
    return pa.table({name: pa.array([*values], pa.string()) for name, values in columns})


def owners(bench: Workbench) -> dict[str, str]:
    """Who has which token in the store."""
    return {token: held["person"] for token, held in bench.store.devices.items()}


def rejected(bench: Workbench) -> dict[str, str]:
    """Keys and reasons."""
    with bench.opened() as snapshot:
        return {row.key: row.reason for row in snapshot.rejections(100)[0]}


def test_only_what_changed_is_sent(bench: Workbench) -> None:
    first = bench.run(devices(("1", "t1", "a"), ("1", "t2", "a"), ("2", "t3", "a")))
    same = bench.run(devices(("2", "t3", "a"), ("1", "t1", "a"), ("1", "t2", "a")))
    changed = bench.run(devices(("1", "t1", "b"), ("2", "t3", "a")))

    assert first.counts == Counts(queried=3, added=3, accepted=3)
    assert same.counts == Counts(queried=3, unchanged=3)
    assert changed.counts == Counts(queried=2, changed=1, removed=1, unchanged=1, accepted=2)
    assert bench.store.devices["t1"] == {"person": "1", "platform": "ios", "model": "b"}
    assert owners(bench) == {"t1": "1", "t3": "2"}


def test_nothing_is_staged_of_devices_that_did_not_change(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(str(n), f"t{n}", "a") for n in range(50)]
    bench.run(devices(*rows))
    staged: list[int] = []
    original = Snapshot.stage

    def stage(snapshot: Snapshot, *given: Any, **options: Any) -> Any:
        found = original(snapshot, *given, **options)
        staged.append(snapshot.ledger.session.count("SELECT count(*) FROM staged"))
        return found

    monkeypatch.setattr(Snapshot, "stage", stage)
    bench.run(devices(*rows))
    bench.run(devices(("0", "t0", "b"), *rows[1:]))

    assert staged == [0, 1]


def test_a_token_that_moves_is_removed_and_added_in_one_run_and_no_limit_counts_it(bench: Workbench) -> None:
    bench.run(devices(*((str(n), f"t{n}", "a") for n in range(4))))
    taken = len(bench.store.taken)

    moved = bench.run(devices(("1", "t0", "a"), ("2", "t1", "a"), ("0", "t2", "a"), ("3", "t3", "a")))

    assert moved.counts == Counts(queried=4, added=3, removed=3, unchanged=1, accepted=6)
    assert [action for action, _ in bench.store.taken[taken:]] == ["delete"] * 3 + ["put"] * 3
    assert owners(bench) == {"t0": "1", "t1": "2", "t2": "0", "t3": "3"}
    assert any("devices that belong to somebody else now" in note and note.endswith(": 3") for note in moved.notes)


def test_a_device_that_leaves_counts_for_the_limit_beside_others_that_move(bench: Workbench) -> None:
    bench.run(devices(*((str(n), f"t{n}", "a") for n in range(4))))

    with pytest.raises(HeldError, match="2 of 4 rows"):
        bench.run(devices(("1", "t0", "a"), ("1", "t1", "a")))

    assert owners(bench) == {f"t{n}": str(n) for n in range(4)}


def test_the_removal_of_a_device_that_moved_is_answered_before_it_is_sent_for_somebody_else(bench: Workbench) -> None:
    bench.store.behind = 5
    bench.run(devices(("1", "t1", "a"), ("2", "t2", "a")))

    bench.run(devices(("2", "t1", "a"), ("1", "t2", "a")))

    assert owners(bench) == {"t1": "2", "t2": "1"}


def test_a_token_that_stays_in_doubt_between_two_people_ends_where_the_result_has_it(bench: Workbench) -> None:
    bench.run(devices(("1", "t1", "a")))
    bench.store.strikes_at, bench.store.fault = 1, "after"
    with pytest.raises(StoreError):
        bench.run(devices(("2", "t1", "a")))
    bench.store.strikes_at = None

    bench.run(devices(("1", "t1", "a")))

    assert owners(bench) == {"t1": "1"}


def test_rows_of_several_people_with_one_token_are_rejected_and_nothing_else_is_lost(bench: Workbench) -> None:
    bench.run(devices(("1", "t1", "a"), ("2", "t2", "a")))

    disputed = bench.run(devices(("1", "t1", "a"), ("3", "t1", "a"), ("2", "t2", "b"), ("4", "t4", "a")))

    assert disputed.counts == Counts(queried=4, added=1, changed=1, accepted=2, rejected=2)
    reason = "rows of several people have this token"
    assert rejected(bench) == {'["1","t1"]': reason, '["3","t1"]': reason}
    assert owners(bench) == {"t1": "1", "t2": "2", "t4": "4"}

    settled = bench.run(devices(("3", "t1", "a"), ("2", "t2", "b"), ("4", "t4", "a")))
    assert settled.counts == Counts(queried=3, added=1, removed=1, unchanged=2, accepted=2)
    assert (owners(bench)["t1"], rejected(bench)) == ("3", {})


def test_a_row_that_stands_twice_counts_once_also_beside_one_of_somebody_else(bench: Workbench) -> None:
    bench.run(devices(("1", "t1", "a"), ("2", "t2", "a")))

    found = bench.run(devices(("1", "t1", "a"), ("1", "t1", "a"), ("3", "t1", "a"), ("2", "t2", "a")))

    assert found.counts.rejected == 2
    assert {*rejected(bench)} == {'["1","t1"]', '["3","t1"]'}
    assert owners(bench) == {"t1": "1", "t2": "2"}


def test_a_row_without_a_person_or_a_token_leaves_its_neighbours_alone(bench: Workbench) -> None:
    bench.run(devices((None, "t1", "a"), ("1", "t1", "a"), ("2", None, "a"), ("3", " ", "a"), ("4", "x" * 1_001, "a")))

    with bench.opened() as snapshot:
        reasons = sorted(row.reason for row in snapshot.rejections(100)[0])
    assert reasons == ["`id` is NULL", "`token` is NULL", "`token` is blank", "`token` is longer than 1000 bytes"]
    assert owners(bench) == {"t1": "1"}


def test_with_keep_a_token_moves_and_one_that_left_stays(bench: Workbench) -> None:
    bench.adjust(on_removed=OnRemoved.KEEP)
    bench.run(devices(("1", "t1", "a"), ("1", "t2", "a")))

    bench.run(devices(("2", "t1", "a")))
    assert owners(bench) == {"t1": "2", "t2": "1"}

    bench.run(devices(("1", "t1", "a")))
    assert owners(bench) == {"t1": "1", "t2": "1"}


def test_an_incremental_result_moves_a_token_there_and_back(partial: Workbench) -> None:
    partial.run(devices(("1", "t1", "a"), ("1", "t2", "a")))

    partial.run(devices(("2", "t1", "a")))
    assert owners(partial) == {"t1": "2", "t2": "1"}

    back = partial.run(devices(("1", "t1", "a")))
    assert (owners(partial), back.counts.added) == ({"t1": "1", "t2": "1"}, 1)
    assert partial.run(devices(("1", "t1", "a"))).counts == Counts(queried=1, unchanged=1)


def test_an_incremental_result_with_a_token_twice_is_rejected_though_one_row_did_not_change(partial: Workbench) -> None:
    partial.run(devices(("1", "t1", "a"), ("1", "t2", "a")))

    partial.run(devices(("1", "t1", "a"), ("2", "t1", "a")))

    assert {*rejected(partial)} == {'["1","t1"]', '["2","t1"]'}
    assert owners(partial) == {"t1": "1", "t2": "1"}


def test_a_refused_row_does_not_take_a_token_back_that_went_on_meanwhile(partial: Workbench) -> None:
    partial.store.refuses = lambda key: key[0] == "1"
    partial.run(devices(("1", "t1", "a"), ("3", "t3", "a")))
    partial.store.refuses = lambda key: False

    partial.run(devices(("2", "t1", "a")))
    partial.run(devices())

    assert owners(partial) == {"t1": "2", "t3": "3"}
    assert rejected(partial) == {}


@pytest.mark.parametrize(
    ("seen", "stored"),
    [
        (pa.array([datetime(2026, 1, 2, 3, tzinfo=UTC)]), "2026-01-02T03:00:00+00:00"),
        (pa.array([datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)]), "2026-01-02T03:04:05.600000+00:00"),
        (pa.array([date(2026, 1, 2)]), "2026-01-02T00:00:00+00:00"),
        (pa.array(["2026-01-02T03:00:00+01:00"]), "2026-01-02T02:00:00+00:00"),
        (pa.array([None], pa.timestamp("us")), None),
    ],
    ids=str,
)
def test_a_time_of_any_kind_is_a_time(tmp_path: Path, seen: pa.Array, stored: str | None) -> None:
    bench = bench_of(tmp_path, device=DeviceFields(platform_column="os", last_used="seen"))
    result = pa.table({"id": ["1"], "token": ["t1"], "os": [" iOS "], "seen": seen})

    bench.run(result)

    assert bench.store.devices["t1"] == {"person": "1", "platform": "ios", "last_used": stored}
    assert bench.run(result).counts == Counts(queried=1, unchanged=1)


def test_rows_whose_platform_or_time_is_none_are_rejected(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, device=DeviceFields(platform_column="os", last_used="seen"))

    bench.run(
        pa.table(
            {
                "id": ["1", "2", "3", "4", "5"],
                "token": ["t1", "t2", "t3", "t4", "t5"],
                "os": ["ios", "windows", None, "android", "ios"],
                "seen": ["2026-01-01", None, None, "yesterday", "1969-12-31"],
            }
        )
    )

    assert rejected(bench) == {
        '["2","t2"]': "`os` is neither `ios` nor `android`",
        '["3","t3"]': "`os` is neither `ios` nor `android`",
        '["4","t4"]': "`seen` is no time since 1970",
        '["5","t5"]': "`seen` is no time since 1970",
    }
    assert owners(bench) == {"t1": "1"}


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (DeviceFields(platform_column="number"), "kind integer, which is no platform"),
        (DeviceFields(platform=Platform.IOS, last_used="number"), "kind integer, which is no time"),
    ],
)
def test_a_column_of_another_kind_is_an_error(tmp_path: Path, device: DeviceFields, message: str) -> None:
    bench = bench_of(tmp_path, device=device)

    with pytest.raises(QueryResultError, match=message):
        bench.run(pa.table({"id": ["1"], "token": ["t1"], "number": [1]}))


def test_another_platform_in_the_header_is_a_change_of_every_row(bench: Workbench) -> None:
    rows = devices(("1", "t1", "a"), ("2", "t2", "a"))
    bench.run(rows)

    bench.adjust(device=DeviceFields(platform=Platform.ANDROID))

    assert bench.run(rows).counts == Counts(queried=2, changed=2, accepted=2)
    assert {held["platform"] for held in bench.store.devices.values()} == {"android"}
