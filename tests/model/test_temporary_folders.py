"""Temporary folders: those of processes that were killed go, and none that a process uses."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from syncer.model.temporary_folders import TemporaryFolder, _delete_abandoned, temporary_folder

_HOLDING = """
import subprocess, sys
from syncer.model.temporary_folders import TemporaryFolder

made = TemporaryFolder()
child = None
if sys.argv[1] == "with a child":
    # It ends with its input, which the test has.
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=[made.descriptor])
(made.path / "spilled").write_text("rows")
print(made.path, child.pid if child else 0, flush=True)
sys.stdin.read() if child is None else child.wait()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for what is temporary, in place of the real one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def holding(temporary: Path, how: str = "alone") -> tuple[subprocess.Popen[str], Path, int]:
    """A process that uses a folder, which, and the process that it has started."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDING, how],
        env=os.environ | {"TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    path, child = process.stdout.readline().split()
    return process, Path(path), int(child)


def start_anew() -> None:
    """As another process does with its first folder."""
    _delete_abandoned.cache_clear()
    with temporary_folder() as path:
        assert path.is_dir()
    assert not path.exists()


def test_the_folder_of_a_process_that_was_killed_goes_when_the_next_one_starts(temporary: Path) -> None:
    process, path, _ = holding(temporary)
    with process:
        start_anew()
        assert (path / "spilled").exists(), "it is in use"
        process.kill()
        process.wait()
        assert (path / "spilled").exists()
        start_anew()
    assert not path.exists()


def test_what_a_child_still_uses_stays_until_that_has_ended_too(temporary: Path) -> None:
    process, path, child = holding(temporary, "with a child")
    process.kill()
    process.wait()
    start_anew()
    assert (path / "spilled").exists()

    assert process.stdin is not None
    process.stdin.close()
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        start_anew()
    start_anew()
    assert not path.exists()
    assert process.stdout is not None
    process.stdout.close()


def test_a_folder_that_is_not_closed_goes_with_its_process(temporary: Path) -> None:
    process, path, _ = holding(temporary)
    process.communicate()
    assert not path.exists()


def test_folders_of_other_names_and_of_earlier_versions_stay(temporary: Path) -> None:
    for name in ("syncer-duckdb-abc", "syncer-removals-abc", "other"):
        (temporary / name).mkdir()
    start_anew()
    assert len([*temporary.iterdir()]) == 3


def test_closing_twice_is_fine() -> None:
    made = TemporaryFolder()
    made.close()
    made.close()
    assert not made.path.exists()


@pytest.mark.parametrize("moment", ["before it is opened", "before it is locked"])
def test_a_folder_that_another_process_took_for_abandoned_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    make, taken = (tempfile.mkdtemp, os.open)[moment != "before it is opened"], list[Path]()

    def delete_the_first(path: str) -> None:
        if not taken and Path(path).is_dir():
            taken.append(Path(path))
            Path(path).rmdir()

    def made(*given: Any, **named: Any) -> Any:
        found = make(*given, **named)
        delete_the_first(found if isinstance(found, str) else given[0])
        return found

    monkeypatch.setattr(*((tempfile, "mkdtemp") if make is tempfile.mkdtemp else (os, "open")), made)
    with temporary_folder(temporary) as folder:
        assert folder.is_dir()
        assert folder != taken[0]
