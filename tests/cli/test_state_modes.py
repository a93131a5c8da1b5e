"""Who may read what a command leaves in the state folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.acceptance.commands import Project


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
