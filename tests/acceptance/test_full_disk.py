"""What becomes of a run where the disk of the state folder, or of the store beside it, is full."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.acceptance.commands import Project
from tests.acceptance.contents import Attributes, held
from tests.cli.forked import Result

PERSON = "entity: person\nperson: {id: id}\non_removed: delete\nlimits: {removed: 100%}"
ROWS = 15_000

#: Bytes that are left: from too few for anything to enough for the first steps of sending.
ROOM = [0, 20_000, 200_000, 700_000, 1_500_000, 2_500_000]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A small disk at the state folder; without the right to mount one, a limit on the size of each file."""

    project: Project
    is_mounted: bool

    @property
    def folder(self) -> Path:
        return self.project.path / ".syncer"

    def run(self, *, room: int) -> Result:
        """Run the sync where only *room* bytes are left."""
        if not self.is_mounted:
            largest = max(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
            return replace(self.project, file_limit=largest + room // 4).syncer("run", "people", "--json")
        with self.filled(room):
            return self.project.syncer("run", "people", "--json")

    @contextmanager
    def filled(self, room: int) -> Iterator[None]:
        ballast = self.folder / "ballast"
        size = os.statvfs(self.folder)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, size.f_bavail * size.f_bsize - room))
        try:
            yield
        finally:
            ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A folder with a disk of its own for its state."""
    project = Project(path=tmp_path, environment={"SYNCER_STORES__DEFAULT__URL": f"sqlite:///{tmp_path}/profiles.db"})
    project.define("people", PERSON, "SELECT id, plan FROM people")
    state = tmp_path / ".syncer"
    state.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", str(state)]
    is_mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield Disk(project=project, is_mounted=is_mounted)
    finally:
        if is_mounted:
            subprocess.run(["umount", str(state)], check=True)


def write_people(project: Project, *, seed: int, first: int = 0) -> dict[str, Attributes]:
    """Fill the warehouse's table; returns what the store shall hold. Plans hardly compress."""
    chance = random.Random(seed)
    people = {str(n): {"plan": f"{chance.getrandbits(256):x}-"} for n in range(first, first + ROWS)}
    project.table("people", "id,plan", *(f"{key},{person['plan']}" for key, person in people.items()))
    return people


def held_people(project: Project) -> dict[str, Attributes]:
    return dict(held(project.environment["SYNCER_STORES__DEFAULT__URL"]).people)


def assert_told_and_made_good(disk: Disk, before: dict[str, Attributes], after: dict[str, Attributes]) -> None:
    """However little room a run has, it tells of it, and one with room makes the store agree with the query."""
    project = disk.project
    failed = 0
    for room in ROOM:
        ended = disk.run(room=room)

        told = ended.out + ended.err
        if ended.code:
            failed += 1
            assert ended.code == 1, told
            assert "\nerror: " in f"\n{ended.err}", told
            if disk.is_mounted:
                assert "full" in ended.err, told
                assert "Free some space" in ended.err or "Free space" in ended.err, told
        stored = held_people(project)
        assert all(person in (before.get(key), after.get(key)) for key, person in stored.items())
        assert before.keys() & after.keys() <= stored.keys()
    assert failed >= 3
    (run,) = project.syncer("run", "people", "--json").objects
    assert run["status"] == "success"
    assert held_people(project) == after
    (again,) = project.syncer("run", "people", "--json").objects
    assert (again["unchanged"], again["accepted"]) == (ROWS, 0)
    assert {run["status"] for run in project.syncer("runs", "--json").objects} <= {"success", "failed", "interrupted"}


@pytest.mark.parametrize("log_elsewhere", [False, True], ids=["run log beside it", "run log elsewhere"])
def test_a_full_disk_of_the_state_folder_loses_nothing(disk: Disk, log_elsewhere: bool) -> None:
    project = disk.project
    if log_elsewhere:
        project.environment["SYNCER_DATABASE_URL"] = f"sqlite:///{project.path}/runs.db"
    before = write_people(project, seed=1)
    assert project.syncer("run", "people").code == 0
    after = write_people(project, seed=2, first=ROWS // 3)

    assert_told_and_made_good(disk, before, after)


@pytest.mark.early
def test_a_full_disk_below_the_store_too_loses_nothing(disk: Disk) -> None:
    project = disk.project
    project.environment["SYNCER_STORES__DEFAULT__URL"] = f"sqlite:///{disk.folder}/profiles.db"
    before = write_people(project, seed=1)
    assert project.syncer("run", "people").code == 0
    after = write_people(project, seed=2, first=ROWS // 3)

    assert_told_and_made_good(disk, before, after)


def test_a_first_run_on_a_full_disk_can_be_repeated(disk: Disk) -> None:
    project = disk.project
    after = write_people(project, seed=1)
    (disk.folder / "other").write_bytes(b"x")

    ended = disk.run(room=8_192)

    assert ended.code == 1
    assert "error: " in ended.err
    assert not (project.path / "profiles.db").exists() or held_people(project) == {}
    assert project.syncer("run", "people").code == 0
    assert held_people(project) == after
