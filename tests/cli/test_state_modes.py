"""Who may read what a command leaves in the state folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance import contents
from tests.acceptance.commands import Project
from tests.cli import forked
from tests.cli.forked import Result
from tests.cli.other_user import User
from tests.fixtures.earlier_versions import unpack
from tests.fixtures.test_earlier_versions import IN_DOUBT


@pytest.mark.parametrize(("of_folder", "folders", "files"), [(0o755, 0o700, 0o600), (0o775, 0o770, 0o660)])
def test_only_the_owner_and_a_group_that_may_write_read_the_state(
    tmp_path: Path, of_folder: int, folders: int, files: int
) -> None:
    project = Project(path=tmp_path)
    project.table("people", "id,plan", "1,free")
    project.define("people", "entity: person\nperson: {id: id}", "SELECT id, plan FROM people")
    state = tmp_path / ".syncer"
    (state / "snapshots").mkdir(parents=True)
    state.chmod(of_folder)
    (state / "snapshots").chmod(0o755)
    earlier = state / "snapshots/other.duckdb.previous-20990101T000000000000"
    earlier.write_bytes(b"rows of an earlier version")
    earlier.chmod(0o644)
    outside = tmp_path / "outside"
    outside.write_text("not of Syncer")
    outside.chmod(0o644)
    (state / "link").symlink_to(outside)

    before = os.umask(0o022)
    try:
        assert project.syncer("run", "people").code == 0
    finally:
        os.umask(before)

    found = [path for path in (state, *state.rglob("*")) if not path.is_symlink()]
    assert {"runs.db", "profiles.db", "people.duckdb"} <= {path.name for path in found}
    for path in found:
        assert path.stat().st_mode & 0o777 == (folders if path.is_dir() else files), path
    assert outside.stat().st_mode & 0o777 == 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A folder of a container that is the state folder."""

    folder: Path

    def syncer(self, user: User, *words: str) -> Result:
        """Run a command as this user, in a folder where it can only read."""
        environment = {"SYNCER_STATE_DIR": str(self.folder), "SYNCER_STORES__DEFAULT__URL": self.store}
        return forked.run(*words, folder=self.folder.parent, environment=environment, before=user.become)

    @property
    def store(self) -> str:
        return f"sqlite:///{self.folder}/profiles.db"

    def mounted(self, mode: int, *, uid: int = 0, gid: int = 0) -> None:
        """As an orchestrator mounts it, with what a new file system has."""
        self.folder.mkdir()
        (self.folder / "lost+found").mkdir(mode=0o700)
        os.chown(self.folder, uid, gid)
        self.folder.chmod(mode)

    def files(self) -> list[Path]:
        """All that commands made."""
        return [path for path in self.folder.rglob("*") if path.name != "lost+found"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can enter, unlike tmp_path."""
    if os.geteuid() != 0:
        pytest.skip("only root can start processes of another user")
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture
def volume(open_folder: Path) -> Volume:
    project = Project(path=open_folder)
    project.table("people", "id,plan", "1,free")
    project.define("people", "entity: person\nperson: {id: id}", "SELECT id, plan FROM people")
    return Volume(folder=open_folder / "state")


OPENSHIFT = User(uid=1_000_650_000, gid=0)
IMAGE = User(uid=10_001, gid=10_001, groups=(2000,))


@pytest.mark.parametrize(
    ("mode", "gid", "user", "group"),
    [
        (0o2775, 0, OPENSHIFT, 0),
        (0o770, 0, OPENSHIFT, 0),
        (0o777, 0, OPENSHIFT, 0),
        (0o1777, 0, IMAGE, 10_001),
        (0o2770, 2000, IMAGE, 2000),
    ],
)
def test_a_state_folder_of_root_is_used_by_whoever_may_write_it(
    volume: Volume, mode: int, gid: int, user: User, group: int
) -> None:
    volume.mounted(mode, gid=gid)

    ran = volume.syncer(user, "run", "people")
    assert (ran.code, ran.err) == (0, "")
    assert volume.folder.stat().st_mode & 0o7777 == mode
    assert {"runs.db", "profiles.db", "people.duckdb"} <= {path.name for path in volume.files()}
    for path in volume.files():
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (user.uid, group), path
        assert found.st_mode & 0o777 == (0o770 if path.is_dir() else 0o660), path


@pytest.mark.parametrize(("mode", "gid"), [(0o777, 0), (0o2770, 2000)])
def test_what_another_user_left_is_used_where_the_group_may_write_it(volume: Volume, mode: int, gid: int) -> None:
    volume.mounted(mode, gid=gid)
    users = [User(uid=uid, gid=0, groups=(2000,)) for uid in (1_000_650_000, 1_000_660_000)]
    assert volume.syncer(users[0], "run", "people").code == 0
    volume.folder.parent.joinpath("sync_definitions/sample_data/people.csv").write_text("id,plan\n1,pro\n2,free\n")

    ran = volume.syncer(users[1], "run", "people", "--json")
    assert (ran.code, ran.objects[0]["added"], ran.objects[0]["changed"]) == (0, 1, 1)
    again = volume.syncer(users[0], "run", "people", "--json")
    assert (again.code, again.objects[0]["unchanged"]) == (0, 2)


def test_what_an_earlier_version_left_to_another_user_is_used_where_the_group_may_write_it(open_folder: Path) -> None:
    volume = Volume(folder=unpack("format_2", open_folder).path / ".syncer")
    # As Kubernetes changes a volume of `fsGroup: 2000`.
    for path in (volume.folder, *volume.folder.rglob("*")):
        os.chown(path, 10_002, 2000)
        path.chmod(0o2770 if path.is_dir() else 0o664)
    stored = contents.held(volume.store)

    runs = volume.syncer(IMAGE, "run", "--all", "--json").objects
    assert {run["sync"] for run in runs if run["status"] == "failed"} == {"failed"}
    assert {run["sync"] for run in runs if run["accepted"]} == IN_DOUBT.keys()
    assert contents.held(volume.store) == stored


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "user"),
    [
        (0o755, 0, 0, OPENSHIFT),
        (0o770, 0, 3000, IMAGE),
        # Root could, and would leave files that their owner cannot open.
        (0o700, 10_001, 10_001, User(uid=0, gid=0)),
    ],
)
def test_a_state_folder_that_this_user_may_not_write_is_refused(
    volume: Volume, mode: int, uid: int, gid: int, user: User
) -> None:
    volume.mounted(mode, uid=uid, gid=gid)

    ran = volume.syncer(user, "run", "people")
    assert ran.code == 2
    assert f"SYNCER_STATE_DIR: {volume.folder} belongs to another user, and this one may not write it" in ran.err
    assert f"user {user.uid}" in ran.err
    assert not volume.files()


def test_a_state_folder_with_a_file_that_everybody_reads_is_refused(volume: Volume) -> None:
    volume.mounted(0o2775)
    readable = volume.folder / "snapshots" / "people.duckdb"
    readable.parent.mkdir(mode=0o775)
    readable.touch()
    readable.chmod(0o664)

    ran = volume.syncer(OPENSHIFT, "run", "people")
    assert ran.code == 2
    assert f"SYNCER_STATE_DIR: everybody may read {readable}" in ran.err
    assert "o-rwx" in ran.err

    # Nobody else gets there.
    readable.parent.chmod(0o2770)
    readable.unlink()
    (readable.parent / "note").touch()
    (readable.parent / "note").chmod(0o664)
    assert volume.syncer(OPENSHIFT, "run", "people").code == 0
