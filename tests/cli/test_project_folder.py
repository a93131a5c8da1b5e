"""Where a command finds its project."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncer.settings.project_folder import project_folder
from tests.cli.conftest import Folder


def test_a_command_works_from_a_sub_folder_as_from_the_project(folder: Folder) -> None:
    deep = Folder(path=folder.path / "sync_definitions" / "sample_data")

    ran = deep.syncer("run", "--all", "--json")
    from_above = folder.syncer("run", "--all", "--json")

    assert (ran.code, ran.objects[0]["added"]) == (0, 3)
    assert from_above.objects[0]["unchanged"] == 3
    assert not (deep.path / ".syncer").exists()


def test_another_folder_can_be_named(folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = Folder(path=tmp_path_factory.mktemp("elsewhere"))

    listed = elsewhere.syncer("-C", str(folder.path), "list", "--json")
    missing = elsewhere.syncer("-C", "nowhere", "list")

    assert [sync["sync"] for sync in listed.objects] == ["customers"]
    assert missing.code == 2
    assert "nowhere: No such file or directory" in missing.err


@pytest.mark.parametrize("command", ["list", "validate", "plan x", "runs", "pause x", "connections", "serve"])
def test_without_a_project_a_command_ends_with_2_and_creates_nothing(tmp_path: Path, command: str) -> None:
    ran = Folder(path=tmp_path).syncer(*command.split())

    assert ran.code == 2
    assert "is in no project: neither it nor a folder above has `syncer.toml` or `sync_definitions/`" in ran.err
    assert "`syncer init` writes a project here; `syncer -C DIR …` works on the one in another folder." in ran.err
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("command", [["schema"], ["docs"], ["--help"], ["--version"], ["run", "--help"]])
def test_what_needs_no_project_works_without_one(tmp_path: Path, command: list[str]) -> None:
    assert Folder(path=tmp_path).syncer(*command).code == 0
    assert [*tmp_path.iterdir()] == []


def test_the_nearest_folder_upwards_is_the_project_unless_the_definitions_folder_is_set(tmp_path: Path) -> None:
    outer, inner = tmp_path, tmp_path / "a" / "b"
    (outer / "sync_definitions").mkdir()
    (inner / "c").mkdir(parents=True)

    assert project_folder(inner / "c", {}) == outer
    (inner / "syncer.toml").touch()
    assert project_folder(inner / "c", {}) == inner
    assert project_folder(inner / "c", {"SYNCER_DEFINITIONS_DIR": ""}) == inner
    assert project_folder(inner / "c", {"SYNCER_DEFINITIONS_DIR": "syncs"}) == inner / "c"
    (inner / "c" / ".env").write_text("# a comment\nSYNCER_DEFINITIONS_DIR=syncs\n")
    assert project_folder(inner / "c", {}) == inner / "c"
