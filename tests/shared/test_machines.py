"""Machines take turns with one sync: each goes on where the other one ended, wherever their snapshots are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncer.model.errors import RunInProgressError
from syncer.settings.settings import Settings, load
from syncer.shared.moving import move
from syncer.shared.place import Place
from syncer.shared.snapshot import SharedSnapshot
from syncer.shared.snapshots import SharedSnapshots
from syncer.state.database import StateDatabase
from syncer.state.pointers import Pointer, Pointers
from tests.shared.conftest import KEY_ID, SECRET, Bucket
from tests.shared.machines import OBJECT, PERSON, Machines


@pytest.fixture(params=["database", "file", "s3"])
def machines(request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str) -> Machines:
    place = {"SYNCER_SNAPSHOTS_URL": request.param}
    if request.param == "file":
        place = {"SYNCER_SNAPSHOTS_URL": f"file://{tmp_path}/place"}
    if request.param == "s3":
        bucket: Bucket = request.getfixturevalue("bucket")
        login = {"SYNCER_SNAPSHOTS__KEY_ID": KEY_ID, "SYNCER_SNAPSHOTS__SECRET": SECRET}
        place = {"SYNCER_SNAPSHOTS_URL": bucket.url, **login}
    made = Machines(path=tmp_path, run_log=postgres_url, place=place)
    made.common.people({"1": "free", "2": "pro", "3": "free"})
    made.common.define("people", "SELECT id, plan FROM people", PERSON)
    return made


def settings_of(machines: Machines, name: str) -> Settings:
    return load(machines[name].path, {**machines[name].variables})


@contextmanager
def shared(machines: Machines, name: str = "a", *, ahead: timedelta = timedelta()) -> Iterator[SharedSnapshots]:
    """The snapshots as one machine sees them."""
    database = StateDatabase(machines.run_log)
    try:
        settings = settings_of(machines, name)
        yield SharedSnapshots(settings=settings, database=database, now=lambda: datetime.now(UTC) + ahead)
    finally:
        database.close()


def objects(machines: Machines) -> set[str]:
    """The names of all objects in the place."""
    with shared(machines) as found:
        return {one.name for one in place_of(found).objects()}


def place_of(found: SharedSnapshots) -> Place:
    return found.place(found.pointers.of("people"))


def test_each_machine_goes_on_where_the_other_ended(machines: Machines) -> None:
    first = machines["a"].ran("people")
    unchanged = machines["b"].ran("people")
    machines.common.people({"1": "pro", "2": "pro", "4": "free"})
    changed = machines["b"].ran("people")
    again = machines["a"].ran("people")
    machines.common.people({"1": "pro", "4": "free"})
    shutil.rmtree(machines["a"].path / ".syncer")
    anew = machines["a"].ran("people")

    assert (first["added"], first["accepted"]) == (3, 3)
    assert (unchanged["unchanged"], unchanged["accepted"]) == (3, 0)
    assert (changed["added"], changed["changed"], changed["removed"], changed["accepted"]) == (1, 1, 1, 3)
    assert (again["unchanged"], again["accepted"]) == (3, 0)
    assert (anew["removed"], anew["unchanged"], anew["accepted"]) == (1, 2, 1)
    assert machines.stored() == {"1", "4"}


def test_a_run_that_changed_nothing_puts_nothing(machines: Machines) -> None:
    machines["a"].ran("people")
    before = objects(machines)

    for name in ("a", "b", "a", "b"):
        machines[name].ran("people")

    assert objects(machines) == before


def test_who_was_overtaken_moves_no_pointer(machines: Machines) -> None:
    machines["a"].ran("people")
    with shared(machines, "a") as ours, shared(machines, "b") as theirs:
        stale = ours.take("people")
        with stale.following():
            # As it writes down what it is about to send, another machine takes the sync.
            _write_into(stale)
            newer = theirs.take("people")
            before = theirs.pointers.of("people")

            with pytest.raises(RunInProgressError, match="another run of `people`"):
                stale.intended()

        assert theirs.pointers.of("people") == before
        with newer.following():
            _write_into(newer)
            newer.intended()
        assert theirs.pointers.of("people").objects[-1].name.endswith(".intent.parquet")


@pytest.mark.parametrize("ends", ["reset", "moved here"])
def test_what_a_run_takes_meanwhile_is_not_deleted(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    machines["a"].ran("people")
    with shared(machines, "a") as ours, shared(machines, "b") as theirs:
        take = Pointers.take

        def taken_once_more(pointers: Pointers, sync: str) -> Pointer:
            mine = take(pointers, sync)
            take(theirs.pointers, sync)
            return mine

        monkeypatch.setattr(Pointers, "take", taken_once_more)
        with pytest.raises(RunInProgressError, match="another run of `people`"):
            ours.forget("people") if ends == "reset" else move(ours, "people", "local")
    monkeypatch.undo()

    assert machines["b"].ran("people")["accepted"] == 0


def _write_into(snapshot: SharedSnapshot) -> None:
    log = snapshot.path.with_name(f"{snapshot.path.name}.wal")
    log.write_bytes(b"what a run wrote down")


def test_a_former_definition_is_known_to_every_machine(machines: Machines) -> None:
    machines.common.define("teams", "SELECT id, plan FROM people", OBJECT)
    machines["a"].ran("teams")
    machines.common.define("teams", "SELECT id, plan FROM people", OBJECT.replace("team", "club"))
    shutil.rmtree(machines["a"].path / ".syncer")

    moved = machines["b"].ran("teams")

    assert (moved["added"], moved["removed"]) == (3, 3)
    assert machines.stored("objects", "object_type") == {"club"}


def test_a_file_that_was_renamed_is_known_to_every_machine(machines: Machines) -> None:
    machines["a"].ran("people")
    (machines.common.path / "sync_definitions/people.sql").unlink()
    machines.common.define("persons", "SELECT id, plan FROM people", PERSON)
    machines.common.people({"1": "free", "2": "pro"})

    machines["b"].ran("persons")

    assert machines.stored() == {"1", "2"}
    with shared(machines) as found:
        assert found.syncs() == ["persons"]


def test_what_no_snapshot_needs_goes_after_a_day(machines: Machines, tmp_path: Path) -> None:
    machines["a"].ran("people")
    machines.common.people({"1": "pro", "2": "pro", "3": "pro"})
    machines["a"].ran("people")
    (tmp_path / "spare").write_bytes(b"of a run that died")
    with shared(machines) as found:
        kept, place = found.pointers.of("people").names, place_of(found)
        assert {one.name for one in place.objects()} == kept
        place.put(f"{found.database.log_id}/people/spare.intent.parquet", tmp_path / "spare")
        place.put("another run log/people/base.zst", tmp_path / "spare")
        assert found.delete_orphans() == 0
    with shared(machines, ahead=timedelta(days=2)) as found:
        assert found.delete_orphans() == 1

    assert objects(machines) == {*kept, "another run log/people/base.zst"}
    assert machines["b"].ran("people")["accepted"] == 0


def test_without_its_place_a_run_sends_nothing(machines: Machines) -> None:
    machines["a"].ran("people")
    machines.common.people({"1": "pro"})
    login = {"SYNCER_SNAPSHOTS__KEY_ID": KEY_ID, "SYNCER_SNAPSHOTS__SECRET": SECRET}
    away = {"SYNCER_SNAPSHOTS_URL": "s3://bucket/x?endpoint=http://127.0.0.1:9&region=x", **login}
    with shared(machines) as found, found.database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE syncer_snapshots SET place = '{away['SYNCER_SNAPSHOTS_URL']}'")

    failed = [machines[name].run("run", "people", "--json", **away) for name in ("a", "b")]

    assert [ran.code for ran in failed] == [1, 1]
    assert all("127.0.0.1:9" in ran.objects[0]["error"] for ran in failed)
    assert not any(SECRET in ran.out + ran.err for ran in failed)
    assert machines.stored() == {"1", "2", "3"}
