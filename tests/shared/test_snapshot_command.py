"""`syncer snapshot`, `reset`, `forget` and `plan`, where snapshots are shared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Folder, folder
from tests.shared.machines import PERSON, Machines

__all__ = ["folder"]


@pytest.fixture
def machines(tmp_path: Path, postgres_url: str) -> Machines:
    made = Machines(path=tmp_path, run_log=postgres_url, place={"SYNCER_SNAPSHOTS_URL": f"file://{tmp_path}/place"})
    made.common.people({"1": "free", "2": "pro", "3": "free"})
    made.common.define("people", "SELECT id, plan FROM people", PERSON)
    return made


def local(machines: Machines) -> Machines:
    """The same where nothing says that snapshots are shared."""
    return Machines(path=machines.path, run_log=machines.run_log, place={})


def listed(machines: Machines, name: str = "a") -> dict[str, Any]:
    found = machines[name].run("snapshot", "list", "--json")
    assert found.code == 0, found.err
    (one,) = found.objects
    return one


def files(machines: Machines) -> list[Path]:
    return sorted(path for path in (machines.path / "place").rglob("*") if path.is_file())


def test_snapshots_are_listed(machines: Machines) -> None:
    machines["a"].ran("people")
    first = listed(machines, "b")
    machines.common.people({"1": "free", "2": "pro", "3": "pro"})
    machines["a"].ran("people")

    assert list(first) == ["sync", "where", "fence", "rows", "bytes", "deltas"]
    assert (first["where"], first["fence"], first["rows"], first["deltas"]) == (
        f"file://{machines.path}/place",
        1,
        3,
        0,
    )
    assert (
        first["bytes"] == sum(path.stat().st_size for path in files(machines) if path.name.endswith(".base.zst")) or 1
    )
    assert listed(machines)["fence"] == 2
    shown = machines["b"].run("snapshot", "list")
    assert shown.out.split()[:5] == ["sync", "where", "rows", "bytes", "deltas"]


def test_a_snapshot_moves_to_every_place_and_back_and_nothing_is_sent_again(machines: Machines) -> None:
    unset = local(machines)
    machines["a"].ran("people")
    for to in (
        "database",
        f"file://{machines.path}/other",
        "local",
        "database",
        "local",
        f"file://{machines.path}/place",
    ):
        moved = unset["a"].run("snapshot", "move", "people", "--to", to)
        assert moved.code == 0, moved.err
        assert f"The snapshot of people is {'on this machine' if to == 'local' else f'in {to}'}." in moved.out
        assert listed(unset)["where"] == to
        assert unset["a"].ran("people")["accepted"] == 0
        if to != "local":
            assert unset["b"].ran("people")["accepted"] == 0

    # Only what has no place yet goes where the setting says.
    kept = unset["a"].run("snapshot", "move", "people", "--to", "local")
    assert (kept.code, machines["a"].ran("people")["accepted"]) == (0, 0)
    assert listed(machines)["where"] == "local"
    assert unset["a"].run("snapshot", "move", "people", "--to", f"file://{machines.path}/place").code == 0
    again = unset["a"].run("snapshot", "move", "people", "--to", f"file://{machines.path}/place")
    machines.common.people({"1": "free", "2": "pro"})
    assert "was already in" in again.out
    assert unset["b"].ran("people")["removed"] == 1


def test_a_snapshot_that_is_out_of_date_or_missing_does_not_move(machines: Machines) -> None:
    unset = local(machines)
    unset["a"].ran("people")
    machines.common.people({"1": "pro", "2": "pro"})
    unset["b"].ran("people")

    outdated = unset["a"].run("snapshot", "move", "people", "--to", "database")
    moved = unset["b"].run("snapshot", "move", "people", "--to", "database")
    missing = unset["a"].run("snapshot", "move", "nobody", "--to", "database")
    no_place = unset["a"].run("snapshot", "move", "people", "--to", "ftp://x")

    assert (outdated.code, moved.code, missing.code, no_place.code) == (1, 0, 2, 2)
    assert "out of date: another machine has sent rows since" in outdated.err
    assert unset["a"].ran("people")["accepted"] == 0


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("database", "only with a run log in PostgreSQL can other machines find a snapshot"),
        ("file:///tmp/place", "only with a run log in PostgreSQL can other machines find a snapshot"),
        ("ftp://host", "--to: should be `database` or begin with"),
        ("locale", "--to: should be `database` or begin with"),
    ],
)
def test_a_snapshot_stays_where_it_is_if_nobody_could_find_it_elsewhere(folder: Folder, to: str, said: str) -> None:
    assert folder.syncer("run", "customers").code == 0

    moved = folder.syncer("snapshot", "move", "customers", "--to", to)

    assert moved.code == 2
    assert said in moved.err
    assert [one["where"] for one in folder.syncer("snapshot", "list", "--json").objects] == ["local"]
    assert folder.syncer("run", "customers", "--json").objects[0]["accepted"] == 0


def test_a_local_snapshot_becomes_shared_with_its_next_run(machines: Machines) -> None:
    local(machines)["a"].ran("people")

    unchanged = machines["a"].ran("people")

    assert unchanged["accepted"] == 0
    assert listed(machines)["where"] == f"file://{machines.path}/place"
    assert machines["b"].ran("people")["accepted"] == 0


def test_a_check_reads_every_object(machines: Machines) -> None:
    machines["a"].ran("people")
    whole = machines["b"].run("snapshot", "check", "people")
    (base,) = [
        path for path in files(machines) if path.name in machines.logged("SELECT base FROM syncer_snapshots")[0][0]
    ]
    content = base.read_bytes()

    base.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    damaged = machines["b"].run("snapshot", "check", "people", "--json")
    base.unlink()
    missing = machines["b"].run("snapshot", "check", "people")

    assert (whole.code, damaged.code, missing.code) == (0, 1, 1)
    assert "is whole" in whole.out
    assert "damaged" in damaged.objects[0]["error"]
    assert "people" in missing.err
    # This machine's copy has it all, and says so.
    assert machines["a"].ran("people")["accepted"] == 0


def test_a_reset_on_one_machine_is_one_for_all(machines: Machines) -> None:
    machines["a"].ran("people")

    reset = machines["b"].run("reset", "people", "--yes")

    assert reset.code == 0
    assert "Deleted the snapshot of people" in reset.out
    assert not machines.logged("SELECT base FROM syncer_snapshots WHERE base IS NOT NULL")
    assert machines["a"].ran("people")["accepted"] == 3
    assert machines["b"].ran("people")["accepted"] == 0


def test_who_is_forgotten_is_in_no_object_any_more(machines: Machines) -> None:
    machines.common.people({"1": "free", "mallory-42": "plan-of-mallory", "3": "free"})
    machines["a"].ran("people")
    machines.common.people({"1": "free", "mallory-42": "other-of-mallory", "3": "free"})
    machines["a"].ran("people")
    assert any(b"mallory" in content(path) for path in files(machines))

    forgotten = machines["b"].run("forget", "person", "--id", "mallory-42")

    assert forgotten.code == 0, forgotten.err
    assert [path.name for path in files(machines) if b"mallory" in content(path)] == []
    machines.common.people({"1": "free", "3": "free"})
    assert machines["a"].ran("people")["accepted"] == 0


def content(path: Path) -> bytes:
    """What an object has, without compression."""
    if path.name.endswith(".parquet"):
        return b"".join(pq.read_table(path)["bytes"].to_pylist())
    if path.name.endswith(".zst"):
        with pa.CompressedInputStream(str(path), "zstd") as stream:
            return bytes(stream.read())
    return path.read_bytes()


def test_a_plan_on_another_machine_is_of_what_is_current(machines: Machines) -> None:
    machines["a"].ran("people")
    machines.common.people({"1": "pro", "2": "pro", "3": "free"})

    planned = machines["b"].run("plan", "people", "--json")
    verified = machines["b"].run("verify", "people", "--json")
    shutil.rmtree(machines["b"].path / ".syncer")
    explained = machines["b"].run("explain", "person", "1", "--json")

    assert (planned.code, verified.code, explained.code) == (0, 0, 0)
    assert planned.objects[0]["changed"] == 1
    assert verified.objects[0]["equal"] == 3
    assert "people" in explained.out


def test_what_is_repaired_on_one_machine_is_sent_by_any(machines: Machines) -> None:
    machines["a"].ran("people")
    _delete_from_store(machines, "2")

    repaired = machines["b"].run("verify", "people", "--repair", "--json")

    assert repaired.objects[0]["repaired"] == 1
    assert machines["a"].ran("people")["accepted"] == 1
    assert machines.stored() == {"1", "2", "3"}


def _delete_from_store(machines: Machines, person: str) -> None:
    import sqlite3

    with sqlite3.connect(machines.path / "common/profiles.db") as connection:
        connection.execute("DELETE FROM people WHERE id = ?", [person])
